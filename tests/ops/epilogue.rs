//! Products with a bias and an activation, against the three operations one after the other.

use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use crate::model::Array;
use wgpu_pool::{Activation, DType, Pool, Tensor, TensorError};

type Unary = fn(&Tensor) -> Result<Tensor, TensorError>;

const ACTIVATIONS: [(Activation, Unary); 6] = [
    (Activation::Relu, Tensor::relu),
    (Activation::Sigmoid, Tensor::sigmoid),
    (Activation::Tanh, Tensor::tanh),
    (Activation::Silu, Tensor::silu),
    (Activation::Gelu, Tensor::gelu),
    (Activation::GeluTanh, Tensor::gelu_tanh),
];

/// The left and the right operand of a product.
type Sides = fn(&Pool, &mut Random) -> Result<[Tensor; 2], TensorError>;

fn real(pool: &Pool, shape: &[usize], random: &mut Random) -> Result<Tensor, TensorError> {
    Array::real(shape, random).to_device(pool)
}

/// One product for each kernel.
const SIDES: [(&str, Sides); 9] = [
    ("small", |pool, random| Ok([real(pool, &[5, 7], random)?, real(pool, &[7, 3], random)?])),
    ("in vec4s", |pool, random| Ok([real(pool, &[64, 80], random)?, real(pool, &[80, 96], random)?])),
    ("in ones", |pool, random| Ok([real(pool, &[65, 81], random)?, real(pool, &[81, 97], random)?])),
    ("transposed", |pool, random| Ok([real(pool, &[65, 81], random)?, real(pool, &[97, 81], random)?.t()?])),
    ("deep", |pool, random| Ok([real(pool, &[3, 40_001], random)?, real(pool, &[40_001, 4], random)?])),
    ("batches", |pool, random| Ok([real(pool, &[3, 9, 70], random)?, real(pool, &[3, 70, 5], random)?])),
    ("by a vector", |pool, random| Ok([real(pool, &[3, 9, 70], random)?, real(pool, &[70], random)?])),
    ("empty", |pool, _| Ok([Tensor::zeros(pool, [2, 6, 0], DType::F32)?, Tensor::zeros(pool, [0, 5], DType::F32)?])),
    ("of one storage", |pool, random| {
        let both = real(pool, &[72, 72], random)?;
        Ok([both.clone(), both.t()?])
    }),
];

fn assert_same(found: &Tensor, wanted: &Tensor, what: &str) -> Outcome {
    assert_eq!(found.shape(), wanted.shape(), "{what}");
    for (found, wanted) in found.read_blocking::<f32>()?.iter().zip(&wanted.read_blocking::<f32>()?) {
        assert!((found - wanted).abs() <= 4e-6 * wanted.abs().max(1.0), "{what}: {found} {wanted}");
    }
    Ok(())
}

#[test]
fn a_product_with_an_epilogue_is_the_three_operations_one_after_the_other() -> Outcome {
    let mut random = Random::new(31);
    for pool in adapter::all_shared() {
        // Mesa's software GL takes 20 seconds to compile a product.
        let is_slow = pool.memory().adapter_info().backend == wgpu::Backend::Gl;
        for (what, sides) in SIDES.into_iter().take(if is_slow { 1 } else { SIDES.len() }) {
            let [left, right] = sides(pool, &mut random)?;
            let columns = if right.rank() == 1 { 1 } else { right.shape()[right.rank() - 1] };
            // A view, so that its offset counts.
            let bias = real(pool, &[columns + 3], &mut random)?.narrow(0, 3, columns)?;
            let product = left.matmul(&right)?;
            let sum = product.add(&bias)?;
            let found = left.matmul_then(&right, Some(&bias), Some(Activation::Relu))?;
            assert_same(&found, &sum.relu()?, what)?;
            if what == "small" && !is_slow {
                assert_same(&left.matmul_then(&right, Some(&bias), None)?, &sum, what)?;
                for (activation, apply) in ACTIVATIONS {
                    let what = format!("{activation:?}");
                    assert_same(&left.matmul_then(&right, None, Some(activation))?, &apply(&product)?, &what)?;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_bias_may_lie_in_an_operand_and_integers_have_one_too() -> Outcome {
    let mut random = Random::new(32);
    if let Some(pool) = adapter::shared() {
        let left = real(pool, &[40, 72], &mut random)?;
        let right = real(pool, &[72, 72], &mut random)?;
        for bias in [left.narrow(0, 7, 1)?.reshape([72])?, right.narrow(1, 3, 1)?.reshape([72])?] {
            assert_same(&left.matmul_then(&right, Some(&bias), None)?, &left.matmul(&right)?.add(&bias)?, "a view")?;
        }
        let (x, y) = (Array::<i32>::any(&[40, 33], &mut random), Array::<i32>::any(&[33, 36], &mut random));
        let (x, y, bias) = (x.to_device(pool)?, y.to_device(pool)?, Array::<i32>::any(&[36], &mut random));
        let bias = bias.to_device(pool)?;
        let found = x.matmul_then(&y, Some(&bias), Some(Activation::Relu))?;
        let wanted = x.matmul(&y)?.add(&bias)?.relu()?;
        assert_eq!(found.read_blocking::<i32>()?, wanted.read_blocking::<i32>()?);
        let linear = x.linear(&y.t()?.contiguous()?, Some(&bias))?;
        assert_eq!(linear.read_blocking::<i32>()?, x.matmul(&y)?.add(&bias)?.read_blocking::<i32>()?);

        let short = bias.narrow(0, 0, 35)?;
        assert!(matches!(x.matmul_then(&y, Some(&short), None), Err(TensorError::Shape { .. })));
        assert!(matches!(x.matmul_then(&y, None, Some(Activation::Gelu)), Err(TensorError::NotDefined { .. })));
        let float = Tensor::zeros(pool, [36], DType::F32)?;
        assert!(matches!(x.linear(&y.t()?, Some(&float)), Err(TensorError::DType { .. })));
    }
    Ok(())
}
