// The form of an elementwise kernel over contiguous operands: an invocation has four neighbours. Needs lib/as_fours.wgsl.
//
// Offsets are counted in fours. `count` fours, the last of which has `tail` elements, 1 to 4: beyond those the output may be
// another view's and stays as it is. It is there in any case, since a block's size is a multiple of 16 bytes.

alias Element = f32;
// What is computed with: f32 for elements of half its size.
alias Number = Element;
// The elements that are written.
alias Output = Element;
alias Value = vec4<Number>;
alias Written = vec4<Output>;
alias Bits = vec4<u32>;
alias Signed = vec4<i32>;
alias Real = vec4<f32>;
alias Truth = vec4<bool>;

struct Params {
    count: u32,
    tail: u32,
    output_offset: u32,
    left_offset: u32,
    right_offset: u32,
    // The bits of a Number.
    scalar: u32,
}

@group(1) @binding(0) var<uniform> params: Params;

fn places(index: u32) -> Places {
    return Places(params.output_offset + index, params.left_offset + index, params.right_offset + index, 4u, 4u);
}

fn spread(value: vec4<Element>, lane: u32) -> vec4<Element> {
    return value;
}

fn put(index: u32, place: u32, value: Written) {
    var four = value;
    if index + 1u == params.count && params.tail < 4u {
        four = select(opened_output(output[place]), four, vec4(0u, 1u, 2u, 3u) < vec4(params.tail));
    }
    output[place] = closed(four);
}
