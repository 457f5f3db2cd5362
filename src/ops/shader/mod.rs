//! The shaders in files, and their specialization by the host: dtypes, changed declarations, and operands that share a binding.

mod catalog;
mod convolutions;
#[cfg(test)]
mod epilogue_tests;
#[cfg(test)]
mod fxc;
#[cfg(test)]
mod grammar;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod loop_tests;
mod source;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) mod translate;

pub(super) use catalog::*;
pub(super) use convolutions::*;

use crate::device::Gpu;
use crate::device::gpu::{LARGEST_WORKGROUP, Program, ProgramDescriptor, ProgramKey};
use crate::error::DeviceError;
use crate::tensor::DType;
use source::Source;
use std::sync::Arc;

/// The name of a declaration, and its new body or value.
pub(super) type Edit = [&'static str; 2];

/// One kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shader {
    /// The name in the cache, in errors and in profiles.
    pub(super) name: &'static str,
    /// The files of its WGSL. The host adds the aliases Element and Output, the types of the elements that are read and
    /// written, and Number, the type of arithmetic.
    parts: &'static [&'static str],
    edits: &'static [Edit],
    /// The bindings that the kernel does not have, the last first.
    without: &'static [&'static str],
}

/// A specialization of a kernel: changes to its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Specialization {
    pub(super) name: &'static str,
    /// The result of the function `apply`: an expression of `x` in the epilogue of a product, of `shifted` and `total`
    /// in a softmax.
    expression: Option<&'static str>,
    edits: &'static [Edit],
    /// WGSL functions that are called, over the aliases Real, Bits, Signed and Truth.
    functions: &'static [&'static str],
}

impl Specialization {
    /// Changed declarations.
    pub(super) const fn new(name: &'static str, edits: &'static [Edit]) -> Self {
        Self { name, expression: None, edits, functions: &[] }
    }

    /// Another expression, which calls functions of `shaders/lib`.
    pub(super) const fn applying(
        name: &'static str,
        expression: &'static str,
        functions: &'static [&'static str],
    ) -> Self {
        Self { name, expression: Some(expression), edits: &[], functions }
    }

    /// Adds functions that the changed declarations call.
    pub(super) const fn calling(self, functions: &'static [&'static str]) -> Self {
        Self { functions, ..self }
    }
}

/// The kernel without changes.
pub(super) const AS_IT_IS: Specialization = Specialization::new("", &[]);

#[cfg(test)]
const EPILOGUE: &str = include_str!("../../../shaders/lib/epilogue.wgsl");
#[cfg(test)]
const ACTIVATION: &str = include_str!("../../../shaders/lib/activation.wgsl");
/// The file with loads and stores of a vec4, and its replacement if elements are moved in pairs.
const AS_VEC4: &str = include_str!("../../../shaders/lib/as_vec4.wgsl");
const AS_PAIRS: &str =
    concat!(include_str!("../../../shaders/lib/pairs.wgsl"), include_str!("../../../shaders/lib/as_pairs.wgsl"));
/// Four words as two numbers of 64 bits, and back.
pub(super) const PAIRS: &str = include_str!("../../../shaders/lib/pairs.wgsl");

/// Returns whether kernels over these dtypes move four 32-bit elements as two of 64 bits, where this is faster.
pub(super) fn moves_pairs(gpu: &Gpu, dtypes: &[DType]) -> bool {
    gpu.moves_pairs() && dtypes.iter().all(|dtype| dtype.bytes() == 4)
}

/// Functions that the expressions of operations call.
pub(super) const NUMBER: &str = include_str!("../../../shaders/lib/number.wgsl");
pub(super) const EXPONENTIAL: &str = include_str!("../../../shaders/lib/exponential.wgsl");
pub(super) const LOGARITHM: &str = include_str!("../../../shaders/lib/logarithm.wgsl");
pub(super) const CONVERT: &str = include_str!("../../../shaders/lib/convert.wgsl");
pub(super) const DIVIDED: &str = include_str!("../../../shaders/lib/divided.wgsl");
pub(super) const QUOTIENT: &str = include_str!("../../../shaders/lib/quotient.wgsl");
pub(super) const DISTANCE: &str = include_str!("../../../shaders/lib/distance.wgsl");
pub(super) const DEVIATION: &str = include_str!("../../../shaders/lib/deviation.wgsl");
pub(super) const UPPER_PRODUCT: &str = include_str!("../../../shaders/lib/upper_product.wgsl");
pub(super) const SINE: &str = include_str!("../../../shaders/lib/sine.wgsl");
pub(super) const POWER: &str = include_str!("../../../shaders/lib/power.wgsl");
pub(super) const MODULO: &str = include_str!("../../../shaders/lib/modulo.wgsl");
pub(super) const INTEGER: &str = include_str!("../../../shaders/lib/integer.wgsl");
pub(super) const ERROR_FUNCTION: &str = include_str!("../../../shaders/lib/error_function.wgsl");

/// A variant of a shader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    pub(super) operation: Specialization,
    /// The elements' type.
    pub(super) dtype: DType,
    /// That of the elements that are written.
    pub(super) output: DType,
    /// Whether two operands are bound as one.
    pub(super) shared: bool,
    /// Whether a product has a bias, bound last.
    pub(super) bias: bool,
    /// Whether a product in tiles of vec4s may add the previous output, and therefore loads it. True for all other kernels.
    pub(super) loads_output: bool,
}

impl Variant {
    /// The kernel as it stands in its file, over elements of a dtype.
    pub(super) fn plain(dtype: DType) -> Self {
        Self { operation: AS_IT_IS, dtype, output: dtype, shared: false, bias: false, loads_output: true }
    }
}

/// Properties of a device on which the text of a kernel depends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// Whether a vec4 is moved as a pair of 64-bit integers.
    in_pairs: bool,
    /// The number of invocations in a workgroup, where the kernel's is variable.
    workgroup_size: u32,
}

#[cfg(test)]
impl Target {
    const USUAL: Self = Self { in_pairs: false, workgroup_size: LARGEST_WORKGROUP };
}

/// The interface of a program, as declared in its text.
struct Interface {
    entry: String,
    tensors: usize,
    parameter_bytes: u32,
}

impl Shader {
    const fn new(name: &'static str, parts: &'static [&'static str]) -> Self {
        Self { name, parts, edits: &[], without: &[] }
    }

    const fn edited(self, edits: &'static [Edit]) -> Self {
        Self { edits, ..self }
    }

    const fn without(self, without: &'static [&'static str]) -> Self {
        Self { without, ..self }
    }

    /// Returns the WGSL of a variant for a device.
    ///
    /// # Errors
    /// [`DeviceError::Validation`] if a declaration that is to be changed does not exist.
    pub(super) fn wgsl(&self, variant: Variant, target: Target) -> Result<String, DeviceError> {
        let Target { in_pairs, workgroup_size } = target;
        let Variant { operation, dtype, output, shared, bias, loads_output } = variant;
        let parts = self.parts.iter().map(|&part| if in_pairs && part == AS_VEC4 { AS_PAIRS } else { part });
        let mut source = Source::new(self.name, parts.chain(operation.functions.iter().copied()).collect());
        for [name, value] in self.edits.iter().chain(operation.edits) {
            source.set(name, value)?;
        }
        for name in self.without {
            source.unbind(name)?;
        }
        if workgroup_size < LARGEST_WORKGROUP && source.declares("WORKGROUP") {
            source.set("WORKGROUP", &format!("{workgroup_size}u"))?;
        }
        if let Some(expression) = operation.expression {
            source.set("apply", &format!("return {expression};"))?;
        }
        if !bias && source.declares("biases") {
            source.unbind("biases")?;
            source.set("finished", "return apply(sum);")?;
        }
        if !loads_output {
            source.set("LOADS_OUTPUT", "false")?;
        }
        if shared {
            source.unbind("right")?;
            source.set("right_at", "return left[at];")?;
        }
        let is_half = [dtype, output].contains(&DType::F16);
        let number = if is_half { DType::F32 } else { dtype };
        let enable = if is_half { "enable f16;\n" } else { "" };
        let aliases = format!("alias Element = {dtype};\nalias Number = {number};\nalias Output = {output};\n");
        Ok([enable, &source.text(), &aliases].concat())
    }

    /// Returns the entry point of a kernel, the only one or that with the kernel's name, and its bindings.
    fn interface(&self, wgsl: &str) -> Result<Interface, DeviceError> {
        let invalid =
            |problem: String| DeviceError::Validation { message: format!("the shader {}: {problem}", self.name) };
        let module = naga::front::wgsl::parse_str(wgsl).map_err(|error| invalid(error.emit_to_string(wgsl)))?;
        let entries = &module.entry_points;
        let named = entries.iter().find(|entry| entries.len() == 1 || entry.name == self.name);
        let entry = named.ok_or_else(|| invalid("it has no entry point of its name".into()))?.name.clone();
        let variables = || module.global_variables.iter().map(|(_, variable)| variable);
        let tensors = variables().filter(|variable| variable.binding.is_some_and(|binding| binding.group == 0)).count();
        let parameters = variables().find(|variable| variable.space == naga::AddressSpace::Uniform);
        let parameter_bytes = parameters.map_or(0, |variable| module.types[variable.ty].inner.size(module.to_ctx()));
        Ok(Interface { entry, tensors, parameter_bytes })
    }

    /// Returns the compiled program from the device's cache; compiles it if necessary.
    pub(super) fn program(&self, gpu: &Gpu, variant: Variant) -> Result<Arc<Program>, DeviceError> {
        gpu.cached_program(self.key(variant), || {
            let in_pairs = moves_pairs(gpu, &[variant.dtype, variant.output]);
            let source = self.wgsl(variant, Target { in_pairs, workgroup_size: gpu.workgroup_size() })?;
            #[cfg(test)]
            let source = super::launch::lowered::limited(source);
            let Interface { entry, tensors, parameter_bytes } = self.interface(&source)?;
            gpu.program(&ProgramDescriptor {
                label: self.name,
                source: &source,
                entry: &entry,
                tensors,
                parameter_bytes,
                immediates: true,
                zeroes_workgroup_memory: false,
            })
        })
    }

    /// Returns the compiled program if it is in the cache.
    pub(super) fn known_program(&self, gpu: &Gpu, variant: Variant) -> Option<Arc<Program>> {
        gpu.known_program(self.key(variant))
    }

    fn key(&self, Variant { operation, dtype, output, shared, bias, loads_output }: Variant) -> ProgramKey {
        #[cfg(test)]
        super::launch::lowered::note(self.parts.iter().copied());
        ProgramKey::Shader {
            shader: self.name,
            operation: operation.name,
            dtypes: [dtype, output].map(DType::name),
            shared,
            bias,
            loads_output,
        }
    }
}
