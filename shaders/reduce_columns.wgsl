// reduce_columns: a reduction whose outputs are adjacent in memory, a multiple of 4 of them. Each invocation reduces one part of
// four outputs.
//
// Shapes, formula: lib/reduce.wgsl; output k of part p is at p * kept_count + k, so that vec4s are contiguous. Bindings: 0
// output, 1 input. Dispatch kept_count / 4 * split invocations.
//
// Indices: the host checks kept_count * reduced_count, and the number of parts, to be below 2^32 - 2^24.
// Loops: part * 7 + part / 4 + 9; the host keeps parts at 2^13, below the limit of 65,535 iterations.

@group(0) @binding(0) var<storage, read_write> output: array<StoredOutput>;
@group(0) @binding(1) var<storage, read_write> input: array<StoredInput>;

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
        let column = (index - part * wide) * 4u;
        begin(column + vec4(0u, 1u, 2u, 3u));
        let base = input_of(column) / 4u;
        let end = min((part + 1u) * params.part, params.reduced_count);
        let step = dim(params.kept_rank + 6u) / 4u;
        var at = part * params.part;
        var band_0 = vec4(identity());
        var band_1 = band_0;
        var band_2 = band_0;
        var band_3 = band_0;
        if params.rank == params.kept_rank + 1u {
            // Rows have one dimension: four of them are loaded together, without other instructions in between.
            for (; at + 3u < end; at += 4u) {
                let row = base + at * step;
                let four_0 = unpack(input[row]);
                let four_1 = unpack(input[row + step]);
                let four_2 = unpack(input[row + 2u * step]);
                let four_3 = unpack(input[row + 3u * step]);
                band_0 = combine(band_0, prepare(four_0));
                band_1 = combine(band_1, prepare(four_1));
                band_2 = combine(band_2, prepare(four_2));
                band_3 = combine(band_3, prepare(four_3));
            }
        }
        for (; at < end; at += 1u) {
            band_0 = combine(band_0, prepare(unpack(input[base + place(at, params.kept_rank, params.rank) / 4u])));
        }
        output[index] = pack(finish(combine(combine(band_0, band_1), combine(band_2, band_3))));
    }
}
