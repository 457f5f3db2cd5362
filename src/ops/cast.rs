//! Conversion of elements to another dtype.

use super::copy::COPY;
use super::elementwise::{Code, Operation, Single, Typed, UNDEFINED, Value, computed};
use super::shader::{CONVERT, NUMBER};
use crate::error::TensorError;
use crate::tensor::{DType, Tensor};

const SATURATING: &[&str] = &[NUMBER, CONVERT];

/// A conversion between 32-bit dtypes. Both sides are loaded and stored as bits, because some drivers flush subnormal
/// bit patterns that are loaded or stored as f32.
const fn of_bits(name: &'static str, code: Code) -> Operation {
    Operation::new(name, 1, code, computed(code, code))
}

/// A conversion of f16, which kernels compute in f32.
const fn of_half(name: &'static str, code: Code) -> Operation {
    Operation::new(name, 1, code, UNDEFINED)
}

static F32_TO_I32: Operation =
    of_bits("f32_to_i32", Code::calling("bitcast<Bits>(to_signed(bitcast<Real>(x)))", SATURATING));
static F32_TO_U32: Operation = of_bits("f32_to_u32", Code::calling("to_unsigned(bitcast<Real>(x))", SATURATING));
static I32_TO_F32: Operation = of_bits("i32_to_f32", Code::new("bitcast<Bits>(Real(bitcast<Signed>(x)))"));
static U32_TO_F32: Operation = of_bits("u32_to_f32", Code::new("bitcast<Bits>(Real(x))"));
static F16_TO_I32: Operation = of_half("f16_to_i32", Code::calling("to_signed(x)", SATURATING));
static F16_TO_U32: Operation = of_half("f16_to_u32", Code::calling("to_unsigned(x)", SATURATING));
static BY_F32: Operation = of_half("by_f32", Code::new("x"));

/// Returns the conversion between two dtypes, and the dtypes that its kernel loads and stores.
///
/// # Errors
/// [`TensorError::NotDefined`]; does not occur for the existing dtypes.
pub(super) fn conversion(from: DType, to: DType) -> Result<(Single, [DType; 2]), TensorError> {
    let bits = |operation: &'static Operation| {
        Ok((Single::of(operation, operation.defined_on(operation.name, "tensor", DType::U32)?), [DType::U32; 2]))
    };
    // f32 has too few bits for the largest integers, so the result of the operation has the integer dtype.
    let half = |operation: &'static Operation, computed: DType| {
        let typed =
            Typed { result: Value::Number(computed), ..operation.defined_on(operation.name, "tensor", DType::F32)? };
        Ok((Single::of(operation, typed), [from, to]))
    };
    match (from, to) {
        (DType::F32, DType::I32) => bits(&F32_TO_I32),
        (DType::F32, DType::U32) => bits(&F32_TO_U32),
        (DType::I32, DType::F32) => bits(&I32_TO_F32),
        (DType::U32, DType::F32) => bits(&U32_TO_F32),
        (DType::F16, DType::I32) => half(&F16_TO_I32, to),
        (DType::F16, DType::U32) => half(&F16_TO_U32, to),
        (DType::F16, DType::F32) | (DType::F32 | DType::I32 | DType::U32, DType::F16) => half(&BY_F32, DType::F32),
        (DType::I32, DType::U32) | (DType::U32, DType::I32) => Ok(Single::moving(&COPY, DType::U32)),
        (DType::F32, DType::F32) | (DType::I32, DType::I32) | (DType::U32, DType::U32) | (DType::F16, DType::F16) => {
            Ok(Single::moving(&COPY, from.moved()))
        }
    }
}

impl Tensor {
    /// Converts the elements to another dtype. Returns the tensor itself if it has the dtype, otherwise a new tensor.
    /// From f32 or f16 to an integer dtype, elements are truncated toward zero and saturate at the integer's range; NaN
    /// becomes 0, as with Rust's `as`. Integers are reinterpreted between i32 and u32 (i32 −1 is u32 4294967295) and
    /// rounded to f32. Conversion to f16 rounds to one of the two adjacent numbers, depending on the device, and
    /// overflows to infinity beyond 65504. Equals `torch.Tensor.to` with a dtype, for which numbers beyond an integer's
    /// range are undefined.
    ///
    /// # Errors
    /// As [`Tensor::empty`].
    #[track_caller]
    pub fn to(&self, dtype: DType) -> Result<Self, TensorError> {
        if dtype == self.dtype() {
            return Ok(self.clone());
        }
        let output = self.new_empty(self.shape(), dtype)?;
        output.copy_(self)?;
        Ok(output)
    }
}
