//! Passes: the same results whatever the limit of loop iterations, which tests lower.

use super::passes::tiles;
use super::*;
use crate::ops::launch::lowered::with_loop_limit;
use crate::pool::{Pool, PoolOptions};
use crate::tensor::{DType, Element};
use proptest::prelude::*;

proptest! {
    #[test]
    fn tiles_cover_a_range_once_in_order_within_the_budget(rows in 1_usize..40, columns in 1_usize..40, budget in 4_u64..2000) {
        let tiles: Vec<_> = tiles([rows, columns], budget).collect();
        let mut seen = Vec::new();
        for (number, tile) in tiles.iter().enumerate() {
            let (height, width) = (tile.end[0] - tile.start[0], tile.end[1] - tile.start[1]);
            prop_assert!((height * (width + 2) + 1) as u64 <= budget, "{tile:?}");
            let kind = u32::from(number > 0) | u32::from(number + 1 == tiles.len()) << 1;
            prop_assert_eq!(tile.kind(), kind);
            seen.extend((tile.start[0]..tile.end[0]).flat_map(|row| (tile.start[1]..tile.end[1]).map(move |at| (row, at))));
        }
        let all: Vec<_> = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))).collect();
        prop_assert_eq!(seen, all);
    }
}

/// A kernel's size, its stride and its padding, as all operations have them.
#[derive(Clone, Copy, Debug)]
struct Window {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
}

impl Window {
    fn max(self) -> MaxPool2d {
        let Self { kernel, stride, padding } = self;
        MaxPool2d { kernel_size: kernel, stride, padding: padding.into(), ..MaxPool2d::new(1) }
    }

    /// Counts the places under each position.
    fn avg(self) -> AvgPool2d {
        let Self { kernel, stride, padding } = self;
        AvgPool2d { kernel_size: kernel, stride, padding: padding.into(), count_include_pad: false, ceil_mode: true }
    }

    fn unfold(self) -> Unfold {
        let Self { kernel, stride, padding } = self;
        Unfold { kernel_size: kernel, stride, padding: padding.into(), ..Unfold::new(1) }
    }
}

/// All operations that sum over ranges, of one image.
fn results<T: Element + PartialEq>(pool: &Pool, dtype: DType, window: Window) -> Result<Vec<Vec<T>>, TensorError> {
    let averages = [AvgPool2d { ceil_mode: false, count_include_pad: true, ..window.avg() }, window.avg()];
    let shape = [2, 3, 13, 11];
    let x = Tensor::randn(pool, shape, 1)?.to(dtype)?;
    let (largest, places) = x.max_pool2d_with_indices(window.max())?;
    let gradient = Tensor::randn(pool, largest.shape(), 2)?.to(dtype)?;
    let columns = x.unfold(window.unfold())?;
    let all = [
        largest.clone(),
        places.to(dtype)?,
        gradient.max_pool2d_backward(&places, shape, window.max())?,
        x.avg_pool2d(averages[0])?,
        x.avg_pool2d(averages[1])?,
        gradient.avg_pool2d_backward(shape, averages[0])?,
        x.avg_pool2d(averages[1])?.avg_pool2d_backward(shape, averages[1])?,
        columns.fold([13, 11], window.unfold())?,
        x.upsample_nearest_backward([2, 3])?,
        x.upsample_bilinear_backward([2, 3], Corners::Outer)?,
        x.upsample_bilinear_backward([1, 1], Corners::Outer)?,
        x.upsample_bilinear_backward([2, 3], Corners::Centers)?,
        x.upsample_bilinear_backward([1, 1], Corners::Centers)?,
        x.upsample_nearest_backward([17, 3])?,
    ];
    all.iter().map(Tensor::read_blocking).collect()
}

#[test]
fn results_do_not_depend_on_the_limit_of_loop_iterations() -> Result<(), TensorError> {
    let Ok(pool) = Pool::request_blocking(PoolOptions::default()) else { return Ok(()) };
    let windows = [
        Window { kernel: [7, 9], stride: [2, 1], padding: [3, 4] },
        Window { kernel: [13, 11], stride: [1, 1], padding: [0, 0] },
        Window { kernel: [3, 11], stride: [5, 2], padding: [1, 5] },
    ];
    for window in windows {
        let whole = results::<f32>(&pool, DType::F32, window)?;
        // The limits permit a few rows of a window at a time, one row, and parts of a row. The upsampling gradients have 132
        // iterations in other loops.
        for limit in [170, 146, 140] {
            let parts = with_loop_limit(limit, || results::<f32>(&pool, DType::F32, window))?;
            // The order of additions is the same, so all bits are equal.
            assert_eq!(parts, whole, "{window:?} {limit}");
        }
        if with_gpu(&Tensor::zeros(&pool, [1], DType::F32)?, crate::device::Gpu::has_f16) {
            let whole = results::<half::f16>(&pool, DType::F16, window)?;
            let parts = with_loop_limit(146, || results::<half::f16>(&pool, DType::F16, window))?;
            assert_eq!(parts, whole, "sums between passes are not rounded: {window:?}");
        }
    }
    Ok(())
}

/// Pooling alone, whose passes may be as small as one place.
#[test]
fn a_pass_may_be_a_single_place() -> Result<(), TensorError> {
    let Ok(pool) = Pool::request_blocking(PoolOptions::default()) else { return Ok(()) };
    let window = Window { kernel: [5, 4], stride: [3, 2], padding: [2, 1] };
    let x = Tensor::randn(&pool, [1, 2, 9, 8], 3)?;
    let pooled = || -> Result<_, TensorError> {
        let (largest, places) = x.max_pool2d_with_indices(window.max())?;
        Ok((
            largest.read_blocking::<f32>()?,
            places.read_blocking::<u32>()?,
            x.avg_pool2d(window.avg())?.read_blocking::<f32>()?,
        ))
    };
    let whole = pooled()?;
    for limit in [4, 5, 6, 7, 12, 13, 25] {
        assert_eq!(with_loop_limit(limit, pooled)?, whole, "{limit}");
    }
    Ok(())
}

#[test]
fn loops_above_the_limit_are_refused_before_anything_is_recorded() -> Result<(), TensorError> {
    let Ok(pool) = Pool::request_blocking(PoolOptions::default()) else { return Ok(()) };
    let x = Tensor::randn(&pool, [1, 1, 4, 4], 3)?;
    let error = with_loop_limit(60, || x.upsample_nearest([8, 8])).expect_err("two divisions take more");
    assert_eq!(error, TensorError::TooManyIterations { operation: "upsample_nearest", iterations: 66, limit: 60 });
    Ok(())
}
