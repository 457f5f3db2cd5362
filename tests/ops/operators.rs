//! Operators on tensors, numbers and results of tensors, against the methods that they stand for.

use crate::common::{Outcome, adapter};
use crate::model::Array;
use crate::table::placing::{download, upload};
use wgpu_pool::{DType, Tensor, TensorError, f16};

fn elements(tensor: Result<Tensor, TensorError>) -> Result<Vec<f64>, TensorError> {
    Ok(download(&tensor?)?.elements)
}

#[test]
fn operators_take_tensors_references_results_and_numbers_on_either_side() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let [a, b] = [6.0, 4.0].map(|value| upload(pool, &Array::new(&[2], || value), DType::F32));
    let (a, b) = (a?, b?);
    macro_rules! check {
        ($sign:tt, $wanted:expr, $with_number:expr, $from_number:expr) => {
            let wanted = vec![$wanted; 2];
            assert_eq!(elements(&a $sign &b)?, wanted);
            assert_eq!(elements(a.clone() $sign &b)?, wanted);
            assert_eq!(elements(&a $sign b.clone())?, wanted);
            assert_eq!(elements(a.clone() $sign b.clone())?, wanted);
            assert_eq!(elements(a.copied() $sign &b)?, wanted);
            assert_eq!(elements(a.copied() $sign b.clone())?, wanted);
            assert_eq!(elements(&a $sign b.copied())?, wanted);
            assert_eq!(elements(a.clone() $sign b.copied())?, wanted);
            let wanted = vec![$with_number; 2];
            assert_eq!(elements(&a $sign 2.0)?, wanted);
            assert_eq!(elements(&a $sign 2.0_f32)?, wanted);
            assert_eq!(elements(a.clone() $sign f16::from_f32(2.0))?, wanted);
            assert_eq!(elements(&a $sign 2)?, wanted);
            assert_eq!(elements(&a $sign 2_u32)?, wanted);
            let wanted = vec![$from_number; 2];
            assert_eq!(elements(3.0 $sign &a)?, wanted);
            assert_eq!(elements(3.0 $sign a.clone())?, wanted);
            assert_eq!(elements(3 $sign &a)?, wanted);
            assert_eq!(elements(3 $sign a.clone())?, wanted);
            // Literals need no type, also where a method follows.
            assert_eq!((3.0 $sign &a)?.shape(), [2]);
        };
    }
    check!(+, 10.0, 8.0, 9.0);
    check!(-, 2.0, 4.0, -3.0);
    check!(*, 24.0, 12.0, 18.0);
    check!(/, 1.5, 3.0, 0.5);
    check!(%, 2.0, 0.0, 3.0);
    assert_eq!(elements(-&a)?, [-6.0; 2]);
    assert_eq!(elements(-a.clone())?, [-6.0; 2]);
    // ((6 + 4) * 6 - 4) / 2
    assert_eq!(elements(((&a + &b) * &a - &b)? / 2)?, [28.0; 2]);
    Ok(())
}

#[test]
fn operators_promote_and_pass_errors_on() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let integers = upload(pool, &Array { shape: vec![2], elements: vec![1.0, 4.0] }, DType::U32)?;
    let quotient = (2 / &integers)?;
    assert_eq!((quotient.dtype(), elements(Ok(quotient))?), (DType::F32, vec![2.0, 0.5]));
    assert_eq!(elements(7 % &integers)?, [0.0, 3.0]);
    let remainder = (&integers % 2.5)?;
    assert_eq!((remainder.dtype(), elements(Ok(remainder))?), (DType::F32, vec![1.0, 1.5]));
    // Wraps, as u32 does.
    assert_eq!(elements(2 - &integers)?, [1.0, 4_294_967_294.0]);
    assert_eq!(elements(0.5 - &integers)?, [-0.5, -3.5]);
    let other = Tensor::zeros(pool, [3], DType::U32)?;
    let mismatch = |operation: &str| format!("{operation}: the 2nd operand [3] does not broadcast with [2]");
    let message = |result: Result<Tensor, TensorError>| result.map(drop).map_err(|error| error.to_string());
    assert_eq!(message(&integers + &other), Err(mismatch("add")));
    // The first error is the one that is passed on.
    assert_eq!(message((&integers * &other) - &integers), Err(mismatch("mul")));
    assert_eq!(message(&integers / (&integers - &other)), Err(mismatch("sub")));
    Ok(())
}

#[test]
fn differences_and_quotients_of_numbers_equal_the_model_in_every_place() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let has_f16 = adapter::has_f16(pool);
    for dtype in DType::ALL.into_iter().filter(|&dtype| has_f16 || dtype != DType::F16) {
        for (shape, is_transposed) in [(&[5, 7][..], false), (&[8, 12], false), (&[8, 12], true)] {
            let mut next = 0.0;
            let array = Array::new(shape, || {
                next += 1.0;
                next
            });
            let whole = upload(pool, &array, dtype)?;
            let x = if is_transposed { whole.t()? } else { whole.narrow(1, 1, shape[1] - 1)? };
            let x_array = download(&x)?;
            let difference: Vec<f64> = x_array.elements.iter().map(|x| 200.0 - x).collect();
            assert_eq!(elements(200 - &x)?, difference, "{dtype}");
            for (found, x) in elements(1 / &x)?.into_iter().zip(&x_array.elements) {
                assert!((found - 1.0 / x).abs() < 1e-3, "{dtype}: 1 / {x} is {found}");
            }
        }
    }
    Ok(())
}
