//! Layers with hand-written gradients, shared by `unet` and `transformer`. They show how to build on the crate and are
//! not part of it.
//!
//! A layer's `forward` returns its output and stores nothing; the caller keeps handles to the tensors that `backward`
//! needs, and so controls their lifetime. `backward` takes the input of `forward` and the gradient of its output, adds
//! to the gradients of the layer's parameters, and returns the gradient of its input.

#![allow(dead_code, reason = "each of the two programs has layers of its own")]

mod activation;
pub(crate) mod attention;
pub(crate) mod convolution;
pub(crate) mod embedding;
pub(crate) mod layer_norm;
pub(crate) mod linear;
mod parameter;
mod plot;
mod training;

pub(crate) use activation::Activation;
pub(crate) use parameter::{Parameter, Seeds, Trainer};
pub(crate) use training::{Course, Progress};

/// An error that ends a training program: of the pool, of a file, or of a plot.
pub(crate) type Failure = Box<dyn std::error::Error>;

#[cfg(test)]
pub(crate) mod differences;
