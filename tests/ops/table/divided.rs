//! The table of operations with operands and results in several blocks.

use super::{check_divided, elementwise, images, indices, products, reductions, whole};
use crate::common::{Outcome, adapter};

macro_rules! tables {
    ($($test:ident, $bytes:literal: $($rows:path),*;)*) => {
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

/// Blocks that hold the reordered weight, which on GPUs is larger; `several_blocks.rs` divides larger images there.
#[test]
fn convolutions() -> Outcome {
    let is_software = adapter::shared()
        .is_some_and(|pool| pool.memory().device().adapter_info().device_type == wgpu_pool::wgpu::DeviceType::Cpu);
    check_divided(if is_software { 2048 } else { 32 << 10 }, &images::convolutions())
}
