//! The memory on a GPU: each segment is one wgpu buffer.
//!
//! # Locks
//! [`lock`](super::lock) has the order.
//!
//! wgpu runs the application's callbacks inside `Queue::submit` and `Device::poll`, on the calling thread. A callback
//! may drop a tensor, read, or record. Therefore no lock but the first is held across either call: a batch is appended to the
//! [submission] queue under the recorder's lock, and submitted without that lock.

pub(crate) mod adapter;
mod checked;
mod copier;
mod driver;
mod grid;
#[cfg(feature = "tensor")]
mod kernels;
mod missing;
mod open;
mod own;
mod readback;
mod recorder;
mod staging;
mod startup;
mod submission;
mod unit;
mod verdict;

pub use adapter::GpuOptions;
pub use readback::GpuReadback;
pub use recorder::GpuCommands;
pub use startup::Startup;
pub use submission::Fault;

#[cfg(feature = "tensor")]
pub(crate) use grid::{MOST_WORKGROUPS, grid};
#[cfg(feature = "tensor")]
pub(crate) use kernels::{
    ExpressionKey, LARGEST_WORKGROUP, Program, ProgramDescriptor, ProgramKey, SLOT_BYTES, Structure,
};

use super::context::ContextGuard;
use super::lock::check_callbacks_may_run;
#[cfg(not(target_arch = "wasm32"))]
use super::teardown;
use super::teardown::KeptDevice;
use super::{
    Acceptance, CacheLevel, CacheUse, Deferred, DeviceResources, DeviceStatus, DriverHoldings, Memory, MemoryLimits,
    Reclaimed, Submit,
};
use crate::error::DeviceError;
use checked::CheckedDevice;
use copier::KernelCopies;
#[cfg(feature = "tensor")]
use kernels::Kernels;
use own::{OwnBuffer, TotalBytes};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
#[cfg(not(target_arch = "wasm32"))]
use std::time::Duration;
use submission::{Newest, Submission};
use verdict::Verdict;

/// A segment on a GPU: a wgpu buffer and the number of the last batch that uses the buffer.
#[derive(Clone, Debug)]
pub struct GpuSegment(Arc<SegmentInner>);

#[derive(Debug)]
struct SegmentInner {
    buffer: OwnBuffer,
    last_batch: AtomicU64,
    /// Whether the buffer was returned to the application.
    is_exposed: AtomicBool,
}

impl GpuSegment {
    /// Returns the segment's wgpu buffer. After this call the segment is destroyed with [`wgpu::Buffer::destroy`], so
    /// that the driver frees the memory even if the application keeps bind groups on the buffer.
    #[must_use]
    pub fn buffer(&self) -> &wgpu::Buffer {
        self.0.is_exposed.store(true, Ordering::Relaxed);
        &self.0.buffer
    }

    #[cfg(test)]
    fn with_verdict(self, verdict: Verdict) -> Self {
        let SegmentInner { buffer, last_batch, is_exposed } =
            Arc::into_inner(self.0).expect("a new segment has one handle");
        Self(Arc::new(SegmentInner { buffer: buffer.with_verdict(verdict), last_batch, is_exposed }))
    }

    /// Whether the device has accepted the buffer.
    fn verdict(&self) -> &Verdict {
        self.0.buffer.verdict()
    }

    /// The buffer, for the crate's own commands. Does not mark the buffer as exposed.
    fn own_buffer(&self) -> &wgpu::Buffer {
        &self.0.buffer
    }

    /// The buffer's length in bytes.
    #[cfg(feature = "tensor")]
    pub(crate) fn bytes(&self) -> u64 {
        self.0.buffer.size()
    }

    fn is_exposed(&self) -> bool {
        self.0.is_exposed.load(Ordering::Relaxed)
    }

    /// Notes that a batch uses the segment. Returns whether the buffer is exposed to the application and this is the
    /// batch's first use.
    fn used_in(&self, batch: u64) -> bool {
        let last = &self.0.last_batch;
        if self.is_exposed() {
            return last.swap(batch, Ordering::Relaxed) != batch;
        }
        last.store(batch, Ordering::Relaxed);
        false
    }
}

/// A memory whose segments are wgpu buffers, with the recorder for all commands on them.
#[derive(Debug)]
pub struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    checked: CheckedDevice,
    limits: MemoryLimits,
    /// Whether the backend is GL, where the memory of a destroyed buffer stays allocated until other buffers are bound
    /// to its binding slots.
    #[cfg(feature = "tensor")]
    is_gl: bool,
    submission: Arc<Submission>,
    kernel_copies: KernelCopies,
    #[cfg(feature = "tensor")]
    kernels: Kernels,
    /// The bytes of the buffers of reads that have not ended.
    readbacks: TotalBytes,
    /// The device's total memory in bytes, if the application has set it.
    total_bytes: OnceLock<u64>,
    /// Dropped after every other object of the device.
    _kept: KeptDevice,
    /// The last field, so that the drop ends with the device.
    #[cfg(not(target_arch = "wasm32"))]
    dropping: Option<teardown::Dropping<'static>>,
}

impl Gpu {
    /// Creates a memory on an existing device. Installs no handlers: call [`Gpu::notify_lost`] from the application's
    /// own device-lost callback.
    ///
    /// With wgpu's default memory hints the driver allocates blocks of 128 to 256 MiB and places smaller segments
    /// inside them, so trimming may return nothing to the driver. Create the device with `MemoryHints::Manual` and
    /// blocks of 4 MiB, or choose large segments.
    ///
    /// The first call for a device of Vulkan on Unix creates a Vulkan instance, which keeps the driver's libraries loaded until the
    /// process ends (see the guide's page on threads): some 10 ms.
    #[must_use]
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        let limits = device.limits();
        let info = device.adapter_info();
        #[cfg(not(target_arch = "wasm32"))]
        {
            adapter::keep_driver_of_application_loaded(&info);
            teardown::note_thread();
        }
        let submission = Arc::new(Submission::new(device.clone(), queue.clone(), &info));
        let checked = submission.checked().clone();
        #[cfg(target_arch = "wasm32")]
        checked.note_loss();
        Self {
            limits: MemoryLimits {
                alignment: u64::from(limits.min_storage_buffer_offset_alignment).max(16),
                largest_segment: limits.max_buffer_size & !255,
                largest_binding: adapter::largest_binding(&limits),
                shared_below: adapter::DRIVER_BLOCK,
            },
            #[cfg(feature = "tensor")]
            is_gl: info.backend == wgpu::Backend::Gl,
            submission,
            kernel_copies: KernelCopies::new(adapter::kernel_copies(&info).filter(|_| copier::suits(&limits))),
            #[cfg(feature = "tensor")]
            kernels: Kernels::new(&device, &info),
            readbacks: TotalBytes::default(),
            total_bytes: OnceLock::new(),
            _kept: checked.kept().clone(),
            #[cfg(not(target_arch = "wasm32"))]
            dropping: None,
            checked,
            device,
            queue,
        }
    }

    /// Returns the wgpu device.
    #[must_use]
    pub fn device(&self) -> &wgpu::Device {
        &self.device
    }

    /// Returns the wgpu queue. Commands that the application submits to this queue execute after the commands that
    /// [`Pool::submit`](crate::Pool::submit) or a guard ([`Storage::pin`](crate::Storage::pin)) has submitted. The
    /// pool's submission thread submits all other batches.
    #[must_use]
    pub fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// Marks the device as lost: from now on every call returns [`DeviceError::Lost`]. Only the first reason is kept. Takes no lock and,
    /// except in a browser, calls no waker, so that a device-lost callback may call it, wherever wgpu runs that callback.
    pub fn notify_lost(&self, reason: impl Into<String>) {
        self.submission.health().mark_lost(|| reason.into());
    }

    /// Sets the device's total memory in bytes, which wgpu does not report. Sources are
    /// `VkPhysicalDeviceMemoryProperties`, `IDXGIAdapter3::QueryVideoMemoryInfo`, `recommendedMaxWorkingSetSize` and
    /// `navigator.deviceMemory`. Only the first call has an effect.
    pub fn set_total_bytes(&self, bytes: u64) {
        self.total_bytes.get_or_init(|| bytes);
    }

    /// Returns the number of bytes from which copies within the device are made by a kernel. `None` if all are made by
    /// `copy_buffer_to_buffer`, as on every adapter that is not known to copy more slowly than a kernel.
    #[must_use]
    pub fn kernel_copies(&self) -> Option<u64> {
        self.kernel_copies.smallest()
    }

    /// Sets the number of bytes from which copies within the device are made by a kernel: moves by compaction, and
    /// [`Storage::copy_to`](crate::Storage::copy_to). `None` for no copy. Has no effect on GL, on devices whose
    /// limits are below WebGPU's minimum, and on copies whose ranges the device cannot bind.
    ///
    /// On adapters where it is known to be faster, the default is a measured number. NVIDIA's Vulkan driver copies 1 GiB at a
    /// third of the rate of the kernel on an H100. `cargo bench --bench kernels -- "copy by"` shows both rates on any adapter.
    pub fn set_kernel_copies(&self, smallest: Option<u64>) {
        if self.device.adapter_info().backend != wgpu::Backend::Gl && copier::suits(&self.device.limits()) {
            self.kernel_copies.set(smallest);
        }
    }

    /// Returns the time from the opening of the device to its first result, by stage. The first read also writes it to the log
    /// as a debug message.
    #[must_use]
    pub fn startup(&self) -> Startup {
        self.checked.stages().times()
    }

    /// Checks that the device is not marked as lost and that no batch of commands has failed since the last fault was
    /// cleared. Costs about a nanosecond, because the device is not queried.
    ///
    /// # Errors
    /// [`DeviceError::Lost`], or the error of [`Gpu::fault`].
    pub fn check(&self) -> Result<(), DeviceError> {
        self.submission.health().check()
    }

    /// Returns the first fault since the last call of [`Gpu::clear_fault`], if there is one.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.submission.health().fault()
    }

    /// Clears and returns the fault, so that the device can be used again. Tensors that were written by commands since
    /// the fault have undefined contents. The loss of a device cannot be cleared.
    pub fn clear_fault(&self) -> Option<Fault> {
        self.submission.health().clear_fault()
    }

    /// Submits everything recorded. Waits as [`Submission::flush`] does.
    fn flush(&self) -> Result<Newest, DeviceError> {
        self.check()?;
        let newest = self.submission.flush();
        self.check()?;
        Ok(newest)
    }

    /// Calls `act`, which waits for another thread that uses the device.
    #[cfg(feature = "tensor")]
    pub(crate) fn wait_for_thread<R>(&self, act: impl FnOnce() -> R) -> R {
        self.submission.wait_for_thread(act)
    }

    /// Waits while the device is too many batches behind, then checks for errors. Does not wait in a browser.
    fn throttle(&self, newest: Newest) -> Result<(), DeviceError> {
        #[cfg(not(target_arch = "wasm32"))]
        self.submission.throttle(newest);
        #[cfg(target_arch = "wasm32")]
        let _ = newest;
        self.check()
    }

    /// Returns the loss of the device, if it is lost, in place of an error that the loss may have caused. Runs no
    /// callbacks and wakes no task, so the caller may hold locks.
    fn loss_or(&self, error: DeviceError) -> DeviceError {
        self.submission.check_for_loss();
        self.submission.health().loss_or(error)
    }

    /// Creates a buffer within error scopes, after checking its size against the limits.
    fn buffer(
        &self,
        label: &'static str,
        bytes: u64,
        usage: wgpu::BufferUsages,
        mapped: bool,
    ) -> Result<OwnBuffer, DeviceError> {
        self.check()?;
        let limit = self.limits.largest_segment;
        if bytes > limit {
            return Err(DeviceError::TooLarge { bytes, limit });
        }
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size: bytes, usage, mapped_at_creation: mapped };
        let buffer = self.checked.buffer(&descriptor).map_err(|error| self.loss_or(error))?;
        self.check()?;
        Ok(buffer)
    }

    /// Creates a segment that commands can copy from and to, with one more usage.
    fn segment(&self, label: &'static str, bytes: u64, usage: wgpu::BufferUsages) -> Result<GpuSegment, DeviceError> {
        let usage = usage | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let buffer = self.buffer(label, bytes, usage, false)?;
        // wgpu reports no error on a lost device: the buffer is then an invalid handle.
        self.submission.check_for_loss();
        self.check()?;
        let (last_batch, is_exposed) = (AtomicU64::new(0), AtomicBool::new(false));
        Ok(GpuSegment(Arc::new(SegmentInner { buffer, last_batch, is_exposed })))
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
        self.segment(driver::SEGMENT, bytes, wgpu::BufferUsages::STORAGE)
    }

    fn commands(&self) -> GpuCommands<'_> {
        GpuCommands::new(self)
    }

    fn submit(&self, when: Submit) -> Result<(), DeviceError> {
        check_callbacks_may_run("a submission");
        let newest = match when {
            Submit::Now => self.flush()?,
            Submit::Soon => {
                self.check()?;
                self.submission.request()
            }
            Submit::WithoutWaiting => {
                // A destruction does not need a working device.
                self.submission.request_without_waiting();
                return self.check();
            }
        };
        self.throttle(newest)
    }

    fn wait_blocking(&self) -> Result<(), DeviceError> {
        let newest = self.flush()?;
        #[cfg(not(target_arch = "wasm32"))]
        self.submission.wait_for(newest);
        #[cfg(target_arch = "wasm32")]
        let _ = newest;
        self.check()
    }

    async fn wait(&self) -> Result<(), DeviceError> {
        self.flush()?;
        readback::finished(self).await;
        self.check()
    }

    fn readback(&self, bytes: u64) -> Result<GpuReadback, DeviceError> {
        GpuReadback::new(self, bytes).map_err(|error| self.explain(error))
    }

    async fn collect(&self, readback: GpuReadback) -> Result<Vec<u8>, DeviceError> {
        let bytes = readback.collect(self).await.map_err(|error| self.explain(error))?;
        self.checked.stages().result();
        Ok(bytes)
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn collect_blocking(&self, readback: GpuReadback) -> Result<Vec<u8>, DeviceError> {
        let bytes = readback.collect_blocking(self).map_err(|error| self.explain(error))?;
        self.checked.stages().result();
        Ok(bytes)
    }
}

impl DeviceStatus for Gpu {
    fn acceptance(&self, segment: &GpuSegment) -> Acceptance {
        let verdict = segment.verdict();
        match (verdict.pending(), verdict.refusal()) {
            (Some(_), _) => Acceptance::Pending,
            (None, None) => Acceptance::Accepted,
            (None, Some(error)) => Acceptance::Refused(error.clone()),
        }
    }

    fn defer_refusals<R>(&self, act: impl FnOnce() -> R) -> (R, Deferred) {
        let verdicts = self.submission.health().verdicts();
        let (result, deferred) = verdicts.defer(act);
        let given = verdicts.given();
        let outcome = async move {
            given.await;
            deferred.iter().find_map(Verdict::refusal).map_or(Ok(()), |refusal| Err(refusal.clone()))
        };
        (result, Deferred::new(outcome))
    }

    fn check(&self) -> Result<(), DeviceError> {
        Self::check(self)
    }

    fn explain(&self, error: DeviceError) -> DeviceError {
        self.poll();
        self.loss_or(error)
    }

    fn can_block(&self) -> bool {
        !cfg!(target_arch = "wasm32")
    }

    fn reclaim(&self) -> Reclaimed {
        if self.submission.fence().has_destroyed() {
            self.poll();
        }
        self.submission.reclaim()
    }

    fn poll(&self) {
        check_callbacks_may_run("a poll");
        if !self.submission.health().is_lost() {
            self.checked.poll();
        }
    }
}

impl DeviceResources for Gpu {
    fn has_host_segments(&self) -> bool {
        self.device.features().contains(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS) && !cfg!(target_arch = "wasm32")
    }

    /// A buffer with these usages is in host memory, and copies to and from it run at the rate of the bus. With
    /// `MAP_WRITE` in place of `MAP_READ`, some drivers place it in device memory. Measured on an H100: 51 GB/s in each
    /// direction.
    fn create_host_segment(&self, bytes: u64) -> Result<GpuSegment, DeviceError> {
        if !self.has_host_segments() {
            return Err(DeviceError::Unsupported { feature: "MAPPABLE_PRIMARY_BUFFERS" });
        }
        self.segment("wgpu-pool host copy", bytes, wgpu::BufferUsages::MAP_READ)
    }

    fn exclude_threads(&self) -> ContextGuard<'_> {
        self.checked.context().lock()
    }

    fn driver_holdings(&self) -> Option<DriverHoldings> {
        driver::holdings(&self.device)
    }

    fn name(&self) -> String {
        let info = self.device.adapter_info();
        // A browser may hide the name.
        let name = match (info.name.as_str(), info.device_type) {
            ("", wgpu::DeviceType::Cpu) => "WebGPU adapter in software",
            ("", _) => "WebGPU adapter",
            (name, _) => name,
        };
        format!("{name} ({:?})", info.backend)
    }

    fn drop_caches(&self, level: CacheLevel) {
        let mut recorder = self.submission.recorder();
        recorder.drop_caches();
        #[cfg(feature = "tensor")]
        if level >= CacheLevel::Bindings {
            recorder.drop_groups();
        }
        if level >= CacheLevel::Kernels {
            recorder.drop_copier();
        }
        drop(recorder);
        #[cfg(feature = "tensor")]
        if level >= CacheLevel::Kernels {
            self.kernels.clear();
        }
    }

    fn caches(&self) -> Vec<CacheUse> {
        let mut caches = self.submission.recorder().caches();
        // Each read creates a buffer and drops it.
        let in_use = Some(self.readbacks.get());
        caches.push(CacheUse { most_entries: Some(0), in_use, ..CacheUse::named("readback buffers") });
        #[cfg(feature = "tensor")]
        let caches = [caches, self.kernels.usage()].concat();
        caches
    }

    fn total_bytes(&self) -> Option<u64> {
        self.total_bytes.get().copied()
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn call_after(&self, delay: Duration, act: impl FnOnce() + Send + 'static) -> bool {
        self.submission.call_after(delay, act)
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Drop for Gpu {
    fn drop(&mut self) {
        self.dropping = Some(teardown::dropping());
        self.submission.close();
    }
}

/// The kernels of this layer, with a name for each.
#[cfg(all(test, feature = "tensor"))]
pub(crate) fn kernel_texts() -> Vec<(&'static str, String)> {
    let mut texts = vec![("unit merger", unit::SOURCE.to_string()), ("copy", copier::SOURCE.to_string())];
    texts.extend(kernels::texts());
    texts
}
