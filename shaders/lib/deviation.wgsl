// The squared differences of the elements to the mean of their output, which is the first element plus twice `half_rest`. The mean
// is that sum, rounded; its rounding error is subtracted, too. A compiler would assume that the error is 0 in the kernel that
// computes the mean. It may also rearrange sums, but not across the limits, which are for differences that overflow: a sum of
// infinities of both signs would be NaN.
//
// Bindings: 2 the first element of each output, 3 `half_rest`, 4 the mean, contiguous.

@group(0) @binding(2) var<storage, read_write> firsts: array<f32>;
@group(0) @binding(3) var<storage, read_write> half_rests: array<f32>;
@group(0) @binding(4) var<storage, read_write> means: array<f32>;

// The largest finite number. Browsers refuse a literal above it, also one that is rounded to it.
const MOST: f32 = 3.4028234e38;

var<private> mean: vec4<f32>;
var<private> error_of_mean: vec4<f32>;

fn load_mean(outputs: vec4<u32>) {
    let first = vec4(firsts[outputs.x], firsts[outputs.y], firsts[outputs.z], firsts[outputs.w]);
    let half_rest = vec4(half_rests[outputs.x], half_rests[outputs.y], half_rests[outputs.z], half_rests[outputs.w]);
    mean = vec4(means[outputs.x], means[outputs.y], means[outputs.z], means[outputs.w]);
    error_of_mean = limited(first - mean) + limited(half_rest * 2.0);
}

fn limited(x: vec4<f32>) -> vec4<f32> {
    return min(max(x, vec4(-MOST)), vec4(MOST));
}

fn squared_deviation(x: vec4<f32>) -> vec4<f32> {
    let deviation = (x - mean) - error_of_mean;
    return deviation * deviation;
}
