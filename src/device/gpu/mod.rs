//! The memory on a GPU: segments are wgpu buffers.
//!
//! # Locks
//! Every lock of the crate, outermost first. A thread that holds one takes only those below it:
//! 1. the pool's growth lock (`pool/ladder.rs`): one thread at a time makes segments;
//! 2. the recorder (here): the open encoder and its caches. Held while blocks are resolved and commands recorded;
//! 3. the heap (`pool/mod.rs`): plain arithmetic, no call into wgpu;
//! 4. leaves, whose holders take no other lock: the state of the submission queue, the staging buffers that came back, the bind-group
//!    layouts, the latched fault, destroyed segments, the wakers of reads, the poller's state, the list of threads, the cache of
//!    programs.
//!
//! wgpu runs callbacks of the application inside `Queue::submit` and `Device::poll`, on the thread that calls them, and a callback may
//! drop a tensor, read or record. So no lock is held across either call: a batch is appended to the [submission] queue under the
//! recorder's lock, and handed over without it.

pub(crate) mod adapter;
mod bind_groups;
mod cache;
mod checked;
mod driver;
mod open;
mod parameters;
#[cfg(not(target_arch = "wasm32"))]
mod profile;
mod program;
mod readback;
mod recorder;
mod staging;
mod submission;
mod timing;
mod unbind;
mod unit;

pub use adapter::GpuOptions;
pub use readback::GpuReadback;
pub use recorder::GpuCommands;
pub use submission::Fault;

pub(crate) use parameters::SLOT_BYTES;
pub(crate) use program::{ExpressionKey, Program, ProgramDescriptor, ProgramKey, Structure};

use super::{CacheUse, DriverHoldings, Memory, MemoryLimits, Reclaimed};
use crate::error::DeviceError;
use bind_groups::Layouts;
use program::Programs;
#[cfg(not(target_arch = "wasm32"))]
use std::sync::TryLockError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use submission::{Newest, Submission};

/// A segment on the GPU: a wgpu buffer, and the last batch of commands that names it.
#[derive(Clone, Debug)]
pub struct GpuSegment(Arc<SegmentInner>);

#[derive(Debug)]
struct SegmentInner {
    buffer: wgpu::Buffer,
    last_batch: AtomicU64,
    /// Whether the application has seen the buffer.
    is_exposed: AtomicBool,
}

impl GpuSegment {
    /// The segment's buffer. From now on the segment is destroyed by [`wgpu::Buffer::destroy`], so that its memory goes back to the
    /// driver even if the application keeps bind groups on the buffer.
    #[must_use]
    pub fn buffer(&self) -> &wgpu::Buffer {
        self.0.is_exposed.store(true, Ordering::Relaxed);
        &self.0.buffer
    }

    /// The buffer, for the crate's own commands.
    fn own_buffer(&self) -> &wgpu::Buffer {
        &self.0.buffer
    }

    /// The buffer's length in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.buffer.size()
    }

    fn is_exposed(&self) -> bool {
        self.0.is_exposed.load(Ordering::Relaxed)
    }

    /// Notes that a batch names the segment. Says whether it is the first time and the application has seen the buffer.
    fn used_in(&self, batch: u64) -> bool {
        let last = &self.0.last_batch;
        if self.is_exposed() {
            return last.swap(batch, Ordering::Relaxed) != batch;
        }
        last.store(batch, Ordering::Relaxed);
        false
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
    submission: Arc<Submission>,
    layouts: Layouts,
    programs: Programs,
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
        let info = device.adapter_info();
        adapter::keep_driver_loaded(&info);
        let is_gl = info.backend == wgpu::Backend::Gl;
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
            is_software: adapter::is_software(&info),
            moves_pairs: adapter::moves_pairs(&device),
            is_gl,
            submission: Arc::new(Submission::new(device.clone(), queue.clone(), is_gl)),
            layouts: Layouts::default(),
            programs: Programs::default(),
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
        self.submission.health().lose(|| reason.into());
    }

    /// Tells how much memory the device has, in bytes, which wgpu can't: a program may know it from
    /// `VkPhysicalDeviceMemoryProperties`, `IDXGIAdapter3::QueryVideoMemoryInfo`, `recommendedMaxWorkingSetSize` or
    /// `navigator.deviceMemory`. Only the first call counts.
    pub fn set_total_bytes(&self, bytes: u64) {
        self.total_bytes.get_or_init(|| bytes);
    }

    /// Checks that the device is not known to be lost, and that no batch of commands has failed since the last fault was cleared. Costs
    /// about a nanosecond; asks the device nothing.
    ///
    /// # Errors
    /// [`DeviceError::Lost`], or the error of [`Gpu::fault`].
    pub fn check(&self) -> Result<(), DeviceError> {
        self.submission.health().check()
    }

    /// Returns the first fault since the last was cleared, if there was one.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.submission.health().fault()
    }

    /// Clears the fault and returns it, so that the device can be used again. The contents of tensors that commands since then should
    /// have written are undefined. The loss of a device cannot be cleared.
    pub fn clear_fault(&self) -> Option<Fault> {
        self.submission.health().clear_fault()
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

    /// Hands everything recorded to wgpu's queue. Waits as [`Submission::flush`] does.
    fn flush(&self) -> Result<Newest, DeviceError> {
        self.check()?;
        let newest = self.submission.flush();
        self.check()?;
        Ok(newest)
    }

    /// Waits while the device is too many batches behind, then checks. In a browser nothing can wait.
    fn throttle(&self, newest: Newest) -> Result<(), DeviceError> {
        #[cfg(not(target_arch = "wasm32"))]
        self.submission.throttle(newest);
        #[cfg(target_arch = "wasm32")]
        let _ = newest;
        self.check()
    }

    /// The loss of the device in place of an error that it may have caused. Runs no callbacks, so that locks may be held.
    fn loss_or(&self, error: DeviceError) -> DeviceError {
        self.submission.notice_loss();
        self.submission.health().loss_or(error)
    }

    fn segment(&self, bytes: u64) -> Result<wgpu::Buffer, DeviceError> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let buffer = self.buffer(driver::SEGMENT, bytes, usage, false)?;
        // wgpu says nothing when the device is lost: the buffer is then an invalid handle.
        self.submission.notice_loss();
        self.check()?;
        Ok(buffer)
    }

    /// Makes a buffer within error scopes, limits first.
    fn buffer(
        &self,
        label: &'static str,
        bytes: u64,
        usage: wgpu::BufferUsages,
        mapped: bool,
    ) -> Result<wgpu::Buffer, DeviceError> {
        self.check()?;
        let limit = self.limits.largest_segment;
        if bytes > limit {
            return Err(DeviceError::TooLarge { bytes, limit });
        }
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size: bytes, usage, mapped_at_creation: mapped };
        let buffer = checked::buffer(&self.device, &descriptor).map_err(|error| self.loss_or(error))?;
        self.check()?;
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
        let (last_batch, is_exposed) = (AtomicU64::new(0), AtomicBool::new(false));
        Ok(GpuSegment(Arc::new(SegmentInner { buffer, last_batch, is_exposed })))
    }

    fn commands(&self) -> GpuCommands<'_> {
        GpuCommands::new(self)
    }

    fn check(&self) -> Result<(), DeviceError> {
        Self::check(self)
    }

    fn submit(&self) -> Result<(), DeviceError> {
        let newest = self.flush()?;
        self.throttle(newest)
    }

    fn try_submit(&self) -> Result<(), DeviceError> {
        // A destruction needs no working device.
        self.submission.request_without_waiting();
        self.check()
    }

    fn submit_soon(&self) -> Result<(), DeviceError> {
        self.check()?;
        let newest = self.submission.request();
        self.throttle(newest)
    }

    fn explain(&self, error: DeviceError) -> DeviceError {
        self.poll();
        self.loss_or(error)
    }

    fn wait(&self) -> Result<(), DeviceError> {
        let newest = self.flush()?;
        #[cfg(not(target_arch = "wasm32"))]
        self.submission.wait_for(newest);
        #[cfg(target_arch = "wasm32")]
        let _ = newest;
        self.check()
    }

    fn reclaim(&self) -> Reclaimed {
        if self.submission.fence().has_destroyed() {
            self.poll();
        }
        self.submission.reclaim()
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
        self.submission.recorder().drop_caches();
    }

    fn drop_all_caches(&self) {
        let mut recorder = self.submission.recorder();
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
        caches.extend(self.submission.recorder().caches());
        caches.push(self.layouts.usage());
        caches
    }

    fn total_bytes(&self) -> Option<u64> {
        self.total_bytes.get().copied()
    }

    fn poll(&self) {
        if !self.submission.health().is_lost() {
            checked::poll(&self.device);
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Drop for Gpu {
    fn drop(&mut self) {
        self.submission.close();
    }
}

/// As [`lock`], unless another thread has the lock.
#[cfg(not(target_arch = "wasm32"))]
fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Locks, whether or not a thread panicked with it: every critical section of the crate leaves its data whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
