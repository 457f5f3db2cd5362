//! The time from the opening of a device to its first result, by stage.

use crate::device::lock::log_unlocked;
use crate::error::Count;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

// The standard library has no clock in a browser.
#[cfg(target_arch = "wasm32")]
use quanta::Instant;
#[cfg(not(target_arch = "wasm32"))]
use std::time::Instant;

/// The time from the opening of a device to its first result, by stage. Created by [`Gpu::startup`](crate::Gpu::startup).
///
/// The stages do not add up to [`first_result`](Self::first_result), which includes the time of the program, of uploads and of
/// execution. Drivers may compile later than in the call: Mesa's software driver does when a kernel first runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Startup {
    /// The search for an adapter. Zero for a device that the application opened.
    pub adapter: Duration,
    /// The creation of the device. Zero for a device that the application opened.
    pub device: Duration,
    /// The number of kernels compiled so far.
    pub kernels: u64,
    /// The translation of these kernels' WGSL: parsing and validation. The sum over all threads.
    pub shaders: Duration,
    /// The creation of these kernels' pipelines: translation to the language of the backend, and the driver's compiler. The sum
    /// over all threads.
    pub pipelines: Duration,
    /// From the beginning of the search for an adapter, or from the creation of the pool on an existing device, to the end of the
    /// first read or download. `None` before it.
    pub first_result: Option<Duration>,
}

impl fmt::Display for Startup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [adapter, device, shaders, pipelines] =
            [self.adapter, self.device, self.shaders, self.pipelines].map(|time| time.as_secs_f64() * 1e3);
        let kernels = Count(self.kernels, "kernel");
        write!(f, "adapter {adapter:.3} ms, device {device:.3} ms, ")?;
        write!(f, "{kernels} (shaders {shaders:.3} ms, pipelines {pipelines:.3} ms), ")?;
        match self.first_result {
            Some(time) => write!(f, "first result after {:.3} ms", time.as_secs_f64() * 1e3),
            None => f.write_str("no result yet"),
        }
    }
}

/// The times of a device's stages so far.
#[derive(Debug)]
pub(super) struct Stages {
    created: Instant,
    opened: OnceLock<Opening>,
    kernels: AtomicU64,
    /// Nanoseconds.
    shaders: AtomicU64,
    pipelines: AtomicU64,
    first_result: OnceLock<Duration>,
}

/// The stages before the device exists.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    began: Instant,
    adapter: Duration,
    device: Duration,
}

impl Opening {
    /// Starts with the search for an adapter.
    pub(super) fn begin() -> Self {
        Self { began: Instant::now(), adapter: Duration::ZERO, device: Duration::ZERO }
    }

    /// An adapter was found.
    pub(super) fn found(&mut self) {
        self.adapter = self.began.elapsed();
    }

    /// The device was created.
    pub(super) fn created(&mut self) {
        self.device = self.began.elapsed().saturating_sub(self.adapter);
    }
}

impl Stages {
    pub(super) fn new() -> Self {
        Self {
            created: Instant::now(),
            opened: OnceLock::new(),
            kernels: AtomicU64::new(0),
            shaders: AtomicU64::new(0),
            pipelines: AtomicU64::new(0),
            first_result: OnceLock::new(),
        }
    }

    pub(super) fn opened(&self, opening: Opening) {
        // A device is opened once.
        let _ = self.opened.set(opening);
    }

    /// Adds the time of a translation.
    pub(super) fn shader<R>(&self, act: impl FnOnce() -> R) -> R {
        timed(&self.shaders, act)
    }

    /// Adds a kernel and the time of the creation of its pipeline.
    pub(super) fn pipeline<R>(&self, act: impl FnOnce() -> R) -> R {
        self.kernels.fetch_add(1, Ordering::Relaxed);
        timed(&self.pipelines, act)
    }

    /// Notes that a result arrived. Only the first one counts.
    pub(super) fn result(&self) {
        if self.first_result.get().is_some() {
            return;
        }
        let began = self.opened.get().map_or(self.created, |opening| opening.began);
        self.first_result.get_or_init(|| began.elapsed());
        log_unlocked!(debug, "wgpu-pool: {}", self.times());
    }

    pub(super) fn times(&self) -> Startup {
        let (adapter, device) = self.opened.get().map(|opening| (opening.adapter, opening.device)).unwrap_or_default();
        let [shaders, pipelines] =
            [&self.shaders, &self.pipelines].map(|time| Duration::from_nanos(time.load(Ordering::Relaxed)));
        let kernels = self.kernels.load(Ordering::Relaxed);
        Startup { adapter, device, kernels, shaders, pipelines, first_result: self.first_result.get().copied() }
    }
}

fn timed<R>(sum: &AtomicU64, act: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let result = act();
    let nanoseconds = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    sum.fetch_add(nanoseconds, Ordering::Relaxed);
    result
}
