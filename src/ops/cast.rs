//! Elements turned into those of another dtype.

use super::elementwise::Elementwise;
use super::shader::{Operation, UNARY};
use crate::error::TensorError;
use crate::tensor::{DType, Tensor};

/// The conversion between two dtypes that are not the same, and the dtypes that the kernel reads and writes. Of 32 bits, both
/// sides are bits, so that no number passes through memory as one of another kind, which some drivers would flush.
pub(super) fn conversion(from: DType, to: DType) -> Option<(Operation, [DType; 2])> {
    if from != to && [from, to].contains(&DType::F16) {
        return Some((half_conversion(from, to), [from, to]));
    }
    let operation = match (from, to) {
        // Clamped to what an f32 can hold of the range: WGSL says so, and drivers differ.
        (DType::F32, DType::I32) => Operation::new(
            "f32_to_i32",
            "bitcast<Bits>(Signed(clamp(bitcast<Real>(x), Real(-2147483648.0), Real(2147483520.0))))",
        ),
        (DType::F32, DType::U32) => {
            Operation::new("f32_to_u32", "Bits(clamp(bitcast<Real>(x), Real(0.0), Real(4294967040.0)))")
        }
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
        (DType::F16, DType::I32) => Operation::new("f16_to_i32", "clamp(x, Value(-2147483648.0), Value(2147483520.0))"),
        (DType::F16, DType::U32) => Operation::new("f16_to_u32", "clamp(x, Value(0.0), Value(4294967040.0))"),
        _ => Operation::new("by_f32", "x"),
    }
}

impl Tensor {
    /// The elements in another dtype: itself if it has that one already, a new tensor otherwise. From f32 or f16 to an integer they
    /// are cut off towards zero, and those beyond its range become its least or largest; what is not a number becomes any.
    /// Integers turn into each other by their bits, and into f32 by rounding. What goes into f16 is rounded to a neighbour, to
    /// which one is the device's choice, and beyond 65504 becomes infinite. Equals `torch.Tensor.to` of a dtype.
    ///
    /// # Errors
    /// As [`Tensor::empty`].
    #[track_caller]
    pub fn to(&self, dtype: DType) -> Result<Self, TensorError> {
        let Some((operation, [read, written])) = conversion(self.dtype(), dtype) else { return Ok(self.clone()) };
        let output = self.beside(self.shape(), dtype)?;
        let run = Elementwise {
            name: "to",
            shader: &UNARY,
            operation,
            output: &output,
            left: Some((self, *self.layout())),
            right: None,
            shared: false,
            scalar: 0,
        };
        run.run_as(read, written)?;
        Ok(output)
    }
}
