//! Buffers that the crate creates.

use super::super::context::InContext;
use super::verdict::Verdict;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The total size of the buffers of one purpose that exist. wgpu's allocator report has the same sum only on some backends,
/// and not in browsers.
#[derive(Clone, Debug, Default)]
pub(super) struct TotalBytes(Arc<AtomicU64>);

impl TotalBytes {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: u64) -> Counted {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Counted { total: self.clone(), bytes }
    }
}

/// The part of a buffer in a total, until the buffer is dropped.
#[derive(Debug)]
struct Counted {
    total: TotalBytes,
    bytes: u64,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.total.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A buffer that the crate has created, with the device's verdict on it.
///
/// In a browser the buffer is destroyed when this is dropped, because a dropped buffer stays allocated until the garbage
/// collector runs. A batch that uses the buffer must therefore keep it until the batch is submitted. On native backends
/// dropping suffices, and destroying would wait for other threads inside `Device::poll`.
#[derive(Debug)]
pub(super) struct OwnBuffer {
    buffer: InContext<wgpu::Buffer>,
    verdict: Verdict,
    _counted: Option<Counted>,
}

impl OwnBuffer {
    pub(super) fn new(buffer: InContext<wgpu::Buffer>, verdict: Verdict) -> Self {
        Self { buffer, verdict, _counted: None }
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

    /// Counts the buffer in a total until it is dropped.
    pub(super) fn counted(mut self, total: &TotalBytes) -> Self {
        self._counted = Some(total.add(self.buffer.size()));
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
