// fill: output[i] = scalar.
//
// Shapes: output of any shape and strides. Bindings: 0 output. Needs lib/strided.wgsl; dispatch one invocation an element.

@group(0) @binding(0) var<storage, read_write> output: array<Element>;

@compute @workgroup_size(WORKGROUP)
fn fill(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = element_index(workgroup, workgroups, local);
    if index < params.count {
        output[places(index).output] = bitcast<Element>(params.scalar);
    }
}
