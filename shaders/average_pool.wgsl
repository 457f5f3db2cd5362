// average_pool: the sum under each window, with 0 beyond the edges, over `scale`.
//
// Parameters: lib/image.wgsl. Needs lib/quotient.wgsl. Bindings: 0 averages, contiguous, 1 image. Dispatch one invocation a window. At most
// kernel.x * kernel.y turns.

@group(0) @binding(0) var<storage, read_write> averages: array<Element>;
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
        var sum = 0.0;
        for (var row = 0u; row < params.kernel.x; row += 1u) {
            for (var column = 0u; column < params.kernel.y; column += 1u) {
                let at = corner + vec2(row, column);
                if is_inside(at) {
                    sum += f32(image[params.input_offset + place(own.x, at - params.padding, params.size)]);
                }
            }
        }
        averages[step] = Element(quotient(sum, bitcast<f32>(params.scale)));
    }
}
