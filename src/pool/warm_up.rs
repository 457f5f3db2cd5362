//! Warm-ups: the kernels of a program are compiled before it runs.

use super::{DryRun, Pool};
use crate::device::Gpu;
use crate::error::WarmUpError;

/// The result of [`Pool::warm_up`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WarmUp {
    /// The number of kernels that were compiled.
    pub kernels: u64,
    /// The memory that the program needs.
    pub dry_run: DryRun,
}

impl Pool<Gpu> {
    /// Compiles the kernels of a program ahead, so that its first step is as fast as the later ones. Calls `act` in a
    /// [dry run](Pool::dry_run), which launches nothing, and collects the kernels that it would launch. Then compiles those that the
    /// pool does not have, on as many threads as the machine has processors, and waits for them.
    ///
    /// The same rules apply to the closure, and to tensors that outlive it, as in dry runs. In particular a read
    /// in the closure returns an error: leave it out, or the kernels after it are not found. Kernels that only some sizes or dtypes
    /// need are compiled if the closure uses these.
    ///
    /// To keep the compiled code for the next run of the program, use a pipeline cache ([`Gpu::set_pipeline_cache`]).
    ///
    /// # Cost
    /// That of the dry run and of the compilation: on an H100 33 ms for a step of the U-Net example if the driver has the kernels in its
    /// own cache, and half a second otherwise. The kernels count as entries of the pool's caches ([`Pool::caches`]): a program of more than
    /// 512 loses the ones that were compiled first. On GL one thread compiles. A browser compiles in its own process, and the call
    /// does not wait for it. Mesa's software driver for Vulkan compiles a kernel at its first dispatch: on software drivers each
    /// kernel is dispatched over no workgroups, and the call waits for the device.
    ///
    /// # Errors
    /// [`WarmUpError::Nested`] in a dry run or a warm-up of this pool on this thread; `act` is not called.
    /// [`WarmUpError::Compile`] if a kernel cannot be compiled, with the first error; the other kernels are compiled, and the result
    /// of `act` is dropped. The operation returns the same error when it runs.
    ///
    /// # Examples
    /// ```no_run
    /// use wgpu_pool::{Pool, PoolOptions, Tensor, TensorError};
    ///
    /// let pool = Pool::request_blocking(PoolOptions::default())?;
    /// let weights = Tensor::randn(&pool, [256, 256], 1)?;
    /// let step = || -> Result<Tensor, TensorError> { weights.matmul(&weights)?.relu()?.sum(..) };
    /// let (result, warm_up) = pool.warm_up(step)?;
    /// result?; // a tensor without memory
    /// println!("{} kernels, and a peak of {} bytes", warm_up.kernels, warm_up.dry_run.requested_peak().bytes);
    /// let sum = step()?; // compiles nothing
    /// # drop(sum);
    /// # Ok::<(), wgpu_pool::Error>(())
    /// ```
    pub fn warm_up<R>(&self, act: impl FnOnce() -> R) -> Result<(R, WarmUp), WarmUpError> {
        let mut warming = None;
        let (result, dry_run) = self.dry_run(|| {
            warming = Some(self.memory().begin_warm_up());
            act()
        })?;
        let kernels = match warming {
            Some(warming) => warming.finish()?,
            None => 0,
        };
        Ok((result, WarmUp { kernels, dry_run }))
    }
}
