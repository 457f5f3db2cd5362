//! The wgpu calls that can fail. No other file makes them (tests/house checks this).
//!
//! Every call here runs inside error scopes, so that its errors are returned and never reach the application's
//! uncaptured-error handler. An error scope catches the errors of everything that its thread does. Therefore no call
//! that can run an application callback may be inside a scope: natively [`CheckedDevice::submit`] and
//! [`CheckedDevice::poll`] are outside. A browser runs callbacks between tasks, never inside a call.
//!
//! Error scopes belong to the calling thread. On native backends their result is available immediately. In a browser
//! the result arrives later, as the object's [verdict](super::verdict), and an error is latched as a fault.
//!
//! Recording into an encoder or a pass needs no scope: wgpu stores the error and reports it in
//! `CommandEncoder::finish`. Only commands on a finished encoder, or on an encoder with an open pass, are reported
//! immediately; the recorder records none of these.

use super::super::context::{ContextLock, InContext};
use super::super::teardown::{self, KeptDevice};
use super::adapter;
use super::own::OwnBuffer;
use super::startup::Stages;
use super::submission::Health;
use super::verdict::Verdict;
use crate::device::lock::check_callbacks_may_run;
use crate::error::DeviceError;
use std::sync::Arc;

/// A device whose calls are checked.
#[derive(Clone, Debug)]
pub(super) struct CheckedDevice {
    device: wgpu::Device,
    /// Held during every call.
    context: ContextLock,
    kept: KeptDevice,
    stages: Arc<Stages>,
    #[cfg_attr(not(target_arch = "wasm32"), expect(dead_code, reason = "native errors are returned at once"))]
    health: Arc<Health>,
}

/// The context of a call, for its error.
#[derive(Debug, Default)]
struct Call<'a> {
    /// The bytes that the call allocates.
    bytes: u64,
    /// The verdicts on the objects that the call uses.
    #[cfg_attr(not(target_arch = "wasm32"), expect(dead_code, reason = "native errors are returned at once"))]
    dependencies: &'a [Verdict],
}

/// Returns the future's value if it is ready without waiting.
#[cfg(not(target_arch = "wasm32"))]
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}

/// Converts a wgpu error of a call that asked for `bytes` bytes.
fn device_error(error: wgpu::Error, bytes: u64) -> DeviceError {
    match error {
        wgpu::Error::OutOfMemory { .. } => DeviceError::Refused { bytes },
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            DeviceError::Validation { message: description }
        }
    }
}

const FILTERS: [wgpu::ErrorFilter; 3] =
    [wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::OutOfMemory];

impl CheckedDevice {
    pub(super) fn new(device: wgpu::Device, health: Arc<Health>, info: &wgpu::AdapterInfo) -> Self {
        let context = ContextLock::new(info.backend == wgpu::Backend::Gl);
        let kept = KeptDevice::new(&device, adapter::is_of_nvidia_for_linux(info) || teardown::is_assumed());
        Self { device, context, kept, stages: Arc::new(Stages::new()), health }
    }

    /// A reference to the device, to be dropped after all others.
    pub(super) fn kept(&self) -> &KeptDevice {
        &self.kept
    }

    /// The times of the device's stages.
    pub(super) fn stages(&self) -> &Stages {
        &self.stages
    }

    /// Wraps an object of the device that the application created.
    #[cfg(feature = "tensor")]
    pub(super) fn in_context<T>(&self, object: T) -> InContext<T> {
        InContext::new(object, &self.context, &self.kept)
    }

    /// The lock that excludes other threads on GL.
    pub(super) fn context(&self) -> &ContextLock {
        &self.context
    }

    /// Calls `act` within error scopes. `act` must not run application callbacks.
    #[cfg(not(target_arch = "wasm32"))]
    fn scoped<T>(&self, act: impl FnOnce() -> T) -> Result<T, wgpu::Error> {
        let _context = self.context.lock();
        let scopes = FILTERS.map(|filter| self.device.push_error_scope(filter));
        let result = self.kept.call(act);
        let mut verdict = Ok(());
        for scope in scopes.into_iter().rev() {
            if let Some(error) = now(scope.pop()).flatten() {
                verdict = verdict.and(Err(error));
            }
        }
        verdict.map(|()| result)
    }

    /// Calls `act` within error scopes, and returns its result and verdict. `act` must not run application callbacks.
    #[cfg(not(target_arch = "wasm32"))]
    fn judged<T>(&self, call: &Call<'_>, act: impl FnOnce() -> T) -> Result<(T, Verdict), DeviceError> {
        let result = self.scoped(act).map_err(|error| device_error(error, call.bytes))?;
        Ok((result, Verdict::ACCEPTED))
    }

    /// Calls `act` within error scopes, and returns its result. The verdict arrives later.
    #[cfg(target_arch = "wasm32")]
    fn judged<T>(&self, call: &Call<'_>, act: impl FnOnce() -> T) -> Result<(T, Verdict), DeviceError> {
        let scopes = FILTERS.map(|filter| self.device.push_error_scope(filter));
        let result = act();
        let scopes: Vec<_> = scopes.into_iter().rev().map(wgpu::ErrorScopeGuard::pop).collect();
        let (verdict, ruling) = self.health.verdicts().open();
        let (bytes, dependencies, health) = (call.bytes, call.dependencies.to_vec(), Arc::clone(&self.health));
        wasm_bindgen_futures::spawn_local(async move {
            let mut outcome = Ok(());
            for scope in scopes {
                if let Some(error) = scope.await {
                    outcome = outcome.and(Err(device_error(error, bytes)));
                }
            }
            ruling.give(outcome, |error| {
                // The refusal of an object was reported before.
                if dependencies.iter().all(|one| one.refusal().is_none()) {
                    health.latch(error);
                }
            });
        });
        Ok((result, verdict))
    }

    /// Calls wgpu and returns the result if there was no error. For a call whose failure makes every later use of its result fail, so
    /// that no verdict is needed.
    fn checked<T>(&self, act: impl FnOnce() -> T) -> Result<T, DeviceError> {
        self.judged(&Call::default(), act).map(|(result, _)| result)
    }

    pub(super) fn buffer(&self, descriptor: &wgpu::BufferDescriptor<'_>) -> Result<OwnBuffer, DeviceError> {
        let call = Call { bytes: descriptor.size, ..Call::default() };
        let (buffer, verdict) = self.judged(&call, || self.device.create_buffer(descriptor))?;
        Ok(OwnBuffer::new(InContext::new(buffer, &self.context, &self.kept), verdict))
    }

    /// Creates a bind group of buffers with these verdicts. It needs no verdict of its own: its ranges were checked, so only a
    /// refused buffer can make it invalid.
    pub(super) fn bind_group(
        &self,
        descriptor: &wgpu::BindGroupDescriptor<'_>,
        dependencies: &[Verdict],
    ) -> Result<wgpu::BindGroup, DeviceError> {
        let call = Call { dependencies, ..Call::default() };
        self.judged(&call, || self.device.create_bind_group(descriptor)).map(|(group, _)| group)
    }

    #[cfg(feature = "tensor")]
    pub(super) fn bind_group_layout(
        &self,
        descriptor: &wgpu::BindGroupLayoutDescriptor<'_>,
    ) -> Result<wgpu::BindGroupLayout, DeviceError> {
        self.checked(|| self.device.create_bind_group_layout(descriptor))
    }

    #[cfg(feature = "tensor")]
    pub(super) fn pipeline_layout(
        &self,
        descriptor: &wgpu::PipelineLayoutDescriptor<'_>,
    ) -> Result<wgpu::PipelineLayout, DeviceError> {
        self.checked(|| self.device.create_pipeline_layout(descriptor))
    }

    pub(super) fn shader_module(
        &self,
        descriptor: wgpu::ShaderModuleDescriptor<'_>,
    ) -> Result<(wgpu::ShaderModule, Verdict), DeviceError> {
        self.stages.shader(|| self.judged(&Call::default(), || self.device.create_shader_module(descriptor)))
    }

    /// Creates a pipeline from a shader module with this verdict. Returns the verdicts on the module and the pipeline.
    pub(super) fn pipeline(
        &self,
        descriptor: &wgpu::ComputePipelineDescriptor<'_>,
        module: Verdict,
    ) -> Result<(InContext<wgpu::ComputePipeline>, [Verdict; 2]), DeviceError> {
        let call = Call { dependencies: std::slice::from_ref(&module), ..Call::default() };
        let create = || self.judged(&call, || self.device.create_compute_pipeline(descriptor));
        let (pipeline, verdict) = self.stages.pipeline(create)?;
        Ok((InContext::new(pipeline, &self.context, &self.kept), [module, verdict]))
    }

    /// Compiles a kernel of the device layer, whose layout wgpu derives from the shader. Returns the verdicts on the shader and on the
    /// pipeline.
    pub(super) fn kernel(
        &self,
        label: &'static str,
        wgsl: &str,
        entry: &str,
        cache: Option<&wgpu::PipelineCache>,
    ) -> Result<(InContext<wgpu::ComputePipeline>, [Verdict; 2]), DeviceError> {
        let label = Some(label);
        let source = wgpu::ShaderSource::Wgsl(wgsl.into());
        let (module, verdict) = self.shader_module(wgpu::ShaderModuleDescriptor { label, source })?;
        let descriptor = wgpu::ComputePipelineDescriptor {
            label,
            layout: None,
            module: &module,
            entry_point: Some(entry),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache,
        };
        self.pipeline(&descriptor, verdict)
    }

    /// Returns the layout of a pipeline's group 0, which wgpu derived from the shader.
    pub(super) fn derived_layout(
        &self,
        pipeline: &wgpu::ComputePipeline,
    ) -> Result<wgpu::BindGroupLayout, DeviceError> {
        self.checked(|| pipeline.get_bind_group_layout(0))
    }

    #[cfg(feature = "tensor")]
    pub(super) fn query_set(
        &self,
        descriptor: &wgpu::QuerySetDescriptor<'_>,
    ) -> Result<(InContext<wgpu::QuerySet>, Verdict), DeviceError> {
        self.judged(&Call::default(), || self.device.create_query_set(descriptor))
            .map(|(set, verdict)| (InContext::new(set, &self.context, &self.kept), verdict))
    }

    pub(super) fn encoder(&self) -> Result<wgpu::CommandEncoder, DeviceError> {
        let descriptor = wgpu::CommandEncoderDescriptor { label: Some("wgpu-pool") };
        self.checked(|| self.device.create_command_encoder(&descriptor))
    }

    /// Validates and encodes the commands of an encoder, which depend on these verdicts. Costs about 2 µs per command on
    /// a PC.
    pub(super) fn finish(
        &self,
        encoder: wgpu::CommandEncoder,
        dependencies: &[Verdict],
    ) -> Result<wgpu::CommandBuffer, DeviceError> {
        let call = Call { dependencies, ..Call::default() };
        self.judged(&call, || encoder.finish()).map(|(commands, _)| commands)
    }

    /// Starts mapping a buffer with this verdict. If the call fails immediately, `note` is called inside the error scopes and
    /// must not call the application.
    pub(super) fn map(
        &self,
        buffer: &OwnBuffer,
        mode: wgpu::MapMode,
        note: impl FnOnce(Result<(), wgpu::BufferAsyncError>) + wgpu::WasmNotSend + 'static,
    ) -> Result<(), DeviceError> {
        let call = Call { dependencies: std::slice::from_ref(buffer.verdict()), ..Call::default() };
        self.judged(&call, || buffer.map_async(mode, .., note)).map(|_| ())
    }

    pub(super) fn end_mapping(&self, buffer: &wgpu::Buffer) -> Result<(), DeviceError> {
        self.checked(|| buffer.unmap())
    }

    /// Returns whether the application has destroyed a buffer of the pool. A submission that uses a destroyed buffer
    /// fails. wgpu has no query for this, but the error of unmapping an unmapped buffer tells the two cases apart. Costs
    /// about 0.3 µs.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn is_destroyed(&self, buffer: &wgpu::Buffer) -> bool {
        use std::error::Error;
        use wgpu::wgc::resource::BufferAccessError;

        let Err(error) = self.scoped(|| buffer.unmap()) else { return false };
        let mut cause: Option<&dyn Error> = Some(&error);
        while let Some(error) = cause {
            if matches!(error.downcast_ref(), Some(BufferAccessError::DestroyedResource(_))) {
                return true;
            }
            cause = error.source();
        }
        false
    }

    /// In a browser the error of the submission is latched as a fault.
    #[cfg(target_arch = "wasm32")]
    pub(super) fn is_destroyed(&self, _buffer: &wgpu::Buffer) -> bool {
        false
    }

    /// Submits a command buffer. Application callbacks may run inside, so there is no error scope.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn submit(&self, queue: &wgpu::Queue, commands: wgpu::CommandBuffer, _dependencies: &[Verdict]) {
        check_callbacks_may_run("a submission");
        let _context = self.context.lock();
        self.kept.call(|| queue.submit([commands]));
    }

    /// Submits a command buffer whose commands depend on these verdicts.
    #[cfg(target_arch = "wasm32")]
    pub(super) fn submit(&self, queue: &wgpu::Queue, commands: wgpu::CommandBuffer, dependencies: &[Verdict]) {
        let call = Call { dependencies, ..Call::default() };
        // The error arrives later.
        let _ = self.judged(&call, || queue.submit([commands]));
    }

    /// Writes to a buffer after everything that was submitted. A write that runs out of memory loses the device on native
    /// backends, so it is used in browsers only.
    #[cfg(target_arch = "wasm32")]
    pub(super) fn write_buffer(
        &self,
        queue: &wgpu::Queue,
        buffer: &wgpu::Buffer,
        offset: u64,
        bytes: &[u8],
        dependencies: &[Verdict],
    ) -> Result<(), DeviceError> {
        let call = Call { bytes: bytes.len() as u64, dependencies };
        self.judged(&call, || queue.write_buffer(buffer, offset, bytes)).map(|_| ())
    }

    /// Runs the callbacks of finished work, and returns whether the device is idle. Does not wait. Application callbacks
    /// run inside, so there is no error scope and the caller must hold no lock.
    pub(super) fn poll(&self) -> bool {
        check_callbacks_may_run("a poll");
        let _context = self.context.lock();
        // The only error is a timeout, which cannot occur without waiting.
        let polled = self.kept.call(|| self.device.poll(wgpu::PollType::Poll));
        matches!(polled, Ok(wgpu::PollStatus::QueueEmpty))
    }

    /// Returns whether the device is lost. wgpu reports no error for a call on a lost device: it returns an invalid
    /// object. Therefore this creates a small mapped buffer and checks whether it is valid. Costs about 1 µs; runs no
    /// callbacks.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn is_lost(&self) -> bool {
        let descriptor = wgpu::BufferDescriptor {
            label: Some("wgpu-pool probe"),
            size: 4,
            usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: true,
        };
        // An allocation failure does not mean that the device is lost.
        self.buffer(&descriptor).is_ok_and(|buffer| buffer.get_mapped_range_mut(..).is_err())
    }

    /// A browser reports the loss through the promise that [`CheckedDevice::note_loss`] awaits.
    #[cfg(target_arch = "wasm32")]
    pub(super) fn is_lost(&self) -> bool {
        false
    }

    /// Marks the device as lost when the browser reports the loss. The application's own callback is called, too: in a
    /// browser a callback replaces no other.
    #[cfg(target_arch = "wasm32")]
    pub(super) fn note_loss(&self) {
        let health = Arc::downgrade(&self.health);
        self.device.set_device_lost_callback(move |reason, message| {
            if let Some(health) = health.upgrade() {
                health.mark_lost(|| format!("{reason:?}: {message}"));
            }
        });
    }
}
