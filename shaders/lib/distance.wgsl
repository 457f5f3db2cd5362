// For the mean of a variance: the differences of the elements to the first one of their output. Their sum is exactly 0 for equal
// numbers, and no difference overflows.
//
// Bindings: 2 the first element of each output, contiguous.

@group(0) @binding(2) var<storage, read_write> firsts: array<f32>;

// 2^-45: no sum of so many finite numbers overflows. A power of two, so that products are exact. Differences that it makes
// subnormal are below 2^-81, and their squares are 0.
const SHARE: f32 = 2.8421709430404007e-14;

var<private> first_share: vec4<f32>;

fn load_first(outputs: vec4<u32>) {
    first_share = SHARE * vec4(firsts[outputs.x], firsts[outputs.y], firsts[outputs.z], firsts[outputs.w]);
}

fn distance_to_first(x: vec4<f32>) -> vec4<f32> {
    return x * SHARE - first_share;
}
