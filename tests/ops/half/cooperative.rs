//! Products by cooperative matrices, where the adapter has them. Whole numbers: every sum is exact in f32, in any order.

use super::assert_rounded;
use crate::common::Outcome;
use crate::common::random::Random;
use crate::model::Array;
use wgpu_pool::{Activation, DType, GpuOptions, Pool, PoolOptions, Tensor, TensorError};

/// A pool whose products of f16 are by cooperative matrices, if there is such an adapter.
fn pool() -> Option<Pool> {
    #[expect(unsafe_code, reason = "wgpu requires a statement that an experimental feature may have bugs")]
    let experimental = unsafe { wgpu::ExperimentalFeatures::enabled() };
    let gpu = GpuOptions { experimental, ..GpuOptions::default() };
    let pool = Pool::request_blocking(PoolOptions { gpu, ..crate::common::options() }).ok()?;
    let has = pool.memory().device().features().contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);
    println!("cooperative matrices: {has}");
    has.then_some(pool)
}

fn whole(pool: &Pool, shape: &[usize], random: &mut Random) -> Result<Tensor, TensorError> {
    Array::<f32>::whole(shape, random).to_device(pool)?.to(DType::F16)
}

fn check(left: &Tensor, right: &Tensor, bias: Option<&Tensor>, what: &str) -> Outcome {
    let wide = |tensor: &Tensor| tensor.to(DType::F32);
    let wide_bias = bias.map(wide).transpose()?;
    for activation in [None, Some(Activation::Relu)] {
        let found = left.matmul_then(right, bias, activation)?;
        let wanted = wide(left)?.matmul_then(&wide(right)?, wide_bias.as_ref(), activation)?;
        assert_rounded(&found, &wanted, 1, what);
    }
    Ok(())
}

#[test]
fn products_by_cooperative_matrices_are_those_of_f32() -> Outcome {
    let Some(pool) = pool() else { return Ok(()) };
    let mut random = Random::new(171);
    let sizes = [[128, 128, 128], [136, 160, 264], [200, 2048, 72], [64, 256, 1000], [1000, 32, 64], [33, 96, 48]];
    for [rows, depth, columns] in sizes {
        let left = whole(&pool, &[rows, depth], &mut random)?;
        let left_transposed = whole(&pool, &[depth, rows], &mut random)?.t()?;
        let right = whole(&pool, &[depth, columns], &mut random)?;
        let right_transposed = whole(&pool, &[columns, depth], &mut random)?.t()?;
        let bias = whole(&pool, &[columns], &mut random)?;
        for (left_name, left) in [("rows", &left), ("columns", &left_transposed)] {
            for (right_name, right) in [("rows", &right), ("columns", &right_transposed)] {
                let what = format!("{rows}×{depth} in {left_name} by {depth}×{columns} in {right_name}");
                check(left, right, None, &what)?;
                check(left, right, Some(&bias), &what)?;
            }
        }
    }
    let batches = [whole(&pool, &[3, 130, 64], &mut random)?, whole(&pool, &[3, 64, 72], &mut random)?];
    check(&batches[0], &batches[1], None, "batches")?;
    check(&batches[0].narrow(1, 2, 128)?, &batches[1], None, "a part of batches")?;
    let both = whole(&pool, &[256, 256], &mut random)?;
    check(&both, &both.t()?, None, "of one storage")
}
