//! Dry runs: a program's own closure against a copy of the heap.
//!
//! # How it works
//! [`Pool::dry_run`] copies the heap, the limit and the attribution into a [`Shadow`]: a pool over an
//! [`AccountingMemory`](crate::AccountingMemory) with the limits of the device. While the closure runs, the calls that its thread makes on
//! the pool act on the shadow: the code that decides about growth, compaction and refusals is that of every pool, so the result is exact by
//! construction. The real heap does not change, except that a handle that the closure drops is gone.
//!
//! - The dry run belongs to the calling thread and to one pool. [`Inner::shadow`] finds it. Requests, frees and commands of a program
//!   without dry runs cost one relaxed load more: [`DryRuns::none`].
//! - The id of a storage that is allocated in a dry run is outside of every heap and names an entry of [`DryRuns`] ([`Held::Dry`]). The
//!   storage has no location: [`Inner::resolve`] returns none in the dry run, and an error everywhere else.
//! - A storage from before the dry run keeps its block and bytes. Its id names the same block in the shadow, because the shadow's heap is a
//!   copy. If the closure drops its last handle, the block is freed in both heaps.
//! - The shadow lives as long as the storages that were allocated in it, so handles that outlive the dry run are safe.
//!
//! # Lock order
//! The locks of a [`Log`](log::Log) and of the blocks in [`DryRuns`] are leaves. The locks of the shadow are never held together with those of
//! the real pool.

mod batch;
mod current;
mod held;
mod log;
mod result;
mod shadow;
#[cfg(feature = "tensor")]
mod tensors;

pub use batch::MaxBatch;
pub use result::{DryRun, Peak, Refusal};

pub(super) use current::DryRuns;
pub(super) use held::{Held, Target};
pub(super) use shadow::Shadow;

use super::{Inner, Pool};
use crate::device::{AccountingMemory, Memory};
use crate::error::DryRunError;
use current::Running;
use std::sync::Arc;

impl<M: Memory> Pool<M> {
    /// Calls `act` without executing it on the device, and returns its result with the memory that it needs. No kernel is launched, no byte
    /// is copied, and nothing waits; kernels are compiled and cached as in a real run, apart from those of the optimizers (`Pool::warm_up`
    /// compiles all). Works on every memory, without a GPU, and after the device was lost.
    ///
    /// # In the closure
    /// Calls of this thread on this pool act on a copy of the pool's state: requests, frees, compaction, trims, the limit, scopes, labels and
    /// statistics. Peaks count from the start of the dry run. Other threads and other pools are not affected: what they do is real, and is not
    /// part of the result.
    ///
    /// - Reads and pins return [`DeviceError::DryRun`](crate::DeviceError::DryRun): there is nothing to read. Leave them out of the closure.
    /// - A refused request returns the error of the real pool. [`Pool::set_limit`] in the closure changes the limit of the dry run only, so
    ///   `pool.set_limit(None)` finds out what a program needs that does not fit.
    /// - Tensors from before the dry run can be used. Their contents do not change.
    /// - A handle that the closure drops or replaces is gone afterwards, as in any closure. Keep a clone of parameters that a step replaces, or
    ///   create the model in the closure.
    ///
    /// # Afterwards
    /// Tensors that were created in the closure have no memory. Using one returns
    /// [`DeviceError::DryStorage`](crate::DeviceError::DryStorage), in a later dry run as well. Dropping it is safe at any time, on any thread.
    /// If the closure panics, the panic unwinds to the caller, and the pool is as before.
    ///
    /// # Exactness
    /// The real program reaches the same peaks of requested and of reserved bytes if it makes the same requests from the same state, on one
    /// thread, and if the device refuses no memory below the limit. Not modelled: the plans of repeated steps
    /// ([`Pool::repeat`]), whose requests go to the heap; release by time
    /// ([`PoolOptions::release_after`](crate::PoolOptions::release_after)), the pressure callback, which is not called, and buffers outside the
    /// pool such as staging memory.
    ///
    /// # Cost
    /// O(blocks) for the copy and O(events) for the result. An allocation costs a request to the copy, a reference count and an entry of the
    /// list of events; `cargo bench --bench pool` measures it. An operation on tensors costs its checks, without recording.
    ///
    /// # Errors
    /// [`DryRunError::Nested`] in a dry run of this pool on this thread; `act` is not called.
    ///
    /// # Examples
    /// ```
    /// use wgpu_pool::{HostMemory, Pool, PoolOptions};
    ///
    /// let pool = Pool::new(HostMemory::default(), PoolOptions { limit: Some(64 << 20), ..PoolOptions::default() })?;
    /// let weights = pool.allocate(8 << 20)?;
    /// let step = || {
    ///     let activations = pool.allocate(16 << 20)?;
    ///     let gradient = pool.allocate(weights.bytes())?;
    ///     drop(activations);
    ///     drop(gradient);
    ///     Ok::<(), wgpu_pool::Error>(())
    /// };
    /// let (result, dry_run) = pool.dry_run(step)?;
    /// result?;
    /// assert_eq!(dry_run.requested_peak().bytes, 32 << 20);
    /// assert_eq!(dry_run.holders()[0].bytes, 16 << 20);
    /// assert!(dry_run.fits());
    /// assert_eq!(pool.stats().requested.peak, 8 << 20, "nothing was allocated");
    ///
    /// step()?;
    /// assert_eq!(pool.stats().reserved.peak, dry_run.reserved_peak().bytes);
    /// # Ok::<(), wgpu_pool::Error>(())
    /// ```
    pub fn dry_run<R>(&self, act: impl FnOnce() -> R) -> Result<(R, DryRun), DryRunError> {
        let running = Running::start(&self.inner)?;
        let output = act();
        Ok((output, running.finish()))
    }

    /// Returns the copy of this pool on which calls of this thread act, in a dry run.
    #[inline]
    pub(super) fn dry(&self) -> Option<Pool<AccountingMemory>> {
        self.inner.shadow().map(|shadow| shadow.pool())
    }
}

impl<M: Memory> Inner<M> {
    /// Returns the copy of this pool on which calls of this thread act, in a dry run.
    #[inline]
    pub(super) fn shadow(&self) -> Option<Arc<Shadow>> {
        if self.dry_runs.none() { None } else { current::find(self) }
    }
}
