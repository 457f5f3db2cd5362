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
/// Cloning it, and taking a view of it, shares the memory. Dropping the last handle gives the memory back to the pool at once,
/// without waiting for the device.
#[derive(Clone)]
pub struct Tensor {
    storage: Storage,
    layout: Layout,
    dtype: DType,
}

impl Tensor {
    /// A tensor over a storage; the layout lies within it.
    pub(crate) fn over(storage: Storage, layout: Layout, dtype: DType) -> Self {
        Self { storage, layout, dtype }
    }

    /// The sizes of its dimensions, outermost first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.layout.shape
    }

    /// How many elements further in memory the next index of each dimension is.
    #[must_use]
    pub fn strides(&self) -> &[usize] {
        &self.layout.strides
    }

    /// The number of its dimensions.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.layout.rank()
    }

    /// The number of its elements: 1 for a scalar, 0 if any dimension is empty.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.layout.elements()
    }

    /// The type of its elements.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The number of elements from the start of the storage to the tensor's first element: element (i, j, …) is at
    /// `offset + i · strides[0] + j · strides[1] + …` elements of [`Tensor::binding`]. Equals `torch.Tensor.storage_offset`.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.layout.offset
    }

    /// Whether its elements lie one after the other, in row-major order.
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        self.layout.is_contiguous()
    }

    /// Names its memory, for reports, errors and the viewer. Views and clones share the name.
    pub fn set_label(&self, label: impl Into<Arc<str>>) {
        self.storage.set_label(label);
    }

    /// The tensor with its memory named, as [`set_label`](Self::set_label).
    #[must_use]
    pub fn labelled(self, label: impl Into<Arc<str>>) -> Self {
        self.set_label(label);
        self
    }

    /// A handle that doesn't keep the memory; see [`Storage::downgrade`].
    #[must_use]
    pub fn downgrade(&self) -> WeakTensor {
        WeakTensor { storage: self.storage.downgrade(), layout: self.layout, dtype: self.dtype }
    }

    /// The memory below it, shared with its views.
    #[must_use]
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The pool it belongs to.
    #[must_use]
    pub fn pool(&self) -> Pool {
        self.storage.pool()
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The same elements in another shape, without a copy. Equals `torch.Tensor.view`.
    ///
    /// # Errors
    /// [`TensorError::Shape`] if the number of elements differs, [`TensorError::NotViewable`] if the strides don't allow it:
    /// then take [`Tensor::contiguous`] first. [`TensorError::Overflow`] if the other sizes of an empty shape overflow.
    pub fn reshape(&self, shape: impl AsRef<[usize]>) -> Result<Self, TensorError> {
        Ok(self.view(self.layout.reshape(shape.as_ref())?))
    }

    /// The indices `start..start + length` of an axis, as a view. Equals `torch.narrow`.
    ///
    /// # Errors
    /// [`TensorError::Axis`] or [`TensorError::Narrow`].
    pub fn narrow(&self, axis: impl Into<Axis>, start: usize, length: usize) -> Result<Self, TensorError> {
        Ok(self.view(self.layout.narrow(axis, start, length)?))
    }

    /// Two axes exchanged, as a view. Equals `torch.transpose`.
    ///
    /// # Errors
    /// [`TensorError::Axis`].
    pub fn transpose(&self, first: impl Into<Axis>, second: impl Into<Axis>) -> Result<Self, TensorError> {
        Ok(self.view(self.layout.transpose(first, second)?))
    }

    /// The axes in another order, as a view. Equals `torch.permute`.
    ///
    /// # Errors
    /// [`TensorError::Permutation`] unless every axis is named, [`TensorError::Axis`], [`TensorError::RepeatedAxis`].
    pub fn permute(&self, axes: impl Axes) -> Result<Self, TensorError> {
        Ok(self.view(self.layout.permute(&axes)?))
    }

    /// The elements repeated to a larger shape, as a view with strides of zero. Equals `torch.Tensor.expand`.
    ///
    /// # Errors
    /// [`TensorError::Shape`] if the shapes don't broadcast, [`TensorError::Overflow`] if the number of elements overflows.
    pub fn expand(&self, shape: impl AsRef<[usize]>) -> Result<Self, TensorError> {
        Ok(self.view(self.layout.expand("expand", shape.as_ref())?))
    }

    /// Pins the tensor's memory for commands that the program records by itself, and shows where its storage lies. The tensor's
    /// elements are at [`strides`](Self::strides) from [`offset`](Self::offset) within the binding, all counted in elements. See
    /// [`Storage::pin`].
    ///
    /// # Errors
    /// As [`Storage::pin`]; a tensor without elements has no binding, unless it is a view of memory with others.
    #[track_caller]
    pub fn binding(&self) -> Result<Pinned, TensorError> {
        Ok(self.storage.pin()?)
    }

    fn view(&self, layout: Layout) -> Self {
        Self { storage: self.storage.clone(), layout, dtype: self.dtype }
    }
}

/// A handle to a tensor that doesn't keep its memory. Made by [`Tensor::downgrade`].
#[derive(Clone, Debug)]
pub struct WeakTensor {
    storage: WeakStorage,
    layout: Layout,
    dtype: DType,
}

impl WeakTensor {
    /// The tensor, unless the last handle to its memory was dropped meanwhile.
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
