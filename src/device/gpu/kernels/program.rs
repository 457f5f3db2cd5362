//! Compiled kernels: a pipeline and the layout of its bindings.

use super::super::super::context::InContext;
use super::super::Gpu;
use super::super::verdict::Verdict;
use super::cache::Cache;
use super::parameters::SLOT_BYTES;
use crate::device::CacheUse;
use crate::device::lock::{Lock, rank};
use crate::error::DeviceError;
use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The declaration of a shader's parameters. On devices with immediates it is replaced by [`IMMEDIATE`].
const UNIFORM: &str = "@group(1) @binding(0) var<uniform> params";
const IMMEDIATE: &str = "var<immediate> params";

/// The input of a compilation. Tensors are bound at group 0, from binding 0 on, all `read_write`; parameters at group
/// 1, binding 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProgramDescriptor<'a> {
    pub(crate) label: &'a str,
    pub(crate) source: &'a str,
    pub(crate) entry: &'a str,
    /// Number of tensors.
    pub(crate) tensors: usize,
    /// Bytes of the parameters; 0 if the kernel has none.
    pub(crate) parameter_bytes: u32,
    /// Whether the parameters may be passed as immediates, where the device supports them.
    pub(crate) immediates: bool,
    /// Whether workgroup memory is 0 when the kernel begins, as WGSL says. Not needed for a kernel that writes all of it
    /// before reading. On Mesa's GL the statement that zeroes 4 KiB takes 10 to 30 s to compile.
    pub(crate) zeroes_workgroup_memory: bool,
}

impl ProgramDescriptor<'_> {
    fn to_text(self) -> Text {
        let Self { label, source, entry, tensors, parameter_bytes, immediates, zeroes_workgroup_memory } = self;
        let [label, source, entry] = [label, source, entry].map(Box::from);
        Text { label, source, entry, tensors, parameter_bytes, immediates, zeroes_workgroup_memory }
    }
}

/// The contents of a [`ProgramDescriptor`], owned, for a compilation at a later time.
#[derive(Debug)]
struct Text {
    label: Box<str>,
    source: Box<str>,
    entry: Box<str>,
    tensors: usize,
    parameter_bytes: u32,
    immediates: bool,
    zeroes_workgroup_memory: bool,
}

impl Text {
    fn descriptor(&self) -> ProgramDescriptor<'_> {
        let &Self { ref label, ref source, ref entry, tensors, parameter_bytes, immediates, zeroes_workgroup_memory } =
            self;
        ProgramDescriptor { label, source, entry, tensors, parameter_bytes, immediates, zeroes_workgroup_memory }
    }
}

/// A kernel. Compiled, except between a look-up in a warm-up and the end of the warm-up.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) number: u64,
    /// The kernel's name in profiles.
    pub(crate) name: Arc<str>,
    /// Number of tensors.
    pub(crate) tensors: usize,
    pub(crate) parameter_bytes: u32,
    compiled: OnceLock<Compiled>,
    /// The parts that are compiled later. On GL, the context comes before this lock.
    text: Lock<Option<Text>, rank::Compilation>,
}

/// The result of a compilation.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) pipeline: InContext<wgpu::ComputePipeline>,
    pub(crate) passing: Passing,
    /// On the shader and on the pipeline.
    pub(in super::super) verdicts: [Verdict; 2],
}

impl Program {
    fn new(descriptor: &ProgramDescriptor<'_>, compiled: OnceLock<Compiled>, text: Option<Text>) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            name: descriptor.label.into(),
            tensors: descriptor.tensors,
            parameter_bytes: descriptor.parameter_bytes,
            compiled,
            text: Lock::new(text),
        }
    }

    /// Returns the result of the compilation.
    ///
    /// # Errors
    /// [`DeviceError::Validation`] if the kernel was looked up in a warm-up and then could not be compiled.
    #[inline]
    pub(crate) fn compiled(&self) -> Result<&Compiled, DeviceError> {
        self.compiled.get().ok_or_else(|| DeviceError::Validation {
            message: format!("the kernel {} was looked up in a warm-up and is not compiled", self.name),
        })
    }

    /// Checks the size of the parameters of a dispatch against what the kernel declares.
    ///
    /// # Errors
    /// [`DeviceError::Validation`] of another size.
    pub(crate) fn check_parameters(&self, parameters: &[u8]) -> Result<(), DeviceError> {
        if parameters.len() as u64 == u64::from(self.parameter_bytes) {
            return Ok(());
        }
        let (name, given, wanted) = (&self.name, parameters.len(), self.parameter_bytes);
        let message = format!("{given} B of parameters for the kernel {name}, which declares {wanted}");
        Err(DeviceError::Validation { message })
    }
}

/// The cache key of one of the crate's own kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ProgramKey {
    /// A kernel that has a file of its own.
    Shader {
        shader: &'static str,
        operation: &'static str,
        /// The dtypes of the input elements and of the output elements.
        dtypes: [&'static str; 2],
        /// Whether one binding serves two operands.
        shared: bool,
        /// Whether the bias of a matrix product is bound, too.
        bias: bool,
        /// Whether a matrix product in tiles of vec4s loads the previous output.
        loads_output: bool,
    },
    /// A single elementwise operation.
    Operation {
        /// The address of the static that declares the operation.
        address: usize,
        /// A number for the dtypes and layouts of the operands.
        variant: u64,
    },
}

/// The computation of a fused expression. The cache compares whole structures, so that a hash collision cannot return a
/// wrong kernel.
pub(crate) trait Structure: Any + fmt::Debug + Send + Sync {
    /// Returns the precomputed hash of the structure.
    fn hash(&self) -> u64;

    /// Returns whether the structures are equal.
    fn equals(&self, other: &dyn Structure) -> bool;
}

/// The cache key of a fused expression's kernel.
#[derive(Clone, Debug)]
pub(crate) struct ExpressionKey {
    pub(crate) structure: Arc<dyn Structure>,
    /// A number for the dtypes and layouts of the operands.
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

/// The capacity of each of the two program caches. The training examples use fewer than a hundred programs. On Mesa's
/// software driver a program takes about 400 KiB.
const CAPACITY: usize = 512;

/// The compiled programs, up to [`CAPACITY`] of each kind. A program that is evicted while in use lives until its users
/// drop it.
#[derive(Debug)]
pub(crate) struct Programs {
    own: Lock<Cache<ProgramKey, Arc<Program>>>,
    expressions: Lock<Cache<ExpressionKey, Arc<Program>>>,
}

impl Default for Programs {
    fn default() -> Self {
        Self { own: Lock::new(Cache::new(CAPACITY)), expressions: Lock::new(Cache::new(CAPACITY)) }
    }
}

impl Programs {
    /// Returns the usage of the caches.
    pub(crate) fn usage(&self) -> Vec<CacheUse> {
        let own = self.own.lock().usage("pipelines");
        vec![own, self.expressions.lock().usage("pipelines of expressions")]
    }

    /// Empties the caches.
    pub(crate) fn clear(&self) {
        let own = self.own.lock().take_all();
        let expressions = self.expressions.lock().take_all();
        // Dropped without a lock, because dropping frees the driver's compiled code.
        drop((own, expressions));
    }
}

/// Returns the program for a key; calls `build` if the cache has none. Two threads may compile the same program at the
/// same time; one result is kept.
fn cached<K: Hash + Eq>(
    cache: &Lock<Cache<K, Arc<Program>>>,
    key: K,
    build: impl FnOnce() -> Result<Program, DeviceError>,
) -> Result<Arc<Program>, DeviceError> {
    if let Some(program) = cache.lock().get(&key) {
        return Ok(Arc::clone(program));
    }
    let program = Arc::new(build()?);
    let evicted = cache.lock().insert(key, Arc::clone(&program));
    drop(evicted);
    Ok(program)
}

/// The way in which parameters are passed to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passing {
    None,
    Immediates,
    Uniform,
}

impl Gpu {
    /// Compiles a kernel. May take milliseconds; holds no lock. In a warm-up of this thread the kernel is compiled at its end.
    ///
    /// # Errors
    /// [`DeviceError::Validation`] with naga's message when the shader or its bindings are wrong.
    pub(crate) fn program(&self, descriptor: &ProgramDescriptor<'_>) -> Result<Program, DeviceError> {
        self.check()?;
        if u64::from(descriptor.parameter_bytes) > SLOT_BYTES {
            let message =
                format!("the kernel has {} B of parameters, and the limit is {SLOT_BYTES}", descriptor.parameter_bytes);
            return Err(DeviceError::Validation { message });
        }
        // Checked before the bind-group layout is created: an invalid layout would stay in the cache.
        let limit = self.kernels.storage_buffers;
        if descriptor.tensors > limit as usize {
            return Err(DeviceError::TooManyBindings { tensors: descriptor.tensors, limit });
        }
        if self.kernels.warm_ups.is_of_this_thread() {
            return Ok(Program::new(descriptor, OnceLock::new(), Some(descriptor.to_text())));
        }
        let compiled = self.compile(descriptor)?;
        Ok(Program::new(descriptor, compiled.into(), None))
    }

    /// Compiles a program of a warm-up, unless that is done. Another thread that does so is waited for.
    ///
    /// # Errors
    /// As [`Gpu::program`], each time.
    pub(super) fn finish_program(&self, program: &Program) -> Result<(), DeviceError> {
        let _context = self.checked.context().lock();
        let mut text = program.text.lock();
        if let Some(waiting) = &*text {
            self.check()?;
            let compiled = self.compile(&waiting.descriptor())?;
            program.compiled.get_or_init(|| compiled);
            *text = None;
        }
        Ok(())
    }

    /// Makes sure that a program is compiled when it is used: at the end of the warm-up of this thread, or now.
    #[inline]
    fn ready(&self, program: Arc<Program>) -> Result<Arc<Program>, DeviceError> {
        if program.compiled.get().is_none() {
            self.prepare(&program)?;
        }
        Ok(program)
    }

    #[cold]
    fn prepare(&self, program: &Arc<Program>) -> Result<(), DeviceError> {
        if self.kernels.warm_ups.add(program) { Ok(()) } else { self.finish_program(program) }
    }

    fn compile(&self, descriptor: &ProgramDescriptor<'_>) -> Result<Compiled, DeviceError> {
        let passing = self.passing(descriptor);
        let compiled = self.compile_with(descriptor, passing);
        if compiled.is_err() && passing == Passing::Immediates {
            // The text that was replaced may have been in a comment.
            return self.compile_with(descriptor, Passing::Uniform);
        }
        compiled
    }

    fn compile_with(&self, descriptor: &ProgramDescriptor<'_>, passing: Passing) -> Result<Compiled, DeviceError> {
        let source = match passing {
            Passing::Immediates => Cow::from(descriptor.source.replacen(UNIFORM, IMMEDIATE, 1)),
            Passing::None | Passing::Uniform => Cow::from(descriptor.source),
        };
        let (pipeline, verdicts) = self.pipeline(descriptor, source, passing).map_err(|error| self.loss_or(error))?;
        // wgpu does not report that a pipeline is invalid because the device is lost.
        self.submission.check_for_loss();
        self.check()?;
        Ok(Compiled { pipeline, passing, verdicts })
    }

    /// Returns the program for a key if the cache has it and it is compiled.
    pub(crate) fn known_program(&self, key: ProgramKey) -> Option<Arc<Program>> {
        let program = self.kernels.programs.own.lock().get(&key).cloned()?;
        program.compiled.get().is_some().then_some(program)
    }

    /// Returns the program for a key; calls `build` if the cache has none.
    pub(crate) fn cached_program(
        &self,
        key: ProgramKey,
        build: impl FnOnce() -> Result<Program, DeviceError>,
    ) -> Result<Arc<Program>, DeviceError> {
        self.ready(cached(&self.kernels.programs.own, key, build)?)
    }

    /// Returns the program of a fused expression; calls `build` if the cache has none.
    pub(crate) fn expression_program(
        &self,
        key: ExpressionKey,
        build: impl FnOnce() -> Result<Program, DeviceError>,
    ) -> Result<Arc<Program>, DeviceError> {
        self.ready(cached(&self.kernels.programs.expressions, key, build)?)
    }

    fn passing(&self, descriptor: &ProgramDescriptor<'_>) -> Passing {
        if descriptor.parameter_bytes == 0 {
            Passing::None
        } else if descriptor.immediates
            && descriptor.parameter_bytes <= self.kernels.immediate_bytes
            && descriptor.source.contains(UNIFORM)
        {
            Passing::Immediates
        } else {
            Passing::Uniform
        }
    }

    fn pipeline(
        &self,
        descriptor: &ProgramDescriptor<'_>,
        source: Cow<'_, str>,
        passing: Passing,
    ) -> Result<(InContext<wgpu::ComputePipeline>, [Verdict; 2]), DeviceError> {
        let module =
            wgpu::ShaderModuleDescriptor { label: Some(descriptor.label), source: wgpu::ShaderSource::Wgsl(source) };
        let (module, verdict) = self.checked.shader_module(module)?;
        let tensors = self.kernels.layouts.tensors(&self.checked, descriptor.tensors)?;
        let parameters = self.kernels.layouts.parameters(&self.checked)?;
        let groups: &[Option<&wgpu::BindGroupLayout>] = match passing {
            Passing::Uniform => &[Some(&tensors), Some(&parameters)],
            Passing::None | Passing::Immediates => &[Some(&tensors)],
        };
        let layout = wgpu::PipelineLayoutDescriptor {
            label: Some(descriptor.label),
            bind_group_layouts: groups,
            immediate_size: if passing == Passing::Immediates { descriptor.parameter_bytes } else { 0 },
        };
        let layout = self.checked.pipeline_layout(&layout)?;
        let cache = self.kernels.pipeline_cache.lock().clone();
        let pipeline = wgpu::ComputePipelineDescriptor {
            label: Some(descriptor.label),
            layout: Some(&layout),
            module: &module,
            entry_point: Some(descriptor.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: descriptor.zeroes_workgroup_memory,
                ..Default::default()
            },
            cache: cache.as_deref().map(|cache| &**cache),
        };
        self.checked.pipeline(&pipeline, verdict)
    }
}
