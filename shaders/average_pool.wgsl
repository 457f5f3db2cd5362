// average_pool: the sum over each kernel window, with zero padding, divided by `scale`, or by the number of elements counted.
//
// Parameters: lib/image.wgsl. Needs lib/quotient.wgsl. Bindings: 0 averages, contiguous, 1 image. Dispatch one invocation per
// window.
//
// Indices: lib/image.wgsl.
// Loops: rows * (columns + 2) + 1 of the tile; the host keeps tiles within the limit of loop iterations.

@group(0) @binding(0) var<storage, read_write> averages: array<Output>;
@group(0) @binding(1) var<storage, read_write> image: array<Element>;

@compute @workgroup_size(WORKGROUP)
fn average_pool(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let step = step_of(workgroup, workgroups, local);
    if step < params.count {
        let own = split(step, params.out);
        let corner = own.yz * params.stride;
        let elements = elements_inside(corner);
        var sum = 0.0;
        if (params.pass_kind & CONTINUES) != 0u {
            sum = f32(averages[step]);
        }
        for (var row = elements.first.x; row < elements.end.x; row += 1u) {
            for (var column = elements.first.y; column < elements.end.y; column += 1u) {
                sum += f32(image[params.input_offset + place(own.x, position_of(corner, vec2(row, column)), params.size)]);
            }
        }
        if (params.pass_kind & LAST) != 0u {
            sum = quotient(sum, divisor_of(corner));
        }
        averages[step] = Output(sum);
    }
}
