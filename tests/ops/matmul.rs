//! Products of matrices.

use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use crate::model::{Array, assert_close, assert_equal};
use wgpu_pool::{Pool, Tensor, TensorError};

/// Sizes around the tile of 64 and around the slice of 16 that a workgroup loads at once.
const SIZES: [usize; 8] = [1, 15, 16, 17, 63, 64, 65, 100];

/// Row by column, in the arithmetic given.
fn product<T: Copy>(x: &Array<T>, y: &Array<T>, zero: T, join: impl Fn(T, T, T) -> T) -> Array<T> {
    let (&[rows, depth], &[_, columns]) = (x.shape.as_slice(), y.shape.as_slice()) else { panic!("two matrices") };
    let element = |row: usize, column: usize| {
        (0..depth).fold(zero, |sum, k| join(sum, x.elements[row * depth + k], y.elements[k * columns + column]))
    };
    let places = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
    Array { shape: vec![rows, columns], elements: places.map(|(row, column)| element(row, column)).collect() }
}

/// The array as a tensor, laid out transposed in memory or not.
fn laid_out(pool: &Pool, x: &Array<f32>, transposed: bool) -> Result<Tensor, TensorError> {
    if transposed { x.permute(&[1, 0]).to_device(pool)?.t() } else { x.to_device(pool) }
}

fn assert_products(pool: &Pool, random: &mut Random, [rows, depth, columns]: [usize; 3]) -> Outcome {
    let (x, y) = (Array::whole(&[rows, depth], random), Array::whole(&[depth, columns], random));
    let wanted = product(&x, &y, 0.0, |sum, x, y| sum + x * y);
    for transposed in [[false, false], [false, true], [true, false], [true, true]] {
        let (left, right) = (laid_out(pool, &x, transposed[0])?, laid_out(pool, &y, transposed[1])?);
        let what = format!("{rows}x{depth} by {depth}x{columns}, transposed {transposed:?}");
        assert_equal(&left.matmul(&right)?, &wanted, what);
    }
    Ok(())
}

#[test]
fn products_of_sizes_around_the_tile_equal_the_model_in_every_layout() -> Outcome {
    let mut random = Random::new(17);
    for pool in adapter::all_shared() {
        for size in SIZES {
            assert_products(pool, &mut random, [size, 17, 5])?;
            assert_products(pool, &mut random, [5, size, 17])?;
            assert_products(pool, &mut random, [17, 5, size])?;
            assert_products(pool, &mut random, [size, size, size])?;
        }
        for _ in 0..20 {
            let sizes = [(); 3].map(|()| SIZES[random.below(SIZES.len())]);
            assert_products(pool, &mut random, sizes)?;
        }
    }
    Ok(())
}

/// Beyond what one dispatch goes through.
#[test]
fn deep_products_add_up_all_of_the_depth() -> Outcome {
    let mut random = Random::new(18);
    for pool in adapter::all_shared() {
        for depth in [32_767, 32_768, 32_769, 40_000, 70_000] {
            assert_products(pool, &mut random, [3, depth, 2])?;
        }
    }
    Ok(())
}

#[test]
fn a_product_without_depth_is_zero_and_one_without_rows_is_empty() -> Outcome {
    let mut random = Random::new(19);
    for pool in adapter::all_shared() {
        // What the memory held before must not show.
        drop(Tensor::full(pool, [3, 4], 7.0_f32)?);
        for sizes in [[3, 0, 4], [0, 3, 4], [3, 4, 0], [0, 0, 0], [1, 0, 1]] {
            assert_products(pool, &mut random, sizes)?;
        }
    }
    Ok(())
}

#[test]
fn products_of_integers_wrap() -> Outcome {
    let mut random = Random::new(20);
    for pool in adapter::all_shared() {
        let (x, y) = (Array::<i32>::any(&[33, 70], &mut random), Array::<i32>::any(&[70, 65], &mut random));
        let wanted = product(&x, &y, 0, |sum: i32, x, y| sum.wrapping_add(x.wrapping_mul(y)));
        assert_equal(&x.to_device(pool)?.matmul(&y.to_device(pool)?)?, &wanted, "i32");
        let (x, y) = (Array::<u32>::any(&[65, 19], &mut random), Array::<u32>::any(&[19, 3], &mut random));
        let wanted = product(&x, &y, 0, |sum: u32, x, y| sum.wrapping_add(x.wrapping_mul(y)));
        assert_equal(&x.to_device(pool)?.matmul(&y.to_device(pool)?)?, &wanted, "u32");
    }
    Ok(())
}

#[test]
fn operands_may_be_views_of_one_storage() -> Outcome {
    let mut random = Random::new(21);
    for pool in adapter::all_shared() {
        let x = Array::whole(&[20, 30], &mut random);
        let tensor = x.to_device(pool)?;
        let join = |sum: f32, x: f32, y: f32| sum + x * y;
        assert_equal(&tensor.matmul(&tensor.t()?)?, &product(&x, &x.permute(&[1, 0]), 0.0, join), "by its transpose");
        let (left, right) = (tensor.narrow(1, 3, 10)?, tensor.narrow(0, 5, 10)?);
        let wanted = product(&x.narrow(1, 3, 10), &x.narrow(0, 5, 10), 0.0, join);
        assert_equal(&left.matmul(&right)?, &wanted, "columns by rows");
    }
    Ok(())
}

#[test]
fn an_expanded_operand_is_a_matrix_like_any_other() -> Outcome {
    let mut random = Random::new(22);
    for pool in adapter::all_shared() {
        let (x, y) = (Array::whole(&[1, 40], &mut random), Array::whole(&[40, 1], &mut random));
        let (left, right) = (x.to_device(pool)?.expand([70, 40])?, y.to_device(pool)?.expand([40, 9])?);
        let wanted = product(&x.expand(&[70, 40]), &y.expand(&[40, 9]), 0.0, |sum, x, y| sum + x * y);
        assert_equal(&left.matmul(&right)?, &wanted, "a row and a column, repeated");
    }
    Ok(())
}

/// Each of the `depth` additions and products may round once: the error is at most `depth` halves of a unit, of the sum of
/// magnitudes.
#[test]
fn products_of_real_numbers_are_as_close_as_their_depth_allows() -> Outcome {
    let mut random = Random::new(23);
    for pool in adapter::all_shared() {
        for depth in [10_u16, 100, 1000] {
            let sizes = usize::from(depth);
            let (x, y) = (Array::real(&[9, sizes], &mut random), Array::real(&[sizes, 70], &mut random));
            let found = x.to_device(pool)?.matmul(&y.to_device(pool)?)?;
            let (x, y) = (x.map(f64::from), y.map(f64::from));
            let wanted = product(&x, &y, 0.0, |sum, x, y| sum + x * y);
            let magnitudes = product(&x, &y, 0.0, |sum, x, y| sum + (x * y).abs());
            let unit = f64::from(f32::EPSILON) * f64::from(depth);
            assert_close(&found, &wanted, |at, _| unit * magnitudes.elements[at], format_args!("depth {depth}"));
        }
    }
    Ok(())
}
