// average_pool_back: for each element of the image, the sum of the gradients of the windows that contain it, divided by
// `scale`, or each by the number of elements counted.
//
// Parameters: lib/image.wgsl. Needs lib/quotient.wgsl. Bindings: 0 gradient of the image, contiguous, 1 gradient of the windows,
// contiguous from `input_offset` on. Dispatch one invocation per element of the image.
//
// Indices: lib/image.wgsl.
// Loops: rows * (columns + 2) + 1 of the tile; the host keeps tiles within the limit of loop iterations.

@group(0) @binding(0) var<storage, read_write> image: array<Output>;
@group(0) @binding(1) var<storage, read_write> gradient: array<Element>;

@compute @workgroup_size(WORKGROUP)
fn average_pool_back(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let step = step_of(workgroup, workgroups, local);
    if step < params.count {
        let own = split(step, params.size);
        let over = windows_over(own.yz);
        var sum = 0.0;
        if (params.pass_kind & CONTINUES) != 0u {
            sum = f32(image[step]);
        }
        for (var row = over.first.x; row < over.end.x; row += 1u) {
            for (var column = over.first.y; column < over.end.y; column += 1u) {
                let slope = f32(gradient[params.input_offset + place(own.x, vec2(row, column), params.out)]);
                if params.scale == 0u {
                    sum += quotient(slope, divisor_of(vec2(row, column) * params.stride));
                } else {
                    sum += slope;
                }
            }
        }
        if (params.pass_kind & LAST) != 0u && params.scale != 0u {
            sum = quotient(sum, bitcast<f32>(params.scale));
        }
        image[step] = Output(sum);
    }
}
