//! Copies between segments, and moves by compaction within one: by the driver and by the kernel.

use super::{Bench, Row, Worth, median};
use std::error::Error;
use std::time::Instant;
use wgpu_pool::{Gpu, Pool, PoolOptions};

impl Bench<'_> {
    /// Sizes from 64 KiB to `largest` bytes.
    pub(crate) fn copies(&self, largest: u64) -> Result<(), Box<dyn Error>> {
        let sizes = || (16..40).step_by(2).map(|power| 1_u64 << power).take_while(|&bytes| bytes <= largest);
        for bytes in sizes() {
            let name = format!("{} KiB to another segment", bytes >> 10);
            self.both(&name, 2 * bytes, bytes, |pool| {
                let [from, to] = [pool.allocate(bytes)?, pool.allocate(bytes)?];
                let runs = u32::try_from((largest / bytes).clamp(1, 256))?;
                from.copy_to(&to)?;
                pool.synchronize_blocking()?;
                let start = Instant::now();
                (0..runs).try_for_each(|_| from.copy_to(&to))?;
                pool.synchronize_blocking()?;
                Ok(start.elapsed().as_secs_f64() / f64::from(runs))
            })?;
        }
        for bytes in sizes() {
            let name = format!("{} KiB within a segment", bytes >> 10);
            self.both(&name, 3 * bytes, bytes, |pool| {
                let mut seconds = 0.0;
                // One segment as long as the limit.
                drop(pool.allocate(3 * bytes)?);
                for is_timed in [false, true] {
                    let [hole, block] = [pool.allocate(bytes)?, pool.allocate(bytes)?];
                    drop(hole);
                    pool.synchronize_blocking()?;
                    let start = Instant::now();
                    // The block moves to the start of the segment.
                    let rest = pool.allocate(2 * bytes)?;
                    pool.synchronize_blocking()?;
                    if is_timed {
                        seconds = start.elapsed().as_secs_f64();
                    }
                    drop((block, rest));
                }
                Ok(seconds)
            })?;
        }
        Ok(())
    }

    /// Prints the times of one copy of `bytes` bytes, by the driver and by the kernel, in turns, in a pool with a limit.
    fn both(
        &self,
        name: &str,
        limit: u64,
        bytes: u64,
        seconds: impl Fn(&Pool<Gpu>) -> Result<f64, Box<dyn Error>>,
    ) -> Result<(), Box<dyn Error>> {
        let names = [format!("copy by the driver, {name}"), format!("copy by the kernel, {name}")];
        if !names.iter().any(|name| self.wanted(name)) {
            return Ok(());
        }
        let gpu = self.pool.memory();
        let options = PoolOptions {
            limit: Some(limit),
            smallest_segment: Some(64 << 10),
            small_limit: 0,
            ..PoolOptions::default()
        };
        let pool = Pool::from_device(gpu.device().clone(), gpu.queue().clone(), options)?;
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..self.options.samples {
            for (times, smallest) in times.iter_mut().zip([None, Some(0)]) {
                pool.memory().set_kernel_copies(smallest);
                times.push(seconds(&pool)?);
            }
        }
        let [driver, kernel] = times.map(median);
        for (name, seconds, share) in [(&names[0], driver, None), (&names[1], kernel, Some(driver / kernel))] {
            let rate = Some(Worth::Bytes(2.0 * bytes as f64).rate(seconds));
            self.print(&Row { name, seconds, rate, share, peer: None });
        }
        Ok(())
    }
}
