//! Shape, strides and offset: the mapping from a tensor's elements to elements of its storage.

use super::arithmetic;
use super::axis::{Axes, Axis};
use super::overlap::overlap;
use crate::error::{Argument, ShapeRequirement, TensorError};
use std::fmt;
use std::ops::Deref;

/// The largest rank of a tensor.
///
/// Kernels iterate over operands in at most six dimensions. Adjacent dimensions that are contiguous in every operand are merged
/// first, so only operands that are permuted, expanded or narrowed in many dimensions exceed six. Elementwise operations, copies
/// and lookups then dispatch once for each index of the smallest dimensions; reductions copy the tensor first.
pub const MAX_RANK: usize = 8;

/// Up to [`MAX_RANK`] numbers, one for each dimension, outermost first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Dims {
    rank: usize,
    values: [usize; MAX_RANK],
}

impl Dims {
    pub(super) const EMPTY: Self = Self { rank: 0, values: [0; MAX_RANK] };

    pub(crate) fn new(values: &[usize]) -> Result<Self, TensorError> {
        let rank = values.len();
        if rank > MAX_RANK {
            return Err(TensorError::Rank { rank, limit: MAX_RANK });
        }
        let mut dims = Self { rank, values: [0; MAX_RANK] };
        dims.values[..rank].copy_from_slice(values);
        Ok(dims)
    }

    pub(super) fn push(&mut self, value: usize) {
        self.values[self.rank] = value;
        self.rank += 1;
    }

    /// Keeps only the first numbers. The others become 0, because equality compares them.
    fn truncate(&mut self, rank: usize) {
        self.as_mut_slice()[rank..].fill(0);
        self.rank = rank;
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [usize] {
        &mut self.values[..self.rank]
    }
}

impl Deref for Dims {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.values[..self.rank]
    }
}

impl fmt::Debug for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.deref().fmt(f)
    }
}

/// The layout of a tensor's elements in its storage. Offset and strides are in elements and never negative; a stride of zero
/// repeats elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) shape: Dims,
    pub(crate) strides: Dims,
    pub(crate) offset: usize,
}

impl Layout {
    /// Creates a row-major layout that starts at the storage's start.
    ///
    /// # Errors
    /// [`TensorError::Rank`], or [`TensorError::Overflow`] if the number of bytes overflows.
    pub(crate) fn contiguous(shape: &[usize], element_bytes: u64) -> Result<Self, TensorError> {
        let shape = Dims::new(shape)?;
        arithmetic::check_shape(&shape, element_bytes)?;
        Ok(Self { shape, strides: row_major(&shape), offset: 0 })
    }

    pub(crate) fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Returns the number of elements; 1 for a scalar.
    pub(crate) fn elements(&self) -> usize {
        arithmetic::elements(&self.shape)
    }

    /// Returns whether the elements are contiguous in row-major order. The strides of dimensions with one index are ignored.
    pub(crate) fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.dimensions().rev().all(|(size, stride)| {
            let fits = size == 1 || stride == expected;
            expected *= size;
            fits
        }) || self.elements() == 0
    }

    pub(super) fn dimensions(&self) -> impl DoubleEndedIterator<Item = (usize, usize)> + '_ {
        self.shape.iter().copied().zip(self.strides.iter().copied())
    }

    /// Returns the range of storage elements from the tensor's first element to its last.
    pub(crate) fn span(&self) -> std::ops::Range<usize> {
        if self.elements() == 0 {
            return self.offset..self.offset;
        }
        let last: usize = self.dimensions().map(|(size, stride)| (size - 1) * stride).sum();
        self.offset..self.offset + last + 1
    }

    /// Returns whether two of the tensor's elements may be the same storage element. Conservative: may return true for
    /// unusual strides without an overlap, and never returns false for an overlap.
    pub(crate) fn overlaps_itself(&self) -> bool {
        let mut steps: Vec<(usize, usize)> = self.dimensions().filter(|&(size, _)| size > 1).collect();
        steps.sort_unstable_by_key(|&(_, stride)| stride);
        let mut reach = 0;
        self.elements() > 0
            && steps.into_iter().any(|(size, stride)| {
                let overlaps = stride <= reach;
                reach += (size - 1) * stride;
                overlaps
            })
    }

    /// Returns whether two layouts over one storage may share an element. Conservative: may return true for layouts with many
    /// different strides that do not overlap, and never returns false for an overlap.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        overlap(self, other)
    }

    /// Returns the layout of the same elements in another shape, if the strides permit a view.
    pub(crate) fn reshape(&self, shape: &[usize]) -> Result<Self, TensorError> {
        let target = Dims::new(shape)?;
        let (elements, wanted) = (self.elements(), arithmetic::product(&target));
        if wanted != Some(elements) {
            let required = ShapeRequirement::Elements { elements, shape: target.to_vec(), wanted };
            return Err(TensorError::shape("reshape", "tensor", &self.shape, required));
        }
        arithmetic::check_view(&target)?;
        let strides = if self.elements() == 0 { Some(row_major(&target)) } else { self.view_strides(&target) };
        strides.map(|strides| Self { shape: target, strides, offset: self.offset }).ok_or_else(|| {
            TensorError::NotViewable {
                shape: self.shape.to_vec(),
                strides: self.strides.to_vec(),
                wanted: target.to_vec(),
            }
        })
    }

    /// Returns the strides of a view of another shape. Each new dimension has to be within a group of old dimensions that are
    /// contiguous to each other.
    fn view_strides(&self, target: &Dims) -> Option<Dims> {
        let merged = self.collapsed();
        let mut strides = *target;
        let mut next = target.len();
        for (size, stride) in merged.dimensions().rev() {
            let mut covered = 1;
            while covered < size {
                next = next.checked_sub(1)?;
                strides.as_mut_slice()[next] = stride * covered;
                covered *= target[next];
            }
            if covered != size {
                return None;
            }
        }
        // The remaining outer dimensions have one index each.
        strides.as_mut_slice()[..next].fill(1);
        Some(strides)
    }

    /// Returns a layout of the same elements in the same order with as few dimensions as possible: dimensions with one index
    /// are removed, and adjacent dimensions that are contiguous to each other are merged.
    pub(crate) fn collapsed(&self) -> Self {
        let [collapsed] = collapse([self]);
        collapsed
    }

    /// Returns the layout of a range of dimensions, with the same offset.
    pub(crate) fn part(&self, axes: std::ops::Range<usize>) -> Self {
        let mut part = Self { shape: Dims::EMPTY, strides: Dims::EMPTY, offset: self.offset };
        for axis in axes {
            part.shape.push(self.shape[axis]);
            part.strides.push(self.strides[axis]);
        }
        part
    }

    /// Returns the layout of the indices `start..start + length` of an axis.
    pub(crate) fn narrow(&self, axis: impl Into<Axis>, start: usize, length: usize) -> Result<Self, TensorError> {
        let axis = self.axis("narrow", axis)?;
        let size = self.shape[axis];
        if start.checked_add(length).is_none_or(|end| end > size) {
            return Err(TensorError::Narrow { axis, start, length, size });
        }
        let mut view = *self;
        view.shape.as_mut_slice()[axis] = length;
        if view.elements() > 0 {
            // A view without elements keeps its offset: otherwise the offsets of nested empty views could grow without bound.
            view.offset += start * self.strides[axis];
        }
        Ok(view)
    }

    /// Returns the layout of one index of an axis, without the axis.
    pub(crate) fn at(&self, axis: usize, index: usize) -> Self {
        let mut view =
            Self { shape: Dims::EMPTY, strides: Dims::EMPTY, offset: self.offset + index * self.strides[axis] };
        for (place, (size, stride)) in self.dimensions().enumerate() {
            if place != axis {
                view.shape.push(size);
                view.strides.push(stride);
            }
        }
        view
    }

    /// Exchanges two axes.
    pub(crate) fn transpose(&self, first: impl Into<Axis>, second: impl Into<Axis>) -> Result<Self, TensorError> {
        let axes = [self.axis_or_scalar("transpose", first)?, self.axis_or_scalar("transpose", second)?];
        let [Some(first), Some(second)] = axes else { return Ok(*self) };
        let mut view = *self;
        view.shape.as_mut_slice().swap(first, second);
        view.strides.as_mut_slice().swap(first, second);
        Ok(view)
    }

    /// Returns a layout of another shape with the same offset and strides, except for one axis, whose stride is zero. The
    /// sizes of the other axes are at most those of this layout.
    pub(crate) fn with_axis_of(&self, axis: usize, shape: &[usize]) -> Self {
        let mut view = *self;
        view.shape.as_mut_slice().copy_from_slice(shape);
        view.strides.as_mut_slice()[axis] = 0;
        view
    }

    /// Reorders the axes.
    pub(crate) fn permute(&self, axes: &impl Axes) -> Result<Self, TensorError> {
        let axes = self.axes("permute", axes)?;
        if axes.len() != self.rank() {
            return Err(TensorError::Permutation { axes: axes.to_vec(), shape: self.shape.to_vec() });
        }
        let mut view = *self;
        for (to, &from) in axes.iter().enumerate() {
            view.shape.as_mut_slice()[to] = self.shape[from];
            view.strides.as_mut_slice()[to] = self.strides[from];
        }
        Ok(view)
    }

    /// Broadcasts the layout, that of an argument of the operation, to a larger shape, by the rules of PyTorch and NumPy.
    pub(crate) fn expand(
        &self,
        operation: &'static str,
        argument: impl Into<Argument>,
        shape: &[usize],
    ) -> Result<Self, TensorError> {
        let (target, argument) = (Dims::new(shape)?, argument.into());
        let mismatch = || {
            let required = ShapeRequirement::BroadcastTo { shape: target.to_vec() };
            TensorError::shape(operation, argument, &self.shape, required)
        };
        let lead = target.len().checked_sub(self.rank()).ok_or_else(mismatch)?;
        let mut strides = target;
        strides.as_mut_slice().fill(0);
        for (axis, (size, stride)) in self.dimensions().enumerate() {
            if size == target[lead + axis] {
                strides.as_mut_slice()[lead + axis] = stride;
            } else if size != 1 {
                return Err(mismatch());
            }
        }
        arithmetic::check_view(&target)?;
        Ok(Self { shape: target, strides, offset: self.offset })
    }

    /// Broadcasts the layout to the shape to which it broadcasts with that of a further argument of the operation.
    pub(crate) fn broadcast(
        &self,
        operation: &'static str,
        argument: impl Into<Argument>,
        other: &Self,
    ) -> Result<Self, TensorError> {
        let argument = argument.into();
        let mismatch = || {
            let required = ShapeRequirement::BroadcastWith { shape: self.shape.to_vec() };
            TensorError::shape(operation, argument, &other.shape, required)
        };
        let shape = self.broadcast_shape(other).ok_or_else(mismatch)?;
        self.expand(operation, argument, &shape)
    }

    /// Returns the shape to which two shapes broadcast, if they do.
    pub(crate) fn broadcast_shape(&self, other: &Self) -> Option<Dims> {
        let rank = self.rank().max(other.rank());
        let at = |layout: &Self, axis: usize| {
            let lead = rank - layout.rank();
            if axis < lead { 1 } else { layout.shape[axis - lead] }
        };
        let mut shape = Dims::EMPTY;
        for axis in 0..rank {
            shape.push(match (at(self, axis), at(other, axis)) {
                (left, right) if left == right => left,
                (1, size) | (size, 1) => size,
                _ => return None,
            });
        }
        Some(shape)
    }

    /// Returns the storage index of each element, in row-major order of the tensor.
    pub(crate) fn indices(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.elements()).map(|position| {
            let mut rest = position;
            let mut index = self.offset;
            for (size, stride) in self.dimensions().rev() {
                index += rest % size * stride;
                rest /= size;
            }
            index
        })
    }
}

/// Merges dimensions of several layouts of one shape, so that one iteration serves all of them.
pub(crate) fn collapse<const N: usize>(layouts: [&Layout; N]) -> [Layout; N] {
    let mut collapsed = layouts.map(|layout| *layout);
    collapse_in_place(&mut collapsed);
    collapsed
}

/// Merges dimensions of several layouts of one shape in place, so that one iteration serves all of them.
pub(crate) fn collapse_in_place(layouts: &mut [Layout]) {
    let Some(rank) = layouts.first().map(Layout::rank) else { return };
    let mut kept = 0;
    for axis in 0..rank {
        let size = layouts[0].shape[axis];
        if size == 1 {
            continue;
        }
        // In every layout, the outer stride is the extent of this dimension.
        let merges = kept > 0 && layouts.iter().all(|layout| layout.strides[kept - 1] == size * layout.strides[axis]);
        for layout in &mut *layouts {
            let (sizes, strides) = (layout.shape.as_mut_slice(), layout.strides.as_mut_slice());
            if merges {
                sizes[kept - 1] *= size;
                strides[kept - 1] = strides[axis];
            } else {
                (sizes[kept], strides[kept]) = (size, strides[axis]);
            }
        }
        kept += usize::from(!merges);
    }
    for layout in layouts {
        layout.shape.truncate(kept);
        layout.strides.truncate(kept);
    }
}

fn row_major(shape: &Dims) -> Dims {
    let mut strides = *shape;
    arithmetic::fill_row_major(strides.as_mut_slice(), shape);
    strides
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
