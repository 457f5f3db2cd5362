//! Fused expressions, and comparisons, selection and powers.

use crate::SIZES;
use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use crate::model::{Array, assert_equal};
use wgpu_pool::{DType, EventKind, Fused, Tensor, TensorError, fuse};

#[test]
fn a_chain_equals_its_steps_at_sizes_around_the_workgroup_and_in_views() -> Outcome {
    let mut random = Random::new(41);
    let kernel = fuse(|[x, y]| (x * y + x).relu() * 0.5_f32);
    let apply = |x: f32, y: f32| (x * y + x).max(0.0) * 0.5;
    for pool in adapter::all_shared() {
        for size in SIZES {
            let (x, y) = (Array::whole(&[size], &mut random), Array::whole(&[size], &mut random));
            let found = kernel.run([&x.to_device(pool)?, &y.to_device(pool)?])?;
            assert_equal(&found, &x.zip(&y, apply), "fused");
        }
        let shapes: [(&[usize], &[usize]); 5] =
            [(&[3, 8], &[8]), (&[5, 4], &[5, 1]), (&[2, 3, 5], &[3, 1]), (&[1], &[4, 4]), (&[7, 3], &[])];
        for (left, right) in shapes {
            let (x, y) = (Array::whole(left, &mut random), Array::whole(right, &mut random));
            assert_equal(&kernel.run([&x.to_device(pool)?, &y.to_device(pool)?])?, &x.zip(&y, apply), "fused");
        }
        let x = Array::whole(&[6, 10], &mut random);
        let whole = x.to_device(pool)?;
        let (transposed, part) = (whole.transpose(0, 1)?, whole.narrow(1, 3, 6)?);
        let found = kernel.run([&part, &transposed.narrow(0, 1, 6)?.transpose(0, 1)?])?;
        let wanted = x.narrow(1, 3, 6).zip(&x.narrow(1, 1, 6), apply);
        assert_equal(&found, &wanted, "fused");
        assert_equal(
            &kernel.run([&transposed, &transposed])?,
            &x.permute(&[1, 0]).zip(&x.permute(&[1, 0]), apply),
            "fused",
        );
    }
    Ok(())
}

#[test]
fn every_operation_of_an_expression_is_that_of_tensors() -> Outcome {
    let mut random = Random::new(42);
    for pool in adapter::all_shared() {
        let x = Array::real(&[37], &mut random).map(|x| x * 3.0).to_device(pool)?;
        let y = Array::real(&[37], &mut random).map(|y| y * 2.0).to_device(pool)?;
        let positive = x.abs()?.add(0.1_f32)?;
        let one = |fused: Tensor, plain: Tensor, name: &str| -> Outcome {
            let (fused, plain) = (fused.read_blocking::<f32>()?, plain.read_blocking::<f32>()?);
            // The same text in another kernel: the compiler may contract it in another way.
            let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 4e-6 * b.abs().max(1.0);
            assert!(fused.iter().zip(&plain).all(close), "{name}: {fused:?} {plain:?}");
            Ok(())
        };
        macro_rules! unary {
            ($($name:ident),*) => { $(one(fuse(|[x]| x.$name()).run([&x])?, x.$name()?, stringify!($name))?;)* };
        }
        unary!(abs, exp, sin, cos, tanh, sigmoid, relu, square, floor, ceil, round, silu, gelu, gelu_tanh, reciprocal);
        macro_rules! of_positive {
            ($($name:ident),*) => { $(one(fuse(|[x]| x.$name()).run([&positive])?, positive.$name()?, stringify!($name))?;)* };
        }
        of_positive!(log, sqrt, rsqrt);
        one(fuse(|[x]| -x).run([&x])?, x.neg()?, "neg")?;
        one(fuse(|[x, y]| x + y).run([&x, &y])?, x.add(&y)?, "add")?;
        one(fuse(|[x, y]| x - y).run([&x, &y])?, x.sub(&y)?, "sub")?;
        one(fuse(|[x, y]| x * y).run([&x, &y])?, x.mul(&y)?, "mul")?;
        one(fuse(|[x, y]| x / y).run([&x, &positive])?, x.div(&positive)?, "div")?;
        one(fuse(|[x, y]| x.maximum(y)).run([&x, &y])?, x.maximum(&y)?, "maximum")?;
        one(fuse(|[x, y]| x.minimum(y)).run([&x, &y])?, x.minimum(&y)?, "minimum")?;
        one(fuse(|[x, y]| x.pow(y)).run([&positive, &y])?, positive.pow(&y)?, "pow")?;
        one(fuse(|[x]| 2.0_f32 - x).run([&x])?, x.neg()?.add(2.0_f32)?, "number first")?;
    }
    Ok(())
}

#[test]
fn comparisons_and_choices_equal_the_model_for_every_dtype() -> Outcome {
    let mut random = Random::new(43);
    for pool in adapter::all_shared() {
        let nan = f32::NAN;
        let specials = [0.0, -0.0, 1.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, nan, f32::MIN_POSITIVE];
        let pairs: Vec<(f32, f32)> = specials.iter().flat_map(|&x| specials.map(|y| (x, y))).collect();
        let x = Array { shape: vec![64], elements: pairs.iter().map(|pair| pair.0).collect() };
        let y = Array { shape: vec![64], elements: pairs.iter().map(|pair| pair.1).collect() };
        let (left, right) = (x.to_device(pool)?, y.to_device(pool)?);
        let wanted =
            |apply: fn(&f32, &f32) -> bool| -> Vec<u32> { pairs.iter().map(|(x, y)| u32::from(apply(x, y))).collect() };
        assert_eq!(left.eq(&right)?.read_blocking::<u32>()?, wanted(|x, y| x == y));
        assert_eq!(left.ne(&right)?.read_blocking::<u32>()?, wanted(|x, y| x != y));
        assert_eq!(left.lt(&right)?.read_blocking::<u32>()?, wanted(|x, y| x < y));
        assert_eq!(left.le(&right)?.read_blocking::<u32>()?, wanted(|x, y| x <= y));
        assert_eq!(left.gt(&right)?.read_blocking::<u32>()?, wanted(|x, y| x > y));
        assert_eq!(left.ge(&right)?.read_blocking::<u32>()?, wanted(|x, y| x >= y));

        let integers = Array::<i32>::any(&[9, 7], &mut random);
        let condition = integers.to_device(pool)?.gt(3_i32)?;
        assert_eq!(condition.dtype(), DType::U32);
        let other = Tensor::full(pool, [7], -1_i32)?;
        let found = condition.where_cond(&integers.to_device(pool)?, &other)?;
        assert_equal(&found, &integers.map(|x| if x > 3 { x } else { -1 }), "fused");
        let both = fuse(|[x]| (x.gt(-5_i32) & x.lt(5_i32) | x.eq(100_i32)).select(x, 0_i32));
        assert_equal(
            &both.run([&integers.to_device(pool)?])?,
            &integers.map(|x| if x > -5 && x < 5 || x == 100 { x } else { 0 }),
            "fused",
        );
        let none = fuse(|[x]| !x).run([&integers.to_device(pool)?])?;
        assert_equal(&none, &integers.map(|x| u32::from(x == 0)), "fused");
    }
    Ok(())
}

#[test]
fn powers_equal_the_model_and_what_has_none_is_told_apart() -> Outcome {
    let mut random = Random::new(44);
    for pool in adapter::all_shared() {
        let x = Array::real(&[500], &mut random).map(|x| x.abs() * 9.0 + 0.01);
        let y = Array::real(&[500], &mut random).map(|y| y * 6.0);
        let found = x.to_device(pool)?.pow(&y.to_device(pool)?)?;
        #[expect(clippy::cast_possible_truncation, reason = "the model is rounded to what it is compared with")]
        let wanted = x.zip(&y, |x, y| f64::from(x).powf(f64::from(y)) as f32);
        let slack = x.zip(&y, |x, y| 1e-6 * (y * x.log2()).abs().max(4.0));
        for ((found, wanted), slack) in found.read_blocking::<f32>()?.iter().zip(&wanted.elements).zip(&slack.elements)
        {
            assert!((found - wanted).abs() <= slack * wanted.abs(), "{found} {wanted}");
        }
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        let cases = [
            (-2.0, 3.0),
            (-2.0, 2.0),
            (-2.0, -1.0),
            (-2.0, 0.5),
            (0.0, 0.0),
            (nan, 0.0),
            (1.0, nan),
            (0.0, 2.0),
            (0.0, -1.0),
            (2.0, inf),
            (0.5, inf),
            (-1.0, inf),
            (-inf, 3.0),
            (-inf, 0.5),
            (nan, 1.0),
            (3.0, 1.0),
            (-0.0, 3.0),
        ];
        let array = |pick: fn(&(f32, f32)) -> f32| Array {
            shape: vec![cases.len()],
            elements: cases.iter().map(pick).collect(),
        };
        let found = array(|case| case.0)
            .to_device(pool)?
            .pow(&array(|case| case.1).to_device(pool)?)?
            .read_blocking::<f32>()?;
        for ((x, y), found) in cases.into_iter().zip(found) {
            let wanted = x.powf(y);
            let same =
                found == wanted || (found.is_nan() && wanted.is_nan()) || (found - wanted).abs() < 1e-5 * wanted.abs();
            assert!(same, "{x} to the {y} is {wanted}, not {found}");
        }
        assert_eq!(Tensor::full(pool, [1], -3_i32)?.pow(3_i32)?.read_blocking::<i32>()?, [-27]);
    }
    Ok(())
}

#[test]
fn an_output_may_be_an_input_and_no_more_than_that() -> Outcome {
    let mut random = Random::new(45);
    let kernel = fuse(|[x, y]| x * 2.0_f32 + y);
    for pool in adapter::all_shared() {
        let (x, y) = (Array::whole(&[7, 9], &mut random), Array::whole(&[9], &mut random));
        let (left, right) = (x.to_device(pool)?, y.to_device(pool)?);
        kernel.run_into([&left, &right], &left)?;
        let once = x.zip(&y, |x, y| x * 2.0 + y);
        assert_equal(&left, &once, "fused");
        kernel.run_into([&left.narrow(0, 0, 3)?, &right], &left.narrow(0, 4, 3)?)?;
        assert_equal(&left.narrow(0, 4, 3)?, &once.narrow(0, 0, 3).zip(&y, |x, y| x * 2.0 + y), "fused");
        let overlaps = kernel.run_into([&left.narrow(0, 0, 3)?, &right], &left.narrow(0, 1, 3)?);
        assert!(matches!(overlaps, Err(TensorError::Overlap { .. })), "{overlaps:?}");
        let wide = kernel.run_into([&left, &right], &right);
        assert!(matches!(wide, Err(TensorError::Shape { .. })), "{wide:?}");
        let repeated = Tensor::zeros(pool, [9], DType::F32)?.expand([7, 9])?;
        assert!(matches!(kernel.run_into([&left, &right], &repeated), Err(TensorError::Overlap { .. })));
        let integers = Tensor::zeros(pool, [7, 9], DType::I32)?;
        assert!(matches!(kernel.run_into([&left, &right], &integers), Err(TensorError::DType { .. })));
        assert!(matches!(fuse(|[x]| x.gelu()).run([&integers]), Err(TensorError::NotDefined { .. })));
        let exponential = fuse(|[x]| x.exp()).run_into([&integers], &integers);
        assert!(
            matches!(exponential, Err(TensorError::DType { dtype: "f32", by_dtype: "i32", .. })),
            "{exponential:?}"
        );
        // What comes after the last element is another's.
        let line = Tensor::full(pool, [8], 1.0_f32)?;
        fuse(|[x]| x + 1.0_f32).run_into([&line.narrow(0, 0, 5)?], &line.narrow(0, 0, 5)?)?;
        assert_eq!(line.read_blocking::<f32>()?, [2.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0]);
        let nothing = Tensor::zeros(pool, [0, 9], DType::F32)?;
        assert_eq!(kernel.run([&nothing, &right])?.shape(), [0, 9]);
    }
    Ok(())
}

#[test]
fn a_chain_is_one_kernel_with_one_result_and_its_numbers_are_parameters() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let x = Tensor::full(&pool, [1000], 3.0_f32)?;
    let scaled = |factor: f32| fuse(|[x]| (x * factor + 1.0_f32).square());
    pool.start_history(100);
    let results = [1.0, 2.0, 3.0].map(|factor| scaled(factor).run([&x]));
    let allocations = pool.history().iter().filter(|event| event.kind == EventKind::Allocate).count();
    assert_eq!(allocations, 3, "no step has a tensor of its own");
    for (factor, result) in [1.0_f32, 2.0, 3.0].into_iter().zip(results) {
        assert_eq!(result?.read_blocking::<f32>()?, vec![(3.0 * factor + 1.0).powi(2); 1000]);
    }
    let six = fuse(|[a, b, c, d, e, f]| ((a + b) * (c + d) - e) / f);
    let inputs: Vec<Tensor> =
        (1..=6_u8).map(|n| Tensor::full(&pool, [5, 4], f32::from(n))).collect::<Result<_, _>>()?;
    let [a, b, c, d, e, f] = &inputs[..] else { return Err("six".into()) };
    let found = six.run([a, b, c, d, e, f])?.read_blocking::<f32>()?;
    assert!(found.iter().all(|found| (found - 16.0 / 6.0).abs() < 1e-6), "{found:?}");
    let many = fuse(|[x]| (1..=12_u8).fold(x * 0.0_f32, |sum, n| sum + x * f32::from(n)));
    assert_eq!(many.run([&x])?.read_blocking::<f32>()?[0], 3.0 * 78.0);
    Ok(())
}

#[test]
fn a_value_of_another_expression_is_refused() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let x = Tensor::full(pool, [4], 1.0_f32)?;
    let outer = fuse(|[a]| {
        let far = (((a + 1.0_f32).exp() + 2.0_f32).exp() + 3.0_f32).exp();
        let inner = [
            fuse(|[b]| {
                let _ = b + far;
                b
            }),
            fuse(|[b]| {
                let _ = b.lt(b) & far;
                b
            }),
            fuse(|[b]| {
                let _ = b.select(far, 1.0_f32);
                b
            }),
        ];
        for inner in inner {
            let problem = "it uses a value of another expression";
            assert_eq!(inner.run([&x]).map(drop), Err(TensorError::Expression { operation: "Fused::run", problem }));
        }
        a
    });
    assert_eq!(outer.run([&x])?.read_blocking::<f32>()?, [1.0; 4]);
    Ok(())
}

#[test]
fn an_expression_of_very_many_steps_is_refused() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let x = Tensor::full(pool, [4], 1.0_f32)?;
    let steps = |count: usize| fuse(move |[x]| (0..count).fold(x, |sum, _| sum.abs() + x));
    // Each round is two steps, and the input one.
    assert_eq!(steps(50).run([&x])?.read_blocking::<f32>()?, [51.0; 4]);
    let error = steps(2048).run([&x]).expect_err("4,097 steps");
    assert_eq!(error.to_string(), "Fused::run: the expression can't be a kernel: it has more than 4,096 steps");
    Ok(())
}

/// The numbers of a test of values that an algebraic simplification changes: differences and quotients of them are NaN, or round.
const ENDS: [f32; 9] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 16_777_216.0, -1.0, -0.0, 0.0, 1.5];

// Mesa replaces x - x by 0 and (x + y) - x by y, although x may be infinite or NaN.
#[test]
fn expressions_that_use_a_value_twice_are_not_simplified() -> Outcome {
    let truth = |is: bool| if is { 1.0 } else { 0.0 };
    // Either product may be rounded together with the difference, which WGSL allows.
    let contracted = |x: f32, y: f32| vec![x * y - x * x, x.mul_add(y, -(x * x)), (-x).mul_add(x, x * y)];
    type Case<'a> = (&'a str, Fused<2>, &'a dyn Fn(f32, f32) -> Vec<f32>);
    let cases: [Case<'_>; 11] = [
        ("x - x", fuse(|[x, y]| (x - x) + y), &|x, y| vec![(x - x) + y]),
        ("(x + y) - x", fuse(|[x, y]| (x + y) - x), &|x, y| vec![(x + y) - x]),
        ("x - (x + y)", fuse(|[x, y]| x - (x + y)), &|x, y| vec![x - (x + y)]),
        ("(x - y) + y", fuse(|[x, y]| (x - y) + y), &|x, y| vec![(x - y) + y]),
        ("-x + x", fuse(|[x, y]| (-x + x) * y), &|x, y| vec![(-x + x) * y]),
        ("x / x", fuse(|[x, y]| x / x * y), &|x, y| vec![x / x * y]),
        ("(x * y) / y", fuse(|[x, y]| (x * y) / y), &|x, y| vec![(x * y) / y]),
        ("sqrt(x) * sqrt(x)", fuse(|[x, y]| x.sqrt() * x.sqrt() + y), &|x, y| vec![x.sqrt() * x.sqrt() + y]),
        ("x * y - x * x", fuse(|[x, y]| x * y - x * x), &contracted),
        ("x + y == x", fuse(|[x, y]| (x + y).eq(x)), &|x, y| vec![truth(x + y == x)]),
        ("x + y < x", fuse(|[x, y]| (x + y).lt(x)), &|x, y| vec![truth(x + y < x)]),
    ];
    let pairs: Vec<(f32, f32)> = ENDS.iter().flat_map(|&x| ENDS.map(|y| (x, y))).collect();
    for pool in adapter::all_shared() {
        let operand = |of: fn(&(f32, f32)) -> f32| {
            Tensor::from_vec(pool, pairs.iter().map(of).collect::<Vec<f32>>(), [pairs.len()])
        };
        let (x, y) = (operand(|pair| pair.0)?, operand(|pair| pair.1)?);
        for (name, kernel, model) in &cases {
            let found = kernel.run([&x, &y])?.to(DType::F32)?.read_blocking::<f32>()?;
            for (&(x, y), found) in pairs.iter().zip(found) {
                let allowed = model(x, y);
                let is_right = |&wanted: &f32| {
                    let is_close = (found - wanted).abs() <= 1e-6 * wanted.abs();
                    found == wanted || found.is_nan() && wanted.is_nan() || is_close
                };
                assert!(allowed.iter().any(is_right), "{name} of {x} and {y}: {found} instead of {allowed:?}");
            }
        }
    }
    Ok(())
}
