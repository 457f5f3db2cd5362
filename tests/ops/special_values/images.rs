//! Operations on images, products, lookups and optimizers: NaN and infinities go where the formula says, and nowhere else.

use crate::common::{Outcome, adapter};
use crate::window::Window;
use wgpu_pool::{
    AdamW, AdamWParameter, Corners, CrossEntropy, DType, MaxPool2d, Reduction, Sgd, SgdParameter, Tensor, TensorError,
};

const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;

#[track_caller]
fn assert_same(found: Result<Tensor, TensorError>, wanted: &[f32], what: &str) -> Outcome {
    let found = found?.read_blocking::<f32>()?;
    let same = |(x, y): (&f32, &f32)| x == y || (x.is_nan() && y.is_nan());
    assert!(found.len() == wanted.len() && found.iter().zip(wanted).all(same), "{what}: {found:?}, not {wanted:?}");
    Ok(())
}

#[test]
fn windows_take_the_first_of_equal_maxima_and_the_last_nan() -> Outcome {
    for pool in adapter::all_shared() {
        for (image, largest, place) in [
            ([-0.0, 0.0, -0.0, 0.0], 0.0, 0),
            ([0.0, -0.0, 0.0, -0.0], 0.0, 0),
            ([-1.0, -0.0, 0.0, -1.0], 0.0, 1),
            // As PyTorch, which takes every NaN as larger than what came before it.
            ([1.0, NAN, 3.0, NAN], NAN, 3),
            ([NAN, -NAN, 3.0, INF], NAN, 1),
            ([NAN; 4], NAN, 3),
            ([-NAN, INF, 1.0, 0.0], NAN, 0),
            ([-INF; 4], -INF, 0),
            ([1.0, INF, INF, 2.0], INF, 1),
            ([f32::MIN, f32::MIN, f32::MIN, f32::MIN], f32::MIN, 0),
        ] {
            let tensor = Tensor::from_slice(pool, &image, [1, 1, 2, 2])?;
            let (found, places) = tensor.max_pool2d_with_indices(Window::square(2).max())?;
            assert_eq!(places.read_blocking::<u32>()?, [place], "{image:?}");
            assert_same(Ok(found), &[largest], "max_pool2d")?;
            let gradient = Tensor::full(pool, [1, 1, 1, 1], 2.0_f32)?;
            let mut wanted = [0.0; 4];
            wanted[place as usize] = 2.0;
            let back = gradient.max_pool2d_backward(&places, [1, 1, 2, 2], Window::square(2).max());
            assert_same(back, &wanted, "max_pool2d_backward")?;
            let mean = image.iter().sum::<f32>() / 4.0;
            assert_same(tensor.avg_pool2d(Window::square(2).avg()), &[mean], "avg_pool2d")?;
            // With a dilation: the same elements, with others between them.
            let spread = Tensor::full(pool, [1, 1, 3, 3], INF)?;
            spread.slice(2, .., 2)?.slice(3, .., 2)?.copy_(&tensor)?;
            let dilated = MaxPool2d { dilation: [2, 2], ..MaxPool2d::new(2) };
            let (_, places) = spread.max_pool2d_with_indices(dilated)?;
            assert_eq!(places.read_blocking::<u32>()?, [place / 2 * 6 + place % 2 * 2], "{image:?}");
            if adapter::has_f16(pool) {
                let (_, places) = tensor.to(DType::F16)?.max_pool2d_with_indices(Window::square(2).max())?;
                let of_first = if largest == f32::MIN { 0 } else { place };
                assert_eq!(places.read_blocking::<u32>()?, [of_first], "{image:?}");
            }
        }
        let gradient = Tensor::from_slice(pool, &[NAN, 8.0], [1, 1, 1, 2])?;
        let back = gradient.avg_pool2d_backward([1, 1, 2, 4], Window::square(2).avg());
        assert_same(back, &[NAN, NAN, 2.0, 2.0, NAN, NAN, 2.0, 2.0], "avg_pool2d_backward")?;
    }
    Ok(())
}

#[test]
fn images_in_other_sizes_keep_equal_numbers_and_spread_nan_to_neighbours_alone() -> Outcome {
    for pool in adapter::all_shared() {
        for number in [0.1_f32, 3.0, -1e30, 7e-20] {
            let even = Tensor::full(pool, [1, 1, 3, 5], number)?;
            assert_same(even.upsample_bilinear([7, 11], Corners::Outer), &[number; 77], "upsample_bilinear")?;
            assert_same(even.upsample_bilinear([7, 11], Corners::Centers), &[number; 77], "aligned corners")?;
            assert_same(even.upsample_nearest([7, 11]), &[number; 77], "upsample_nearest")?;
        }
        let image = Tensor::from_slice(pool, &[1.0, 2.0, NAN, 4.0], [1, 1, 1, 4])?;
        let wide = image.upsample_bilinear([1, 8], Corners::Outer);
        assert_same(wide, &[1.0, 1.25, 1.75, NAN, NAN, NAN, NAN, 4.0], "upsample_bilinear")?;
        let wide = image.upsample_bilinear([1, 7], Corners::Centers);
        assert_same(wide, &[1.0, 1.5, 2.0, NAN, NAN, NAN, 4.0], "upsample_bilinear with aligned corners")?;
        let wide = image.upsample_nearest([1, 8]);
        assert_same(wide, &[1.0, 1.0, 2.0, 2.0, NAN, NAN, 4.0, 4.0], "upsample_nearest")?;
        assert_same(
            image.upsample_bilinear([1, 4], Corners::Outer),
            &[1.0, 2.0, NAN, 4.0],
            "upsample_bilinear to the same size",
        )?;
        let gradient = Tensor::from_slice(pool, &[1.0, 1.0, NAN, 1.0, 1.0, INF], [1, 1, 1, 6])?;
        assert_same(gradient.upsample_nearest_backward([1, 3]), &[2.0, NAN, INF], "upsample_nearest_backward")?;
        let back = gradient.upsample_bilinear_backward([1, 3], Corners::Outer)?.read_blocking::<f32>()?;
        assert!(back[0].is_nan() && back[1].is_nan() && back[2] == INF, "{back:?}");
    }
    Ok(())
}

#[test]
fn products_and_convolutions_pass_on_nan_and_infinities() -> Outcome {
    let window = Window::new([1, 2], [1, 1], [0, 0]);
    for pool in adapter::all_shared() {
        let image = Tensor::from_slice(pool, &[1.0, NAN, 2.0, INF, 1.0], [1, 1, 1, 5])?;
        let weight = Tensor::from_slice(pool, &[1.0_f32, 1.0], [1, 1, 1, 2])?;
        let bias = Tensor::full(pool, [1], 1.0_f32)?;
        assert_same(image.conv2d(&weight, Some(&bias), window.conv()), &[NAN, NAN, INF, INF], "conv2d")?;
        assert_same(image.unfold(window.unfold()), &[1.0, NAN, 2.0, INF, NAN, 2.0, INF, 1.0], "unfold")?;
        let columns = Tensor::from_slice(pool, &[1.0, NAN, 2.0, 3.0, 1.0, 1.0, INF, 1.0], [1, 2, 4])?;
        assert_same(columns.fold([1, 5], window.unfold()), &[1.0, NAN, 3.0, INF, 1.0], "fold")?;
        let gradient = Tensor::from_slice(pool, &[1.0, NAN, 0.0, 1.0], [1, 1, 1, 4])?;
        assert_same(
            gradient.conv2d_backward_input([1, 1, 1, 5], &weight, window.conv()),
            &[1.0, NAN, NAN, 1.0, 1.0],
            "conv2d_backward_input",
        )?;
        let plain = Tensor::from_slice(pool, &[1.0_f32, 2.0, 3.0, 4.0, 5.0], [1, 1, 1, 5])?;
        assert_same(
            gradient.conv2d_backward_weight(&plain, [1, 1, 1, 2], window.conv()),
            &[NAN, NAN],
            "conv2d_backward_weight",
        )?;
    }
    // Mesa's software GL takes 20 seconds to compile a product.
    if let Some(pool) = adapter::shared() {
        let x = Tensor::from_slice(pool, &[1.0, NAN, 2.0, INF, 0.0, 1.0], [3, 2])?;
        let weight = Tensor::from_slice(pool, &[1.0_f32, 1.0], [1, 2])?;
        assert_same(x.linear(&weight, None), &[NAN, INF, 1.0], "linear")?;
        let stacked = x.reshape([1, 3, 2])?;
        assert_same(stacked.bmm(&weight.reshape([1, 2, 1])?), &[NAN, INF, 1.0], "bmm")?;
        assert_same(x.matmul(&weight.t()?), &[NAN, INF, 1.0], "matmul")?;
    }
    Ok(())
}

#[test]
fn lookups_and_sums_by_an_index_move_special_values() -> Outcome {
    let values = [NAN, -0.0, INF, 1.0, -INF, f32::MAX];
    for pool in adapter::all_shared() {
        let table = Tensor::from_slice(pool, &values, [6])?;
        let index = Tensor::from_slice(pool, &[5_u32, 0, 4, 9], [4])?;
        let wanted = [f32::MAX, NAN, -INF, 0.0];
        assert_same(table.gather(0, &index), &wanted, "gather")?;
        assert_same(table.index_select(0, &index), &wanted, "index_select")?;
        let ones = Tensor::full(pool, [4], 1.0_f32)?;
        for by_slices in [false, true] {
            let sums = table.copied()?;
            if by_slices {
                sums.index_add_(0, &index, &ones)?;
            } else {
                sums.scatter_add_(0, &index, &ones)?;
            }
            assert_same(Ok(sums), &[NAN, 0.0, INF, 1.0, -INF, f32::MAX], "scatter_add_, index_add_")?;
        }
        let joined = Tensor::cat(&[&table, &ones], 0);
        assert_same(joined, &[&values[..], &[1.0; 4]].concat(), "cat")?;
        for number in values {
            assert_same(Tensor::full(pool, [5], number), &[number; 5], "full")?;
            let filled = Tensor::zeros(pool, [5], DType::F32)?;
            filled.fill_(number)?;
            assert_same(Ok(filled), &[number; 5], "fill_")?;
        }
        assert_same(Tensor::arange(pool, 2, INF, 1.0), &[INF; 2], "arange")?;
        assert_same(Tensor::arange(pool, 2, 0.0, NAN), &[NAN; 2], "arange")?;
    }
    Ok(())
}

#[test]
fn losses_pass_on_nan_and_infinities() -> Outcome {
    for pool in adapter::all_shared() {
        let zeros = Tensor::zeros(pool, [3], DType::F32)?;
        for (x, loss, gradient) in
            [([1.0, NAN, 2.0], NAN, [2.0 / 3.0, NAN, 4.0 / 3.0]), ([0.0, INF, 0.0], INF, [0.0, INF, 0.0])]
        {
            let x = Tensor::from_slice(pool, &x, [3])?;
            assert_same(x.mse_loss(&zeros, Reduction::Mean), &[loss], "mse_loss")?;
            let found = x.mse_loss_backward(&zeros, Reduction::Mean)?.read_blocking::<f32>()?;
            let near = |(x, y): (&f32, &f32)| x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() < 1e-6;
            assert!(found.iter().zip(&gradient).all(near), "{found:?}");
        }
        let targets = Tensor::from_slice(pool, &[0_u32, 1], [2])?;
        let certain = Tensor::from_slice(pool, &[0.0, -INF, -INF, 0.0], [2, 2])?;
        assert_same(certain.cross_entropy(&targets, CrossEntropy::default()), &[0.0], "cross_entropy")?;
        assert_same(
            certain.cross_entropy_backward(&targets, CrossEntropy::default()),
            &[0.0; 4],
            "cross_entropy_backward",
        )?;
        let wrong = Tensor::from_slice(pool, &[-INF, 0.0, -INF, 0.0], [2, 2])?;
        assert_same(wrong.cross_entropy(&targets, CrossEntropy::default()), &[INF], "cross_entropy")?;
        let undefined = Tensor::from_slice(pool, &[NAN, 0.0, 0.0, 0.0], [2, 2])?;
        assert_same(undefined.cross_entropy(&targets, CrossEntropy::default()), &[NAN], "cross_entropy")?;
    }
    Ok(())
}

#[test]
fn optimizers_change_what_has_a_special_gradient_and_nothing_else() -> Outcome {
    for pool in adapter::all_shared() {
        let gradient = Tensor::from_slice(pool, &[1.0, NAN, INF, 0.0], [4])?;
        let tensor = |values: [f32; 4]| Tensor::from_slice(pool, &values, [4]);
        for nesterov in [false, true] {
            let (x, velocity) = (tensor([1.0, 1.0, 1.0, INF])?, tensor([0.0; 4])?);
            let momentum = if nesterov { 0.5 } else { 0.0 };
            let sgd = Sgd { learning_rate: 0.5, momentum, nesterov, ..Sgd::default() };
            sgd.step(&[SgdParameter { value: &x, gradient: &gradient, velocity: &velocity }])?;
            assert_same(Ok(x), &[if nesterov { 0.25 } else { 0.5 }, NAN, -INF, INF], "step of SGD")?;
        }
        let (x, mean, mean_square) = (tensor([1.0; 4])?, tensor([0.0; 4])?, tensor([0.0; 4])?);
        let adamw = AdamW { weight_decay: 0.0, ..AdamW::default() };
        let parameter = AdamWParameter { value: &x, gradient: &gradient, mean: &mean, mean_square: &mean_square };
        adamw.step(1, &[parameter])?;
        let found = x.read_blocking::<f32>()?;
        assert!((found[0] - 0.999).abs() < 1e-6 && found[1].is_nan() && found[2].is_nan(), "{found:?}");
        assert_eq!(found[3], 1.0);
    }
    Ok(())
}
