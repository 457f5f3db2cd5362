//! Transposing copies: copies between layouts that are contiguous along different dimensions.

use super::launch::{KERNEL_RANK, index, iterations, launch, with_gpu};
use super::placed::Placed;
use super::shader::{COPY_TRANSPOSED, Variant};
use crate::error::TensorError;
use crate::tensor::{Layout, Tensor, arithmetic, collapse};
use bytemuck::{Pod, Zeroable};

/// The parameters of `copy_transposed.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Params {
    sizes: [u32; BATCH_RANK],
    output_strides: [u32; BATCH_RANK],
    left_strides: [u32; BATCH_RANK],
    inner: u32,
    outer: u32,
    output_stride: u32,
    left_stride: u32,
    output_offset: u32,
    left_offset: u32,
    /// The kernel's structure ends at a multiple of a vec4.
    padding: [u32; 2],
}

/// The number of dimensions in addition to the two of a tile.
const BATCH_RANK: usize = KERNEL_RANK - 2;
/// The side of a tile.
const TILE: usize = 32;
/// Below this size of either dimension, most of a tile would be empty.
const LEAST: usize = 8;
/// The largest number of workgroups in one dimension of a dispatch.
const MOST_WORKGROUPS: usize = crate::device::gpu::MOST_WORKGROUPS as usize;

/// A copy in tiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct TransposingCopy {
    output: Layout,
    input: Layout,
    /// The dimensions along which the output and the input are contiguous.
    outer: usize,
    inner: usize,
}

impl TransposingCopy {
    /// Whether the device of a tensor permits the workgroups of the kernel.
    pub(super) fn suits_device_of(tensor: &Tensor) -> bool {
        with_gpu(tensor, crate::device::Gpu::has_large_workgroups)
    }

    /// Returns the copy between two layouts of one shape, if it is a transposing copy.
    pub(super) fn new(output: &Layout, input: &Layout) -> Option<Self> {
        let [output, input] = collapse([output, input]);
        let neighbours = |layout: &Layout| layout.strides.iter().position(|&stride| stride == 1);
        let (outer, inner) = (neighbours(&output)?, neighbours(&input)?);
        let copy = Self { output, input, outer, inner };
        let is_wide = |axis: usize| (LEAST..TILE * MOST_WORKGROUPS).contains(&output.shape[axis]);
        (output.rank() <= KERNEL_RANK
            && outer != inner
            && is_wide(outer)
            && is_wide(inner)
            && copy.batches() <= MOST_WORKGROUPS)
            .then_some(copy)
    }

    fn batch_axes(&self) -> impl Iterator<Item = usize> {
        let Self { outer, inner, .. } = *self;
        (0..self.output.rank()).filter(move |&axis| axis != outer && axis != inner)
    }

    fn batches(&self) -> usize {
        arithmetic::elements(&self.batch_axes().map(|axis| self.output.shape[axis]).collect::<Vec<_>>())
    }

    /// Copies the bits of `source` to `target`, which have these layouts.
    pub(super) fn run(&self, name: &'static str, target: &Tensor, source: &Tensor) -> Result<(), TensorError> {
        let Self { output, input, outer, inner } = self;
        let number = |value: usize| index(name, value);
        let (written, output_offset) = Placed::of(target).bind(name, 1)?;
        let (read, left_offset) = Placed::of(source).bind(name, 1)?;
        let mut params = Params {
            sizes: [1; BATCH_RANK],
            output_strides: [0; BATCH_RANK],
            left_strides: [0; BATCH_RANK],
            inner: number(output.shape[*inner])?,
            outer: number(output.shape[*outer])?,
            output_stride: number(output.strides[*inner])?,
            left_stride: number(input.strides[*outer])?,
            output_offset,
            left_offset,
            padding: [0; 2],
        };
        for (place, axis) in self.batch_axes().enumerate() {
            params.sizes[place] = number(output.shape[axis])?;
            params.output_strides[place] = number(output.strides[axis])?;
            params.left_strides[place] = number(input.strides[axis])?;
        }
        let tiles = |axis: usize| number(output.shape[axis].div_ceil(TILE));
        let workgroups = [tiles(*inner)?, tiles(*outer)?, number(self.batches())?];
        let program = with_gpu(target, |gpu| COPY_TRANSPOSED.program(gpu, Variant::plain(target.dtype().moved())))?;
        let loops = iterations(BATCH_RANK as u64, 0);
        launch(name, &program, &[written, read], bytemuck::bytes_of(&params), workgroups, loops)
    }
}
