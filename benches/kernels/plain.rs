//! Elementwise operations and reductions compared with single-threaded Rust loops over a `Vec<f32>`. The loop writes
//! into an existing vector; the device allocates its result.

use super::{Bench, Row, median};
use std::error::Error;
use std::hint::black_box;
use std::time::Instant;
use wgpu_pool::{Tensor, TensorError};

type OnDevice = fn(&[Tensor; 2]) -> Result<Tensor, TensorError>;
type OnHost = fn(&[Vec<f32>; 2], &mut [f32]);

/// The row length of operations by rows or columns.
const COLUMNS: usize = 1024;

macro_rules! unary {
    ($x:ident, $loop:expr) => {
        |[x, _], out| out.iter_mut().zip(x).for_each(|(out, &$x)| *out = $loop)
    };
}

macro_rules! binary {
    ($x:ident, $y:ident, $loop:expr) => {
        |[x, y], out| out.iter_mut().zip(x.iter().zip(y)).for_each(|(out, (&$x, &$y))| *out = $loop)
    };
}

/// Functions that the standard library lacks use the formula in PyTorch's docs.
const WORKS: [(&str, OnDevice, OnHost); 32] = [
    ("neg", |[x, _]| x.neg(), unary!(x, -x)),
    ("abs", |[x, _]| x.abs(), unary!(x, x.abs())),
    ("exp", |[x, _]| x.exp(), unary!(x, x.exp())),
    ("log", |[x, _]| x.log(), unary!(x, x.ln())),
    ("sqrt", |[x, _]| x.sqrt(), unary!(x, x.sqrt())),
    ("rsqrt", |[x, _]| x.rsqrt(), unary!(x, 1.0 / x.sqrt())),
    ("reciprocal", |[x, _]| x.reciprocal(), unary!(x, 1.0 / x)),
    ("square", |[x, _]| x.square(), unary!(x, x * x)),
    ("sin", |[x, _]| x.sin(), unary!(x, x.sin())),
    ("cos", |[x, _]| x.cos(), unary!(x, x.cos())),
    ("tanh", |[x, _]| x.tanh(), unary!(x, x.tanh())),
    ("sigmoid", |[x, _]| x.sigmoid(), unary!(x, 1.0 / (1.0 + (-x).exp()))),
    ("relu", |[x, _]| x.relu(), unary!(x, if x > 0.0 { x } else { 0.0 })),
    ("silu", |[x, _]| x.silu(), unary!(x, x / (1.0 + (-x).exp()))),
    (
        "gelu_tanh",
        |[x, _]| x.gelu_tanh(),
        unary!(x, 0.5 * x * (1.0 + (0.797_884_6 * (x + 0.044_715 * x * x * x)).tanh())),
    ),
    ("floor", |[x, _]| x.floor(), unary!(x, x.floor())),
    ("ceil", |[x, _]| x.ceil(), unary!(x, x.ceil())),
    ("round", |[x, _]| x.round(), unary!(x, x.round_ties_even())),
    ("add", |[x, y]| x.add(y), binary!(x, y, x + y)),
    ("sub", |[x, y]| x.sub(y), binary!(x, y, x - y)),
    ("mul", |[x, y]| x.mul(y), binary!(x, y, x * y)),
    ("div", |[x, y]| x.div(y), binary!(x, y, x / y)),
    ("pow", |[x, y]| x.pow(y), binary!(x, y, x.powf(y))),
    ("maximum", |[x, y]| x.maximum(y), binary!(x, y, if x > y || x.is_nan() { x } else { y })),
    ("lt", |[x, y]| x.lt(y), binary!(x, y, f32::from(u8::from(x < y)))),
    ("add_scalar", |[x, _]| x.add(0.5_f32), unary!(x, x + 0.5)),
    ("mul_scalar", |[x, _]| x.mul(0.5_f32), unary!(x, x * 0.5)),
    ("sum of all", |[x, _]| x.sum(..), |[x, _], out| out[0] = x.iter().sum()),
    (
        "sum of each row",
        |[x, _]| x.sum([1]),
        |[x, _], out| {
            out.iter_mut().zip(x.chunks(COLUMNS)).for_each(|(out, row)| *out = row.iter().sum());
        },
    ),
    (
        "sum of each column",
        |[x, _]| x.sum([0]),
        |[x, _], out| {
            out[..COLUMNS].fill(0.0);
            for row in x.chunks(COLUMNS) {
                out.iter_mut().zip(row).for_each(|(out, x)| *out += x);
            }
        },
    ),
    (
        "mean of all",
        |[x, _]| x.mean(..),
        |[x, _], out| {
            out[0] = x.iter().sum::<f32>() / x.len() as f32;
        },
    ),
    (
        "largest of all",
        |[x, _]| x.amax(..),
        |[x, _], out| {
            out[0] = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        },
    ),
];

/// Prints the time of each operation and the speed-up over the loop.
pub(super) fn compare(bench: &Bench<'_>, mebi: u32) -> Result<(), Box<dyn Error>> {
    let elements = mebi as usize * (1 << 20);
    let on_device = [1, 2].map(|seed| bench.random(&[elements / COLUMNS, COLUMNS], seed));
    let [x, y] = on_device;
    let on_device = [x?, y?];
    let on_host = [on_device[0].read_blocking::<f32>()?, on_device[1].read_blocking::<f32>()?];
    let mut out = vec![0.0; elements];
    for (name, device, host) in WORKS {
        let name = format!("{name} {mebi} Mi, a plain loop");
        contest(bench, &name, || device(&on_device), || host(black_box(&on_host), black_box(&mut out)))?;
    }
    Ok(())
}

/// Prints the time on the device and the speed-up over the host: medians of samples and of their ratios, taken alternately.
pub(super) fn contest(
    bench: &Bench<'_>,
    name: &str,
    device: impl Fn() -> Result<Tensor, TensorError>,
    mut host: impl FnMut(),
) -> Result<(), Box<dyn Error>> {
    if !bench.wanted(name) {
        return Ok(());
    }
    let (mut ours, mut ratios) = (Vec::new(), Vec::new());
    for sample in 0..=bench.options.samples {
        bench.pool.synchronize_blocking()?;
        let start = Instant::now();
        drop(device()?);
        bench.pool.synchronize_blocking()?;
        let own = start.elapsed().as_secs_f64();
        let start = Instant::now();
        host();
        // The first run compiles and grows the pool.
        if sample > 0 {
            ratios.push(start.elapsed().as_secs_f64() / own);
            ours.push(own);
        }
    }
    bench.print(&Row { name, seconds: median(ours), share: Some(median(ratios)), ..Row::default() });
    Ok(())
}
