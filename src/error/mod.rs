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
#[cfg(feature = "tensor")]
mod kernel;
mod open;
mod options;
mod out_of_memory;
#[cfg(feature = "serde")]
mod snapshot_file;
#[cfg(feature = "tensor")]
mod tensor;
mod umbrella;

pub use advice::Advice;
pub use allocate::AllocateError;
pub use bytes::Bytes;
pub use device::DeviceError;
pub use growth::GrowthError;
pub use heap::*;
pub use holder::Holder;
#[cfg(feature = "tensor")]
pub use kernel::KernelError;
pub use open::OpenError;
pub use options::OptionsError;
pub use out_of_memory::{Gains, OutOfMemory};
#[cfg(feature = "serde")]
pub use snapshot_file::SnapshotFileError;
#[cfg(feature = "tensor")]
pub use tensor::TensorError;
pub use umbrella::{Error, Result};
