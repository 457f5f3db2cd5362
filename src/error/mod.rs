//! Every error of the crate, as plain data.
//!
//! One enum per family of operations, each with the numbers that explain it. The bottom floor of the house: nothing
//! here names another part of the crate, so every floor above can return these.

mod advice;
mod allocate;
mod bytes;
mod device;
mod growth;
mod heap;
mod holder;
mod kernel;
mod out_of_memory;
mod tensor;

pub use advice::Advice;
pub use allocate::{AllocateError, OptionsError};
pub use bytes::Bytes;
pub use device::DeviceError;
pub use growth::GrowthError;
pub use heap::*;
pub use holder::Holder;
pub use kernel::KernelError;
pub use out_of_memory::{Gains, OutOfMemory};
pub use tensor::TensorError;
