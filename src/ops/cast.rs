//! Conversion of elements to another dtype.

use super::shader::{CONVERT, NUMBER, Operation};
use crate::error::TensorError;
use crate::tensor::{DType, Tensor};

const SATURATING: &[&str] = &[NUMBER, CONVERT];
/// The expression is of the type that is written: an f32 has too few bits for the largest integers.
const WRITTEN: &[[&str; 2]] = &[["fn apply(x: Value) -> Value {", "fn apply(x: Value) -> Written {"]];

/// The conversion between two dtypes that are not the same, and the dtypes that the kernel reads and writes. Of 32 bits, both
/// sides are bits, so that no number passes through memory as one of another kind, which some drivers would flush.
pub(super) fn conversion(from: DType, to: DType) -> Option<(Operation, [DType; 2])> {
    if from != to && [from, to].contains(&DType::F16) {
        return Some((half_conversion(from, to), [from, to]));
    }
    let operation = match (from, to) {
        (DType::F32, DType::I32) => {
            Operation::calling("f32_to_i32", "bitcast<Bits>(to_signed(bitcast<Real>(x)))", SATURATING)
        }
        (DType::F32, DType::U32) => Operation::calling("f32_to_u32", "to_unsigned(bitcast<Real>(x))", SATURATING),
        (DType::I32, DType::F32) => Operation::new("i32_to_f32", "bitcast<Bits>(Real(bitcast<Signed>(x)))"),
        (DType::U32, DType::F32) => Operation::new("u32_to_f32", "bitcast<Bits>(Real(x))"),
        (DType::I32, DType::U32) | (DType::U32, DType::I32) => Operation::new("bits", "x"),
        (DType::F32, DType::F32)
        | (DType::I32, DType::I32)
        | (DType::U32, DType::U32)
        | (DType::F16, _)
        | (_, DType::F16) => {
            return None;
        }
    };
    Some((operation, [DType::U32; 2]))
}

/// A conversion by way of f32, which kernels compute with.
fn half_conversion(from: DType, to: DType) -> Operation {
    match (from, to) {
        (DType::F16, DType::I32) => {
            Operation { lines: WRITTEN, ..Operation::calling("f16_to_i32", "to_signed(x)", SATURATING) }
        }
        (DType::F16, DType::U32) => {
            Operation { lines: WRITTEN, ..Operation::calling("f16_to_u32", "to_unsigned(x)", SATURATING) }
        }
        _ => Operation::new("by_f32", "x"),
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
