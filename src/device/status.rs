//! Whether a device works, and when it answers.

use super::Memory;
use crate::error::DeviceError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use wgpu::WasmNotSendSync;

/// The bytes of destroyed segments since the last call of [`DeviceStatus::reclaim`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Bytes that the driver has freed.
    pub freed: u64,
    /// Bytes that are still in use by unfinished commands.
    pub pending: u64,
}

/// Whether the device has accepted a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// The device has not answered yet. Only in browsers.
    Pending,
    /// The segment can be used.
    Accepted,
    /// The segment does not exist: commands on it fail with this error.
    Refused(DeviceError),
}

/// The errors of objects that a section of a program created, in a browser, where they arrive later. Ready when the
/// device has answered for each object. Created by [`DeviceStatus::defer_refusals`].
pub struct Deferred(Option<Pin<Box<dyn Outcome>>>);

/// A future that is `Send` where wgpu's types are, as is the future that awaits it. In a browser that depends on wgpu's feature
/// `fragile-send-sync-non-atomic-wasm`.
trait Outcome: Future<Output = Result<(), DeviceError>> + wgpu::WasmNotSend {}

impl<F: Future<Output = Result<(), DeviceError>> + wgpu::WasmNotSend> Outcome for F {}

impl Deferred {
    /// For a memory that returns errors at once.
    pub(crate) const NONE: Self = Self(None);

    pub(crate) fn new(outcome: impl Future<Output = Result<(), DeviceError>> + wgpu::WasmNotSend + 'static) -> Self {
        Self(Some(Box::pin(outcome)))
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").finish_non_exhaustive()
    }
}

impl Future for Deferred {
    type Output = Result<(), DeviceError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().map_or(Poll::Ready(Ok(())), |outcome| outcome.as_mut().poll(context))
    }
}

/// Whether the device of a memory works, and when it answers.
///
/// Each method has a default, which is right for a memory that cannot fail and answers at once. A GPU can be lost
/// ([`DeviceStatus::check`], [`DeviceStatus::explain`]), frees destroyed segments later ([`DeviceStatus::reclaim`]), and in
/// a browser answers only after the program has returned to the event loop ([`DeviceStatus::can_block`] and the methods
/// below it).
pub trait DeviceStatus: WasmNotSendSync + fmt::Debug + 'static {
    /// Checks that the memory is not known to have failed. Must be cheap, because every allocation calls this.
    ///
    /// # Errors
    /// [`DeviceError::Lost`], or the error of a failed batch of commands.
    fn check(&self) -> Result<(), DeviceError> {
        Ok(())
    }

    /// Returns the cause of a failure, after querying the device. A lost device can fail in many ways and reports its
    /// loss only when queried. Application callbacks may run inside, so the caller must hold no lock.
    fn explain(&self, error: DeviceError) -> DeviceError {
        error
    }

    /// Runs the callbacks of finished work. Does not wait.
    fn poll(&self) {}

    /// Returns whether the calling thread can wait for the device. False in browsers, where the device's answers arrive
    /// after the program has returned to the event loop.
    fn can_block(&self) -> bool {
        true
    }

    /// Returns whether the device has accepted a segment of [`Memory::create_segment`].
    fn acceptance(&self, segment: &Self::Segment) -> Acceptance
    where
        Self: Memory,
    {
        let _ = segment;
        Acceptance::Accepted
    }

    /// Calls `act`. Where errors arrive later, the future returns the first error of the objects that `act` created,
    /// which is then not a fault.
    fn defer_refusals<R>(&self, act: impl FnOnce() -> R) -> (R, Deferred) {
        (act(), Deferred::NONE)
    }

    /// Returns the bytes of destroyed segments that the driver has freed since the last call, and those still in use.
    /// Cheap if no destruction is pending. By default no bytes are counted, and [`Trimmed`](crate::Trimmed) reports none.
    fn reclaim(&self) -> Reclaimed {
        Reclaimed::default()
    }
}
