// The operands of matmul_tiled where they lie in fours: places, offsets and strides are counted in fours.
//
// Bindings: 0 output, 1 left, 2 right; where both operands are in one storage the host binds it once, as left.

alias Element = f32;
// What is computed with: f32 for elements of half its size.
alias Number = Element;
// The elements that are written.
alias Output = Element;
alias Four = vec4<Number>;
alias Kept = vec4<Element>;

// Units in a four.
const UNIT: u32 = 1u;

@group(0) @binding(0) var<storage, read_write> output: array<vec4<Output>>;
@group(0) @binding(1) var<storage, read_write> left: array<Kept>;
@group(0) @binding(2) var<storage, read_write> right: array<Kept>;

fn left_four(at: u32) -> Four {
    return Four(left[at]);
}

fn right_four(at: u32) -> Four {
    return Four(right[at]);
}

fn put(row: u32, four: u32, sum: Four) {
    let wide = params.columns / 4u;
    if four < wide {
        let at = row * wide + four;
        let sums = select(sum, sum + Four(output[at]), params.accumulate == 1u);
        output[at] = vec4<Output>(finished(sums, four * 4u));
    }
}
