//! Infinities, NaN, and the two zeros. WGSL leaves them open; every native driver that runs compute keeps
//! IEEE 754's rules, and programs count on it.

use crate::common::{Outcome, adapter};
use wgpu_pool::{Tensor, TensorError};

const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;

/// Equal, with NaN equal to itself.
fn assert_same(tensor: Result<Tensor, TensorError>, wanted: &[f32], what: &str) -> Outcome {
    let found = tensor?.read_blocking::<f32>()?;
    let same = |(found, wanted): (&f32, &f32)| found == wanted || (found.is_nan() && wanted.is_nan());
    assert!(found.len() == wanted.len() && found.iter().zip(wanted).all(same), "{what}: {found:?}, not {wanted:?}");
    Ok(())
}

#[test]
fn unary_operations_keep_the_rules_of_infinities() -> Outcome {
    for pool in adapter::all_shared() {
        let x = Tensor::from_slice(pool, &[INF, -INF, NAN], [3])?;
        assert_same(x.neg(), &[-INF, INF, NAN], "neg")?;
        assert_same(x.abs(), &[INF, INF, NAN], "abs")?;
        assert_same(x.square(), &[INF, INF, NAN], "square")?;
        assert_same(x.relu(), &[INF, 0.0, NAN], "relu")?;
        assert_same(x.exp(), &[INF, 0.0, NAN], "exp")?;
        assert_same(x.sigmoid(), &[1.0, 0.0, NAN], "sigmoid")?;
        assert_same(x.sqrt(), &[INF, NAN, NAN], "sqrt")?;
        assert_same(x.rsqrt(), &[0.0, NAN, NAN], "rsqrt")?;
        assert_same(x.reciprocal(), &[0.0, 0.0, NAN], "reciprocal")?;
        assert_same(x.floor(), &[INF, -INF, NAN], "floor")?;
        assert_same(x.ceil(), &[INF, -INF, NAN], "ceil")?;
        assert_same(x.round(), &[INF, -INF, NAN], "round")?;
        assert_same(x.silu(), &[INF, NAN, NAN], "silu")?;
        assert_same(x.gelu(), &[INF, NAN, NAN], "gelu")?;
        assert_same(
            Tensor::from_slice(pool, &[0.5_f32, 1.5, -0.5, 2.5], [4])?.round(),
            &[0.0, 2.0, 0.0, 2.0],
            "round",
        )?;
        assert_same(x.log(), &[INF, NAN, NAN], "log")?;
        assert_same(Tensor::from_slice(pool, &[INF, -INF], [2])?.tanh(), &[1.0, -1.0], "tanh")?;
        assert_same(Tensor::from_slice(pool, &[0.0_f32, -1.0], [2])?.log(), &[-INF, NAN], "log")?;
    }
    Ok(())
}

#[test]
fn binary_operations_keep_the_rules_of_infinities() -> Outcome {
    for pool in adapter::all_shared() {
        let x = Tensor::from_slice(pool, &[INF, INF, INF, NAN, 1.0, -1.0, 0.0], [7])?;
        let y = Tensor::from_slice(pool, &[1.0, INF, 0.0, 1.0, 0.0, 0.0, 0.0], [7])?;
        assert_same(x.add(&y), &[INF, INF, INF, NAN, 1.0, -1.0, 0.0], "add")?;
        assert_same(x.sub(&y), &[INF, NAN, INF, NAN, 1.0, -1.0, 0.0], "sub")?;
        assert_same(x.mul(&y), &[INF, INF, NAN, NAN, 0.0, 0.0, 0.0], "mul")?;
        assert_same(x.div(&y), &[INF, NAN, INF, NAN, INF, -INF, NAN], "div")?;
        let (x, y) = ([INF, -INF, NAN, 1.0, NAN, 0.5, -INF, 2.0], [1.0, 1.0, 1.0, -NAN, NAN, INF, -INF, NAN]);
        let (x, y) = (Tensor::from_slice(pool, &x, [8])?, Tensor::from_slice(pool, &y, [8])?);
        assert_same(x.maximum(&y), &[INF, 1.0, NAN, NAN, NAN, INF, -INF, NAN], "maximum")?;
        assert_same(x.minimum(&y), &[1.0, -INF, NAN, NAN, NAN, 0.5, -INF, NAN], "minimum")?;
        assert_same(x.maximum(NAN), &[NAN; 8], "maximum_scalar")?;
        let huge = Tensor::full(pool, [1], f32::MAX)?;
        assert_same(huge.add(&huge), &[INF], "overflow")?;
        assert_same(huge.neg()?.mul(2.0_f32), &[-INF], "overflow")?;
    }
    Ok(())
}

#[test]
fn reductions_and_products_pass_on_nan() -> Outcome {
    for pool in adapter::all_shared() {
        let rows = [1.0, INF, 2.0, 1.0, INF, -INF, NAN, 0.0, 1.0];
        let x = Tensor::from_slice(pool, &rows, [3, 3])?;
        assert_same(x.sum([1]), &[INF, NAN, NAN], "sum")?;
        assert_same(x.mean([1]), &[INF, NAN, NAN], "mean")?;
        let mut long = vec![1.0_f32; 100_000];
        long[99_999] = NAN;
        assert_same(Tensor::from_slice(pool, &long, [100_000])?.sum(..), &[NAN], "long sum")?;
        let ones = Tensor::full(pool, [3, 1], 1.0_f32)?;
        assert_same(x.matmul(&ones), &[INF, NAN, NAN], "matmul")?;
        // What lies behind a row, or below a column, is not part of it, not even times zero.
        let framed = Tensor::from_slice(pool, &[1.0, 2.0, 3.0, NAN, NAN, NAN, 4.0, 5.0, 6.0], [3, 3])?;
        assert_same(framed.matmul(&ones), &[6.0, NAN, 15.0], "matmul")?;
        let first = framed.narrow(0, 0, 1)?;
        assert_same(first.matmul(&ones), &[6.0], "matmul of a row")?;
        assert_same(ones.t()?.matmul(&first.t()?), &[6.0], "matmul of a column")?;
    }
    Ok(())
}

/// NaN in stale memory must not be read: multiplying NaN by zero gives NaN.
#[test]
fn stale_memory_never_leaks_into_a_result() -> Outcome {
    for pool in adapter::all_shared() {
        for size in [1, 17, 100] {
            drop(Tensor::full(pool, [size, size], NAN)?);
            let zeros = wgpu_pool::Tensor::zeros(pool, [size, size], wgpu_pool::DType::F32)?;
            assert_same(Ok(zeros.clone()), &vec![0.0; size * size], "zeros")?;
            drop(Tensor::full(pool, [size, size], NAN)?);
            assert_same(zeros.matmul(&zeros), &vec![0.0; size * size], "matmul")?;
            drop(Tensor::full(pool, [size], NAN)?);
            assert_same(zeros.sum([0]), &vec![0.0; size], "sum")?;
        }
    }
    Ok(())
}

#[test]
fn copies_keep_every_bit_of_a_number_and_the_sign_of_zero() -> Outcome {
    for pool in adapter::all_shared() {
        let x = [-0.0, 0.0, f32::MIN_POSITIVE, f32::MAX, INF, -1.5, f32::EPSILON, 3.0];
        let tensor = Tensor::from_slice(pool, &x, [2, 4])?;
        let bits = |elements: Vec<f32>| -> Vec<u32> { elements.into_iter().map(f32::to_bits).collect() };
        let wanted = bits(x.to_vec());
        assert_eq!(bits(tensor.read_blocking()?), wanted);
        assert_eq!(bits(tensor.copied()?.read_blocking()?), wanted);
        assert_eq!(bits(tensor.t()?.contiguous()?.t()?.contiguous()?.read_blocking()?), wanted);
        assert_eq!(bits(tensor.neg()?.neg()?.read_blocking()?), wanted);
        let negated = bits(tensor.neg()?.read_blocking()?);
        assert_eq!(negated[..2], [0.0_f32.to_bits(), (-0.0_f32).to_bits()]);
        assert_eq!(bits(Tensor::full(pool, [2], -0.0_f32)?.read_blocking()?), [(-0.0_f32).to_bits(); 2]);
    }
    Ok(())
}
