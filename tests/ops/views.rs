//! Views: other shapes and strides over the same memory.

use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use crate::model::{Array, assert_equal};
use wgpu_pool::{Pool, Tensor, TensorError};

/// A tensor and its model.
pub(crate) type Pair = (Tensor, Array<i32>);

/// A random chain of views over a random tensor.
pub(crate) fn random_view(pool: &Pool, random: &mut Random) -> Result<Pair, TensorError> {
    let rank = random.below(5);
    let shape: Vec<usize> = (0..rank).map(|_| 1 + random.below(6)).collect();
    let model = Array::<i32>::any(&shape, random);
    let mut pair = (model.to_device(pool)?, model);
    for _ in 0..random.below(5) {
        pair = view_of(pair, random)?;
    }
    Ok(pair)
}

fn view_of((tensor, model): Pair, random: &mut Random) -> Result<Pair, TensorError> {
    let shape = model.shape.clone();
    let rank = shape.len();
    match random.below(4) {
        0 if rank > 0 => {
            let axis = random.below(rank);
            let start = random.below(shape[axis] + 1);
            // Seldom nothing at all.
            let length = (random.below(shape[axis] - start + 1) + 1).min(shape[axis] - start);
            Ok((tensor.narrow(axis, start, length)?, model.narrow(axis, start, length)))
        }
        1 => {
            let mut axes: Vec<usize> = (0..rank).collect();
            (1..rank).for_each(|last| axes.swap(last, random.below(last + 1)));
            Ok((tensor.permute(&axes)?, model.permute(&axes)))
        }
        2 if rank < wgpu_pool::MAX_RANK => {
            let mut target: Vec<usize> =
                shape.iter().map(|&size| if size == 1 { 1 + random.below(3) } else { size }).collect();
            target.insert(0, 1 + random.below(2));
            Ok((tensor.expand(&target)?, model.expand(&target)))
        }
        _ => {
            let elements: usize = shape.iter().product();
            let divisors: Vec<usize> = (1..=elements).filter(|divisor| elements.is_multiple_of(*divisor)).collect();
            if divisors.is_empty() {
                return Ok((tensor, model));
            }
            let first = divisors[random.below(divisors.len())];
            let target = [first, elements / first];
            let viewed = match tensor.reshape(target) {
                Err(TensorError::NotViewable { .. }) => tensor.contiguous()?.reshape(target)?,
                other => other?,
            };
            Ok((viewed, model.reshape(&target)))
        }
    }
}

#[test]
fn chains_of_views_read_and_compute_as_their_model() -> Outcome {
    let mut random = Random::new(8);
    for pool in adapter::all_shared() {
        for number in 0..150 {
            let (tensor, model) = random_view(pool, &mut random)?;
            let what = format!("chain {number}: {tensor:?}");
            assert_equal(&tensor, &model, format_args!("{what} read"));
            assert_equal(&tensor.contiguous()?, &model, format_args!("{what} made contiguous"));
            assert_equal(&tensor.copied()?, &model, format_args!("{what} copied"));
            assert_equal(&tensor.neg()?, &model.map(i32::wrapping_neg), format_args!("{what} negated"));
            assert_equal(&tensor.mul(3)?, &model.map(|x| x.wrapping_mul(3)), format_args!("{what} tripled"));
        }
    }
    Ok(())
}

#[test]
fn operands_of_odd_strides_are_combined_element_by_element() -> Outcome {
    let mut random = Random::new(9);
    for pool in adapter::all_shared() {
        for number in 0..60 {
            let (left, x) = random_view(pool, &mut random)?;
            let reversed: Vec<usize> = (0..x.shape.len()).rev().collect();
            let y = Array::<i32>::any(&x.permute(&reversed).shape, &mut random);
            let right = y.to_device(pool)?.permute(&reversed)?;
            let wanted = x.zip(&y.permute(&reversed), i32::wrapping_sub);
            assert_equal(&left.sub(&right)?, &wanted, format_args!("chain {number}: {left:?} minus {right:?}"));
        }
    }
    Ok(())
}

#[test]
fn both_operands_may_lie_in_one_storage() -> Outcome {
    let mut random = Random::new(10);
    for pool in adapter::all_shared() {
        let x = Array::<i32>::any(&[7, 7], &mut random);
        let tensor = x.to_device(pool)?;
        assert_equal(&tensor.add(&tensor)?, &x.map(|x| x.wrapping_mul(2)), "with itself");
        assert_equal(&tensor.sub(&tensor.t()?)?, &x.zip(&x.permute(&[1, 0]), i32::wrapping_sub), "with its transpose");
        let (top, bottom) = (tensor.narrow(0, 0, 3)?, tensor.narrow(0, 4, 3)?);
        let (x_top, x_bottom) = (x.narrow(0, 0, 3), x.narrow(0, 4, 3));
        assert_equal(&top.sub(&bottom)?, &x_top.zip(&x_bottom, i32::wrapping_sub), "two halves");
        let (row, column) = (tensor.narrow(0, 2, 1)?, tensor.narrow(1, 3, 1)?);
        let wanted = x.narrow(0, 2, 1).zip(&x.narrow(1, 3, 1), i32::wrapping_mul);
        assert_equal(&row.mul(&column)?, &wanted, "a row and a column");
        let overlapping = (tensor.narrow(0, 0, 5)?, tensor.narrow(0, 2, 5)?);
        let wanted = x.narrow(0, 0, 5).zip(&x.narrow(0, 2, 5), i32::wrapping_sub);
        assert_equal(&overlapping.0.sub(&overlapping.1)?, &wanted, "two that overlap, both only read");
    }
    Ok(())
}

#[test]
fn views_share_the_memory_and_free_it_with_the_last_of_them() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let tensor = Tensor::from_slice(&pool, &[1, 2, 3, 4, 5, 6], [2, 3])?;
    let view = tensor.t()?.narrow(0, 1, 2)?;
    assert!(view.storage()?.is_same(tensor.storage()?));
    assert_eq!((view.shape(), view.strides(), view.is_contiguous()), (&[2, 2][..], &[1, 3][..], false));
    tensor.fill_(7)?;
    assert_eq!(view.read_blocking::<i32>()?, [7; 4]);
    assert_eq!(pool.stats().blocks.current, 1);
    drop(tensor);
    assert_eq!(view.read_blocking::<i32>()?, [7; 4]);
    drop(view);
    assert_eq!(pool.stats().blocks.current, 0);
    Ok(())
}

#[test]
fn contiguous_copies_only_what_is_not() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let tensor = Tensor::from_slice(pool, &[1, 2, 3, 4, 5, 6], [2, 3])?;
    assert!(tensor.contiguous()?.storage()?.is_same(tensor.storage()?));
    assert!(tensor.narrow(0, 1, 1)?.contiguous()?.storage()?.is_same(tensor.storage()?));
    let copy = tensor.t()?.contiguous()?;
    assert!(!copy.storage()?.is_same(tensor.storage()?));
    assert_eq!((copy.strides(), copy.read_blocking::<i32>()?), (&[2, 1][..], vec![1, 4, 2, 5, 3, 6]));
    assert!(!tensor.copied()?.storage()?.is_same(tensor.storage()?));
    Ok(())
}
