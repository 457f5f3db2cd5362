//! The wgpu calls that can fail. No other file makes them (tests/house checks this).
//!
//! Every call here runs inside error scopes, so that its errors are returned and never reach the application's
//! uncaptured-error handler. An error scope catches the errors of everything that its thread does. Therefore no call
//! that can run an application callback may be inside a scope: [`submit`] and [`poll`] are outside.
//!
//! Recording into an encoder or a pass needs no scope: wgpu stores the error and reports it in
//! `CommandEncoder::finish`. Only commands on a finished encoder, or on an encoder with an open pass, are reported
//! immediately; the recorder records none of these.

use crate::error::DeviceError;

/// Calls `act` within error scopes. `act` must not run application callbacks.
///
/// Error scopes belong to the calling thread. On native backends their result is available immediately. In a browser it
/// arrives later; there this function reports no error.
fn scoped<T>(device: &wgpu::Device, act: impl FnOnce() -> T) -> Result<T, wgpu::Error> {
    let filters = [wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::OutOfMemory];
    let scopes = filters.map(|filter| device.push_error_scope(filter));
    let result = act();
    let mut verdict = Ok(());
    for scope in scopes.into_iter().rev() {
        if let Some(error) = now(scope.pop()).flatten() {
            verdict = verdict.and(Err(error));
        }
    }
    verdict.map(|()| result)
}

/// Returns the future's value if it is ready without waiting.
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

/// As `scoped`, for calls that allocate no particular number of bytes.
fn checked<T>(device: &wgpu::Device, act: impl FnOnce() -> T) -> Result<T, DeviceError> {
    scoped(device, act).map_err(|error| device_error(error, 0))
}

pub(super) fn buffer(
    device: &wgpu::Device,
    descriptor: &wgpu::BufferDescriptor<'_>,
) -> Result<wgpu::Buffer, DeviceError> {
    scoped(device, || device.create_buffer(descriptor)).map_err(|error| device_error(error, descriptor.size))
}

pub(super) fn bind_group(
    device: &wgpu::Device,
    descriptor: &wgpu::BindGroupDescriptor<'_>,
) -> Result<wgpu::BindGroup, DeviceError> {
    checked(device, || device.create_bind_group(descriptor))
}

#[cfg(feature = "tensor")]
pub(super) fn bind_group_layout(
    device: &wgpu::Device,
    descriptor: &wgpu::BindGroupLayoutDescriptor<'_>,
) -> Result<wgpu::BindGroupLayout, DeviceError> {
    checked(device, || device.create_bind_group_layout(descriptor))
}

#[cfg(feature = "tensor")]
pub(super) fn pipeline_layout(
    device: &wgpu::Device,
    descriptor: &wgpu::PipelineLayoutDescriptor<'_>,
) -> Result<wgpu::PipelineLayout, DeviceError> {
    checked(device, || device.create_pipeline_layout(descriptor))
}

pub(super) fn shader_module(
    device: &wgpu::Device,
    descriptor: wgpu::ShaderModuleDescriptor<'_>,
) -> Result<wgpu::ShaderModule, DeviceError> {
    checked(device, || device.create_shader_module(descriptor))
}

pub(super) fn pipeline(
    device: &wgpu::Device,
    descriptor: &wgpu::ComputePipelineDescriptor<'_>,
) -> Result<wgpu::ComputePipeline, DeviceError> {
    checked(device, || device.create_compute_pipeline(descriptor))
}

/// Returns the layout of a pipeline's group 0, which wgpu derived from the shader.
pub(super) fn derived_layout(
    device: &wgpu::Device,
    pipeline: &wgpu::ComputePipeline,
) -> Result<wgpu::BindGroupLayout, DeviceError> {
    checked(device, || pipeline.get_bind_group_layout(0))
}

#[cfg(all(feature = "tensor", not(target_arch = "wasm32")))]
pub(super) fn query_set(
    device: &wgpu::Device,
    descriptor: &wgpu::QuerySetDescriptor<'_>,
) -> Result<wgpu::QuerySet, DeviceError> {
    checked(device, || device.create_query_set(descriptor))
}

pub(super) fn encoder(device: &wgpu::Device) -> Result<wgpu::CommandEncoder, DeviceError> {
    checked(device, || device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("wgpu-pool") }))
}

/// Validates and encodes the commands of an encoder. Costs about 2 µs per command on a PC.
pub(super) fn finish(device: &wgpu::Device, encoder: wgpu::CommandEncoder) -> Result<wgpu::CommandBuffer, DeviceError> {
    checked(device, || encoder.finish())
}

/// Starts mapping a buffer. If the call fails immediately, `note` is called inside the error scopes and must not call
/// the application.
pub(super) fn map(
    device: &wgpu::Device,
    buffer: &wgpu::Buffer,
    mode: wgpu::MapMode,
    note: impl FnOnce(Result<(), wgpu::BufferAsyncError>) + wgpu::WasmNotSend + 'static,
) -> Result<(), DeviceError> {
    checked(device, || buffer.map_async(mode, .., note))
}

pub(super) fn unmap(device: &wgpu::Device, buffer: &wgpu::Buffer) -> Result<(), DeviceError> {
    checked(device, || buffer.unmap())
}

/// Returns whether the application has destroyed a buffer of the pool. A submission that uses a destroyed buffer fails.
/// wgpu has no query for this, but the error of unmapping an unmapped buffer tells the two cases apart. Costs about 0.3
/// µs.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn is_destroyed(device: &wgpu::Device, buffer: &wgpu::Buffer) -> bool {
    use std::error::Error;
    use wgpu::wgc::resource::BufferAccessError;

    let Err(error) = scoped(device, || buffer.unmap()) else { return false };
    let mut cause: Option<&dyn Error> = Some(&error);
    while let Some(error) = cause {
        if matches!(error.downcast_ref(), Some(BufferAccessError::DestroyedResource(_))) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// In a browser the error arrives later, and a failed submission reaches no wgpu handler.
#[cfg(target_arch = "wasm32")]
pub(super) fn is_destroyed(_device: &wgpu::Device, _buffer: &wgpu::Buffer) -> bool {
    false
}

/// Submits a command buffer. Application callbacks may run inside, so there is no error scope.
pub(super) fn submit(queue: &wgpu::Queue, commands: wgpu::CommandBuffer) {
    queue.submit([commands]);
}

/// Runs the callbacks of finished work, and returns whether the device is idle. Does not wait. Application callbacks
/// run inside, so there is no error scope and the caller must hold no lock.
pub(super) fn poll(device: &wgpu::Device) -> bool {
    // The only error is a timeout, which cannot occur without waiting.
    matches!(device.poll(wgpu::PollType::Poll), Ok(wgpu::PollStatus::QueueEmpty))
}

/// Returns whether the device is lost. wgpu reports no error for a call on a lost device: it returns an invalid object.
/// Therefore this creates a small mapped buffer and checks whether it is valid. Costs about 1 µs; runs no callbacks.
pub(super) fn is_lost(device: &wgpu::Device) -> bool {
    let descriptor = wgpu::BufferDescriptor {
        label: Some("wgpu-pool probe"),
        size: 4,
        usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: true,
    };
    // An allocation failure does not mean that the device is lost. In a browser every buffer that is mapped at creation
    // has bytes.
    buffer(device, &descriptor).is_ok_and(|buffer| buffer.get_mapped_range_mut(..).is_err())
}
