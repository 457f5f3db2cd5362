// reduce_row: a reduction of contiguous rows, each of which begins at a multiple of 4 elements. Each workgroup reduces one part
// of a row: four stripes of vec4s per invocation, then a tree.
//
// Shapes, formula: lib/reduce.wgsl; parts are multiples of 4, except for the last part of a row. Bindings: 0 output, 1 input.
// Dispatch kept_count * split workgroups.
//
// Indices: the host checks kept_count * reduced_count, and the number of parts, to be below 2^32 - 2^24.
// Loops: part / (16 * WORKGROUP) + 20; the host keeps parts at 2^20.

@group(0) @binding(0) var<storage, read_write> output: array<Output>;
@group(0) @binding(1) var<storage, read_write> input: array<StoredInput>;

@compute @workgroup_size(WORKGROUP)
fn reduce_row(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup.y * workgroups.x + workgroup.x;
    let is_inside = index < params.kept_count * params.split;
    var accumulator = identity();
    if is_inside {
        begin(vec4(index / params.split));
        let base = input_of(index / params.split) / 4u;
        let start = index % params.split * params.part;
        let end = min(start + params.part, params.reduced_count);
        let last = base + end / 4u;
        var at = base + start / 4u + local;
        var stripe_0 = vec4(identity());
        var stripe_1 = stripe_0;
        var stripe_2 = stripe_0;
        var stripe_3 = stripe_0;
        for (; at + 3u * WORKGROUP < last; at += 4u * WORKGROUP) {
            stripe_0 = combine(stripe_0, prepare(unpack(input[at])));
            stripe_1 = combine(stripe_1, prepare(unpack(input[at + WORKGROUP])));
            stripe_2 = combine(stripe_2, prepare(unpack(input[at + 2u * WORKGROUP])));
            stripe_3 = combine(stripe_3, prepare(unpack(input[at + 3u * WORKGROUP])));
        }
        for (; at < last; at += WORKGROUP) {
            stripe_0 = combine(stripe_0, prepare(unpack(input[at])));
        }
        // The remaining elements of a row that is not a multiple of 4: the first component, then the second and third.
        let rest = end % 4u;
        if local == 0u && rest > 0u {
            let values = prepare(unpack(input[last]));
            stripe_0.x = combine_scalars(stripe_0.x, values.x);
            if rest > 1u {
                stripe_0.y = combine_scalars(stripe_0.y, values.y);
            }
            if rest > 2u {
                stripe_0.z = combine_scalars(stripe_0.z, values.z);
            }
        }
        accumulator = combine_components(combine(combine(stripe_0, stripe_1), combine(stripe_2, stripe_3)));
    }
    let total = combine_workgroup(accumulator, local);
    if local == 0u && is_inside {
        output[index] = finish(vec4(total)).x;
    }
}
