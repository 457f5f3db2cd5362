// reduce_columns: a reduction whose outputs lie beside each other, a multiple of 4 of them. An invocation has a part of four
// outputs.
//
// Shapes, formula: lib/reduce.wgsl; output k of part p is at p * kept_count + k, so that fours lie together. Bindings: 0 output,
// 1 input. Dispatch kept_count / 4 * split invocations.
//
// Indices: the host checks kept_count * reduced_count, and the number of parts, to be below 2^32 - 2^24.
// Loops: part * 7 + part / 4 + 9; the host keeps parts at 2^13, under the limit of 65,535 iterations.

@group(0) @binding(0) var<storage, read_write> output: array<Kept>;
@group(0) @binding(1) var<storage, read_write> input: array<Stored>;

@compute @workgroup_size(WORKGROUP)
fn reduce_columns(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
    let wide = params.kept_count / 4u;
    let part = index / wide;
    if part < params.split {
        let base = input_of((index - part * wide) * 4u) / 4u;
        let end = min((part + 1u) * params.part, params.reduced_count);
        let step = dim(params.kept_rank + 6u) / 4u;
        var at = part * params.part;
        var band_0 = vec4(nothing());
        var band_1 = band_0;
        var band_2 = band_0;
        var band_3 = band_0;
        if params.rank == params.kept_rank + 1u {
            // Rows are one dimension: four of them are read at once, with nothing in between.
            for (; at + 3u < end; at += 4u) {
                let row = base + at * step;
                let four_0 = opened(input[row]);
                let four_1 = opened(input[row + step]);
                let four_2 = opened(input[row + 2u * step]);
                let four_3 = opened(input[row + 3u * step]);
                band_0 = join(band_0, take(four_0));
                band_1 = join(band_1, take(four_1));
                band_2 = join(band_2, take(four_2));
                band_3 = join(band_3, take(four_3));
            }
        }
        for (; at < end; at += 1u) {
            band_0 = join(band_0, take(opened(input[base + place(at, params.kept_rank, params.rank) / 4u])));
        }
        output[index] = closed(finish(join(join(band_0, band_1), join(band_2, band_3))));
    }
}
