//! Layers with hand-written gradients, shared by `unet`, `transformer` and `web`. They show how to build on the crate and are
//! not part of it.
//!
//! A layer's `forward` returns its output and stores nothing; the caller keeps handles to the tensors that `backward`
//! needs, and so controls their lifetime. `backward` takes the input of `forward` and the gradient of its output, adds
//! to the gradients of the layer's parameters, and returns the gradient of its input.

#![allow(dead_code, reason = "each program uses some of the layers")]

mod activation;
pub(crate) mod attention;
pub(crate) mod convolution;
pub(crate) mod embedding;
pub(crate) mod layer_norm;
pub(crate) mod linear;
mod parameter;
// Terminals and files.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod plot;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod training;

pub(crate) use activation::Activation;
pub(crate) use parameter::{Parameter, Seeds, Trainer};

/// An error that ends a training program: of the pool, of a file, or of a plot.
pub(crate) type Failure = Box<dyn std::error::Error>;

#[cfg(test)]
pub(crate) mod differences;
#[cfg(test)]
pub(crate) mod dry_runs;
