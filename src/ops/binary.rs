//! Elementwise operations on two tensors, and on a tensor and a scalar.

use super::elementwise::Elementwise;
use super::launch::{check_kinds, is_in_place};
use super::shader::{ADD_SCALED, AS_IT_IS, BINARY, BINARY_SCALAR, DIVIDED, NUMBER, Operation, POWER, UPPER_PRODUCT};
use crate::error::TensorError;
use crate::tensor::{DType, Element, Tensor};

pub(super) const ADD: Operation = Operation::new("add", "x + y");
pub(super) const SUB: Operation = Operation::new("sub", "x - y");
pub(super) const MUL: Operation = Operation::new("mul", "x * y");
pub(super) const DIV: Operation = Operation::calling("div", "divided(x, y)", &[DIVIDED]);

// By the order of their bits: drivers' own `max` and `min` may drop a NaN.
pub(super) const MAXIMUM: Operation = Operation::calling("maximum", "larger(x, y)", &[NUMBER]);
pub(super) const MINIMUM: Operation = Operation::calling("minimum", "smaller(x, y)", &[NUMBER]);
const MAXIMUM_OF_INTEGERS: Operation = Operation::new("maximum", "max(x, y)");
const MINIMUM_OF_INTEGERS: Operation = Operation::new("minimum", "min(x, y)");

// By integers of 31 bits: f32 has too few for the exponent of a large result.
pub(super) const POW: Operation = Operation::calling("pow", "power(x, y)", &[NUMBER, UPPER_PRODUCT, POWER]);

/// Every operation there is.
#[cfg(test)]
pub(super) const ALL: [Operation; 7] = [ADD, SUB, MUL, DIV, MAXIMUM, MINIMUM, POW];

/// The operation as it is done on a dtype, if it is defined for it. PyTorch's `div` of integers gives floating point; here that is
/// a cast, so it is left undefined, as is `pow`.
pub(super) fn defined(operation: Operation, dtype: DType) -> Option<Operation> {
    match (operation, dtype) {
        (_, DType::F32 | DType::F16) => Some(operation),
        (DIV | POW, DType::I32 | DType::U32) => None,
        _ => Some(on(operation, dtype)),
    }
}

/// The operation as it is done on a dtype.
pub(super) fn on(operation: Operation, dtype: DType) -> Operation {
    match (operation, dtype) {
        (MAXIMUM, DType::I32 | DType::U32) => MAXIMUM_OF_INTEGERS,
        (MINIMUM, DType::I32 | DType::U32) => MINIMUM_OF_INTEGERS,
        _ => operation,
    }
}

impl Tensor {
    #[track_caller]
    fn binary(&self, operation: Operation, other: &Self) -> Result<Self, TensorError> {
        check_kinds(operation.name, self, other)?;
        self.check_defined(operation)?;
        let operation = on(operation, self.dtype());
        let shape = self.layout().broadcast_shape(operation.name, other.layout())?;
        let output = self.beside(&*shape, self.dtype())?;
        let run = Elementwise {
            name: operation.name,
            shader: &BINARY,
            operation,
            output: &output,
            left: Some((self, self.layout().expand(operation.name, &shape)?)),
            right: Some((other, other.layout().expand(operation.name, &shape)?)),
            shared: self.storage().is_same(other.storage()),
            scalar: 0,
        };
        run.run()?;
        Ok(output)
    }

    #[track_caller]
    fn binary_scalar<T: Element>(&self, operation: Operation, scalar: T) -> Result<Self, TensorError> {
        self.check_scalar(operation.name, T::DTYPE)?;
        self.check_defined(operation)?;
        let operation = on(operation, self.dtype());
        let output = self.beside(self.shape(), self.dtype())?;
        let run = Elementwise {
            name: operation.name,
            shader: &BINARY_SCALAR,
            operation,
            output: &output,
            left: Some((self, *self.layout())),
            right: None,
            shared: false,
            scalar: scalar.bits(),
        };
        run.run()?;
        Ok(output)
    }

    /// Adds `alpha` times `other`, broadcast to its own shape, in place: the step of gradient descent. Equals
    /// `torch.Tensor.add_(other, alpha=alpha)`.
    ///
    /// # Errors
    /// [`TensorError::Pools`], [`TensorError::DType`], [`TensorError::Shape`]; [`TensorError::Overlap`] if `other` shares
    /// elements with it other than each with itself, or if its own elements share places.
    pub fn add_<T: Element>(&self, other: &Self, alpha: T) -> Result<(), TensorError> {
        let name = "add_";
        check_kinds(name, self, other)?;
        self.check_scalar(name, T::DTYPE)?;
        self.check_writable(name)?;
        let layout = other.layout().expand(name, self.shape())?;
        let run = Elementwise {
            name,
            shader: &ADD_SCALED,
            operation: AS_IT_IS,
            output: self,
            left: Some((other, layout)),
            right: None,
            shared: is_in_place(name, (self.storage(), self.layout()), (other.storage(), &layout))?,
            scalar: alpha.bits(),
        };
        run.run()
    }

    fn check_defined(&self, operation: Operation) -> Result<(), TensorError> {
        if defined(operation, self.dtype()).is_none() {
            return Err(TensorError::NotDefined { operation: operation.name, dtype: self.dtype().name() });
        }
        Ok(())
    }

    pub(super) fn check_scalar(&self, operation: &'static str, scalar: DType) -> Result<(), TensorError> {
        // Of a number that f16 lacks, nothing is lost: it is computed with in f32.
        if scalar == self.dtype() || scalar == self.dtype().number() {
            return Ok(());
        }
        Err(TensorError::DType { operation, left: self.dtype().name(), right: scalar.name() })
    }
}

macro_rules! binary_operations {
    ($(
        $function:ident, $with_scalar:ident, $operation:ident, $formula:literal, $accuracy:literal, $dtypes:literal,
        $equals:literal;
    )*) => {
        impl Tensor {
            $(
                #[doc = concat!($formula, ", element by element, the shapes broadcast to each other. For ", $dtypes)]
                #[doc = concat!(". Equals `", $equals, "`.")]
                ///
                #[doc = concat!("Accuracy in f32, on every driver: ", $accuracy, ".")]
                /// A unit in the last place (ULP) is that of the result, however small; a subnormal operand or result may be taken for 0.
                ///
                /// # Errors
                /// [`TensorError::Shape`], [`TensorError::DType`], [`TensorError::Pools`], [`TensorError::NotDefined`]; as
                /// [`Tensor::empty`].
                #[track_caller]
                pub fn $function(&self, other: &Self) -> Result<Self, TensorError> {
                    self.binary($operation, other)
                }

                #[doc = concat!($formula, ", element by element, with a scalar y of the tensor's dtype, or f32 beside f16. For ", $dtypes)]
                #[doc = concat!(". Equals `", $equals, "`.")]
                ///
                #[doc = concat!("Accuracy in f32, on every driver: ", $accuracy, ".")]
                ///
                /// # Errors
                /// [`TensorError::DType`], [`TensorError::NotDefined`]; as [`Tensor::empty`].
                #[track_caller]
                pub fn $with_scalar<T: Element>(&self, scalar: T) -> Result<Self, TensorError> {
                    self.binary_scalar($operation, scalar)
                }
            )*
        }
    };
}

binary_operations! {
    add, add_scalar, ADD, "x + y", "within 1 ULP", "every dtype", "torch.add";
    sub, sub_scalar, SUB, "x - y", "within 1 ULP", "every dtype", "torch.sub";
    mul, mul_scalar, MUL, "x * y", "within 1 ULP", "every dtype", "torch.mul";
    div, div_scalar, DIV, "x / y", "within 2.5 ULP", "f32 and f16", "torch.div";
    maximum, maximum_scalar, MAXIMUM, "The larger of x and y, NaN if either is", "exact", "every dtype", "torch.maximum";
    pow, pow_scalar, POW, "x to the y; special values as IEEE 754's `pow`", "within 3 ULP", "f32 and f16", "torch.pow";
    minimum, minimum_scalar, MINIMUM, "The smaller of x and y, NaN if either is", "exact", "every dtype", "torch.minimum";
}
