//! Allocation and reservation whose result is the device's final answer.

use super::ladder::{self, Sizing};
use super::{Content, Pool, Storage};
use crate::device::{CacheLevel, Memory};
use crate::error::{AllocateError, DeviceError};
use std::num::NonZeroU64;
use std::panic::Location;

impl<M: Memory> Pool<M> {
    /// Allocates a block of `bytes` bytes, and returns it when the device has accepted the segment: the block's memory exists.
    ///
    /// On native targets this is [`Pool::allocate`], which returns the answer. In a browser [`Pool::allocate`] cannot report whether the device
    /// refuses a new buffer; a refusal is reported later, as the [`Fault`](crate::Fault) of the pool. This call returns
    /// the refusal and no fault. Before that it releases all idle segments, waits for the device, and tries once more with a
    /// segment of exactly the size of the request.
    ///
    /// # Errors
    /// As [`Pool::allocate`].
    #[track_caller]
    pub fn allocate_accepted(
        &self,
        bytes: u64,
    ) -> impl Future<Output = Result<Storage<M>, AllocateError>> + wgpu::WasmNotSend {
        let site = Location::caller();
        async move { self.allocate_answered(bytes, site).await }
    }

    /// Ensures that a block of `bytes` bytes can be allocated without growing the pool, and that its memory exists on
    /// the device. Waits as [`Pool::allocate_accepted`]. In a browser, blocks that fit into reserved memory cannot be
    /// refused later.
    ///
    /// Another thread may allocate the reserved block first.
    ///
    /// # Errors
    /// As [`Pool::allocate`].
    pub async fn reserve(&self, bytes: u64) -> Result<(), AllocateError> {
        self.allocate_accepted(bytes).await.map(drop)
    }

    /// Ensures that a block of `bytes` bytes can be allocated without growing the pool, as [`Pool::reserve`], and blocks the
    /// calling thread until the device has answered.
    ///
    /// # Errors
    /// As [`Pool::reserve`].
    #[cfg(any(not(target_arch = "wasm32"), wgpu_pool_suspend))]
    pub fn reserve_blocking(&self, bytes: u64) -> Result<(), AllocateError> {
        crate::device::block_on(self.reserve(bytes))
    }

    async fn allocate_answered(
        &self,
        bytes: u64,
        site: &'static Location<'static>,
    ) -> Result<Storage<M>, AllocateError> {
        let inner = &self.inner;
        let before = self.remedies();
        let (mut sizing, mut has_waited) = (Sizing::Planned, false);
        loop {
            let allocate = || ladder::allocate(inner, bytes, &Content::BYTES, site, sizing);
            let (storage, answer) = inner.memory.defer_refusals(allocate);
            let storage = match storage {
                Err(AllocateError::Unfinished { .. }) if !has_waited => {
                    has_waited = true;
                    self.synchronize().await?;
                    continue;
                }
                other => other?,
            };
            let answer = answer.await;
            inner.settle();
            let is_refused = storage.block().is_some_and(|block| inner.is_refused(block));
            match answer {
                Ok(()) if !is_refused => return Ok(storage),
                Ok(()) | Err(DeviceError::Refused { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            drop(storage);
            inner.settle();
            if sizing == Sizing::Exact {
                break;
            }
            sizing = Sizing::Exact;
            inner.release_idle()?;
            inner.memory.drop_caches(CacheLevel::Buffers);
            self.synchronize().await?;
        }
        let requested = NonZeroU64::new(bytes).expect("a storage of zero bytes has no segment to refuse");
        Err(inner.refused_by_device(requested, &before))
    }
}
