//! The memory on a GPU: segments are wgpu buffers.
//!
//! # Locks
//! Every lock of the crate, outermost first; whoever holds one takes only those below it:
//! 1. the pool's growth lock (`pool/ladder.rs`): one thread at a time makes segments;
//! 2. the recorder (here): the open encoder and its caches. Held while blocks are resolved and commands recorded;
//! 3. the heap (`pool/mod.rs`): plain arithmetic, no call into wgpu;
//! 4. leaves, which take no other lock: the outbox's contents, the staging buffers that came back, the bind-group layouts, the
//!    fault latch, the wakers of readbacks, who waits for the poller, the list of helping threads, the cache of programs.
//!
//! wgpu runs map callbacks inside `submit` and `poll`, on whatever thread calls them, and a callback may drop a tensor, read
//! or record. So no lock is held across either call: the recorder is closed under its lock into the [`outbox`], and the
//! outbox is emptied without one.
//!
//! # Threads
//! Two of the crate's own, each from when it is first needed: one polls the device while somebody awaits a readback, one takes
//! batches to the queue that are long enough and that nobody waits for. Both are gone when the memory is.

pub(crate) mod adapter;
mod bind_groups;
mod cache;
mod driver;
#[cfg(not(target_arch = "wasm32"))]
mod helpers;
mod open;
mod outbox;
mod parameters;
#[cfg(not(target_arch = "wasm32"))]
mod poller;
#[cfg(not(target_arch = "wasm32"))]
mod profile;
mod program;
mod progress;
mod readback;
mod recorder;
mod scope;
mod staging;
mod timing;
mod unbind;
mod unit;
#[cfg(not(target_arch = "wasm32"))]
mod wait;

pub use adapter::GpuOptions;
pub use readback::GpuReadback;
pub use recorder::GpuCommands;

pub(crate) use parameters::SLOT_BYTES;
pub(crate) use program::{ExpressionKey, Program, ProgramDescriptor, ProgramKey, Structure};

use super::{CacheUse, DriverHoldings, Memory, MemoryLimits, Reclaimed};
use crate::error::DeviceError;
use bind_groups::Layouts;
use outbox::Outbox;
#[cfg(not(target_arch = "wasm32"))]
use poller::Poller;
use program::Programs;
use progress::Progress;
use recorder::Recorder;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A segment on the GPU: a wgpu buffer, and the last batch of commands that names it.
#[derive(Clone, Debug)]
pub struct GpuSegment(Arc<SegmentInner>);

#[derive(Debug)]
struct SegmentInner {
    buffer: wgpu::Buffer,
    last_batch: AtomicU64,
}

impl GpuSegment {
    /// The segment's buffer.
    #[must_use]
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.0.buffer
    }

    fn used_in(&self, batch: u64) {
        self.0.last_batch.store(batch, Ordering::Relaxed);
    }
}

/// A memory in wgpu buffers, with the recorder through which all commands on it go.
#[derive(Debug)]
pub struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    limits: MemoryLimits,
    /// Bytes of immediates that a shader may have; 0 where the device has none.
    immediate_bytes: u32,
    /// Whether shaders may have f16.
    has_f16: bool,
    /// Whether products of f16 use cooperative matrices.
    has_cooperative_matrices: AtomicBool,
    /// Whether the adapter computes on the processor.
    is_software: bool,
    /// Whether two numbers of 64 bits are moved faster than four of 32, in shaders that may have them.
    moves_pairs: bool,
    /// Whether a destroyed buffer's memory waits for its slots to be bound anew.
    is_gl: bool,
    recorder: Mutex<Recorder>,
    outbox: Arc<Outbox>,
    layouts: Layouts,
    programs: Programs,
    #[cfg(not(target_arch = "wasm32"))]
    poller: Poller,
    progress: Arc<Progress>,
    /// All memory of the device, if the program said so.
    total_bytes: OnceLock<u64>,
}

impl Gpu {
    /// A memory on a device that the program already has. No handler is installed on it: call [`Gpu::notify_lost`] from
    /// the program's own device-lost callback.
    ///
    /// With wgpu's default memory hints the driver's blocks are 128 to 256 MiB and segments below that share them, so
    /// trimming may give nothing back: ask for `MemoryHints::Manual` with 4 MiB when you make the device, or choose large
    /// segments.
    #[must_use]
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        let limits = device.limits();
        let immediates = device.features().contains(wgpu::Features::IMMEDIATES);
        let progress = Arc::new(Progress::default());
        Self {
            limits: MemoryLimits {
                alignment: u64::from(limits.min_storage_buffer_offset_alignment).max(16),
                largest_segment: limits.max_buffer_size & !255,
                largest_binding: limits.max_storage_buffer_binding_size & !3,
                shared_below: adapter::DRIVER_BLOCK,
            },
            immediate_bytes: if immediates { limits.max_immediate_size } else { 0 },
            has_f16: device.features().contains(wgpu::Features::SHADER_F16),
            has_cooperative_matrices: AtomicBool::new(false),
            is_software: adapter::is_software(&device.adapter_info()),
            moves_pairs: adapter::moves_pairs(&device),
            is_gl: device.adapter_info().backend == wgpu::Backend::Gl,
            recorder: Mutex::new(Recorder::new()),
            outbox: Arc::new(Outbox::new(device.clone(), queue.clone(), Arc::clone(&progress))),
            layouts: Layouts::default(),
            programs: Programs::default(),
            #[cfg(not(target_arch = "wasm32"))]
            poller: Poller::new(device.clone(), Arc::clone(&progress)),
            progress,
            total_bytes: OnceLock::new(),
            device,
            queue,
        }
    }

    /// The wgpu device.
    #[must_use]
    pub fn device(&self) -> &wgpu::Device {
        &self.device
    }

    /// The wgpu queue. Commands submitted on it directly come after those that [`Pool::submit`](crate::Pool::submit) or a guard
    /// ([`Storage::pin`](crate::Storage::pin)) has handed over; the pool's other batches are submitted by a thread of its own.
    #[must_use]
    pub fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// Tells the memory that its device is lost: from now on every call returns [`DeviceError::Lost`]. Only the first
    /// reason is kept.
    pub fn notify_lost(&self, reason: impl Into<String>) {
        self.progress.lose(|| reason.into());
    }

    /// Tells how much memory the device has, in bytes, which wgpu can't: a program may know it from
    /// `VkPhysicalDeviceMemoryProperties`, `IDXGIAdapter3::QueryVideoMemoryInfo`, `recommendedMaxWorkingSetSize` or
    /// `navigator.deviceMemory`. Only the first call counts.
    pub fn set_total_bytes(&self, bytes: u64) {
        self.total_bytes.get_or_init(|| bytes);
    }

    /// Whether the device is known to work.
    ///
    /// # Errors
    /// [`DeviceError::Lost`], or the first error in an earlier batch of commands.
    pub fn check(&self) -> Result<(), DeviceError> {
        self.progress.check()
    }

    /// Whether the adapter computes on the processor: there large kernels take long to compile and gain nothing.
    pub(crate) fn is_software(&self) -> bool {
        self.is_software
    }

    /// Whether two numbers of 64 bits are moved faster than four of 32, in shaders that may have them.
    pub(crate) fn moves_pairs(&self) -> bool {
        self.moves_pairs
    }

    /// Whether shaders may have f16, in storage and in arithmetic.
    pub(crate) fn has_f16(&self) -> bool {
        self.has_f16
    }

    /// Whether shaders may multiply cooperative matrices of 16 by 16, of f16 with sums of f32, in subgroups of 32.
    pub(crate) fn has_cooperative_matrices(&self) -> bool {
        self.has_cooperative_matrices.load(Ordering::Relaxed)
    }

    /// Lets products of f16 use cooperative matrices, if the device was made with
    /// [`wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX`] and this adapter, its own, has those that the kernels are written for:
    /// 16 by 16, of f16 with sums of f32, in subgroups of 32. Whether it does.
    ///
    /// Needed for a device that the program made; [`Gpu::open`] does it where [`GpuOptions::experimental`] allows it.
    pub fn use_cooperative_matrices(&self, adapter: &wgpu::Adapter) -> bool {
        let needed =
            wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX | wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP;
        let has = self.device.features().contains(needed) && adapter::has_cooperative_matrices(adapter);
        self.has_cooperative_matrices.store(has, Ordering::Relaxed);
        has
    }

    /// Hands all that was recorded to the queue, and names the newest batch. Should another thread be submitting some of it, waits for
    /// that; not for the device.
    fn hand_over(&self) -> Result<u64, DeviceError> {
        self.lock_recorder().close(&self.outbox);
        let newest = self.outbox.newest();
        self.outbox.settle(newest).map_err(|error| self.explain(error))?;
        self.progress.check()?;
        Ok(newest)
    }

    fn lock_recorder(&self) -> MutexGuard<'_, Recorder> {
        lock(&self.recorder)
    }

    fn segment(&self, bytes: u64) -> Result<wgpu::Buffer, DeviceError> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        self.buffer(driver::SEGMENT, bytes, usage, false)
    }

    /// Makes a buffer within error scopes, limits first.
    fn buffer(
        &self,
        label: &'static str,
        bytes: u64,
        usage: wgpu::BufferUsages,
        mapped: bool,
    ) -> Result<wgpu::Buffer, DeviceError> {
        self.progress.check()?;
        let limit = self.limits.largest_segment;
        if bytes > limit {
            return Err(DeviceError::TooLarge { bytes, limit });
        }
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size: bytes, usage, mapped_at_creation: mapped };
        let (buffer, verdict) = scope::guarded(&self.device, || self.device.create_buffer(&descriptor));
        verdict.map_err(|error| scope::device_error(error, bytes))?;
        // wgpu says nothing when the device was lost meanwhile: the buffer is then an invalid handle.
        self.progress.check()?;
        Ok(buffer)
    }
}

impl Memory for Gpu {
    type Segment = GpuSegment;
    type Commands<'a> = GpuCommands<'a>;
    type Readback = GpuReadback;

    fn limits(&self) -> MemoryLimits {
        self.limits
    }

    fn create_segment(&self, bytes: u64) -> Result<GpuSegment, DeviceError> {
        let buffer = self.segment(bytes)?;
        Ok(GpuSegment(Arc::new(SegmentInner { buffer, last_batch: AtomicU64::new(0) })))
    }

    fn commands(&self) -> GpuCommands<'_> {
        GpuCommands::new(self)
    }

    fn submit(&self) -> Result<(), DeviceError> {
        self.hand_over().map(drop)
    }

    fn try_submit(&self) -> Result<(), DeviceError> {
        self.lock_recorder().close(&self.outbox);
        self.outbox.empty().map_err(|error| self.explain(error))?;
        self.progress.check()
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn submit_soon(&self) -> Result<(), DeviceError> {
        // On GL whoever makes a buffer waits for whoever submits, and wgpu panics if that takes seconds.
        if self.is_gl {
            return self.submit();
        }
        self.lock_recorder().close(&self.outbox);
        self.outbox.deliver().map_err(|error| self.explain(error))?;
        self.hold_back()?;
        self.progress.check()
    }

    fn explain(&self, error: DeviceError) -> DeviceError {
        self.poll();
        self.progress.loss().err().unwrap_or(error)
    }

    fn wait(&self) -> Result<(), DeviceError> {
        let newest = self.hand_over()?;
        #[cfg(not(target_arch = "wasm32"))]
        self.poll_until_finished(newest);
        #[cfg(target_arch = "wasm32")]
        let _ = newest;
        self.progress.check()
    }

    fn reclaim(&self) -> Reclaimed {
        if self.outbox.owes_segments() {
            self.poll();
        }
        self.outbox.reclaim(self.progress.completed.load(Ordering::Acquire))
    }

    fn readback(&self, bytes: u64) -> Result<GpuReadback, DeviceError> {
        GpuReadback::new(self, bytes).map_err(|error| self.explain(error))
    }

    async fn collect(&self, readback: GpuReadback) -> Result<Vec<u8>, DeviceError> {
        readback.collect(self).await.map_err(|error| self.explain(error))
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn collect_blocking(&self, readback: GpuReadback) -> Result<Vec<u8>, DeviceError> {
        readback.collect_blocking(self).map_err(|error| self.explain(error))
    }

    fn driver_bytes(&self) -> Option<u64> {
        self.device.generate_allocator_report().map(|report| report.total_reserved_bytes)
    }

    fn driver_holdings(&self) -> Option<DriverHoldings> {
        driver::holdings(&self.device)
    }

    fn name(&self) -> String {
        let info = self.device.adapter_info();
        format!("{} ({:?})", info.name, info.backend)
    }

    fn drop_caches(&self) {
        self.lock_recorder().drop_caches();
    }

    fn drop_all_caches(&self) {
        let mut recorder = self.lock_recorder();
        recorder.drop_caches();
        recorder.drop_groups();
    }

    fn clear_caches(&self) {
        self.drop_all_caches();
        self.programs.clear();
        self.layouts.clear();
    }

    fn caches(&self) -> Vec<CacheUse> {
        let mut caches = self.programs.usage();
        caches.extend(self.lock_recorder().caches());
        caches.push(self.layouts.usage());
        caches
    }

    fn total_bytes(&self) -> Option<u64> {
        self.total_bytes.get().copied()
    }

    fn poll(&self) {
        if self.progress.lost.get().is_none() {
            // An error here is a timeout, which a poll that doesn't wait can't meet.
            let _ = self.device.poll(wgpu::PollType::Poll);
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Drop for Gpu {
    fn drop(&mut self) {
        self.outbox.close();
    }
}

/// Locks, whether or not a thread panicked with it: every critical section of the crate leaves its data whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
