// Elementwise kernels over up to three strided operands: parameters and index arithmetic, put in front of each of them.
//
// The host gives the operands one common, collapsed shape of `rank` dimensions, outermost first. Element `index` of the
// output, in row-major order of that shape, is at `output_at(index)` of its binding, and so on. Strides and offsets are in
// elements; a stride of zero broadcasts. Each invocation has one element: at most 2^32 of them, and at most 6 turns of a loop.

alias Element = f32;

struct Params {
    // Sizes of the dimensions (6), then strides of the output (6), of the left (6) and of the right operand (6).
    dims: array<vec4<u32>, 6>,
    count: u32,
    output_offset: u32,
    left_offset: u32,
    right_offset: u32,
    rank: u32,
    // The bits of an Element.
    scalar: u32,
    unused_0: u32,
    unused_1: u32,
}

@group(1) @binding(0) var<uniform> params: Params;

override WORKGROUP: u32 = 256u;

fn dim(position: u32) -> u32 {
    return params.dims[position >> 2u][position & 3u];
}

struct Places {
    output: u32,
    left: u32,
    right: u32,
}

fn places(index: u32) -> Places {
    var rest = index;
    var found = Places(params.output_offset, params.left_offset, params.right_offset);
    for (var axis = params.rank; axis > 0u; axis -= 1u) {
        let size = dim(axis - 1u);
        let coordinate = rest % size;
        rest /= size;
        found.output += coordinate * dim(axis + 5u);
        found.left += coordinate * dim(axis + 11u);
        found.right += coordinate * dim(axis + 17u);
    }
    return found;
}

fn element_index(workgroup: vec3<u32>, workgroups: vec3<u32>, local: u32) -> u32 {
    return (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
}
