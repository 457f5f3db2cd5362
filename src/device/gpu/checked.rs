//! The wgpu calls that can fail. No other file makes them (a test of the sources holds this).
//!
//! Every call here runs inside error scopes, so that its errors are returned and nothing of them reaches the application's
//! uncaptured-error handler. A scope catches the errors of everything that its thread does meanwhile, so no call that can run a
//! callback of the application may be inside one: [`submit`] and [`poll`] are outside.
//!
//! Recording into an encoder or a pass needs no scope: wgpu notes what is wrong with a command and reports it in
//! `CommandEncoder::finish`. Only commands on an encoder that is finished or has an open pass are reported at once; the recorder
//! records none.

use crate::error::DeviceError;

/// Runs `act` within error scopes. It must not run callbacks of the application.
///
/// Scopes belong to the thread, and on native backends their verdict is there at once. In a browser it comes later: there
/// the answer is that no error is known yet.
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

/// A future's value if it is there without waiting.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}

/// The crate's error for one of wgpu's, met while `bytes` bytes were asked for.
fn device_error(error: wgpu::Error, bytes: u64) -> DeviceError {
    match error {
        wgpu::Error::OutOfMemory { .. } => DeviceError::Refused { bytes },
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            DeviceError::Validation { message: description }
        }
    }
}

/// `scoped` for calls that ask for no particular number of bytes.
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

pub(super) fn bind_group_layout(
    device: &wgpu::Device,
    descriptor: &wgpu::BindGroupLayoutDescriptor<'_>,
) -> Result<wgpu::BindGroupLayout, DeviceError> {
    checked(device, || device.create_bind_group_layout(descriptor))
}

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

/// The layout of a pipeline's group 0 that wgpu derived from its shader.
pub(super) fn derived_layout(
    device: &wgpu::Device,
    pipeline: &wgpu::ComputePipeline,
) -> Result<wgpu::BindGroupLayout, DeviceError> {
    checked(device, || pipeline.get_bind_group_layout(0))
}

#[cfg(not(target_arch = "wasm32"))]
pub(super) fn query_set(
    device: &wgpu::Device,
    descriptor: &wgpu::QuerySetDescriptor<'_>,
) -> Result<wgpu::QuerySet, DeviceError> {
    checked(device, || device.create_query_set(descriptor))
}

pub(super) fn encoder(device: &wgpu::Device) -> Result<wgpu::CommandEncoder, DeviceError> {
    checked(device, || device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("wgpu-pool") }))
}

/// Validates and encodes the commands. Costs about 2 µs a command on a PC.
pub(super) fn finish(device: &wgpu::Device, encoder: wgpu::CommandEncoder) -> Result<wgpu::CommandBuffer, DeviceError> {
    checked(device, || encoder.finish())
}

/// Asks for a buffer to be mapped. `note` is called within the scopes if it fails at once, and must not call the application.
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

/// Whether the application has destroyed a buffer of the pool. A submission that names such a buffer fails. Nothing in wgpu answers
/// that; but unmapping a buffer that is not mapped fails in one of two ways. Costs a third of a microsecond.
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

/// In a browser the error comes later, and a failed submission reaches no handler of wgpu.
#[cfg(target_arch = "wasm32")]
pub(super) fn is_destroyed(_device: &wgpu::Device, _buffer: &wgpu::Buffer) -> bool {
    false
}

/// Submits. Callbacks of the application may run inside, so there is no scope.
pub(super) fn submit(queue: &wgpu::Queue, commands: wgpu::CommandBuffer) {
    queue.submit([commands]);
}

/// Lets the callbacks of finished work run, and says whether the device is idle. Does not wait. Callbacks of the application run
/// inside, so there is no scope and no lock may be held.
pub(super) fn poll(device: &wgpu::Device) -> bool {
    // An error is a timeout, which a poll that doesn't wait can't meet.
    matches!(device.poll(wgpu::PollType::Poll), Ok(wgpu::PollStatus::QueueEmpty))
}

/// Whether the device is lost. wgpu reports no error when a call fails for that reason: the call returns an object that is invalid.
/// So this asks for a small mapped buffer and looks whether it is one. Costs about a microsecond; runs no callbacks.
pub(super) fn is_lost(device: &wgpu::Device) -> bool {
    let descriptor = wgpu::BufferDescriptor {
        label: Some("wgpu-pool probe"),
        size: 4,
        usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: true,
    };
    // A refusal is an error, and says nothing of a loss. In a browser every buffer that is mapped at creation has bytes.
    buffer(device, &descriptor).is_ok_and(|buffer| buffer.get_mapped_range_mut(..).is_err())
}
