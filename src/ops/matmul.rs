//! Products of matrices.

use super::launch::{check_kinds, grid, index, launch, with_gpu};
use super::shader::{MATMUL, Variant};
use crate::error::TensorError;
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
}

/// Rows and columns of the tile that a workgroup makes.
const TILE: u32 = 64;
/// The depth that one dispatch goes through: Mesa's software drivers end an invocation after 65,535 turns of its loops.
const DEEPEST: usize = 32_768;

impl Tensor {
    /// The product of two matrices: (m, k) by (k, n) gives (m, n). Transposed views cost nothing extra. Sums are in the
    /// tensors' dtype, in the order of k within slices. Equals `torch.matmul` of two matrices.
    ///
    /// # Errors
    /// [`TensorError::Shape`] if either is no matrix or the inner sizes differ, [`TensorError::DType`],
    /// [`TensorError::Pools`]; as [`Tensor::empty`].
    pub fn matmul(&self, other: &Self) -> Result<Self, TensorError> {
        let name = "matmul";
        check_kinds(name, self, other)?;
        let (&[rows, depth], &[inner, columns]) = (self.shape(), other.shape()) else {
            return Err(self.shape_mismatch(name, other));
        };
        if depth != inner {
            return Err(self.shape_mismatch(name, other));
        }
        let pool = self.pool();
        if depth == 0 {
            return Self::zeros(&pool, [rows, columns], self.dtype());
        }
        let output = Self::empty(&pool, [rows, columns], self.dtype())?;
        if output.elements() == 0 {
            return Ok(output);
        }
        for start in (0..depth).step_by(DEEPEST) {
            let length = DEEPEST.min(depth - start);
            let left = self.narrow(1, start, length)?;
            let right = other.narrow(0, start, length)?;
            left.multiply_into(&right, &output, start > 0)?;
        }
        Ok(output)
    }

    /// The matrix with its axes exchanged, as a view. Equals `torch.t` of a matrix.
    ///
    /// # Errors
    /// [`TensorError::Axis`] if it has fewer than two axes.
    pub fn t(&self) -> Result<Self, TensorError> {
        self.transpose(0, 1)
    }

    fn multiply_into(&self, other: &Self, output: &Self, accumulate: bool) -> Result<(), TensorError> {
        let name = "matmul";
        let number = |value: usize| index(name, value);
        let (rows, columns) = (number(output.shape()[0])?, number(output.shape()[1])?);
        let tiles_across = columns.div_ceil(TILE);
        let tiles = number(rows.div_ceil(TILE) as usize * tiles_across as usize)?;
        let params = Params {
            rows,
            columns,
            depth: number(self.shape()[1])?,
            accumulate: u32::from(accumulate),
            left_offset: number(self.layout().offset)?,
            left_row: number(self.strides()[0])?,
            left_column: number(self.strides()[1])?,
            tiles_across,
            right_offset: number(other.layout().offset)?,
            right_row: number(other.strides()[0])?,
            right_column: number(other.strides()[1])?,
            tiles,
        };
        let shared = self.storage().is_same(other.storage());
        let program =
            with_gpu(output, |gpu| MATMUL.program(gpu, Variant { shared, ..Variant::plain(output.dtype()) }))?;
        let storages = [output.storage(), self.storage(), other.storage()];
        let bound = storages.len() - usize::from(shared);
        launch(&program, &storages[..bound], bytemuck::bytes_of(&params), grid(tiles))?;
        Ok(())
    }

    fn shape_mismatch(&self, operation: &'static str, other: &Self) -> TensorError {
        TensorError::Shape { operation, left: self.shape().to_vec(), right: other.shape().to_vec() }
    }
}
