// upsample_back: each place of the smaller image = the sum of what upsample takes from it, times the gradient there.
//
// Parameters: lib/image.wgsl, of which `out` is the gradient's size. Bindings: 0 image's gradient, contiguous, 1 gradient,
// contiguous from `input_offset` on. Dispatch one invocation a place of the image. Needs lib/resample.wgsl.
//
// Indices: lib/image.wgsl and lib/resample.wgsl.
// Loops: 132 of four divisions, and rows * (columns + 2) + 1 of the tile; the host keeps tiles within the limit of loop iterations.

@group(0) @binding(0) var<storage, read_write> image: array<Output>;
@group(0) @binding(1) var<storage, read_write> gradient: array<Element>;

@compute @workgroup_size(WORKGROUP)
fn upsample_back(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let step = step_of(workgroup, workgroups, local);
    if step < params.count {
        let own = split(step, params.size);
        let rows = takers(own.y, params.size.x, params.out.x);
        let columns = takers(own.z, params.size.y, params.out.y);
        let part = tile_of(vec2(rows.x, columns.x), vec2(rows.y, columns.y));
        var sum = 0.0;
        if (params.pass_kind & CONTINUES) != 0u {
            sum = f32(image[step]);
        }
        for (var row = part.first.x; row < part.end.x; row += 1u) {
            let of_row = share(own.y, row, params.size.x, params.out.x);
            for (var column = part.first.y; column < part.end.y; column += 1u) {
                let of_column = share(own.z, column, params.size.y, params.out.y);
                let slope = f32(gradient[params.input_offset + place(own.x, vec2(row, column), params.out)]);
                // Not 0 times a gradient that isn't its own: of infinity that would be NaN.
                let weight = of_row * of_column;
                sum += select(weight * slope, 0.0, weight == 0.0);
            }
        }
        image[step] = Output(sum);
    }
}
