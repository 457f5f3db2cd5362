//! One dispatch of a product.

use super::choice::{OperandLayout, Tiling};
use super::{FOUR, Matrices, NAME, Sizes};
use crate::error::TensorError;
use crate::ops::launch::{grid, index, iterations, launch, with_gpu};
use crate::ops::placed::{Binding, Placed};
use crate::ops::shader::{AS_IT_IS, ByContiguity, COOPERATIVE, MATMUL, Shader, Specialization, Variant};
use crate::tensor::Tensor;
use bytemuck::{Pod, Zeroable};

/// The parameters of `matmul.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Params {
    rows: u32,
    columns: u32,
    depth: u32,
    accumulate: u32,
    left_offset: u32,
    left_row: u32,
    left_column: u32,
    tiles_across: u32,
    right_offset: u32,
    right_row: u32,
    right_column: u32,
    tiles: u32,
    left_batch: u32,
    right_batch: u32,
    first_batch: u32,
    bias_offset: u32,
}

/// The parameters of `matmul_tiled.wgsl`; offsets and strides in vec4s, or in elements where they are not multiples of four.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct TiledParams {
    rows: u32,
    columns: u32,
    depth: u32,
    accumulate: u32,
    left_offset: u32,
    left_stride: u32,
    left_batch: u32,
    tiles_across: u32,
    right_offset: u32,
    right_stride: u32,
    right_batch: u32,
    tiles: u32,
    first_batch: u32,
    bias_offset: u32,
}

/// Rows and columns of the tile that a workgroup of `matmul_cooperative.wgsl` makes.
pub(super) const COOPERATIVE_TILE: [usize; 2] = [128; 2];

/// The largest K of a kernel that does not load the previous output; see `lib/operands_vec4.wgsl`.
const SHORT: usize = 512;

/// One dispatch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product<'a> {
    pub(super) sizes: Sizes,
    pub(super) left: Matrices<'a>,
    pub(super) right: Matrices<'a>,
    pub(super) output: &'a Tensor,
    /// The output's batch, and the operands', that comes first.
    pub(super) first_batch: usize,
    /// Whether the product is added to the contents of the output.
    pub(super) accumulate: bool,
    /// The epilogue.
    pub(super) finish: Finish<'a>,
}

impl Product<'_> {
    /// Strides of any kind.
    pub(super) fn run(&self) -> Result<(), TensorError> {
        let Self { sizes, left, right, .. } = self;
        let [tiles_across, tiles] = self.tiles([4 * self.side(); 2])?;
        let bound = self.bind(1)?;
        let params = Params {
            rows: number(sizes.rows)?,
            columns: number(sizes.columns)?,
            depth: number(sizes.depth)?,
            accumulate: u32::from(self.accumulate),
            left_offset: bound.left.1,
            left_row: number(left.row)?,
            left_column: number(left.column)?,
            tiles_across,
            right_offset: bound.right.1,
            right_row: number(right.row)?,
            right_column: number(right.column)?,
            tiles,
            left_batch: number(left.batch)?,
            right_batch: number(right.batch)?,
            first_batch: number(self.first_batch)?,
            bias_offset: bound.bias.map_or(0, |(_, offset)| offset),
        };
        self.launch(&MATMUL, &bound, bytemuck::bytes_of(&params), tiles, true)
    }

    /// Operands that are contiguous along one side.
    pub(super) fn run_tiled(&self, tiling: Tiling, layout: OperandLayout) -> Result<(), TensorError> {
        self.run_in_tiles(&tiling.shaders[usize::from(layout.in_vec4s)], tiling.tile, layout)
    }

    /// Operands of f16 in vec4s, by cooperative matrices.
    pub(super) fn run_cooperative(&self, layout: OperandLayout) -> Result<(), TensorError> {
        self.run_in_tiles(&COOPERATIVE, COOPERATIVE_TILE, layout)
    }

    fn run_in_tiles(
        &self,
        shaders: &ByContiguity,
        tile: [usize; 2],
        OperandLayout { in_vec4s, deep }: OperandLayout,
    ) -> Result<(), TensorError> {
        let Self { sizes, left, right, .. } = self;
        let [tiles_across, tiles] = self.tiles(tile)?;
        let bound = self.bind(if in_vec4s { FOUR } else { 1 })?;
        let units = |elements: usize| number(if in_vec4s { elements / FOUR } else { elements });
        let params = TiledParams {
            rows: number(sizes.rows)?,
            columns: number(sizes.columns)?,
            depth: number(sizes.depth)?,
            accumulate: u32::from(self.accumulate),
            left_offset: bound.left.1,
            left_stride: units(if deep[0] { left.row } else { left.column })?,
            left_batch: units(left.batch)?,
            tiles_across,
            right_offset: bound.right.1,
            right_stride: units(if deep[1] { right.column } else { right.row })?,
            right_batch: units(right.batch)?,
            tiles,
            first_batch: number(self.first_batch)?,
            bias_offset: bound.bias.map_or(0, |(_, offset)| offset),
        };
        let [left, right] = deep.map(usize::from);
        let loads_output = self.accumulate || !in_vec4s || sizes.depth > SHORT;
        self.launch(&shaders[left][right], &bound, bytemuck::bytes_of(&params), tiles, loads_output)
    }

    /// Returns the loop iterations of an invocation, as stated in the headers of the kernels.
    fn iterations(&self, shader: &Shader) -> u64 {
        let slices = |slice: usize| self.sizes.depth.div_ceil(slice) as u64;
        if shader.name == MATMUL.name {
            return iterations(slices(16), iterations(64 / self.side() as u64, 0) + iterations(16, 0));
        }
        // The tiled kernels have one loop along K, whose smallest tile is 8.
        iterations(slices(8), 0)
    }

    /// The number of invocations along each side of a workgroup of `matmul.wgsl`.
    fn side(&self) -> usize {
        if with_gpu(self.output, crate::device::Gpu::has_large_workgroups) { 16 } else { 8 }
    }

    /// Tiles of a row of tiles, and of all of a matrix.
    fn tiles(&self, [rows, columns]: [usize; 2]) -> Result<[u32; 2], TensorError> {
        let across = self.sizes.columns.div_ceil(columns);
        Ok([number(across)?, number(self.sizes.rows.div_ceil(rows) * across)?])
    }

    /// Binds the operands, left and right ones in vectors of `unit` elements.
    fn bind(&self, unit: usize) -> Result<Bound<'_>, TensorError> {
        Ok(Bound {
            output: Placed::of(self.output).bind_whole(NAME)?,
            left: self.left.operand.bind(NAME, unit)?,
            right: self.right.operand.bind(NAME, unit)?,
            bias: self.finish.bias.map(|bias| Placed::of(bias).bind_contiguous(NAME, 1)).transpose()?,
        })
    }

    fn launch(
        &self,
        shader: &Shader,
        bound: &Bound<'_>,
        params: &[u8],
        tiles: u32,
        loads_output: bool,
    ) -> Result<(), TensorError> {
        let Self { sizes, left, right, output, finish, .. } = self;
        let shared = left.operand.is_in_storage_of(right.operand);
        let Finish { bias, operation } = *finish;
        let variant = Variant {
            operation,
            shared,
            bias: bias.is_some(),
            output: output.dtype(),
            loads_output,
            ..Variant::plain(left.dtype)
        };
        let program = with_gpu(output, |gpu| shader.program(gpu, variant))?;
        let others = [Some(bound.left.0), Some(bound.right.0).filter(|_| !shared), bound.bias.map(|(bias, _)| bias)];
        let mut bindings = [bound.output; 4];
        let mut count = 1;
        for binding in others.into_iter().flatten() {
            bindings[count] = binding;
            count += 1;
        }
        let [x, y, _] = grid(tiles);
        let workgroups = [x, y, number(sizes.batches)?];
        launch(NAME, &program, &bindings[..count], params, workgroups, self.iterations(shader))
    }
}

/// The operands as bindings, and their offsets, of which the kernel is told.
#[derive(Clone, Copy, Debug)]
struct Bound<'a> {
    output: Binding<'a>,
    left: (Binding<'a>, u32),
    right: (Binding<'a>, u32),
    bias: Option<(Binding<'a>, u32)>,
}

/// The epilogue of a product: the operations on its sums before they are stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finish<'a> {
    /// Contiguous, of as many elements as there are columns.
    pub(super) bias: Option<&'a Tensor>,
    /// An operation on each element, of those in `unary.rs`.
    pub(super) operation: Specialization,
}

impl Finish<'_> {
    /// Stores the sums unchanged.
    pub(super) const NONE: Self = Self { bias: None, operation: AS_IT_IS };
}

pub(super) fn number(value: usize) -> Result<u32, TensorError> {
    index(NAME, value)
}
