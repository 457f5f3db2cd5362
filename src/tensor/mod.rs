//! Tensors: shape, strides and dtype over a storage of the pool. A tensor has no byte address.

pub(crate) mod arithmetic;
mod axis;
mod blocks;
mod create;
mod dtype;
mod format;
mod host;
mod index;
mod layout;
mod operand;
mod overlap;
mod pieces;
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
pub use pieces::Part;
pub(crate) use pieces::{Piece, any_divided, elementwise_pieces, pieces, several_blocks};
pub use view::IndexRange;

use crate::error::{Argument, TensorError};
use crate::pool::{Pinned, Pool, Storage};
use blocks::{Blocks, WeakBlocks};
use std::fmt;
use std::sync::Arc;

/// A handle to an array of elements on the device, of up to [`MAX_RANK`] dimensions.
///
/// Clones and views share the memory. Dropping the last handle returns the memory to the pool immediately, without waiting for
/// the device.
///
/// Operations record commands and return before the device executes them. They wait in three cases only: for another thread that
/// is recording, for microseconds; while the device is more than 32 batches behind; and for a new tensor that finds no room, as
/// [`Pool::allocate`]. Reads wait for their result. See [`guide::threads`](crate::guide::threads).
///
/// A tensor above the largest block of the pool, by default the largest binding of the device, consists of several blocks, each of
/// which contains whole indices of the outermost axes. Operations work block by block. See
/// [`guide::large_tensors`](crate::guide::large_tensors).
#[derive(Clone)]
pub struct Tensor {
    blocks: Blocks,
    layout: Layout,
    dtype: DType,
}

impl Tensor {
    /// Creates a tensor over a storage, which contains the layout.
    pub(crate) fn over(storage: Storage, layout: Layout, dtype: DType) -> Self {
        Self { blocks: Blocks::One(storage), layout, dtype }
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
    /// `offset + i · strides[0] + j · strides[1] + …` elements of [`Tensor::binding`]. Of a tensor in several blocks, the
    /// elements of the blocks count as one range. Equals `torch.Tensor.storage_offset`.
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
        let label = label.into();
        self.storages().iter().for_each(|storage| storage.set_label(Arc::clone(&label)));
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
        WeakTensor { blocks: self.blocks.downgrade(), layout: self.layout, dtype: self.dtype }
    }

    /// Returns the tensor's storage, which views share.
    ///
    /// # Errors
    /// [`TensorError::SeveralBlocks`] if the tensor's elements are in several storages; see [`Tensor::parts`].
    pub fn storage(&self) -> Result<&Storage, TensorError> {
        self.in_one_block("storage", "tensor")
    }

    /// Returns the pool of the tensor.
    #[must_use]
    pub fn pool(&self) -> Pool {
        self.any_storage().pool()
    }

    /// Returns the storage of the tensor's only block.
    ///
    /// # Errors
    /// [`TensorError::SeveralBlocks`].
    pub(crate) fn in_one_block(
        &self,
        operation: &'static str,
        argument: impl Into<Argument>,
    ) -> Result<&Storage, TensorError> {
        match self.storages() {
            [storage] => Ok(storage),
            several => Err(TensorError::SeveralBlocks { operation, argument: argument.into(), blocks: several.len() }),
        }
    }

    /// Returns the storages of all blocks, some of which a view may not use.
    pub(crate) fn storages(&self) -> &[Storage] {
        self.blocks.storages()
    }

    /// Returns a storage of the tensor: for facts about its pool and its device.
    pub(crate) fn any_storage(&self) -> &Storage {
        &self.storages()[0]
    }

    /// Returns whether the elements are in several blocks.
    pub(crate) fn is_divided(&self) -> bool {
        matches!(self.blocks, Blocks::Several(_))
    }

    /// Returns the parts of the range from the first element to the last that are in one block each.
    pub(crate) fn spans(&self) -> Vec<(&Storage, std::ops::Range<usize>)> {
        self.blocks.spans(self.layout.span())
    }

    /// Returns the number of other handles to the memory.
    pub(crate) fn other_handles(&self) -> usize {
        self.blocks.other_handles()
    }

    /// Fills the memory with zero bytes.
    pub(crate) fn clear(&self) -> Result<(), TensorError> {
        Ok(self.storages().iter().try_for_each(Storage::clear)?)
    }

    /// Returns whether the two tensors have a block in common.
    pub(crate) fn shares_memory_with(&self, other: &Self) -> bool {
        self.blocks.common(&other.blocks).is_some()
    }

    /// Returns the layouts of two tensors in one range of memory, for a layout of each. `None` if they share no memory.
    pub(crate) fn layouts_in_common(&self, own: &Layout, other: &Self, others: &Layout) -> Option<[Layout; 2]> {
        let [before, before_other] = self.blocks.common(&other.blocks)?;
        let (offset, other_offset) = (own.offset + before_other, others.offset + before);
        Some([Layout { offset, ..*own }, Layout { offset: other_offset, ..*others }])
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
        Ok(self.view(self.layout.expand("expand", "tensor", shape.as_ref())?))
    }

    /// Pins the tensor's memory for commands that the application records itself, and returns a guard with the storage's
    /// location. Within the binding the tensor's elements start at [`offset`](Self::offset) and have these
    /// [`strides`](Self::strides), all counted in elements. Waits as [`Storage::pin`].
    ///
    /// # Errors
    /// As [`Storage::pin`]; [`TensorError::SeveralBlocks`], see [`Tensor::parts`]. A tensor without elements has no binding, unless
    /// it is a view of a storage with elements.
    #[track_caller]
    pub fn binding(&self) -> Result<Pinned, TensorError> {
        Ok(self.in_one_block("binding", "tensor")?.pin()?)
    }

    fn view(&self, layout: Layout) -> Self {
        let (blocks, layout) = self.blocks.narrowed_to(layout);
        Self { blocks, layout, dtype: self.dtype }
    }
}

/// A handle to a tensor that does not keep the memory allocated. Created by [`Tensor::downgrade`].
#[derive(Clone, Debug)]
pub struct WeakTensor {
    blocks: WeakBlocks,
    layout: Layout,
    dtype: DType,
}

impl WeakTensor {
    /// Returns the tensor, or `None` after the last handle to its memory was dropped.
    #[must_use]
    pub fn upgrade(&self) -> Option<Tensor> {
        Some(Tensor { blocks: self.blocks.upgrade()?, layout: self.layout, dtype: self.dtype })
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { blocks: _, layout, dtype } = self;
        f.debug_struct("Tensor").field("dtype", dtype).field("layout", layout).finish_non_exhaustive()
    }
}
