//! Layers with gradients by hand, shared by `unet` and `transformer`: an example of building on the crate, not a framework in it.
//!
//! A layer's `forward` returns its output and keeps nothing: what it needs again is a handle that the caller holds, so that the
//! program decides how long memory lives. `backward` takes what `forward` took and the gradient by what it returned, adds to
//! the gradients of the layer's parameters, and returns the gradient by its input.

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

#[cfg(test)]
pub(crate) mod differences;
