//! Tensors and their operations against a plain model on the CPU, on the machine's adapter and on GL where it opens.

#[path = "../common/mod.rs"]
mod common;
mod model;
#[path = "../house/source.rs"]
#[expect(dead_code, reason = "the house reads more of a source than its tokens")]
mod source;

mod accuracy;
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
mod in_place;
mod indexed;
mod limits;
mod loss;
mod matmul;
mod optimize;
mod philox;
mod profile;
mod reduce;
mod refusal;
mod rows;
mod shapes;
mod sites;
mod small_devices;
mod special;
mod special_values;
mod table;
mod turned;
mod views;

/// Sizes around a workgroup of 256 invocations, and of 64.
const SIZES: [usize; 11] = [0, 1, 2, 3, 63, 64, 65, 255, 256, 257, 1000];
