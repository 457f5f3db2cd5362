//! Bytes on their way from the device to the host.

use super::super::{COPY_UNIT, Memory, check_range};
use super::{Gpu, Progress, lock, scope};
use crate::error::DeviceError;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// A mappable buffer that commands copy into. Made by [`Memory::readback`](super::super::Memory::readback).
#[derive(Debug)]
pub struct GpuReadback {
    buffer: wgpu::Buffer,
    capacity: u64,
    used: u64,
    progress: Arc<Progress>,
    mapping: Arc<Mutex<Mapping>>,
}

/// What the map callback and the future that awaits it share.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    outcome: Option<Result<(), wgpu::BufferAsyncError>>,
    waker: Option<Waker>,
}

impl Mapping {
    /// Has the future look again.
    pub(super) fn wake(mapping: &Mutex<Self>) {
        let waker = lock(mapping).waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl GpuReadback {
    pub(super) fn new(gpu: &Gpu, bytes: u64) -> Result<Self, DeviceError> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        // A buffer has at least one copy unit, so that reading nothing needs no case of its own.
        let capacity = bytes.max(COPY_UNIT);
        Ok(Self {
            buffer: gpu.buffer("wgpu-pool readback", capacity, usage, false)?,
            capacity,
            used: 0,
            progress: Arc::clone(&gpu.progress),
            mapping: Arc::default(),
        })
    }

    /// Takes the next `bytes` bytes of the buffer, for a copy.
    pub(super) fn take(&mut self, bytes: u64) -> Result<(&wgpu::Buffer, u64), DeviceError> {
        check_range(self.used, bytes, self.capacity)?;
        let offset = self.used;
        self.used += bytes;
        Ok((&self.buffer, offset))
    }

    /// Asks for the bytes. The batch that copies them must be with the queue: a buffer that is being mapped can't be
    /// submitted.
    fn map(&self, gpu: &Gpu) -> Result<(), DeviceError> {
        let mapping = Arc::clone(&self.mapping);
        let note = move |outcome| {
            lock(&mapping).outcome = Some(outcome);
            Mapping::wake(&mapping);
        };
        // On a lost device that nobody told of, the buffer is invalid.
        let map = || self.buffer.map_async(wgpu::MapMode::Read, .., note);
        let ((), verdict) = scope::guarded(&gpu.device, map);
        verdict.map_err(|error| scope::device_error(error, 0))
    }

    fn bytes(&self) -> Result<Vec<u8>, DeviceError> {
        let outcome = lock(&self.mapping).outcome.clone();
        self.progress.check()?;
        let refused = |message: String| DeviceError::Validation { message };
        match outcome {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(refused(error.to_string())),
            None => return Err(refused("the device is idle and did not map a readback".into())),
        }
        if self.used == 0 {
            return Ok(Vec::new());
        }
        let view = self.buffer.get_mapped_range(..self.used).map_err(|error| refused(error.to_string()))?;
        Ok(view.to_vec())
    }

    /// Submits what was recorded, and asks for the bytes.
    fn begin(&self, gpu: &Gpu) -> Result<(), DeviceError> {
        gpu.submit()?;
        self.map(gpu)
    }

    /// The bytes, once the device has written them; the poller's thread sees to that.
    pub(super) async fn collect(self, gpu: &Gpu) -> Result<Vec<u8>, DeviceError> {
        self.begin(gpu)?;
        #[cfg(not(target_arch = "wasm32"))]
        let _waiting = gpu.poller.watch();
        self.progress.await_readback(&self.mapping);
        Mapped { mapping: Arc::clone(&self.mapping), progress: Arc::clone(&self.progress) }.await;
        self.bytes()
    }

    /// The same, waiting on this thread, which polls by itself: one hop less.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn collect_blocking(self, gpu: &Gpu) -> Result<Vec<u8>, DeviceError> {
        self.begin(gpu)?;
        gpu.poll_until(|| lock(&self.mapping).outcome.is_some());
        self.bytes()
    }
}

/// Dropping the buffer does on native backends, where destroying would wait for whoever polls the device; in a browser the
/// memory would wait for the garbage collector.
#[cfg(target_arch = "wasm32")]
impl Drop for GpuReadback {
    fn drop(&mut self) {
        self.buffer.destroy();
    }
}

/// Ready once the buffer is mapped, or never will be.
struct Mapped {
    mapping: Arc<Mutex<Mapping>>,
    progress: Arc<Progress>,
}

impl Future for Mapped {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut mapping = lock(&self.mapping);
        if mapping.outcome.is_some() || self.progress.lost.get().is_some() {
            return Poll::Ready(());
        }
        mapping.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
