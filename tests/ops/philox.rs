//! Random tensors: the shader is bitwise equal to the CPU implementation.

use crate::common::{Outcome, adapter};
use wgpu_pool::ops::philox;
use wgpu_pool::{Pool, Tensor, TensorError};

type Make = fn(&Pool, &[usize], u64) -> Result<Tensor, TensorError>;
type Model = fn(u64, u64, u64) -> f32;

const KINDS: [(&str, Make, Model); 2] = [
    ("rand", |pool, shape, seed| Tensor::rand(pool, shape, seed), philox::uniform),
    ("randn", |pool, shape, seed| Tensor::randn(pool, shape, seed), philox::normal),
];

/// A number depends only on its index, also for other shapes, and every element is written.
#[test]
fn random_tensors_equal_the_cpu_to_the_bit_at_odd_counts() -> Outcome {
    for pool in adapter::all_shared() {
        for (name, make, model) in KINDS {
            for (count, seed) in
                [(0, 1), (1, 0), (2, 7), (3, u64::MAX), (5, 1 << 32), (63, 3), (1023, 4), (1025, 5), (4099, 6)]
            {
                drop(Tensor::full(pool, [count], f32::NAN)?);
                let found = make(pool, &[count], seed)?.read_blocking::<f32>()?;
                assert_eq!(found.len(), count);
                for (index, found) in (0..).zip(found) {
                    let wanted = model(seed, 0, index);
                    assert_eq!(
                        found.to_bits(),
                        wanted.to_bits(),
                        "{name}, seed {seed}, element {index}: {found}, {wanted}"
                    );
                }
            }
        }
    }
    Ok(())
}

#[test]
fn the_numbers_do_not_depend_on_the_shape() -> Outcome {
    for pool in adapter::all_shared() {
        for (name, make, _) in KINDS {
            let flat = make(pool, &[30], 9)?.read_blocking::<f32>()?;
            assert_eq!(make(pool, &[2, 3, 5], 9)?.read_blocking::<f32>()?, flat, "{name}");
            assert_eq!(make(pool, &[17], 9)?.read_blocking::<f32>()?, flat[..17], "{name}");
            assert_ne!(make(pool, &[30], 10)?.read_blocking::<f32>()?, flat, "{name}");
        }
    }
    Ok(())
}

/// Beyond one row of workgroups: the last numbers are those of their index.
#[test]
fn a_large_random_tensor_ends_with_the_numbers_of_its_last_indices() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let count = 3_000_001;
    if !adapter::holds(pool, 4 * count as u64) {
        return Ok(());
    }
    for (name, make, model) in KINDS {
        let tensor = make(pool, &[count], 11)?;
        let tail = tensor.narrow(0, count - 1000, 1000)?.read_blocking::<f32>()?;
        for (index, found) in (count as u64 - 1000..).zip(tail) {
            assert_eq!(found.to_bits(), model(11, 0, index).to_bits(), "{name}, element {index}");
        }
    }
    Ok(())
}
