//! What the kernels of a part of a program cost.

#[cfg(not(target_arch = "wasm32"))]
use super::Pool;
#[cfg(not(target_arch = "wasm32"))]
use crate::device::Gpu;
#[cfg(not(target_arch = "wasm32"))]
use crate::error::DeviceError;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// How long each kernel of a part of a program took, by the device's clock. Made by `Pool::profile`, which a browser can't, since it
/// waits; displayed as a table of
/// kernels, the one that took longest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The dispatches, in program order.
    pub dispatches: Vec<Dispatch>,
    /// Dispatches beyond those that a device has timestamps for.
    pub untimed: u64,
}

/// One dispatch. Times are in nanoseconds since the first one's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// The kernel: of the crate's own its shader, of the program's own the entry point.
    pub kernel: Arc<str>,
    /// When it began.
    pub start: u64,
    /// When it ended.
    pub end: u64,
}

#[cfg(not(target_arch = "wasm32"))]
impl Pool<Gpu> {
    /// Does something, and tells how long each kernel took that was recorded meanwhile, on any thread. Waits for the device, before
    /// and after. Every dispatch is timed by itself, so that none overlaps another as they else may. The first 2,048 are timed.
    ///
    /// Does the work of `torch.profiler.profile` for kernels.
    ///
    /// # Errors
    /// [`DeviceError::Unsupported`] where the adapter has no timestamp queries; what the device found wrong. What `act` returns is
    /// lost then.
    pub fn profile<R>(&self, act: impl FnOnce() -> R) -> Result<(R, Profile), DeviceError> {
        self.synchronize()?;
        let gpu = self.memory();
        gpu.begin_timing()?;
        let until_panic = Untimed(gpu);
        let result = act();
        std::mem::forget(until_panic);
        let timed = gpu.end_timing()?;
        let first = timed.dispatches.iter().map(|&(_, start, _)| start).min().unwrap_or(0);
        let dispatches = timed.dispatches.into_iter().map(|(kernel, start, end)| Dispatch {
            kernel,
            start: start.saturating_sub(first),
            end: end.max(start).saturating_sub(first),
        });
        Ok((result, Profile { dispatches: dispatches.collect(), untimed: timed.untimed }))
    }
}

/// Ends the timing of a profile whose program panics.
#[cfg(not(target_arch = "wasm32"))]
struct Untimed<'a>(&'a Gpu);

#[cfg(not(target_arch = "wasm32"))]
impl Drop for Untimed<'_> {
    fn drop(&mut self) {
        self.0.drop_timing();
    }
}

impl Profile {
    /// Calls and nanoseconds of each kernel, the one that took longest first.
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

    /// The dispatches as a trace that Perfetto and `chrome://tracing` load.
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
            writeln!(f, "and {} dispatches beyond those that have timestamps", self.untimed)?;
        }
        Ok(())
    }
}
