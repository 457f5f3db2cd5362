// reduce_part: a reduction of elements with arbitrary strides. Each workgroup reduces one part: stripes, then a tree.
//
// Shapes, formula: lib/reduce.wgsl. Bindings: 0 output, 1 input. Dispatch kept_count * split workgroups.
//
// Indices: the host checks kept_count * reduced_count, and the number of parts, to be below 2^32 - 2^24.
// Loops: part / WORKGROUP * 7 + 16; the host keeps parts at 2^18, below the limit of 65,535 iterations.

@group(0) @binding(0) var<storage, read_write> output: array<Output>;
@group(0) @binding(1) var<storage, read_write> input: array<Element>;

@compute @workgroup_size(WORKGROUP)
fn reduce_part(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup.y * workgroups.x + workgroup.x;
    let is_inside = index < params.kept_count * params.split;
    var accumulator = identity();
    if is_inside {
        begin(vec4(index / params.split));
        let base = input_of(index / params.split);
        let start = index % params.split * params.part;
        let end = min(start + params.part, params.reduced_count);
        for (var at = start + local; at < end; at += WORKGROUP) {
            accumulator = combine_scalars(accumulator, prepare(vec4(input[base + place(at, params.kept_rank, params.rank)])).x);
        }
    }
    let total = combine_workgroup(accumulator, local);
    if local == 0u && is_inside {
        output[index] = finish(vec4(total)).x;
    }
}
