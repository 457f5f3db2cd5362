//! Comparison of dry runs with the programs themselves.

use std::error::Error;
use wgpu_pool::{Pool, PoolOptions, Tensor, TensorError};

/// Checks that dry runs of a program reach the peaks of the program, on a device without a driver: with compaction and without; without a
/// limit and with one that makes the pool compact.
pub(crate) fn check(program: impl Fn(&Pool) -> Result<(), TensorError>) -> Result<(), Box<dyn Error>> {
    let mut limit = None;
    for compaction_share in [0.0, 0.1] {
        let options = PoolOptions { compaction_share, limit, release_after: None, ..PoolOptions::default() };
        let (device, queue) = wgpu_pool::wgpu::Device::noop(&wgpu_pool::wgpu::DeviceDescriptor::default());
        let requested = peak(&Pool::from_device(device, queue, options)?, &program)?;
        limit = Some(requested + requested / 16);
    }
    Ok(())
}

/// Returns the peak of requested bytes, of the dry run and of the program.
fn peak(pool: &Pool, program: impl Fn(&Pool) -> Result<(), TensorError>) -> Result<u64, Box<dyn Error>> {
    // A tensor from before, and a hole next to it.
    let before = [100, 1000].map(|elements| Tensor::full(pool, [elements], 1.5_f32));
    let [hole, kept] = before.map(Result::ok);
    drop(hole);
    let (result, dry_run) = pool.dry_run(|| program(pool))?;
    pool.reset_peaks();
    assert_eq!(pool.stats().requested.peak, 4000, "the dry run has allocated nothing");
    let real = program(pool);
    let stats = pool.stats();
    let found = [dry_run.requested_peak().bytes, dry_run.reserved_peak().bytes];
    assert_eq!(found, [stats.requested.peak, stats.reserved.peak], "{:?}, {dry_run}", pool.limit());
    assert_eq!(result.is_ok(), real.is_ok(), "{result:?} {real:?}");
    drop(kept);
    Ok(stats.requested.peak)
}
