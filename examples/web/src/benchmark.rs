//! A benchmark of the visitor's GPU. Sizes follow its speed, so that a phone and a software renderer finish, too.

use wgpu_pool::{Activation, AdamW, AdamWParameter, Conv2d, DType, Padding, Pool, Result, Tensor};

/// Milliseconds for which a row is measured.
const LONG: f64 = 300.0;
/// A device that adds fewer bytes in a millisecond gets the small sizes.
const FAST: f64 = 20e6;
const MIB: usize = 1 << 20;

/// The amount of work of a run.
#[derive(Clone, Copy)]
enum Work {
    /// Bytes that are read and written.
    Bytes(usize),
    /// Floating-point operations.
    Operations(usize),
    /// Kernels that depend on each other.
    Launches(usize),
}

/// A run of a row on operands that it created.
type Run = Box<dyn Fn() -> Result<()>>;

/// A row: its name, and a function that creates its operands and returns their description, the work and the run.
pub(crate) struct Row {
    name: &'static str,
    prepare: fn(&Pool, bool) -> Result<(String, Work, Run)>,
}

pub(crate) static ROWS: [Row; 8] = [
    Row { name: "x + y", prepare: addition },
    Row { name: "sum", prepare: sum },
    Row { name: "softmax", prepare: softmax },
    Row { name: "matrix product", prepare: product },
    Row { name: "product, bias, ReLU", prepare: product_then },
    Row { name: "convolution 3×3", prepare: convolution },
    Row { name: "AdamW", prepare: adamw },
    Row { name: "dependent launches", prepare: launches },
];

/// Returns the name, the size, the milliseconds of a run, and the rate of a row.
pub(crate) async fn run(pool: &Pool, row: usize) -> Result<Vec<String>> {
    let Some(row) = ROWS.get(row) else { return Ok(Vec::new()) };
    let is_fast = is_fast(pool).await?;
    let (size, work, run) = (row.prepare)(pool, is_fast)?;
    let milliseconds = measured(pool, &run).await?;
    let rate = match work {
        Work::Bytes(bytes) => rate(1e3 * bytes as f64 / milliseconds, "B/s"),
        Work::Operations(operations) => rate(1e3 * operations as f64 / milliseconds, "FLOP/s"),
        Work::Launches(count) => format!("{:.2} µs each", milliseconds * 1e3 / count as f64),
    };
    Ok(vec![row.name.into(), size, format!("{milliseconds:.3}"), rate])
}

/// An amount per second with the prefix in which it is 1 or more: a renderer in software is a thousand times as slow as a GPU.
fn rate(amount: f64, unit: &str) -> String {
    let prefixes = [(1e12, "T"), (1e9, "G"), (1e6, "M")];
    let (scale, prefix) = prefixes.into_iter().find(|(scale, _)| amount >= *scale).unwrap_or((1e3, "k"));
    format!("{:.1} {prefix}{unit}", amount / scale)
}

/// The milliseconds of a run: the mean of as many as fit in [`LONG`], after one that compiles the kernels.
async fn measured(pool: &Pool, run: &Run) -> Result<f64> {
    run()?;
    pool.synchronize().await?;
    let mut runs = 1;
    loop {
        let begin = js_sys::Date::now();
        for _ in 0..runs {
            run()?;
        }
        pool.synchronize().await?;
        let time = js_sys::Date::now() - begin;
        if time >= LONG || runs >= 256 {
            return Ok(time.max(0.1) / f64::from(runs));
        }
        runs *= 2;
    }
}

/// Whether the device gets the large sizes.
async fn is_fast(pool: &Pool) -> Result<bool> {
    let x = Tensor::zeros(pool, [MIB], DType::F32)?;
    let run: Run = Box::new(move || Ok(x.add_(1.0_f32)?));
    Ok((8 * MIB) as f64 / measured(pool, &run).await? > FAST)
}

fn random(pool: &Pool, shape: &[usize]) -> Result<Tensor> {
    Ok(Tensor::randn(pool, shape, 1)?)
}

/// The elements of the rows that move memory.
fn elements(is_fast: bool) -> usize {
    if is_fast { 16 * MIB } else { MIB }
}

fn mib(elements: usize) -> String {
    format!("{} MiB", elements * 4 / MIB)
}

fn addition(pool: &Pool, is_fast: bool) -> Result<(String, Work, Run)> {
    let count = elements(is_fast);
    let (x, y) = (random(pool, &[count])?, random(pool, &[count])?);
    let run: Run = Box::new(move || Ok(drop(x.add(&y)?)));
    Ok((mib(count), Work::Bytes(12 * count), run))
}

fn sum(pool: &Pool, is_fast: bool) -> Result<(String, Work, Run)> {
    let count = elements(is_fast);
    let x = random(pool, &[count])?;
    let run: Run = Box::new(move || Ok(drop(x.sum(..)?)));
    Ok((mib(count), Work::Bytes(4 * count), run))
}

fn softmax(pool: &Pool, is_fast: bool) -> Result<(String, Work, Run)> {
    let count = elements(is_fast);
    let x = random(pool, &[count / 1024, 1024])?;
    let run: Run = Box::new(move || Ok(drop(x.softmax(1)?)));
    Ok((format!("{} × 1024", count / 1024), Work::Bytes(8 * count), run))
}

/// The side of the matrices.
fn side(is_fast: bool) -> usize {
    if is_fast { 1024 } else { 256 }
}

fn product(pool: &Pool, is_fast: bool) -> Result<(String, Work, Run)> {
    let side = side(is_fast);
    let (x, y) = (random(pool, &[side, side])?, random(pool, &[side, side])?);
    let run: Run = Box::new(move || Ok(drop(x.matmul(&y)?)));
    Ok((format!("{side} × {side} × {side}"), Work::Operations(2 * side.pow(3)), run))
}

fn product_then(pool: &Pool, is_fast: bool) -> Result<(String, Work, Run)> {
    let side = side(is_fast);
    let (x, y, bias) = (random(pool, &[side, side])?, random(pool, &[side, side])?, random(pool, &[side])?);
    let run: Run = Box::new(move || Ok(drop(x.matmul_then(&y, Some(&bias), Some(Activation::Relu))?)));
    Ok((format!("{side} × {side} × {side}"), Work::Operations(2 * side.pow(3)), run))
}

fn convolution(pool: &Pool, is_fast: bool) -> Result<(String, Work, Run)> {
    let (images, channels, size) = if is_fast { (8, 32, 64) } else { (1, 16, 32) };
    let x = random(pool, &[images, channels, size, size])?;
    let weight = random(pool, &[channels, channels, 3, 3])?;
    let options = Conv2d { padding: Padding::all(1), ..Conv2d::default() };
    let run: Run = Box::new(move || Ok(drop(x.conv2d(&weight, None, options)?)));
    let operations = 2 * images * size * size * channels * channels * 9;
    Ok((format!("{images} × {channels} × {size} × {size}"), Work::Operations(operations), run))
}

fn adamw(pool: &Pool, is_fast: bool) -> Result<(String, Work, Run)> {
    let count = elements(is_fast) / 4;
    let zeros = || Tensor::zeros(pool, [count], DType::F32);
    let (x, gradient, mean, mean_square) = (random(pool, &[count])?, random(pool, &[count])?, zeros()?, zeros()?);
    let run: Run = Box::new(move || {
        let parameter = AdamWParameter { value: &x, gradient: &gradient, mean: &mean, mean_square: &mean_square };
        Ok(AdamW::default().step(1, &[parameter])?)
    });
    Ok((mib(count), Work::Bytes(7 * 4 * count), run))
}

fn launches(pool: &Pool, _is_fast: bool) -> Result<(String, Work, Run)> {
    const COUNT: usize = 100;
    let x = random(pool, &[256])?;
    let run: Run = Box::new(move || {
        for _ in 0..COUNT {
            x.add_(1.0_f32)?;
        }
        Ok(())
    });
    Ok((format!("{COUNT} on 1 KiB"), Work::Launches(COUNT), run))
}
