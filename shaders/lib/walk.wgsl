// The walk over up to three strided operands: parameters and index arithmetic.
//
// The host passes one common, collapsed shape of `rank` dimensions, outermost first. Step `index` of the walk, in row-major order
// of that shape, is at `walk(index)` in the bindings. Strides and offsets are in elements; stride 0 broadcasts. At most 2^32
// steps. At most 5 loop iterations: the outermost dimension needs no division.

alias Element = f32;
// The type of arithmetic: f32 for f16 elements.
alias Number = Element;
// The type of output elements.
alias Output = Element;

struct Params {
    // Sizes of the dimensions (6), then strides of the output (6), of the left operand (6) and of the right operand (6).
    dims: array<vec4<u32>, 6>,
    count: u32,
    output_offset: u32,
    left_offset: u32,
    right_offset: u32,
    rank: u32,
    // The bits of a Number.
    scalar: u32,
    // Whether one element of the left (right) operand is broadcast to all components of a step.
    left_is_broadcast: u32,
    right_is_broadcast: u32,
}

@group(1) @binding(0) var<uniform> params: Params;

struct Steps {
    output: u32,
    left: u32,
    right: u32,
}

fn dim(position: u32) -> u32 {
    return params.dims[position >> 2u][position & 3u];
}

fn walk(index: u32) -> Steps {
    var rest = index;
    var found = Steps(params.output_offset, params.left_offset, params.right_offset);
    for (var axis = params.rank; axis > 1u; axis -= 1u) {
        let size = dim(axis - 1u);
        let outer = rest / size;
        let coordinate = rest - outer * size;
        rest = outer;
        found.output += coordinate * dim(axis + 5u);
        found.left += coordinate * dim(axis + 11u);
        found.right += coordinate * dim(axis + 17u);
    }
    found.output += rest * dim(6u);
    found.left += rest * dim(12u);
    found.right += rest * dim(18u);
    return found;
}
