// The form of an elementwise kernel over rows of a multiple of four elements: an invocation has four neighbours in a row.
// Needs lib/walk.wgsl and lib/as_fours.wgsl.
//
// The innermost size is counted in fours, and its strides are 4, or 0 for an operand that repeats one element along the row.
// Of the other operands all strides and the offset are multiples of 4.

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
        select(4u, steps.left & 3u, params.left_is_spread == 1u),
        select(4u, steps.right & 3u, params.right_is_spread == 1u),
    );
}

fn spread(value: vec4<Element>, lane: u32) -> vec4<Element> {
    if lane < 4u {
        return vec4<Element>(value[lane]);
    }
    return value;
}

fn put(index: u32, place: u32, value: Written) {
    output[place] = closed(value);
}
