//! The table of operations in warm-ups: an operation compiles nothing when it runs after its warm-up.

use super::placing::{Place, Placed};
use super::{Row, elements, names};
use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use wgpu_pool::{DType, DeviceError, Pool, Tensor, TensorError};

#[test]
fn every_operation_compiles_nothing_after_its_warm_up() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let has = |dtype| dtype != DType::F16 || adapter::has_f16(&pool);
    let mut warmed = 0;
    for row in names::rows().iter().filter(|row| row.needs.is_none_or(has)) {
        for &dtype in row.dtypes.iter().filter(|&&dtype| has(dtype)) {
            for place in [Place::Fresh, Place::Gaps(3)] {
                warmed += check(&pool, row, dtype, place)?;
            }
            // Otherwise the cache is full, and the kernels that were used first are compiled again.
            if pool.caches().iter().any(|cache| cache.name.starts_with("pipelines") && cache.entries > 256) {
                pool.clear_caches();
            }
        }
    }
    assert!(warmed > 300, "{warmed} kernels");
    Ok(())
}

/// Returns the number of kernels that the warm-up compiled.
fn check(pool: &Pool, row: &Row, dtype: DType, place: Place) -> Result<u64, Box<dyn std::error::Error>> {
    let mut random = Random::new(7);
    let place = |operand| if row.suits(operand, place) { place } else { Place::Fresh };
    let operands = row.operands.iter().enumerate().map(|(number, operand)| {
        let dtype = row.dtype_of(number, dtype);
        Placed::new(pool, &elements(operand, dtype, &mut random), dtype, place(number))
    });
    let operands: Vec<Placed> = operands.collect::<Result<_, _>>()?;
    let tensors: Vec<&Tensor> = operands.iter().map(|operand| &operand.tensor).collect();
    let what = format!("{}{} of {}", row.name, row.detail, dtype.name());
    let (dry, warm_up) = pool.warm_up(|| (row.run)(&tensors)).map_err(|error| format!("{what}: {error}"))?;
    match dry {
        // The operation reads.
        Err(TensorError::Device(DeviceError::DryRun { .. })) => return Ok(0),
        dry => drop(dry.map_err(|error| format!("{what}: {error}"))?),
    }
    let before = pool.memory().startup().kernels;
    (row.run)(&tensors)?;
    assert_eq!(pool.memory().startup().kernels, before, "{what} compiles kernels");
    pool.synchronize_blocking()?;
    Ok(warm_up.kernels)
}
