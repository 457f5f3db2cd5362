// Common part of the kernels that look up elements by index: the walk over the elements of an index tensor.
//
// The host passes one shape of `rank` dimensions, outermost first: that of the index tensor. Step `index` of the walk, in
// row-major order, refers to an element of the index tensor, the corresponding value, and a base position in the table. The
// indexed axis of the table has stride 0 here; its actual stride is `axis_stride` and its size `axis_size`. Strides and offsets
// are in elements.

struct Params {
    // Sizes of the dimensions (6), then strides of the table (6), of the index (6) and of the values (6).
    dims: array<vec4<u32>, 6>,
    count: u32,
    // In the lower half the number of dimensions. In the upper half 1 if the table is a part of one, and not its first.
    rank: u32,
    table_offset: u32,
    index_offset: u32,
    value_offset: u32,
    axis_size: u32,
    axis_stride: u32,
    // The step of the first invocation.
    first: u32,
}

@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP: u32 = 256u;

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
    for (var axis = params.rank & 0xffffu; axis > 0u; axis -= 1u) {
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
