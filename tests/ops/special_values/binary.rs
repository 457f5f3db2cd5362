//! Operations on two tensors, and on a tensor and a number, over all pairs of special values.

use super::table::{BINARY, Binary};
use super::{is_close, taken, values, views};
use crate::common::{Outcome, adapter};
use crate::model::ulp;
use wgpu_pool::{Tensor, fuse};

/// All pairs.
fn pairs() -> (Vec<f32>, Vec<f32>) {
    let all = values();
    all.iter().flat_map(|&x| all.iter().map(move |&y| (x, y))).unzip()
}

/// Asserts that each result is what the model gives, for subnormal operands as they are or for 0 in their place.
#[track_caller]
fn assert_pairs(found: &[f32], x: &[f32], y: &[f32], row: &Binary, what: &str) {
    assert_eq!(found.len(), x.len());
    let mut faults = Vec::new();
    for ((&found, &x), &y) in found.iter().zip(x).zip(y) {
        let alternatives = taken(x).into_iter().flat_map(|x| taken(y).map(|y| (row.model)(x, y)));
        let is_right = |wanted: f64| {
            // A zero of either sign has infinity of either sign for a reciprocal, and flushing may make one.
            let is_pole = found.is_infinite() && wanted.is_infinite() && (x.is_subnormal() || y.is_subnormal());
            is_pole || is_close(found, wanted, row.units * ulp(wanted))
        };
        if !alternatives.into_iter().any(is_right) {
            let wanted = (row.model)(f64::from(x), f64::from(y));
            faults.push(format!("of {x:e} and {y:e}: {found:e}, not {wanted:e}"));
        }
    }
    let some = &faults[..faults.len().min(20)];
    assert!(faults.is_empty(), "{} {what}: {} wrong, {some:#?}", row.name, faults.len());
}

#[test]
fn binary_operations_equal_the_model_for_all_pairs_of_special_values() -> Outcome {
    let (x, y) = pairs();
    for pool in adapter::all_shared() {
        let (left, right) = (views(pool, &x, f32::NAN)?, views(pool, &y, f32::NAN)?);
        // Contiguous with contiguous, strided with offset, and so on.
        let kinds = [(0, 0), (1, 1), (2, 0), (3, 2), (4, 4), (5, 5)];
        for row in &BINARY {
            for (of_left, of_right) in kinds {
                let ((kind, left), (_, right)) = (&left[of_left], &right[of_right]);
                let right = if left.shape() == right.shape() { right.clone() } else { right.reshape(left.shape())? };
                let found = (row.run)(left, &right)?.read_blocking::<f32>()?;
                assert_pairs(&found, &x, &y, row, kind);
            }
        }
    }
    Ok(())
}

#[test]
fn binary_operations_equal_the_model_for_special_values_in_place_and_fused() -> Outcome {
    let (x, y) = pairs();
    let count = x.len();
    for pool in adapter::all_shared() {
        let (left, right) = (Tensor::from_slice(pool, &x, [count])?, Tensor::from_slice(pool, &y, [count])?);
        for row in &BINARY {
            let changed = left.copied()?;
            (row.in_place)(&changed, &right)?;
            assert_pairs(&changed.read_blocking::<f32>()?, &x, &y, row, "in place");
            let fused = fuse(|[x, y]| (row.fused)(x * 1.0_f32, y)).run([&left, &right])?;
            assert_pairs(&fused.read_blocking::<f32>()?, &x, &y, row, "fused");
        }
    }
    Ok(())
}

#[test]
fn an_addition_of_a_multiple_equals_the_model_for_all_pairs_of_special_values() -> Outcome {
    let (x, y) = pairs();
    let add = BINARY.iter().find(|row| row.name == "add").expect("it is listed");
    for pool in adapter::all_shared() {
        let (left, right) = (Tensor::from_slice(pool, &x, [x.len()])?, Tensor::from_slice(pool, &y, [x.len()])?);
        left.add_scaled_(&right, 1.0_f32)?;
        assert_pairs(&left.read_blocking::<f32>()?, &x, &y, add, "with a factor of 1");
    }
    Ok(())
}

#[test]
fn operations_with_a_number_equal_the_model_for_special_values() -> Outcome {
    let x = values();
    for pool in adapter::all_shared() {
        let tensor = Tensor::from_slice(pool, &x, [x.len()])?;
        for row in &BINARY {
            for &scalar in &x {
                let y = vec![scalar; x.len()];
                let found = (row.with_scalar)(&tensor, scalar)?.read_blocking::<f32>()?;
                assert_pairs(&found, &x, &y, row, "with a number");
                let changed = tensor.copied()?;
                (row.in_place_scalar)(&changed, scalar)?;
                assert_pairs(&changed.read_blocking::<f32>()?, &x, &y, row, "with a number, in place");
            }
        }
    }
    Ok(())
}
