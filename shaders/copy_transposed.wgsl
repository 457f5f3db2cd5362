// copy_transposed: output[.., a, .., b, ..] = left[.., a, .., b, ..], where the output is contiguous along one dimension and left
// along another.
//
// Shapes: `outer` is the size of the output's contiguous dimension, `inner` that of left's; up to four more dimensions are batch
// dimensions. Bindings: 0 output, 1 left; they must not overlap. The host sets Element to u32 or f16: elements are copied as
// bits. Strides and offsets are in elements.
//
// A workgroup of 32 × 8 invocations copies a tile of 32 × 32 through workgroup memory, so that both sides are accessed along
// their contiguous dimension. Rows of the tile are padded by one element, so that the elements of a column are in different
// banks. Dispatch (inner / 32, outer / 32, batches) workgroups, rounded up.
//
// Indices: elements are read and written within their storages; the host keeps both sides under 32 * 65,535.
// Loops: 5.

struct Params {
    // Sizes of the batch dimensions, outermost first, then their strides in the output and in left.
    sizes: vec4<u32>,
    output_strides: vec4<u32>,
    left_strides: vec4<u32>,
    inner: u32,
    outer: u32,
    // The output's stride along `inner`.
    output_stride: u32,
    // Left's stride along `outer`.
    left_stride: u32,
    output_offset: u32,
    left_offset: u32,
}

@group(0) @binding(0) var<storage, read_write> output: array<Element>;
@group(0) @binding(1) var<storage, read_write> left: array<Element>;
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> tile: array<Element, 1056>;

fn read(start: u32, outer: u32, inner: u32) -> Element {
    var value = Element(0);
    if outer < params.outer && inner < params.inner {
        value = left[start + outer * params.left_stride + inner];
    }
    return value;
}

fn write(start: u32, outer: u32, inner: u32, value: Element) {
    if outer < params.outer && inner < params.inner {
        output[start + inner * params.output_stride + outer] = value;
    }
}

@compute @workgroup_size(32, 8)
fn copy_transposed(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    var from_start = params.left_offset;
    var to_start = params.output_offset;
    var rest = workgroup.z;
    for (var axis = 3; axis >= 0; axis -= 1) {
        let outer = rest / params.sizes[axis];
        let coordinate = rest - outer * params.sizes[axis];
        rest = outer;
        from_start += coordinate * params.left_strides[axis];
        to_start += coordinate * params.output_strides[axis];
    }
    let inner = workgroup.x * 32u;
    let outer = workgroup.y * 32u;
    let value_0 = read(from_start, outer + local.y, inner + local.x);
    let value_1 = read(from_start, outer + local.y + 8u, inner + local.x);
    let value_2 = read(from_start, outer + local.y + 16u, inner + local.x);
    let value_3 = read(from_start, outer + local.y + 24u, inner + local.x);
    let row = local.y * 33u + local.x;
    tile[row] = value_0;
    tile[row + 264u] = value_1;
    tile[row + 528u] = value_2;
    tile[row + 792u] = value_3;
    workgroupBarrier();
    let column = local.x * 33u + local.y;
    write(to_start, outer + local.x, inner + local.y, tile[column]);
    write(to_start, outer + local.x, inner + local.y + 8u, tile[column + 8u]);
    write(to_start, outer + local.x, inner + local.y + 16u, tile[column + 16u]);
    write(to_start, outer + local.x, inner + local.y + 24u, tile[column + 24u]);
}
