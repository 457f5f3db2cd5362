// The form of an elementwise kernel for contiguous operands: each invocation processes four adjacent elements. Needs
// lib/as_vec4.wgsl.
//
// Offsets are in vec4s. There are `count` vec4s, the last of which has `tail` elements, 1 to 4. The elements of the output after
// the tail may belong to another view and are preserved. They always exist, because a block's size is a multiple of 16 bytes.

alias Element = f32;
// The type of arithmetic: f32 for f16 elements.
alias Number = Element;
// The type of output elements.
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

fn broadcast_lane(value: vec4<Element>, lane: u32) -> vec4<Element> {
    return value;
}

fn store_value(index: u32, place: u32, value: Written) {
    var values = value;
    if index + 1u == params.count && params.tail < 4u {
        values = select(unpack_output(output[place]), values, vec4(0u, 1u, 2u, 3u) < vec4(params.tail));
    }
    output[place] = pack(values);
}
