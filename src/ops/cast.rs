//! Conversion of elements to another dtype.

use super::copy::COPY;
use super::elementwise::{Code, Operation, Single, Typed, UNDEFINED, Value, computed};
use super::shader::{CONVERT, NUMBER};
use crate::error::TensorError;
use crate::tensor::{DType, Tensor};

const SATURATING: &[&str] = &[NUMBER, CONVERT];

/// A conversion between dtypes of 32 bits. Both sides are bits, so that no number passes through memory as one of another kind, which
/// some drivers would flush.
const fn of_bits(name: &'static str, code: Code) -> Operation {
    Operation::new(name, 1, code, computed(code, code))
}

/// A conversion of f16, which kernels compute with in f32.
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

/// The conversion between two dtypes, and the dtypes that its kernel reads and writes.
///
/// # Errors
/// [`TensorError::NotDefined`], of no dtype that there is.
pub(super) fn conversion(from: DType, to: DType) -> Result<(Single, [DType; 2]), TensorError> {
    let bits =
        |operation: &'static Operation| Ok((Single::of(operation, operation.defined_on(DType::U32)?), [DType::U32; 2]));
    // An f32 has too few bits for the largest integers, so that the result is of their dtype.
    let half = |operation: &'static Operation, computed: DType| {
        let typed = Typed { result: Value::Number(computed), ..operation.defined_on(DType::F32)? };
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
    /// The elements in another dtype: itself if it has that one already, a new tensor otherwise. From f32 or f16 to an
    /// integer they are truncated towards zero and saturate: numbers beyond the integer's range become its least or greatest value,
    /// and NaN becomes 0, as with Rust's `as`. Integers turn into each other by their bits (i32 -1 is u32 4294967295), and into f32
    /// by rounding. Conversion to f16 rounds to a neighbour, which one is the device's choice, and overflows to infinity beyond
    /// 65504. Equals `torch.Tensor.to` of a dtype, which leaves numbers beyond an integer's range undefined.
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
