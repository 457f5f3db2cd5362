//! From a tensor to a binding of a kernel. This is the only place where that happens.
//!
//! A kernel is bound to a tensor's whole storage, so that views of one storage share a bind group and alignment does not matter.
//! Where the view begins is therefore a parameter of the kernel, and a kernel that is not told reads other elements. So a
//! [`Binding`], which is what [`launch`](super::launch::launch) takes, is made in three ways only: together with the offset that
//! the kernel has to be told ([`Placed::bind`], whose caller passes the strides as well), the same after a check that the tensor
//! is contiguous ([`Placed::bind_contiguous`]), or after a check that it also begins where its storage does
//! ([`Placed::bind_whole`]).

use super::launch::index;
use crate::error::TensorError;
use crate::pool::Storage;
use crate::tensor::{Layout, Tensor};

/// A storage that a kernel is bound to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binding<'a>(&'a Storage);

impl<'a> Binding<'a> {
    pub(super) fn storage(self) -> &'a Storage {
        self.0
    }
}

/// A tensor as an operand of a kernel: where its elements begin in its storage.
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

    /// The elements from `elements` further on in the storage.
    pub(super) fn further(self, elements: usize) -> Self {
        Self { offset: self.offset + elements, ..self }
    }

    /// Where the first element is in the storage.
    pub(super) fn offset(self) -> usize {
        self.offset
    }

    /// Whether both operands lie in one storage, which is then bound once.
    pub(super) fn is_in_storage_of(self, other: Self) -> bool {
        self.tensor.storage().is_same(other.tensor.storage())
    }

    /// The storage as a binding, and the place of the first element in it, which the kernel has to be told, as well as
    /// the strides. The place is counted in units of `unit` elements, the vectors in which the kernel indexes the
    /// binding.
    ///
    /// # Errors
    /// [`TensorError::TooManyElements`] for a place beyond what kernels can index.
    pub(super) fn bind(self, operation: &'static str, unit: usize) -> Result<(Binding<'a>, u32), TensorError> {
        debug_assert!(self.offset.is_multiple_of(unit), "{operation}: {} is between vectors of {unit}", self.offset);
        Ok((Binding(self.tensor.storage()), index(operation, self.offset / unit)?))
    }

    /// As [`Placed::bind`], for a kernel that is told no strides.
    ///
    /// # Errors
    /// [`TensorError::NotContiguous`]: the kernel would take other elements for the tensor's. See [`Tensor::contiguous`].
    pub(super) fn bind_contiguous(
        self,
        operation: &'static str,
        unit: usize,
    ) -> Result<(Binding<'a>, u32), TensorError> {
        if self.tensor.is_contiguous() { self.bind(operation, unit) } else { Err(self.not_contiguous(operation)) }
    }

    /// The storage as a binding of a kernel that takes a contiguous tensor from the storage's start, and is told no offset.
    ///
    /// # Errors
    /// [`TensorError::NotContiguous`], also for a view that begins further on. See [`Tensor::whole`].
    pub(super) fn bind_whole(self, operation: &'static str) -> Result<Binding<'a>, TensorError> {
        let is_whole = self.offset == 0 && self.tensor.is_contiguous();
        if is_whole { Ok(Binding(self.tensor.storage())) } else { Err(self.not_contiguous(operation)) }
    }

    fn not_contiguous(self, operation: &'static str) -> TensorError {
        let (shape, strides) = (self.tensor.shape().to_vec(), self.tensor.strides().to_vec());
        TensorError::NotContiguous { operation, shape, strides }
    }
}

impl Tensor {
    /// The same elements, contiguous and from their storage's start: itself if it is so already, a copy otherwise.
    #[track_caller]
    pub(super) fn whole(&self) -> Result<Self, TensorError> {
        if self.is_contiguous() && self.layout().offset == 0 { Ok(self.clone()) } else { self.copied() }
    }
}
