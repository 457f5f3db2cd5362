// copy: output[i] = left[i], element by element, from any strides to any strides.
//
// Shapes: output and left of one shape. Bindings: 0 output, 1 left; the two must not overlap. Elements are moved as bits, so
// that every value of every dtype survives. Needs lib/strided.wgsl; dispatch one invocation an element.

@group(0) @binding(0) var<storage, read_write> output: array<u32>;
@group(0) @binding(1) var<storage, read_write> left: array<u32>;

@compute @workgroup_size(WORKGROUP)
fn copy(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = element_index(workgroup, workgroups, local);
    if index < params.count {
        let at = places(index);
        output[at.output] = left[at.left];
    }
}
