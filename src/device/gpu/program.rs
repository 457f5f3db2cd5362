//! A compiled kernel: a pipeline, and what has to be bound to it.

use super::super::CacheUse;
use super::cache::Cache;
use super::parameters::SLOT_BYTES;
use super::{Gpu, checked, lock};
use crate::error::DeviceError;
use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// How a shader declares its parameters; where the device has immediates, this becomes [`IMMEDIATE`].
const UNIFORM: &str = "@group(1) @binding(0) var<uniform> params";
const IMMEDIATE: &str = "var<immediate> params";

/// What to compile. Tensors are bound at group 0, from binding 0 on, all `read_write`; parameters at group 1, binding 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProgramDescriptor<'a> {
    pub(crate) label: &'a str,
    pub(crate) source: &'a str,
    pub(crate) entry: &'a str,
    /// Number of tensors.
    pub(crate) tensors: usize,
    /// Bytes of the parameters; 0 for none.
    pub(crate) parameter_bytes: u32,
    /// Whether they may come as immediates, where the device has them.
    pub(crate) immediates: bool,
    /// Values for the shader's `override` constants.
    pub(crate) constants: &'a [(&'a str, f64)],
}

#[derive(Debug)]
pub(crate) struct Program {
    pub(super) number: u64,
    /// What profiles call it.
    pub(super) name: Arc<str>,
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) passing: Passing,
}

/// What a program is found again by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ProgramKey {
    pub(crate) shader: &'static str,
    pub(crate) operation: &'static str,
    /// Of the elements that it reads, and of those that it writes.
    pub(crate) dtypes: [&'static str; 2],
    /// How it walks over its operands.
    pub(crate) form: &'static str,
    /// Whether two operands are bound as one.
    pub(crate) shared: bool,
    /// Whether one more is bound, the bias of a product.
    pub(crate) bias: bool,
}

/// What the kernel of an expression computes. Structures are compared as a whole, so that no two share a kernel by chance.
pub(crate) trait Structure: Any + fmt::Debug + Send + Sync {
    /// A hash of the structure, kept with it.
    fn hash(&self) -> u64;

    /// Whether the other one is equal.
    fn equals(&self, other: &dyn Structure) -> bool;
}

/// What the program of an expression is found again by.
#[derive(Clone, Debug)]
pub(crate) struct ExpressionKey {
    pub(crate) structure: Arc<dyn Structure>,
    /// Dtypes, and how the operands lie.
    pub(crate) variant: u64,
}

impl PartialEq for ExpressionKey {
    fn eq(&self, other: &Self) -> bool {
        let is_same = || Arc::ptr_eq(&self.structure, &other.structure);
        self.variant == other.variant && (is_same() || self.structure.equals(&*other.structure))
    }
}

impl Eq for ExpressionKey {}

impl Hash for ExpressionKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.structure.hash());
        state.write_u64(self.variant);
    }
}

/// Compiled programs that are kept, of the crate's own kernels and of expressions each. The training examples use fewer than a
/// hundred. On Mesa's software driver a program takes about 400 KiB.
const CAPACITY: usize = 512;

/// Programs that were compiled, up to [`CAPACITY`] of each kind. A program that is evicted while it is in use lives until its users
/// drop it.
#[derive(Debug)]
pub(super) struct Programs {
    own: Mutex<Cache<ProgramKey, Arc<Program>>>,
    expressions: Mutex<Cache<ExpressionKey, Arc<Program>>>,
}

impl Default for Programs {
    fn default() -> Self {
        Self { own: Mutex::new(Cache::new(CAPACITY)), expressions: Mutex::new(Cache::new(CAPACITY)) }
    }
}

impl Programs {
    /// How full the caches are.
    pub(super) fn usage(&self) -> Vec<CacheUse> {
        vec![lock(&self.own).usage("pipelines"), lock(&self.expressions).usage("pipelines of expressions")]
    }

    /// Empties the caches.
    pub(super) fn clear(&self) {
        let own = lock(&self.own).take_all();
        let expressions = lock(&self.expressions).take_all();
        // Under no lock: this frees what the driver compiled.
        drop((own, expressions));
    }
}

/// The program for a key, compiled by `build` if the cache has none. Two threads may both compile it then; one of the results is
/// kept.
fn cached<K: Hash + Eq>(
    cache: &Mutex<Cache<K, Arc<Program>>>,
    key: K,
    build: impl FnOnce() -> Result<Program, DeviceError>,
) -> Result<Arc<Program>, DeviceError> {
    if let Some(program) = lock(cache).get(&key) {
        return Ok(Arc::clone(program));
    }
    let program = Arc::new(build()?);
    let evicted = lock(cache).insert(key, Arc::clone(&program));
    drop(evicted);
    Ok(program)
}

/// How parameters reach the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passing {
    None,
    Immediates,
    Uniform,
}

impl Gpu {
    /// Compiles a kernel. May take milliseconds; holds no lock.
    ///
    /// # Errors
    /// [`DeviceError::Validation`] with naga's message when the shader or its bindings are wrong.
    pub(crate) fn program(&self, wanted: &ProgramDescriptor<'_>) -> Result<Program, DeviceError> {
        self.check()?;
        if u64::from(wanted.parameter_bytes) > SLOT_BYTES {
            let message = format!("{} bytes of parameters are above {SLOT_BYTES}", wanted.parameter_bytes);
            return Err(DeviceError::Validation { message });
        }
        // Before the layout of so many is made: it would be invalid, and found again by the next kernel of as many.
        let limit = self.device.limits().max_storage_buffers_per_shader_stage;
        if wanted.tensors > limit as usize {
            return Err(DeviceError::TooManyBindings { tensors: wanted.tensors, limit });
        }
        let passing = self.passing(wanted);
        let compiled = self.compile(wanted, passing);
        if compiled.is_err() && passing == Passing::Immediates {
            // What looked like the declaration may have been a comment.
            return self.compile(wanted, Passing::Uniform);
        }
        compiled
    }

    fn compile(&self, wanted: &ProgramDescriptor<'_>, passing: Passing) -> Result<Program, DeviceError> {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let source = match passing {
            Passing::Immediates => Cow::from(wanted.source.replacen(UNIFORM, IMMEDIATE, 1)),
            Passing::None | Passing::Uniform => Cow::from(wanted.source),
        };
        let pipeline = self.pipeline(wanted, source, passing).map_err(|error| self.loss_or(error))?;
        // wgpu does not say that a pipeline is invalid because the device is lost.
        self.submission.notice_loss();
        self.check()?;
        Ok(Program { number: NUMBERS.fetch_add(1, Ordering::Relaxed), name: wanted.label.into(), pipeline, passing })
    }

    /// The program for a key, if it was compiled before.
    pub(crate) fn known_program(&self, key: ProgramKey) -> Option<Arc<Program>> {
        lock(&self.programs.own).get(&key).cloned()
    }

    /// The program for a key, compiled by `build` if it isn't kept.
    pub(crate) fn cached_program(
        &self,
        key: ProgramKey,
        build: impl FnOnce() -> Result<Program, DeviceError>,
    ) -> Result<Arc<Program>, DeviceError> {
        cached(&self.programs.own, key, build)
    }

    /// The program of an expression, compiled if it isn't kept. `write` gives its WGSL, the number of its tensors and the words of its
    /// parameters.
    pub(crate) fn expression_program(
        &self,
        key: ExpressionKey,
        write: impl FnOnce() -> (String, usize, usize),
    ) -> Result<Arc<Program>, DeviceError> {
        cached(&self.programs.expressions, key, || {
            let (source, tensors, words) = write();
            let parameter_bytes = u32::try_from(words * 4).expect("no more than fit a slot of parameters");
            self.program(&ProgramDescriptor {
                label: "fused",
                source: &source,
                entry: "fused",
                tensors,
                parameter_bytes,
                immediates: true,
                constants: &[],
            })
        })
    }

    fn passing(&self, wanted: &ProgramDescriptor<'_>) -> Passing {
        if wanted.parameter_bytes == 0 {
            Passing::None
        } else if wanted.immediates && wanted.parameter_bytes <= self.immediate_bytes && wanted.source.contains(UNIFORM)
        {
            Passing::Immediates
        } else {
            Passing::Uniform
        }
    }

    fn pipeline(
        &self,
        wanted: &ProgramDescriptor<'_>,
        source: Cow<'_, str>,
        passing: Passing,
    ) -> Result<wgpu::ComputePipeline, DeviceError> {
        let module =
            wgpu::ShaderModuleDescriptor { label: Some(wanted.label), source: wgpu::ShaderSource::Wgsl(source) };
        let module = checked::shader_module(&self.device, module)?;
        let tensors = self.layouts.tensors(&self.device, wanted.tensors)?;
        let parameters = self.layouts.parameters(&self.device)?;
        let groups: &[Option<&wgpu::BindGroupLayout>] = match passing {
            Passing::Uniform => &[Some(&tensors), Some(&parameters)],
            Passing::None | Passing::Immediates => &[Some(&tensors)],
        };
        let layout = wgpu::PipelineLayoutDescriptor {
            label: Some(wanted.label),
            bind_group_layouts: groups,
            immediate_size: if passing == Passing::Immediates { wanted.parameter_bytes } else { 0 },
        };
        let layout = checked::pipeline_layout(&self.device, &layout)?;
        let pipeline = wgpu::ComputePipelineDescriptor {
            label: Some(wanted.label),
            layout: Some(&layout),
            module: &module,
            entry_point: Some(wanted.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: wanted.constants,
                // Every kernel writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: true,
            },
            cache: None,
        };
        checked::pipeline(&self.device, &pipeline)
    }
}
