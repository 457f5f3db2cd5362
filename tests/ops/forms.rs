//! Operands at multiples of four elements, where kernels move a vec4, and next to such multiples, where they must not.

use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use crate::model::{Array, assert_equal};
use wgpu_pool::Tensor;

/// Parts of a contiguous tensor that begin and end at each element of a vec4.
#[test]
fn writing_a_part_leaves_its_neighbours_wherever_it_begins_and_ends() -> Outcome {
    let mut random = Random::new(50);
    for pool in adapter::all_shared() {
        for start in 0..9 {
            for length in 0..10 {
                let (x, y) = (Array::<i32>::any(&[40], &mut random), Array::<i32>::any(&[length], &mut random));
                let tensor = x.to_device(pool)?;
                let part = tensor.narrow(0, start, length)?;
                part.add_scaled_(&y.to_device(pool)?, 3)?;
                let mut wanted = x.clone();
                for (place, &y) in wanted.elements[start..].iter_mut().zip(&y.elements) {
                    *place = place.wrapping_add(y.wrapping_mul(3));
                }
                assert_equal(&tensor, &wanted, format_args!("added to {start}, {length}"));
                part.fill_(-1)?;
                wanted.elements[start..start + length].fill(-1);
                assert_equal(&tensor, &wanted, format_args!("filled {start}, {length}"));
                part.copy_(&y.to_device(pool)?)?;
                wanted.elements[start..start + length].copy_from_slice(&y.elements);
                assert_equal(&tensor, &wanted, format_args!("copied to {start}, {length}"));
            }
        }
    }
    Ok(())
}

/// Windows of matrices whose sizes and borders are often, not always, multiples of four, combined with rows, columns and
/// single elements.
#[test]
fn windows_rows_columns_and_single_elements_combine_as_the_model() -> Outcome {
    let mut random = Random::new(51);
    let size = |random: &mut Random| if random.below(4) == 0 { 1 + random.below(9) } else { 4 * (1 + random.below(4)) };
    let start = |random: &mut Random| if random.below(4) == 0 { random.below(6) } else { 4 * random.below(3) };
    for pool in adapter::all_shared() {
        for number in 0..120 {
            let [blocks, rows, columns] = [1 + random.below(3), 1 + random.below(5), size(&mut random)];
            let (before, after) = (start(&mut random), start(&mut random));
            let x = Array::<i32>::any(&[blocks, rows, before + columns + after], &mut random);
            let left = x.to_device(pool)?.narrow(2, before, columns)?;
            let x = x.narrow(2, before, columns);
            let shapes: [&[usize]; 7] = [
                &[columns],
                &[1],
                &[rows, 1],
                &[rows, columns],
                &[blocks, 1, 1],
                &[blocks, 1, columns],
                &[blocks, rows, 1],
            ];
            for shape in shapes {
                let y = Array::<i32>::any(shape, &mut random);
                let right = y.to_device(pool)?;
                let what = format!("{number}: {left:?} and {shape:?}");
                assert_equal(&left.sub(&right)?, &x.zip(&y, i32::wrapping_sub), format_args!("{what}, sub"));
                assert_equal(&right.sub(&left)?, &y.zip(&x, i32::wrapping_sub), format_args!("{what}, reversed"));
            }
            assert_equal(&left.abs()?, &x.map(i32::wrapping_abs), format_args!("{number}: abs of {left:?}"));
            assert_equal(&left.mul(7)?, &x.map(|x| x.wrapping_mul(7)), format_args!("{number}: times 7"));
        }
    }
    Ok(())
}

/// More workgroups than one dimension of a dispatch supports.
#[test]
fn long_tensors_are_reached_to_the_last_element() -> Outcome {
    for pool in adapter::all_shared() {
        let count = (1 << 20) + 3;
        if !adapter::holds(pool, 4 * count as u64) {
            continue;
        }
        let tensor = Tensor::full(pool, [count], 1_i32)?;
        tensor.narrow(0, 0, count - 1)?.fill_(2)?;
        let sum = tensor.add(&tensor)?.read_blocking::<i32>()?;
        assert!(sum[..count - 1].iter().all(|&x| x == 4));
        assert_eq!(sum[count - 1], 2);
    }
    Ok(())
}
