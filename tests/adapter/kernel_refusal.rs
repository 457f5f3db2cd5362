//! Incorrect use of the application's own kernels: each mistake has its own error, and the pool stays usable.

use crate::common::{Outcome, adapter};
use wgpu_pool::{DType, DeviceError, KernelError, Memory, Pool, Scalar, Tensor};

/// Adds a scalar to each element of the first tensor and writes the result to the second.
const RIGHT: &str = "
    struct Scalars { addend: f32, count: u32 }
    @group(0) @binding(0) var<storage, read_write> output: array<f32>;
    @group(0) @binding(1) var<storage, read_write> input: array<f32>;
    @group(1) @binding(0) var<uniform> params: Scalars;
    @compute @workgroup_size(64)
    fn shift(@builtin(global_invocation_id) id: vec3<u32>) {
        if id.x < params.count { output[id.x] = input[id.x] + params.addend; }
    }";

fn scalars(addend: f32, count: u32) -> [Scalar; 2] {
    [addend.into(), count.into()]
}

/// Asserts that a correct kernel works after a refusal.
fn assert_usable(pool: &Pool) -> Outcome {
    let kernel = pool.kernel(RIGHT, "shift")?;
    let (x, y) = (Tensor::full(pool, [100], 1.0_f32)?, Tensor::zeros(pool, [100], DType::F32)?);
    kernel.dispatch(&[&y, &x], &scalars(2.5, 100), [2, 1, 1])?;
    assert_eq!(y.read_blocking::<f32>()?, [3.5; 100]);
    pool.check()?;
    Ok(())
}

fn refused(pool: &Pool, wgsl: &str) -> KernelError {
    pool.kernel(wgsl, "main").expect_err("the shader is wrong")
}

#[test]
fn wgsl_that_does_not_parse_is_refused_with_the_source_line() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let wgsl = "@compute @workgroup_size(1)\nfn main() {\n    let x: f32 = 1u + bogus;\n}";
    let error = refused(&pool, wgsl);
    let KernelError::Compile { message } = &error else { panic!("{error}") };
    assert!(message.contains("bogus") && message.contains("let x: f32 = 1u + bogus;"), "{message}");
    assert!(message.contains("wgsl:3:"), "the third line: {message}");
    assert!(error.to_string().starts_with("the WGSL does not compile: "), "{error}");
    refused(&pool, "");
    refused(&pool, "fn main( {");
    assert_usable(&pool)
}

#[test]
fn wgsl_that_does_not_validate_is_refused_with_the_source_line() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let wgsl = "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
        @compute @workgroup_size(1) fn main() { x[0] = f(); }
        fn f() -> f32 { let y = 1.0; }";
    let KernelError::Compile { message } = refused(&pool, wgsl) else { panic!("it does not validate") };
    assert!(message.contains("fn f() -> f32"), "{message}");
    assert_usable(&pool)
}

#[test]
fn a_missing_entry_point_is_refused_with_a_list_of_the_existing_ones() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let wgsl = "@compute @workgroup_size(1) fn one() {} @compute @workgroup_size(1) fn two() {} fn main() {}
        @fragment fn three() {}";
    let error = refused(&pool, wgsl);
    let available = vec!["one".to_string(), "two".to_string()];
    assert_eq!(error, KernelError::EntryPoint { entry: "main".into(), available });
    assert_eq!(error.to_string(), "no compute entry point `main`; the shader has [\"one\", \"two\"]");
    assert_usable(&pool)
}

#[test]
fn declarations_that_cannot_be_bound_to_pool_memory_are_refused_by_name() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let read_write = "declare it `var<storage, read_write>`";
    let nothing_else = "a kernel binds tensors (`var<storage, read_write>` in group 0) and scalars";
    let scalars = "scalars are f32, i32, u32, f16, and vectors of them";
    let cases = [
        ("@group(0) @binding(0) var<storage> x: array<f32>;", (0, 0), read_write),
        ("@group(0) @binding(0) var<storage, read> x: array<f32>;", (0, 0), read_write),
        ("@group(2) @binding(1) var<storage, read_write> x: array<f32>;", (2, 1), "belongs in group 0"),
        ("@group(0) @binding(0) var<uniform> x: f32;", (0, 0), "belongs in group 1"),
        ("@group(1) @binding(3) var<uniform> x: f32;", (1, 3), "one uniform, at binding 0 of group 1"),
        ("@group(0) @binding(2) var<storage, read_write> x: array<f32>;", (0, 2), "without a gap; 0 is free"),
        ("@group(0) @binding(0) var x: texture_2d<f32>;", (0, 0), nothing_else),
        ("@group(0) @binding(0) var x: sampler;", (0, 0), nothing_else),
        ("@group(1) @binding(0) var<uniform> x: mat2x2<f32>;", (1, 0), scalars),
        ("@group(1) @binding(0) var<uniform> x: array<vec4<f32>, 2>;", (1, 0), scalars),
        ("struct S { a: f32, b: mat2x2<f32> } @group(1) @binding(0) var<uniform> x: S;", (1, 0), scalars),
    ];
    for (line, (group, binding), part) in cases {
        let error = refused(&pool, &format!("{line}\n@compute @workgroup_size(1) fn main() {{}}"));
        match &error {
            KernelError::Declaration { name, group: at, binding: number, problem } => {
                assert_eq!((name.as_str(), *at, *number), ("x", group, binding), "{line}");
                assert!(problem.contains(part), "{line}: {problem}");
                assert!(error.to_string().starts_with(&format!("binding `x` at group {group}, binding {binding}: ")));
            }
            other => panic!("{line}: {other}"),
        }
    }
    assert_usable(&pool)
}

#[test]
fn a_binding_that_two_variables_share_is_refused() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let twice = "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
        @group(0) @binding(0) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(1) fn main() { x[0] = y[0]; }";
    refused(&pool, twice);
    let uniforms = "@group(1) @binding(0) var<uniform> x: f32;
        @group(1) @binding(0) var<uniform> y: u32;
        @compute @workgroup_size(1) fn main() { let z = x + f32(y); }";
    refused(&pool, uniforms);
    assert_usable(&pool)
}

#[test]
fn unsupported_features_are_refused_when_the_kernel_is_created() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let error = refused(&pool, "@compute @workgroup_size(1024, 8, 8) fn main() {}");
    assert!(matches!(error, KernelError::Device(_)), "{error}");
    let members: String = (0..65).map(|number| format!("m{number}: f32,")).collect();
    let error = refused(
        &pool,
        &format!(
            "struct S {{ {members} }} @group(1) @binding(0) var<uniform> s: S; @compute @workgroup_size(1) fn main() {{}}"
        ),
    );
    assert!(error.to_string().contains("260 B of parameters, and the limit is 256"), "{error}");
    assert_usable(&pool)
}

#[test]
fn tensors_that_do_not_fit_the_bindings_are_refused_by_binding() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let kernel = pool.kernel(RIGHT, "shift")?;
    let zeros = |shape: &[usize], dtype| Tensor::zeros(&pool, shape, dtype);
    let (x, y) = (zeros(&[64], DType::F32)?, zeros(&[64], DType::F32)?);
    let dispatch = |tensors: &[&Tensor]| match kernel.dispatch(tensors, &scalars(1.0, 64), [1, 1, 1]) {
        Ok(()) => panic!("{tensors:?} do not fit"),
        Err(error) => error,
    };
    assert_eq!(dispatch(&[&x]), KernelError::TensorCount { wanted: 2, given: 1 });
    assert_eq!(dispatch(&[]).to_string(), "the kernel binds 2 tensors, not 0");
    assert_eq!(dispatch(&[&x, &y, &y]), KernelError::TensorCount { wanted: 2, given: 3 });
    let error = dispatch(&[&x, &zeros(&[64], DType::I32)?]);
    assert_eq!(error.to_string(), "binding 1 `input` holds f32, the tensor holds i32");
    assert!(matches!(error, KernelError::Kind { binding: 1, given: "i32", .. }));
    let error = dispatch(&[&zeros(&[0], DType::F32)?, &x]);
    assert_eq!(error.to_string(), "binding 0 `output` needs 4 bytes, the tensor holds 0");
    assert!(matches!(error, KernelError::TooShort { binding: 0, wanted: 4, given: 0, .. }));
    let square = zeros(&[8, 8], DType::F32)?;
    let error = dispatch(&[&square.t()?, &x]);
    assert_eq!(
        error.to_string(),
        "dispatch: the 1st tensor [8, 8] with strides [1, 8] is not contiguous: call `contiguous` first"
    );
    let alignment = pool.memory().limits().alignment;
    let error = dispatch(&[&x.narrow(0, 1, 10)?, &y]);
    assert_eq!(
        error.to_string(),
        format!(
            "binding 0 `output`: the view starts 4 bytes into its memory, not a multiple of {alignment}: pass a copy (`copied`)"
        )
    );
    assert!(matches!(error, KernelError::Unaligned { binding: 0, offset: 4, .. }));
    assert_usable(&pool)
}

#[test]
fn a_tensor_shorter_than_the_declared_array_is_refused() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let wgsl = "@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>, 4>;
        @compute @workgroup_size(1) fn main() { x[3] = vec4(1.0); }";
    let kernel = pool.kernel(wgsl, "main")?;
    let error =
        kernel.dispatch(&[&Tensor::zeros(&pool, [15], DType::F32)?], &[], [1, 1, 1]).expect_err("16 are needed");
    assert_eq!(error, KernelError::TooShort { binding: 0, name: "x".into(), wanted: 64, given: 60 });
    let x = Tensor::zeros(&pool, [16], DType::F32)?;
    kernel.dispatch(&[&x], &[], [1, 1, 1])?;
    assert_eq!(x.read_blocking::<f32>()?[12..], [1.0; 4]);
    Ok(())
}

#[test]
fn a_written_tensor_that_overlaps_another_is_refused() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let kernel = pool.kernel(RIGHT, "shift")?;
    let x = Tensor::zeros(&pool, [4, 64], DType::F32)?;
    let dispatch = |y: &Tensor, x: &Tensor| kernel.dispatch(&[y, x], &scalars(1.0, 64), [1, 1, 1]);
    let error = dispatch(&x, &x).expect_err("it is one tensor");
    assert_eq!(error.to_string(), "binding 0 `output` is written and overlaps binding 1 `input`");
    let views =
        [(x.narrow(0, 0, 2)?, x.narrow(0, 1, 2)?), (x.clone(), x.narrow(0, 3, 1)?), (x.narrow(0, 1, 1)?, x.clone())];
    for (left, right) in &views {
        assert!(
            matches!(dispatch(left, right), Err(KernelError::Overlap { binding: 0, other: 1, .. })),
            "{left:?}, {right:?}"
        );
    }
    // Two disjoint views of one storage are valid, like two tensors.
    dispatch(&x.narrow(0, 0, 1)?, &x.narrow(0, 1, 1)?)?;
    let atomics = pool.kernel(
        "@group(0) @binding(0) var<storage, read_write> x: array<u32>;
         @group(0) @binding(1) var<storage, read_write> y: array<atomic<u32>>;
         fn count() { atomicAdd(&y[0], 1u); }
         @compute @workgroup_size(1) fn main() { if x[0] == 0u { count(); } }",
        "main",
    )?;
    let counts = Tensor::zeros(&pool, [4], DType::U32)?;
    let error = atomics.dispatch(&[&counts, &counts], &[], [1, 1, 1]).expect_err("an atomic writes");
    assert_eq!(error.to_string(), "binding 1 `y` is written and overlaps binding 0 `x`");
    assert_usable(&pool)
}

#[test]
fn scalars_that_do_not_fit_are_refused_by_name() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let kernel = pool.kernel(RIGHT, "shift")?;
    let (x, y) = (Tensor::zeros(&pool, [64], DType::F32)?, Tensor::zeros(&pool, [64], DType::F32)?);
    let dispatch = |scalars: &[Scalar]| match kernel.dispatch(&[&y, &x], scalars, [1, 1, 1]) {
        Ok(()) => panic!("{scalars:?} do not fit"),
        Err(error) => error,
    };
    assert_eq!(dispatch(&[]), KernelError::ParameterCount { wanted: 2, given: 0 });
    assert_eq!(
        dispatch(&[1.0_f32.into(), 2_u32.into(), 3_u32.into()]).to_string(),
        "the kernel takes 2 scalar parameters, not 3"
    );
    let error = dispatch(&[1.0_f32.into(), 64_i32.into()]);
    assert_eq!(error.to_string(), "parameter 1 `count` is u32, i32 was given");
    assert!(matches!(error, KernelError::ParameterKind { index: 1, wanted: "u32", given: "i32", .. }));
    assert_usable(&pool)
}

#[test]
fn more_workgroups_than_the_device_allows_are_refused() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let kernel = pool.kernel(RIGHT, "shift")?;
    let (x, y) = (Tensor::zeros(&pool, [64], DType::F32)?, Tensor::zeros(&pool, [64], DType::F32)?);
    let limit = pool.memory().device().limits().max_compute_workgroups_per_dimension;
    for axis in 0..3 {
        let mut given = [1; 3];
        given[axis] = limit + 1;
        let error = kernel.dispatch(&[&y, &x], &scalars(1.0, 64), given).expect_err("it is above the limit");
        assert_eq!(error, KernelError::Workgroups { given, limit });
    }
    assert_usable(&pool)
}

#[test]
fn tensors_of_another_pool_are_refused() -> Outcome {
    let (Some(pool), Some(other)) = (adapter::fresh(), adapter::fresh()) else { return Ok(()) };
    let kernel = pool.kernel(RIGHT, "shift")?;
    let (x, y) = (Tensor::zeros(&other, [64], DType::F32)?, Tensor::zeros(&pool, [64], DType::F32)?);
    let error = kernel.dispatch(&[&y, &x], &scalars(1.0, 64), [1, 1, 1]).expect_err("the pools differ");
    let text = "dispatch: the 2nd tensor and the kernel belong to different pools: read one and upload it to the pool of the other";
    assert_eq!(error.to_string(), text);
    assert_usable(&pool)?;
    assert_usable(&other)
}

/// Returns a kernel with nested `else if` branches: the parser overflows a 2 MiB stack (Rust's default for threads) at
/// some hundreds of branches.
fn branches(count: u32) -> String {
    let chain: String =
        (1..count).map(|number| format!("else if x[0] == {number}u {{ x[1] = {number}u; }} ")).collect();
    format!(
        "@group(0) @binding(0) var<storage, read_write> x: array<u32>;
         @compute @workgroup_size(1) fn main() {{ if x[0] == 0u {{ x[1] = 99u; }} {chain} }}"
    )
}

#[test]
fn a_deeply_nested_kernel_runs_and_a_deeper_one_is_refused() -> Outcome {
    for pool in adapter::all_shared() {
        for count in [64, 65, 900] {
            let kernel = match pool.kernel(&branches(count), "main") {
                Ok(kernel) => kernel,
                // On software drivers.
                Err(KernelError::Compile { message }) if count > 64 => {
                    let wanted = "nested conditions and loops are above the limit of 64 of software drivers";
                    assert_eq!(message, format!("{count} {wanted}"));
                    continue;
                }
                // FXC, the compiler of DX12 where there is no DXC, permits fewer.
                Err(KernelError::Device(DeviceError::Validation { message })) if message.contains("FXC") => continue,
                Err(error) => return Err(error.into()),
            };
            for branch in [0, 1, count / 2, count - 1] {
                let x = Tensor::from_slice(pool, &[branch, 7], [2])?;
                kernel.dispatch(&[&x], &[], [1, 1, 1])?;
                assert_eq!(x.read_blocking::<u32>()?, [branch, if branch == 0 { 99 } else { branch }], "of {count}");
            }
        }
    }
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    for text in [branches(3000), format!("fn f() {{ let x = {}; }}", "(".repeat(100_000)), "-".repeat(1 << 20)] {
        let KernelError::Compile { message } = refused(&pool, &text) else { panic!("its nesting is the error") };
        assert!(message.contains("above the limit of"), "{message}");
    }
    let KernelError::Compile { message } = refused(&pool, &" ".repeat((1 << 20) + 1)) else { panic!("its length") };
    assert_eq!(message, "1048577 bytes of text are above the limit of 1048576 for kernels of the program");
    assert_usable(&pool)
}

/// Sources with deep recursion other than nesting: within the limits, each compiles or is refused, and none crashes the
/// process.
#[test]
fn deeply_recursive_wgsl_does_not_crash_the_process() -> Outcome {
    // Without a driver: drivers may have problems of their own with these sources.
    let (device, queue) = adapter::noop();
    let pool = Pool::from_device(device, queue, crate::common::options())?;
    let main = "@group(0) @binding(0) var<storage, read_write> x: array<i32>;
        @compute @workgroup_size(1) fn main()";
    let chain: String = (0..1000).rev().map(|n| format!("const c{n} = c{} + 1;\n", n + 1)).collect();
    let texts = [
        format!("{main} {{ x[0] = x[1]{}; }}", " + 1".repeat(990)),
        format!("{main} {{ x[0] = {}x[1]{}; }}", "(".repeat(900), ")".repeat(900)),
        format!("{main} {{ x[0] = {}x[1]; }}", "- ".repeat(990)),
        format!("{main} {{ {} x[0] = 1; {} }}", "{ ".repeat(900), "} ".repeat(900)),
        format!("{main} {{ if x[0] == 1 {} {{ x[0] = 2; }} }}", "&& x[1] == 2 ".repeat(190)),
        format!("const c1000 = 1;\n{chain}{main} {{ x[0] = c0; }}"),
        format!("{main} {{ x[0] = c0; }}\n{}const c1000 = 1;", chain.lines().rev().collect::<String>()),
        format!("alias A = {}i32{}; {main} {{ var a: A; x[0] = 1; }}", "array<".repeat(900), ", 1>".repeat(900)),
    ];
    for text in texts {
        match pool.kernel(&text, "main") {
            Ok(_) | Err(KernelError::Compile { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    pool.check()?;
    Ok(())
}

/// Sizes that overflow 32 bits: naga panics on some of them when overflow checks are enabled, as in tests.
#[test]
fn a_panic_of_the_compiler_is_an_error() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    for member in ["@size(4294967292) b: vec2<u32>, c: i32", "@size(4294967290u + 2u) b: vec2<u32>, c: i32"] {
        let text = format!(
            "struct P {{ a: f32, {member} }}
             @group(0) @binding(0) var<storage, read_write> x: array<f32>;
             @group(1) @binding(0) var<uniform> params: P;
             @compute @workgroup_size(1) fn main() {{ x[0] = params.a; }}"
        );
        let error = refused(&pool, &text);
        assert!(matches!(error, KernelError::Compile { .. }), "{error}");
    }
    assert_usable(&pool)
}

// Case 68.
#[test]
fn more_bindings_than_the_device_has_are_refused_with_both_numbers_each_time() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let limit = pool.memory().device().limits().max_storage_buffers_per_shader_stage;
    // Some drivers have more bindings than a source of the maximum length can declare.
    if limit > 1000 {
        return Ok(());
    }
    let tensors = limit as usize + 1;
    let declared: String = (0..tensors)
        .map(|number| format!("@group(0) @binding({number}) var<storage, read_write> b{number}: array<u32>;\n"))
        .collect();
    for _ in 0..2 {
        let error = refused(&pool, &format!("{declared} @compute @workgroup_size(1) fn main() {{ b0[0] = 1u; }}"));
        assert_eq!(error, KernelError::Device(DeviceError::TooManyBindings { tensors, limit }));
    }
    assert_usable(&pool)
}
