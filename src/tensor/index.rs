//! Views by an index or a range for each axis.

use super::Tensor;
use super::axis::Axis;
use super::layout::{Dims, Layout};
use super::view::{Given, IndexRange};
use crate::error::TensorError;

/// An index of [`Tensor::i`]: an integer, an [`IndexRange`], or a tuple of up to eight of them, one for each axis.
pub trait TensorIndex: sealed::TensorIndex {}

impl<T: sealed::TensorIndex> TensorIndex for T {}

/// The index of one axis.
#[derive(Clone, Copy, Debug)]
pub struct Indexed {
    range: Given,
    /// Whether the axis is removed from the shape.
    is_dropped: bool,
}

mod sealed {
    use super::{Axis, Given, IndexRange, Indexed};

    pub trait TensorIndex {
        /// Calls the function with the index of each axis, in order.
        fn each(&self, visit: &mut dyn FnMut(Indexed));
    }

    pub trait AxisIndex {
        fn indexed(&self) -> Indexed;
    }

    impl<T: IndexRange> AxisIndex for T {
        fn indexed(&self) -> Indexed {
            Indexed { range: self.given(), is_dropped: false }
        }
    }

    macro_rules! integers {
        ($($integer:ty),*) => {
            $(
                impl AxisIndex for $integer {
                    fn indexed(&self) -> Indexed {
                        Indexed { range: Given::one(Axis::from(*self)), is_dropped: true }
                    }
                }
            )*
        };
    }

    integers! { i32, i64, isize, usize }

    impl<T: AxisIndex> TensorIndex for T {
        fn each(&self, visit: &mut dyn FnMut(Indexed)) {
            visit(self.indexed());
        }
    }

    macro_rules! tuples {
        ($(($($index:ident),*);)*) => {
            $(
                impl<$($index: AxisIndex),*> TensorIndex for ($($index,)*) {
                    fn each(&self, visit: &mut dyn FnMut(Indexed)) {
                        #[expect(non_snake_case, reason = "a variable for each type")]
                        let ($($index,)*) = self;
                        $(visit($index.indexed());)*
                    }
                }
            )*
        };
    }

    tuples! {
        (A);
        (A, B);
        (A, B, C);
        (A, B, C, D);
        (A, B, C, D, E);
        (A, B, C, D, E, F);
        (A, B, C, D, E, F, G);
        (A, B, C, D, E, F, G, H);
    }
}

impl Layout {
    fn index(&self, index: &impl TensorIndex) -> Result<Self, TensorError> {
        let name = "i";
        let (mut view, mut dropped) = (Ok(*self), Dims::EMPTY);
        let mut number = 0_usize;
        index.each(&mut |Indexed { range, is_dropped }| {
            let Ok(before) = &view else { return };
            view = self.axis(name, number).and_then(|axis| {
                let size = self.shape[axis];
                let error = || match is_dropped {
                    true => range.index_error(name, axis, size),
                    false => range.error(name, axis, 1, size),
                };
                let (start, end) = range.resolve(size).ok_or_else(error)?;
                if is_dropped {
                    dropped.push(axis);
                }
                before.narrow(axis, start, end - start)
            });
            number += 1;
        });
        Ok(view?.without(&dropped))
    }
}

impl Tensor {
    /// Returns the elements of an index or a range of each axis, as a view: `x.i((0, .., 1..3))` is PyTorch's `x[0, :, 1:3]`.
    /// An integer removes its axis from the shape, as [`Tensor::select`]; a range keeps the axis, as [`Tensor::slice`] with
    /// step 1. Negative indices are counted from the end. Axes without an index are complete. Copies nothing.
    ///
    /// # Errors
    /// [`TensorError::Axis`] for more indices than axes; [`TensorError::Index`] if an axis has no such index;
    /// [`TensorError::Slice`] if a range exceeds the axis or ends before its start, where PyTorch would truncate the range.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use wgpu_pool::{Pool, PoolOptions, Tensor};
    ///
    /// let pool = Pool::request_blocking(PoolOptions::default())?;
    /// let x = Tensor::arange(&pool, 24, 0, 1)?.reshape([2, 3, 4])?;
    /// assert_eq!(x.i((0, .., 1..3))?.read_blocking::<i32>()?, [1, 2, 5, 6, 9, 10]);
    /// assert_eq!(x.i((.., -1))?.shape(), [2, 4]);
    /// assert_eq!(x.i(1)?.shape(), [3, 4]);
    /// # Ok::<(), wgpu_pool::Error>(())
    /// ```
    pub fn i(&self, index: impl TensorIndex) -> Result<Self, TensorError> {
        Ok(self.view(self.layout.index(&index)?))
    }
}
