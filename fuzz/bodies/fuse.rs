//! Random expressions over random tensors, on a device without a driver: a kernel or a typed error, never a panic.

use crate::input::Input;
use std::sync::OnceLock;
use wgpu_pool::{DType, Expression, Pool, PoolOptions, Tensor, TensorError, f16, fuse};

/// Never dropped: wgpu must not be used while a thread exits.
static POOLS: OnceLock<[Pool; 2]> = OnceLock::new();

/// The maximum number of parts of an expression.
const MOST_PARTS: usize = 60;

fn pools() -> [Pool; 2] {
    let open = |required_features| {
        let descriptor = wgpu::DeviceDescriptor { required_features, ..wgpu::DeviceDescriptor::default() };
        let (device, queue) = wgpu::Device::noop(&descriptor);
        let options = PoolOptions {
            limit: Some(16 << 20),
            smallest_segment: Some(65536),
            small_limit: 4096,
            ..PoolOptions::default()
        };
        Pool::from_device(device, queue, options).expect("valid options")
    };
    let all = wgpu::Features::SHADER_F16 | wgpu::Features::IMMEDIATES;
    POOLS.get_or_init(|| [open(all), open(wgpu::Features::empty())]).clone()
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let head = input.byte();
    let [all, none] = pools();
    let pool = if head & 8 == 0 { all } else { none };
    match head % 6 {
        0 => run_on::<1>(&mut input, &pool),
        1 => run_on::<2>(&mut input, &pool),
        2 => run_on::<3>(&mut input, &pool),
        3 => run_on::<4>(&mut input, &pool),
        4 => run_on::<5>(&mut input, &pool),
        _ => run_on::<6>(&mut input, &pool),
    }
    pool.submit().unwrap_or_else(|error| panic!("the pool is lost: {error}"));
}

fn tensor(input: &mut Input<'_>, pool: &Pool) -> Result<Tensor, TensorError> {
    const SHAPES: [&[usize]; 9] = [&[], &[8], &[3, 8], &[1], &[3, 1], &[5, 3, 8], &[0], &[3, 7], &[2, 3, 4, 5, 6, 7]];
    let dtype = [DType::F32, DType::F32, DType::I32, DType::U32, DType::F16][input.below(5)];
    let tensor = Tensor::zeros(pool, SHAPES[input.below(9)], dtype)?;
    match input.below(4) {
        0 if tensor.rank() >= 2 => tensor.transpose(0, 1),
        1 if tensor.rank() >= 1 && tensor.shape()[0] > 1 => tensor.narrow(0, 1, tensor.shape()[0] - 1),
        _ => Ok(tensor),
    }
}

fn run_on<const N: usize>(input: &mut Input<'_>, pool: &Pool) {
    let tensors: Result<Vec<Tensor>, TensorError> = (0..N).map(|_| tensor(input, pool)).collect();
    let Ok(mut tensors) = tensors else { return };
    if N > 1 && input.below(3) == 0 {
        tensors[1] = tensors[0].clone();
    }
    let fused = fuse(|inputs: [Expression<'_>; N]| expression(input, &inputs));
    let given: [&Tensor; N] = std::array::from_fn(|index| &tensors[index]);
    match fused.run(given) {
        Ok(result) => {
            for target in [&tensors[0], &result] {
                if let Err(error) = fused.run_into(given, target) {
                    assert!(!error.to_string().is_empty());
                }
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn expression<'a>(input: &mut Input<'_>, inputs: &[Expression<'a>]) -> Expression<'a> {
    const NUMBERS: [f32; 8] = [0.0, -0.0, 1.5, f32::NAN, f32::INFINITY, f32::MIN_POSITIVE / 2.0, -3e38, 0.1];
    let mut parts = inputs.to_vec();
    while !input.is_empty() && parts.len() < MOST_PARTS {
        let (operation, x, b) = (input.byte(), input.byte(), input.byte());
        let part = |number: u8| parts[parts.len() - 1 - usize::from(number) % parts.len()];
        let (x, y, number) = (part(x), part(b), NUMBERS[usize::from(b) % 8]);
        parts.push(match operation % 48 {
            0 => x + y,
            1 => x - y,
            2 => x * y,
            3 => x / y,
            4 => x.maximum(y),
            5 => x.minimum(y),
            6 => x.pow(y),
            7 => x.eq(y),
            8 => x.ne(y),
            9 => x.lt(y),
            10 => x.le(y),
            11 => x.gt(y),
            12 => x.ge(y),
            13 => !x,
            14 => x & y,
            15 => x | y,
            16 => -x,
            17 => x.abs(),
            18 => x.exp(),
            19 => x.log(),
            20 => x.sqrt(),
            21 => x.sin(),
            22 => x.cos(),
            23 => x.tanh(),
            24 => x.sigmoid(),
            25 => x.relu(),
            26 => x.square(),
            27 => x.rsqrt(),
            28 => x.reciprocal(),
            29 => x.floor(),
            30 => x.ceil(),
            31 => x.round(),
            32 => x.silu(),
            33 => x.gelu(),
            34 => x.gelu_tanh(),
            35 => x + number,
            36 => number * x,
            37 => x.select(y, x),
            38 => x.select(number, y),
            39 => x + i32::from(b),
            40 => x * u32::from(b),
            41 => x / f16::from_f32(number),
            42 => x.pow(number),
            43 => i32::MIN / x,
            44 => x - u32::MAX,
            45 => x.lt(i32::MAX),
            46 => x.maximum(number),
            _ => x.select(1_u32, 0_u32),
        });
    }
    parts[parts.len() - 1]
}
