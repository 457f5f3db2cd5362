// What kernels over whole rows have in common: a workgroup has a row, and what its invocations hold is joined for all of them.
//
// Shapes: input and output (rows, columns), contiguous, of f32 or f16, computed with in f32. Bindings: 0 output, 1 input, then weight and bias where there
// are any, each of `columns` elements. Offsets are counted as the kernel counts elements: in ones, or in fours.

alias Element = f32;
// The elements that are written.
alias Output = Element;
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

// Below every number that is not minus infinity.
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
        for (var mate = local + STRIPES; mate < WORKGROUP; mate += STRIPES) {
            total += partial[mate];
        }
        stripes[local / 4u][local % 4u] = total;
    }
    workgroupBarrier();
    let four = (stripes[0] + stripes[1]) + (stripes[2] + stripes[3]);
    return (four.x + four.y) + (four.z + four.w);
}

// Two sums with the barriers of one.
fn sums_of_all(value: f32, other: f32, local: u32) -> vec2<f32> {
    partial[local] = value;
    other_partial[local] = other;
    workgroupBarrier();
    if local < STRIPES {
        var total = value;
        var other_total = other;
        for (var mate = local + STRIPES; mate < WORKGROUP; mate += STRIPES) {
            total += partial[mate];
            other_total += other_partial[mate];
        }
        stripes[local / 4u][local % 4u] = total;
        other_stripes[local / 4u][local % 4u] = other_total;
    }
    workgroupBarrier();
    let four = (stripes[0] + stripes[1]) + (stripes[2] + stripes[3]);
    let other_four = (other_stripes[0] + other_stripes[1]) + (other_stripes[2] + other_stripes[3]);
    return vec2(components(four), components(other_four));
}

fn max_of_all(value: f32, local: u32) -> f32 {
    partial[local] = value;
    workgroupBarrier();
    if local < STRIPES {
        var largest = value;
        for (var mate = local + STRIPES; mate < WORKGROUP; mate += STRIPES) {
            largest = max(largest, partial[mate]);
        }
        stripes[local / 4u][local % 4u] = largest;
    }
    workgroupBarrier();
    let four = max(max(stripes[0], stripes[1]), max(stripes[2], stripes[3]));
    return max(max(four.x, four.y), max(four.z, four.w));
}

fn components(four: vec4<f32>) -> f32 {
    return (four.x + four.y) + (four.z + four.w);
}
