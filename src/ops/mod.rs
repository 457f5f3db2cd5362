//! Kernels: what is computed on tensors.
//!
//! Every operation records its dispatches and returns at once; the device runs them in program order. Names, argument order and
//! meaning are those of the PyTorch operation that each doc names. Results are new tensors, except of the operations
//! whose name ends in `_`, which write into the tensor they are called on.
//!
//! The WGSL is in `shaders/`, one kernel a file; `shader.rs` lists all of it and what is put into it.

mod activation;
mod arrange;
mod binary;
mod cast;
mod clamp;
mod compare;
mod compile;
mod copy;
mod cross_entropy;
mod elementwise;
mod fill;
mod form;
mod fuse;
mod image;
mod in_place;
mod indexed;
mod kernel;
mod launch;
mod loss;
mod matmul;
mod operators;
mod optimize;
pub mod philox;
mod placed;
mod random;
mod read;
mod reduce;
mod reflect;
mod rows;
mod shader;
mod turn;
mod unary;
mod variance;

pub use activation::Activation;
pub use cross_entropy::CrossEntropy;
pub use fuse::{Expression, Fused, MOST_INPUTS, Operand, fuse};
pub use image::{AvgPool2d, Conv2d, Corners, MaxPool2d, Padding, Unfold};
pub use kernel::{Kernel, Scalar};
pub use loss::Reduction;
pub use optimize::{AdamW, AdamWParameter, Sgd, SgdParameter};
