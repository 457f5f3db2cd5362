// reduce_few: a reduction of few elements with arbitrary strides. Each invocation reduces one part.
//
// Shapes, formula: lib/reduce.wgsl. Bindings: 0 output, 1 input. Dispatch kept_count * split invocations.
//
// Indices: the host checks kept_count * reduced_count, and the number of parts, to be below 2^32 - 2^24.
// Loops: part * 7 + 7; the host keeps parts at 32.

@group(0) @binding(0) var<storage, read_write> output: array<Output>;
@group(0) @binding(1) var<storage, read_write> input: array<Element>;

@compute @workgroup_size(WORKGROUP)
fn reduce_few(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
    if index < params.kept_count * params.split {
        begin(vec4(index / params.split));
        let base = input_of(index / params.split);
        let start = index % params.split * params.part;
        let end = min(start + params.part, params.reduced_count);
        var accumulator = identity();
        for (var at = start; at < end; at += 1u) {
            accumulator = combine_scalars(accumulator, prepare(vec4(input[base + place(at, params.kept_rank, params.rank)])).x);
        }
        output[index] = finish(vec4(accumulator)).x;
    }
}
