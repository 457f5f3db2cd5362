//! Conversion of tensors to bindings of kernels. No other file of the operations does this.
//!
//! A kernel binds the whole storage of a tensor, so that views of one storage share a bind group and need no alignment. The
//! offset of the view is therefore a parameter of the kernel; a kernel without this parameter would access other elements.
//! A [`Binding`], which [`launch`](super::launch::launch) requires, is created in three ways only: with the offset for the
//! kernel ([`Placed::bind`], whose caller also passes the strides); with the offset, after checking that the tensor is
//! contiguous ([`Placed::bind_contiguous`]); or after checking that the tensor is contiguous and starts at the start of its
//! storage ([`Placed::bind_whole`]).
//!
//! A tensor in several blocks has no binding and is refused here. An operation with a rule for such tensors divides itself into
//! pieces first; see [`pieces`](crate::tensor::pieces).

use super::launch::index;
use crate::error::TensorError;
use crate::pool::Storage;
use crate::tensor::{Layout, Tensor};

/// A storage that a kernel binds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binding<'a>(&'a Storage);

impl<'a> Binding<'a> {
    pub(super) fn storage(self) -> &'a Storage {
        self.0
    }
}

/// A tensor as an operand of a kernel: its storage, and the offset of its first element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<'a> {
    tensor: &'a Tensor,
    offset: usize,
}

impl<'a> Placed<'a> {
    /// A tensor's elements.
    pub(super) fn of(tensor: &'a Tensor) -> Self {
        Self { tensor, offset: tensor.layout().offset }
    }

    /// The elements of a layout over a tensor's storage.
    pub(super) fn at(tensor: &'a Tensor, layout: &Layout) -> Self {
        Self { tensor, offset: layout.offset }
    }

    /// Returns the operand with its offset increased by `elements` elements.
    pub(super) fn further(self, elements: usize) -> Self {
        Self { offset: self.offset + elements, ..self }
    }

    /// Returns the offset of the first element in the storage.
    pub(super) fn offset(self) -> usize {
        self.offset
    }

    /// Returns whether both operands are in one storage, which is then bound once.
    pub(super) fn is_in_storage_of(self, other: Self) -> bool {
        self.tensor.shares_memory_with(other.tensor)
    }

    /// Returns the storage as a binding, and the offset of the first element. The caller must pass the offset and the strides
    /// to the kernel. The offset is in units of `unit` elements, the vectors with which the kernel indexes the binding.
    ///
    /// # Errors
    /// [`TensorError::TooManyElements`] if kernels cannot index the offset; [`TensorError::SeveralBlocks`] if an operation has no
    /// rule for divided tensors.
    pub(super) fn bind(self, operation: &'static str, unit: usize) -> Result<(Binding<'a>, u32), TensorError> {
        debug_assert!(self.offset.is_multiple_of(unit), "{operation}: {} is between vectors of {unit}", self.offset);
        Ok((Binding(self.tensor.in_one_block(operation, "tensor")?), index(operation, self.offset / unit)?))
    }

    /// Returns the storage as a binding and the offset of the first element, for a kernel without parameters for strides. See
    /// [`Placed::bind`].
    ///
    /// # Errors
    /// [`TensorError::NotContiguous`]: the kernel would access other elements. See [`Tensor::contiguous`].
    pub(super) fn bind_contiguous(
        self,
        operation: &'static str,
        unit: usize,
    ) -> Result<(Binding<'a>, u32), TensorError> {
        if self.tensor.is_contiguous() { self.bind(operation, unit) } else { Err(self.not_contiguous(operation)) }
    }

    /// Returns the storage as a binding of a kernel without parameters for strides and offset.
    ///
    /// # Errors
    /// [`TensorError::NotContiguous`], also for a view with an offset. See [`Tensor::whole`].
    pub(super) fn bind_whole(self, operation: &'static str) -> Result<Binding<'a>, TensorError> {
        let is_whole = self.offset == 0 && self.tensor.is_contiguous();
        if is_whole {
            Ok(Binding(self.tensor.in_one_block(operation, "tensor")?))
        } else {
            Err(self.not_contiguous(operation))
        }
    }

    fn not_contiguous(self, operation: &'static str) -> TensorError {
        let (shape, strides) = (self.tensor.shape().to_vec(), self.tensor.strides().to_vec());
        TensorError::NotContiguous { operation, argument: "tensor".into(), shape, strides }
    }
}

impl Tensor {
    /// Returns a contiguous tensor of the same elements that starts at the start of its storage: the tensor itself if it does,
    /// otherwise a copy.
    #[track_caller]
    pub(super) fn whole(&self) -> Result<Self, TensorError> {
        if self.is_whole() { Ok(self.clone()) } else { self.copied() }
    }

    /// Whether the tensor is contiguous and starts at the start of its storage.
    pub(super) fn is_whole(&self) -> bool {
        self.is_contiguous() && self.layout().offset == 0
    }
}
