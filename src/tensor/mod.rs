//! Tensors: shape, strides and dtype over a storage of the pool. A tensor has no byte address.

pub(crate) mod arithmetic;
mod axis;
mod create;
mod dtype;
mod format;
mod host;
mod index;
mod layout;
mod operand;
mod overlap;
mod residence;
mod view;

pub use axis::{Axes, Axis};
pub use dtype::{DType, Element};
pub(crate) use format::{shown_sizes, text};
pub use host::{HostTensor, IntoHostError};
pub use index::TensorIndex;
pub use layout::MAX_RANK;
pub(crate) use layout::{Layout, collapse, collapse_in_place};
pub use operand::TensorOrScalar;
pub(crate) use operand::sealed::TensorOrScalar as AsOperand;
pub(crate) use operand::{Number, Operand, result_type};
pub use view::IndexRange;

use crate::error::TensorError;
use crate::pool::{Pinned, Pool, Storage, WeakStorage};
use std::fmt;
use std::sync::Arc;

/// A handle to an array of elements on the device, of up to [`MAX_RANK`] dimensions.
///
/// Clones and views share the memory. Dropping the last handle returns the memory to the pool immediately, without waiting for
/// the device.
#[derive(Clone)]
pub struct Tensor {
    storage: Storage,
    layout: Layout,
    dtype: DType,
}

impl Tensor {
    /// Creates a tensor over a storage, which contains the layout.
    pub(crate) fn over(storage: Storage, layout: Layout, dtype: DType) -> Self {
        Self { storage, layout, dtype }
    }

    /// Returns the size of each dimension, outermost first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.layout.shape
    }

    /// Returns the stride of each dimension: the distance in elements between consecutive indices.
    #[must_use]
    pub fn strides(&self) -> &[usize] {
        &self.layout.strides
    }

    /// Returns the number of dimensions.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.layout.rank()
    }

    /// Returns the number of elements: 1 for a scalar, 0 if a dimension is empty.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.layout.elements()
    }

    /// Returns the type of the elements.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Returns the number of elements from the start of the storage to the tensor's first element: element (i, j, …) is at
    /// `offset + i · strides[0] + j · strides[1] + …` elements of [`Tensor::binding`]. Equals `torch.Tensor.storage_offset`.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.layout.offset
    }

    /// Returns whether the elements are contiguous in row-major order.
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        self.layout.is_contiguous()
    }

    /// Sets the label of the memory, for reports, errors and the viewer. Views and clones share the label.
    pub fn set_label(&self, label: impl Into<Arc<str>>) {
        self.storage.set_label(label);
    }

    /// Returns the tensor after setting the label of its memory, as [`set_label`](Self::set_label).
    #[must_use]
    pub fn labelled(self, label: impl Into<Arc<str>>) -> Self {
        self.set_label(label);
        self
    }

    /// Returns a handle that does not keep the memory allocated; see [`Storage::downgrade`].
    #[must_use]
    pub fn downgrade(&self) -> WeakTensor {
        WeakTensor { storage: self.storage.downgrade(), layout: self.layout, dtype: self.dtype }
    }

    /// Returns the tensor's storage, which views share.
    #[must_use]
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Returns the pool of the tensor.
    #[must_use]
    pub fn pool(&self) -> Pool {
        self.storage.pool()
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns the same elements in another shape, as a view. Copies nothing. Equals `torch.Tensor.view`.
    ///
    /// # Errors
    /// [`TensorError::Shape`] if the number of elements differs; [`TensorError::NotViewable`] if the strides do not permit the
    /// shape: call [`Tensor::contiguous`] first; [`TensorError::Overflow`] if the other sizes of an empty shape overflow.
    pub fn reshape(&self, shape: impl AsRef<[usize]>) -> Result<Self, TensorError> {
        Ok(self.view(self.layout.reshape(shape.as_ref())?))
    }

    /// Returns the indices `start..start + length` of an axis, as a view. Equals `torch.narrow`.
    ///
    /// # Errors
    /// [`TensorError::Axis`] or [`TensorError::Narrow`].
    pub fn narrow(&self, axis: impl Into<Axis>, start: usize, length: usize) -> Result<Self, TensorError> {
        Ok(self.view(self.layout.narrow(axis, start, length)?))
    }

    /// Exchanges two axes. Returns a view. Equals `torch.transpose`.
    ///
    /// # Errors
    /// [`TensorError::Axis`].
    pub fn transpose(&self, first: impl Into<Axis>, second: impl Into<Axis>) -> Result<Self, TensorError> {
        Ok(self.view(self.layout.transpose(first, second)?))
    }

    /// Reorders the axes. Returns a view. Equals `torch.permute`.
    ///
    /// # Errors
    /// [`TensorError::Permutation`] unless every axis is named, [`TensorError::Axis`], [`TensorError::RepeatedAxis`].
    pub fn permute(&self, axes: impl Axes) -> Result<Self, TensorError> {
        Ok(self.view(self.layout.permute(&axes)?))
    }

    /// Broadcasts the tensor to a larger shape. Returns a view whose repeated dimensions have stride 0. Equals
    /// `torch.Tensor.expand`.
    ///
    /// # Errors
    /// [`TensorError::Shape`] if the shapes do not broadcast, [`TensorError::Overflow`] if the number of elements overflows.
    pub fn expand(&self, shape: impl AsRef<[usize]>) -> Result<Self, TensorError> {
        Ok(self.view(self.layout.expand("expand", shape.as_ref())?))
    }

    /// Pins the tensor's memory for commands that the application records itself, and returns a guard with the storage's
    /// location. Within the binding the tensor's elements start at [`offset`](Self::offset) and have these
    /// [`strides`](Self::strides), all counted in elements. Waits as [`Storage::pin`].
    ///
    /// # Errors
    /// As [`Storage::pin`]. A tensor without elements has no binding, unless it is a view of a storage with elements.
    #[track_caller]
    pub fn binding(&self) -> Result<Pinned, TensorError> {
        Ok(self.storage.pin()?)
    }

    fn view(&self, layout: Layout) -> Self {
        Self { storage: self.storage.clone(), layout, dtype: self.dtype }
    }
}

/// A handle to a tensor that does not keep the memory allocated. Created by [`Tensor::downgrade`].
#[derive(Clone, Debug)]
pub struct WeakTensor {
    storage: WeakStorage,
    layout: Layout,
    dtype: DType,
}

impl WeakTensor {
    /// Returns the tensor, or `None` after the last handle to its memory was dropped.
    #[must_use]
    pub fn upgrade(&self) -> Option<Tensor> {
        Some(Tensor { storage: self.storage.upgrade()?, layout: self.layout, dtype: self.dtype })
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { storage: _, layout, dtype } = self;
        f.debug_struct("Tensor").field("dtype", dtype).field("layout", layout).finish_non_exhaustive()
    }
}
