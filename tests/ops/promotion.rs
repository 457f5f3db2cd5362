//! Promotion: the dtype of results for operands of different dtypes, as `torch.result_type`.

use crate::common::{Outcome, adapter};
use crate::model::Array;
use crate::table::placing::{download, upload};
use wgpu_pool::DType::{F16, F32, I32, U32};
use wgpu_pool::{DType, Expression, Pool, Reduction, Tensor, TensorError, f16, fuse};

/// The promoted dtype of two dtypes: for operands of rank 1 or more, for a left operand of rank 0, and for a right
/// operand of rank 0. Results of `torch.result_type` of torch 2.9, which also refuses `torch.uint32` with
/// `torch.int32`.
const RESULTS: [(DType, DType, [Option<DType>; 3]); 6] = [
    (F32, F16, [Some(F32), Some(F16), Some(F32)]),
    (F32, I32, [Some(F32), Some(F32), Some(F32)]),
    (F32, U32, [Some(F32), Some(F32), Some(F32)]),
    (F16, I32, [Some(F16), Some(F16), Some(F16)]),
    (F16, U32, [Some(F16), Some(F16), Some(F16)]),
    (I32, U32, [None, Some(U32), Some(I32)]),
];

fn has(pool: &Pool, dtype: DType) -> bool {
    dtype != F16 || adapter::has_f16(pool)
}

fn tensor(pool: &Pool, dtype: DType, shape: &[usize], value: f64) -> Result<Tensor, TensorError> {
    upload(pool, &Array::new(shape, || value), dtype)
}

#[test]
fn dtypes_are_promoted_as_in_pytorch() -> Outcome {
    for (left, right, [wide, ..]) in RESULTS {
        assert_eq!((left.promote(right), right.promote(left)), (wide, wide), "{left} {right}");
    }
    assert!(DType::ALL.into_iter().all(|dtype| dtype.promote(dtype) == Some(dtype)));
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let shapes = [[&[2, 3][..], &[3]], [&[], &[2, 3]], [&[2, 3], &[]]];
    for (one, other, results) in RESULTS {
        if !has(pool, one) || !has(pool, other) {
            continue;
        }
        for ([of_left, of_right], wanted) in shapes.into_iter().zip(results) {
            let (x, y) = (tensor(pool, one, of_left, 6.0)?, tensor(pool, other, of_right, 2.0)?);
            // In both orders.
            for (x, y, is_swapped) in [(&x, &y, false), (&y, &x, true)] {
                let what = format!("{} {:?} and {} {:?}", x.dtype(), x.shape(), y.dtype(), y.shape());
                let Some(wanted) = wanted else {
                    assert!(matches!(x.add(y), Err(TensorError::DType { operation: "add", .. })), "{what}");
                    assert!(matches!(x.gt(y), Err(TensorError::DType { operation: "gt", .. })), "{what}");
                    assert!(matches!(x.where_cond(x, y), Err(TensorError::DType { .. })), "{what}");
                    continue;
                };
                for (found, number) in [
                    (x.add(y)?, 8.0),
                    (x.mul(y)?, 12.0),
                    (x.maximum(y)?, 6.0),
                    (x.where_cond(x, y)?, if is_swapped { 2.0 } else { 6.0 }),
                ] {
                    assert_eq!(found.dtype(), wanted, "{what}");
                    assert_eq!(download(&found)?, Array::new(&[2, 3], || number), "{what}");
                }
                let quotient = x.div(y)?;
                assert_eq!(quotient.dtype(), if wanted.is_floating_point() { wanted } else { F32 }, "{what}");
                let greater = x.gt(y)?;
                let truth = Array::new(&[2, 3], || if is_swapped { 0.0 } else { 1.0 });
                assert_eq!((greater.dtype(), download(&greater)?), (U32, truth), "{what}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_number_takes_the_dtype_of_the_tensor_unless_it_has_a_fraction() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    for dtype in DType::ALL.into_iter().filter(|&dtype| has(pool, dtype)) {
        let x = tensor(pool, dtype, &[3], 6.0)?;
        let of_real = if dtype.is_floating_point() { dtype } else { F32 };
        for (found, dtype, wanted) in [
            (x.add(2)?, dtype, 8.0),
            (x.add(2_u32)?, dtype, 8.0),
            (x.add(2_i64)?, dtype, 8.0),
            (x.mul(0.5)?, of_real, 3.0),
            (x.mul(0.5_f32)?, of_real, 3.0),
            (x.mul(f16::from_f32(0.5))?, of_real, 3.0),
            (x.div(4)?, of_real, 1.5),
            (x.gt(5.5)?, U32, 1.0),
            (x.lt(5.5)?, U32, 0.0),
            (x.where_cond(&x, 0.5)?, of_real, 6.0),
            (x.where_cond(0.5, &x)?, of_real, 0.5),
            (x.where_cond(1, 2)?, I32, 1.0),
            (x.where_cond(1, 2.5)?, F32, 1.0),
        ] {
            assert_eq!((found.dtype(), download(&found)?), (dtype, Array::new(&[3], || wanted)));
        }
    }
    // The last bits of a number of f64 are rounded once, to f32.
    let pi = Tensor::zeros(pool, [1], F32)?.add(std::f64::consts::PI)?;
    assert_eq!(pi.read_blocking::<f32>()?, [std::f32::consts::PI]);
    let wrapped = Tensor::full(pool, [1], 3_u32)?.add(-4)?;
    assert_eq!(wrapped.read_blocking::<u32>()?, [u32::MAX]);
    Ok(())
}

#[test]
fn results_in_place_are_converted_to_the_dtype_of_the_tensor() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    for (own, other, wanted) in [(F32, I32, Some(6.5)), (F16, F32, Some(6.5)), (I32, F32, None), (U32, I32, None)] {
        if !has(pool, own) {
            continue;
        }
        let start = if own.is_floating_point() { 4.5 } else { 4.0 };
        // A view, whose surroundings stay.
        let whole = tensor(pool, own, &[2, 3, 2], start)?;
        let x = whole.narrow(2, 0, 1)?;
        let y = tensor(pool, other, &[3, 1], 2.0)?;
        let Some(wanted) = wanted else {
            assert!(matches!(x.add_(&y), Err(TensorError::DType { operation: "add_", .. })), "{own} {other}");
            continue;
        };
        x.add_(&y)?;
        assert_eq!(download(&x)?, Array::new(&[2, 3, 1], || wanted), "{own} {other}");
        assert_eq!(download(&whole.narrow(2, 1, 1)?)?, Array::new(&[2, 3, 1], || start), "{own} {other}");
        assert!(matches!(
            x.narrow(0, 0, 1)?.add_(&tensor(pool, other, &[2, 3, 1], 1.0)?),
            Err(TensorError::Shape { .. })
        ));
    }
    if has(pool, F16) {
        // Of 1.0006 alone the nearest f16 is 1.00098, which would give 7.0078 rather than 7.0039.
        let (x, y) = (tensor(pool, F16, &[1], 7.0)?, Tensor::full(pool, [1], 1.0006_f32)?);
        let wanted = x.to(F32)?.mul(&y)?.to(F16)?;
        x.mul_(&y)?;
        assert_eq!(download(&x)?, download(&wanted)?);
        assert_ne!(download(&x)?, download(&tensor(pool, F16, &[1], 7.0)?.mul(&y.to(F16)?)?)?);
    }
    Ok(())
}

/// `torch.Tensor.add_` with `alpha`: the operands and `alpha` take the promoted dtype, which the tensor has to be able to store.
#[test]
fn a_scaled_sum_in_place_is_computed_in_the_promoted_dtype_and_converted() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    for (own, other) in DType::ALL.into_iter().flat_map(|own| DType::ALL.map(|other| (own, other))) {
        if !has(pool, own) || !has(pool, other) {
            continue;
        }
        let wide = own.promote(other).filter(|wide| own.is_floating_point() || !wide.is_floating_point());
        for is_real in [false, true] {
            let whole = tensor(pool, own, &[2, 3, 2], 4.0)?;
            // A view, whose surroundings stay.
            let (x, y) = (whole.narrow(2, 1, 1)?, tensor(pool, other, &[3, 1], 2.0)?);
            let run = || if is_real { x.add_scaled_(&y, 0.25_f32) } else { x.add_scaled_(&y, 3_i32) };
            let what = format!("{own} and {other}, alpha of floating point: {is_real}");
            let after = match wide {
                Some(wide) if wide.is_floating_point() || !is_real => {
                    run()?;
                    if is_real { 4.5 } else { 10.0 }
                }
                _ => {
                    assert!(matches!(run(), Err(TensorError::DType { operation: "add_scaled_", .. })), "{what}");
                    4.0
                }
            };
            assert_eq!(download(&x)?, Array::new(&[2, 3, 1], || after), "{what}");
            assert_eq!(download(&whole.narrow(2, 0, 1)?)?, Array::new(&[2, 3, 1], || 4.0), "{what}");
        }
    }
    let (floats, integers) = (tensor(pool, F32, &[2], 4.0)?, tensor(pool, I32, &[1, 2], 2.0)?);
    assert!(matches!(floats.add_scaled_(&integers, 1), Err(TensorError::Shape { .. })));
    let wide = tensor(pool, F32, &[1], 4.0)?.expand([2])?;
    assert!(matches!(wide.add_scaled_(&tensor(pool, I32, &[2], 1.0)?, 1), Err(TensorError::Overlap { .. })));
    let limits = upload(pool, &Array { shape: vec![2], elements: vec![0.0, 1.0] }, U32)?;
    limits.add_scaled_(&limits.copied()?, -3_i32)?;
    assert_eq!(limits.read_blocking::<u32>()?, [0, u32::MAX - 1], "as PyTorch, -3 wraps");
    let signed = tensor(pool, I32, &[2], 4.0)?;
    assert!(matches!(signed.add_scaled_(&signed, u32::MAX), Err(TensorError::Scalar { .. })));
    let empty = tensor(pool, F32, &[0, 3], 0.0)?;
    empty.add_scaled_(&tensor(pool, I32, &[3], 1.0)?, 2)?;
    // A scalar tensor counts only with its kind, as in `torch.result_type`.
    floats.add_scaled_(&tensor(pool, I32, &[], 2.0)?, 0.5_f32)?;
    assert_eq!(download(&floats)?.elements, [5.0, 5.0]);
    assert!(matches!(signed.add_scaled_(&tensor(pool, F32, &[], 2.0)?, 1), Err(TensorError::DType { .. })));
    if has(pool, F16) {
        // 1001.6, of which 1001.5 is the nearest f16. With y rounded to f16 first, the sum would be 1001.98, and the result 1002.
        let (x, y) = (tensor(pool, F16, &[1], 1.0)?, Tensor::full(pool, [1], 1.0006_f32)?);
        x.add_scaled_(&y, 1000)?;
        assert_eq!(download(&x)?.elements, [1001.5]);
    }
    Ok(())
}

#[test]
fn functions_of_integers_are_those_of_their_values_in_f32() -> Outcome {
    type Unary = fn(&Tensor) -> Result<Tensor, TensorError>;
    let real: [Unary; 9] = [
        Tensor::exp,
        Tensor::log,
        Tensor::sqrt,
        Tensor::sin,
        Tensor::cos,
        Tensor::tanh,
        Tensor::sigmoid,
        Tensor::rsqrt,
        Tensor::reciprocal,
    ];
    let Some(pool) = adapter::shared() else { return Ok(()) };
    for dtype in [I32, U32] {
        let x = upload(pool, &Array { shape: vec![4], elements: vec![1.0, 2.0, 3.0, 7.0] }, dtype)?;
        for run in real {
            let (found, wanted) = (run(&x)?, run(&x.to(F32)?)?);
            assert_eq!((found.dtype(), download(&found)?), (F32, download(&wanted)?));
        }
        for same in [x.floor()?, x.ceil()?, x.round()?] {
            assert_eq!((same.dtype(), download(&same)?), (dtype, download(&x)?));
            assert!(!same.storage()?.is_same(x.storage()?));
        }
        assert!(matches!(x.gelu(), Err(TensorError::NotDefined { operation: "gelu", .. })));
    }
    Ok(())
}

#[test]
fn joined_tensors_have_the_dtype_that_all_convert_to() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    for (one, other, [wanted, ..]) in RESULTS {
        if !has(pool, one) || !has(pool, other) {
            continue;
        }
        let (x, y) = (tensor(pool, one, &[2, 3], 6.0)?, tensor(pool, other, &[2, 1], 2.0)?);
        let wide = y.expand([2, 3])?;
        let Some(wanted) = wanted else {
            assert!(matches!(Tensor::cat(&[&x, &y], 1), Err(TensorError::DType { operation: "cat", .. })));
            assert!(matches!(Tensor::stack(&[&x, &wide], 0), Err(TensorError::DType { .. })));
            continue;
        };
        for (found, shape, elements) in [
            (Tensor::cat(&[&x, &y, &x], 1)?, vec![2, 7], [6.0, 6.0, 6.0, 2.0, 6.0, 6.0, 6.0].repeat(2)),
            (Tensor::cat(&[&y, &x], -1)?, vec![2, 4], [2.0, 6.0, 6.0, 6.0].repeat(2)),
            (Tensor::stack(&[&wide, &x], 0)?, vec![2, 2, 3], [[2.0; 6], [6.0; 6]].concat()),
        ] {
            assert_eq!((found.dtype(), download(&found)?), (wanted, Array { shape, elements }), "{one} {other}");
        }
    }
    Ok(())
}

#[test]
fn a_copy_converts_to_the_dtype_of_its_target_in_every_layout() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let all = DType::ALL.into_iter().flat_map(|from| DType::ALL.map(|to| (from, to)));
    for (from, to) in all.filter(|&(from, to)| has(pool, from) && has(pool, to)) {
        let numbers = if from == U32 { [1.0, 2.0, 7.0, 3.0] } else { [1.0, -2.0, 7.0, 3.0] };
        let source = upload(pool, &Array { shape: vec![1, 4], elements: numbers.to_vec() }, from)?;
        let converted = download(&source.to(to)?)?.elements;
        // Columns at a multiple of four, columns at another offset, and transposed rows.
        for (wide, start, is_transposed) in [(8, 4, false), (7, 3, false), (4, 0, true), (4, 0, false)] {
            let shape = if is_transposed { [wide, 5] } else { [5, wide] };
            let whole = tensor(pool, to, &shape, 9.0)?;
            let view = if is_transposed { whole.t()? } else { whole.narrow(1, start, 4)? };
            view.copy_(&source)?;
            assert_eq!(download(&view)?.elements, converted.repeat(5), "{from} to {to}, {wide}");
            let before = download(&whole)?.elements.iter().filter(|&&x| x == 9.0).count();
            assert_eq!(before, 5 * (wide - 4), "{from} to {to}, {wide}: elements around the view");
        }
    }
    Ok(())
}

#[test]
fn fused_expressions_promote_like_tensors() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let shapes = [[&[2, 3][..], &[3]], [&[], &[2, 3]], [&[2, 3], &[]], [&[2, 3], &[2, 1]], [&[], &[]], [&[2, 8], &[8]]];
    type Fuse = for<'a> fn(Expression<'a>, Expression<'a>) -> Expression<'a>;
    type Run = fn(&Tensor, &Tensor) -> Result<Tensor, TensorError>;
    let operations: [(Fuse, Run); 8] = [
        (|x, y| x + y, |x, y| x + y),
        (|x, y| y / x, |x, y| y / x),
        (|x, y| x % y, |x, y| x % y),
        (|x, y| x.maximum(y).sqrt(), |x, y| x.maximum(y)?.sqrt()),
        (|x, y| x.gt(y) + y, |x, y| x.gt(y)?.add(y)),
        (|x, y| x.lt(y).select(x, y), |x, y| x.lt(y)?.where_cond(x, y)),
        // Numbers, and what is made of numbers and inputs without dimensions.
        (|x, y| (x * 2_i32 + 0.5_f32) * y, |x, y| x.mul(2)?.add(0.5)?.mul(y)),
        (|x, y| x.exp().floor() + y.round(), |x, y| x.exp()?.floor()?.add(y.round()?)),
    ];
    for (one, other) in DType::ALL.into_iter().flat_map(|one| DType::ALL.map(|other| (one, other))) {
        if !has(pool, one) || !has(pool, other) {
            continue;
        }
        for [of_left, of_right] in shapes {
            let (x, y) = (tensor(pool, one, of_left, 3.0)?, tensor(pool, other, of_right, 2.0)?);
            for (number, (fused, run)) in operations.iter().enumerate() {
                let what = format!("operation {number} of {one} {of_left:?} and {other} {of_right:?}");
                let (found, wanted) = (fuse(|[x, y]| fused(x, y)).run([&x, &y]), run(&x, &y));
                let (found, wanted) = match (found, wanted) {
                    (Ok(found), Ok(wanted)) => (found, wanted),
                    (Err(TensorError::DType { .. }), Err(TensorError::DType { .. })) => continue,
                    (found, wanted) => return Err(format!("{what}: {found:?}, not {wanted:?}").into()),
                };
                assert_eq!((found.dtype(), found.shape()), (wanted.dtype(), wanted.shape()), "{what}");
                for (found, wanted) in download(&found)?.elements.into_iter().zip(download(&wanted)?.elements) {
                    let most = if wanted.fract() == 0.0 { 0.0 } else { 2e-3 * wanted.abs() };
                    assert!((found - wanted).abs() <= most, "{what}: {found}, not {wanted}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_loss_of_two_dtypes_is_computed_in_the_wider_one() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let (x, y) = (tensor(pool, F32, &[2, 2], 5.0)?, tensor(pool, I32, &[2, 2], 2.0)?);
    assert_eq!(x.mse_loss(&y, Reduction::Mean)?.item_blocking::<f32>()?, 9.0);
    assert_eq!(x.mse_loss_backward(&y, Reduction::Sum)?.read_blocking::<f32>()?, [6.0; 4]);
    assert!(matches!(y.mse_loss(&x, Reduction::Mean), Err(TensorError::NotDefined { dtype: "i32", .. })));
    if has(pool, F16) {
        let half = tensor(pool, F16, &[2, 2], 2.0)?;
        assert_eq!(half.mse_loss(&x, Reduction::None)?.dtype(), F32);
        let gradient = half.mse_loss_backward(&x, Reduction::Mean)?;
        assert_eq!((gradient.dtype(), download(&gradient)?.elements), (F16, vec![-1.5; 4]));
    }
    Ok(())
}
