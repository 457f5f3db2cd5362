// The operands of matmul_tiled where they lie anyhow: places, offsets and strides are counted in elements. A four at the end
// of a row may reach into the next one, and at the very end beyond the binding, where WebGPU makes reading harmless: what it
// brings from there goes into sums that are not stored.
//
// Bindings: 0 output, 1 left, 2 right; where both operands are in one storage the host binds it once, as left.

alias Element = f32;
// What is computed with: f32 for elements of half its size.
alias Number = Element;
// The elements that are written.
alias Output = Element;
alias Four = vec4<Number>;
alias Kept = Element;

// Units in a four.
const UNIT: u32 = 4u;

@group(0) @binding(0) var<storage, read_write> output: array<Output>;
@group(0) @binding(1) var<storage, read_write> left: array<Kept>;
@group(0) @binding(2) var<storage, read_write> right: array<Kept>;

fn left_four(at: u32) -> Four {
    return Four(vec4(left[at], left[at + 1u], left[at + 2u], left[at + 3u]));
}

fn right_four(at: u32) -> Four {
    return Four(vec4(right[at], right[at + 1u], right[at + 2u], right[at + 3u]));
}

fn put_one(at: u32, column: u32, sum: Number) {
    if column < params.columns {
        output[at] = Output(sum);
    }
}

fn put(row: u32, four: u32, sum: Four) {
    let column = four * 4u;
    let at = row * params.columns + column;
    var sums = sum;
    if params.accumulate == 1u {
        sums += Four(vec4(output[at], output[at + 1u], output[at + 2u], output[at + 3u]));
    }
    sums = finished(sums, column);
    put_one(at, column, sums.x);
    put_one(at + 1u, column + 1u, sums.y);
    put_one(at + 2u, column + 2u, sums.z);
    put_one(at + 3u, column + 3u, sums.w);
}
