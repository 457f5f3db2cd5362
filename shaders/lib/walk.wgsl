// The walk over up to three strided operands at once: parameters and index arithmetic.
//
// The host gives the operands one common, collapsed shape of `rank` dimensions, outermost first. Step `index` of the walk, in
// row-major order of that shape, is at `walk(index)` of their bindings. Strides and offsets are in elements; a stride of zero
// broadcasts. At most 2^32 steps, and at most 5 turns of a loop: what is left for the outermost dimension needs no division.

alias Element = f32;
// What is computed with: f32 for elements of half its size.
alias Number = Element;
// The elements that are written.
alias Output = Element;

struct Params {
    // Sizes of the dimensions (6), then strides of the output (6), of the left (6) and of the right operand (6).
    dims: array<vec4<u32>, 6>,
    count: u32,
    output_offset: u32,
    left_offset: u32,
    right_offset: u32,
    rank: u32,
    // The bits of a Number.
    scalar: u32,
    // Whether a step of the left, of the right operand is one element for all components.
    left_is_spread: u32,
    right_is_spread: u32,
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
