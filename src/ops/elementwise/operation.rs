//! The row type of the table of elementwise operations: the name of an operation and, for each dtype, its formula and the dtype
//! of its result. The rows are in `unary.rs`, `binary.rs`, `compare.rs`, `cast.rs`, `copy.rs` and `fill.rs`.

use crate::error::{Argument, TensorError};
use crate::tensor::DType;
use std::hash::{Hash, Hasher};

/// A formula on values of one dtype.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Code {
    /// WGSL over the operands `x`, `y` and `z`. The type of the values is the alias Real, Signed or Bits: a scalar or a vector.
    pub(in crate::ops) expression: &'static str,
    /// Files of `shaders/lib` that define the functions which the expression calls, over the same aliases.
    pub(in crate::ops) functions: &'static [&'static str],
    /// The largest number of loop iterations of these functions for a value, as stated in their headers.
    pub(in crate::ops) iterations: u64,
}

impl Code {
    pub(in crate::ops) const fn new(expression: &'static str) -> Self {
        Self::calling(expression, &[])
    }

    /// A formula that calls functions of `shaders/lib`.
    pub(in crate::ops) const fn calling(expression: &'static str, functions: &'static [&'static str]) -> Self {
        Self { expression, functions, iterations: 0 }
    }

    /// The same formula, whose functions run loops.
    pub(in crate::ops) const fn looping(self, iterations: u64) -> Self {
        Self { iterations, ..self }
    }
}

/// The definition of an operation on one integer dtype.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) enum OnIntegers {
    Undefined,
    /// The operation on the integers converted to f32.
    InReal,
    /// The operand.
    Identity,
    Computed(Code),
}

/// Not defined for integers.
pub(in crate::ops) const UNDEFINED: [OnIntegers; 2] = [OnIntegers::Undefined; 2];
/// In f32, as PyTorch's functions of integers.
pub(in crate::ops) const IN_REAL: [OnIntegers; 2] = [OnIntegers::InReal; 2];
/// The operand.
pub(in crate::ops) const IDENTITY: [OnIntegers; 2] = [OnIntegers::Identity; 2];

/// Formulas on i32 and on u32.
pub(in crate::ops) const fn computed(signed: Code, unsigned: Code) -> [OnIntegers; 2] {
    [OnIntegers::Computed(signed), OnIntegers::Computed(unsigned)]
}

/// The value of an operation on operands of a dtype.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ops) enum Value {
    Number(DType),
    /// True or false, stored as u32 1 or 0.
    Truth,
}

impl Value {
    /// The dtype of a tensor of such values.
    pub(in crate::ops) const fn dtype(self) -> DType {
        match self {
            Self::Number(dtype) => dtype,
            Self::Truth => DType::U32,
        }
    }
}

/// The types of a step: those of its operands, and that of its value, with the formula between them.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Typed {
    /// The dtype that the operands are converted to first.
    pub(in crate::ops) operands: DType,
    /// `None` if the value is an operand, or a combination of conditions.
    pub(in crate::ops) code: Option<&'static Code>,
    pub(in crate::ops) result: Value,
}

impl Typed {
    /// A combination of conditions.
    pub(in crate::ops) const TRUTH: Self = Self { operands: DType::U32, code: None, result: Value::Truth };

    /// A number that is loaded or selected.
    pub(in crate::ops) const fn number(dtype: DType) -> Self {
        Self { operands: dtype, code: None, result: Value::Number(dtype) }
    }

    /// The dtype of a tensor of the values.
    pub(in crate::ops) const fn dtype(self) -> DType {
        self.result.dtype()
    }

    /// Loop iterations of the formula.
    pub(in crate::ops) fn iterations(self) -> u64 {
        self.code.map_or(0, |code| code.iterations)
    }
}

/// A row of the table. Rows are statics, identified by their addresses.
#[derive(Debug)]
pub(in crate::ops) struct Operation {
    /// The name in errors, in the text of kernels, and in profiles.
    pub(in crate::ops) name: &'static str,
    /// The number of operands.
    pub(in crate::ops) arity: usize,
    /// The formula for f32, and for f16, which kernels compute in f32.
    real: Code,
    /// The definitions for i32 and u32.
    integers: [OnIntegers; 2],
    is_comparison: bool,
}

impl PartialEq for Operation {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Operation {}

impl Hash for Operation {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.address());
    }
}

impl Operation {
    /// Creates a row whose result has the dtype of its operands, or f32.
    pub(in crate::ops) const fn new(name: &'static str, arity: usize, real: Code, integers: [OnIntegers; 2]) -> Self {
        Self { name, arity, real, integers, is_comparison: false }
    }

    /// Creates a row of two operands whose result is true or false.
    pub(in crate::ops) const fn comparison(name: &'static str, real: Code, integer: Code) -> Self {
        Self { name, arity: 2, real, integers: computed(integer, integer), is_comparison: true }
    }

    /// Returns a number that identifies the row.
    pub(in crate::ops) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// The operation on operands of a dtype, if it is defined.
    pub(in crate::ops) fn on(&'static self, dtype: DType) -> Option<Typed> {
        let integer = match dtype {
            DType::F32 | DType::F16 => &OnIntegers::InReal,
            DType::I32 => &self.integers[0],
            DType::U32 => &self.integers[1],
        };
        let (operands, code) = match integer {
            OnIntegers::Undefined => return None,
            OnIntegers::InReal if dtype.is_floating_point() => (dtype, Some(&self.real)),
            OnIntegers::InReal => (DType::F32, Some(&self.real)),
            OnIntegers::Identity => (dtype, None),
            OnIntegers::Computed(code) => (dtype, Some(code)),
        };
        let result = if self.is_comparison { Value::Truth } else { Value::Number(operands) };
        Some(Typed { operands, code, result })
    }

    /// The operation on operands of a dtype. `name` is that of the method, for errors.
    ///
    /// # Errors
    /// [`TensorError::NotDefined`].
    pub(in crate::ops) fn defined_on(
        &'static self,
        name: &'static str,
        argument: impl Into<Argument>,
        dtype: DType,
    ) -> Result<Typed, TensorError> {
        self.on(dtype).ok_or_else(|| TensorError::not_defined(name, argument, dtype.name()))
    }
}
