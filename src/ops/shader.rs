//! The shaders, and what the host puts into them: the element type, an operation's expression, operands bound as one.

use super::form::Form;
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
    /// Bytes of its parameters; those of an elementwise kernel are its form's.
    parameter_bytes: Option<u32>,
    /// Lines of the source and what takes their place, for kernels of which there are several kinds.
    kind: &'static [[&'static str; 2]],
    /// The statement that an operation's expression takes the place of.
    body: Option<&'static str>,
    /// The operand that may be bound as another one: its declaration and name, and the other's name.
    shared: Option<[&'static str; 3]>,
}

macro_rules! source {
    ($file:literal) => {
        include_str!(concat!("../../shaders/", $file))
    };
}

macro_rules! reduction {
    ($file:literal) => {
        concat!(source!("lib/reduce.wgsl"), source!($file))
    };
}

macro_rules! over_rows {
    ($file:literal) => {
        concat!(source!("lib/row.wgsl"), source!($file))
    };
}

const MATRIX_AS_LEFT: [&str; 3] =
    ["@group(0) @binding(2) var<storage, read_write> right: array<Element>;\n", "right[", "left["];
const KEPT_AS_LEFT: [&str; 3] =
    ["@group(0) @binding(2) var<storage, read_write> right: array<Kept>;\n", "right[", "left["];
const RIGHT_AS_LEFT: [&str; 3] =
    ["@group(0) @binding(2) var<storage, read_write> right: array<Value>;\n", "right[", "left["];
const LEFT_AS_OUTPUT: [&str; 3] =
    ["@group(0) @binding(1) var<storage, read_write> left: array<Value>;\n", "left[", "output["];

const ELEMENTWISE: Shader =
    Shader { name: "", source: "", entry: "", tensors: 2, parameter_bytes: None, kind: &[], body: None, shared: None };

pub(super) const FILL: Shader =
    Shader { name: "fill", source: source!("fill.wgsl"), entry: "fill", tensors: 1, ..ELEMENTWISE };
pub(super) const COPY: Shader = Shader { name: "copy", source: source!("copy.wgsl"), entry: "copy", ..ELEMENTWISE };
pub(super) const COPY_TURNED: Shader = Shader {
    name: "copy_turned",
    source: source!("copy_turned.wgsl"),
    entry: "copy_turned",
    parameter_bytes: Some(80),
    ..ELEMENTWISE
};
pub(super) const UNARY: Shader =
    Shader { name: "unary", source: source!("unary.wgsl"), entry: "unary", body: Some("return -x;"), ..ELEMENTWISE };
pub(super) const BINARY: Shader = Shader {
    name: "binary",
    source: source!("binary.wgsl"),
    entry: "binary",
    tensors: 3,
    body: Some("return x + y;"),
    shared: Some(RIGHT_AS_LEFT),
    ..ELEMENTWISE
};
pub(super) const BINARY_SCALAR: Shader = Shader {
    name: "binary_scalar",
    source: source!("binary_scalar.wgsl"),
    entry: "binary_scalar",
    body: Some("return x + y;"),
    ..ELEMENTWISE
};
pub(super) const ADD_SCALED: Shader = Shader {
    name: "add_scaled",
    source: source!("add_scaled.wgsl"),
    entry: "add_scaled",
    shared: Some(LEFT_AS_OUTPUT),
    ..ELEMENTWISE
};
pub(super) const REDUCE_PART: Shader = Shader {
    name: "reduce_part",
    source: reduction!("reduce_part.wgsl"),
    entry: "reduce_part",
    tensors: 2,
    parameter_bytes: Some(80),
    kind: &[],
    body: None,
    shared: None,
};
pub(super) const REDUCE_FEW: Shader =
    Shader { name: "reduce_few", source: reduction!("reduce_few.wgsl"), entry: "reduce_few", ..REDUCE_PART };
pub(super) const REDUCE_ROW: Shader =
    Shader { name: "reduce_row", source: reduction!("reduce_row.wgsl"), entry: "reduce_row", ..REDUCE_PART };
pub(super) const REDUCE_SHORT_ROW: Shader = Shader {
    name: "reduce_short_row",
    source: reduction!("reduce_short_row.wgsl"),
    entry: "reduce_short_row",
    ..REDUCE_PART
};
pub(super) const REDUCE_COLUMNS: Shader = Shader {
    name: "reduce_columns",
    source: reduction!("reduce_columns.wgsl"),
    entry: "reduce_columns",
    ..REDUCE_PART
};
pub(super) const SOFTMAX: Shader = Shader {
    name: "softmax",
    source: over_rows!("softmax.wgsl"),
    entry: "softmax",
    tensors: 2,
    parameter_bytes: Some(28),
    kind: &[],
    body: Some("return exp(shifted) / total;"),
    shared: None,
};
pub(super) const SOFTMAX_LONG: Shader =
    Shader { name: "softmax_long", source: over_rows!("softmax_long.wgsl"), entry: "softmax_long", ..SOFTMAX };
pub(super) const NORMALIZE: Shader = Shader {
    name: "normalize",
    source: over_rows!("normalize.wgsl"),
    entry: "normalize",
    tensors: 4,
    body: Some("return sum_of_all(components(sum), local) * params.scale;"),
    ..SOFTMAX
};
pub(super) const NORMALIZE_LONG: Shader =
    Shader { name: "normalize_long", source: over_rows!("normalize_long.wgsl"), entry: "normalize_long", ..NORMALIZE };
pub(super) const MATMUL: Shader = Shader {
    name: "matmul",
    source: include_str!("../../shaders/matmul.wgsl"),
    entry: "matmul",
    tensors: 3,
    parameter_bytes: Some(60),
    kind: &[],
    body: None,
    shared: Some(MATRIX_AS_LEFT),
};

macro_rules! tiled {
    ($lying:literal, $tile:literal, $left:literal, $right:literal) => {
        Shader {
            name: concat!("matmul_tiled_", $lying, "_", $tile, "_", $left, "_", $right),
            source: concat!(include_str!(concat!("../../shaders/lib/", $lying, ".wgsl")), source!("matmul_tiled.wgsl")),
            entry: "matmul_tiled",
            parameter_bytes: Some(52),
            kind: &[
                ["const TILE: u32 = 128u;", concat!("const TILE: u32 = ", $tile, ";")],
                ["const LEFT_IS_DEEP: bool = true;", concat!("const LEFT_IS_DEEP: bool = ", $left, ";")],
                ["const RIGHT_IS_DEEP: bool = true;", concat!("const RIGHT_IS_DEEP: bool = ", $right, ";")],
            ],
            shared: Some(KEPT_AS_LEFT),
            ..MATMUL
        }
    };
    ($lying:literal, $tile:literal) => {
        [
            [tiled!($lying, $tile, "false", "false"), tiled!($lying, $tile, "false", "true")],
            [tiled!($lying, $tile, "true", "false"), tiled!($lying, $tile, "true", "true")],
        ]
    };
}

/// Kernels by whether the operands lie in fours, and whether the left and then the right one is contiguous along the depth.
pub(super) type Tiled = [[[Shader; 2]; 2]; 2];

/// Products of large matrices.
pub(super) static TILED_MANY: Tiled = [tiled!("ones", "128u"), tiled!("fours", "128u")];
/// Products of medium ones.
pub(super) static TILED_FEW: Tiled = [tiled!("ones", "64u"), tiled!("fours", "64u")];
pub(super) const UNIFORM: Shader = Shader {
    name: "uniform",
    source: include_str!("../../shaders/random.wgsl"),
    entry: "uniform_numbers",
    tensors: 1,
    parameter_bytes: Some(24),
    kind: &[],
    body: None,
    shared: None,
};
pub(super) const NORMAL: Shader = Shader { name: "normal", entry: "normal_numbers", ..UNIFORM };

/// Bytes of the parameters of `lib/indexed.wgsl`.
pub(super) const INDEXED_BYTES: u32 = 128;

pub(super) const GATHER: Shader = Shader {
    name: "gather",
    source: concat!(source!("lib/indexed.wgsl"), source!("gather.wgsl")),
    entry: "gather",
    tensors: 3,
    parameter_bytes: Some(INDEXED_BYTES),
    kind: &[],
    body: None,
    shared: None,
};
pub(super) const SCATTER_ADD: Shader = Shader {
    name: "scatter_add",
    source: concat!(source!("lib/indexed.wgsl"), source!("scatter_add.wgsl")),
    entry: "scatter_add",
    ..GATHER
};
pub(super) const ARANGE: Shader = Shader {
    name: "arange",
    source: source!("arange.wgsl"),
    entry: "arange",
    tensors: 1,
    parameter_bytes: Some(12),
    ..GATHER
};

/// A named expression of an elementwise operation, over `x` and, where there are two operands, `y`; or over `total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) expression: &'static str,
    /// More lines of the kernel and what takes their place.
    pub(super) lines: &'static [[&'static str; 2]],
}

impl Operation {
    /// One expression in place of the kernel's own.
    pub(super) const fn new(name: &'static str, expression: &'static str) -> Self {
        Self { name, expression, lines: &[] }
    }

    /// Lines in place of some of the kernel's.
    pub(super) const fn of_lines(name: &'static str, lines: &'static [[&'static str; 2]]) -> Self {
        Self { name, expression: "", lines }
    }
}

/// The kernel as it stands in its file.
pub(super) const AS_IT_IS: Operation = Operation::new("", "");

/// What the host makes of a shader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    pub(super) operation: Operation,
    /// The elements' type.
    pub(super) dtype: DType,
    /// How an elementwise kernel walks over its operands; nothing to others.
    pub(super) form: Form,
    /// Whether two operands are bound as one.
    pub(super) shared: bool,
}

impl Variant {
    /// The kernel as it stands in its file, over elements of a dtype.
    pub(super) fn plain(dtype: DType) -> Self {
        Self { operation: AS_IT_IS, dtype, form: Form::Strided, shared: false }
    }
}

impl Shader {
    fn is_elementwise(&self) -> bool {
        self.parameter_bytes.is_none()
    }

    /// The WGSL of a variant.
    pub(super) fn wgsl(&self, variant: Variant) -> String {
        let Variant { operation, dtype, form, shared } = variant;
        let form = if self.is_elementwise() { form.source() } else { "" };
        let mut source = [form, self.source].concat();
        source = source.replacen("alias Element = f32;", &format!("alias Element = {dtype};"), 1);
        for [line, replacement] in self.kind.iter().chain(operation.lines) {
            source = source.replacen(line, replacement, 1);
        }
        if let (Some(body), false) = (self.body, operation.expression.is_empty()) {
            source = source.replacen(body, &format!("return {};", operation.expression), 1);
        }
        if let (Some([declaration, name, other]), true) = (self.shared, shared) {
            source = source.replacen(declaration, "", 1).replace(name, other);
        }
        source
    }

    /// The compiled program, from the device's cache or new in it.
    pub(super) fn program(&self, gpu: &Gpu, variant: Variant) -> Result<Arc<Program>, DeviceError> {
        let Variant { operation, dtype, form, shared } = variant;
        let form_name = if self.is_elementwise() { form.name() } else { "" };
        let key =
            ProgramKey { shader: self.name, operation: operation.name, dtype: dtype.name(), form: form_name, shared };
        gpu.cached_program(key, || {
            gpu.program(&ProgramDescriptor {
                label: self.name,
                source: &self.wgsl(variant),
                entry: self.entry,
                tensors: self.tensors - usize::from(shared),
                parameter_bytes: self.parameter_bytes.unwrap_or_else(|| form.parameter_bytes()),
                constants: &[],
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{binary, cast, reduce, rows, unary};

    /// Everything that the crate can ask a device to compile.
    fn variants() -> Vec<(Shader, Variant)> {
        let mut all = Vec::new();
        let tiled = TILED_MANY.iter().chain(&TILED_FEW).flatten().flatten().copied();
        let plain: Vec<_> =
            [FILL, ADD_SCALED, MATMUL].into_iter().chain(tiled).map(|shader| (shader, AS_IT_IS)).collect();
        let binary = binary::ALL.into_iter().flat_map(|operation| [(BINARY, operation), (BINARY_SCALAR, operation)]);
        for dtype in DType::ALL {
            let unary = unary::ALL.into_iter().filter_map(|operation| Some((UNARY, unary::on(operation, dtype)?)));
            let binary =
                binary.clone().filter_map(|(shader, operation)| Some((shader, binary::defined(operation, dtype)?)));
            let of_dtype = plain.iter().copied().chain(binary).chain(unary);
            all.extend(of_dtype.map(|(shader, operation)| (shader, Variant { operation, ..Variant::plain(dtype) })));
        }
        for (dtype, shader) in
            DType::ALL.into_iter().flat_map(|dtype| [GATHER, SCATTER_ADD, ARANGE].map(|shader| (dtype, shader)))
        {
            all.push((shader, Variant::plain(dtype)));
        }
        let kernels = [REDUCE_PART, REDUCE_FEW, REDUCE_ROW, REDUCE_SHORT_ROW, REDUCE_COLUMNS];
        for (dtype, shader) in DType::ALL.into_iter().flat_map(|dtype| kernels.map(|shader| (dtype, shader))) {
            let operations = reduce::operations(dtype).into_iter();
            all.extend(operations.map(|operation| (shader, Variant { operation, ..Variant::plain(dtype) })));
        }
        all.extend([UNIFORM, NORMAL].map(|shader| (shader, Variant::plain(DType::F32))));
        let pairs = DType::ALL.into_iter().flat_map(|from| DType::ALL.map(|to| (from, to)));
        for operation in pairs.filter_map(|(from, to)| cast::conversion(from, to)) {
            all.push((UNARY, Variant { operation, ..Variant::plain(DType::U32) }));
        }
        for operation in [AS_IT_IS, rows::LOG] {
            let variant = Variant { operation, ..Variant::plain(DType::F32) };
            all.extend([SOFTMAX, SOFTMAX_LONG].map(|shader| (shader, variant)));
        }
        for operation in [AS_IT_IS, rows::ROOT_MEAN_SQUARE] {
            let variant = Variant { operation, ..Variant::plain(DType::F32) };
            all.extend([NORMALIZE, NORMALIZE_LONG].map(|shader| (shader, variant)));
        }
        all.extend([COPY, COPY_TURNED].map(|shader| (shader, Variant::plain(DType::U32))));
        let in_every_form = |(shader, variant): (Shader, Variant)| {
            let forms = if shader.is_elementwise() { &Form::ALL[..] } else { &Form::ALL[..1] };
            forms.iter().map(move |&form| (shader, Variant { form, ..variant }))
        };
        let shared_too = |(shader, variant): (Shader, Variant)| {
            let ways = if shader.shared.is_some() { &[false, true][..] } else { &[false] };
            ways.iter().map(move |&shared| (shader, Variant { shared, ..variant }))
        };
        all.into_iter().flat_map(in_every_form).flat_map(shared_too).collect()
    }

    #[test]
    fn every_shader_compiles_for_every_operation_dtype_and_form() {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let gpu = Gpu::from_device(device, queue);
        let variants = variants();
        assert!(variants.len() > 150);
        for (shader, variant) in variants {
            let compiled = shader.program(&gpu, variant);
            compiled.unwrap_or_else(|error| panic!("{} {variant:?}: {error}", shader.name));
        }
    }

    #[test]
    fn every_substitution_takes_place() {
        for (shader, variant) in variants() {
            let wgsl = shader.wgsl(variant);
            if variant.operation != AS_IT_IS {
                assert!(wgsl.contains(variant.operation.expression), "{} {variant:?}", shader.name);
            }
            if shader.is_elementwise() || shader.source.contains("alias Element") {
                assert!(wgsl.contains(&format!("alias Element = {};", variant.dtype)), "{}", shader.name);
            }
            for [line, replacement] in shader.kind.iter().chain(variant.operation.lines) {
                assert!(shader.source.contains(line) && wgsl.contains(replacement), "{} {line}", shader.name);
            }
            if let (Some([declaration, name, _]), true) = (shader.shared, variant.shared) {
                assert!(shader.source.contains(declaration), "{}", shader.name);
                assert!(!wgsl.contains(name), "{}", shader.name);
            }
        }
    }

    #[test]
    fn every_pool_binding_is_read_write() {
        for (shader, variant) in variants() {
            let wgsl = shader.wgsl(variant);
            let bindings = wgsl.matches("var<storage").count();
            assert_eq!(bindings, wgsl.matches("var<storage, read_write>").count(), "{}", shader.name);
            assert_eq!(bindings, shader.tensors - usize::from(variant.shared), "{}", shader.name);
        }
    }
}
