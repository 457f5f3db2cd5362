//! Every error of the crate, as plain data.
//!
//! One enum per family of operations, each with the numbers that explain it. The bottom floor of the house: nothing
//! here names another part of the crate, so every floor above can return these.

mod allocate;
mod bytes;
mod device;
mod heap;
mod kernel;
mod tensor;

pub use allocate::{AllocateError, OptionsError, OutOfMemory};
pub use bytes::Bytes;
pub use device::DeviceError;
pub use heap::*;
pub use kernel::KernelError;
pub use tensor::TensorError;
