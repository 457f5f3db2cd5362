//! The shaders, and what the host puts into them: the element type, an operation's expression, operands bound as one.

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
    pub(super) parameter_bytes: u32,
    /// The statement that an operation's expression takes the place of.
    body: Option<&'static str>,
    /// The operand that may be bound as another one: its declaration and name, and the other's name.
    shared: Option<[&'static str; 3]>,
}

macro_rules! strided {
    ($file:literal) => {
        concat!(include_str!("../../shaders/lib/strided.wgsl"), include_str!(concat!("../../shaders/", $file)))
    };
}

const RIGHT_AS_LEFT: [&str; 3] =
    ["@group(0) @binding(2) var<storage, read_write> right: array<Element>;\n", "right[", "left["];
const LEFT_AS_OUTPUT: [&str; 3] =
    ["@group(0) @binding(1) var<storage, read_write> left: array<Element>;\n", "left[", "output["];

const STRIDED: Shader =
    Shader { name: "", source: "", entry: "", tensors: 2, parameter_bytes: 128, body: None, shared: None };

pub(super) const FILL: Shader =
    Shader { name: "fill", source: strided!("fill.wgsl"), entry: "fill", tensors: 1, ..STRIDED };
pub(super) const COPY: Shader = Shader { name: "copy", source: strided!("copy.wgsl"), entry: "copy", ..STRIDED };
pub(super) const UNARY: Shader =
    Shader { name: "unary", source: strided!("unary.wgsl"), entry: "unary", body: Some("return -x;"), ..STRIDED };
pub(super) const BINARY: Shader = Shader {
    name: "binary",
    source: strided!("binary.wgsl"),
    entry: "binary",
    tensors: 3,
    body: Some("return x + y;"),
    shared: Some(RIGHT_AS_LEFT),
    ..STRIDED
};
pub(super) const BINARY_SCALAR: Shader = Shader {
    name: "binary_scalar",
    source: strided!("binary_scalar.wgsl"),
    entry: "binary_scalar",
    body: Some("return x + y;"),
    ..STRIDED
};
pub(super) const ADD_SCALED: Shader = Shader {
    name: "add_scaled",
    source: strided!("add_scaled.wgsl"),
    entry: "add_scaled",
    shared: Some(LEFT_AS_OUTPUT),
    ..STRIDED
};
pub(super) const SUM_BY_WORKGROUP: Shader = Shader {
    name: "sum_by_workgroup",
    source: include_str!("../../shaders/sum.wgsl"),
    entry: "sum_by_workgroup",
    tensors: 2,
    parameter_bytes: 80,
    body: Some("return total;"),
    shared: None,
};
pub(super) const SUM_BY_INVOCATION: Shader =
    Shader { name: "sum_by_invocation", entry: "sum_by_invocation", ..SUM_BY_WORKGROUP };
pub(super) const MATMUL: Shader = Shader {
    name: "matmul",
    source: include_str!("../../shaders/matmul.wgsl"),
    entry: "matmul",
    tensors: 3,
    parameter_bytes: 48,
    body: None,
    shared: Some(RIGHT_AS_LEFT),
};
pub(super) const UNIFORM: Shader = Shader {
    name: "uniform",
    source: include_str!("../../shaders/random.wgsl"),
    entry: "uniform_numbers",
    tensors: 1,
    parameter_bytes: 24,
    body: None,
    shared: None,
};
pub(super) const NORMAL: Shader = Shader { name: "normal", entry: "normal_numbers", ..UNIFORM };

/// A named expression of an elementwise operation, over `x` and, where there are two operands, `y`; or over `total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) expression: &'static str,
}

/// The kernel as it stands in its file.
pub(super) const AS_IT_IS: Operation = Operation { name: "", expression: "" };

impl Shader {
    /// The WGSL for one operation, dtype and binding of operands.
    pub(super) fn wgsl(&self, operation: Operation, dtype: DType, shared: bool) -> String {
        let mut source = self.source.replacen("alias Element = f32;", &format!("alias Element = {dtype};"), 1);
        if let (Some(body), false) = (self.body, operation == AS_IT_IS) {
            source = source.replacen(body, &format!("return {};", operation.expression), 1);
        }
        if let (Some([declaration, name, other]), true) = (self.shared, shared) {
            source = source.replacen(declaration, "", 1).replace(name, other);
        }
        source
    }

    /// The compiled program, from the device's cache or new in it.
    pub(super) fn program(
        &self,
        gpu: &Gpu,
        operation: Operation,
        dtype: DType,
        shared: bool,
    ) -> Result<Arc<Program>, DeviceError> {
        let key = ProgramKey { shader: self.name, operation: operation.name, dtype: dtype.name(), shared };
        gpu.cached_program(key, || {
            gpu.program(&ProgramDescriptor {
                label: self.name,
                source: &self.wgsl(operation, dtype, shared),
                entry: self.entry,
                tensors: self.tensors - usize::from(shared),
                parameter_bytes: self.parameter_bytes,
                constants: &[],
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{binary, reduce, unary};

    /// Everything that the crate can ask a device to compile.
    fn variants() -> Vec<(Shader, Operation, DType, bool)> {
        let mut all = Vec::new();
        let plain =
            [FILL, COPY, ADD_SCALED, SUM_BY_WORKGROUP, SUM_BY_INVOCATION, MATMUL].map(|shader| (shader, AS_IT_IS));
        let means = [SUM_BY_WORKGROUP, SUM_BY_INVOCATION].map(|shader| (shader, reduce::MEAN));
        let binary = binary::ALL.into_iter().flat_map(|operation| [(BINARY, operation), (BINARY_SCALAR, operation)]);
        for dtype in DType::ALL {
            let unary = unary::ALL.into_iter().filter_map(|operation| Some((UNARY, unary::on(operation, dtype)?)));
            let of_dtype = plain.into_iter().chain(binary.clone()).chain(unary);
            for (shader, operation) in of_dtype {
                all.push((shader, operation, dtype, false));
                if shader.shared.is_some() {
                    all.push((shader, operation, dtype, true));
                }
            }
        }
        all.extend(means.map(|(shader, operation)| (shader, operation, DType::F32, false)));
        all.extend([UNIFORM, NORMAL].map(|shader| (shader, AS_IT_IS, DType::F32, false)));
        all
    }

    #[test]
    fn every_shader_compiles_for_every_operation_and_dtype() {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let gpu = Gpu::from_device(device, queue);
        let variants = variants();
        assert!(variants.len() > 50);
        for (shader, operation, dtype, shared) in variants {
            let compiled = shader.program(&gpu, operation, dtype, shared);
            compiled.unwrap_or_else(|error| panic!("{} {operation:?} {dtype} {shared}: {error}", shader.name));
        }
    }

    #[test]
    fn every_substitution_takes_place() {
        for (shader, operation, dtype, shared) in variants() {
            let wgsl = shader.wgsl(operation, dtype, shared);
            if operation != AS_IT_IS {
                assert!(wgsl.contains(operation.expression), "{} {operation:?}", shader.name);
            }
            if shader.source.contains("alias Element") {
                assert!(wgsl.contains(&format!("alias Element = {dtype};")), "{}", shader.name);
            }
            if let (Some([declaration, name, _]), true) = (shader.shared, shared) {
                assert!(shader.source.contains(declaration), "{}", shader.name);
                assert!(!wgsl.contains(name), "{}", shader.name);
            }
        }
    }

    #[test]
    fn every_pool_binding_is_read_write() {
        for (shader, operation, dtype, shared) in variants() {
            let wgsl = shader.wgsl(operation, dtype, shared);
            let bindings = wgsl.matches("var<storage").count();
            assert_eq!(bindings, wgsl.matches("var<storage, read_write>").count(), "{}", shader.name);
            assert_eq!(bindings, shader.tensors - usize::from(shared), "{}", shader.name);
        }
    }
}
