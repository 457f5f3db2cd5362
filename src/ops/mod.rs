//! Kernels: what is computed on tensors.
//!
//! Every operation records its dispatches and returns at once; the device runs them in program order. Names, argument order and
//! meaning are those of the PyTorch operation that each doc names. Results are new tensors, except of the operations
//! whose name ends in `_`, which write into the tensor they are called on.
//!
//! Elementwise kernels are written by one engine (`elementwise`), for single operations, which are rows of tables, and for fused
//! expressions. The WGSL of all others is in `shaders/`, one kernel a file; `shader` lists it and what is put into it.

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
mod fuse;
mod image;
mod indexed;
mod kernel;
mod launch;
mod loss;
mod matmul;
mod operators;
mod optimize;
mod parts;
pub mod philox;
mod placed;
mod random;
mod read;
mod reduce;
mod reflect;
mod rows;
mod shader;
mod transposing_copy;
mod unary;
mod variance;

pub use activation::Activation;
pub use cross_entropy::CrossEntropy;
pub use elementwise::MOST_INPUTS;
pub use fuse::{Expression, Fused, Operand, fuse};
pub use image::{AvgPool2d, Conv2d, Corners, MaxPool2d, Padding, Unfold};
pub use kernel::{Kernel, Scalar};
pub use loss::Reduction;
pub use optimize::{AdamW, AdamWParameter, Sgd, SgdParameter};
