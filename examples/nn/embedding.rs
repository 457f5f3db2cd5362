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

    /// Indices have no gradient.
    pub(crate) fn backward(&mut self, indices: &Tensor, gradient: &Tensor) -> Result<(), TensorError> {
        let table = &self.table.value;
        let by_table = Tensor::zeros(&table.pool(), table.shape(), DType::F32)?;
        by_table.index_add_(0, indices, gradient)?;
        self.table.add_gradient(by_table)
    }

    pub(crate) fn parameters(&mut self) -> Vec<&mut Parameter> {
        vec![&mut self.table]
    }
}
