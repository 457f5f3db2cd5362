//! The largest and smallest elements, and reductions over every layout.

use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use crate::model::{Array, assert_equal};
use crate::views::random_view;
use wgpu_pool::{DType, Tensor};

/// Shapes and axes with long rows, short rows, columns and any strides, in one part and in several.
const LAYOUTS: [(&[usize], &[usize]); 18] = [
    (&[3, 8], &[1]),
    (&[40, 64], &[1]),
    (&[40, 63], &[1]),
    (&[5, 1024], &[1]),
    (&[5, 1028], &[1]),
    (&[3, 16_400], &[1]),
    (&[2, 40_003], &[1]),
    (&[40_003], &[0]),
    (&[20_002], &[0]),
    (&[20_001], &[0]),
    (&[7, 12], &[0]),
    (&[1000, 8], &[0]),
    (&[3000, 7], &[0]),
    (&[9000, 4], &[0]),
    (&[6, 50, 8], &[0, 1]),
    (&[50, 6, 8], &[0]),
    (&[5, 40, 12], &[1]),
    (&[8, 12, 16, 4], &[0, 2]),
];

#[test]
fn extremes_and_sums_equal_the_model_however_the_elements_lie() -> Outcome {
    let mut random = Random::new(70);
    for pool in adapter::all_shared() {
        for (shape, axes) in LAYOUTS {
            let x = Array::<i32>::any(shape, &mut random);
            let tensor = x.to_device(pool)?;
            let what = format!("{shape:?} along {axes:?}");
            assert_equal(&tensor.amax(axes)?, &x.fold(axes, false, i32::MIN, i32::max), format_args!("amax {what}"));
            assert_equal(
                &tensor.amin_keepdim(axes)?,
                &x.fold(axes, true, i32::MAX, i32::min),
                format_args!("amin {what}"),
            );
            assert_equal(&tensor.sum(axes)?, &x.fold(axes, false, 0, i32::wrapping_add), format_args!("sum {what}"));
            let x = Array::<u32>::any(shape, &mut random);
            let tensor = x.to_device(pool)?;
            assert_equal(&tensor.amax_keepdim(axes)?, &x.fold(axes, true, 0, u32::max), format_args!("amax {what}"));
            assert_equal(&tensor.amin(axes)?, &x.fold(axes, false, u32::MAX, u32::min), format_args!("amin {what}"));
            let x = Array::real(shape, &mut random);
            let tensor = x.to_device(pool)?;
            let largest = x.fold(axes, false, f32::NEG_INFINITY, f32::max);
            assert_equal(&tensor.amax(axes)?, &largest, format_args!("amax {what}"));
            let smallest = x.fold(axes, false, f32::INFINITY, f32::min);
            assert_equal(&tensor.amin(axes)?, &smallest, format_args!("amin {what}"));
        }
    }
    Ok(())
}

#[test]
fn extremes_of_views_equal_the_model() -> Outcome {
    let mut random = Random::new(71);
    for pool in adapter::all_shared() {
        for number in 0..60 {
            let (tensor, model) = random_view(pool, &mut random)?;
            let axes: Vec<usize> = (0..model.shape.len()).filter(|_| random.below(2) == 0).collect();
            let what = format!("chain {number}: {tensor:?} along {axes:?}");
            if model.elements.is_empty() {
                continue;
            }
            assert_equal(&tensor.amax(&axes)?, &model.fold(&axes, false, i32::MIN, i32::max), &what);
            assert_equal(&tensor.amin(&axes)?, &model.fold(&axes, false, i32::MAX, i32::min), &what);
        }
    }
    Ok(())
}

/// Windows of rows that begin, and do not begin, at multiples of four.
#[test]
fn windows_of_rows_and_columns_reduce_as_the_model() -> Outcome {
    let mut random = Random::new(72);
    for pool in adapter::all_shared() {
        let x = Array::<i32>::any(&[30, 60], &mut random);
        let tensor = x.to_device(pool)?;
        for start in 0..6 {
            for length in [1, 8, 31, 32, 40] {
                let (part, wanted) = (tensor.narrow(1, start, length)?, x.narrow(1, start, length));
                for axes in [&[0_usize][..], &[1], &[0, 1]] {
                    let what = format!("{start}, {length} along {axes:?}");
                    assert_equal(&part.amax(axes)?, &wanted.fold(axes, false, i32::MIN, i32::max), &what);
                    assert_equal(&part.sum(axes)?, &wanted.fold(axes, false, 0, i32::wrapping_add), &what);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn extremes_keep_the_rules_of_infinities_and_nan() -> Outcome {
    const INF: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;
    let rows =
        [[1.0, INF, -INF, 2.0], [NAN, INF, 1.0, 0.0], [-NAN, -INF, 1.0, 0.0], [-1.0, -2.0, -0.5, -3.0], [-INF; 4]];
    for pool in adapter::all_shared() {
        // As short rows, as columns, and strided.
        let short = Tensor::from_slice(pool, &rows.map(|row| [row, row]).concat().concat(), [5, 8])?;
        let columns = short.t()?.contiguous()?.t()?;
        let strided = Tensor::from_slice(pool, &rows.concat(), [5, 4])?;
        for tensor in [short, columns, strided] {
            let largest = tensor.amax([1])?.read_blocking::<f32>()?;
            assert!(largest[0] == INF && largest[1].is_nan() && largest[2].is_nan(), "{tensor:?}: {largest:?}");
            assert_eq!(largest[3..], [-0.5, -INF], "{tensor:?}");
            let smallest = tensor.amin([1])?.read_blocking::<f32>()?;
            assert!(smallest[0] == -INF && smallest[1].is_nan() && smallest[2].is_nan(), "{tensor:?}: {smallest:?}");
            assert_eq!(smallest[3..], [-3.0, -INF], "{tensor:?}");
        }
        let mut long = vec![0.5_f32; 50_000];
        assert_eq!(Tensor::from_slice(pool, &long, [50_000])?.amax(..)?.read_blocking::<f32>()?, [0.5]);
        long[49_998] = NAN;
        assert!(Tensor::from_slice(pool, &long, [50_000])?.amax(..)?.read_blocking::<f32>()?[0].is_nan());
    }
    Ok(())
}

#[test]
fn the_extreme_of_no_elements_is_refused() -> Outcome {
    for pool in adapter::all_shared() {
        let x = Tensor::zeros(pool, [0, 3], DType::F32)?;
        let error = x.amax([0]).expect_err("there is nothing");
        assert_eq!(error.to_string(), "amax: shape [0, 3] has no elements to choose from");
        let error = x.amin(..).expect_err("there is nothing");
        assert_eq!(error.to_string(), "amin: shape [0, 3] has no elements to choose from");
        assert_eq!(x.amax([1])?.shape(), [0]);
    }
    Ok(())
}
