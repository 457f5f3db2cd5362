// The operands of matmul_tiled with arbitrary alignment: positions, offsets and strides are in elements. A vec4 at the end of a
// row may extend into the next row, and at the end of the tensor past the binding, where WebGPU makes reads harmless; these
// elements only affect accumulators that are not stored.
//
// Bindings: 0 output, 1 left, 2 right; if both operands are in one storage the host binds it once, as left.

alias Vec4 = vec4<Number>;
alias StoredInput = Element;

// Storage elements per vec4.
const UNIT: u32 = 4u;

@group(0) @binding(0) var<storage, read_write> output: array<Output>;
@group(0) @binding(1) var<storage, read_write> left: array<StoredInput>;
@group(0) @binding(2) var<storage, read_write> right: array<StoredInput>;

// The host replaces the body if both operands are in one binding.
fn right_at(at: u32) -> StoredInput {
    return right[at];
}

fn load_left_vec4(at: u32) -> Vec4 {
    return Vec4(vec4(left[at], left[at + 1u], left[at + 2u], left[at + 3u]));
}

fn load_right_vec4(at: u32) -> Vec4 {
    return Vec4(vec4(right_at(at), right_at(at + 1u), right_at(at + 2u), right_at(at + 3u)));
}

fn store_element(at: u32, column: u32, sum: Number) {
    if column < params.columns {
        output[at] = Output(sum);
    }
}

fn store_vec4(row: u32, vector: u32, sum: Vec4) {
    let column = vector * 4u;
    let at = row * params.columns + column;
    var sums = sum;
    if params.accumulate == 1u {
        sums += Vec4(vec4(output[at], output[at + 1u], output[at + 2u], output[at + 3u]));
    }
    sums = finished(sums, column);
    store_element(at, column, sums.x);
    store_element(at + 1u, column + 1u, sums.y);
    store_element(at + 2u, column + 2u, sums.z);
    store_element(at + 3u, column + 3u, sums.w);
}
