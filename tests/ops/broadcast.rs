//! Shapes that broadcast to each other, of every rank.

use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use crate::model::{Array, assert_equal};

/// Two shapes that broadcast to each other: a common one, of which each has some axes as 1 and some leading ones not at all.
fn shapes(random: &mut Random, rank: usize) -> [Vec<usize>; 2] {
    let common: Vec<usize> = (0..rank).map(|_| [1, 2, 3, 5, 4][random.below(5)]).collect();
    let mut of = |whole: bool| -> Vec<usize> {
        let dropped = if whole { 0 } else { random.below(rank + 1) };
        common[dropped..].iter().map(|&size| if random.below(3) == 0 { 1 } else { size }).collect()
    };
    let pair = [of(true), of(false)];
    if random.below(2) == 0 {
        pair
    } else {
        {
            let [first, second] = pair;
            [second, first]
        }
    }
}

#[test]
fn shapes_of_every_rank_broadcast_to_each_other() -> Outcome {
    let mut random = Random::new(5);
    for pool in adapter::all_shared() {
        for rank in 0..=wgpu_pool::MAX_RANK {
            for _ in 0..12 {
                let [left, right] = shapes(&mut random, rank);
                let (x, y) = (Array::<i32>::any(&left, &mut random), Array::<i32>::any(&right, &mut random));
                let (left, right) = (x.to_device(pool)?, y.to_device(pool)?);
                let what = format!("{:?} and {:?}", x.shape, y.shape);
                assert_equal(&left.sub(&right)?, &x.zip(&y, i32::wrapping_sub), format_args!("sub of {what}"));
                assert_equal(&left.mul(&right)?, &x.zip(&y, i32::wrapping_mul), format_args!("mul of {what}"));
            }
        }
    }
    Ok(())
}

#[test]
fn empty_axes_broadcast_to_nothing() -> Outcome {
    let mut random = Random::new(6);
    for pool in adapter::all_shared() {
        let pairs: [[&[usize]; 2]; 5] =
            [[&[0], &[1]], [&[3, 0], &[1]], [&[3, 1], &[0]], [&[2, 0, 4], &[4]], [&[], &[0]]];
        for [left, right] in pairs {
            let (x, y) = (Array::whole(left, &mut random), Array::whole(right, &mut random));
            let found = x.to_device(pool)?.add(&y.to_device(pool)?)?;
            assert_equal(&found, &x.zip(&y, |x, y| x + y), format_args!("{left:?} and {right:?}"));
        }
    }
    Ok(())
}

#[test]
fn an_expanded_tensor_repeats_its_elements() -> Outcome {
    let mut random = Random::new(7);
    for pool in adapter::all_shared() {
        let cases: [[&[usize]; 2]; 6] = [
            [&[1], &[1000]],
            [&[3, 1], &[3, 5]],
            [&[3, 1, 2], &[4, 3, 7, 2]],
            [&[], &[2, 3]],
            [&[1, 1], &[0, 4]],
            [&[2, 1, 1, 3], &[5, 1, 2, 4, 6, 3]],
        ];
        for [from, to] in cases {
            let x = Array::whole(from, &mut random);
            let tensor = x.to_device(pool)?.expand(to)?;
            assert_equal(&tensor, &x.expand(to), format_args!("{from:?} read as {to:?}"));
            assert_equal(&tensor.contiguous()?, &x.expand(to), format_args!("{from:?} copied to {to:?}"));
            assert_equal(&tensor.neg()?, &x.expand(to).map(|x| -x), format_args!("{from:?} negated as {to:?}"));
            let y = Array::whole(to, &mut random);
            let sum = y.to_device(pool)?;
            sum.add_scaled_(&x.to_device(pool)?, 2.0_f32)?;
            assert_equal(&sum, &y.zip(&x, |y, x| y + 2.0 * x), format_args!("{from:?} added to {to:?}"));
        }
    }
    Ok(())
}
