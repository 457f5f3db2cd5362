//! Tensors and their operations against a plain model on the CPU, on the machine's adapter and on GL where it opens.

// In a browser, `#[test]` exports a test to the driver (tests/web-suites).
#[cfg(target_arch = "wasm32")]
#[macro_use]
extern crate wgpu_pool_web_attribute;

#[path = "../common/mod.rs"]
mod common;
mod model;
#[path = "../house/source.rs"]
#[expect(dead_code, reason = "the house reads more of a source than its tokens")]
mod source;

/// A reduction with its axes kept or dropped.
macro_rules! reduced {
    ($tensor:ident.sum($axes:expr), $keep:expr) => {
        if $keep { $tensor.sum_keepdim($axes) } else { $tensor.sum($axes) }
    };
    ($tensor:ident.mean($axes:expr), $keep:expr) => {
        if $keep { $tensor.mean_keepdim($axes) } else { $tensor.mean($axes) }
    };
    ($tensor:ident.amax($axes:expr), $keep:expr) => {
        if $keep { $tensor.amax_keepdim($axes) } else { $tensor.amax($axes) }
    };
}

mod accuracy;
mod axes;
mod batches;
mod broadcast;
mod caches;
mod cast;
mod elementwise;
mod epilogue;
mod extreme_shapes;
mod extremes;
mod forms;
mod fuse;
mod half;
mod host;
mod image;
mod image_options;
mod in_place;
mod indexed;
mod limits;
mod loss;
mod matmul;
mod operators;
mod optimize;
mod philox;
mod profile;
mod promotion;
mod reduce;
mod refusal;
mod rows;
mod several_blocks;
mod shapes;
mod sites;
mod slices;
mod small_devices;
mod special;
mod special_values;
mod table;
mod text;
mod transposed;
mod views;
mod warm_up;
mod window;

/// Sizes around a workgroup of 256 invocations, and of 64.
const SIZES: [usize; 11] = [0, 1, 2, 3, 63, 64, 65, 255, 256, 257, 1000];
