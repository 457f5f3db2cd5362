//! Sums and means.

use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use crate::model::{Array, assert_close, assert_equal, ulp};
use crate::views::random_view;
use wgpu_pool::Tensor;

fn subsets(rank: usize) -> impl Iterator<Item = Vec<usize>> {
    (0..1_usize << rank).map(move |set| (0..rank).filter(|axis| set >> axis & 1 == 1).collect())
}

fn sums(x: &Array<f32>, axes: &[usize], keep: bool) -> Array<f32> {
    x.fold(axes, keep, 0.0, |sum, x| sum + x)
}

/// The model of a mean, from a sum: its divisor's reciprocal is rounded, and so is the product.
fn assert_mean(found: &Tensor, x: &Array<f32>, axes: &[usize], keep: bool, what: &str) {
    let counts = x.fold(axes, keep, 0.0, |count, _| count + 1.0);
    let wanted = x.fold(axes, keep, 0.0, |sum, x| sum + f64::from(x));
    let means = wanted.elements.iter().zip(&counts.elements).map(|(sum, count)| sum / count).collect();
    let wanted = Array { shape: wanted.shape, elements: means };
    assert_close(found, &wanted, |_, mean| 2.0 * ulp(mean), what);
}

#[test]
fn sums_and_means_along_every_subset_of_axes_equal_the_model() -> Outcome {
    let mut random = Random::new(24);
    for pool in adapter::all_shared() {
        let shapes: [&[usize]; 6] = [&[], &[70], &[5, 33], &[4, 3, 40], &[3, 4, 2, 5], &[1, 7, 1, 3]];
        for shape in shapes {
            let x = Array::whole(shape, &mut random);
            let tensor = x.to_device(pool)?;
            for (axes, keep) in subsets(shape.len()).flat_map(|axes| [(axes.clone(), false), (axes, true)]) {
                let what = format!("{shape:?} along {axes:?}, kept {keep}");
                assert_equal(&reduced!(tensor.sum(&axes), keep)?, &sums(&x, &axes, keep), &what);
                assert_mean(&reduced!(tensor.mean(&axes), keep)?, &x, &axes, keep, &what);
            }
        }
    }
    Ok(())
}

#[test]
fn sums_of_views_equal_the_model() -> Outcome {
    let mut random = Random::new(25);
    for pool in adapter::all_shared() {
        for number in 0..60 {
            let (tensor, model) = random_view(pool, &mut random)?;
            let axes: Vec<usize> = (0..model.shape.len()).filter(|_| random.below(2) == 0).collect();
            let keep = random.below(2) == 0;
            let wanted = model.fold(&axes, keep, 0, i32::wrapping_add);
            assert_equal(
                &reduced!(tensor.sum(&axes), keep)?,
                &wanted,
                format_args!("chain {number}: {tensor:?} along {axes:?}"),
            );
        }
    }
    Ok(())
}

/// Sizes around the limits of an invocation and of a workgroup, and sizes with several parts.
#[test]
fn sums_of_every_length_reach_every_element() -> Outcome {
    let mut random = Random::new(26);
    for pool in adapter::all_shared() {
        let part = 1 << 18;
        for length in
            [1, 2, 31, 32, 33, 255, 256, 257, 1023, 1025, part - 1, part, part + 1, 2 * part + 7, (1 << 20) + 3]
        {
            let rows = if length > 2000 { 2 } else { 5 };
            if !adapter::holds(pool, 4 * (rows * length) as u64) {
                continue;
            }
            let x = Array::whole(&[rows, length], &mut random);
            let along = |row: usize| x.elements[row * length..][..length].iter().sum::<f32>();
            let wanted = Array { shape: vec![rows], elements: (0..rows).map(along).collect() };
            let tensor = x.to_device(pool)?;
            assert_equal(&tensor.sum([1])?, &wanted, format_args!("rows of {length}"));
            let whole = Array { shape: vec![], elements: vec![wanted.elements.iter().sum::<f32>()] };
            assert_equal(&tensor.sum(..)?, &whole, format_args!("all of {rows} rows of {length}"));
            let down = Tensor::from_slice(pool, &x.elements, [length, rows])?;
            let column = |column: usize| x.elements.iter().skip(column).step_by(rows).sum::<f32>();
            let wanted = Array { shape: vec![rows], elements: (0..rows).map(column).collect() };
            assert_equal(&down.sum([0])?, &wanted, format_args!("columns of {length}"));
        }
    }
    Ok(())
}

#[test]
fn many_sums_of_few_elements_are_all_there() -> Outcome {
    let mut random = Random::new(27);
    for pool in adapter::all_shared() {
        for rows in [255, 256, 257, 70_000] {
            let x = Array::<u32>::any(&[rows, 3], &mut random);
            let elements =
                x.elements.chunks(3).map(|row| row.iter().fold(0_u32, |sum, &x| sum.wrapping_add(x))).collect();
            assert_equal(&x.to_device(pool)?.sum([1])?, &Array { shape: vec![rows], elements }, format_args!("{rows}"));
        }
    }
    Ok(())
}

#[test]
fn sums_over_repeated_elements_count_each_repetition() -> Outcome {
    let mut random = Random::new(28);
    for pool in adapter::all_shared() {
        let x = Array::whole(&[1, 6], &mut random);
        let tensor = x.to_device(pool)?.expand([50, 6])?;
        let wide = x.expand(&[50, 6]);
        for axes in subsets(2) {
            assert_equal(&tensor.sum(&axes)?, &sums(&wide, &axes, false), format_args!("{axes:?}"));
        }
    }
    Ok(())
}

#[test]
fn the_sum_of_no_elements_is_zero_and_their_mean_is_nan() -> Outcome {
    for pool in adapter::all_shared() {
        let shapes: [&[usize]; 5] = [&[0], &[3, 0], &[0, 3], &[2, 0, 4], &[0, 0]];
        for shape in shapes {
            let x = Array { shape: shape.to_vec(), elements: Vec::new() };
            let tensor = x.to_device(pool)?;
            for (axes, keep) in subsets(shape.len()).flat_map(|axes| [(axes.clone(), false), (axes, true)]) {
                let what = format!("{shape:?} along {axes:?}, kept {keep}");
                assert_equal(&reduced!(tensor.sum(&axes), keep)?, &sums(&x, &axes, keep), &what);
                assert_mean(&reduced!(tensor.mean(&axes), keep)?, &x, &axes, keep, &what);
            }
        }
    }
    Ok(())
}

/// An element passes through at most 1,024 additions in its stripe and 8 levels of the tree, in each of two passes; each
/// rounds by half a unit at most, of the sum of magnitudes.
#[test]
fn sums_of_real_numbers_are_as_close_as_stripes_and_trees_allow() -> Outcome {
    let mut random = Random::new(29);
    for pool in adapter::all_shared() {
        let x = Array::real(&[300_000], &mut random);
        let tensor = x.to_device(pool)?;
        let wanted: f64 = x.elements.iter().copied().map(f64::from).sum();
        let magnitude: f64 = x.elements.iter().map(|&x| f64::from(x.abs())).sum();
        let wanted = Array { shape: vec![], elements: vec![wanted] };
        let allowed = f64::from(f32::EPSILON) / 2.0 * 1100.0 * magnitude;
        assert_close(&tensor.sum(..)?, &wanted, |_, _| allowed, "300,000");
        // The same numbers in the same order: the same bits, each time.
        let first = tensor.sum(..)?.read_blocking::<f32>()?;
        assert_eq!(first[0].to_bits(), tensor.sum(..)?.read_blocking::<f32>()?[0].to_bits());
    }
    Ok(())
}
