//! Views that remove, add, split or step along axes.

use super::axis::{Axes, Axis};
use super::layout::{Dims, Layout};
use super::{MAX_RANK, Tensor};
use crate::error::{ShapeRequirement, TensorError};

/// A range of indices: `1..3`, `..-1`, `-2..`, `0..=1`, `..`. Negative indices are counted from the end.
///
/// Implemented by the ranges of `i32`, `i64`, `isize` and `usize`. Clippy reports a literal range from a positive to a
/// negative index, such as `1..-1`, as empty (`clippy::reversed_empty_ranges`): count both bounds from the end, or use a
/// variable for one of them.
pub trait IndexRange: sealed::IndexRange {}

impl<T: sealed::IndexRange> IndexRange for T {}

/// A range as given by the caller: start, end, and whether the end is included.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    start: Option<i64>,
    end: Option<i64>,
    is_inclusive: bool,
}

mod sealed {
    use super::{Axis, Given};
    use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

    pub trait IndexRange {
        fn given(&self) -> Given;
    }

    impl IndexRange for RangeFull {
        fn given(&self) -> Given {
            Given { start: None, end: None, is_inclusive: false }
        }
    }

    macro_rules! ranges {
        ($($range:ident, |$x:ident| $start:expr, $end:expr, $is_inclusive:literal;)*) => {
            $(
                impl<T: Copy + Into<Axis>> IndexRange for $range<T> {
                    fn given(&self) -> Given {
                        let number = |index: T| index.into().number();
                        let $x = self;
                        Given { start: $start.map(number), end: $end.map(number), is_inclusive: $is_inclusive }
                    }
                }
            )*
        };
    }

    ranges! {
        Range, |x| Some(x.start), Some(x.end), false;
        RangeFrom, |x| Some(x.start), None, false;
        RangeTo, |x| None, Some(x.end), false;
        RangeInclusive, |x| Some(*x.start()), Some(*x.end()), true;
        RangeToInclusive, |x| None, Some(x.end), true;
    }
}

impl Given {
    /// Returns the range of one index.
    pub(super) fn one(index: Axis) -> Self {
        let index = Some(index.number());
        Self { start: index, end: index, is_inclusive: true }
    }

    /// Returns the first index and the end of the range, counted from the start of an axis of `size` indices. `None` if the
    /// range exceeds the axis.
    pub(crate) fn resolve(self, size: usize) -> Option<(usize, usize)> {
        let from_start = |index: i64| if index < 0 { index.checked_add_unsigned(size as u64) } else { Some(index) };
        let start = self.start.map_or(Some(0), from_start)?;
        let end = match self.end {
            Some(end) => from_start(end)?.checked_add(i64::from(self.is_inclusive))?,
            None => i64::try_from(size).ok()?,
        };
        let (start, end) = (usize::try_from(start).ok()?, usize::try_from(end).ok()?);
        (start <= end && end <= size).then_some((start, end))
    }

    /// The error of an index, in place of a range, that the axis does not have.
    pub(super) fn index_error(self, operation: &'static str, axis: usize, size: usize) -> TensorError {
        TensorError::Index { operation, axis, index: self.start.unwrap_or(0), size }
    }

    pub(crate) fn error(self, operation: &'static str, axis: usize, step: usize, size: usize) -> TensorError {
        let (start, end) = (self.start.unwrap_or(0), self.end.unwrap_or(i64::try_from(size).unwrap_or(i64::MAX)));
        let end = end.saturating_add(i64::from(self.is_inclusive));
        TensorError::Slice { operation, axis, start, end, step, size }
    }
}

impl Layout {
    fn slice(&self, axis: Axis, range: Given, step: usize) -> Result<Self, TensorError> {
        let axis = self.axis("slice", axis)?;
        let size = self.shape[axis];
        let error = || range.error("slice", axis, step, size);
        let (start, end) = range.resolve(size).ok_or_else(error)?;
        if step == 0 {
            return Err(error());
        }
        let mut view = self.narrow(axis, start, end - start)?;
        let count = (end - start).div_ceil(step);
        view.shape.as_mut_slice()[axis] = count;
        if count > 1 {
            // No overflow: with more than one element, the next element is within the axis.
            view.strides.as_mut_slice()[axis] *= step;
        }
        Ok(view)
    }

    fn squeeze(&self, axes: &impl Axes) -> Result<Self, TensorError> {
        Ok(self.without(&self.axes("squeeze", axes)?))
    }

    /// Removes those of the axes that have size 1.
    pub(super) fn without(&self, axes: &[usize]) -> Self {
        let mut view = Self { shape: Dims::EMPTY, strides: Dims::EMPTY, offset: self.offset };
        for (axis, (size, stride)) in self.dimensions().enumerate() {
            if size != 1 || !axes.contains(&axis) {
                view.shape.push(size);
                view.strides.push(stride);
            }
        }
        view
    }

    fn unsqueeze(&self, axis: Axis) -> Result<Self, TensorError> {
        let rank = self.rank() + 1;
        if rank > MAX_RANK {
            return Err(TensorError::Rank { rank, limit: MAX_RANK });
        }
        let mut widened = Dims::EMPTY;
        (0..rank).for_each(|_| widened.push(1));
        // Among the axes of the view.
        let axis = Self { shape: widened, strides: widened, offset: 0 }.axis("unsqueeze", axis).map_err(|_| {
            TensorError::Axis { operation: "unsqueeze", axis: axis.number(), shape: self.shape.to_vec(), places: rank }
        })?;
        let mut view = Self { shape: Dims::EMPTY, strides: Dims::EMPTY, offset: self.offset };
        for place in 0..rank {
            let from = if place > axis { place - 1 } else { place };
            let (size, stride) = if place == axis { (1, 1) } else { (self.shape[from], self.strides[from]) };
            view.shape.push(size);
            view.strides.push(stride);
        }
        Ok(view)
    }
}

impl Tensor {
    /// Returns every `step`-th index of a range of an axis, as a view: `x.slice(1, ..-1, 2)` is PyTorch's `x[:, :-1:2]`.
    /// Negative indices are counted from the end.
    ///
    /// # Errors
    /// [`TensorError::Axis`]; [`TensorError::Slice`] if the range exceeds the axis or ends before its start, where PyTorch
    /// would truncate the range, or if the step is 0.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use wgpu_pool::{Pool, PoolOptions, Tensor};
    ///
    /// let pool = Pool::request_blocking(PoolOptions::default())?;
    /// let x = Tensor::arange(&pool, 10, 0, 1)?;
    /// assert_eq!(x.slice(0, 1..9, 3)?.read_blocking::<i32>()?, [1, 4, 7]);
    /// assert_eq!(x.slice(0, -2.., 1)?.read_blocking::<i32>()?, [8, 9]);
    /// # Ok::<(), wgpu_pool::Error>(())
    /// ```
    pub fn slice(&self, axis: impl Into<Axis>, range: impl IndexRange, step: usize) -> Result<Self, TensorError> {
        Ok(self.view(self.layout.slice(axis.into(), range.given(), step)?))
    }

    /// Returns one index of an axis, as a view without the axis. A negative index is counted from the end. Equals
    /// `torch.select`.
    ///
    /// # Errors
    /// [`TensorError::Axis`]; [`TensorError::Index`] if the axis has no such index.
    pub fn select(&self, axis: impl Into<Axis>, index: impl Into<Axis>) -> Result<Self, TensorError> {
        let axis = self.layout.axis("select", axis)?;
        let (given, size) = (Given::one(index.into()), self.layout.shape[axis]);
        let (start, end) = given.resolve(size).ok_or_else(|| given.index_error("select", axis, size))?;
        self.view(self.layout.narrow(axis, start, end - start)?).squeeze(axis)
    }

    /// Removes those of the given axes that have size 1: an axis, a list of axes, or `..` for all axes. Returns a view. Equals
    /// `torch.squeeze`.
    ///
    /// # Errors
    /// [`TensorError::Axis`], [`TensorError::RepeatedAxis`].
    pub fn squeeze(&self, axes: impl Axes) -> Result<Self, TensorError> {
        Ok(self.view(self.layout.squeeze(&axes)?))
    }

    /// Inserts an axis of size 1 before the given axis; −1 appends an axis. Returns a view. Equals `torch.unsqueeze`.
    ///
    /// # Errors
    /// [`TensorError::Axis`], [`TensorError::Rank`].
    pub fn unsqueeze(&self, axis: impl Into<Axis>) -> Result<Self, TensorError> {
        Ok(self.view(self.layout.unsqueeze(axis.into())?))
    }

    /// Splits an axis into consecutive views of `size` indices each; the last view may have fewer. An axis of size 0 gives
    /// one view. Equals `torch.split`.
    ///
    /// # Errors
    /// [`TensorError::Axis`]; [`TensorError::Zero`] if `size` is 0; [`TensorError::TooManyViews`] for more than 2^20 views.
    pub fn split(&self, size: usize, axis: impl Into<Axis>) -> Result<Vec<Self>, TensorError> {
        let axis = self.layout.axis("split", axis)?;
        if size == 0 {
            return Err(TensorError::Zero { operation: "split", argument: "size" });
        }
        self.in_views("split", size, axis)
    }

    fn in_views(&self, name: &'static str, size: usize, axis: usize) -> Result<Vec<Self>, TensorError> {
        let all = self.layout.shape[axis];
        check_views(name, all.div_ceil(size))?;
        let starts = (0..all.max(1)).step_by(size);
        starts.map(|start| self.narrow(axis, start, size.min(all - start))).collect()
    }

    /// Splits an axis into consecutive views of the given sizes. Equals `torch.split` with a list.
    ///
    /// # Errors
    /// [`TensorError::Axis`]; [`TensorError::Shape`] unless the sum of the sizes is the size of the axis;
    /// [`TensorError::TooManyViews`] for more than 2^20 views.
    pub fn split_with_sizes(&self, sizes: &[usize], axis: impl Into<Axis>) -> Result<Vec<Self>, TensorError> {
        let name = "split_with_sizes";
        let axis = self.layout.axis(name, axis)?;
        let all = self.layout.shape[axis];
        let sum = sizes.iter().try_fold(0_usize, |sum, &size| sum.checked_add(size));
        if sum != Some(all) {
            return Err(TensorError::shape(name, "sizes", sizes, ShapeRequirement::Sum { axis, size: all }));
        }
        check_views(name, sizes.len())?;
        let mut start = 0;
        let parts = sizes.iter().map(|&size| {
            let part = self.narrow(axis, start, size);
            start += size;
            part
        });
        parts.collect()
    }

    /// Splits an axis into at most `chunks` consecutive views of equal size; the last view may have fewer indices. Equals
    /// `torch.chunk`.
    ///
    /// # Errors
    /// [`TensorError::Axis`]; [`TensorError::Zero`] if `chunks` is 0; [`TensorError::TooManyViews`] for more than 2^20 views.
    pub fn chunk(&self, chunks: usize, axis: impl Into<Axis>) -> Result<Vec<Self>, TensorError> {
        let axis = self.layout.axis("chunk", axis)?;
        if chunks == 0 {
            return Err(TensorError::Zero { operation: "chunk", argument: "number of chunks" });
        }
        self.in_views("chunk", self.layout.shape[axis].div_ceil(chunks).max(1), axis)
    }
}

/// The most views that a call returns. A view takes about 200 bytes of the host, whatever it shows, and an axis of repeated elements
/// can have any size.
const MOST_VIEWS: usize = 1 << 20;

fn check_views(operation: &'static str, views: usize) -> Result<(), TensorError> {
    let limit = MOST_VIEWS;
    if views > limit { Err(TensorError::TooManyViews { operation, views, limit }) } else { Ok(()) }
}
