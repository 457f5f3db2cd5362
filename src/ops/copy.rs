//! Copies between tensors of any strides.

use super::cast::conversion;
use super::elementwise::{Code, Elementwise, IDENTITY, Operation};
use super::launch::{Relation, check_pools, relation};
use super::transposing_copy::TransposingCopy;
use crate::error::{Argument, TensorError};
use crate::tensor::{Tensor, any_divided, elementwise_pieces};

/// The operand, by its bits.
pub(super) static COPY: Operation = Operation::new("copy", 1, Code::new("x"), IDENTITY);

impl Tensor {
    /// Returns a contiguous tensor of the same elements: the tensor itself if it is contiguous, otherwise a copy. Equals
    /// `torch.Tensor.contiguous`.
    ///
    /// # Errors
    /// As [`Tensor::empty`].
    #[track_caller]
    pub fn contiguous(&self) -> Result<Self, TensorError> {
        if self.is_contiguous() { Ok(self.clone()) } else { self.copied() }
    }

    /// Returns a contiguous copy in separate memory. Equals `torch.clone`; Rust's `clone` creates a handle to the same memory.
    ///
    /// # Errors
    /// As [`Tensor::empty`].
    #[track_caller]
    pub fn copied(&self) -> Result<Self, TensorError> {
        let copy = self.new_empty(self.shape(), self.dtype())?;
        copy.copy_(self)?;
        Ok(copy)
    }

    /// Copies the elements of `source`, broadcast to the shape of this tensor, into this tensor, converted to its dtype as by
    /// [`Tensor::to`]. One kernel. Equals `torch.Tensor.copy_`.
    ///
    /// # Errors
    /// [`TensorError::Pools`], [`TensorError::Shape`]; [`TensorError::Overlap`] if the two tensors share elements at different
    /// indices, or if elements of this tensor overlap each other.
    #[track_caller]
    pub fn copy_(&self, source: &Self) -> Result<(), TensorError> {
        let name = "copy_";
        check_pools(name, ("tensor", self), ("source", source))?;
        self.check_writable(name, "tensor")?;
        let layout = source.layout().expand(name, "source", self.shape())?;
        match relation(name, ["tensor", "source"].map(Argument::from), (self, self.layout()), (source, &layout))? {
            Relation::Same => return Ok(()),
            // One storage bound twice would be two writable bindings of the same bytes, so the source is copied first.
            Relation::InOneMemory => return self.copy_(&source.copied()?),
            Relation::Apart => {}
        }
        if any_divided([self, source]) {
            let pieces = elementwise_pieces(name, &[self, &source.expand(self.shape())?])?;
            for piece in pieces {
                piece.operands[0].copy_(&piece.operands[1])?;
            }
            return Ok(());
        }
        if source.dtype() == self.dtype() && self.elements() > 0 {
            let transposing = TransposingCopy::new(self.layout(), &layout);
            if let Some(transposing) = transposing.filter(|_| TransposingCopy::suits_device_of(self)) {
                return transposing.run(name, self, source);
            }
        }
        let (single, moved_as) = conversion(source.dtype(), self.dtype())?;
        Elementwise { moved_as: Some(moved_as), ..Elementwise::single(name, single, &[source], &[]) }.launch(self)
    }

    /// Checks that elements do not overlap each other, so that each can be written.
    pub(super) fn check_writable(
        &self,
        operation: &'static str,
        argument: impl Into<Argument>,
    ) -> Result<(), TensorError> {
        if self.layout().overlaps_itself() {
            return Err(TensorError::Overlap { operation, argument: argument.into(), other: None });
        }
        Ok(())
    }
}
