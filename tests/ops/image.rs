//! Convolution, pooling and resizing against float64 models of their definitions; gradients are compared with transposed maps.

use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use crate::model::Array;
use crate::window::Window;
use wgpu_pool::{Corners, DType, Pool, Tensor, TensorError, fuse};

/// Images, and windows over them: odd sizes, overlaps, gaps, and edges.
const WINDOWS: [([usize; 4], Window); 8] = [
    // Several parts of windows, and several blocks of outputs in the gradient.
    ([3, 9, 30, 21], Window::new([3, 3], [1, 1], [1, 1])),
    // More padding than the window covers.
    ([2, 3, 4, 6], Window::new([2, 3], [1, 1], [2, 1])),
    ([2, 3, 7, 9], Window::new([3, 3], [1, 1], [1, 1])),
    ([1, 2, 8, 8], Window::new([2, 2], [2, 2], [0, 0])),
    ([3, 1, 9, 5], Window::new([3, 2], [2, 1], [1, 1])),
    ([1, 4, 6, 11], Window::new([1, 1], [1, 1], [0, 0])),
    ([2, 2, 10, 7], Window::new([2, 3], [3, 4], [0, 1])),
    ([1, 1, 5, 5], Window::new([5, 4], [1, 2], [2, 2])),
];

fn out(size: [usize; 4], window: Window) -> [usize; 2] {
    window.positions([size[2], size[3]])
}

/// The place of an image under a window, if it is inside.
fn under(size: [usize; 4], window: Window, at: [usize; 2], within: [usize; 2]) -> Option<[usize; 2]> {
    window.under([size[2], size[3]], at, within)
}

fn real(shape: &[usize], random: &mut Random) -> Array<f32> {
    Array::real(shape, random)
}

#[track_caller]
fn assert_near(found: &Tensor, wanted: &[f64], scale: f64) {
    let found = found.read_blocking::<f32>().expect("it can be read");
    assert_eq!(found.len(), wanted.len());
    for (at, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert!((f64::from(*found) - wanted).abs() <= 2e-6 * scale, "{at}: {found} {wanted}");
    }
}

/// ⟨a, b⟩ in float64.
fn product(a: &Tensor, b: &Tensor) -> Result<f64, TensorError> {
    let (a, b) = (a.read_blocking::<f32>()?, b.read_blocking::<f32>()?);
    assert_eq!(a.len(), b.len());
    Ok(a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum())
}

fn places(shape: [usize; 2]) -> impl Iterator<Item = [usize; 2]> {
    (0..shape[0]).flat_map(move |row| (0..shape[1]).map(move |column| [row, column]))
}

#[test]
fn convolutions_equal_their_definition() -> Outcome {
    let mut random = Random::new(71);
    for pool in adapter::all_shared() {
        for (size, window) in WINDOWS {
            let [batch, channels, ..] = size;
            let outputs = if channels > 4 { 11 } else { 5 };
            let image = real(&size, &mut random);
            let weight = real(&[outputs, channels, window.kernel[0], window.kernel[1]], &mut random);
            let bias = real(&[outputs], &mut random);
            let found =
                image.to_device(pool)?.conv2d(&weight.to_device(pool)?, Some(&bias.to_device(pool)?), window.conv())?;
            let stops = out(size, window);
            assert_eq!(found.shape(), [batch, outputs, stops[0], stops[1]]);
            let mut wanted = Vec::new();
            for (n, o) in places([batch, outputs]).map(|[n, o]| (n, o)) {
                for at in places(stops) {
                    let mut sum = f64::from(bias.at(&[o]));
                    for (c, within) in (0..channels).flat_map(|c| places(window.kernel).map(move |within| (c, within)))
                    {
                        if let Some([row, column]) = under(size, window, at, within) {
                            let factor = f64::from(weight.at(&[o, c, within[0], within[1]]));
                            sum += f64::from(image.at(&[n, c, row, column])) * factor;
                        }
                    }
                    wanted.push(sum);
                }
            }
            assert_near(&found, &wanted, 10.0);
        }
    }
    Ok(())
}

#[test]
fn many_outputs_and_a_long_sum_give_what_a_product_with_unfolded_images_gives() -> Outcome {
    let mut random = Random::new(78);
    for pool in adapter::all_shared() {
        for (size, outputs, window) in [
            ([1, 8200, 2, 3], 2, Window::new([1, 1], [1, 1], [0, 0])),
            ([2, 32, 9, 7], 70, Window::new([3, 3], [1, 1], [1, 1])),
        ] {
            let image = Array::<i32>::any(&size, &mut random).to_device(pool)?;
            let shape = [outputs, size[1], window.kernel[0], window.kernel[1]];
            let weight = Array::<i32>::any(&shape, &mut random).to_device(pool)?;
            let bias = Array::<i32>::any(&[outputs], &mut random).to_device(pool)?;
            let found = image.conv2d(&weight, Some(&bias), window.conv())?;
            let lines = shape[1..].iter().product();
            let product = weight.reshape([outputs, lines])?.matmul(&image.unfold(window.unfold())?)?;
            let wanted = product.add(&bias.reshape([outputs, 1])?)?;
            assert_eq!(found.read_blocking::<i32>()?, wanted.read_blocking::<i32>()?, "{size:?}");
        }
    }
    Ok(())
}

#[test]
fn convolutions_of_no_channels_are_their_bias_and_of_no_outputs_empty() -> Outcome {
    let window = Window::new([3, 3], [1, 1], [1, 1]);
    for pool in adapter::all_shared() {
        let zeros = |shape: &[usize]| Tensor::zeros(pool, shape, DType::F32);
        let bias = Tensor::from_slice(pool, &[1.0_f32, 2.0], [2])?;
        let (image, weight) = (zeros(&[1, 0, 7, 9])?, zeros(&[2, 0, 3, 3])?);
        let found = image.conv2d(&weight, Some(&bias), window.conv())?.read_blocking::<f32>()?;
        assert_eq!(found, [vec![1.0; 63], vec![2.0; 63]].concat());
        let gradient = zeros(&[1, 2, 7, 9])?;
        assert_eq!(gradient.conv2d_backward_input([1, 0, 7, 9], &weight, window.conv())?.shape(), [1, 0, 7, 9]);
        assert_eq!(gradient.conv2d_backward_weight(&image, [2, 0, 3, 3], window.conv())?.shape(), [2, 0, 3, 3]);
        let (image, weight) = (zeros(&[1, 3, 7, 9])?, zeros(&[0, 3, 3, 3])?);
        let none = image.conv2d(&weight, None, window.conv())?;
        assert_eq!(none.shape(), [1, 0, 7, 9]);
        let back = none.conv2d_backward_input([1, 3, 7, 9], &weight, window.conv())?;
        assert_eq!(back.read_blocking::<f32>()?, vec![0.0; 189]);
    }
    Ok(())
}

/// A linear map's gradient is its transpose: ⟨A x, y⟩ = ⟨x, Aᵀ y⟩.
#[test]
fn gradients_of_convolutions_are_their_transposes() -> Outcome {
    let mut random = Random::new(72);
    for pool in adapter::all_shared() {
        for (size, window) in WINDOWS {
            let shape = [4, size[1], window.kernel[0], window.kernel[1]];
            let (image, weight) =
                (real(&size, &mut random).to_device(pool)?, real(&shape, &mut random).to_device(pool)?);
            let forward = image.conv2d(&weight, None, window.conv())?;
            let gradient = real(forward.shape(), &mut random).to_device(pool)?;
            let through = product(&forward, &gradient)?;
            let by_input = product(&image, &gradient.conv2d_backward_input(size, &weight, window.conv())?)?;
            let by_weight = product(&weight, &gradient.conv2d_backward_weight(&image, shape, window.conv())?)?;
            assert!(
                (through - by_input).abs() < 1e-4 && (through - by_weight).abs() < 1e-4,
                "{window:?}: {through} {by_input} {by_weight}"
            );
            let columns = image.unfold(window.unfold())?;
            let back = real(columns.shape(), &mut random).to_device(pool)?;
            let (there, here) =
                (product(&columns, &back)?, product(&image, &back.fold([size[2], size[3]], window.unfold())?)?);
            assert!((there - here).abs() < 1e-4, "{window:?}: {there} {here}");
        }
        // Views, and integers.
        let image = Array::<i32>::any(&[2, 6, 5, 3], &mut random).to_device(pool)?.permute([0, 3, 2, 1])?;
        let window = WINDOWS[0].1;
        assert_eq!(
            image.unfold(window.unfold())?.read_blocking::<i32>()?,
            image.contiguous()?.unfold(window.unfold())?.read_blocking::<i32>()?
        );
    }
    Ok(())
}

/// Each operand of each gradient begins in the middle of its storage.
#[test]
fn gradients_of_views_are_those_of_copies() -> Outcome {
    for pool in adapter::all_shared() {
        let window = Window::new([3, 3], [1, 1], [1, 1]);
        let part = |seed, channels| Tensor::randn(pool, [3, channels, 8, 7], seed)?.narrow(0, 1, 2);
        let (images, gradient) = (part(1, 2)?, part(2, 4)?);
        assert!(images.is_contiguous() && gradient.is_contiguous());
        let of_views = gradient.conv2d_backward_weight(&images, [4, 2, 3, 3], window.conv())?;
        let of_copies = gradient.copied()?.conv2d_backward_weight(&images.copied()?, [4, 2, 3, 3], window.conv())?;
        assert_eq!(of_views.read_blocking::<f32>()?, of_copies.read_blocking::<f32>()?);
    }
    Ok(())
}

/// On a device that can be bound to little: a convolution allocates nothing larger than its operands and its result.
#[test]
fn a_batch_on_a_device_that_binds_little_gives_what_its_images_give() -> Outcome {
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 1 << 16, ..wgpu::Limits::default() };
    let Some((device, queue)) = adapter::foreign_with(limits) else { return Ok(()) };
    let pool = &Pool::from_device(device, queue, crate::common::options())?;
    let window = Window::new([3, 3], [1, 1], [1, 1]);
    let (size, shape) = ([3, 4, 19, 20], [5, 4, 3, 3]);
    let images = Tensor::rand(pool, size, 1)?;
    let weight = Tensor::rand(pool, shape, 2)?;
    let forward = images.conv2d(&weight, None, window.conv())?;
    let by_input = forward.conv2d_backward_input(size, &weight, window.conv())?;
    let by_weight = forward.conv2d_backward_weight(&images, shape, window.conv())?;
    let mut sum = vec![0.0_f64; 180];
    for image in 0..3 {
        let one = images.narrow(0, image, 1)?;
        let alone = one.conv2d(&weight, None, window.conv())?;
        let differs = fuse(|[x, y]| x.ne(y)).run([&alone, &forward.narrow(0, image, 1)?])?.sum(..)?;
        assert_eq!(differs.read_blocking::<u32>()?, [0], "image {image}");
        let input = alone.conv2d_backward_input([1, 4, 19, 20], &weight, window.conv())?;
        let differs = fuse(|[x, y]| x.ne(y)).run([&input, &by_input.narrow(0, image, 1)?])?.sum(..)?;
        assert_eq!(differs.read_blocking::<u32>()?, [0], "image {image}");
        let part = alone.conv2d_backward_weight(&one, shape, window.conv())?.read_blocking::<f32>()?;
        sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += f64::from(part));
    }
    for (found, wanted) in by_weight.read_blocking::<f32>()?.into_iter().zip(sum) {
        assert!((f64::from(found) - wanted).abs() < 1e-4 * wanted.abs(), "{found} {wanted}");
    }
    Ok(())
}

#[test]
fn pooling_equals_its_definition_and_its_gradients_their_transposes() -> Outcome {
    let mut random = Random::new(73);
    for pool in adapter::all_shared() {
        for (size, window) in WINDOWS {
            // Few values, so that several are the largest.
            let image = Array::whole(&size, &mut random);
            let tensor = image.to_device(pool)?;
            let planes = places([size[0], size[1]]);
            let stops = out(size, window);
            let (mut averages, mut largest, mut chosen) = (Vec::new(), Vec::new(), Vec::new());
            for [n, c] in planes {
                for at in places(stops) {
                    let inside = places(window.kernel).filter_map(|within| under(size, window, at, within));
                    let values: Vec<([usize; 2], f32)> =
                        inside.map(|place| (place, image.at(&[n, c, place[0], place[1]]))).collect();
                    let sum: f64 = values.iter().map(|(_, value)| f64::from(*value)).sum();
                    averages.push(sum / (window.kernel[0] * window.kernel[1]) as f64);
                    let most = values.iter().map(|(_, value)| *value).fold(f32::MIN, f32::max);
                    let first = values.iter().find(|(_, value)| *value == most);
                    if let Some(([row, column], value)) = first {
                        largest.push(*value);
                        chosen.push(u32::try_from(row * size[3] + column)?);
                    }
                }
            }
            let average = tensor.avg_pool2d(window.avg())?;
            assert_near(&average, &averages, 10.0);
            let gradient = Array::whole(average.shape(), &mut random).to_device(pool)?;
            let (there, here) =
                (product(&average, &gradient)?, product(&tensor, &gradient.avg_pool2d_backward(size, window.avg())?)?);
            assert!((there - here).abs() < 1e-2, "{window:?}: {there} {here}");
            if (0..2).any(|axis| window.padding[axis][0] * 2 > window.kernel[axis]) {
                assert!(matches!(tensor.max_pool2d_with_indices(window.max()), Err(TensorError::KernelWindow { .. })));
                continue;
            }
            let (found, at) = tensor.max_pool2d_with_indices(window.max())?;
            assert_eq!((found.read_blocking::<f32>()?, at.read_blocking::<u32>()?), (largest, chosen), "{window:?}");
            let back = gradient.max_pool2d_backward(&at, size, window.max())?;
            let mut wanted = vec![0.0; size.iter().product()];
            let each = size[2] * size[3];
            let gradients = gradient.read_blocking::<f32>()?;
            for (window, (place, gradient)) in at.read_blocking::<u32>()?.into_iter().zip(gradients).enumerate() {
                wanted[window / (stops[0] * stops[1]) * each + place as usize] += f64::from(gradient);
            }
            assert_near(&back, &wanted, 1.0);
        }
        let odd = Tensor::from_slice(pool, &[1.0_f32, f32::NAN, 9.0, f32::NEG_INFINITY], [1, 1, 2, 2])?;
        let (most, at) = odd.max_pool2d_with_indices(Window::square(2).max())?;
        assert!(most.read_blocking::<f32>()?[0].is_nan());
        assert_eq!(at.read_blocking::<u32>()?, [1]);
    }
    Ok(())
}

/// The model of interpolation along one axis, nearest without corners: the two neighbours and the upper one's weight.
fn taps(at: usize, size: usize, out: usize, corners: Option<Corners>) -> [(usize, f64); 2] {
    let source = match corners {
        None => return [(at * size / out, 1.0), (0, 0.0)],
        Some(Corners::Outer) => ((at as f64 + 0.5) * size as f64 / out as f64 - 0.5).max(0.0),
        Some(Corners::Centers) => (at * (size - 1)) as f64 / (out.max(2) - 1) as f64,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place of the image")]
    let low = (source as usize).min(size - 1);
    let weight = source - low as f64;
    [(low, 1.0 - weight), ((low + 1).min(size - 1), weight)]
}

#[test]
fn other_sizes_equal_their_definition_and_their_gradients_the_transposes() -> Outcome {
    let mut random = Random::new(74);
    for pool in adapter::all_shared() {
        for (size, wanted_size) in [
            ([1, 2, 4, 5], [8, 10]),
            ([2, 1, 3, 7], [7, 9]),
            ([1, 1, 6, 6], [4, 3]),
            ([1, 3, 1, 2], [5, 5]),
            ([1, 1, 5, 3], [5, 3]),
            ([1, 1, 4, 6], [1, 2]),
        ] {
            let image = real(&size, &mut random);
            let tensor = image.to_device(pool)?;
            for corners in [None, Some(Corners::Outer), Some(Corners::Centers)] {
                let found = match corners {
                    Some(corners) => tensor.upsample_bilinear(wanted_size, corners)?,
                    None => tensor.upsample_nearest(wanted_size)?,
                };
                let mut wanted = Vec::new();
                for [n, c] in places([size[0], size[1]]) {
                    for [row, column] in places(wanted_size) {
                        let rows = taps(row, size[2], wanted_size[0], corners);
                        let columns = taps(column, size[3], wanted_size[1], corners);
                        let pairs = rows.iter().flat_map(|row| columns.map(|column| (*row, column)));
                        wanted.push(
                            pairs
                                .map(|((row, of_row), (column, of_column))| {
                                    of_row * of_column * f64::from(image.at(&[n, c, row, column]))
                                })
                                .sum::<f64>(),
                        );
                    }
                }
                assert_near(&found, &wanted, 1.0);
                let gradient = real(found.shape(), &mut random).to_device(pool)?;
                let own = [size[2], size[3]];
                let back = match corners {
                    Some(corners) => gradient.upsample_bilinear_backward(own, corners)?,
                    None => gradient.upsample_nearest_backward(own)?,
                };
                let (there, here) = (product(&found, &gradient)?, product(&tensor, &back)?);
                assert!((there - here).abs() < 1e-4, "{size:?} {wanted_size:?} {corners:?}: {there} {here}");
            }
        }
    }
    Ok(())
}

#[test]
fn what_does_not_fit_an_image_is_refused() -> Outcome {
    let refused = |pool: &Pool| -> Outcome {
        let image = Tensor::zeros(pool, [1, 2, 4, 4], DType::F32)?;
        let weight = Tensor::zeros(pool, [3, 2, 5, 5], DType::F32)?;
        let window = Window::new([5, 5], [1, 1], [0, 0]);
        assert!(matches!(image.conv2d(&weight, None, window.conv()), Err(TensorError::KernelWindow { .. })));
        let other = Tensor::zeros(pool, [3, 4, 3, 3], DType::F32)?;
        assert!(matches!(image.conv2d(&other, None, window.conv()), Err(TensorError::Shape { .. })));
        assert!(matches!(
            image.unfold(Window::new([2; 2], [0, 1], [0; 2]).unfold()),
            Err(TensorError::KernelWindow { .. })
        ));
        assert!(matches!(image.unfold(Window::square(0).unfold()), Err(TensorError::KernelWindow { .. })));
        assert!(matches!(
            image.narrow(0, 0, 1)?.reshape([8, 4])?.unfold(Window::square(2).unfold()),
            Err(TensorError::Dimensions { .. })
        ));
        assert!(matches!(image.fold([4, 4], Window::square(2).unfold()), Err(TensorError::Dimensions { .. })));
        let flat = Tensor::zeros(pool, [1, 1, 0, 4], DType::F32)?;
        let wide = Window::new([2; 2], [2; 2], [1; 2]);
        assert!(matches!(flat.avg_pool2d(wide.avg()), Err(TensorError::KernelWindow { .. })));
        let sizes = image.upsample_nearest([0, 2]).map(drop);
        assert_eq!(sizes, Err(TensorError::Zero { operation: "upsample_nearest", argument: "size" }));
        assert!(matches!(flat.upsample_nearest([2, 2]), Err(TensorError::Empty { .. })));
        let integers = Tensor::zeros(pool, [1, 1, 4, 4], DType::I32)?;
        assert!(matches!(integers.avg_pool2d(Window::square(2).avg()), Err(TensorError::NotDefined { .. })));
        let none = Tensor::zeros(pool, [0, 2, 4, 4], DType::F32)?;
        assert_eq!(none.avg_pool2d(Window::square(2).avg())?.shape(), [0, 2, 2, 2]);
        let text = image.unfold(window.unfold()).err().ok_or("it doesn't fit")?.to_string();
        let wanted = "unfold: a kernel of [5, 5] with stride [1, 1], dilation [1, 1] and padding [[0, 0], [0, 0]] does not fit \
                      images of [4, 4]";
        assert_eq!(text, wanted);
        Ok(())
    };
    adapter::all_shared().try_for_each(refused)
}
