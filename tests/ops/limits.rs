//! Operations at the limits of 32-bit indices and of the loop iterations that drivers allow, against arithmetic in 64
//! and 128 bits.

use crate::common::{Outcome, adapter};
use crate::model::indices;
use crate::window::Window;
use wgpu_pool::{Corners, DType, Pool, PoolOptions, Tensor, TensorError};

/// Fills memory that the next tensors get, so that whatever a kernel leaves out is seen.
fn leave_stale_bytes(pool: &Pool, elements: usize) -> Outcome {
    for _ in 0..3 {
        drop(Tensor::full(pool, [elements], -77.0_f32)?);
    }
    Ok(())
}

fn assert_near(found: &[f32], wanted: impl Fn(usize) -> f64, tolerance: f64, what: &str) {
    for (place, &found) in found.iter().enumerate() {
        let wanted = wanted(place);
        let error = (f64::from(found) - wanted).abs();
        assert!(error <= tolerance * wanted.abs().max(1.0), "{what} at {place}: {found}, wanted {wanted}");
    }
}

/// The source of place `at` in units of 1 / (2 out), and the two neighbours with their weights.
fn bilinear(at: usize, size: usize, out: usize) -> [(usize, f64); 2] {
    let unit = 2 * out as u128;
    let source = ((2 * at as u128 + 1) * size as u128).saturating_sub(out as u128);
    let low = (source / unit) as usize;
    let weight = (source % unit) as f64 / unit as f64;
    [(low, 1.0 - weight), ((low + 1).min(size - 1), weight)]
}

/// The same with aligned corners, in units of 1 / (out - 1).
fn aligned(at: usize, size: usize, out: usize) -> [(usize, f64); 2] {
    let unit = (out.max(2) - 1) as u128;
    let source = at as u128 * (size - 1) as u128;
    let low = (source / unit) as usize;
    let weight = (source % unit) as f64 / unit as f64;
    [(low, 1.0 - weight), ((low + 1).min(size - 1), weight)]
}

type Taps = fn(usize, usize, usize) -> [(usize, f64); 2];
const BILINEAR: [(Corners, Taps); 2] = [(Corners::Outer, bilinear), (Corners::Centers, aligned)];

/// Sizes of an axis whose products with an index exceed 32 bits, with sizes that share no factor.
const WIDE: [(usize, usize); 6] =
    [(30_000, 60_000), (65_536, 65_537), (70_001, 140_003), (160_000, 320_000), (400_000, 77_777), (3, 200_000)];

// Case 63.
#[test]
fn upsampling_along_a_long_axis_is_exact() -> Outcome {
    for pool in adapter::all_shared() {
        for (size, out) in WIDE {
            for is_row in [true, false] {
                let what = format!("{size} to {out}, {is_row}");
                let axes = |length: usize| if is_row { [1, length] } else { [length, 1] };
                let shape = |length: usize| [1, 1, axes(length)[0], axes(length)[1]];
                let x = Tensor::arange(pool, size, 0.0_f32, 1.0)?.reshape(shape(size))?;
                let nearest = x.upsample_nearest(axes(out))?.read_blocking::<f32>()?;
                let source = |at: usize| (at as u128 * size as u128 / out as u128) as usize;
                assert_near(&nearest, |at| source(at) as f64, 0.0, &what);
                for (corners, taps) in BILINEAR {
                    let between = x.upsample_bilinear(axes(out), corners)?.read_blocking::<f32>()?;
                    let mean =
                        |at: usize| taps(at, size, out).iter().map(|&(place, weight)| place as f64 * weight).sum();
                    assert_near(&between, mean, 1e-6, &format!("{what} {corners:?}"));
                }

                let slope = |at: usize| (at % 5) as f32 - 1.0;
                let slopes: Vec<f32> = (0..out).map(slope).collect();
                let gradient = Tensor::from_slice(pool, &slopes, shape(out))?;
                let mut wanted = [0; 3].map(|_| vec![0.0_f64; size]);
                for at in 0..out {
                    wanted[0][source(at)] += f64::from(slope(at));
                    for (wanted, (_, taps)) in wanted[1..].iter_mut().zip(BILINEAR) {
                        taps(at, size, out)
                            .iter()
                            .for_each(|&(place, weight)| wanted[place] += weight * f64::from(slope(at)));
                    }
                }
                let back = gradient.upsample_nearest_backward(axes(size))?.read_blocking::<f32>()?;
                assert_near(&back, |place| wanted[0][place], 0.0, &what);
                for (wanted, (corners, _)) in wanted[1..].iter().zip(BILINEAR) {
                    let back = gradient.upsample_bilinear_backward(axes(size), corners)?.read_blocking::<f32>()?;
                    // Sums of up to 100,000 numbers, one after the other.
                    assert_near(&back, |place| wanted[place], 1e-3, &format!("{what} {corners:?}"));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn upsampling_of_small_images_is_exact_for_every_pair_of_sizes() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    for (size, out) in indices(&[9, 14]).into_iter().map(|pair| (pair[0] + 1, pair[1] + 1)) {
        let x = Tensor::arange(pool, size, 0.0_f32, 1.0)?.reshape([1, 1, 1, size])?;
        for (corners, taps) in BILINEAR {
            let between = x.upsample_bilinear([1, out], corners)?.read_blocking::<f32>()?;
            let mean = |at: usize| taps(at, size, out).iter().map(|&(place, weight)| place as f64 * weight).sum();
            assert_near(&between, mean, 1e-6, &format!("{size} to {out} {corners:?}"));
        }
        let gradient = Tensor::arange(pool, out, 1.0_f32, 1.0)?.reshape([1, 1, 1, out])?;
        let mut wanted = [0; 3].map(|_| vec![0.0_f64; size]);
        for at in 0..out {
            wanted[0][at * size / out] += (at + 1) as f64;
            for (wanted, (_, taps)) in wanted[1..].iter_mut().zip(BILINEAR) {
                taps(at, size, out).iter().for_each(|&(place, weight)| wanted[place] += weight * (at + 1) as f64);
            }
        }
        let back = gradient.upsample_nearest_backward([1, size])?.read_blocking::<f32>()?;
        assert_near(&back, |place| wanted[0][place], 0.0, &format!("nearest {size} from {out}"));
        for (wanted, (corners, _)) in wanted[1..].iter().zip(BILINEAR) {
            let back = gradient.upsample_bilinear_backward([1, size], corners)?.read_blocking::<f32>()?;
            assert_near(&back, |place| wanted[place], 1e-6, &format!("bilinear {size} from {out} {corners:?}"));
        }
    }
    Ok(())
}

#[test]
fn windows_and_shares_of_any_size_are_summed_whole() -> Outcome {
    for pool in adapter::all_shared() {
        // 254 * 258 + 1 iterations are 65,533, the most that one pass may take; the others need several.
        for [rows, columns] in [[254, 256], [255, 256], [256, 256], [300, 301], [1, 70_000], [70_000, 1]] {
            let (count, what) = (rows * columns, format!("{rows} by {columns}"));
            let (shape, window) = ([1, 1, rows, columns], Window::new([rows, columns], [1, 1], [0, 0]));
            let x = Tensor::full(pool, shape, 1.0_f32)?;
            x.reshape([count])?.narrow(0, count - 1, 1)?.fill_(5.0_f32)?;
            leave_stale_bytes(pool, count)?;
            let (largest, places) = x.max_pool2d_with_indices(window.max())?;
            assert_eq!(largest.read_blocking::<f32>()?, [5.0], "{what}");
            assert_eq!(places.read_blocking::<u32>()?, [u32::try_from(count - 1)?], "{what}");
            let mean = (count + 4) as f64 / count as f64;
            assert_near(&x.avg_pool2d(window.avg())?.read_blocking::<f32>()?, |_| mean, 1e-6, &what);
            let one = Tensor::full(pool, [1, 1, 1, 1], 1.0_f32)?;
            assert_eq!(one.max_pool2d_backward(&places, shape, window.max())?.sum(..)?.read_blocking::<f32>()?, [1.0]);
            let back = one.avg_pool2d_backward(shape, window.avg())?.read_blocking::<f32>()?;
            assert_near(&back, |_| 1.0 / count as f64, 1e-9, &what);
            for back in [x.upsample_nearest_backward([1, 1])?, x.upsample_bilinear_backward([1, 1], Corners::Outer)?] {
                assert_near(&back.read_blocking::<f32>()?, |_| (count + 4) as f64, 1e-6, &what);
            }
            // As many windows over one place as there are places.
            let inner = Window::new([rows, columns], [1, 1], [rows - 1, columns - 1]);
            let windows = Tensor::full(pool, shape, 1.0_f32)?;
            let back = windows.avg_pool2d_backward([1, 1, 1, 1], inner.avg())?.read_blocking::<f32>()?;
            assert_near(&back, |_| 1.0, 1e-5, &what);
            let columns = Tensor::full(pool, [1, count, count.min(1)], 1.0_f32)?;
            let folded = columns.fold([rows, window.kernel[1]], window.unfold())?;
            assert_eq!(folded.sum(..)?.read_blocking::<f32>()?, [count as f32], "{what}");
        }
    }
    Ok(())
}

#[test]
fn padding_without_an_end_takes_no_time() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let x = Tensor::full(pool, [1, 1, 4, 4], 1.0_f32)?;
    let far = 1 << 28;
    let window = Window::new([2 * far, 2 * far], [1 << 27, 1 << 27], [far, far]);
    let averages = x.avg_pool2d(window.avg())?;
    assert_eq!(averages.elements(), 1);
    assert_eq!(averages.read_blocking::<f32>()?, [16.0 / (1_u64 << 58) as f32]);
    Ok(())
}

/// Elements of a row repeat, so that what is wanted of each is one of seven numbers.
const PERIOD: usize = 7;

#[test]
fn rows_of_any_length_are_normalized_whole() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    // 5,589,248 columns are the most that one workgroup goes over: 65,534 loop iterations.
    for columns in [5_589_248, 5_600_001] {
        if !adapter::holds(pool, 4 * columns as u64) {
            continue;
        }
        let row: Vec<f32> = (0..columns).map(|column| (column % PERIOD) as f32).collect();
        let x = Tensor::from_slice(pool, &row, [1, columns])?;
        leave_stale_bytes(pool, columns)?;
        let times = |value: usize| ((columns + PERIOD - 1 - value) / PERIOD) as f64;
        let sum = |of: &dyn Fn(f64) -> f64| (0..PERIOD).map(|value| of(value as f64) * times(value)).sum::<f64>();
        let (count, total) = (columns as f64, sum(&|x| (x - 6.0).exp()));
        let mean = sum(&|x| x) / count;
        let deviation = (sum(&|x| (x - mean).powi(2)) / count + 1e-5).sqrt();
        let square = (sum(&|x| x * x) / count + 1e-5).sqrt();
        let check = |found: Tensor, wanted: &dyn Fn(f64) -> f64, what: &str| -> Outcome {
            let wanted: Vec<f64> = (0..PERIOD).map(|value| wanted(value as f64)).collect();
            for (column, &found) in found.read_blocking::<f32>()?.iter().enumerate() {
                let wanted = wanted[column % PERIOD];
                // Differences to the mean have an error of the mean's.
                let near = 1e-4 * wanted.abs().max(if what == "softmax" { 1.0 / count } else { 1.0 });
                let is_near = (f64::from(found) - wanted).abs() <= near;
                assert!(is_near, "{what} of {columns} at {column}: {found}, wanted {wanted}");
            }
            Ok(())
        };
        check(x.softmax(1)?, &|x| (x - 6.0).exp() / total, "softmax")?;
        check(x.log_softmax(1)?, &|x| x - 6.0 - total.ln(), "log_softmax")?;
        check(x.rms_norm(None, 1e-5)?, &|x| x / square, "rms_norm")?;
        let (weight, bias) = (Tensor::full(pool, [columns], 2.0_f32)?, x.reshape([columns])?);
        let found = x.layer_norm(Some(&weight), Some(&bias), 1e-5)?;
        check(found, &|x| 2.0 * (x - mean) / deviation + x, "layer_norm")?;
        // Of equal elements nothing is left but rounding.
        let equal = Tensor::full(pool, [1, columns], 123_456.7_f32)?.layer_norm(None, None, 1e-5)?;
        check(equal, &|_| 0.0, "layer_norm of equal elements")?;
    }
    Ok(())
}

#[test]
fn convolutions_of_many_channels_and_large_kernels_are_summed_whole() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    // Each place at the edge takes a loop of its own: 10 iterations for each channel of a kernel of one place.
    for (channels, kernel, size) in
        [(6553, [1, 1], [1, 5]), (8000, [1, 1], [1, 5]), (1, [300, 300], [300, 300]), (1, [1, 20_000], [1, 20_001])]
    {
        // The weights are packed: up to eight channels and four outputs take the place of one.
        if !adapter::holds(pool, 4 * 32 * (channels * kernel[0] * kernel[1]) as u64) {
            continue;
        }
        let x = Tensor::full(pool, [1, channels, size[0], size[1]], 1.0_f32)?;
        let weight = Tensor::full(pool, [1, channels, kernel[0], kernel[1]], 1.0_f32)?;
        let window = Window::new(kernel, [1, 1], [0, 0]);
        let sums = x.conv2d(&weight, None, window.conv())?.read_blocking::<f32>()?;
        assert_near(&sums, |_| (channels * kernel[0] * kernel[1]) as f64, 1e-5, &format!("{channels} {kernel:?}"));
    }
    Ok(())
}

#[test]
fn additions_in_one_place_are_all_made() -> Outcome {
    for pool in adapter::all_shared() {
        // More of them than one dispatch has on a software driver.
        let count = 150_000;
        let index = Tensor::zeros(pool, [count], DType::U32)?;
        let table = Tensor::zeros(pool, [2], DType::F32)?;
        table.scatter_add_(0, &index, &Tensor::full(pool, [count], 1.0_f32)?)?;
        assert_eq!(table.read_blocking::<f32>()?, [150_000.0, 0.0]);
        let table = Tensor::full(pool, [2], i32::MAX)?;
        table.scatter_add_(0, &index, &Tensor::full(pool, [count], -3_i32)?)?;
        assert_eq!(table.read_blocking::<i32>()?, [i32::MAX - 450_000, i32::MAX]);
    }
    Ok(())
}

// Case 63.
/// What each operation says to sizes that overflow: an error with the numbers, never a panic or a wrapped size.
#[test]
fn sizes_that_overflow_are_refused_by_every_operation() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let one = Tensor::full(pool, [1, 1], 1.0_f32)?;
    let none = Tensor::zeros(pool, [0], DType::F32)?;
    let images = Tensor::full(pool, [1, 1, 4, 4], 1.0_f32)?;
    let overflows = |found: Result<Tensor, TensorError>, what: &str| {
        assert!(matches!(found, Err(TensorError::Overflow { .. })), "{what}: {found:?}");
    };
    let half = usize::BITS / 2;
    for shape in [[1 << half, 1 << half], [usize::MAX, 1], [usize::MAX, usize::MAX], [1 << (half + 8), 1 << (half + 8)]]
    {
        overflows(one.expand(shape), "expand");
        overflows(Tensor::empty(pool, shape, DType::F32), "empty");
        if adapter::has_f16(pool) {
            overflows(Tensor::zeros(pool, shape, DType::F16), "zeros");
        }
        overflows(Tensor::full(pool, shape, 1_u32), "full");
        overflows(Tensor::randn(pool, shape, 1), "randn");
        overflows(Tensor::from_slice(pool, &[1.0_f32], shape), "from_slice");
        overflows(none.reshape([0, shape[0], shape[1].max(1 << half)]), "reshape");
        overflows(none.reshape([shape[0], shape[1].max(1 << half), 0]), "reshape");
    }
    // An expanded view of as many elements as there may be, and one more of them.
    let most = usize::MAX / 8;
    let long = one.reshape([1])?.expand([most])?;
    overflows(Tensor::cat(&[&long, &long], 0), "cat");
    overflows(Tensor::cat(&[&long; 20], 0), "cat");
    for kernel in [[1 << half; 2], [1 << (half + 6), 1 << (half + 6)], [usize::MAX / 4, 2]] {
        let window = Window::new(kernel, [1, 1], kernel);
        overflows(images.unfold(window.unfold()), "unfold");
        overflows(images.reshape([1, 4, 4])?.fold([4, 4], window.unfold()), "fold");
    }
    // Wrong windows, whose positions overflow: an error of some kind.
    for padding in [usize::MAX / 2, usize::MAX, usize::MAX / 16 + 1, usize::MAX / 4 + 1, usize::MAX / 2 - 1] {
        for kernel in [0, 1, 5, usize::MAX] {
            for stride in [0, 1, usize::MAX] {
                let window = Window::new([kernel, 1], [stride, 1], [padding, 0]);
                images.unfold(window.unfold()).expect_err("no such window");
                images.max_pool2d_with_indices(window.max()).expect_err("no such window");
                images.avg_pool2d(window.avg()).expect_err("no such window");
                images.avg_pool2d_backward([1, 1, 4, 4], window.avg()).expect_err("no such window");
                images.conv2d(&images, None, window.conv()).expect_err("no such window");
                images.conv2d_backward_input([1, 1, 4, 4], &images, window.conv()).expect_err("no such window");
                images.conv2d_backward_weight(&images, [1, 1, kernel, 1], window.conv()).expect_err("no such window");
                images.reshape([1, 4, 4])?.fold([4, 4], window.unfold()).expect_err("no such window");
            }
        }
    }
    Ok(())
}

/// Each takes memory of the host, which ends the process where there is none.
#[test]
fn more_views_than_the_limit_are_refused() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let one = Tensor::full(pool, [1], 1.0_f32)?;
    let limit = 1 << 20;
    // The test does not run where addresses have 32 bits, but is compiled there.
    for views in [limit + 1, 1 << (usize::BITS - 24)] {
        let wide = one.expand([views])?;
        let refused = |operation| TensorError::TooManyViews { operation, views, limit };
        assert_eq!(wide.split(1, 0).map(|views| views.len()), Err(refused("split")));
        assert_eq!(wide.chunk(usize::MAX, 0).map(|views| views.len()), Err(refused("chunk")));
        assert_eq!(wide.chunk(3, 0)?.len(), 3);
        let views = wide.split(views.div_ceil(1000), 0)?;
        assert_eq!((views.len(), views[0].shape()), (1000, views[1].shape()));
    }
    let wide = one.expand([limit + 1])?;
    let sizes = vec![1; limit + 1];
    let refused = TensorError::TooManyViews { operation: "split_with_sizes", views: limit + 1, limit };
    assert_eq!(wide.split_with_sizes(&sizes, 0).map(|views| views.len()), Err(refused));
    Ok(())
}

#[test]
fn a_view_that_repeats_an_element_is_read_up_to_a_limit() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let x = Tensor::full(pool, [2, 1], 3_u32)?;
    let limit = 1 << 28;
    let read = x.expand([2, (1 << 27) + 1])?.read_blocking::<u32>();
    assert_eq!(read, Err(TensorError::TooManyElements { operation: "read_blocking", elements: (1 << 28) + 2, limit }));
    assert_eq!(x.expand([2, 100_000])?.read_blocking::<u32>()?, [3; 200_000]);
    Ok(())
}

/// Views that repeat elements have more of them than any memory holds.
#[test]
fn views_of_more_elements_than_kernels_can_index_are_refused() -> Outcome {
    // Without a limit, a software driver would take the machine's memory for results in several blocks.
    let options = PoolOptions { limit: Some(256 << 20), ..crate::common::options() };
    let Some(pool) = &adapter::open(options) else { return Ok(()) };
    let one = Tensor::full(pool, [1, 1], 1.0_f32)?;
    // The test does not run where addresses have 32 bits, but is compiled there.
    let large = 1 << (usize::BITS - 24);
    for shape in [[1 << 17, 1 << 17], [large, 1 << 20], [1, large]] {
        let wide = one.expand(shape)?;
        let elements = (shape[0] * shape[1]) as u64;
        let read = wide.read_blocking::<f32>().expect_err("no host has so much memory");
        assert_eq!(read, TensorError::TooManyElements { operation: "read_blocking", elements, limit: 1 << 28 });
        for (what, result) in [
            ("sum", wide.sum(..)),
            ("amax", wide.amax([1])),
            ("mean", wide.mean_keepdim([0, 1])),
            ("add", wide.add(&wide)),
            ("contiguous", wide.contiguous()),
            ("softmax", wide.softmax(1)),
            ("argmax", wide.argmax(1)),
            ("matmul", wide.matmul(&wide.t()?)),
            ("cat", Tensor::cat(&[&wide, &wide], 0)),
            ("pool", wide.reshape([1, 1, shape[0], shape[1]])?.avg_pool2d(Window::new(shape, [1, 1], [0, 0]).avg())),
        ] {
            let refused = matches!(
                result,
                Err(TensorError::TooManyElements { .. }
                    | TensorError::SeveralBlocks { .. }
                    | TensorError::Allocate(_)
                    | TensorError::Overflow { .. })
            );
            assert!(refused, "{what} of {shape:?}: {result:?}");
        }
        // The result needs one row of the image, which may fit a block.
        match wide.reshape([1, 1, shape[0], shape[1]])?.upsample_nearest([1, 1]) {
            Ok(corner) => assert_eq!((corner.read_blocking::<f32>()?, shape[0] > 1), (vec![1.0], true), "{shape:?}"),
            Err(error) => {
                let refused = matches!(error, TensorError::SeveralBlocks { .. } | TensorError::TooManyElements { .. });
                assert!(refused, "{shape:?}: {error}");
            }
        }
        wide.relu_().expect_err("its elements share a place");
    }
    assert_eq!(one.expand([3, 2])?.read_blocking::<f32>()?, [1.0; 6]);
    pool.check()?;
    Ok(())
}

#[test]
fn views_without_elements_do_not_move_their_offset() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let size = usize::MAX / 16;
    let mut none = Tensor::zeros(pool, [0, size], DType::F32)?;
    for _ in 0..40 {
        none = none.narrow(1, size, 0)?.reshape([0, size])?;
        assert_eq!(none.read_blocking::<f32>()?.len(), 0);
    }
    Ok(())
}
