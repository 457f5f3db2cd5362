//! The pages of the errors of tensors, kernels and warm-ups.

use super::{assert_printed, messages};
use crate::error::{
    Argument, DeviceError, KernelError, Number, ShapeRequirement, TensorError, WarmUpError, WindowFault,
};

/// The argument at an index among several, such as the second operand.
fn nth(name: &'static str, index: usize) -> Argument {
    Argument::Nth { name, index }
}

/// A message for each requirement of a shape.
fn shapes() -> Vec<String> {
    let by = |name| Argument::Named(name);
    let input = || vec![1, 6, 8, 8];
    let cases: [(_, _, &[usize], _); 11] = [
        ("linear", by("bias"), &[4], ShapeRequirement::Exactly { shape: vec![5], by: by("weight"), of: vec![5, 3] }),
        ("mse_loss", by("target"), &[3, 2], ShapeRequirement::Same { by: by("input"), of: vec![2, 3] }),
        (
            "cat",
            nth("tensor", 1),
            &[2, 2],
            ShapeRequirement::SameExcept { axis: 0, by: nth("tensor", 0), of: vec![2, 3] },
        ),
        ("gather", by("index"), &[2, 5], ShapeRequirement::Within { axis: 0, by: by("tensor"), of: vec![2, 3] }),
        ("copy_", by("source"), &[2, 3], ShapeRequirement::BroadcastTo { shape: vec![4] }),
        ("add", nth("operand", 1), &[4], ShapeRequirement::BroadcastWith { shape: vec![2, 3] }),
        (
            "matmul",
            by("right operand"),
            &[5, 3, 4],
            ShapeRequirement::LeadingDimensions { by: by("left operand"), of: vec![2, 2, 3] },
        ),
        (
            "matmul",
            by("right operand"),
            &[2, 3],
            ShapeRequirement::Size {
                dimension: "inner size",
                size: 2,
                by: by("left operand"),
                of: vec![2, 3],
                wanted: 3,
            },
        ),
        (
            "conv2d",
            by("weight"),
            &[4, 2, 3, 3],
            ShapeRequirement::Channels { channels: 2, input: input(), wanted: 6, groups: 1 },
        ),
        (
            "reshape",
            by("tensor"),
            &[2, 3],
            ShapeRequirement::Elements { elements: 6, shape: vec![4, 2], wanted: Some(8) },
        ),
        ("split_with_sizes", by("sizes"), &[1, 1], ShapeRequirement::Sum { axis: 1, size: 3 }),
    ];
    let told = |(operation, argument, shape, required): (_, Argument, &[usize], _)| {
        TensorError::shape(operation, argument, shape, required).to_string()
    };
    cases.map(told).to_vec()
}

/// A message for each fault of a kernel window.
fn windows() -> Vec<String> {
    let cases = [
        ([8, 8], 0, 0, WindowFault::Zero),
        ([2, 2], 1, 0, WindowFault::TooLarge),
        ([8, 8], 1, 3, WindowFault::InPadding),
    ];
    let told = |(size, stride, padding, fault)| TensorError::KernelWindow {
        operation: "conv2d",
        size,
        kernel: [3, 3],
        stride: [stride; 2],
        dilation: [1, 1],
        padding: Box::new([[padding; 2]; 2]),
        fault,
    };
    cases.map(|case| told(case).to_string()).to_vec()
}

#[test]
fn the_page_of_tensor_errors_prints_their_messages() {
    let shape = || vec![2, 3];
    let mut texts = shapes();
    texts.extend(windows());
    texts.extend(messages([
        TensorError::Length { given: 5, wanted: 6, shape: shape() },
        TensorError::dimensions("linear", "weight", &[4], "2"),
        TensorError::Rank { rank: 9, limit: 8 },
        TensorError::dtypes("matmul", ("right operand", "i32"), ("left operand", "f32")),
        TensorError::dtypes("add_", ("result", "f32"), ("output", "i32")),
        TensorError::dtypes("read_blocking", ("element type", "i32"), ("tensor", "f32")),
        TensorError::IndexDType { operation: "gather", argument: "index".into(), dtype: "i32", wanted: "u32" },
        TensorError::not_defined("mean", "input", "i32"),
        TensorError::Scalar { operation: "add", argument: nth("operand", 1), value: 1 << 31, dtype: "i32" },
        TensorError::Unsupported { dtype: "f16", device: "Mali-G52 (Vulkan)".into() },
        TensorError::Argument {
            operation: "cross_entropy",
            argument: "label_smoothing",
            value: Number(1.5),
            range: "from 0 to 1",
        },
        TensorError::Zero { operation: "chunk", argument: "number of chunks" },
        TensorError::Axis { operation: "sum", axis: 2, shape: shape(), places: 2 },
        TensorError::RepeatedAxis { operation: "sum", axis: -1 },
        TensorError::Permutation { axes: vec![0], shape: shape() },
        TensorError::Index { operation: "select", axis: 1, index: 3, size: 3 },
        TensorError::Narrow { axis: 1, start: 2, length: 2, size: 3 },
        TensorError::Slice { operation: "slice", axis: 1, start: 2, end: 1, step: 1, size: 3 },
        TensorError::TooManyViews { operation: "split", views: 1 << 21, limit: 1 << 20 },
        TensorError::Groups { operation: "conv2d", channels: 6, outputs: 4, groups: 4 },
        TensorError::NotViewable { shape: vec![3, 2], strides: vec![1, 3], wanted: vec![6] },
        TensorError::NotContiguous {
            operation: "dispatch",
            argument: nth("tensor", 0),
            shape: vec![3, 2],
            strides: vec![1, 3],
        },
        TensorError::SeveralBlocks { operation: "storage", argument: "tensor".into(), blocks: 2 },
        TensorError::Pools { operation: "add", argument: nth("operand", 1), by: nth("operand", 0) },
        TensorError::Overlap { operation: "add_", argument: "output".into(), other: Some(nth("operand", 1)) },
        TensorError::Overlap { operation: "add_", argument: "output".into(), other: None },
        TensorError::Empty { operation: "argmax", shape: vec![0, 3] },
        TensorError::Item { operation: "item_blocking", shape: shape(), elements: 6 },
        TensorError::Expression { operation: "run", problem: "it has more than 4,096 steps" },
        TensorError::Overflow { shape: vec![1 << 40, 1 << 40], element_bytes: 4 },
        TensorError::TooManyElements { operation: "add", elements: 1 << 32, limit: (1 << 32) - (1 << 24) - 1 },
        TensorError::TooManyIterations { operation: "bmm", iterations: 65_536, limit: 65_535 },
        TensorError::HostMemory { operation: "read_blocking", bytes: 64 << 30 },
        TensorError::Shared { operation: "into_host_blocking", others: 1 },
    ]));
    assert_printed(include_str!("../../../docs/guide/errors/tensor.md"), &texts);
}

#[test]
fn the_page_of_into_host_errors_prints_the_message() {
    let error = TensorError::Shared { operation: "into_host_blocking", others: 1 };
    assert_printed(include_str!("../../../docs/guide/errors/into_host.md"), &[error.to_string()]);
}

#[test]
fn the_page_of_kernel_errors_prints_their_messages() {
    let naga = "error: the type of `x` is expected to be `f32`, but got `u32`\n  ┌─ wgsl:3:9\n  │\n3 │     let x: f32 = 1u;\n  │         ^ definition of `x`";
    let read_write = "declare it `var<storage, read_write>`: many tensors lie in one wgpu buffer, which can't be bound for reading \
                      and for writing at once";
    let x = || "x".to_string();
    assert_printed(
        include_str!("../../../docs/guide/errors/kernel.md"),
        &messages([
            KernelError::Compile { message: naga.into() },
            KernelError::EntryPoint { entry: "main".into(), available: vec!["halve".into()] },
            KernelError::Declaration { name: x(), group: 0, binding: 0, problem: read_write.into() },
            KernelError::TensorCount { wanted: 2, given: 1 },
            KernelError::ParameterCount { wanted: 2, given: 3 },
            KernelError::Kind { binding: 0, name: x(), wanted: "f32".into(), given: "i32" },
            KernelError::ParameterKind { index: 1, name: "count".into(), wanted: "u32", given: "i32" },
            KernelError::TooShort { binding: 0, name: x(), wanted: 64, given: 60 },
            KernelError::Unaligned { binding: 0, name: x(), offset: 4, alignment: 32 },
            KernelError::HalfUnit { binding: 0, name: x(), elements: 3, bytes: 6, unit: 4 },
            KernelError::Overlap { binding: 0, name: "output".into(), other: 1, other_name: "input".into() },
            KernelError::Workgroups { given: [100_000, 1, 1], limit: 65_535 },
        ]),
    );
}

#[test]
fn the_page_of_warm_ups_prints_their_messages() {
    let compile = WarmUpError::Compile(DeviceError::Lost { reason: "Device::destroy was called".into() });
    assert_printed(include_str!("../../../docs/guide/errors/warm_up.md"), &messages([WarmUpError::Nested, compile]));
}
