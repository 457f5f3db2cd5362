//! Profiles: execution times of the kernels in a section of a program.

use super::Pool;
use crate::device::Gpu;
use crate::error::{Count, DeviceError};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The execution times of the kernels in a section of a program, by the device's clock. Created by [`Pool::profile`].
/// `Display` prints a table of kernels, longest total time first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The dispatches in program order.
    pub dispatches: Vec<Dispatch>,
    /// The number of dispatches that were not timed, because the device ran out of timestamps.
    pub untimed: u64,
}

/// A timed dispatch. Times are in nanoseconds since the start of the first dispatch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// The kernel: the shader's name for the crate's own kernels, the entry point for user kernels.
    pub kernel: Arc<str>,
    /// Start time.
    pub start: u64,
    /// End time.
    pub end: u64,
}

impl Pool<Gpu> {
    /// Calls `act`, and returns the execution time of each kernel that any thread recorded meanwhile. Waits asynchronously
    /// for the device before and after. Each dispatch is timed separately, so dispatches do not overlap as they otherwise may.
    /// The first 2,048 dispatches are timed.
    ///
    /// Equals `torch.profiler.profile` for kernels. Empty in a [dry run](Pool::dry_run).
    ///
    /// # Errors
    /// [`DeviceError::Unsupported`] if the adapter has no timestamp queries; the error of a failed batch. The result of
    /// `act` is then dropped.
    pub async fn profile<R>(&self, act: impl FnOnce() -> R) -> Result<(R, Profile), DeviceError> {
        if self.dry().is_some() {
            return Ok((act(), Profile::default()));
        }
        self.synchronize().await?;
        let gpu = self.memory();
        gpu.begin_timing()?;
        let stop_on_panic = StopTiming(gpu);
        let result = act();
        std::mem::forget(stop_on_panic);
        let timed = gpu.end_timing().await?;
        let first = timed.dispatches.iter().map(|&(_, start, _)| start).min().unwrap_or(0);
        let dispatches = timed.dispatches.into_iter().map(|(kernel, start, end)| Dispatch {
            kernel,
            start: start.saturating_sub(first),
            end: end.max(start).saturating_sub(first),
        });
        Ok((result, Profile { dispatches: dispatches.collect(), untimed: timed.untimed }))
    }

    /// Calls `act`, and returns the execution time of each kernel that any thread recorded meanwhile, as [`Pool::profile`]. Blocks
    /// the calling thread while the device executes earlier commands and these.
    ///
    /// # Errors
    /// As [`Pool::profile`].
    #[cfg(any(not(target_arch = "wasm32"), wgpu_pool_suspend))]
    pub fn profile_blocking<R>(&self, act: impl FnOnce() -> R) -> Result<(R, Profile), DeviceError> {
        crate::device::block_on(self.profile(act))
    }
}

/// Stops the timing if the profiled code panics.
struct StopTiming<'a>(&'a Gpu);

impl Drop for StopTiming<'_> {
    fn drop(&mut self) {
        self.0.drop_timing();
    }
}

impl Profile {
    /// Returns the number of calls and the total nanoseconds of each kernel, longest total time first.
    #[must_use]
    pub fn kernels(&self) -> Vec<(Arc<str>, u64, u64)> {
        let mut sums: BTreeMap<&Arc<str>, (u64, u64)> = BTreeMap::new();
        for Dispatch { kernel, start, end } in &self.dispatches {
            let (calls, time) = sums.entry(kernel).or_default();
            *calls += 1;
            *time += end.saturating_sub(*start);
        }
        let mut kernels: Vec<_> =
            sums.into_iter().map(|(kernel, (calls, time))| (Arc::clone(kernel), calls, time)).collect();
        kernels.sort_by_key(|&(_, _, time)| std::cmp::Reverse(time));
        kernels
    }

    /// Returns the dispatches as a trace for Perfetto and `chrome://tracing`.
    #[cfg(feature = "serde")]
    #[must_use]
    pub fn to_chrome_trace(&self) -> String {
        #[expect(clippy::cast_precision_loss, reason = "times since the profile began are far below 2^53")]
        let micros = |nanoseconds: u64| nanoseconds as f64 / 1000.0;
        let events: Vec<serde_json::Value> = self
            .dispatches
            .iter()
            .map(|Dispatch { kernel, start, end }| {
                let (at, length) = (micros(*start), micros(end.saturating_sub(*start)));
                serde_json::json!({"name": &**kernel, "ph": "X", "pid": 1, "tid": 1, "ts": at, "dur": length})
            })
            .collect();
        serde_json::json!({"traceEvents": events, "displayTimeUnit": "ns"}).to_string()
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernels = self.kernels();
        let all: u64 = kernels.iter().map(|&(_, _, time)| time).sum();
        writeln!(f, "{:<36}{:>8}{:>13}{:>13}{:>9}", "kernel", "calls", "total µs", "mean µs", "share")?;
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        for (kernel, calls, time) in kernels {
            let (total, share) = (time as f64 / 1e3, 100.0 * time as f64 / all.max(1) as f64);
            let name: String = kernel.chars().take(35).collect();
            writeln!(f, "{name:<36}{calls:>8}{total:>13.1}{:>13.2}{share:>7.1} %", total / calls as f64)?;
        }
        if self.untimed > 0 {
            writeln!(f, "and {} without timestamps", Count(self.untimed, "dispatch"))?;
        }
        Ok(())
    }
}
