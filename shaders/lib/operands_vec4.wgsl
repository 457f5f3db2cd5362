// The operands of matmul_tiled where rows, offsets and strides are multiples of four elements: positions, offsets and strides are
// in vec4s.
//
// Bindings: 0 output, 1 left, 2 right; if both operands are in one storage the host binds it once, as left.

alias Vec4 = vec4<Number>;
alias StoredInput = vec4<Element>;

// Whether the previous output is loaded, and added if `accumulate` is 1. The host sets it to false for a K of up to 512 whose product
// is not added. A longer K loads it in any case: on an H100 the kernel without the load is 1.6 times as fast for K = 64, 1.3 times
// for K = 128, and equally fast for K = 512, but 0.94 times for K = 1,024 and 0.91 times for K = 4,096. A branch instead of the
// constant is as slow there.
const LOADS_OUTPUT: bool = true;

// Storage elements per vec4.
const UNIT: u32 = 1u;

@group(0) @binding(0) var<storage, read_write> output: array<vec4<Output>>;
@group(0) @binding(1) var<storage, read_write> left: array<StoredInput>;
@group(0) @binding(2) var<storage, read_write> right: array<StoredInput>;

// The host replaces the body if both operands are in one binding.
fn right_at(at: u32) -> StoredInput {
    return right[at];
}

fn load_left_vec4(at: u32) -> Vec4 {
    return Vec4(left[at]);
}

fn load_right_vec4(at: u32) -> Vec4 {
    return Vec4(right_at(at));
}

fn store_vec4(row: u32, vector: u32, sum: Vec4) {
    let wide = params.columns / 4u;
    if vector < wide {
        let at = row * wide + vector;
        var sums = sum;
        if LOADS_OUTPUT {
            sums = select(sum, sum + Vec4(output[at]), params.accumulate == 1u);
        }
        output[at] = vec4<Output>(finished(sums, vector * 4u));
    }
}
