//! The table of operations with operands and results in several blocks.

use super::{Row, check_divided, check_once, elementwise, images, indices, names, products, reductions, whole};
use crate::common::{Outcome, adapter};
use wgpu_pool::{Pool, PoolOptions};

/// Rows of the table, and the bytes of the blocks with which they run.
type Table = (u64, fn() -> Vec<Row>);

/// Defines a test of each line, and the list of all tables.
macro_rules! tables {
    ($($test:ident, $bytes:literal: $($rows:path),*;)*) => {
        const TABLES: &[Table] = &[$($(($bytes, $rows)),*),*];

        $(
            #[test]
            fn $test() -> Outcome {
                $(check_divided($bytes, &$rows())?;)*
                Ok(())
            }
        )*
    };
}

tables! {
    unary_operations, 64: elementwise::unary, elementwise::unary_in_place;
    binary_operations, 64: elementwise::binary;
    binary_operations_in_place, 64: elementwise::binary_in_place;
    operations_with_numbers, 64: elementwise::scalars, elementwise::bounds;
    comparisons_and_choices, 64: elementwise::comparisons, elementwise::choices;
    casts, 64: elementwise::casts;
    reductions, 64: reductions::reductions, reductions::variances;
    indices_of_extremes, 64: reductions::indices_of_extremes;
    operations_on_rows, 64: reductions::rows_of_rows;
    losses, 64: reductions::losses;
    products_of_matrices, 1024: products::products, products::epilogues;
    patches_of_images, 4096: images::patches;
    pools_and_sizes_of_images, 512: images::pools, images::sizes;
    pools_of_images_by_rows, 192: images::pools;
    sizes_of_images_by_rows, 320: images::sizes;
    patches_of_images_by_rows, 768: images::patches;
    lookups, 64: indices::lookups;
    views_and_copies, 64: whole::views, whole::copies, whole::items;
    new_tensors_and_optimizers, 64: whole::new, whole::steps;
}

/// The bytes of blocks that hold the reordered weight, which on GPUs is larger; `several_blocks.rs` divides larger images there.
fn for_convolutions(pool: &Pool) -> u64 {
    let kind = pool.memory().device().adapter_info().device_type;
    if kind == wgpu_pool::wgpu::DeviceType::Cpu { 2048 } else { 32 << 10 }
}

#[test]
fn convolutions() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    check_divided(for_convolutions(pool), &images::convolutions())
}

/// Each operation once. With the environment variable `WGPU_BACKEND=gl`, the tests above run in every way on GL.
#[test]
fn every_operation_runs_on_gl() -> Outcome {
    let Some(whole) = adapter::shared_gl() else { return Ok(()) };
    let convolutions: Table = (for_convolutions(whole), images::convolutions);
    for (bytes, rows) in TABLES.iter().chain([&convolutions]) {
        let Some(gpu) = adapter::gl() else { return Ok(()) };
        let options = PoolOptions { largest_block: Some(*bytes), ..crate::common::options() };
        check_once(&Pool::new(gpu, options)?, &rows())?;
    }
    Ok(())
}

/// Each operation once, whole and divided, with the least of each limit that the small devices of the tests have.
#[test]
fn every_operation_runs_on_a_device_of_the_least_limits() -> Outcome {
    let Some((device, queue)) = adapter::foreign_with(adapter::least_limits()) else { return Ok(()) };
    let whole = Pool::from_device(device.clone(), queue.clone(), crate::common::options())?;
    check_once(&whole, &names::rows())?;
    let convolutions: Table = (for_convolutions(&whole), images::convolutions);
    for (bytes, rows) in TABLES.iter().chain([&convolutions]) {
        let options = PoolOptions { largest_block: Some(*bytes), ..crate::common::options() };
        let divided = Pool::from_device(device.clone(), queue.clone(), options)?;
        check_once(&divided, &rows())?;
        assert_eq!(divided.fault(), None);
    }
    Ok(())
}
