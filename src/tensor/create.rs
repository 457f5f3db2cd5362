//! Creation of tensors: empty, filled with zeros, and from elements on the host.

use super::{DType, Element, Layout, MAX_RANK, Tensor, arithmetic};
use crate::device::{Gpu, Memory};
use crate::error::TensorError;
use crate::pool::{Content, Pool};

const _: () = assert!(MAX_RANK == Content::MAX_RANK, "the shape of every tensor is recorded");

impl Tensor {
    /// Creates a contiguous tensor whose elements are not initialized: they are the previous contents of the memory. Equals
    /// `torch.empty`.
    ///
    /// # Errors
    /// [`TensorError::Rank`], [`TensorError::Overflow`], [`TensorError::Allocate`]; [`TensorError::Unsupported`] for f16 on a
    /// device without f16.
    #[track_caller]
    pub fn empty(pool: &Pool, shape: impl AsRef<[usize]>, dtype: DType) -> Result<Self, TensorError> {
        let (layout, bytes, content) = contiguous(shape.as_ref(), dtype, pool.memory())?;
        Ok(Self::over(pool.allocate_as(bytes, &content)?, layout, dtype))
    }

    /// Returns a tensor of the same pool, as [`Tensor::empty`].
    #[track_caller]
    pub(crate) fn new_empty(&self, shape: impl AsRef<[usize]>, dtype: DType) -> Result<Self, TensorError> {
        let (layout, bytes, content) = contiguous(shape.as_ref(), dtype, self.storage.memory())?;
        Ok(Self::over(self.storage.allocate_in_same_pool(bytes, &content)?, layout, dtype))
    }

    /// Creates a tensor of zeros. Equals `torch.zeros`.
    ///
    /// # Errors
    /// As [`Tensor::empty`].
    #[track_caller]
    pub fn zeros(pool: &Pool, shape: impl AsRef<[usize]>, dtype: DType) -> Result<Self, TensorError> {
        let tensor = Self::empty(pool, shape, dtype)?;
        tensor.storage.clear()?;
        Ok(tensor)
    }

    /// Creates a tensor with these elements, in row-major order, as [`Tensor::from_slice`]. Equals `torch.tensor` of a nested
    /// list.
    ///
    /// # Errors
    /// As [`Tensor::from_slice`].
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "from_slice is the form that borrows")]
    pub fn from_vec<T: Element>(
        pool: &Pool,
        elements: Vec<T>,
        shape: impl AsRef<[usize]>,
    ) -> Result<Self, TensorError> {
        Self::from_slice(pool, &elements, shape)
    }

    /// Creates a tensor with these elements, in row-major order. Equals `torch.tensor` of a nested list. The elements are
    /// copied before the call returns.
    ///
    /// # Errors
    /// [`TensorError::Length`] if the length of the slice differs from the shape's number of elements; as [`Tensor::empty`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use wgpu_pool::{Pool, PoolOptions, Tensor};
    ///
    /// let pool = Pool::request_blocking(PoolOptions::default())?;
    /// let matrix = Tensor::from_slice(&pool, &[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3])?;
    /// assert_eq!(matrix.shape(), [2, 3]);
    /// # Ok::<(), wgpu_pool::Error>(())
    /// ```
    #[track_caller]
    pub fn from_slice<T: Element>(
        pool: &Pool,
        elements: &[T],
        shape: impl AsRef<[usize]>,
    ) -> Result<Self, TensorError> {
        let shape = shape.as_ref();
        let wanted = Layout::contiguous(shape, T::DTYPE.bytes())?.elements();
        if wanted != elements.len() {
            return Err(TensorError::Length { given: elements.len(), wanted, shape: shape.to_vec() });
        }
        let tensor = Self::empty(pool, shape, T::DTYPE)?;
        tensor.storage.write(0, bytemuck::cast_slice(elements))?;
        Ok(tensor)
    }
}

/// Whether the device's kernels know the dtype.
/// Returns the layout of a new contiguous tensor, the bytes to allocate for the tensor, and the record of its block.
fn contiguous(shape: &[usize], dtype: DType, gpu: &Gpu) -> Result<(Layout, u64, Content), TensorError> {
    check_supported(dtype, gpu)?;
    let layout = Layout::contiguous(shape, dtype.bytes())?;
    let bytes = arithmetic::bytes(layout.elements(), dtype.bytes());
    Ok((layout, bytes, Content::tensor(dtype.name_ref(), shape)))
}

fn check_supported(dtype: DType, gpu: &Gpu) -> Result<(), TensorError> {
    if dtype != DType::F16 || gpu.has_f16() {
        return Ok(());
    }
    Err(TensorError::Unsupported { dtype: dtype.name(), device: gpu.name() })
}
