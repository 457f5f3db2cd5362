//! Transfers from the device to the host.

use super::super::{COPY_UNIT, check_range, received};
use super::Gpu;
use super::own::OwnBuffer;
use super::submission::Health;
#[cfg(not(target_arch = "wasm32"))]
use super::submission::Polled;
use super::verdict::Verdict;
use crate::device::lock::{Lock, wake_unlocked};
use crate::error::DeviceError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A mappable buffer that commands copy into, created by [`Memory::readback`](super::super::Memory::readback).
#[derive(Debug)]
pub struct GpuReadback {
    /// The caller of the read returns a refusal of the buffer.
    buffer: Arc<OwnBuffer>,
    capacity: u64,
    used: u64,
    health: Arc<Health>,
    mapping: Arc<Lock<Mapping>>,
}

/// The state shared by the map callback and the future of the read.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    outcome: Option<Outcome>,
    waker: Option<Waker>,
    /// Until there is an outcome or the future is dropped.
    #[cfg(not(target_arch = "wasm32"))]
    polled: Option<Polled>,
}

/// The result of mapping the buffer.
#[derive(Clone, Debug)]
enum Outcome {
    Mapped,
    Failed(wgpu::BufferAsyncError),
    /// wgpu dropped the callback without calling it, because an earlier callback panicked. The buffer may be mapped.
    NotCalled,
}

/// Stores the outcome when dropped, whether or not wgpu called the callback.
struct OutcomeGuard {
    mapping: Arc<Lock<Mapping>>,
    outcome: Outcome,
}

impl Drop for OutcomeGuard {
    fn drop(&mut self) {
        self.mapping.lock().outcome = Some(self.outcome.clone());
        Mapping::end_polling(&self.mapping);
        Mapping::wake(&self.mapping);
    }
}

impl Mapping {
    /// Makes the poller thread poll the device until there is an outcome.
    fn begin_polling(mapping: &Lock<Self>, gpu: &Gpu) {
        #[cfg(not(target_arch = "wasm32"))]
        {
            // Another thread may have recorded the copy.
            gpu.submission.note_thread();
            let polled = gpu.submission.polled(|| mapping.lock().outcome.is_some());
            let mut mapping = mapping.lock();
            if mapping.outcome.is_none() {
                mapping.polled = Some(polled);
            } else {
                drop(mapping);
                drop(polled);
            }
        }
        #[cfg(target_arch = "wasm32")]
        let _ = (mapping, gpu);
    }

    /// The caller must hold no lock.
    fn end_polling(mapping: &Lock<Self>) {
        #[cfg(not(target_arch = "wasm32"))]
        {
            let polled = mapping.lock().polled.take();
            drop(polled);
        }
        #[cfg(target_arch = "wasm32")]
        let _ = mapping;
    }

    /// Wakes the future, which then checks the outcome again. The caller must hold no lock.
    pub(super) fn wake(mapping: &Lock<Self>) {
        let waker = mapping.lock().waker.take();
        wake_unlocked(waker);
    }
}

impl GpuReadback {
    pub(super) fn new(gpu: &Gpu, bytes: u64) -> Result<Self, DeviceError> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        // At least one copy unit, so that an empty read needs no special case.
        let capacity = bytes.max(COPY_UNIT);
        let create = || gpu.buffer("wgpu-pool readback", capacity, usage, false);
        let buffer = gpu.submission.health().verdicts().defer(create).0?;
        let buffer = Arc::new(buffer.counted(&gpu.readbacks));
        Ok(Self { buffer, capacity, used: 0, health: Arc::clone(gpu.submission.health()), mapping: Arc::default() })
    }

    /// Whether the device has accepted the buffer.
    pub(super) fn verdict(&self) -> &Verdict {
        self.buffer.verdict()
    }

    /// Reserves the next `bytes` bytes of the buffer for a copy.
    pub(super) fn take(&mut self, bytes: u64) -> Result<(Arc<OwnBuffer>, u64), DeviceError> {
        check_range(self.used, bytes, self.capacity)?;
        let offset = self.used;
        self.used += bytes;
        Ok((Arc::clone(&self.buffer), offset))
    }

    /// Starts mapping the buffer. The batch that copies into the buffer must have been submitted, because a batch that
    /// uses a mapped buffer cannot be submitted.
    fn map(&self, gpu: &Gpu) -> Result<(), DeviceError> {
        // No future is polled yet, so storing a failure immediately wakes no task.
        let mut note = OutcomeGuard { mapping: Arc::clone(&self.mapping), outcome: Outcome::NotCalled };
        let note = move |outcome: Result<(), wgpu::BufferAsyncError>| {
            note.outcome = outcome.map_or_else(Outcome::Failed, |()| Outcome::Mapped);
            drop(note);
        };
        // On a device whose loss was not reported, the buffer is invalid.
        gpu.checked.map(&self.buffer, wgpu::MapMode::Read, note)
    }

    fn bytes(&self) -> Result<Vec<u8>, DeviceError> {
        let outcome = self.mapping.lock().outcome.clone();
        self.health.check()?;
        if let Some(refusal) = self.verdict().refusal() {
            return Err(refusal.clone());
        }
        let refused = |message: String| DeviceError::Validation { message };
        match outcome {
            Some(Outcome::Mapped | Outcome::NotCalled) => {}
            Some(Outcome::Failed(error)) => return Err(refused(error.to_string())),
            None => return Err(refused("the device is idle and did not map a readback".into())),
        }
        if self.used == 0 {
            return Ok(Vec::new());
        }
        let view = self.buffer.get_mapped_range(..self.used).map_err(|error| refused(error.to_string()))?;
        let mut bytes = Vec::new();
        received::append(&view, &mut bytes)?;
        Ok(bytes)
    }

    /// Submits the recorded commands and starts mapping. Waits as
    /// [`Submission::flush`](super::submission::Submission::flush) does.
    fn begin(&self, gpu: &Gpu) -> Result<(), DeviceError> {
        gpu.flush()?;
        self.map(gpu)?;
        run_callbacks(gpu);
        Ok(())
    }

    /// Returns the bytes when the device has written them. The poller thread polls the device while the future is
    /// pending.
    pub(super) async fn collect(self, gpu: &Gpu) -> Result<Vec<u8>, DeviceError> {
        self.begin(gpu)?;
        Mapping::begin_polling(&self.mapping, gpu);
        self.health.await_read(&self.mapping);
        Mapped { mapping: Arc::clone(&self.mapping), health: Arc::clone(&self.health) }.await;
        // A fault in an earlier batch makes the bytes undefined.
        self.health.verdicts().given().await;
        self.bytes()
    }

    /// Returns the bytes of all reads. Blocks the calling thread, which polls the device itself, so that no thread has to be
    /// woken.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn collect_blocking(self, gpu: &Gpu) -> Result<Vec<u8>, DeviceError> {
        self.begin(gpu)?;
        gpu.submission.poll_until(|| self.mapping.lock().outcome.is_some());
        self.bytes()
    }
}

/// Ready when the device has finished everything that was submitted, and has answered for every object, or when it is
/// lost. The poller thread polls the device while the future is pending.
pub(super) async fn finished(gpu: &Gpu) {
    let health = Arc::clone(gpu.submission.health());
    let mapping: Arc<Lock<Mapping>> = Arc::default();
    let note = OutcomeGuard { mapping: Arc::clone(&mapping), outcome: Outcome::Mapped };
    gpu.queue.on_submitted_work_done(move || drop(note));
    run_callbacks(gpu);
    Mapping::begin_polling(&mapping, gpu);
    health.await_read(&mapping);
    Mapped { mapping, health: Arc::clone(&health) }.await;
    health.verdicts().given().await;
}

/// Runs the callbacks of a device without a driver in a browser, where there is no poller thread: such a device has finished
/// everything. Does nothing on other devices.
fn run_callbacks(gpu: &Gpu) {
    if cfg!(target_arch = "wasm32") {
        gpu.checked.poll();
    }
}

/// Ready when the buffer is mapped, or when mapping has failed.
struct Mapped {
    mapping: Arc<Lock<Mapping>>,
    health: Arc<Health>,
}

impl Drop for Mapped {
    fn drop(&mut self) {
        Mapping::end_polling(&self.mapping);
    }
}

impl Future for Mapped {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // Cloned and dropped without the lock: a waker may own tensors.
        let waker = context.waker().clone();
        let mut mapping = self.mapping.lock();
        if mapping.outcome.is_some() || self.health.is_lost() {
            return Poll::Ready(());
        }
        let previous = mapping.waker.replace(waker);
        drop(mapping);
        drop(previous);
        Poll::Pending
    }
}
