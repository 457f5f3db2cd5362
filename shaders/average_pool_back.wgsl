// average_pool_back: each place of the image = the sum of the gradients of the windows that cover it, over `scale`.
//
// Parameters: lib/image.wgsl. Needs lib/quotient.wgsl. Bindings: 0 image's gradient, contiguous, 1 windows' gradient, contiguous from `input_offset` on.
// Dispatch one invocation a place of the image. At most kernel.x * kernel.y turns.

@group(0) @binding(0) var<storage, read_write> image: array<Element>;
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
        let at = own.yz + params.padding;
        let first = first_window(at);
        let end = end_window(at);
        var sum = 0.0;
        for (var row = first.x; row < end.x; row += 1u) {
            for (var column = first.y; column < end.y; column += 1u) {
                sum += f32(gradient[params.input_offset + place(own.x, vec2(row, column), params.out)]);
            }
        }
        image[step] = Element(quotient(sum, bitcast<f32>(params.scale)));
    }
}
