//! Elements kept within bounds.

use super::binary::{MAXIMUM, MINIMUM};
use super::fuse::{Constant, fuse};
use super::launch::check_pools;
use crate::error::TensorError;
use crate::tensor::{DType, Number, Operand, Tensor, TensorOrScalar, result_type};

impl Tensor {
    /// Returns min(max(x, `low`), `high`) of each element. Each bound is a number or a tensor; shapes broadcast. For
    /// every dtype; operands of different dtypes are promoted as by [`Tensor::add`]. A NaN element or bound gives NaN.
    /// If the lower bound is above the upper bound, the result is the upper bound. Exact. Equals `torch.clamp`. For one
    /// bound see [`Tensor::maximum`] and [`Tensor::minimum`].
    ///
    /// Cost: one kernel if both bounds are numbers, otherwise two.
    ///
    /// # Errors
    /// As [`Tensor::maximum`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use wgpu_pool::{Pool, PoolOptions, Tensor};
    ///
    /// let pool = Pool::request_blocking(PoolOptions::default())?;
    /// let x = Tensor::from_slice(&pool, &[-2.0_f32, 0.5, 7.0], [3])?;
    /// assert_eq!(x.clamp(0.0, 1.0)?.read_blocking::<f32>()?, [0.0, 0.5, 1.0]);
    /// # Ok::<(), wgpu_pool::Error>(())
    /// ```
    #[track_caller]
    pub fn clamp(&self, low: impl TensorOrScalar, high: impl TensorOrScalar) -> Result<Self, TensorError> {
        let (low, high) = (low.operand(), high.operand());
        match (low, high) {
            (Operand::Scalar(low), Operand::Scalar(high)) => {
                let (dtype, [low, high]) = self.bounds("clamp", low, high)?;
                fuse(|[x]| x.maximum(low).minimum(high)).run_as("clamp", [&*self.as_dtype(dtype)?])
            }
            _ => {
                let raised = self.binary_as("clamp", &MAXIMUM, ("low", low))?;
                raised.binary_as("clamp", &MINIMUM, ("high", high))
            }
        }
    }

    /// Limits each element to the range from `low` to `high`, in place. See [`Tensor::clamp`]. Equals `torch.Tensor.clamp_`.
    ///
    /// # Errors
    /// As [`Tensor::maximum_`].
    #[track_caller]
    pub fn clamp_(&self, low: impl TensorOrScalar, high: impl TensorOrScalar) -> Result<(), TensorError> {
        let name = "clamp_";
        let operands = [low.operand(), high.operand()];
        if let [Operand::Scalar(low), Operand::Scalar(high)] = operands {
            let (dtype, [low, high]) = self.bounds(name, low, high)?;
            if dtype != self.dtype() {
                return Err(TensorError::dtypes(name, ("result", dtype.name()), ("tensor", self.dtype().name())));
            }
            return fuse(|[x]| x.maximum(low).minimum(high)).run_into_as(name, [self], self);
        }
        for (argument, operand) in ["low", "high"].into_iter().zip(operands) {
            // Both bounds are checked before an element is changed.
            let dtype = result_type(name, ("tensor", Operand::Tensor(self)), (argument, operand))?;
            if dtype.is_floating_point() && !self.dtype().is_floating_point() {
                return Err(TensorError::dtypes(name, ("result", dtype.name()), ("tensor", self.dtype().name())));
            }
            match operand {
                Operand::Scalar(number) => drop(number.bits(name, argument, self.dtype())?),
                Operand::Tensor(bound) => {
                    check_pools(name, ("tensor", self), (argument, bound))?;
                    bound.layout().expand(name, argument, self.shape())?;
                }
            }
        }
        self.check_writable(name, "tensor")?;
        let result = self.clamp(low, high).map_err(|error| error.of_operation(name))?;
        self.copy_(&result)
    }

    /// Returns the dtype of the result for two numbers as bounds, and the bounds.
    fn bounds(&self, name: &'static str, low: Number, high: Number) -> Result<(DType, [Constant; 2]), TensorError> {
        let own = ("tensor", Operand::Tensor(self));
        let of_low = result_type(name, own, ("low", Operand::Scalar(low)))?;
        let dtype =
            if of_low == self.dtype() { result_type(name, own, ("high", Operand::Scalar(high)))? } else { of_low };
        let constant = |argument: &'static str, number: Number| -> Result<Constant, TensorError> {
            Ok(Constant { bits: number.bits(name, argument, dtype)?, dtype: dtype.number() })
        };
        Ok((dtype, [constant("low", low)?, constant("high", high)?]))
    }
}
