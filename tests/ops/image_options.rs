//! Options of convolution and pooling: dilation, groups, paddings that differ, positions beyond the edge, images without a batch
//! axis. That each result is right in every place is the business of `table/images.rs`.

use crate::common::{Outcome, adapter};
use crate::window::Window;
use wgpu_pool::{AvgPool2d, Conv2d, Corners, DType, MaxPool2d, Padding, Tensor, TensorError, Unfold};

#[test]
fn options_have_the_defaults_of_pytorch() {
    let convolution = Conv2d { stride: [1, 1], padding: 0.into(), dilation: [1, 1], groups: 1 };
    assert_eq!(Conv2d::default(), convolution);
    let window = Window::new([3, 3], [3, 3], [0, 0]);
    assert_eq!((MaxPool2d::new(3), AvgPool2d::new(3)), (window.max(), window.avg()));
    assert_eq!(Unfold::new(3), Window::new([3, 3], [1, 1], [0, 0]).unfold());
    assert_eq!(Padding::from([1, 2]), Padding { top: 1, bottom: 1, left: 2, right: 2 });
    assert_eq!(Padding::same([3, 4], [2, 3]), Padding { top: 2, bottom: 2, left: 4, right: 5 });
}

/// Read off `torch.nn.MaxPool2d` and `torch.nn.AvgPool2d` with these arguments.
#[test]
fn positions_beyond_the_edge_count_as_in_pytorch() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let x = Tensor::arange(pool, 25, 1.0_f32, 1.0_f32)?.reshape([1, 1, 5, 5])?;
    let largest = |options: MaxPool2d| x.max_pool2d(options)?.read_blocking::<f32>();
    let ceil = MaxPool2d { ceil_mode: true, ..MaxPool2d::new(2) };
    assert_eq!(largest(ceil)?, [7.0, 9.0, 10.0, 17.0, 19.0, 20.0, 22.0, 24.0, 25.0]);
    assert_eq!(largest(MaxPool2d::new(2))?, [7.0, 9.0, 17.0, 19.0]);
    let dilated = MaxPool2d { dilation: [2, 2], stride: [1, 1], ..MaxPool2d::new(2) };
    assert_eq!(largest(dilated)?, [13.0, 14.0, 15.0, 18.0, 19.0, 20.0, 23.0, 24.0, 25.0]);
    // A last position that would begin in the padding behind the image is none.
    let padded = MaxPool2d { kernel_size: [2, 2], stride: [3, 3], padding: [1, 1].into(), ..ceil };
    assert_eq!(x.narrow(2, 0, 5)?.max_pool2d(padded)?.shape(), [1, 1, 2, 2]);
    let mean = |options: AvgPool2d| x.avg_pool2d(options)?.read_blocking::<f32>();
    let ceil = AvgPool2d { ceil_mode: true, ..AvgPool2d::new(2) };
    assert_eq!(mean(ceil)?, [4.0, 6.0, 7.5, 14.0, 16.0, 17.5, 21.5, 23.5, 25.0]);
    let padded = AvgPool2d { padding: [1, 1].into(), ..AvgPool2d::new(3) };
    for (found, sum) in mean(padded)?.into_iter().zip([16.0, 39.0, 99.0, 171.0]) {
        assert!((found - sum / 9.0).abs() < 1e-5, "{found}");
    }
    let own = AvgPool2d { count_include_pad: false, ..padded };
    assert_eq!(mean(own)?, [4.0, 6.5, 16.5, 19.0]);
    Ok(())
}

/// Window, position and padding together exceed 32 bits.
#[test]
fn windows_of_almost_32_bits_average_the_elements_under_them() -> Outcome {
    for pool in adapter::all_shared() {
        let x = Tensor::full(pool, [1, 1, 1, 10], 1.0_f32)?;
        for ceil_mode in [true, false] {
            let options = AvgPool2d {
                kernel_size: [1, 4_250_000_000],
                stride: [1, 2_100_000_000],
                padding: [0, 2_125_000_000].into(),
                ceil_mode,
                count_include_pad: false,
            };
            let means = x.avg_pool2d(options)?;
            let shape = means.shape().to_vec();
            assert!(means.read_blocking::<f32>()?.iter().all(|&mean| mean == 1.0), "{ceil_mode}: {means:?}");
            let back = Tensor::full(pool, shape.clone(), 1.0_f32)?.avg_pool2d_backward([1, 1, 1, 10], options)?;
            let wanted = 0.1 * shape[3] as f32;
            let back = back.read_blocking::<f32>()?;
            assert!(back.iter().all(|slope| (slope - wanted).abs() < 1e-6), "{ceil_mode}: {back:?}");
            let max = MaxPool2d {
                kernel_size: options.kernel_size,
                stride: options.stride,
                padding: options.padding,
                dilation: [1, 1],
                ceil_mode,
            };
            let (largest, places) = x.max_pool2d_with_indices(max)?;
            assert!(largest.read_blocking::<f32>()?.iter().all(|&largest| largest == 1.0), "{ceil_mode}");
            let back = largest.max_pool2d_backward(&places, [1, 1, 1, 10], max)?.read_blocking::<f32>()?;
            assert_eq!(back.iter().sum::<f32>(), shape[3] as f32, "{ceil_mode}: {back:?}");
        }
    }
    Ok(())
}

#[test]
fn a_convolution_in_groups_is_that_of_each_group() -> Outcome {
    for pool in adapter::all_shared() {
        // Large enough for tiles on a real GPU, depthwise, and of groups that fill no block of outputs.
        for (channels, outputs, groups) in [(64, 64, 2), (12, 12, 12), (6, 9, 3), (4, 40, 4)] {
            let options = Conv2d { stride: [2, 1], padding: 1.into(), groups, ..Conv2d::default() };
            let x = Tensor::randn(pool, [2, channels, 9, 10], 1)?;
            let weight = Tensor::randn(pool, [outputs, channels / groups, 3, 3], 2)?;
            let bias = Tensor::randn(pool, [outputs], 3)?;
            let found = x.conv2d(&weight, Some(&bias), options)?;
            let gradient = Tensor::randn(pool, found.shape(), 4)?;
            let by_input = gradient.conv2d_backward_input(x.shape(), &weight, options)?;
            let by_weight = gradient.conv2d_backward_weight(&x, weight.shape(), options)?;
            let alone = Conv2d { groups: 1, ..options };
            for group in 0..groups {
                let (of_inputs, of_outputs) = (channels / groups, outputs / groups);
                let part = |x: &Tensor, axis: usize, size: usize| x.narrow(axis, group * size, size);
                let (x, gradient) = (part(&x, 1, of_inputs)?, part(&gradient, 1, of_outputs)?);
                let (weight, bias) = (part(&weight, 0, of_outputs)?, part(&bias, 0, of_outputs)?);
                for (found, wanted) in [
                    (part(&found, 1, of_outputs)?, x.conv2d(&weight, Some(&bias), alone)?),
                    (part(&by_input, 1, of_inputs)?, gradient.conv2d_backward_input(x.shape(), &weight, alone)?),
                    (part(&by_weight, 0, of_outputs)?, gradient.conv2d_backward_weight(&x, weight.shape(), alone)?),
                ] {
                    let far = found.sub(&wanted)?.abs()?.amax(..)?.item_blocking::<f32>()?;
                    assert!(found.shape() == wanted.shape() && far < 1e-3, "{channels} {groups}, {group}: {far}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn an_image_without_a_batch_axis_gives_what_a_batch_of_it_gives() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let image = Tensor::randn(pool, [4, 6, 7], 1)?;
    let batch = image.unsqueeze(0)?;
    let weight = Tensor::randn(pool, [6, 2, 3, 3], 2)?;
    let options = Conv2d { padding: 1.into(), groups: 2, ..Conv2d::default() };
    let strided = Conv2d { stride: [2, 2], ..options };
    let (max, avg, patches) = (MaxPool2d::new(2), AvgPool2d::new(2), Unfold::new(2));
    type Run<'a> = &'a dyn Fn(&Tensor) -> Result<Tensor, TensorError>;
    let runs: [Run<'_>; 12] = [
        &|x| x.conv2d(&weight, None, options),
        &|x| x.conv2d(&weight, None, options)?.conv2d_backward_input(x.shape(), &weight, options),
        &|x| x.conv2d(&weight, None, strided)?.conv2d_backward_input(x.shape(), &weight, strided),
        &|x| x.conv2d(&weight, None, options)?.conv2d_backward_weight(x, weight.shape(), options)?.unsqueeze(0),
        &|x| x.max_pool2d(max),
        &|x| {
            let (largest, places) = x.max_pool2d_with_indices(max)?;
            largest.max_pool2d_backward(&places, x.shape(), max)
        },
        &|x| x.avg_pool2d(avg)?.avg_pool2d_backward(x.shape(), avg),
        &|x| x.avg_pool2d(avg),
        &|x| x.unfold(patches),
        &|x| x.unfold(patches)?.fold([6, 7], patches),
        &|x| x.upsample_bilinear([9, 5], Corners::Outer)?.upsample_bilinear_backward([6, 7], Corners::Outer),
        &|x| x.upsample_nearest([9, 5]),
    ];
    for (number, run) in runs.into_iter().enumerate() {
        let (alone, of_batch) = (run(&image)?, run(&batch)?);
        assert_eq!(alone.read_blocking::<f32>()?, of_batch.read_blocking::<f32>()?, "{number}");
        // The gradient by a weight has no batch in either.
        let wanted = if number == 3 { of_batch.shape() } else { &of_batch.shape()[1..] };
        assert_eq!(alone.shape(), wanted, "{number}");
    }
    Ok(())
}

#[track_caller]
fn refused<T>(result: Result<T, TensorError>, message: &str) {
    assert_eq!(result.map(drop).map_err(|error| error.to_string()), Err(message.into()));
}

#[test]
fn options_that_fit_no_image_are_refused_with_numbers() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let x = Tensor::zeros(pool, [2, 6, 5, 5], DType::F32)?;
    let weight = |shape: [usize; 4]| Tensor::zeros(pool, shape, DType::F32);
    let groups = |groups| Conv2d { groups, ..Conv2d::default() };
    refused(x.conv2d(&weight([4, 3, 1, 1])?, None, groups(4)), "conv2d: 6 channels and 4 outputs can't be in 4 groups");
    refused(x.conv2d(&weight([4, 3, 1, 1])?, None, groups(0)), "conv2d: 6 channels and 4 outputs can't be in 0 groups");
    refused(
        x.conv2d(&weight([4, 6, 1, 1])?, None, groups(2)),
        "conv2d: the weight [4, 6, 1, 1] has 6 input channels per group, but the input [2, 6, 5, 5] has 3 with groups = 2",
    );
    let wide = Conv2d { dilation: [1, 3], ..Conv2d::default() };
    let wanted = "conv2d: a kernel of [3, 3] with stride [1, 1], dilation [1, 3] and padding [[0, 0], [0, 0]] does not fit images of \
                  [5, 5]";
    refused(x.conv2d(&weight([4, 6, 3, 3])?, None, wide), wanted);
    let none = Conv2d { dilation: [0, 1], ..Conv2d::default() };
    let wanted = "conv2d: a kernel of [3, 3] with stride [1, 1], dilation [0, 1] and padding [[0, 0], [0, 0]] is not defined: kernel, \
                  stride and dilation have to be 1 or more";
    refused(x.conv2d(&weight([4, 6, 3, 3])?, None, none), wanted);
    // Windows that lie within the padding alone, or whose taps step over the image.
    let padded = MaxPool2d { padding: [2, 0].into(), ..MaxPool2d::new(3) };
    let wanted = "max_pool2d: a kernel of [3, 3] with stride [3, 3], dilation [1, 1] and padding [[2, 2], [0, 0]] has a position with \
                  all taps in the padding on images of [5, 5]: reduce the padding or the dilation";
    refused(x.max_pool2d(padded), wanted);
    let after = MaxPool2d { padding: [[0, 0], [1, 2]].into(), ..MaxPool2d::new(3) };
    assert!(matches!(x.max_pool2d_with_indices(after), Err(TensorError::KernelWindow { .. })));
    let over_after = MaxPool2d { padding: [[0, 3], [0, 0]].into(), dilation: [6, 1], ..MaxPool2d::new(2) };
    assert!(matches!(x.max_pool2d_with_indices(over_after), Err(TensorError::KernelWindow { .. })));
    let over = MaxPool2d { padding: [3, 0].into(), dilation: [6, 1], ..MaxPool2d::new(2) };
    assert!(matches!(x.max_pool2d_with_indices(over), Err(TensorError::KernelWindow { .. })));
    let own = AvgPool2d { padding: [2, 0].into(), count_include_pad: false, ..AvgPool2d::new(3) };
    assert!(matches!(x.avg_pool2d(own), Err(TensorError::KernelWindow { .. })));
    refused(
        x.flatten(1..)?.avg_pool2d(AvgPool2d::new(1)),
        "avg_pool2d: the input [2, 150] has 2 dimensions, and 3 or 4 are needed",
    );
    Ok(())
}
