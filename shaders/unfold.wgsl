// unfold: column (batch, channel * kernel + position in the window, window) = the image element at that position, or 0 in the
// padding.
//
// Parameters: lib/image.wgsl. Bindings: 0 columns, contiguous, 1 image. Dispatch one invocation per element of the columns.
//
// Indices: lib/image.wgsl; a line and a window index an element of the columns.
// Loops: none.

@group(0) @binding(0) var<storage, read_write> columns: array<Element>;
@group(0) @binding(1) var<storage, read_write> image: array<Element>;

@compute @workgroup_size(WORKGROUP)
fn unfold(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let step = step_of(workgroup, workgroups, local);
    if step < params.count {
        let windows = params.out.x * params.out.y;
        let line = step / windows;
        let window = split(step - line * windows, params.out).yz;
        let within = split(line, params.kernel);
        let at = window * params.stride + within.yz * params.dilation;
        var found = Element(0);
        if is_inside(at) {
            found = image[params.input_offset + place(within.x, at - params.padding, params.size)];
        }
        columns[step] = found;
    }
}
