//! Axes of a tensor, which may be counted from the end.

use super::layout::{Dims, Layout};
use crate::error::TensorError;

/// An axis of a tensor. Non-negative axes are counted from the start, negative axes from the end.
///
/// A tensor of rank n has the axes −n to n − 1; −1 is the last axis, as in PyTorch. Every integer type converts to an axis.
///
/// # Examples
///
/// ```no_run
/// use wgpu_pool::{DType, Pool, PoolOptions, Tensor};
///
/// let pool = Pool::request_blocking(PoolOptions::default())?;
/// let images = Tensor::zeros(&pool, [8, 3, 32, 48], DType::F32)?;
/// assert_eq!(images.transpose(-2, -1)?.shape(), [8, 3, 48, 32]);
/// assert_eq!(images.mean([2, 3])?.shape(), [8, 3]);
/// assert_eq!(images.sum_keepdim(-1)?.shape(), [8, 3, 32, 1]);
/// # Ok::<(), wgpu_pool::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Axis(i64);

impl From<i32> for Axis {
    fn from(axis: i32) -> Self {
        Self(i64::from(axis))
    }
}

impl From<i64> for Axis {
    fn from(axis: i64) -> Self {
        Self(axis)
    }
}

impl From<isize> for Axis {
    fn from(axis: isize) -> Self {
        Self(axis as i64)
    }
}

/// Saturates at `i64::MAX`, which is an axis of no tensor.
impl From<usize> for Axis {
    fn from(axis: usize) -> Self {
        Self(i64::try_from(axis).unwrap_or(i64::MAX))
    }
}

impl Axis {
    /// Returns the number as given by the caller.
    pub(super) fn number(self) -> i64 {
        self.0
    }
}

/// Axes of a tensor: an integer, an array, slice or vector of integers, or `..` for all axes. For reductions, an empty
/// list means all axes, as in PyTorch.
pub trait Axes: sealed::Axes {}

impl<T: sealed::Axes> Axes for T {}

mod sealed {
    use super::Axis;

    pub trait Axes {
        /// Calls the function with each axis in the given order, for a tensor of this rank.
        fn each(&self, rank: usize, visit: &mut dyn FnMut(Axis));
    }

    macro_rules! one {
        ($($integer:ty),*) => {
            $(
                impl Axes for $integer {
                    fn each(&self, _: usize, visit: &mut dyn FnMut(Axis)) {
                        visit((*self).into());
                    }
                }
            )*
        };
    }

    one! { i32, i64, isize, usize, Axis }

    impl<T: Copy + Into<Axis>> Axes for [T] {
        fn each(&self, _: usize, visit: &mut dyn FnMut(Axis)) {
            self.iter().for_each(|&axis| visit(axis.into()));
        }
    }

    impl<T: Copy + Into<Axis>, const N: usize> Axes for [T; N] {
        fn each(&self, rank: usize, visit: &mut dyn FnMut(Axis)) {
            self.as_slice().each(rank, visit);
        }
    }

    impl<T: Copy + Into<Axis>> Axes for Vec<T> {
        fn each(&self, rank: usize, visit: &mut dyn FnMut(Axis)) {
            self.as_slice().each(rank, visit);
        }
    }

    impl Axes for std::ops::RangeFull {
        fn each(&self, rank: usize, visit: &mut dyn FnMut(Axis)) {
            (0..rank).for_each(|axis| visit(axis.into()));
        }
    }

    impl<T: Axes + ?Sized> Axes for &T {
        fn each(&self, rank: usize, visit: &mut dyn FnMut(Axis)) {
            (**self).each(rank, visit);
        }
    }
}

impl Layout {
    /// Returns the axis counted from the start.
    ///
    /// # Errors
    /// [`TensorError::Axis`].
    pub(crate) fn axis(&self, operation: &'static str, axis: impl Into<Axis>) -> Result<usize, TensorError> {
        let Axis(axis) = axis.into();
        let place = if axis < 0 { axis.saturating_add(self.rank() as i64) } else { axis };
        match usize::try_from(place) {
            Ok(place) if place < self.rank() => Ok(place),
            _ => Err(TensorError::Axis { operation, axis, shape: self.shape.to_vec(), places: self.rank() }),
        }
    }

    /// Returns the axis counted from the start, or `None` for axis 0 or −1 of a scalar, which PyTorch accepts in reductions and
    /// lookups.
    ///
    /// # Errors
    /// [`TensorError::Axis`].
    pub(crate) fn axis_or_scalar(
        &self,
        operation: &'static str,
        axis: impl Into<Axis>,
    ) -> Result<Option<usize>, TensorError> {
        let axis = axis.into();
        if self.rank() == 0 && matches!(axis.0, 0 | -1) { Ok(None) } else { self.axis(operation, axis).map(Some) }
    }

    /// Returns the axes counted from the start, in the given order. Axis 0 or −1 of a scalar is omitted.
    ///
    /// # Errors
    /// [`TensorError::Axis`], [`TensorError::RepeatedAxis`].
    pub(crate) fn axes(&self, operation: &'static str, axes: &impl Axes) -> Result<Dims, TensorError> {
        let mut found = Ok(Dims::EMPTY);
        let mut scalar_axes = 0;
        axes.each(self.rank(), &mut |axis| {
            let Ok(before) = &mut found else { return };
            let repeated = || TensorError::RepeatedAxis { operation, axis: axis.0 };
            match self.axis_or_scalar(operation, axis) {
                Ok(Some(place)) if before.contains(&place) => found = Err(repeated()),
                // The axes are distinct and below the rank, so they fit.
                Ok(Some(place)) => before.push(place),
                Ok(None) if scalar_axes > 0 => found = Err(repeated()),
                Ok(None) => scalar_axes += 1,
                Err(error) => found = Err(error),
            }
        });
        found
    }
}
