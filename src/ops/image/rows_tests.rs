//! The kernels that read rows of an image in vec4s.

use super::convolution_tests::{Case, PLAIN, check, dtypes, with};
use super::correlation_kernel::Kernel;
use super::weight_kernel::{Kernel as WeightKernel, forced as forced_weight};
use super::*;
use crate::pool::{Pool, PoolOptions};

/// One vec4 in a row, one row, odd rows, channels and outputs past chunks and tiles, groups, and padding of rows.
#[test]
fn rows_of_vec4s_give_every_convolution_and_its_gradient_by_the_input() -> Result<(), TensorError> {
    let Ok(pool) = Pool::request_blocking(PoolOptions::default()) else { return Ok(()) };
    let cases = [
        Case { batch: 3, channels: 9, outputs: 17, size: [23, 20], ..PLAIN },
        Case { batch: 5, channels: 3, outputs: 9, size: [5, 4], padding: [[4, 0], [1, 1]], ..PLAIN },
        Case { groups: 2, channels: 5, outputs: 11, size: [9, 12], padding: [[0, 0], [1, 1]], ..PLAIN },
        Case { channels: 1, outputs: 2, size: [1, 8], padding: [[2, 1], [1, 1]], ..PLAIN },
        Case { channels: 4, outputs: 8, size: [2, 256], padding: [[0, 3], [1, 1]], ..PLAIN },
        Case { batch: 2, channels: 6, outputs: 70, size: [7, 36], padding: [[1, 1], [1, 1]], ..PLAIN },
        Case { groups: 2, channels: 7, outputs: 130, size: [3, 4], padding: [[1, 1], [1, 1]], ..PLAIN },
    ];
    for &dtype in dtypes(&pool)? {
        for case in cases {
            check(&pool, dtype, case, &[Kernel::Rows, Kernel::RowsTiled(0)].map(Some), 65_535)?;
            check(&pool, dtype, case.with_five_taps(), &[Some(Kernel::RowsTiled(1))], 65_535)?;
            check(&pool, dtype, case.with_taps_apart(), &[Some(Kernel::RowsTiled(2))], 65_535)?;
        }
        // Windows whose rows are two apart, with every remainder of the rows.
        for rows in 1..=9 {
            let case = Case { batch: 2, channels: 3, outputs: 9, size: [rows, 8], ..PLAIN }.with_taps_apart();
            let case = Case { size: [rows, 8], padding: [[2, 2], [2, 2]], ..case };
            check(&pool, dtype, case, &[Some(Kernel::RowsTiled(2))], 65_535)?;
        }
        // Kernels with a single pass over K are replaced where their loop is too long.
        let long = Case { channels: 40, outputs: 9, size: [4, 8], ..PLAIN };
        check(&pool, dtype, long, &[Kernel::Rows, Kernel::RowsTiled(0)].map(Some), 16)?;
    }
    // An image that begins between vec4s is computed by another kernel.
    let weight = Tensor::randn(&pool, [5, 3, 3, 3], 2)?;
    let options = Conv2d { padding: 1.into(), ..Conv2d::default() };
    for offset in [0, 1, 2, 4, 8] {
        let image = Tensor::randn(&pool, [200], 1)?.narrow(0, offset, 192)?.reshape([2, 3, 4, 8])?;
        let run = |image: &Tensor| image.conv2d(&weight, None, options)?.read_blocking::<f32>();
        let (found, wanted) = (with(Some(Kernel::Rows), 65_535, || run(&image))?, run(&image.copied()?)?);
        assert!(found.iter().zip(&wanted).all(|(one, other)| (one - other).abs() < 1e-4), "{offset}");
    }
    Ok(())
}

#[test]
fn gradients_by_the_weight_of_rows_that_begin_between_vec4s_are_those_of_copies() -> Result<(), TensorError> {
    let Ok(pool) = Pool::request_blocking(PoolOptions::default()) else { return Ok(()) };
    let shape = [2, 3, 4, 8];
    let options = Conv2d { padding: 1.into(), ..Conv2d::default() };
    let run = |gradient: &Tensor, image: &Tensor| -> Result<Vec<f32>, TensorError> {
        let act = || gradient.conv2d_backward_weight(image, [3, 3, 3, 3], options);
        forced_weight::with(WeightKernel::Rows, act)?.read_blocking()
    };
    let at = |offset: usize, seed| Tensor::randn(&pool, [200], seed)?.narrow(0, offset, 192)?.reshape(shape);
    for offsets in [[0, 0], [1, 0], [0, 2], [4, 3], [8, 4]] {
        let (gradient, image) = (at(offsets[0], 1)?, at(offsets[1], 2)?);
        let (found, wanted) = (run(&gradient, &image)?, run(&gradient.copied()?, &image.copied()?)?);
        assert!(found.iter().zip(&wanted).all(|(one, other)| (one - other).abs() < 1e-4), "{offsets:?}");
    }
    // Columns that are not contiguous are copied.
    let swapped = Tensor::randn(&pool, [2, 3, 8, 4], 3)?.permute([0, 1, 3, 2])?;
    assert_eq!(run(&swapped, &swapped)?, run(&swapped.copied()?, &swapped.copied()?)?);
    Ok(())
}
