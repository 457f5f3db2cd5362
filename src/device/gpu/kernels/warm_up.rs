//! Kernels that are compiled together: those that a program looks up in a warm-up.
//!
//! While a thread warms a device up, a kernel that it looks up is entered into the cache without being compiled, and into the
//! list of the warm-up. At the end several threads compile the list. Other threads get compiled kernels only: the first one that
//! looks up a kernel of the list compiles it.

use super::super::Gpu;
use super::bind_groups::{DUMMY_BYTES, dummies};
use super::program::Program;
use crate::device::lock::{Lock, log_unlocked};
use crate::device::{Commands, Memory, Submit};
use crate::error::DeviceError;
use std::sync::Arc;
use std::thread::ThreadId;

/// The warm-ups in progress, each with its thread and the kernels that it has looked up.
#[derive(Debug, Default)]
pub(super) struct WarmUps(Lock<Vec<(ThreadId, Vec<Arc<Program>>)>>);

impl WarmUps {
    /// Whether the calling thread warms the device up.
    pub(super) fn is_of_this_thread(&self) -> bool {
        let thread = std::thread::current().id();
        self.0.lock().iter().any(|(of, _)| *of == thread)
    }

    /// Adds a kernel to the warm-up of the calling thread. Returns whether there is one.
    pub(super) fn add(&self, program: &Arc<Program>) -> bool {
        let thread = std::thread::current().id();
        let mut running = self.0.lock();
        let Some((_, programs)) = running.iter_mut().find(|(of, _)| *of == thread) else { return false };
        if !programs.iter().any(|known| Arc::ptr_eq(known, program)) {
            programs.push(Arc::clone(program));
        }
        true
    }

    fn take(&self) -> Vec<Arc<Program>> {
        let thread = std::thread::current().id();
        let mut running = self.0.lock();
        let place = running.iter().position(|(of, _)| *of == thread);
        place.map(|place| running.swap_remove(place).1).unwrap_or_default()
    }
}

/// A warm-up of the calling thread. If it is dropped, also during a panic, its kernels are compiled when they are next looked up.
#[derive(Debug)]
#[must_use]
pub(crate) struct WarmingUp<'a> {
    gpu: &'a Gpu,
}

impl Drop for WarmingUp<'_> {
    fn drop(&mut self) {
        drop(self.gpu.kernels.warm_ups.take());
    }
}

impl WarmingUp<'_> {
    /// Compiles the kernels that the thread has looked up, on several threads, and returns their number. On software drivers also
    /// waits for the device.
    ///
    /// # Errors
    /// The error of the first kernel that cannot be compiled. The others are compiled.
    pub(crate) fn finish(self) -> Result<u64, DeviceError> {
        let programs = self.gpu.kernels.warm_ups.take();
        self.gpu.wait_for_thread(|| compile(self.gpu, &programs))?;
        if self.gpu.is_software() {
            // The kernels are compiled in any case.
            if let Err(error) = run_empty(self.gpu, &programs) {
                log_unlocked!(debug, "wgpu-pool: no empty dispatches of the kernels of a warm-up: {error}");
            }
        }
        Ok(programs.len() as u64)
    }
}

impl Gpu {
    /// Whether the calling thread warms the device up.
    pub(crate) fn is_warming_up(&self) -> bool {
        self.kernels.warm_ups.is_of_this_thread()
    }

    /// Starts a warm-up of the calling thread, which has none.
    pub(crate) fn begin_warm_up(&self) -> WarmingUp<'_> {
        self.kernels.warm_ups.0.lock().push((std::thread::current().id(), Vec::new()));
        WarmingUp { gpu: self }
    }
}

/// Dispatches each program over no workgroups, and waits for the device, except in a browser. Mesa's software driver for Vulkan
/// compiles a kernel when it is first dispatched.
fn run_empty(gpu: &Gpu, programs: &[Arc<Program>]) -> Result<(), DeviceError> {
    let Some(most) = programs.iter().map(|program| program.tensors).max() else { return Ok(()) };
    let bytes = DUMMY_BYTES * most.max(1) as u64;
    let buffer = Arc::new(gpu.buffer("wgpu-pool dummies", bytes, wgpu::BufferUsages::STORAGE, false)?);
    let groups = (0..=most).map(|count| dummies(gpu, &buffer, count)).collect::<Result<Vec<_>, _>>()?;
    for program in programs {
        let mut commands = gpu.commands();
        commands.dispatch_nothing(program, &groups[program.tensors], &buffer)?;
        let is_due = commands.due();
        drop(commands);
        if is_due {
            gpu.submit(Submit::Soon)?;
        }
    }
    gpu.wait_blocking()
}

/// Compiles programs, on as many threads as the machine has processors; on GL, which serves one thread at a time, on this one.
#[cfg(not(target_arch = "wasm32"))]
fn compile(gpu: &Gpu, programs: &[Arc<Program>]) -> Result<(), DeviceError> {
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Bytes of a compiling thread's stack, as large as that of a usual main thread.
    const STACK_BYTES: usize = 8 << 20;

    let next = AtomicUsize::new(0);
    let outcomes: Lock<_> = Lock::new(Vec::new());
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(program) = programs.get(number) else { return };
            if let Err(error) = gpu.finish_program(program) {
                outcomes.lock().push((number, error));
            }
        }
    };
    let processors = if gpu.is_gl { 1 } else { std::thread::available_parallelism().map_or(1, usize::from) };
    std::thread::scope(|scope| {
        for _ in 1..processors.min(programs.len()) {
            let builder = std::thread::Builder::new().name("wgpu-pool compiler".into()).stack_size(STACK_BYTES);
            if let Err(error) = builder.spawn_scoped(scope, work) {
                log_unlocked!(debug, "wgpu-pool: no thread for compilation: {error}");
                break;
            }
        }
        work();
    });
    let failed = outcomes.into_inner();
    failed.into_iter().min_by_key(|&(number, _)| number).map_or(Ok(()), |(_, error)| Err(error))
}

/// Compiles programs. A browser compiles them in its own process, and does not wait in these calls.
#[cfg(target_arch = "wasm32")]
fn compile(gpu: &Gpu, programs: &[Arc<Program>]) -> Result<(), DeviceError> {
    let outcomes: Vec<_> = programs.iter().map(|program| gpu.finish_program(program)).collect();
    outcomes.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::{ProgramDescriptor, ProgramKey};
    use super::*;

    const GOOD: &str = "@group(0) @binding(0) var<storage, read_write> values: array<f32>;
        @compute @workgroup_size(1) fn main() { values[0] = 1.0; }";
    const BAD: &str = "@compute @workgroup_size(1) fn main() { unknown(); }";

    fn look_up(gpu: &Gpu, name: &'static str, source: &str) -> Result<Arc<Program>, DeviceError> {
        let key = ProgramKey::Shader {
            shader: name,
            operation: "",
            dtypes: ["f32"; 2],
            shared: false,
            bias: false,
            loads_output: false,
        };
        gpu.cached_program(key, || {
            gpu.program(&ProgramDescriptor {
                label: name,
                source,
                entry: "main",
                tensors: usize::from(source == GOOD),
                parameter_bytes: 0,
                immediates: false,
                zeroes_workgroup_memory: true,
            })
        })
    }

    #[test]
    fn a_kernel_that_cannot_be_compiled_fails_the_warm_up_and_each_later_look_up() -> Result<(), DeviceError> {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let gpu = Gpu::from_device(device, queue);
        let refused = |result: Result<u64, DeviceError>| matches!(result, Err(DeviceError::Validation { message }) if message.contains("unknown"));
        let warming = gpu.begin_warm_up();
        let bad = look_up(&gpu, "bad", BAD)?;
        let good = look_up(&gpu, "good", GOOD)?;
        assert!(good.compiled().is_err(), "not compiled before the end");
        assert!(refused(warming.finish()));
        assert!(bad.compiled().is_err() && good.compiled().is_ok());
        assert!(refused(look_up(&gpu, "bad", BAD).map(|_| 0)));
        assert!(refused(look_up(&gpu, "bad", BAD).map(|_| 0)));
        // In a second warm-up it is looked up twice, and tried once.
        let warming = gpu.begin_warm_up();
        look_up(&gpu, "bad", BAD)?;
        look_up(&gpu, "bad", BAD)?;
        assert!(refused(warming.finish()));
        assert_eq!(gpu.begin_warm_up().finish(), Ok(0));
        assert!(look_up(&gpu, "good", GOOD)?.compiled().is_ok());
        Ok(())
    }

    #[test]
    fn a_warm_up_ends_with_its_guard_and_concerns_its_thread_only() -> Result<(), DeviceError> {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let gpu = Gpu::from_device(device, queue);
        let warming = gpu.begin_warm_up();
        let waiting = look_up(&gpu, "one", GOOD)?;
        assert!(waiting.compiled().is_err());
        #[cfg(not(target_arch = "wasm32"))]
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                assert!(!gpu.kernels.warm_ups.is_of_this_thread());
                look_up(&gpu, "two", GOOD).is_ok_and(|program| program.compiled().is_ok())
                    && look_up(&gpu, "one", GOOD).is_ok_and(|program| program.compiled().is_ok())
            });
            assert!(other.join().expect("no panic"));
        });
        drop(warming);
        assert!(!gpu.kernels.warm_ups.is_of_this_thread());
        assert!(look_up(&gpu, "one", GOOD)?.compiled().is_ok());
        assert!(waiting.compiled().is_ok(), "compiled in place");
        Ok(())
    }
}
