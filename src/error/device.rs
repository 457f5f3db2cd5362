//! The errors of the device layer: segments, commands, transfers.

use super::{Bytes, Count, WorkingSet};
use thiserror::Error;

/// The reason why a device or a memory refused a call.
///
/// Cause and remedy of each variant: [`guide::errors::device`](crate::guide::errors::device).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The memory has no room for a buffer of this size. The device stays usable.
    #[error("the device refused {}: free memory, or transfer in smaller pieces", Bytes(*bytes))]
    Refused {
        /// The requested bytes.
        bytes: u64,
    },
    /// The size is above the device's largest buffer, independent of the free memory.
    #[error("{} is above the device's largest buffer, {}: divide the data", Bytes(*bytes), Bytes(*limit))]
    TooLarge {
        /// The requested bytes.
        bytes: u64,
        /// The device's largest buffer, in bytes.
        limit: u64,
    },
    /// The tensor is above the largest binding of the device.
    #[error("{} is above the device's largest binding, {}: divide the data", Bytes(*bytes), Bytes(*limit))]
    BindingTooLarge {
        /// Bytes to bind.
        bytes: u64,
        /// The device's largest storage binding, in bytes.
        limit: u64,
    },
    /// A kernel has more tensors than the device can bind to one shader.
    #[error("a kernel over {} is above the {} that the device binds to a shader", Count(*tensors, "tensor"), Count(*limit, "storage buffer"))]
    TooManyBindings {
        /// Tensors of the kernel.
        tensors: usize,
        /// The device's `max_storage_buffers_per_shader_stage`.
        limit: u32,
    },
    /// An operation on tensors of these sizes needs more workgroups than the device runs in one dimension of a dispatch: its limit is below
    /// WebGPU's minimum of 65,535. No command was recorded.
    #[error(
        "{workgroups:?} workgroups are above the {limit} that the device runs in one dimension: request the device with 65535"
    )]
    TooManyWorkgroups {
        /// The workgroups in each dimension.
        workgroups: [u32; 3],
        /// The device's `max_compute_workgroups_per_dimension`.
        limit: u32,
    },
    /// The offset or the length of a transfer is not a multiple of the unit of copies.
    #[error("offset {offset} and length {length} are not both multiples of {unit} B")]
    Misaligned {
        /// Offset of the transfer, in bytes.
        offset: u64,
        /// Length of the transfer, in bytes.
        length: u64,
        /// The unit, in bytes.
        unit: u64,
    },
    /// A transfer exceeds the range of its block.
    #[error("bytes {offset}..{} are outside of the {size} B of the storage", offset.saturating_add(*length))]
    OutOfRange {
        /// Offset of the transfer, in bytes.
        offset: u64,
        /// Length of the transfer, in bytes.
        length: u64,
        /// The size of the range in bytes.
        size: u64,
    },
    /// The tensors of a command do not fit on the device together, after all other blocks that may move have moved to host
    /// memory. Nothing was recorded, and the bytes stay where they are.
    #[error(transparent)]
    WorkingSet(Box<WorkingSet>),
    /// The limit on host bytes has no room for a block.
    #[error(
        "{} in host memory, {} held there, limit {}: raise `PoolOptions::spill`, or free tensors",
        Bytes(*bytes),
        Bytes(*held),
        Bytes(*limit)
    )]
    HostLimit {
        /// The size of the block in bytes.
        bytes: u64,
        /// Bytes in host memory.
        held: u64,
        /// The limit on them.
        limit: u64,
    },
    /// The host has no memory for a block, or for the bytes of a read.
    #[error("the host has no memory for {}", Bytes(*bytes))]
    HostRefused {
        /// The size of the block or of the read in bytes.
        bytes: u64,
    },
    /// A pinned storage cannot leave the device.
    #[error("{} are pinned by {} and cannot leave the device: drop the guards first", Bytes(*bytes), Count(*pins, "guard"))]
    Pinned {
        /// The bytes of the storage.
        bytes: u64,
        /// The number of pins.
        pins: u32,
    },
    /// Other threads kept using a storage while its bytes were read back.
    #[error("{} are in use by other threads and stay on the device: try again later", Bytes(*bytes))]
    InUse {
        /// The bytes of the storage.
        bytes: u64,
    },
    /// The pool was created without spilling.
    #[error("spilling is off: set `PoolOptions::spill` to a limit on host bytes")]
    SpillingOff,
    /// A storage of zero bytes has no buffer range that could be pinned or bound.
    #[error("a storage of zero bytes has no buffer range; skip the command")]
    ZeroBytes,
    /// The memory stores no bytes: it is the accounting memory.
    #[error("the accounting memory stores no contents: use `HostMemory` or a GPU")]
    NoBytes,
    /// The call needs the bytes of a tensor, and this thread is in a [dry run](crate::Pool::dry_run), which executes nothing.
    #[error("a dry run executes nothing, so there is nothing to read or to pin in {}: leave the call out of it", Bytes(*bytes))]
    DryRun {
        /// The bytes to read or to pin.
        bytes: u64,
    },
    /// The storage was allocated in a [dry run](crate::Pool::dry_run) that has ended, or that is on another thread. It has no memory.
    #[error("a storage of {} was allocated in a dry run and has no memory outside of it: allocate it again", Bytes(*bytes))]
    DryStorage {
        /// The bytes of the storage.
        bytes: u64,
    },
    /// The storages belong to different pools, whose commands have no common order. Read from one and write to the other.
    #[error("the storages belong to different pools: read from one and write to the other")]
    Pools,
    /// The adapter lacks a required feature.
    #[error("{feature} is not available: the adapter lacks it, or the device was created without it")]
    Unsupported {
        /// The feature, by wgpu's name.
        feature: &'static str,
    },
    /// In a browser: too many batches of commands wait for the device, and nothing can wait for them here. A write above 64 KiB
    /// counts as a batch. The command was not recorded. Await [`Pool::synchronize`](crate::Pool::synchronize) and try again.
    #[error("commands wait for the device in {}, and the limit is {limit}: await `synchronize` first", Count(*batches, "batch"))]
    Backlog {
        /// Submitted batches that the device has not finished.
        batches: u64,
        /// The largest number of such batches.
        limit: u64,
    },
    /// The device is lost: nothing on it can be used again; dropping handles stays safe.
    #[error("the device is lost: {reason}")]
    Lost {
        /// The driver's message.
        reason: String,
    },
    /// wgpu refused a command that the pool considered valid.
    #[error("wgpu refused a command: {message}")]
    Validation {
        /// wgpu's message.
        message: String,
    },
}
