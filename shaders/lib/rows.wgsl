// The form of an elementwise kernel for rows of a multiple of four elements: each invocation processes four adjacent elements of
// a row. Needs lib/walk.wgsl and lib/as_vec4.wgsl.
//
// The innermost size is in vec4s, and its strides are 4, or 0 for an operand that broadcasts one element along the row. All other
// strides and offsets of the other operands are multiples of 4.

alias Value = vec4<Number>;
alias Written = vec4<Output>;
alias Bits = vec4<u32>;
alias Signed = vec4<i32>;
alias Real = vec4<f32>;
alias Truth = vec4<bool>;

fn places(index: u32) -> Places {
    let steps = walk(index);
    return Places(
        steps.output >> 2u,
        steps.left >> 2u,
        steps.right >> 2u,
        select(4u, steps.left & 3u, params.left_is_broadcast == 1u),
        select(4u, steps.right & 3u, params.right_is_broadcast == 1u),
    );
}

fn broadcast_lane(value: vec4<Element>, lane: u32) -> vec4<Element> {
    if lane < 4u {
        return vec4<Element>(value[lane]);
    }
    return value;
}

fn store_value(index: u32, place: u32, value: Written) {
    output[place] = pack(value);
}
