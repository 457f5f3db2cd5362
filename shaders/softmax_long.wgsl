// softmax_long: as softmax, for rows of any length.
//
// Shapes, bindings: lib/row.wgsl; offsets are in elements. The row is read three times, mostly from the cache after the first
// time. Dispatch one workgroup per row.
//
// Indices: rows * columns is the number of elements, which the host checks to be below 2^32 - 2^24; columns + 256 is below 2^32.
// Loops: 3 * ((columns / 256, rounded up) + 1) + 32; for longer rows the host uses reductions in several passes.

@group(0) @binding(0) var<storage, read_write> output: array<Element>;
@group(0) @binding(1) var<storage, read_write> input: array<Element>;

fn apply(shifted: vec4<f32>, total: f32) -> vec4<f32> {
    return exponential(shifted) / total;
}

@compute @workgroup_size(WORKGROUP)
fn softmax_long(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = workgroup.y * workgroups.x + workgroup.x;
    if row >= params.rows {
        return;
    }
    let start = params.input_offset + row * params.columns;
    var largest = LOWEST;
    for (var column = local; column < params.columns; column += WORKGROUP) {
        largest = max(largest, f32(input[start + column]));
    }
    let top = max_of_all(largest, local);
    var sum = 0.0;
    for (var column = local; column < params.columns; column += WORKGROUP) {
        sum += exponential(vec4(f32(input[start + column]) - top)).x;
    }
    let total = sum_of_all(sum, local);
    for (var column = local; column < params.columns; column += WORKGROUP) {
        output[row * params.columns + column] = Element(apply(vec4(f32(input[start + column]) - top), total).x);
    }
}
