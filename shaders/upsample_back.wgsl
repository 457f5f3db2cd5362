// upsample_back: for each element of the smaller image, the weighted sum of the gradients of the elements that upsample computes
// from it.
//
// Parameters: lib/image.wgsl, where `out` is the gradient's size. Bindings: 0 gradient of the image, contiguous, 1 gradient,
// contiguous from `input_offset` on. Dispatch one invocation per element of the image. Needs lib/resample.wgsl.
//
// Indices: lib/image.wgsl and lib/resample.wgsl.
// Loops: 132 of four divisions, and rows * (columns + 2) + 1 of the tile; the host keeps tiles within the limit of loop
// iterations.

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
        let own_row = own.y + first_rows().x;
        let rows = output_range(own_row, heights().x, heights().y);
        let columns = output_range(own.z, params.size.y, params.out.y);
        let part = tile_of(vec2(rows.x, columns.x), vec2(rows.y, columns.y));
        var sum = 0.0;
        if (params.pass_kind & CONTINUES) != 0u {
            sum = f32(image[step]);
        }
        for (var row = part.first.x; row < part.end.x; row += 1u) {
            let of_row = contribution(own_row, row, heights().x, heights().y);
            for (var column = part.first.y; column < part.end.y; column += 1u) {
                let of_column = contribution(own.z, column, params.size.y, params.out.y);
                let at = place(own.x, vec2(row - first_rows().y, column), params.out);
                let slope = f32(gradient[params.input_offset + at]);
                // A gradient with weight 0 is skipped: 0 times infinity would be NaN.
                let weight = of_row * of_column;
                sum += select(weight * slope, 0.0, weight == 0.0);
            }
        }
        image[step] = Output(sum);
    }
}
