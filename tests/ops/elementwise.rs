//! Elementwise operations on one and two operands.
//!
//! Tolerances are those of WGSL's accuracy table: they hold for every driver. Where the table says "correctly rounded" one
//! unit in the last place is allowed, since the rounding mode is the device's.

use crate::SIZES;
use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use crate::model::{Array, assert_close, assert_equal, gelu, gelu_tanh, ulp};
use wgpu_pool::{Tensor, TensorError};

/// An operation, its model, and its tolerance at `(x, result)`.
type Unary = (&'static str, fn(&Tensor) -> Result<Tensor, TensorError>, fn(f64) -> f64, fn(f64, f64) -> f64);

/// For every number.
const ANYWHERE: [Unary; 13] = [
    ("neg", Tensor::neg, |x| -x, |_, _| 0.0),
    ("abs", Tensor::abs, f64::abs, |_, _| 0.0),
    ("relu", Tensor::relu, |x| x.max(0.0), |_, _| 0.0),
    ("square", Tensor::square, |x| x * x, |_, y| ulp(y)),
    // The quotient of two functions made of exp(x): no bound in the table; what it takes to be useful.
    ("tanh", Tensor::tanh, f64::tanh, |_, _| 1e-5),
    // exp(-x), then an addition and a division: 3 + 2 |x|, 1, and 2.5 units.
    ("floor", Tensor::floor, f64::floor, |_, _| 0.0),
    ("ceil", Tensor::ceil, f64::ceil, |_, _| 0.0),
    ("round", Tensor::round, f64::round_ties_even, |_, _| 0.0),
    ("reciprocal", Tensor::reciprocal, f64::recip, |_, y| 2.5 * ulp(y)),
    // As sigmoid, with a division of x in place of 1.
    ("silu", Tensor::silu, |x| x / (1.0 + (-x).exp()), |x, y| (7.0 + 2.0 * x.abs()) * ulp(y)),
    // The error function is within 1.5e-7 by its formula, and some units of 1 by its arithmetic.
    ("gelu", Tensor::gelu, gelu, |x, _| 1e-6 * x.abs()),
    ("gelu_tanh", Tensor::gelu_tanh, gelu_tanh, |x, _| 1e-5 * x.abs()),
    ("sigmoid", Tensor::sigmoid, |x| 1.0 / (1.0 + (-x).exp()), |x, y| (7.0 + 2.0 * x.abs()) * ulp(y)),
];

/// For numbers up to pi in magnitude, where the table has bounds.
const UP_TO_PI: [Unary; 3] = [
    ("sin", Tensor::sin, libm::sin, |_, _| f64::from(1.0_f32 / 2048.0)),
    ("cos", Tensor::cos, libm::cos, |_, _| f64::from(1.0_f32 / 2048.0)),
    ("exp", Tensor::exp, f64::exp, |x, y| (4.0 + 2.0 * x.abs()) * ulp(y)),
];

/// For numbers above 0.
const POSITIVE: [Unary; 3] = [
    ("rsqrt", Tensor::rsqrt, |x| 1.0 / x.sqrt(), |_, y| 2.0 * ulp(y)),
    // 2^-21 in absolute terms between 0.5 and 2, 3 units outside.
    ("log", Tensor::log, f64::ln, |_, y| (4.0 * ulp(y)).max(0.5_f64.powi(21))),
    // 1 / inverseSqrt(x): 2 and 2.5 units.
    ("sqrt", Tensor::sqrt, f64::sqrt, |_, y| 5.0 * ulp(y)),
];

#[test]
fn unary_operations_equal_the_model_at_sizes_around_the_workgroup() -> Outcome {
    let mut random = Random::new(1);
    for pool in adapter::all_shared() {
        for size in SIZES {
            let real = Array::real(&[size], &mut random);
            let small = real.map(|x| x * 3.25);
            let positive = real.map(|x| x.abs() * 50.0 + 1e-6);
            let wide = real.map(|x| x * 20.0);
            let sets = [(wide, ANYWHERE.as_slice()), (small, &UP_TO_PI), (positive, &POSITIVE)];
            for (x, operations) in sets {
                let tensor = x.to_device(pool)?;
                for (name, run, model, tolerance) in operations {
                    let wanted = x.map(|x| model(f64::from(x)));
                    let inputs = &x.elements;
                    let allowed = |at: usize, y: f64| tolerance(f64::from(inputs[at]), y);
                    assert_close(&run(&tensor)?, &wanted, allowed, format_args!("{name} of {size}"));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn unary_operations_on_integers_wrap() -> Outcome {
    let mut random = Random::new(2);
    for pool in adapter::all_shared() {
        for size in SIZES {
            let mut x = Array::<i32>::any(&[size], &mut random);
            let edges = [i32::MIN, i32::MAX, 0, -1];
            x.elements.iter_mut().zip(edges).for_each(|(x, edge)| *x = edge);
            let tensor = x.to_device(pool)?;
            assert_equal(&tensor.neg()?, &x.map(i32::wrapping_neg), "neg of i32");
            assert_equal(&tensor.abs()?, &x.map(i32::wrapping_abs), "abs of i32");
            assert_equal(&tensor.relu()?, &x.map(|x| x.max(0)), "relu of i32");
            assert_equal(&tensor.square()?, &x.map(|x| x.wrapping_mul(x)), "square of i32");
            let x = Array::<u32>::any(&[size], &mut random);
            let tensor = x.to_device(pool)?;
            assert_equal(&tensor.abs()?, &x, "abs of u32");
            assert_equal(&tensor.relu()?, &x, "relu of u32");
            assert_equal(&tensor.square()?, &x.map(|x| x.wrapping_mul(x)), "square of u32");
        }
    }
    Ok(())
}

#[test]
fn binary_operations_equal_the_model_at_sizes_around_the_workgroup() -> Outcome {
    let mut random = Random::new(3);
    for pool in adapter::all_shared() {
        for size in SIZES {
            let (x, y) = (Array::real(&[size], &mut random), Array::real(&[size], &mut random));
            let y = y.map(|y| if y == 0.0 { 1.0 } else { y });
            let (left, right) = (x.to_device(pool)?, y.to_device(pool)?);
            let (x, y) = (x.map(f64::from), y.map(f64::from));
            let close = |tensor: Tensor, wanted: Array<f64>, units: f64, name: &str| {
                assert_close(&tensor, &wanted, |_, z| units * ulp(z), format_args!("{name} of {size}"));
            };
            close(left.add(&right)?, x.zip(&y, |x, y| x + y), 1.0, "add");
            close(left.sub(&right)?, x.zip(&y, |x, y| x - y), 1.0, "sub");
            close(left.mul(&right)?, x.zip(&y, |x, y| x * y), 1.0, "mul");
            // The table has 2.5 units for a division.
            close(left.div(&right)?, x.zip(&y, |x, y| x / y), 2.5, "div");
            close(left.maximum(&right)?, x.zip(&y, f64::max), 0.0, "maximum");
            close(left.minimum(&right)?, x.zip(&y, f64::min), 0.0, "minimum");
            close(left.maximum(0.25_f32)?, x.map(|x| x.max(0.25)), 0.0, "maximum_scalar");
            close(left.minimum(0.25_f32)?, x.map(|x| x.min(0.25)), 0.0, "minimum_scalar");
            close(left.add(1.5_f32)?, x.map(|x| x + 1.5), 1.0, "add_scalar");
            close(left.sub(1.5_f32)?, x.map(|x| x - 1.5), 1.0, "sub_scalar");
            close(left.mul(-3.25_f32)?, x.map(|x| x * -3.25), 1.0, "mul_scalar");
            close(left.div(3.0_f32)?, x.map(|x| x / 3.0), 2.5, "div_scalar");
        }
    }
    Ok(())
}

#[test]
fn binary_operations_on_integers_wrap() -> Outcome {
    let mut random = Random::new(4);
    for pool in adapter::all_shared() {
        for size in SIZES {
            let (x, y) = (Array::<i32>::any(&[size], &mut random), Array::<i32>::any(&[size], &mut random));
            let (left, right) = (x.to_device(pool)?, y.to_device(pool)?);
            assert_equal(&left.add(&right)?, &x.zip(&y, i32::wrapping_add), "add of i32");
            assert_equal(&left.sub(&right)?, &x.zip(&y, i32::wrapping_sub), "sub of i32");
            assert_equal(&left.mul(&right)?, &x.zip(&y, i32::wrapping_mul), "mul of i32");
            assert_equal(&left.maximum(&right)?, &x.zip(&y, i32::max), "maximum of i32");
            assert_equal(&left.minimum(-7)?, &x.map(|x| x.min(-7)), "minimum_scalar of i32");
            assert_equal(&left.add(i32::MAX)?, &x.map(|x| x.wrapping_add(i32::MAX)), "add_scalar of i32");
            assert_equal(&left.mul(-7)?, &x.map(|x| x.wrapping_mul(-7)), "mul_scalar of i32");
            let (x, y) = (Array::<u32>::any(&[size], &mut random), Array::<u32>::any(&[size], &mut random));
            let (left, right) = (x.to_device(pool)?, y.to_device(pool)?);
            assert_equal(&left.add(&right)?, &x.zip(&y, u32::wrapping_add), "add of u32");
            assert_equal(&left.sub(&right)?, &x.zip(&y, u32::wrapping_sub), "sub of u32");
            assert_equal(&left.mul(&right)?, &x.zip(&y, u32::wrapping_mul), "mul of u32");
            assert_equal(&left.minimum(&right)?, &x.zip(&y, u32::min), "minimum of u32");
            assert_equal(&left.maximum(1_u32 << 31)?, &x.map(|x| x.max(1 << 31)), "maximum_scalar of u32");
            assert_equal(&left.sub(u32::MAX)?, &x.map(|x| x.wrapping_add(1)), "sub_scalar of u32");
        }
    }
    Ok(())
}

#[test]
fn fill_and_copy_cover_sizes_around_the_workgroup_and_nothing_beyond() -> Outcome {
    for pool in adapter::all_shared() {
        for size in SIZES {
            let frame = Array { shape: vec![size + 2], elements: vec![7; size + 2] };
            let tensor = frame.to_device(pool)?;
            tensor.narrow(0, 1, size)?.fill_(-1)?;
            let mut wanted = frame;
            wanted.elements[1..=size].fill(-1);
            assert_equal(&tensor, &wanted, format_args!("fill of {size}"));
            let copy = Tensor::full(pool, [size + 2], 9)?;
            copy.narrow(0, 1, size)?.copy_(&tensor.narrow(0, 1, size)?)?;
            wanted.elements[0] = 9;
            wanted.elements[size + 1] = 9;
            assert_equal(&copy, &wanted, format_args!("copy of {size}"));
        }
    }
    Ok(())
}

/// More workgroups than one dimension of a dispatch may have.
#[test]
fn more_elements_than_one_row_of_workgroups_are_all_reached() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let elements: Vec<u32> = (0..65_535 * 256 + 1).collect();
    if !adapter::holds(pool, 4 * elements.len() as u64) {
        return Ok(());
    }
    let tensor = Tensor::from_slice(pool, &elements, [elements.len()])?;
    let found = tensor.mul(3_u32)?.read_blocking::<u32>()?;
    assert_eq!(found.len(), elements.len());
    let wrong = elements.iter().zip(&found).position(|(x, found)| x.wrapping_mul(3) != *found);
    assert_eq!(wrong, None);
    Ok(())
}
