//! Copies whose two sides have their neighbours along different dimensions.

use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use crate::model::{Array, assert_equal};
use wgpu_pool::Tensor;

#[test]
fn permuted_tensors_become_contiguous_in_every_order_of_their_axes() -> Outcome {
    let mut random = Random::new(80);
    for pool in adapter::all_shared() {
        let shapes: [&[usize]; 7] =
            [&[8, 8], &[31, 33], &[64, 40], &[1, 70, 9], &[3, 33, 20], &[2, 9, 3, 10], &[2, 8, 2, 9, 2]];
        for shape in shapes {
            let x = Array::<i32>::any(shape, &mut random);
            let tensor = x.to_device(pool)?;
            for number in 0..12 {
                let mut axes: Vec<usize> = (0..shape.len()).collect();
                (1..axes.len()).for_each(|last| axes.swap(last, random.below(last + 1)));
                let (transposed, wanted) = (tensor.permute(&axes)?, x.permute(&axes));
                assert_equal(&transposed.copied()?, &wanted, format_args!("{number}: {shape:?} as {axes:?}"));
            }
        }
    }
    Ok(())
}

/// Windows on both sides: no element outside of them is read or written.
#[test]
fn windows_are_transposed_without_touching_their_surroundings() -> Outcome {
    let mut random = Random::new(81);
    for pool in adapter::all_shared() {
        for [rows, columns, start] in [[32, 32, 0], [33, 10, 1], [9, 65, 3], [40, 40, 5]] {
            let (x, y) = (Array::<i32>::any(&[80, 80], &mut random), Array::<i32>::any(&[80, 80], &mut random));
            let (from, to) = (x.to_device(pool)?, y.to_device(pool)?);
            let window = |tensor: &Tensor| tensor.narrow(0, start, rows)?.narrow(1, 2 * start, columns);
            let source = from.t()?;
            window(&to)?.copy_(&window(&source)?)?;
            let mut wanted = y.clone();
            for row in start..start + rows {
                for column in 2 * start..2 * start + columns {
                    wanted.elements[row * 80 + column] = x.at(&[column, row]);
                }
            }
            assert_equal(&to, &wanted, format_args!("{rows}x{columns} from {start}"));
        }
    }
    Ok(())
}
