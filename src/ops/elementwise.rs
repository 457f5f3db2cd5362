//! Kernels that go over all operands element by element.

use super::form::{Form, LANES, Operands};
use super::launch::{KERNEL_RANK, WALK, WORKGROUP, each_walk, grid, index, launch, padded, with_gpu};
use super::placed::Placed;
use super::shader::{Operation, Shader, Variant};
use crate::error::TensorError;
use crate::tensor::{DType, Layout, Tensor};
use bytemuck::{Pod, Zeroable};

/// The parameters of `lib/walk.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct WalkParams {
    sizes: [u32; KERNEL_RANK],
    output_strides: [u32; KERNEL_RANK],
    left_strides: [u32; KERNEL_RANK],
    right_strides: [u32; KERNEL_RANK],
    count: u32,
    output_offset: u32,
    left_offset: u32,
    right_offset: u32,
    rank: u32,
    scalar: u32,
    left_is_broadcast: u32,
    right_is_broadcast: u32,
}

/// The parameters of `lib/flat.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct FlatParams {
    count: u32,
    tail: u32,
    output_offset: u32,
    left_offset: u32,
    right_offset: u32,
    scalar: u32,
}

const _: () = assert!(size_of::<WalkParams>() == Form::Strided.parameter_bytes() as usize);
const _: () = assert!(size_of::<FlatParams>() == Form::Flat.parameter_bytes() as usize);

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

impl<'a> Elementwise<'a> {
    pub(super) fn run(&self) -> Result<(), TensorError> {
        let dtype = self.output.dtype();
        self.run_as(dtype, dtype)
    }

    /// Runs it on elements taken for those of one dtype, written as those of another.
    pub(super) fn run_as(&self, dtype: DType, written: DType) -> Result<(), TensorError> {
        if self.output.elements() == 0 {
            return Ok(());
        }
        let whole = self.output.layout();
        let layout_of = |operand: &Option<(&Tensor, Layout)>| operand.map_or(*whole, |(_, layout)| layout);
        let layouts = [whole, &layout_of(&self.left), &layout_of(&self.right)];
        each_walk(layouts, |walk| self.run_walk(Operands::new(walk), dtype, written))
    }

    /// Runs it on elements that are walked over in few dimensions.
    fn run_walk(&self, operands: Operands, dtype: DType, written: DType) -> Result<(), TensorError> {
        let Self { name, shader, operation, output, left, right, shared, scalar: _ } = *self;
        let variant = Variant { operation, form: operands.form, shared, output: written, ..Variant::plain(dtype) };
        let program = with_gpu(output, |gpu| shader.program(gpu, variant))?;
        let unit = if operands.form == Form::Flat { LANES } else { 1 };
        let [whole, of_left, of_right] = &operands.layouts;
        let first = Placed::at(output, whole).bind(name, unit)?;
        let bind = |operand: Option<(&'a Tensor, Layout)>, layout: &Layout| {
            operand.map_or(Ok(first), |(tensor, _)| Placed::at(tensor, layout).bind(name, unit))
        };
        let (left, right) = (bind(left, of_left)?, bind(right, of_right)?);
        let offsets = [first, left, right].map(|(_, offset)| offset);
        // Of two operands that share a binding only the first is bound.
        let left_is_bound = !shared || shader.tensors == 3;
        let bindings = [first.0, if left_is_bound { left.0 } else { first.0 }, if shared { first.0 } else { right.0 }];
        let bindings = &bindings[..shader.tensors - usize::from(shared)];
        let count = operands.count(name)?;
        let workgroups = grid(count.div_ceil(WORKGROUP));
        if operands.form == Form::Flat {
            let params = self.flat(&operands, count, offsets)?;
            launch(name, &program, bindings, bytemuck::bytes_of(&params), workgroups, operation.iterations)
        } else {
            let params = self.walk(&operands, count, offsets)?;
            launch(name, &program, bindings, bytemuck::bytes_of(&params), workgroups, WALK + operation.iterations)
        }
    }

    fn flat(&self, operands: &Operands, count: u32, offsets: [u32; 3]) -> Result<FlatParams, TensorError> {
        let elements = operands.layouts[0].elements();
        let [output_offset, left_offset, right_offset] = offsets;
        let tail = index(self.name, (elements - 1) % LANES + 1)?;
        Ok(FlatParams { count, tail, output_offset, left_offset, right_offset, scalar: self.scalar })
    }

    fn walk(&self, operands: &Operands, count: u32, offsets: [u32; 3]) -> Result<WalkParams, TensorError> {
        let name = self.name;
        let [output, left, right] = &operands.layouts;
        let number = |value| index(name, value);
        let mut params = WalkParams {
            sizes: padded(name, &output.shape)?,
            output_strides: padded(name, &output.strides)?,
            left_strides: padded(name, &left.strides)?,
            right_strides: padded(name, &right.strides)?,
            count,
            output_offset: offsets[0],
            left_offset: offsets[1],
            right_offset: offsets[2],
            rank: number(output.rank())?,
            scalar: self.scalar,
            left_is_broadcast: 0,
            right_is_broadcast: 0,
        };
        if operands.form == Form::Rows {
            let inner = output.rank() - 1;
            let lanes = number(LANES)?;
            params.left_is_broadcast = u32::from(left.strides[inner] == 0);
            params.right_is_broadcast = u32::from(right.strides[inner] == 0);
            params.sizes[inner] /= lanes;
            for strides in [&mut params.output_strides, &mut params.left_strides, &mut params.right_strides] {
                strides[inner] *= lanes;
            }
        }
        Ok(params)
    }
}
