//! The operators `+`, `-`, `*`, `/`, `%` and unary minus on tensors, numbers, results of tensors, and expressions.
//!
//! An operator on tensors can fail, so it returns a `Result`, and accepts a `Result` as the operand next to a tensor:
//! `(&a + &b)? * &c`, `&a * (&b + 1.0)`, `2.0 - &a`. Rust's coherence rules exclude two results, and a result with a
//! number: write `(&a + &b)? * 2.0`. A number on the left is f64 or i64, because with more types the type of a literal
//! would be ambiguous.

use crate::error::TensorError;
use crate::ops::binary::{ADD, DIV, MUL, REMAINDER, SUB};
use crate::ops::fuse::{Expression, Operand};
use crate::ops::unary::NEG;
use crate::tensor::{AsOperand as _, Tensor, TensorOrScalar};
use half::f16;
use std::ops::{Add, Div, Mul, Neg, Rem, Sub};

macro_rules! operators {
    ($($operator:ident, $function:ident, $method:ident, $operation:ident, $sign:literal;)*) => {
        $(
            operators! { own, $operator, $function, $method, $operation, $sign, Tensor }
            operators! { own, $operator, $function, $method, $operation, $sign, &Tensor }
            operators! { result, $operator, $function, $method, $operation, $sign, Tensor }
            operators! { result, $operator, $function, $method, $operation, $sign, &Tensor }
            operators! {
                number, $operator, $function, $method, $operation, $sign, f64, i64
            }
            operators! { expression, $operator, $function, $operation, f32, i32, u32, f16 }
        )*
    };
    (own, $operator:ident, $function:ident, $method:ident, $operation:ident, $sign:literal, $left:ty) => {
        #[doc = concat!("`a ", $sign, " b` for a tensor or a number b, as [`Tensor::", stringify!($method), "`].")]
        impl<T: TensorOrScalar> $operator<T> for $left {
            type Output = Result<Tensor, TensorError>;

            #[track_caller]
            fn $function(self, other: T) -> Self::Output {
                self.binary(&$operation, other.operand())
            }
        }

        #[doc = concat!("`a ", $sign, " b` for the result b of another operator, whose error it passes on.")]
        impl $operator<Result<Tensor, TensorError>> for $left {
            type Output = Result<Tensor, TensorError>;

            #[track_caller]
            fn $function(self, other: Result<Tensor, TensorError>) -> Self::Output {
                self.binary(&$operation, other?.operand())
            }
        }
    };
    (result, $operator:ident, $function:ident, $method:ident, $operation:ident, $sign:literal, $right:ty) => {
        #[doc = concat!("`a ", $sign, " b` for the result a of another operator, whose error it passes on.")]
        impl $operator<$right> for Result<Tensor, TensorError> {
            type Output = Self;

            #[track_caller]
            fn $function(self, other: $right) -> Self {
                self?.binary(&$operation, other.operand())
            }
        }
    };
    (number, $operator:ident, $function:ident, $method:ident, $operation:ident, $sign:literal, $($number:ty),*) => {
        $(
            operators! { one_number, $operator, $function, $method, $operation, $sign, $number, Tensor }
            operators! { one_number, $operator, $function, $method, $operation, $sign, $number, &Tensor }
        )*
    };
    (expression, $operator:ident, $function:ident, $operation:ident, $($number:ty),*) => {
        impl<'a, T: Operand<'a>> $operator<T> for Expression<'a> {
            type Output = Self;

            fn $function(self, other: T) -> Self {
                self.apply_to(&$operation, other)
            }
        }

        $(
            impl<'a> $operator<Expression<'a>> for $number {
                type Output = Expression<'a>;

                fn $function(self, other: Expression<'a>) -> Expression<'a> {
                    other.apply_reversed(&$operation, self)
                }
            }
        )*
    };
    (one_number, $operator:ident, $function:ident, $method:ident, $operation:ident, $sign:literal, $number:ty, $tensor:ty) => {
        #[doc = concat!("`a ", $sign, " b` for a number a, as [`Tensor::", stringify!($method), "`] with the operands exchanged.")]
        impl $operator<$tensor> for $number {
            type Output = Result<Tensor, TensorError>;

            #[track_caller]
            fn $function(self, other: $tensor) -> Self::Output {
                other.binary_reversed(&$operation, self.operand())
            }
        }
    };
}

operators! {
    Add, add, add, ADD, "+";
    Sub, sub, sub, SUB, "-";
    Mul, mul, mul, MUL, "*";
    Div, div, div, DIV, "/";
    Rem, rem, remainder, REMAINDER, "%";
}

/// `-a`, as [`Tensor::neg`].
impl Neg for Tensor {
    type Output = Result<Self, TensorError>;

    #[track_caller]
    fn neg(self) -> Self::Output {
        Self::neg(&self)
    }
}

/// `-a`, as [`Tensor::neg`].
impl Neg for &Tensor {
    type Output = Result<Tensor, TensorError>;

    #[track_caller]
    fn neg(self) -> Self::Output {
        Tensor::neg(self)
    }
}

impl Neg for Expression<'_> {
    type Output = Self;

    fn neg(self) -> Self {
        self.apply(&NEG)
    }
}
