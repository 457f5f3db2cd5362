//! What can go wrong below the pool: opening a device, segments, commands, reading back.

use super::Bytes;
use thiserror::Error;

/// Why a device or a memory did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The memory has no room for a buffer of this size. The device goes on working.
    #[error("the device refused {}", Bytes(*bytes))]
    Refused {
        /// Bytes asked of the device.
        bytes: u64,
    },
    /// The size is above what the device can hold in one buffer, whatever is free.
    #[error("{} is above the device's largest buffer, {}", Bytes(*bytes), Bytes(*limit))]
    TooLarge {
        /// Bytes asked of the device.
        bytes: u64,
        /// The device's largest buffer, in bytes.
        limit: u64,
    },
    /// The tensor is above what a shader can be bound to on this device.
    #[error("{} is above the device's largest binding, {}", Bytes(*bytes), Bytes(*limit))]
    BindingTooLarge {
        /// Bytes to bind.
        bytes: u64,
        /// The device's largest storage binding, in bytes.
        limit: u64,
    },
    /// A kernel takes more tensors than the device binds to one shader.
    #[error("a kernel over {tensors} tensors is above the {limit} storage buffers that the device binds to a shader")]
    TooManyBindings {
        /// Tensors of the kernel.
        tensors: usize,
        /// The device's `max_storage_buffers_per_shader_stage`.
        limit: u32,
    },
    /// A transfer's offset or length is not a multiple of the unit that copies need.
    #[error("offset {offset} and length {length} are not both multiples of {unit} bytes")]
    Misaligned {
        /// Offset of the transfer, in bytes.
        offset: u64,
        /// Length of the transfer, in bytes.
        length: u64,
        /// The unit, in bytes.
        unit: u64,
    },
    /// A transfer reaches outside what it is a part of.
    #[error("bytes {offset}..{} are outside of the {size} bytes that are there", offset.saturating_add(*length))]
    OutOfRange {
        /// Offset of the transfer, in bytes.
        offset: u64,
        /// Length of the transfer, in bytes.
        length: u64,
        /// Bytes that are there.
        size: u64,
    },
    /// The memory keeps no bytes to read: it only counts.
    #[error("the accounting memory holds no bytes")]
    NoBytes,
    /// The adapter lacks a feature that this needs.
    #[error("the adapter has no {feature}")]
    Unsupported {
        /// The feature, by wgpu's name.
        feature: &'static str,
    },
    /// The device is lost; nothing on it can be used again, and dropping handles stays safe.
    #[error("the device is lost: {reason}")]
    Lost {
        /// The driver's message.
        reason: String,
    },
    /// wgpu refused a command that the pool believed valid.
    #[error("wgpu refused a command: {message}")]
    Validation {
        /// wgpu's message.
        message: String,
    },
}
