//! Kernels that go over all operands element by element.

use super::launch::{WORKGROUP, grid, index, launch, padded, with_gpu};
use super::shader::{Operation, Shader};
use crate::error::TensorError;
use crate::tensor::{Layout, Tensor, collapse};
use bytemuck::{Pod, Zeroable};

/// The parameters of `lib/strided.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Params {
    sizes: [u32; 6],
    output_strides: [u32; 6],
    left_strides: [u32; 6],
    right_strides: [u32; 6],
    count: u32,
    output_offset: u32,
    left_offset: u32,
    right_offset: u32,
    rank: u32,
    scalar: u32,
    unused: [u32; 2],
}

/// One run of an elementwise kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elementwise<'a> {
    pub(super) name: &'static str,
    pub(super) shader: &'a Shader,
    pub(super) operation: Operation,
    pub(super) output: &'a Tensor,
    /// Operands, with their layouts broadcast to the output's shape.
    pub(super) left: Option<(&'a Tensor, Layout)>,
    pub(super) right: Option<(&'a Tensor, Layout)>,
    /// Whether the last operand lies in the storage of the one before it and is bound as that one.
    pub(super) shared: bool,
    pub(super) scalar: u32,
}

impl Elementwise<'_> {
    pub(super) fn run(&self) -> Result<(), TensorError> {
        let Self { name, shader, operation, output, left, right, shared, scalar } = *self;
        if output.elements() == 0 {
            return Ok(());
        }
        let whole = output.layout();
        let layout_of = |operand: &Option<(&Tensor, Layout)>| operand.map_or(*whole, |(_, layout)| layout);
        let [to, from_left, from_right] = collapse([whole, &layout_of(&left), &layout_of(&right)]);
        let count = index(name, output.elements())?;
        let params = Params {
            sizes: padded(name, &to.shape)?,
            output_strides: padded(name, &to.strides)?,
            left_strides: padded(name, &from_left.strides)?,
            right_strides: padded(name, &from_right.strides)?,
            count,
            output_offset: index(name, to.offset)?,
            left_offset: index(name, from_left.offset)?,
            right_offset: index(name, from_right.offset)?,
            rank: index(name, to.rank())?,
            scalar,
            unused: [0; 2],
        };
        let program = with_gpu(output, |gpu| shader.program(gpu, operation, output.dtype(), shared))?;
        let operands = [Some(output), left.map(|(tensor, _)| tensor), right.map(|(tensor, _)| tensor)];
        let storages: Vec<_> = operands.into_iter().flatten().map(Tensor::storage).collect();
        let bound = storages.len() - usize::from(shared);
        launch(&program, &storages[..bound], bytemuck::bytes_of(&params), grid(count.div_ceil(WORKGROUP)))?;
        Ok(())
    }
}
