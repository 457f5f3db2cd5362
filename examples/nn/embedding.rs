//! An embedding: a row of a table for each index.

use super::parameter::{Parameter, Seeds};
use wgpu_pool::{DType, Pool, Tensor, TensorError};

/// Indices of shape (n), dtype u32, give (n, width).
#[derive(Debug)]
pub(crate) struct Embedding {
    /// Shape (rows, width).
    table: Parameter,
}

impl Embedding {
    pub(crate) fn new(pool: &Pool, shape: [usize; 2], deviation: f32, seeds: &mut Seeds) -> Result<Self, TensorError> {
        Ok(Self { table: Parameter::normal(pool, shape, deviation, seeds.next())? })
    }

    pub(crate) fn forward(&self, indices: &Tensor) -> Result<Tensor, TensorError> {
        self.table.value.index_select(0, indices)
    }

    /// Indices have no gradient. A product with the one-hot matrix of the indices, (n, rows), adds in a fixed order. `index_add_`
    /// needs no such matrix, and would be better for large tables, but adds in any order: losses would differ between runs.
    pub(crate) fn backward(&mut self, indices: &Tensor, gradient: &Tensor) -> Result<(), TensorError> {
        let table = &self.table.value;
        let (n, rows) = (indices.elements(), table.shape()[0]);
        let one_hot = Tensor::zeros(&table.pool(), [n, rows], DType::F32)?;
        let ones = Tensor::ones(&table.pool(), [n, 1], DType::F32)?;
        one_hot.scatter_add_(1, &indices.reshape([n, 1])?, &ones)?;
        self.table.add_gradient(one_hot.transpose(0, 1)?.matmul(gradient)?)
    }

    pub(crate) fn parameters(&mut self) -> Vec<&mut Parameter> {
        vec![&mut self.table]
    }
}
