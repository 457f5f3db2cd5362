//! Tensors on their way to the host.

use super::{Element, Tensor, arithmetic};
use crate::device::COPY_UNIT;
use crate::error::TensorError;
use crate::pool::{Download, Pool};
use std::fmt;
use std::ops::Range;

impl Tensor {
    /// A copy of its elements on the host, in row-major order. The tensor stays on the device, with its memory.
    ///
    /// The elements are those of this point of the program's order; recorded commands are submitted. Of a view that is not
    /// contiguous, all bytes from its first to its last element are read.
    ///
    /// # Errors
    /// [`TensorError::DType`] if `T` isn't the tensor's dtype; [`TensorError::TooManyElements`] of an expanded view of more than
    /// 2^32 elements, and [`TensorError::HostMemory`] if the elements don't fit in the host's memory; what the device found wrong.
    pub async fn read<T: Element>(&self) -> Result<Vec<T>, TensorError> {
        let download = self.begin_read::<T>()?;
        self.collected(&download.finish().await?)
    }

    /// As [`Tensor::read`], waiting on this thread.
    ///
    /// # Errors
    /// As [`Tensor::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_blocking<T: Element>(&self) -> Result<Vec<T>, TensorError> {
        let download = self.begin_read::<T>()?;
        self.collected(&download.finish_blocking()?)
    }

    /// Moves the tensor to the host. Its memory on the device is back in the pool when this returns; nothing of the tensor
    /// can stay there, since it is consumed and no other handle may share its memory.
    ///
    /// # Errors
    /// [`IntoHostError`], which gives the tensor back: [`TensorError::Shared`] if a clone or a view still holds the memory,
    /// and as [`Tensor::read`].
    pub async fn into_host<T: Element>(self) -> Result<HostTensor<T>, IntoHostError> {
        match self.check_sole() {
            Ok(()) => match self.read().await {
                Ok(elements) => Ok(HostTensor { shape: self.shape().to_vec(), elements }),
                Err(error) => Err(IntoHostError { tensor: Box::new(self), error }),
            },
            Err(error) => Err(IntoHostError { tensor: Box::new(self), error }),
        }
    }

    /// As [`Tensor::into_host`], waiting on this thread.
    ///
    /// # Errors
    /// As [`Tensor::into_host`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn into_host_blocking<T: Element>(self) -> Result<HostTensor<T>, IntoHostError> {
        match self.check_sole().and_then(|()| self.read_blocking()) {
            Ok(elements) => Ok(HostTensor { shape: self.shape().to_vec(), elements }),
            Err(error) => Err(IntoHostError { tensor: Box::new(self), error }),
        }
    }

    fn check_sole(&self) -> Result<(), TensorError> {
        match self.storage.handles() - 1 {
            0 => Ok(()),
            others => Err(TensorError::Shared { others }),
        }
    }

    fn begin_read<T: Element>(&self) -> Result<Download<crate::device::Gpu>, TensorError> {
        if T::DTYPE != self.dtype {
            return Err(TensorError::DType { operation: "read", left: self.dtype.name(), right: T::DTYPE.name() });
        }
        let elements = self.elements() as u64;
        if elements > MOST_READ {
            return Err(TensorError::TooManyElements { operation: "read", elements, limit: MOST_READ });
        }
        let Range { start, end } = self.span_in_units();
        let mut download = self.pool().download(end - start)?;
        if end > start {
            download.add(&self.storage, start, end - start)?;
        }
        Ok(download)
    }

    /// The bytes from its first to its last element, and what copies take with them on both sides.
    fn span_in_units(&self) -> Range<u64> {
        let span = self.layout.span();
        if span.is_empty() {
            return 0..0;
        }
        let [start, end] = [span.start, span.end].map(|element| arithmetic::bytes(element, self.dtype.bytes()));
        start / COPY_UNIT * COPY_UNIT..end.next_multiple_of(COPY_UNIT)
    }

    /// The tensor's elements out of the bytes of its span.
    fn collected<T: Element>(&self, bytes: &[u8]) -> Result<Vec<T>, TensorError> {
        let Range { start, end } = self.layout.span();
        let mut span = reserved::<T>(end - start)?;
        span.resize(end - start, T::default());
        let own: &mut [u8] = bytemuck::cast_slice_mut(&mut span);
        let unit = usize::try_from(COPY_UNIT).expect("four");
        let before = if own.is_empty() { 0 } else { start * size_of::<T>() % unit };
        own.copy_from_slice(&bytes[before..before + own.len()]);
        if self.is_contiguous() {
            return Ok(span);
        }
        let mut elements = reserved(self.elements())?;
        elements.extend(self.layout.indices().map(|index| span[index - start]));
        Ok(elements)
    }
}

/// The most elements that are read at once: a view may repeat elements, so that their number isn't bounded by any memory.
const MOST_READ: u64 = 1 << 32;

/// Memory of the host for some elements.
///
/// # Errors
/// [`TensorError::HostMemory`].
fn reserved<T>(elements: usize) -> Result<Vec<T>, TensorError> {
    let mut reserved = Vec::new();
    let bytes = arithmetic::bytes(elements, size_of::<T>() as u64);
    reserved.try_reserve_exact(elements).map_err(|_| TensorError::HostMemory { operation: "read", bytes })?;
    Ok(reserved)
}

/// A tensor's elements on the host, with their shape, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor<T> {
    /// The sizes of its dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Its elements.
    pub elements: Vec<T>,
}

impl<T: Element> HostTensor<T> {
    /// Copies the elements into a new tensor on the device.
    ///
    /// # Errors
    /// As [`Tensor::from_slice`].
    #[track_caller]
    pub fn to_device(&self, pool: &Pool) -> Result<Tensor, TensorError> {
        Tensor::from_slice(pool, &self.elements, &self.shape)
    }
}

/// Why a tensor did not move to the host; it is given back whole.
#[derive(Debug)]
pub struct IntoHostError {
    /// The tensor, as it was.
    pub tensor: Box<Tensor>,
    /// What went wrong.
    pub error: TensorError,
}

impl fmt::Display for IntoHostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for IntoHostError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
