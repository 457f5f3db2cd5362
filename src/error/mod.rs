//! All errors of the crate, as plain data.
//!
//! Each family of operations has an enum, whose variants contain the numbers that explain the failure. This is the
//! lowest layer: it uses no other module of the crate, so every other layer can return these errors.
//!
//! [`guide::errors`](crate::guide::errors) has a page for each error type: the message, the cause and the remedy of each variant.

mod advice;
mod allocate;
mod budget;
mod bytes;
mod count;
mod device;
mod dry_run;
mod growth;
mod heap;
mod holder;
#[cfg(feature = "tensor")]
mod kernel;
mod number;
mod open;
mod options;
mod out_of_memory;
#[cfg(test)]
mod page_tests;
mod plan;
mod repeat;
#[cfg(feature = "tensor")]
mod shape;
#[cfg(feature = "serde")]
mod snapshot_file;
#[cfg(feature = "tensor")]
mod tensor;
mod umbrella;
#[cfg(feature = "tensor")]
mod window;
mod working_set;

pub use advice::Advice;
pub use allocate::AllocateError;
pub use budget::BudgetError;
pub use bytes::Bytes;
pub(crate) use count::Count;
pub use device::DeviceError;
#[cfg(feature = "tensor")]
pub use dry_run::WarmUpError;
pub use dry_run::{DryRunError, MaxBatchError};
pub use growth::GrowthError;
pub use heap::*;
pub use holder::{Holder, HolderGrowth, Site};
#[cfg(feature = "tensor")]
pub use kernel::KernelError;
pub use number::Number;
pub use open::OpenError;
pub use options::OptionsError;
pub use out_of_memory::{Gains, OutOfMemory};
pub use plan::{BufferFault, EventFault, LineFault, PlanError};
pub use repeat::RepeatError;
#[cfg(feature = "tensor")]
pub use shape::{Argument, ShapeRequirement};
#[cfg(feature = "serde")]
pub use snapshot_file::SnapshotFileError;
#[cfg(feature = "tensor")]
pub use tensor::TensorError;
pub use umbrella::{Error, Result};
#[cfg(feature = "tensor")]
pub use window::WindowFault;
pub use working_set::WorkingSet;
