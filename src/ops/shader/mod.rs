//! The shaders, and what the host puts into them: the element type, an operation's expression, operands bound as one.

mod catalog;
#[cfg(test)]
mod epilogue_tests;
#[cfg(test)]
mod tests;

pub(super) use catalog::*;

use crate::device::Gpu;
use crate::device::gpu::{Program, ProgramDescriptor, ProgramKey};
use crate::error::DeviceError;
use crate::tensor::DType;
use std::sync::Arc;

/// One kernel: its WGSL, and what is bound to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shader {
    /// Its name in the cache and in error messages.
    pub(super) name: &'static str,
    pub(super) source: &'static str,
    pub(super) entry: &'static str,
    pub(super) tensors: usize,
    parameter_bytes: u32,
    /// Lines of the source and what takes their place, for kernels of which there are several kinds.
    kind: &'static [[&'static str; 2]],
    /// The statement that an operation's expression takes the place of.
    body: Option<&'static str>,
    /// The operand that may be bound as another one: its declaration and name, and the other's name.
    shared: Option<[&'static str; 3]>,
}

/// A named expression in place of a kernel's own: over `x` in the epilogue of a product, or over `shifted` and `total` in a softmax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) expression: &'static str,
    /// More lines of the kernel and what takes their place.
    pub(super) lines: &'static [[&'static str; 2]],
    /// WGSL functions that the expression calls, over the aliases Real, Bits, Signed and Truth.
    pub(super) functions: &'static [&'static str],
}

/// Its name tells it from others.
impl std::hash::Hash for Operation {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Operation {
    /// An expression that calls functions of `shaders/lib`.
    pub(super) const fn calling(
        name: &'static str,
        expression: &'static str,
        functions: &'static [&'static str],
    ) -> Self {
        Self { name, expression, lines: &[], functions }
    }

    /// Lines in place of some of the kernel's.
    pub(super) const fn of_lines(name: &'static str, lines: &'static [[&'static str; 2]]) -> Self {
        Self { name, expression: "", lines, functions: &[] }
    }
}

/// The bias of `lib/epilogue.wgsl`, and what is done without one.
const BIAS: &str = "@group(0) @binding(3) var<storage, read_write> biases: array<Element>;";
const WITHOUT_BIAS: [[&str; 2]; 3] = [
    [BIAS, ""],
    ["    let at = params.bias_offset + column;", ""],
    ["apply(sum + Value(vec4(biases[at], biases[at + 1u], biases[at + 2u], biases[at + 3u])))", "apply(sum)"],
];

/// How a vec4 is loaded and stored, and what takes its place.
const AS_VEC4: &str = include_str!("../../../shaders/lib/as_vec4.wgsl");
const AS_PAIRS: &str =
    concat!(include_str!("../../../shaders/lib/pairs.wgsl"), include_str!("../../../shaders/lib/as_pairs.wgsl"));
/// Four words as two numbers of 64 bits, and back.
pub(super) const PAIRS: &str = include_str!("../../../shaders/lib/pairs.wgsl");

/// Whether kernels over these dtypes move four elements as two of 64 bits: where that pays, and elements have 32.
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
pub(super) const UPPER_PRODUCT: &str = include_str!("../../../shaders/lib/upper_product.wgsl");
pub(super) const SINE: &str = include_str!("../../../shaders/lib/sine.wgsl");
pub(super) const POWER: &str = include_str!("../../../shaders/lib/power.wgsl");
pub(super) const MODULO: &str = include_str!("../../../shaders/lib/modulo.wgsl");
pub(super) const INTEGER: &str = include_str!("../../../shaders/lib/integer.wgsl");
pub(super) const ERROR_FUNCTION: &str = include_str!("../../../shaders/lib/error_function.wgsl");

/// The kernel as it stands in its file.
pub(super) const AS_IT_IS: Operation = Operation::of_lines("", &[]);

/// What the host makes of a shader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    pub(super) operation: Operation,
    /// The elements' type.
    pub(super) dtype: DType,
    /// That of the elements that are written.
    pub(super) output: DType,
    /// Whether two operands are bound as one.
    pub(super) shared: bool,
    /// Whether a product has a bias, bound last.
    pub(super) bias: bool,
}

impl Variant {
    /// The kernel as it stands in its file, over elements of a dtype.
    pub(super) fn plain(dtype: DType) -> Self {
        Self { operation: AS_IT_IS, dtype, output: dtype, shared: false, bias: false }
    }
}

impl Shader {
    /// A kernel like this one, whose entry point is its name.
    const fn with_source(self, name: &'static str, source: &'static str) -> Self {
        Self { name, source, entry: name, ..self }
    }

    /// The WGSL of a variant, which moves a vec4 as a pair of 64 bits or as it is.
    pub(super) fn wgsl(&self, variant: Variant, in_pairs: bool) -> String {
        let Variant { operation, dtype, output, shared, bias } = variant;
        let mut source = self.source.to_string();
        if in_pairs {
            source = source.replacen(AS_VEC4, AS_PAIRS, 1);
        }
        source = source.replacen("alias Element = f32;", &format!("alias Element = {dtype};"), 1);
        if dtype.number() != dtype || output.number() != output {
            source = source.replacen("alias Number = Element;", "alias Number = f32;", 1);
        }
        if output != dtype {
            source = source.replacen("alias Output = Element;", &format!("alias Output = {output};"), 1);
        }
        for [line, replacement] in self.kind.iter().chain(operation.lines) {
            source = source.replacen(line, replacement, 1);
        }
        if let (Some(body), false) = (self.body, operation.expression.is_empty()) {
            source = source.replacen(body, &format!("return {};", operation.expression), 1);
        }
        if let (Some([declaration, name, other]), true) = (self.shared, shared) {
            source = source.replacen(declaration, "", 1).replace(name, other);
        }
        match (bias, shared) {
            (false, _) => {
                for [line, replacement] in WITHOUT_BIAS {
                    source = source.replacen(line, replacement, 1);
                }
            }
            // The binding before it is left out.
            (true, true) => source = source.replacen(BIAS, &BIAS.replace("(3)", "(2)"), 1),
            (true, false) => {}
        }
        source.extend(operation.functions.iter().copied());
        if [dtype, output].contains(&DType::F16) {
            source.insert_str(0, "enable f16;\n");
        }
        source
    }

    /// The compiled program, from the device's cache or new in it.
    pub(super) fn program(&self, gpu: &Gpu, variant: Variant) -> Result<Arc<Program>, DeviceError> {
        let Variant { dtype, output, shared, bias, .. } = variant;
        gpu.cached_program(self.key(variant), || {
            let in_pairs = moves_pairs(gpu, &[dtype, output]);
            gpu.program(&ProgramDescriptor {
                label: self.name,
                source: &self.wgsl(variant, in_pairs),
                entry: self.entry,
                tensors: self.tensors - usize::from(shared) + usize::from(bias),
                parameter_bytes: self.parameter_bytes,
                immediates: true,
                constants: &[],
            })
        })
    }

    /// The same, if it was compiled before.
    pub(super) fn known_program(&self, gpu: &Gpu, variant: Variant) -> Option<Arc<Program>> {
        gpu.known_program(self.key(variant))
    }

    fn key(&self, Variant { operation, dtype, output, shared, bias }: Variant) -> ProgramKey {
        ProgramKey::Shader {
            shader: self.name,
            operation: operation.name,
            dtypes: [dtype, output].map(DType::name),
            shared,
            bias,
        }
    }
}
