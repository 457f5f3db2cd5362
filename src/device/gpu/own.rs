//! Buffers that the crate creates.

use super::super::context::InContext;
use super::verdict::Verdict;
use std::ops::Deref;

/// A buffer that the crate has created, with the device's verdict on it.
///
/// In a browser the buffer is destroyed when this is dropped, because a dropped buffer stays allocated until the garbage
/// collector runs. A batch that uses the buffer must therefore keep it until the batch is submitted. On native backends
/// dropping suffices, and destroying would wait for other threads inside `Device::poll`.
#[derive(Debug)]
pub(super) struct OwnBuffer {
    buffer: InContext<wgpu::Buffer>,
    verdict: Verdict,
}

impl OwnBuffer {
    pub(super) fn new(buffer: InContext<wgpu::Buffer>, verdict: Verdict) -> Self {
        Self { buffer, verdict }
    }

    /// Whether the device has accepted the buffer.
    pub(super) fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    #[cfg(test)]
    pub(super) fn with_verdict(mut self, verdict: Verdict) -> Self {
        self.verdict = verdict;
        self
    }

    /// Treats the buffer as accepted: for a buffer so small that commands need not be separated because of it, and that no later
    /// batch uses if it was refused. Its refusal is still latched.
    pub(super) fn trusted(mut self) -> Self {
        self.verdict = Verdict::ACCEPTED;
        self
    }
}

impl Deref for OwnBuffer {
    type Target = wgpu::Buffer;

    fn deref(&self) -> &wgpu::Buffer {
        &self.buffer
    }
}

#[cfg(target_arch = "wasm32")]
impl Drop for OwnBuffer {
    fn drop(&mut self) {
        self.buffer.destroy();
    }
}
