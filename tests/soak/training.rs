//! Training and decoding with little more memory than they need.

use crate::budget::Budget;
use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use wgpu_pool::{DType, Pool, PoolOptions, Tensor, TensorError};

/// The smallest segment. Small, because the programs are small.
const SEGMENT: u64 = 64 << 10;

fn options(limit: Option<u64>) -> PoolOptions {
    PoolOptions { limit, smallest_segment: Some(SEGMENT), small_limit: 4 << 10, ..crate::common::options() }
}

fn random_tensor(pool: &Pool, shape: [usize; 2], random: &mut Random) -> Result<Tensor, TensorError> {
    let elements: Vec<f32> = (0..shape[0] * shape[1]).map(|_| random.real() * 0.1).collect();
    Tensor::from_slice(pool, &elements, shape)
}

/// Trains two layers with batches of varying length. Returns the weights.
pub(crate) fn train(pool: &Pool, seed: u64, steps: usize) -> Result<Vec<f32>, TensorError> {
    let mut random = Random::new(seed);
    let width = 32 + random.below(96);
    let mut first = random_tensor(pool, [64, width], &mut random)?;
    let mut second = random_tensor(pool, [width, 16], &mut random)?;
    for _ in 0..steps {
        let rows = 16 + random.below(400);
        let x = random_tensor(pool, [rows, 64], &mut random)?;
        let wanted = random_tensor(pool, [rows, 16], &mut random)?;
        let hidden = x.matmul(&first)?;
        let active = hidden.relu()?;
        let error = active.matmul(&second)?.sub(&wanted)?;
        let of_second = active.t()?.matmul(&error)?;
        let of_active = error.matmul(&second.t()?)?;
        let of_hidden = of_active.mul(&hidden.gt(&hidden.mul(0.0_f32)?)?.to(DType::F32)?)?;
        let of_first = x.t()?.matmul(&of_hidden)?;
        first = first.sub(&of_first.mul(1e-3_f32)?)?;
        second = second.sub(&of_second.mul(1e-3_f32)?)?;
    }
    let mut weights = first.read_blocking()?;
    weights.extend(second.read_blocking::<f32>()?);
    Ok(weights)
}

/// Decodes several sequences of varying length, each with a cache that grows by one row per step.
pub(crate) fn decode(pool: &Pool, seed: u64, steps: usize) -> Result<Vec<f32>, TensorError> {
    let mut random = Random::new(seed);
    let width = 32 + random.below(64);
    let mut caches = Vec::new();
    let mut out = Vec::new();
    for step in 0..steps {
        if caches.len() < 4 && random.below(4) == 0 || caches.is_empty() {
            let rows = 1 + random.below(120);
            caches.push(random_tensor(pool, [rows, width], &mut random)?);
        }
        let index = random.below(caches.len());
        let row = random_tensor(pool, [1, width], &mut random)?;
        caches[index] = Tensor::cat(&[&caches[index], &row], 0)?;
        let weights = row.matmul(&caches[index].t()?)?.softmax(1)?;
        let read = weights.matmul(&caches[index])?;
        if step % 16 == 0 {
            out.extend(read.read_blocking::<f32>()?);
        }
        if caches[index].shape()[0] > 200 {
            caches.swap_remove(index);
        }
    }
    Ok(out)
}

/// Runs a program without a limit, then with 10% more memory than its peak, and compares the results.
fn at_its_need(program: fn(&Pool, u64, usize) -> Result<Vec<f32>, TensorError>, seed: u64, steps: usize) -> Outcome {
    let Some(pool) = adapter::open(options(None)) else { return Ok(()) };
    let wanted = program(&pool, seed, steps)?;
    let need = pool.stats().allocated.peak;
    drop(pool);
    let limit = need + need / 10;
    let Some(pool) = adapter::open(options(Some(limit))) else { return Ok(()) };
    let found =
        program(&pool, seed, steps).map_err(|error| format!("seed {seed}, limit {limit}, need {need}: {error}"))?;
    if pool.remedies().out_of_memory > 0 || pool.stats().reserved.peak > limit {
        return Err(format!("seed {seed}: {:?}, limit {limit}", pool.remedies()).into());
    }
    let same = wanted.iter().map(|value| value.to_bits()).eq(found.iter().map(|value| value.to_bits()));
    if same { Ok(()) } else { Err(format!("seed {seed}: another result at the limit").into()) }
}

#[test]
fn training_and_decoding_with_ten_percent_spare_memory_are_never_refused() -> Outcome {
    let budget = Budget::new("training and decoding at 1.1 times the need", 1);
    let steps = if budget.is_long() { 200 } else { 40 };
    let mut rounds = 0;
    for seed in budget.seeds() {
        at_its_need(train, seed, steps)?;
        at_its_need(decode, seed, 4 * steps)?;
        rounds += 1;
    }
    budget.report(&format!("{rounds} programs of each kind"));
    Ok(())
}
