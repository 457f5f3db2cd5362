//! The sum of the parts of a weight gradient.

use super::convolve::Convolution;
use crate::error::TensorError;
use crate::ops::launch::{grid, index, iterations, launch, with_gpu, workgroup_size};
use crate::ops::placed::Placed;
use crate::ops::shader::{CONV2D_WEIGHT_SUM, Variant};
use crate::tensor::{DType, Tensor, arithmetic};
use bytemuck::{Pod, Zeroable};

/// Parts that an invocation loads at once.
const FOUR: usize = 4;
/// Invocations of an element of many parts.
const LANES: usize = 8;
/// The most parts that one invocation adds up: four take 0.6 µs on an H100 where the gradient has few elements.
const MOST_OF_ONE: usize = 16;

/// The parameters of `conv2d_weight_sum.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Params {
    count: u32,
    parts: u32,
    across: u32,
    part: u32,
    lines: u32,
    taps: u32,
}

/// The parts of a weight gradient, of shape (parts, outputs, lines).
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) sums: Tensor,
    /// Whether the lines have the order of the units of a tile, otherwise that of the gradient.
    pub(super) in_units: bool,
}

impl Convolution {
    /// The sum of the parts, of shape (outputs, lines), in the order of the gradient.
    #[track_caller]
    pub(super) fn sum(&self, name: &'static str, parts: &Parts, dtype: DType) -> Result<Tensor, TensorError> {
        let Parts { sums, in_units } = parts;
        let (count, across) = (sums.shape()[0], sums.shape()[2]);
        if !in_units {
            let sum = if count == 1 { sums.clone() } else { sums.sum(0)? };
            return sum.to(dtype);
        }
        let number = |value| index(name, value);
        let gradient = sums.new_empty([self.outputs, self.lines], dtype)?;
        let part = arithmetic::size_of(&[self.outputs, across], 1)?;
        number(arithmetic::size_of(&[count.saturating_add(FOUR), part], 1)?)?;
        let params = Params {
            count: number(gradient.elements())?,
            parts: number(count)?,
            across: number(across)?,
            part: number(part)?,
            lines: number(self.lines)?,
            taps: number(arithmetic::elements(&self.window.kernel))?,
        };
        let has_many = count > MOST_OF_ONE;
        let lanes = if has_many { LANES } else { 1 };
        let variant = Variant { output: dtype, ..Variant::plain(sums.dtype()) };
        let program = with_gpu(sums, |gpu| CONV2D_WEIGHT_SUM[usize::from(has_many)].program(gpu, variant))?;
        let bindings = [Placed::of(&gradient).bind_whole(name)?, Placed::of(sums).bind_whole(name)?];
        let invocations = number(arithmetic::size_of(&[gradient.elements(), lanes], 1)?)?;
        let steps = iterations(count.div_ceil(FOUR).div_ceil(lanes) as u64, 0);
        let loops = steps.saturating_add(iterations(lanes as u64, 0));
        let workgroups = grid(invocations.div_ceil(workgroup_size(sums)));
        launch(name, &program, &bindings, bytemuck::bytes_of(&params), workgroups, loops)?;
        Ok(gradient)
    }
}

/// The sum of parts of shape (parts, outputs, 72), which are those of eight channels with 3 × 3 taps, in the order of the units.
#[cfg(all(test, not(target_arch = "wasm32")))]
pub(in crate::ops) fn sum_of_parts(parts: &Tensor) -> Result<Tensor, TensorError> {
    let weight = [parts.shape()[1], 8, 3, 3];
    let convolution = Convolution::new("test", &[1, 8, 9, 9], &weight, super::Conv2d::default())?;
    convolution.sum("test", &Parts { sums: parts.clone(), in_units: true }, parts.dtype())
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::pool::{Pool, PoolOptions};

    #[test]
    fn all_parts_are_added_up_in_the_order_of_the_gradient() -> Result<(), TensorError> {
        let Ok(pool) = Pool::request_blocking(PoolOptions::default()) else { return Ok(()) };
        for count in [2, 4, 5, 16, 17, 33, 67] {
            // (part, output, tap, channel) to (part, output, channel, tap); sums of small integers are exact.
            let elements: Vec<f32> = (0..count * 3 * 72_u32).map(|at| (at * 7_919 % 1_009) as f32).collect();
            let parts = Tensor::from_slice(&pool, &elements, [count as usize, 3, 72])?;
            let wanted = parts.reshape([count as usize, 3, 9, 8])?.permute([0, 1, 3, 2])?.contiguous()?.sum(0)?;
            let found = sum_of_parts(&parts)?;
            assert_eq!(found.shape(), [3, 72]);
            assert_eq!(found.read_blocking::<f32>()?, wanted.read_blocking::<f32>()?, "{count} parts");
        }
        Ok(())
    }
}
