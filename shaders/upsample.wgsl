// upsample: each element of the larger image is interpolated from the nearest elements of the smaller image.
//
// Parameters: lib/image.wgsl, where `out` is the result's size. Bindings: 0 result, contiguous, 1 image. Dispatch one invocation
// per element of the result. Needs lib/resample.wgsl.
//
// Indices: lib/image.wgsl and lib/resample.wgsl.
// Loops: 33 of a division on each of two axes.

@group(0) @binding(0) var<storage, read_write> result: array<Element>;
@group(0) @binding(1) var<storage, read_write> image: array<Element>;

fn at(plane: u32, row: u32, column: u32) -> f32 {
    return f32(image[params.input_offset + place(plane, vec2(row - first_rows().x, column), params.size)]);
}

// Exact for equal numbers; with weight 0 the result is `low`, even if `high` is NaN or infinite. Not `mix`, for which some
// drivers subtract one number from the other: NaN of one infinite number, and an overflow of large ones.
fn blend(low: f32, high: f32, weight: f32) -> f32 {
    let sum = low * (1.0 - weight) + high * weight;
    return select(sum, low, (low == high) | (weight == 0.0));
}

@compute @workgroup_size(WORKGROUP)
fn upsample(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let step = step_of(workgroup, workgroups, local);
    if step < params.count {
        let own = split(step, params.out);
        let rows = taps(own.y + first_rows().y, heights().x, heights().y);
        let columns = taps(own.z, params.size.y, params.out.y);
        if BILINEAR {
            let upper = blend(at(own.x, rows.low, columns.low), at(own.x, rows.low, columns.high), columns.weight);
            let lower = blend(at(own.x, rows.high, columns.low), at(own.x, rows.high, columns.high), columns.weight);
            result[step] = Element(blend(upper, lower, rows.weight));
        } else {
            result[step] = Element(at(own.x, rows.low, columns.low));
        }
    }
}
