//! The bytes of a read, in host memory that is reserved first: a refusal is an error, and does not end the process.

use crate::error::DeviceError;

/// Appends bytes.
///
/// # Errors
/// [`DeviceError::HostRefused`] if the host has no memory for them.
pub(super) fn append(bytes: &[u8], received: &mut Vec<u8>) -> Result<(), DeviceError> {
    let refused = DeviceError::HostRefused { bytes: bytes.len() as u64 };
    #[cfg(test)]
    if bytes.len() > most::BYTES.get() {
        return Err(refused);
    }
    received.try_reserve_exact(bytes.len()).map_err(|_| refused)?;
    received.extend_from_slice(bytes);
    Ok(())
}

/// The most bytes that the host has for one read, for tests on one thread.
#[cfg(test)]
pub(crate) mod most {
    use std::cell::Cell;

    thread_local! {
        pub(super) static BYTES: Cell<usize> = const { Cell::new(usize::MAX) };
    }

    /// Runs `act` on a host without memory for more than this many bytes of one read.
    #[cfg(all(feature = "tensor", not(target_arch = "wasm32")))]
    pub(crate) fn with<R>(bytes: usize, act: impl FnOnce() -> R) -> R {
        crate::device::with_choice(&BYTES, bytes, act)
    }
}
