// max_pool_back: for each element of the image, the sum of the gradients of the windows in which it was the largest.
//
// Parameters: lib/image.wgsl. Bindings: 0 gradient of the image, contiguous, 1 gradient of the windows, contiguous from
// `input_offset` on, 2 positions, contiguous. Dispatch one invocation per element of the image.
//
// Indices: lib/image.wgsl.
// Loops: rows * (columns + 2) + 1 of the tile; the host keeps tiles within the limit of loop iterations.

@group(0) @binding(0) var<storage, read_write> image: array<Output>;
@group(0) @binding(1) var<storage, read_write> gradient: array<Element>;
@group(0) @binding(2) var<storage, read_write> places: array<u32>;

@compute @workgroup_size(WORKGROUP)
fn max_pool_back(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let step = step_of(workgroup, workgroups, local);
    if step < params.count {
        let own = split(step, params.size);
        let over = windows_over(own.yz);
        let in_plane = own.y * params.size.y + own.z;
        var sum = 0.0;
        if (params.pass_kind & CONTINUES) != 0u {
            sum = f32(image[step]);
        }
        for (var row = over.first.x; row < over.end.x; row += 1u) {
            for (var column = over.first.y; column < over.end.y; column += 1u) {
                let window = place(own.x, vec2(row, column), params.out);
                if places[window] == in_plane && element_at(own.yz + params.padding, vec2(row, column)).exists {
                    sum += f32(gradient[params.input_offset + window]);
                }
            }
        }
        image[step] = Output(sum);
    }
}
