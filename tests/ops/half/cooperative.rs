//! Products by cooperative matrices, where the adapter has them. Whole numbers: every sum is exact in f32, in any order.

use super::assert_rounded;
use crate::common::Outcome;
use crate::common::random::Random;
use crate::model::Array;
use wgpu_pool::{Activation, Conv2d, DType, GpuOptions, Pool, PoolOptions, Tensor, TensorError};

/// A pool whose products of f16 are by cooperative matrices, if there is such an adapter.
fn pool() -> Option<Pool> {
    #[expect(unsafe_code, reason = "wgpu requires a statement that an experimental feature may have bugs")]
    let experimental = unsafe { wgpu::ExperimentalFeatures::enabled() };
    let gpu = GpuOptions { experimental, ..GpuOptions::default() };
    let pool = Pool::request_blocking(PoolOptions { gpu, ..crate::common::options() }).ok()?;
    let has = pool.memory().device().features().contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);
    println!("cooperative matrices: {has}");
    has.then_some(pool)
}

fn whole(pool: &Pool, shape: &[usize], random: &mut Random) -> Result<Tensor, TensorError> {
    Array::<f32>::whole(shape, random).to_device(pool)?.to(DType::F16)
}

fn check(left: &Tensor, right: &Tensor, bias: Option<&Tensor>, what: &str) -> Outcome {
    let wide = |tensor: &Tensor| tensor.to(DType::F32);
    let wide_bias = bias.map(wide).transpose()?;
    for activation in [None, Some(Activation::Relu)] {
        let found = left.matmul_then(right, bias, activation)?;
        let wanted = wide(left)?.matmul_then(&wide(right)?, wide_bias.as_ref(), activation)?;
        assert_rounded(&found, &wanted, 1, what);
    }
    Ok(())
}

#[test]
fn products_by_cooperative_matrices_are_those_of_f32() -> Outcome {
    let Some(pool) = pool() else { return Ok(()) };
    let mut random = Random::new(171);
    let sizes = [
        [128, 128, 128],
        [136, 160, 264],
        [64, 256, 1000],
        [1000, 32, 64],
        [33, 96, 48],
        // K in parts, without and with a rest, and few rows.
        [200, 2048, 72],
        [136, 2100, 72],
        [4, 1024, 264],
    ];
    for [rows, depth, columns] in sizes {
        let left = whole(&pool, &[rows, depth], &mut random)?;
        let left_transposed = whole(&pool, &[depth, rows], &mut random)?.t()?;
        let right = whole(&pool, &[depth, columns], &mut random)?;
        let right_transposed = whole(&pool, &[columns, depth], &mut random)?.t()?;
        let bias = whole(&pool, &[columns], &mut random)?;
        for (left_name, left) in [("rows", &left), ("columns", &left_transposed)] {
            for (right_name, right) in [("rows", &right), ("columns", &right_transposed)] {
                let what = format!("{rows}×{depth} in {left_name} by {depth}×{columns} in {right_name}");
                check(left, right, None, &what)?;
                check(left, right, Some(&bias), &what)?;
            }
        }
    }
    let batches = [whole(&pool, &[3, 130, 64], &mut random)?, whole(&pool, &[3, 64, 72], &mut random)?];
    check(&batches[0], &batches[1], None, "batches")?;
    check(&batches[0].narrow(1, 2, 128)?, &batches[1], None, "a part of batches")?;
    let both = whole(&pool, &[256, 256], &mut random)?;
    check(&both, &both.t()?, None, "of one storage")
}

#[test]
fn convolutions_by_cooperative_matrices_are_those_of_f32() -> Outcome {
    let Some(pool) = pool() else { return Ok(()) };
    let mut random = Random::new(172);
    let wide = |tensor: &Tensor| tensor.to(DType::F32);
    // Tiles and one more, channels that fill no unit, strides, dilations, groups, and windows that are no multiple of four.
    for (channels, outputs, size, kernel, stride, dilation, groups) in [
        (16, 128, [16, 8], [3, 3], [1, 1], [1, 1], 1),
        (33, 129, [13, 10], [3, 2], [1, 1], [1, 1], 1),
        (40, 64, [17, 19], [3, 3], [2, 2], [1, 1], 1),
        (8, 40, [12, 11], [3, 3], [1, 1], [2, 3], 1),
        (68, 80, [9, 9], [1, 1], [1, 1], [1, 1], 2),
        (36, 36, [10, 10], [4, 4], [3, 2], [1, 2], 1),
    ] {
        let options = Conv2d { stride, padding: 1.into(), dilation, groups };
        let image = whole(&pool, &[3, channels, size[0], size[1]], &mut random)?.narrow(0, 1, 2)?;
        let weight = whole(&pool, &[outputs, channels / groups, kernel[0], kernel[1]], &mut random)?;
        let bias = whole(&pool, &[outputs], &mut random)?;
        for (bias, activation) in [(None, None), (Some(&bias), Some(Activation::Relu))] {
            let found = image.conv2d_then(&weight, bias, options, activation)?;
            let wide_bias = bias.map(wide).transpose()?;
            let wanted = wide(&image)?.conv2d_then(&wide(&weight)?, wide_bias.as_ref(), options, activation)?;
            assert_rounded(&found, &wanted, 1, &format!("{channels} {outputs} {size:?} {kernel:?} {options:?}"));
            let by_input = found.conv2d_backward_input(image.shape(), &weight, options)?;
            let wanted = wide(&found)?.conv2d_backward_input(image.shape(), &wide(&weight)?, options)?;
            assert_rounded(&by_input, &wanted, 2, "by input");
        }
    }
    Ok(())
}

/// Where the result in f32 is NaN or infinite, that of f16 is, and nowhere else: by the zeros of the padding as well.
#[test]
fn special_values_go_where_they_go_in_f32() -> Outcome {
    let Some(pool) = pool() else { return Ok(()) };
    let mut random = Random::new(173);
    let mut operand = |shape: &[usize], one_in: usize| -> Result<Tensor, TensorError> {
        let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        let number = |random: &mut Random| Array::<f32>::whole(&[1], random).elements[0];
        let mut each = || if random.below(one_in) == 0 { special[random.below(3)] } else { number(&mut random) };
        Array::new(shape, &mut each).to_device(&pool)?.to(DType::F16)
    };
    let assert_alike = |found: &Tensor, wanted: &Tensor, what: &str| -> Outcome {
        let [found, wanted] = [found.to(DType::F32)?.read_blocking::<f32>()?, wanted.read_blocking::<f32>()?];
        let class = |x: f32| (x.is_nan(), if x.is_infinite() { x } else { 0.0 });
        let wrong = found.iter().zip(&wanted).position(|(&found, &wanted)| class(found) != class(wanted));
        assert!(wrong.is_none(), "{what}: element {wrong:?}");
        Ok(())
    };
    let wide = |tensor: &Tensor| tensor.to(DType::F32);
    for (channels, outputs, padding, groups) in [(33, 129, 1, 1), (16, 128, 2, 1), (68, 80, 1, 2)] {
        let options = Conv2d { padding: padding.into(), groups, ..Conv2d::default() };
        let image = operand(&[2, channels, 9, 11], 3000)?;
        let weight = operand(&[outputs, channels / groups, 3, 3], 3000)?;
        let found = image.conv2d(&weight, None, options)?;
        let wanted = wide(&image)?.conv2d(&wide(&weight)?, None, options)?;
        assert_alike(&found, &wanted, &format!("{channels} {outputs} {options:?}"))?;
        let gradient = operand(found.shape(), 20_000)?;
        let found = gradient.conv2d_backward_input(image.shape(), &weight, options)?;
        let wanted = wide(&gradient)?.conv2d_backward_input(image.shape(), &wide(&weight)?, options)?;
        assert_alike(&found, &wanted, &format!("by input {channels} {outputs} {options:?}"))?;
        let found = gradient.conv2d_backward_weight(&image, weight.shape(), options)?;
        let wanted = wide(&gradient)?.conv2d_backward_weight(&wide(&image)?, weight.shape(), options)?;
        assert_alike(&found, &wanted, &format!("by weight {channels} {outputs} {options:?}"))?;
    }
    for [rows, depth, columns] in [[128, 128, 128], [136, 160, 264], [33, 96, 48]] {
        let (left, right) = (operand(&[rows, depth], 4000)?, operand(&[depth, columns], 4000)?);
        let wanted = wide(&left)?.matmul(&wide(&right)?)?;
        assert_alike(&left.matmul(&right)?, &wanted, &format!("{rows} {depth} {columns}"))?;
    }
    Ok(())
}
