//! The place of a tensor's bytes: on the device, or in host memory.

use super::Tensor;
use crate::error::TensorError;
use crate::pool::{Residence, Storage};

impl Tensor {
    /// Moves the tensor's memory to the host, and returns the device memory to the pool. Views and clones share the memory,
    /// and move with it; all of them remain valid. The next command that uses one of them returns the bytes first.
    ///
    /// Unlike [`Tensor::into_host`], the tensor remains a tensor. Requires
    /// [`PoolOptions::spill`](crate::PoolOptions::spill). Waits as [`Storage::offload`](crate::Storage::offload).
    ///
    /// # Errors
    /// [`TensorError::Device`] with an error of [`Storage::offload`](crate::Storage::offload). The bytes then stay on the
    /// device; of a tensor in several blocks, some may have moved.
    ///
    /// # Examples
    /// ```no_run
    /// use wgpu_pool::{Pool, PoolOptions, Residence, Tensor};
    ///
    /// let pool = Pool::request_blocking(PoolOptions { spill: Some(8 << 30), ..PoolOptions::default() })?;
    /// let weights = Tensor::randn(&pool, [4096, 4096], 7)?;
    /// weights.offload()?;
    /// assert_eq!(weights.residence(), Residence::Host);
    /// let doubled = weights.mul(2.0)?;
    /// assert_eq!(weights.residence(), Residence::Device);
    /// # drop(doubled);
    /// # Ok::<(), wgpu_pool::Error>(())
    /// ```
    pub fn offload(&self) -> Result<(), TensorError> {
        Ok(self.storages().iter().try_for_each(Storage::offload)?)
    }

    /// Returns the tensor's memory to the device if it is in host memory, before a command needs it. May move other tensors
    /// to host memory.
    ///
    /// # Errors
    /// [`TensorError::Device`] with an error of [`Storage::prefetch`](crate::Storage::prefetch).
    pub fn prefetch(&self) -> Result<(), TensorError> {
        Ok(self.storages().iter().try_for_each(Storage::prefetch)?)
    }

    /// Returns the place of the tensor's memory: of several blocks, of the first that is not on the device. Other threads, and
    /// requests of this one, may change it at any time.
    #[must_use]
    pub fn residence(&self) -> Residence {
        let places = self.storages().iter().map(Storage::residence);
        places.into_iter().find(|&place| place != Residence::Device).unwrap_or(Residence::Device)
    }

    /// Returns the tensor's memory to the device if necessary, and keeps it there until [`Tensor::offload`] is called or the
    /// memory is freed. No effect in a pool without spilling.
    ///
    /// # Errors
    /// [`TensorError::Device`] with an error of [`Storage::prefetch`](crate::Storage::prefetch).
    pub fn keep_on_device(&self) -> Result<(), TensorError> {
        Ok(self.storages().iter().try_for_each(Storage::keep_on_device)?)
    }
}
