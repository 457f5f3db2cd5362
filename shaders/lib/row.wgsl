// Common part of the kernels on whole rows: a workgroup processes one row, and reductions are available to all its invocations.
//
// Shapes: input and output (rows, columns), contiguous, of f32 or f16; arithmetic is in f32. Bindings: 0 output, 1 input, then
// weight and bias if the kernel has them, each with `columns` elements. Offsets are in the kernel's unit: elements or vec4s.

alias Bits = vec4<u32>;
alias Signed = vec4<i32>;
alias Real = vec4<f32>;
alias Truth = vec4<bool>;

struct Params {
    rows: u32,
    columns: u32,
    input_offset: u32,
    weight_offset: u32,
    bias_offset: u32,
    epsilon: f32,
}

@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP: u32 = 256u;
const STRIPES: u32 = 16u;

// The smallest finite number.
const LOWEST: f32 = -3.4028234e38;

var<workgroup> partial: array<f32, WORKGROUP>;
var<workgroup> stripes: array<vec4<f32>, 4>;
var<workgroup> other_partial: array<f32, WORKGROUP>;
var<workgroup> other_stripes: array<vec4<f32>, 4>;

fn sum_of_all(value: f32, local: u32) -> f32 {
    partial[local] = value;
    workgroupBarrier();
    if local < STRIPES {
        var total = value;
        for (var index = local + STRIPES; index < WORKGROUP; index += STRIPES) {
            total += partial[index];
        }
        stripes[local / 4u][local % 4u] = total;
    }
    workgroupBarrier();
    let vector = (stripes[0] + stripes[1]) + (stripes[2] + stripes[3]);
    return (vector.x + vector.y) + (vector.z + vector.w);
}

// Two sums with the barriers of one.
fn sums_of_all(value: f32, second: f32, local: u32) -> vec2<f32> {
    partial[local] = value;
    other_partial[local] = second;
    workgroupBarrier();
    if local < STRIPES {
        var total = value;
        var other_total = second;
        for (var index = local + STRIPES; index < WORKGROUP; index += STRIPES) {
            total += partial[index];
            other_total += other_partial[index];
        }
        stripes[local / 4u][local % 4u] = total;
        other_stripes[local / 4u][local % 4u] = other_total;
    }
    workgroupBarrier();
    let vector = (stripes[0] + stripes[1]) + (stripes[2] + stripes[3]);
    let other_vector = (other_stripes[0] + other_stripes[1]) + (other_stripes[2] + other_stripes[3]);
    return vec2(components(vector), components(other_vector));
}

fn max_of_all(value: f32, local: u32) -> f32 {
    partial[local] = value;
    workgroupBarrier();
    if local < STRIPES {
        var largest = value;
        for (var index = local + STRIPES; index < WORKGROUP; index += STRIPES) {
            largest = max(largest, partial[index]);
        }
        stripes[local / 4u][local % 4u] = largest;
    }
    workgroupBarrier();
    let vector = max(max(stripes[0], stripes[1]), max(stripes[2], stripes[3]));
    return max(max(vector.x, vector.y), max(vector.z, vector.w));
}

fn components(vector: vec4<f32>) -> f32 {
    return (vector.x + vector.y) + (vector.z + vector.w);
}
