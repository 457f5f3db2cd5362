//! Batches of matrix products, and products in tiles, against the model of a single product.

use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use crate::model::{Array, assert_close, assert_equal};
use wgpu_pool::{Pool, Tensor};

/// The products of the last two dimensions, the leading ones already equal.
fn products<T: Copy, S: Copy>(x: &Array<T>, y: &Array<T>, zero: S, join: impl Fn(S, T, T) -> S) -> Array<S> {
    let (lead, sides) = x.shape.split_at(x.shape.len() - 2);
    let (rows, depth, columns) = (sides[0], sides[1], y.shape[y.shape.len() - 1]);
    let batches: usize = lead.iter().product();
    let mut elements = Vec::with_capacity(batches * rows * columns);
    for batch in 0..batches {
        let (left, right) = (&x.elements[batch * rows * depth..], &y.elements[batch * depth * columns..]);
        for row in 0..rows {
            elements.extend((0..columns).map(|column| {
                (0..depth).fold(zero, |sum, k| join(sum, left[row * depth + k], right[k * columns + column]))
            }));
        }
    }
    Array { shape: [lead, &[rows, columns]].concat(), elements }
}

/// Returns the array as a tensor whose last two dimensions are transposed in memory, or not.
fn laid_out(pool: &Pool, x: &Array<f32>, transposed: bool) -> Result<Tensor, wgpu_pool::TensorError> {
    if !transposed {
        return x.to_device(pool);
    }
    let rank = x.shape.len();
    let mut axes: Vec<usize> = (0..rank).collect();
    axes.swap(rank - 2, rank - 1);
    x.permute(&axes).to_device(pool)?.transpose(rank - 2, rank - 1)
}

fn assert_products(pool: &Pool, random: &mut Random, batches: usize, [rows, depth, columns]: [usize; 3]) -> Outcome {
    let x = Array::whole(&[batches, rows, depth], random);
    let y = Array::whole(&[batches, depth, columns], random);
    let wanted = products(&x, &y, 0.0, |sum, x, y| sum + x * y);
    for transposed in [[false, false], [false, true], [true, false], [true, true]] {
        let (left, right) = (laid_out(pool, &x, transposed[0])?, laid_out(pool, &y, transposed[1])?);
        let what = format!("{batches} of {rows}x{depth} by {depth}x{columns}, transposed {transposed:?}");
        assert_equal(&left.bmm(&right)?, &wanted, what);
    }
    Ok(())
}

/// Medium matrices, whole and partial tiles, and sizes of K that end within a tile.
#[test]
fn products_in_tiles_equal_the_model_in_every_layout() -> Outcome {
    let mut random = Random::new(60);
    for pool in adapter::all_shared() {
        for sizes in [
            [64, 64, 64],
            [68, 80, 132],
            [33, 72, 36],
            [128, 100, 64],
            [67, 77, 68],
            [36, 333, 40],
            [33, 65, 35],
            [129, 71, 66],
        ] {
            assert_products(pool, &mut random, 1, sizes)?;
        }
        assert_products(pool, &mut random, 3, [40, 68, 44])?;
        assert_products(pool, &mut random, 3, [39, 68, 43])?;
        // Beyond what one dispatch goes through, with a rest.
        if adapter::holds(pool, 4 * 32 * 32_800) {
            assert_products(pool, &mut random, 1, [32, 32_800, 32])?;
        }
    }
    Ok(())
}

// The next two tests compute enough products for the kernel with large tiles, on adapters that use it.

#[test]
fn many_small_products_equal_the_model_in_every_layout() -> Outcome {
    let mut random = Random::new(61);
    for pool in adapter::all_shared() {
        assert_products(pool, &mut random, 128, [40, 144, 36])?;
    }
    Ok(())
}

#[test]
fn some_large_products_of_odd_depth_equal_the_model_in_every_layout() -> Outcome {
    let mut random = Random::new(68);
    for pool in adapter::all_shared() {
        assert_products(pool, &mut random, 22, [132, 131, 260])?;
    }
    Ok(())
}

#[test]
fn leading_dimensions_broadcast_to_each_other() -> Outcome {
    let mut random = Random::new(62);
    let shapes: [[&[usize]; 2]; 7] = [
        [&[2, 3], &[2, 3]],
        [&[2, 3], &[]],
        [&[], &[4]],
        [&[3], &[2, 1]],
        [&[2, 1, 2], &[3, 1]],
        [&[1, 1], &[5]],
        [&[2, 1, 3, 1], &[2, 2, 1, 2]],
    ];
    for pool in adapter::all_shared() {
        for [left, right] in shapes {
            for [rows, depth, columns] in [[3, 5, 7], [36, 68, 40]] {
                let x = Array::whole(&[left, &[rows, depth]].concat(), &mut random);
                let y = Array::whole(&[right, &[depth, columns]].concat(), &mut random);
                let lead = Array::new(left, || 0.0).zip(&Array::new(right, || 0.0), |x, _| x).shape;
                let (wide_x, wide_y) = (
                    x.expand(&[&lead[..], &[rows, depth]].concat()),
                    y.expand(&[&lead[..], &[depth, columns]].concat()),
                );
                let wanted = products(&wide_x, &wide_y, 0.0, |sum, x, y| sum + x * y);
                let found = x.to_device(pool)?.matmul(&y.to_device(pool)?)?;
                assert_equal(&found, &wanted, format_args!("{left:?} by {right:?} of {rows}x{depth}x{columns}"));
            }
        }
    }
    Ok(())
}

#[test]
fn a_vector_is_a_row_on_the_left_and_a_column_on_the_right() -> Outcome {
    let mut random = Random::new(63);
    for pool in adapter::all_shared() {
        let (x, y) = (Array::whole(&[6], &mut random), Array::whole(&[6, 5], &mut random));
        let (vector, matrix) = (x.to_device(pool)?, y.to_device(pool)?);
        let row = products(&x.reshape(&[1, 6]), &y, 0.0, |sum, x, y| sum + x * y);
        assert_equal(&vector.matmul(&matrix)?, &row.reshape(&[5]), "a row");
        assert_equal(&matrix.t()?.matmul(&vector)?, &row.reshape(&[5]), "a column");
        let square: f32 = x.elements.iter().map(|x| x * x).sum();
        assert_equal(&vector.matmul(&vector)?, &Array { shape: vec![], elements: vec![square] }, "with itself");
        let z = Array::whole(&[3, 6, 5], &mut random);
        let wanted = products(&x.reshape(&[1, 6]).expand(&[3, 1, 6]), &z, 0.0, |sum, x, y| sum + x * y);
        assert_equal(&vector.matmul(&z.to_device(pool)?)?, &wanted.reshape(&[3, 5]), "a row by a batch");
    }
    Ok(())
}

/// More batches than one dispatch supports.
#[test]
fn as_many_batches_as_there_are_go_through() -> Outcome {
    let mut random = Random::new(64);
    for pool in adapter::all_shared() {
        let x = Array::whole(&[4100, 1, 2], &mut random);
        let y = Array::whole(&[4100, 2, 1], &mut random);
        let wanted = products(&x, &y, 0.0, |sum, x, y| sum + x * y);
        assert_equal(&x.to_device(pool)?.bmm(&y.to_device(pool)?)?, &wanted, "4,100");
    }
    Ok(())
}

/// Elements outside a window, and stale memory, must not be read: multiplying NaN by zero gives NaN.
#[test]
fn tiles_take_no_element_outside_of_their_matrices() -> Outcome {
    let mut random = Random::new(65);
    for pool in adapter::all_shared() {
        let frame = Tensor::full(pool, [100, 200], f32::NAN)?;
        let (x, y) = (Array::whole(&[68, 72], &mut random), Array::whole(&[72, 44], &mut random));
        let (left, right) = (frame.narrow(0, 4, 68)?.narrow(1, 8, 72)?, frame.narrow(0, 20, 72)?.narrow(1, 100, 44)?);
        left.copy_(&x.to_device(pool)?)?;
        right.copy_(&y.to_device(pool)?)?;
        drop(Tensor::full(pool, [68, 44], f32::NAN)?);
        assert_equal(&left.matmul(&right)?, &products(&x, &y, 0.0, |sum, x, y| sum + x * y), "windows");
        let (x, y) = (x.narrow(0, 1, 67).narrow(1, 0, 71), y.narrow(0, 1, 71).narrow(1, 3, 41));
        let left = left.narrow(0, 1, 67)?.narrow(1, 0, 71)?;
        let right = right.narrow(0, 1, 71)?.narrow(1, 3, 41)?;
        assert_equal(&left.matmul(&right)?, &products(&x, &y, 0.0, |sum, x, y| sum + x * y), "odd windows");
    }
    Ok(())
}

#[test]
fn products_of_integers_in_tiles_wrap() -> Outcome {
    let mut random = Random::new(66);
    for pool in adapter::all_shared() {
        let (x, y) = (Array::<i32>::any(&[40, 80], &mut random), Array::<i32>::any(&[80, 68], &mut random));
        let wanted = products(&x, &y, 0, |sum: i32, x, y| sum.wrapping_add(x.wrapping_mul(y)));
        assert_equal(&x.to_device(pool)?.matmul(&y.to_device(pool)?)?, &wanted, "i32");
    }
    Ok(())
}

/// The bound of `products_of_real_numbers_are_as_close_as_their_depth_allows`, for tiles.
#[test]
fn products_of_real_numbers_in_tiles_are_as_close_as_their_depth_allows() -> Outcome {
    let mut random = Random::new(67);
    for pool in adapter::all_shared() {
        let (x, y) = (Array::real(&[64, 1000], &mut random), Array::real(&[1000, 68], &mut random));
        let found = x.to_device(pool)?.matmul(&y.to_device(pool)?)?;
        let wanted = products(&x, &y, 0.0, |sum, x, y| sum + f64::from(x) * f64::from(y));
        let magnitudes = products(&x, &y, 0.0, |sum, x, y| sum + (f64::from(x) * f64::from(y)).abs());
        let unit = f64::from(f32::EPSILON) * 1000.0;
        assert_close(&found, &wanted, |at, _| unit * magnitudes.elements[at], "depth 1000");
    }
    Ok(())
}
