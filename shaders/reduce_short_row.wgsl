// reduce_short_row: a reduction of contiguous rows of a few hundred elements, a multiple of 4, each of which begins at a multiple
// of 4. TEAM invocations reduce one row.
//
// Shapes, formula: lib/reduce.wgsl; one part per row. Bindings: 0 output, 1 input. Dispatch kept_count * TEAM invocations.
//
// Indices: the host checks kept_count * reduced_count, and kept_count, to be below 2^32 - 2^24.
// Loops: reduced_count / (4 * TEAM) + 24; the host keeps rows at 1,024.

@group(0) @binding(0) var<storage, read_write> output: array<Output>;
@group(0) @binding(1) var<storage, read_write> input: array<StoredInput>;

const TEAM: u32 = 16u;

@compute @workgroup_size(WORKGROUP)
fn reduce_short_row(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (workgroup.y * workgroups.x + workgroup.x) * (WORKGROUP / TEAM) + local / TEAM;
    let is_inside = index < params.kept_count;
    var stripe = vec4(identity());
    if is_inside {
        begin(vec4(index));
        let base = input_of(index) / 4u;
        for (var at = local % TEAM; at < params.reduced_count / 4u; at += TEAM) {
            stripe = combine(stripe, prepare(unpack(input[base + at])));
        }
    }
    partial[local] = combine_components(stripe);
    workgroupBarrier();
    if local % TEAM == 0u && is_inside {
        var total = partial[local];
        for (var other = 1u; other < TEAM; other += 1u) {
            total = combine_scalars(total, partial[local + other]);
        }
        output[index] = finish(vec4(total)).x;
    }
}
