// What the kernels that look elements up have in common: the walk over the places that an index names.
//
// The host gives one shape of `rank` dimensions, outermost first: that of the index. Step `index` of the walk, in row-major order,
// is an element of the index, of the values beside it, and a base of the table, whose looked-up axis has a stride of zero here:
// `axis_stride` elements for each that the index counts, of which there are `axis_size`. Strides and offsets are in elements.

alias Element = f32;
// What is computed with: f32 for elements of half its size.
alias Number = Element;

struct Params {
    // Sizes of the dimensions (6), then strides of the table (6), of the index (6) and of the values (6).
    dims: array<vec4<u32>, 6>,
    count: u32,
    rank: u32,
    table_offset: u32,
    index_offset: u32,
    value_offset: u32,
    axis_size: u32,
    axis_stride: u32,
    // Step of the first invocation.
    first: u32,
}

@group(1) @binding(0) var<uniform> params: Params;

override WORKGROUP: u32 = 256u;

struct Places {
    table: u32,
    index: u32,
    value: u32,
}

fn dim(position: u32) -> u32 {
    return params.dims[position >> 2u][position & 3u];
}

fn places(step: u32) -> Places {
    var rest = step;
    var found = Places(params.table_offset, params.index_offset, params.value_offset);
    for (var axis = params.rank; axis > 0u; axis -= 1u) {
        let size = dim(axis - 1u);
        let outer = rest / size;
        let coordinate = rest - outer * size;
        rest = outer;
        found.table += coordinate * dim(axis + 5u);
        found.index += coordinate * dim(axis + 11u);
        found.value += coordinate * dim(axis + 17u);
    }
    return found;
}

fn step_of(workgroup: vec3<u32>, workgroups: vec3<u32>, local: u32) -> u32 {
    return (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
}
