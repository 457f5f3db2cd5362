//! Correct use of the application's own kernels.

use crate::common::{Outcome, adapter};
use wgpu_pool::{DType, Pool, Tensor};

/// Pools for both ways to pass scalars: as immediates, where the device has them, and in a uniform buffer.
fn pools() -> impl Iterator<Item = Pool> {
    adapter::fresh().into_iter().chain(adapter::foreign_pool())
}

#[test]
fn a_kernel_takes_tensors_and_every_kind_of_scalar() -> Outcome {
    for pool in pools() {
        // `params` may become an immediate; any other name stays a uniform.
        for name in ["params", "others"] {
            let wgsl = format!(
                "struct Scalars {{ a: f32, b: i32, c: vec3<u32>, d: u32, e: vec2<f32> }}
                 @group(0) @binding(0) var<storage, read_write> output: array<f32>;
                 @group(0) @binding(1) var<storage, read_write> input: array<i32>;
                 @group(1) @binding(0) var<uniform> {name}: Scalars;
                 @compute @workgroup_size(64)
                 fn mix_all(@builtin(global_invocation_id) id: vec3<u32>) {{
                     if id.x < arrayLength(&input) {{
                         let s = {name};
                         let whole = input[id.x] * s.b + i32(s.c.x + 10u * s.c.y + 100u * s.c.z + 1000u * s.d);
                         output[id.x] = f32(whole) + s.a + s.e.x + s.e.y;
                     }}
                 }}"
            );
            let kernel = pool.kernel(&wgsl, "mix_all")?;
            assert_eq!(kernel.workgroup_size(), [64, 1, 1]);
            let input: Vec<i32> = (0..1000).collect();
            let tensor = Tensor::from_slice(&pool, &input, [1000])?;
            let output = Tensor::zeros(&pool, [1000], DType::F32)?;
            let scalars = [
                0.25_f32.into(),
                (-2).into(),
                3_u32.into(),
                4_u32.into(),
                5_u32.into(),
                6_u32.into(),
                0.5_f32.into(),
                0.125_f32.into(),
            ];
            kernel.dispatch(&[&output, &tensor], &scalars, [1000_u32.div_ceil(64), 1, 1])?;
            #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
            let wanted: Vec<f32> = input.iter().map(|x| (x * -2 + 6543) as f32 + 0.875).collect();
            assert_eq!(output.read_blocking::<f32>()?, wanted, "{name}");
        }
    }
    Ok(())
}

#[test]
fn a_single_scalar_needs_no_structure() -> Outcome {
    for pool in pools() {
        for name in ["params", "factor"] {
            let wgsl = format!(
                "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
                 @group(1) @binding(0) var<uniform> {name}: f32;
                 @compute @workgroup_size(32) fn scale(@builtin(global_invocation_id) id: vec3<u32>) {{
                     if id.x < arrayLength(&x) {{ x[id.x] *= {name}; }}
                 }}"
            );
            let kernel = pool.kernel(&wgsl, "scale")?;
            let x = Tensor::full(&pool, [100], 2.0_f32)?;
            for factor in [3.0_f32, 0.5, -1.0] {
                kernel.dispatch(&[&x], &[factor.into()], [4, 1, 1])?;
            }
            assert_eq!(x.read_blocking::<f32>()?, [-3.0; 100], "{name}");
        }
    }
    Ok(())
}

/// Declarations in comments are ignored.
#[test]
fn a_comment_that_quotes_the_declaration_has_no_effect() -> Outcome {
    for pool in pools() {
        let wgsl = "// Scalars: @group(1) @binding(0) var<uniform> params: f32
             @group(0) @binding(0) var<storage, read_write> x: array<f32>;
             @group(1) @binding(0) var<uniform> params: f32;
             @compute @workgroup_size(1) fn put() { x[0] = params; }";
        let kernel = pool.kernel(wgsl, "put")?;
        let x = Tensor::zeros(&pool, [1], DType::F32)?;
        kernel.dispatch(&[&x], &[1.5_f32.into()], [1, 1, 1])?;
        assert_eq!(x.read_blocking::<f32>()?, [1.5]);
    }
    Ok(())
}

#[test]
fn a_kernel_without_scalars_and_one_of_several_entry_points() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let wgsl = "@group(0) @binding(0) var<storage, read_write> x: array<u32>;
         @compute @workgroup_size(4, 2, 1) fn one() { x[0] = 1u; }
         @compute @workgroup_size(1) fn two(@builtin(workgroup_id) id: vec3<u32>) { x[id.x + 3u * id.y + 6u * id.z] = 2u; }";
    let (one, two) = (pool.kernel(wgsl, "one")?, pool.kernel(wgsl, "two")?);
    assert_eq!((one.workgroup_size(), two.workgroup_size()), ([4, 2, 1], [1, 1, 1]));
    let x = Tensor::zeros(&pool, [14], DType::U32)?;
    two.dispatch(&[&x], &[], [3, 2, 2])?;
    one.dispatch(&[&x], &[], [1, 1, 1])?;
    let mut wanted = [2; 14];
    wanted[0] = 1;
    wanted[12..].fill(0);
    assert_eq!(x.read_blocking::<u32>()?, wanted);
    for nothing in [[0, 1, 1], [1, 0, 1], [1, 1, 0]] {
        x.fill_(7_u32)?;
        two.dispatch(&[&x], &[], nothing)?;
        assert_eq!(x.read_blocking::<u32>()?, [7; 14]);
    }
    Ok(())
}

#[test]
fn elements_may_be_vectors_matrices_atomics_and_structures() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    if pool.memory().device().limits().max_storage_buffers_per_shader_stage < 5 {
        eprintln!("skipped: needs five storage buffers in a shader");
        return Ok(());
    }
    let wgsl = "struct Pair { low: u32, high: f32 }
         @group(0) @binding(0) var<storage, read_write> vectors: array<vec4<f32>>;
         @group(0) @binding(1) var<storage, read_write> matrices: array<mat2x2<f32>>;
         @group(0) @binding(2) var<storage, read_write> counts: array<atomic<u32>>;
         @group(0) @binding(3) var<storage, read_write> pairs: array<Pair>;
         @group(0) @binding(4) var<storage, read_write> one: i32;
         @compute @workgroup_size(64) fn all(@builtin(global_invocation_id) id: vec3<u32>) {
             atomicAdd(&counts[id.x % 2u], 1u);
             if id.x == 0u {
                 vectors[1] = vec4(1.0, 2.0, 3.0, 4.0);
                 matrices[0] = mat2x2(vec2(5.0, 6.0), vec2(7.0, 8.0));
                 pairs[1] = Pair(9u, 1.0);
                 one = -3;
             }
         }";
    let kernel = pool.kernel(wgsl, "all")?;
    let vectors = Tensor::zeros(&pool, [2, 4], DType::F32)?;
    let matrices = Tensor::zeros(&pool, [2, 2], DType::F32)?;
    let counts = Tensor::zeros(&pool, [2], DType::U32)?;
    let pairs = Tensor::zeros(&pool, [2, 2], DType::U32)?;
    let one = Tensor::zeros(&pool, [], DType::I32)?;
    kernel.dispatch(&[&vectors, &matrices, &counts, &pairs, &one], &[], [10, 1, 1])?;
    assert_eq!(vectors.read_blocking::<f32>()?, [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0]);
    assert_eq!(matrices.read_blocking::<f32>()?, [5.0, 6.0, 7.0, 8.0]);
    assert_eq!(counts.read_blocking::<u32>()?, [320, 320]);
    assert_eq!(pairs.read_blocking::<u32>()?, [0, 0, 9, 1.0_f32.to_bits()]);
    assert_eq!(one.read_blocking::<i32>()?, [-3]);
    Ok(())
}

/// A kernel can access exactly the elements of its tensor, not the padding of the block.
#[test]
fn a_binding_has_the_tensors_length_and_a_view_starts_at_its_first_element() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let wgsl = "@group(0) @binding(0) var<storage, read_write> x: array<u32>;
         @compute @workgroup_size(1) fn note() { x[0] = arrayLength(&x); }";
    let kernel = pool.kernel(wgsl, "note")?;
    for length in [1, 2, 7, 8, 9, 1000] {
        let x = Tensor::zeros(&pool, [length], DType::U32)?;
        kernel.dispatch(&[&x], &[], [1, 1, 1])?;
        assert_eq!(x.read_blocking::<u32>()?[0] as usize, length);
    }
    let x = Tensor::zeros(&pool, [4, 64], DType::U32)?;
    kernel.dispatch(&[&x.narrow(0, 1, 2)?], &[], [1, 1, 1])?;
    let mut wanted = vec![0; 256];
    wanted[64] = 128;
    assert_eq!(x.read_blocking::<u32>()?, wanted);
    Ok(())
}

/// Intentional out-of-bounds accesses: by one, by a large distance, and with an address that wraps around.
#[test]
fn a_kernel_that_writes_past_its_tensor_changes_no_adjacent_tensor() -> Outcome {
    for pool in adapter::all_shared() {
        let wgsl = "@group(0) @binding(0) var<storage, read_write> x: array<u32>;
             @compute @workgroup_size(64) fn run_over(@builtin(global_invocation_id) id: vec3<u32>) {
                 x[arrayLength(&x) + id.x] = 0xdeadbeefu;
                 x[id.x * 1000u] = 0xdeadbeefu;
                 x[0x40000000u - 1u - id.x] = 0xdeadbeefu;
                 x[0u - 1u - id.x] = 0xdeadbeefu;
             }";
        let kernel = pool.kernel(wgsl, "run_over")?;
        for length in [1, 8, 9, 63, 64, 1000] {
            let all: Result<Vec<_>, _> = (0..5).map(|number| Tensor::full(pool, [length], 100_u32 + number)).collect();
            let all = all?;
            kernel.dispatch(&[&all[2]], &[], [4, 1, 1])?;
            for (number, tensor) in (0..).zip(&all) {
                if number != 2 {
                    assert_eq!(tensor.read_blocking::<u32>()?, vec![100 + number; length], "{number} of {length}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn one_tensor_may_be_bound_twice_where_neither_is_written() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let wgsl = "@group(0) @binding(0) var<storage, read_write> output: array<f32>;
         @group(0) @binding(1) var<storage, read_write> left: array<f32>;
         @group(0) @binding(2) var<storage, read_write> right: array<f32>;
         @compute @workgroup_size(64) fn product(@builtin(global_invocation_id) id: vec3<u32>) {
             if id.x < arrayLength(&output) { output[id.x] = left[id.x] * right[id.x]; }
         }";
    let kernel = pool.kernel(wgsl, "product")?;
    let (x, y) = (Tensor::full(&pool, [64], 3.0_f32)?, Tensor::zeros(&pool, [64], DType::F32)?);
    kernel.dispatch(&[&y, &x, &x], &[], [1, 1, 1])?;
    assert_eq!(y.read_blocking::<f32>()?, [9.0; 64]);
    Ok(())
}

#[test]
fn a_workgroup_size_given_by_an_override_constant_is_evaluated() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let wgsl = "override WIDTH: u32 = 8u;
         @group(0) @binding(0) var<storage, read_write> x: array<u32>;
         @compute @workgroup_size(2u * WIDTH, 2)
         fn count(@builtin(local_invocation_index) local: u32) { x[local] = WIDTH; }";
    let kernel = pool.kernel(wgsl, "count")?;
    let x = Tensor::zeros(&pool, [40], DType::U32)?;
    kernel.dispatch(&[&x], &[], [1, 1, 1])?;
    assert_eq!(x.read_blocking::<u32>()?, [[8; 32].as_slice(), &[0; 8]].concat());
    assert_eq!(kernel.workgroup_size(), [16, 2, 1]);
    Ok(())
}
