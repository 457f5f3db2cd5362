//! Products whose K dimension is divided into parts (split-K): few tiles of output and a long K would occupy a fraction of a GPU.
//!
//! Different workgroups multiply the parts, with the kernel of an undivided product, into sums of their own. `matmul_parts.wgsl` then
//! adds the sums in the order of the parts, applies the epilogue, and rounds once. To the first kernel the parts are the batches of
//! a product whose batch strides are a part of K; the last part, if it is shorter, is a dispatch of its own.

use super::choice::{self, Kernel};
use super::product::{Finish, Product, number};
use super::{Matrices, NAME, Sizes, add_up};
use crate::error::TensorError;
use crate::ops::launch::{grid, iterations, launch, with_gpu, workgroup_size};
use crate::ops::placed::Placed;
use crate::ops::shader::{MATMUL_PARTS, Variant};
use crate::tensor::{DType, Tensor};
use bytemuck::{Pod, Zeroable};

/// Lengths of parts are multiples of this, the largest slice of a kernel.
const UNIT: usize = 32;

/// The parameters of `matmul_parts.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Params {
    elements: u32,
    columns: u32,
    parts: u32,
    output_offset: u32,
    bias_offset: u32,
}

/// Computes the products in parts if this is faster. Returns `false` if it is not, or if the pool has no memory for the sums of the
/// parts, at most 16 MiB, or they exceed a block; the output is then as before.
#[track_caller]
pub(super) fn multiply(whole: Product<'_>, kernel: Kernel) -> Result<bool, TensorError> {
    let Product { sizes, left, right, output, finish, .. } = whole;
    let parts = choice::parts(&sizes, kernel, output);
    if parts == 1 {
        return Ok(false);
    }
    let length = length_of_part(sizes.depth, parts);
    let shape = [sizes.depth.div_ceil(length), sizes.rows, sizes.columns];
    let sums = match output.new_empty(shape, left.dtype.number()) {
        Ok(sums) if !sums.is_divided() => sums,
        _ => return Ok(false),
    };
    for batch in 0..sizes.batches {
        let full = Product {
            sizes: Sizes { batches: sizes.depth / length, depth: length, ..sizes },
            left: Matrices { batch: length * left.column, ..left.further(batch * left.batch) },
            right: Matrices { batch: length * right.row, ..right.further(batch * right.batch) },
            output: &sums,
            finish: Finish::NONE,
            ..whole
        };
        add_up(full, kernel)?;
        let rest = sizes.depth % length;
        if rest > 0 {
            let sizes = Sizes { batches: 1, depth: rest, ..sizes };
            add_up(Product { sizes, first_batch: full.sizes.batches, ..full }, kernel)?;
        }
        add_parts(&sums, left.dtype, output, batch * sizes.rows * sizes.columns, finish)?;
    }
    Ok(true)
}

/// Returns the length of the parts, at least as long as `parts` parts require, so that the full parts, which are computed together,
/// and then the rest take the least time.
fn length_of_part(depth: usize, parts: usize) -> usize {
    let shortest = depth.div_ceil(parts).next_multiple_of(UNIT);
    let lengths = (shortest..=shortest + shortest / 4).step_by(UNIT);
    lengths.min_by_key(|length| length + depth % length).unwrap_or(shortest)
}

/// Adds the parts to elements of the output from `output_offset` on.
#[track_caller]
fn add_parts(
    sums: &Tensor,
    dtype: DType,
    output: &Tensor,
    output_offset: usize,
    finish: Finish<'_>,
) -> Result<(), TensorError> {
    let &[parts, rows, columns] = sums.shape() else {
        return Err(TensorError::dimensions(NAME, "sums", sums.shape(), "3"));
    };
    number(sums.elements())?;
    number(output.elements())?;
    let bias = finish.bias.map(|bias| Placed::of(bias).bind_contiguous(NAME, 1)).transpose()?;
    let params = Params {
        elements: number(rows * columns)?,
        columns: number(columns)?,
        parts: number(parts)?,
        output_offset: number(output_offset)?,
        bias_offset: bias.map_or(0, |(_, offset)| offset),
    };
    let variant =
        Variant { operation: finish.operation, bias: bias.is_some(), output: output.dtype(), ..Variant::plain(dtype) };
    let program = with_gpu(output, |gpu| MATMUL_PARTS.program(gpu, variant))?;
    let [output_bound, sums_bound] = [output, sums].map(|tensor| Placed::of(tensor).bind_whole(NAME));
    let (output_bound, sums_bound) = (output_bound?, sums_bound?);
    let all = [output_bound, sums_bound, bias.map_or(output_bound, |(bias, _)| bias)];
    let bindings = if bias.is_some() { &all[..] } else { &all[..2] };
    let workgroups = grid(params.elements.div_ceil(workgroup_size(output)));
    let loops = iterations(parts as u64 / 4, 0) + iterations(3, 0);
    launch(NAME, &program, bindings, bytemuck::bytes_of(&params), workgroups, loops)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_k_and_are_no_more_than_wanted() {
        for parts in [2, 3, 7, 64, 256] {
            for depth in (1..4000).chain([65_535, 65_536, 65_537, 1 << 20, (1 << 24) + 17]) {
                let length = length_of_part(depth, parts);
                assert!(length > 0 && length.is_multiple_of(UNIT), "{depth} in {parts}: {length}");
                assert!(depth.div_ceil(length) <= parts, "{depth} in {parts}: {length}");
            }
        }
    }

    #[test]
    fn the_rest_is_short() {
        assert_eq!(length_of_part(65_536, 64), 1024);
        assert_eq!(length_of_part(4096, 16), 256);
        assert_eq!(length_of_part(65_537, 64), 1056);
        // At worst the full parts and the rest take twice the time of parts of equal length.
        for depth in 60_000..70_000 {
            let length = length_of_part(depth, 64);
            assert!(length + depth % length <= 2 * depth.div_ceil(64), "{depth}: {length}");
        }
    }
}
