// add_scaled: output[i] = output[i] + scalar * left[i], in place.
//
// Shapes: left broadcast to the output's shape; the output's elements are all different ones. Bindings: 0 output, 1 left;
// where the two are the same elements the host binds them once, as output. Needs lib/strided.wgsl; dispatch one invocation
// an element.

@group(0) @binding(0) var<storage, read_write> output: array<Element>;
@group(0) @binding(1) var<storage, read_write> left: array<Element>;

@compute @workgroup_size(WORKGROUP)
fn add_scaled(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = element_index(workgroup, workgroups, local);
    if index < params.count {
        let at = places(index);
        output[at.output] = output[at.output] + bitcast<Element>(params.scalar) * left[at.left];
    }
}
