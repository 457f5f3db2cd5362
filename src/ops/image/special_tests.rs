//! NaN and infinities in the operands of every kernel for convolutions: they go where the definition with the zeros of the padding
//! says, and nowhere else.

use super::convolution_tests::{CASES, Case, dtypes, kernels, rows_in_vec4s, weight_kernels, with};
use super::folded_gradient;
use super::weight_kernel::forced as forced_weight;
use crate::error::TensorError;
use crate::pool::{Pool, PoolOptions};
use crate::tensor::{DType, Tensor, arithmetic};

/// Numbers of which one in so many is special: NaN and infinities of both signs. Each dtype has them.
fn elements(shape: [usize; 4], seed: usize) -> Vec<f32> {
    // Few enough that some sums have one, and others none.
    let one_in = arithmetic::elements(&shape).clamp(4, 40);
    let each = |at: usize| {
        let mixed = (at + 7 * seed + 1).wrapping_mul(2_654_435_761) % 65_521;
        match mixed % one_in {
            0 => [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][mixed / one_in % 3],
            _ => (mixed % 7) as f32 - 3.0,
        }
    };
    (0..arithmetic::elements(&shape)).map(each).collect()
}

fn as_f64(elements: &[f32]) -> Vec<f64> {
    elements.iter().copied().map(f64::from).collect()
}

/// Whether two numbers are both finite, both NaN, or the same infinity.
fn is_alike(found: f32, wanted: f64) -> bool {
    let class = |x: f64| (x.is_nan(), if x.is_infinite() { x } else { 0.0 });
    class(f64::from(found)) == class(wanted)
}

#[track_caller]
fn check(found: &Tensor, wanted: &[f64], others: &[f64], context: &str) -> Result<(), TensorError> {
    let found = found.to(DType::F32)?.read_blocking::<f32>()?;
    assert_eq!(found.len(), wanted.len(), "{context}");
    for (at, &found) in found.iter().enumerate() {
        let is_right = is_alike(found, wanted[at]) || is_alike(found, others[at]);
        assert!(is_right, "{context}: element {at} is {found}, not {} or {}", wanted[at], others[at]);
    }
    Ok(())
}

fn zeros(shape: [usize; 4]) -> Vec<f64> {
    vec![0.0; arithmetic::elements(&shape)]
}

#[test]
fn convolutions_of_special_values_multiply_the_zeros_of_the_padding() -> Result<(), TensorError> {
    let Ok(pool) = Pool::request_blocking(PoolOptions::default()) else { return Ok(()) };
    for case in CASES.into_iter().chain(rows_in_vec4s()) {
        let [of_image, of_weight, of_result] = case.shapes();
        let [x, w, g] = [(of_image, 1), (of_weight, 2), (of_result, 3)].map(|(shape, seed)| elements(shape, seed));
        let [image_f64, weight_f64, gradient_f64] = [&x, &w, &g].map(|elements| as_f64(elements));
        let (mut forward, mut by_input) = (zeros(of_result), zeros(of_image));
        case.each_tap(|from, tap, to| {
            forward[to] += from.map_or(0.0, |from| image_f64[from]) * weight_f64[tap];
            from.into_iter().for_each(|from| by_input[from] += gradient_f64[to] * weight_f64[tap]);
        });
        let beyond = with_every_tap(&case, &by_input, &weight_f64);
        for &dtype in dtypes(&pool)? {
            let image = Tensor::from_slice(&pool, &x, of_image)?.to(dtype)?;
            let weight = Tensor::from_slice(&pool, &w, of_weight)?.to(dtype)?;
            let gradient = Tensor::from_slice(&pool, &g, of_result)?.to(dtype)?;
            for kernel in kernels(&pool, dtype)? {
                let context = format!("{dtype} {case:?} {kernel:?}");
                let found = with(kernel, 65_535, || image.conv2d(&weight, None, case.options()))?;
                check(&found, &forward, &forward, &format!("forward {context}"))?;
                let run = || gradient.conv2d_backward_input(of_image, &weight, case.options());
                check(&with(kernel, 65_535, run)?, &by_input, &beyond, &format!("by input {context}"))?;
                if kernel.is_none() && dtype == DType::F32 {
                    // With groups it is computed by another kernel.
                    let others = if case.groups > 1 { &beyond } else { &by_input };
                    check(&folded_gradient::forced::with(2, run)?, &by_input, others, &format!("folded {context}"))?;
                }
            }
        }
    }
    Ok(())
}

/// The input gradient, with the products of each weight and 0 for taps beyond the gradient and between its strides.
fn with_every_tap(case: &Case, by_input: &[f64], weight: &[f64]) -> Vec<f64> {
    let Case { groups, channels, outputs, size, kernel, .. } = *case;
    let (plane, taps) = (size[0] * size[1], kernel[0] * kernel[1]);
    let each = by_input.iter().enumerate().map(|(at, sum)| {
        let channel = at / plane % (groups * channels);
        let (group, channel) = (channel / channels, channel % channels);
        let of_output = |output: usize| ((group * outputs + output) * channels + channel) * taps;
        let zeros = (0..outputs).flat_map(|output| &weight[of_output(output)..][..taps]).map(|weight| 0.0 * weight);
        sum + zeros.sum::<f64>()
    });
    each.collect()
}

#[test]
fn weight_gradients_of_special_values_multiply_the_zeros_of_the_padding() -> Result<(), TensorError> {
    let Ok(pool) = Pool::request_blocking(PoolOptions::default()) else { return Ok(()) };
    for case in CASES.into_iter().chain(rows_in_vec4s()) {
        let [of_image, of_weight, of_result] = case.shapes();
        let (x, g) = (elements(of_image, 1), elements(of_result, 3));
        let mut wanted = zeros(of_weight);
        let [image_f64, gradient_f64] = [&x, &g].map(|elements| as_f64(elements));
        case.each_tap(|from, tap, to| wanted[tap] += gradient_f64[to] * from.map_or(0.0, |from| image_f64[from]));
        for &dtype in dtypes(&pool)? {
            let (image, gradient) = (
                Tensor::from_slice(&pool, &x, of_image)?.to(dtype)?,
                Tensor::from_slice(&pool, &g, of_result)?.to(dtype)?,
            );
            for kernel in weight_kernels() {
                let run = || gradient.conv2d_backward_weight(&image, of_weight, case.options());
                let found = forced_weight::with(kernel, run)?;
                check(&found, &wanted, &wanted, &format!("{dtype} {case:?} {kernel:?}"))?;
            }
        }
    }
    Ok(())
}
