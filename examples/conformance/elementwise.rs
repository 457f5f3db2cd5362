//! Operations that work element by element, each in its three ways: as a method, in place, and as a fused expression.
//!
//! Each table writes the function that runs its operations and the list of their names, so that [`ways`] cannot leave out a way.

use crate::operands::{R, e, real};
use serde_json::Value;
use wgpu_pool::{DType, Tensor, TensorError, fuse};

/// A way in which an operation is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Method,
    InPlace,
    Fused,
}

/// The ways that an operation has. One that promotes has no result in the dtype of its first operand,
/// and the fused way takes a number in the dtype of the tensor.
pub(crate) fn ways(op: &str, promotes: bool) -> &'static [Way] {
    let is_in = |tables: &[&[&str]]| tables.iter().any(|names| names.contains(&op));
    if promotes {
        &[Way::Method]
    } else if is_in(&[UNARY, BINARY, WITH_NUMBER]) {
        &[Way::Method, Way::InPlace, Way::Fused]
    } else if is_in(&[&["clamp", "clamp_scalar"]]) {
        &[Way::Method, Way::InPlace]
    } else if is_in(&[COMPARED, COMPARED_WITH_NUMBER, &["where"]]) {
        &[Way::Method, Way::Fused]
    } else {
        &[Way::Method]
    }
}

/// Runs an operation of the tables on its inputs, and on a number if it takes one. `None` if no table has it.
pub(crate) fn run(op: &str, way: Way, inputs: &[Tensor], number: &Value) -> Option<R<Tensor>> {
    match inputs {
        [x] if number.is_null() => unary(op, way, x),
        [x] => with_number(op, way, x, number).or_else(|| compared_with_number(op, way, x, number)),
        [x, y] => binary(op, way, x, y).or_else(|| compared(op, way, x, y)),
        _ => None,
    }
}

/// Calls with the number in the tensor's dtype, for functions that do not promote; for f16 that is f32.
macro_rules! with_scalar {
    ($t:expr, $v:expr, |$s:ident| $body:expr) => {{
        let number = $crate::operands::real($v);
        match $t.dtype() {
            DType::F32 | DType::F16 => {
                let $s = number as f32;
                $body
            }
            DType::I32 => {
                let $s = number as i64 as i32;
                $body
            }
            DType::U32 => {
                let $s = number as i64 as u32;
                $body
            }
            other => panic!("no numbers for {other:?}"),
        }
    }};
}
pub(crate) use with_scalar;

/// Calls with the number as the case has it: an i64, or an f64 if it has a fraction or an exponent.
macro_rules! as_given {
    ($v:expr, |$s:ident| $body:expr) => {{
        if let Some($s) = $v.as_i64() {
            $body
        } else {
            let $s = $crate::operands::real($v);
            $body
        }
    }};
}
pub(crate) use as_given;

/// The result of an operation in place on a copy.
fn on_copy(x: &Tensor, operation: impl FnOnce(&Tensor) -> Result<(), TensorError>) -> R<Tensor> {
    let copy = e(x.copied())?;
    e(operation(&copy))?;
    Ok(copy)
}

macro_rules! unary {
    ($($name:ident $in_place:ident;)*) => {
        const UNARY: &[&str] = &[$(stringify!($name)),*];

        fn unary(op: &str, way: Way, x: &Tensor) -> Option<R<Tensor>> {
            Some(match (op, way) {
                $(
                    (stringify!($name), Way::Method) => e(x.$name()),
                    (stringify!($name), Way::InPlace) => on_copy(x, |copy| copy.$in_place()),
                    (stringify!($name), Way::Fused) => e(fuse(|[x]| x.$name()).run([x])),
                )*
                _ => return None,
            })
        }
    };
}
unary! {
    neg neg_; abs abs_; exp exp_; log log_; sqrt sqrt_; rsqrt rsqrt_; reciprocal reciprocal_; square square_;
    sin sin_; cos cos_; tanh tanh_; sigmoid sigmoid_; relu relu_; silu silu_; gelu gelu_; gelu_tanh gelu_tanh_;
    floor floor_; ceil ceil_; round round_;
}

macro_rules! binary {
    ($($name:ident $in_place:ident;)*) => {
        const BINARY: &[&str] = &[$(stringify!($name)),*];

        fn binary(op: &str, way: Way, x: &Tensor, y: &Tensor) -> Option<R<Tensor>> {
            Some(match (op, way) {
                $(
                    (stringify!($name), Way::Method) => e(x.$name(y)),
                    (stringify!($name), Way::InPlace) => on_copy(x, |copy| copy.$in_place(y)),
                    (stringify!($name), Way::Fused) => e(fuse(|[x, y]| x.$name(y)).run([x, y])),
                )*
                _ => return None,
            })
        }
    };
}
binary! {
    add add_; sub sub_; mul mul_; div div_; pow pow_; maximum maximum_; minimum minimum_;
    div_floor div_floor_; div_trunc div_trunc_; remainder remainder_; fmod fmod_;
}

macro_rules! compared {
    ($($name:ident $with_number:literal;)*) => {
        const COMPARED: &[&str] = &[$(stringify!($name)),*];
        const COMPARED_WITH_NUMBER: &[&str] = &[$($with_number),*];

        fn compared(op: &str, way: Way, x: &Tensor, y: &Tensor) -> Option<R<Tensor>> {
            Some(match (op, way) {
                $(
                    (stringify!($name), Way::Method) => e(x.$name(y)),
                    (stringify!($name), Way::Fused) => e(fuse(|[x, y]| x.$name(y)).run([x, y])),
                )*
                _ => return None,
            })
        }

        fn compared_with_number(op: &str, way: Way, x: &Tensor, number: &Value) -> Option<R<Tensor>> {
            Some(match (op, way) {
                $(
                    ($with_number, Way::Method) => as_given!(number, |s| e(x.$name(s))),
                    ($with_number, Way::Fused) => {
                        with_scalar!(x, number, |s| e(fuse(|[x]| x.$name(s)).run([x])))
                    }
                )*
                _ => return None,
            })
        }
    };
}
compared! { eq "eq_scalar"; ne "ne_scalar"; lt "lt_scalar"; le "le_scalar"; gt "gt_scalar"; ge "ge_scalar"; }

macro_rules! numbers {
    ($($name:literal $function:ident $in_place:ident;)*) => {
        const WITH_NUMBER: &[&str] = &[$($name),*];

        fn with_number(op: &str, way: Way, x: &Tensor, number: &Value) -> Option<R<Tensor>> {
            Some(match (op, way) {
                $(
                    ($name, Way::Method) => as_given!(number, |s| e(x.$function(s))),
                    ($name, Way::InPlace) => as_given!(number, |s| on_copy(x, |copy| copy.$in_place(s))),
                    ($name, Way::Fused) => {
                        with_scalar!(x, number, |s| e(fuse(|[x]| x.$function(s)).run([x])))
                    }
                )*
                _ => return None,
            })
        }
    };
}
numbers! {
    "add_scalar" add add_; "sub_scalar" sub sub_; "mul_scalar" mul mul_; "div_scalar" div div_; "pow_scalar" pow pow_;
    "maximum_scalar" maximum maximum_; "minimum_scalar" minimum minimum_;
    "div_floor_scalar" div_floor div_floor_; "div_trunc_scalar" div_trunc div_trunc_; "remainder_scalar" remainder remainder_;
    "fmod_scalar" fmod fmod_;
}

/// A number on the left of an operator, or for a power a tensor of the number.
pub(crate) fn number_first(op: &str, x: &Tensor, number: &Value) -> R<Tensor> {
    match op {
        "radd_scalar" => as_given!(number, |s| e(s + x)),
        "rsub_scalar" => as_given!(number, |s| e(s - x)),
        "rmul_scalar" => as_given!(number, |s| e(s * x)),
        "rdiv_scalar" => as_given!(number, |s| e(s / x)),
        "rremainder_scalar" => as_given!(number, |s| e(s % x)),
        "rpow_scalar" => {
            let base = e(Tensor::full(&x.pool(), vec![1; x.rank().min(1)], real(number) as f32))?;
            e(base.to(x.dtype()).and_then(|base| base.pow(x)))
        }
        _ => panic!("no number goes first in {op}"),
    }
}
