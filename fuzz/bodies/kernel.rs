//! Random and mutated WGSL, on a device without a driver: an error or a kernel, never a panic, and the pool stays
//! usable.

use crate::device;
use crate::input::Input;
use std::sync::OnceLock;
use wgpu_pool::{DType, Kernel, KernelError, Pool, Scalar, Tensor, f16};

/// Never dropped: wgpu must not be used while a thread exits.
static POOLS: OnceLock<[Pool; 2]> = OnceLock::new();

/// Two pools: on a device with all features that kernels can use, and on a device without features.
fn pools() -> [Pool; 2] {
    let all = wgpu::Features::SHADER_F16 | wgpu::Features::IMMEDIATES | wgpu::Features::SUBGROUP;
    POOLS.get_or_init(|| [device::pool(all), device::pool(wgpu::Features::empty())]).clone()
}

/// Valid kernels, as a basis for mutations.
const SEEDS: &[&str] = &[
    "@group(0) @binding(0) var<storage, read_write> x: array<f32>;\n@group(1) @binding(0) var<uniform> params: f32;\n@compute @workgroup_size(64)\nfn main(@builtin(global_invocation_id) id: vec3<u32>) { if id.x < arrayLength(&x) { x[id.x] *= params; } }",
    "enable f16;\nstruct P { a: f16, b: vec2<u32>, c: i32 }\n@group(0) @binding(0) var<storage, read_write> x: array<f16>;\n@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;\n@group(1) @binding(0) var<uniform> params: P;\noverride W: u32 = 32u;\n@compute @workgroup_size(W, 2)\nfn main(@builtin(local_invocation_index) i: u32) { x[i] = params.a; y[i].x = f32(params.c) / f32(params.b.y); }",
    "struct S { n: atomic<u32>, d: array<u32> }\n@group(0) @binding(0) var<storage, read_write> s: S;\nvar<workgroup> w: array<u32, 64>;\n@compute @workgroup_size(64)\nfn main(@builtin(local_invocation_index) i: u32) { w[i] = atomicAdd(&s.n, 1u); workgroupBarrier(); s.d[w[63u - i]] = i; }",
    "@group(0) @binding(0) var<storage, read_write> a: array<i32, 16>;\nfn f(p: ptr<function, i32>) -> i32 { *p = *p / (*p - 1); return *p; }\n@compute @workgroup_size(1)\nfn main() { var v = a[3]; loop { v = f(&v); if v < 0 { break; } continuing { v = v << 33u % 7u; } } a[v] = v; }",
    "alias T = mat4x4<f32>;\nvar<private> k: T;\n@group(0) @binding(0) var<storage, read_write> m: array<T>;\n@compute @workgroup_size(8, 8, 1)\nfn main(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>) { for (var i = 0; i < 4; i++) { k[i] = m[w.x][i] * 2.0; } m[w.x] = transpose(k); switch n.x { case 1u, 2u: { m[0] = T(); } default: {} } }",
];

/// The texts that are inserted.
const BITS: &[&str] = &[
    "@group(0) @binding(1) var<storage, read_write> z: array<u32>;\n",
    "@group(0) @binding(0) ",
    "@group(1) @binding(0) var<uniform> params",
    "var<uniform> u: array<vec4<u32>, 4>;",
    "var<storage, read> ",
    "var<storage> ",
    "override N: u32 = 4u;",
    "override M: f32;",
    "@id(7) override Q = 1u;",
    "array<u32, N>",
    "array<u32, 1073741824>",
    "array<array<array<f32, 65535>, 65535>, 65535>",
    "@size(4294967292) ",
    "@align(2147483648) ",
    "4294967295u",
    "-2147483648",
    "0x1p-126f",
    "1e38f",
    "texture_2d<f32>",
    "sampler",
    "enable subgroups;",
    "enable f16;",
    "subgroupAdd(1u)",
    "@workgroup_size(0)",
    "@workgroup_size(65535, 65535, 65535)",
    "@workgroup_size(4294967295)",
    "((((((((((((((((",
    "))))))))",
    "{{{{{{{{",
    "}}}}",
    "/*",
    "*/",
    "// ",
    "\u{394}\u{3b1}",
    "\u{0}",
    "fn main() {}",
    "@compute ",
    "@vertex fn v() -> @builtin(position) vec4<f32> { return vec4<f32>(); }\n",
    "diagnostic(off, derivative_uniformity);",
    "const_assert false;",
    "ptr<storage, u32, read_write>",
    "atomicCompareExchangeWeak(&s.n, 1u, 2u)",
    "loop {}",
    "return;",
    "discard;",
    "binding_array<texture_2d<f32>>",
    "var<immediate> im: u32;",
    "@must_use ",
    "bool",
    "f64",
    "i64",
    "vec3<bool>",
    "ray_query",
    "acceleration_structure",
    "mat2x2<f16>",
    "struct R { r: R }",
    "fn main() { main(); }",
    "1/0",
    "1%0",
    "a[0xffffffffu]",
    "&&",
    "_ = ",
    "let _x = 1;",
    "@invariant ",
    "main",
    "@group(0) @binding(4294967295) var<storage, read_write> q: u32;\n",
    "@group(3) @binding(0) var<storage, read_write> g: u32;\n",
];

/// The maximum length of a text: sources that take long to compile make fuzzing inefficient.
const LONGEST: usize = 6000;

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let head = input.byte();
    let [all, none] = pools();
    let pool = if head & 1 == 0 { all } else { none };
    let text = if head & 2 == 0 {
        String::from_utf8_lossy(input.rest()).into_owned()
    } else {
        changed(SEEDS[usize::from(head >> 2) % SEEDS.len()], &mut input)
    };
    match pool.kernel(&text, if head & 0x80 == 0 { "main" } else { "\u{394}\u{3b1}" }) {
        Ok(kernel) => dispatch(&pool, &kernel, u32::from(head)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    pool.submit().unwrap_or_else(|error| panic!("the pool is lost: {error}\n{text}"));
}

fn changed(seed: &str, input: &mut Input<'_>) -> String {
    let mut text: Vec<char> = seed.chars().collect();
    while !input.is_empty() && text.len() <= LONGEST {
        let (kind, place, argument) = (input.byte(), input.two(), input.byte());
        let at = usize::try_from(place).unwrap_or(0) % (text.len() + 1);
        let end = (at + usize::from(argument) % 24).min(text.len());
        match kind % 4 {
            0 => drop(text.drain(at..end)),
            1 | 2 => drop(text.splice(at..at, BITS[usize::from(argument) % BITS.len()].chars())),
            _ => {
                let copy = text[at..end].to_vec();
                let to = usize::from(argument) * 31 % (text.len() + 1);
                drop(text.splice(to..to, copy));
            }
        }
    }
    text.into_iter().collect()
}

/// Finds the arguments of the kernel by means of its errors, and runs it.
fn dispatch(pool: &Pool, kernel: &Kernel, workgroups: u32) {
    let tensor = |dtype| Tensor::zeros(pool, [4096], dtype).expect("there is room");
    let tensors = [DType::F32, DType::U32, DType::I32].map(tensor);
    let (mut given, mut scalars): (Vec<&Tensor>, Vec<Scalar>) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        match kernel.dispatch(&given, &scalars, [workgroups, 1, 65535]) {
            Err(KernelError::TensorCount { wanted, .. }) if wanted <= tensors.len() => {
                given = tensors.iter().take(wanted).collect();
            }
            Err(KernelError::Kind { binding, wanted, .. }) => {
                let Some(index) = ["f32", "u32", "i32"].iter().position(|name| *name == wanted) else { return };
                given[binding] = &tensors[index];
            }
            Err(KernelError::ParameterCount { wanted, .. }) => scalars = vec![1.0_f32.into(); wanted],
            Err(KernelError::ParameterKind { index, wanted, .. }) => {
                scalars[index] = match wanted {
                    "f32" => 1.0_f32.into(),
                    "i32" => 1_i32.into(),
                    "u32" => 1_u32.into(),
                    _ => f16::ONE.into(),
                };
            }
            Err(error) => return assert!(!error.to_string().is_empty()),
            Ok(()) => return,
        }
    }
}
