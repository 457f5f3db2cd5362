//! wgpu's errors, caught where they arise.

use crate::error::DeviceError;

/// Runs `act` within error scopes, so that nothing of it reaches the device's uncaptured-error handler.
///
/// Scopes belong to the thread, and on native backends their verdict is there at once. In a browser it comes later: there
/// the error is logged when it arrives, and the answer here is that none is known yet.
pub(super) fn guarded<T>(device: &wgpu::Device, act: impl FnOnce() -> T) -> (T, Result<(), wgpu::Error>) {
    let filters = [wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::OutOfMemory];
    let scopes = filters.map(|filter| device.push_error_scope(filter));
    let result = act();
    let mut verdict = Ok(());
    for scope in scopes.into_iter().rev() {
        if let Some(error) = now(scope.pop()).flatten() {
            verdict = verdict.and(Err(error));
        }
    }
    (result, verdict)
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
pub(super) fn device_error(error: wgpu::Error, bytes: u64) -> DeviceError {
    match error {
        wgpu::Error::OutOfMemory { .. } => DeviceError::Refused { bytes },
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            DeviceError::Validation { message: description }
        }
    }
}
