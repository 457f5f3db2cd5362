//! Creation of tensors: empty, filled with zeros, and from elements on the host.

use super::blocks::{Blocks, division};
use super::{DType, Element, Layout, MAX_RANK, Tensor, arithmetic};
use crate::device::{DeviceResources, Gpu};
use crate::error::{AllocateError, TensorError};
use crate::pool::{Content, Pool, Storage};

impl Tensor {
    /// Creates a contiguous tensor whose elements are not initialized: they are the previous contents of the memory. Equals
    /// `torch.empty`.
    ///
    /// # Errors
    /// [`TensorError::Rank`], [`TensorError::Overflow`], [`TensorError::Allocate`], also above 4,096 of the largest blocks;
    /// [`TensorError::Unsupported`] for f16 on a device without f16.
    #[track_caller]
    pub fn empty(pool: &Pool, shape: impl AsRef<[usize]>, dtype: DType) -> Result<Self, TensorError> {
        create(shape.as_ref(), dtype, Source::Pool(pool))
    }

    /// Returns a tensor of the same pool, as [`Tensor::empty`].
    #[track_caller]
    pub(crate) fn new_empty(&self, shape: impl AsRef<[usize]>, dtype: DType) -> Result<Self, TensorError> {
        create(shape.as_ref(), dtype, Source::PoolOf(self.any_storage()))
    }

    /// Creates a tensor of zeros. Equals `torch.zeros`.
    ///
    /// # Errors
    /// As [`Tensor::empty`].
    #[track_caller]
    pub fn zeros(pool: &Pool, shape: impl AsRef<[usize]>, dtype: DType) -> Result<Self, TensorError> {
        let tensor = Self::empty(pool, shape, dtype)?;
        tensor.clear()?;
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
        let mut rest = elements;
        for (storage, part) in tensor.spans() {
            let (own, others) = rest.split_at(part.len());
            storage.write(0, bytemuck::cast_slice(own))?;
            rest = others;
        }
        Ok(tensor)
    }
}

/// The most blocks of a tensor, about: the size of a larger tensor is taken for an error of the program.
const MOST_BLOCKS: u64 = 4096;

/// The pool of a new tensor.
#[derive(Clone, Copy)]
enum Source<'a> {
    Pool(&'a Pool),
    PoolOf(&'a Storage),
}

impl Source<'_> {
    fn gpu(&self) -> &Gpu {
        match self {
            Self::Pool(pool) => pool.memory(),
            Self::PoolOf(storage) => storage.memory(),
        }
    }

    fn largest_block(self) -> u64 {
        match self {
            Self::Pool(pool) => pool.largest_block(),
            Self::PoolOf(storage) => storage.largest_block(),
        }
    }

    /// Records in a dry run that a request was refused.
    #[track_caller]
    fn refuse(self, error: &AllocateError) {
        match self {
            Self::Pool(pool) => pool.refuse(error),
            Self::PoolOf(storage) => storage.refuse(error),
        }
    }

    #[track_caller]
    fn allocate(self, bytes: u64, content: &Content) -> Result<Storage, AllocateError> {
        match self {
            Self::Pool(pool) => pool.allocate_as(bytes, content),
            Self::PoolOf(storage) => storage.allocate_in_same_pool(bytes, content),
        }
    }
}

/// Creates a contiguous tensor: of one block, or of several if one would exceed the pool's largest block.
#[track_caller]
fn create(shape: &[usize], dtype: DType, source: Source<'_>) -> Result<Tensor, TensorError> {
    // In the function: Rust 1.87 does not count the uses in a constant without a name.
    const { assert!(MAX_RANK == Content::MAX_RANK, "the shape of every tensor is recorded") };
    check_supported(dtype, source.gpu())?;
    let layout = Layout::contiguous(shape, dtype.bytes())?;
    let bytes = arithmetic::bytes(layout.elements(), dtype.bytes());
    let largest = source.largest_block();
    if bytes <= largest {
        let content = Content::tensor(dtype.name_ref(), shape);
        return Ok(Tensor::over(source.allocate(bytes, &content)?, layout, dtype));
    }
    if bytes / MOST_BLOCKS >= largest {
        // Some drivers refuse no allocation, and the system ends the program when it uses the memory.
        let error = AllocateError::TooLarge { requested: bytes, limit: largest * MOST_BLOCKS };
        source.refuse(&error);
        return Err(error.into());
    }
    let most = usize::try_from(largest / dtype.bytes()).unwrap_or(usize::MAX).max(1);
    let (mut storages, mut starts) = (Vec::new(), Vec::new());
    for (block, start) in division(shape, most).blocks(shape) {
        let bytes = arithmetic::bytes(arithmetic::elements(&block), dtype.bytes());
        // An error drops the blocks so far.
        storages.push(source.allocate(bytes, &Content::tensor(dtype.name_ref(), &block))?);
        starts.push(start);
    }
    starts.push(layout.elements());
    Ok(Tensor { blocks: Blocks::of(storages, starts), layout, dtype })
}

/// Checks that the device's kernels have the dtype.
fn check_supported(dtype: DType, gpu: &Gpu) -> Result<(), TensorError> {
    if dtype != DType::F16 || gpu.has_f16() {
        return Ok(());
    }
    Err(TensorError::Unsupported { dtype: dtype.name(), device: gpu.name() })
}
