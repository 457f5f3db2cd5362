// unary: output[i] = apply(left[i]).
//
// Shapes: output and left of one shape, any strides. Bindings: 0 output, 1 left. The host puts the operation's expression
// in place of the body of `apply`. Needs lib/strided.wgsl; dispatch one invocation an element.

@group(0) @binding(0) var<storage, read_write> output: array<Element>;
@group(0) @binding(1) var<storage, read_write> left: array<Element>;

fn apply(x: Element) -> Element {
    return -x;
}

@compute @workgroup_size(WORKGROUP)
fn unary(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = element_index(workgroup, workgroups, local);
    if index < params.count {
        let at = places(index);
        output[at.output] = apply(left[at.left]);
    }
}
