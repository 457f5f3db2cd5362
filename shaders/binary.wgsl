// binary: output[i] = apply(left[i], right[i]).
//
// Shapes: all of the output's shape, broadcast by strides of zero. Bindings: 0 output, 1 left, 2 right; where left and right
// are in one storage the host binds it once, as left. It puts the operation's expression in place of the body of `apply`.
// Needs lib/strided.wgsl; dispatch one invocation an element.

@group(0) @binding(0) var<storage, read_write> output: array<Element>;
@group(0) @binding(1) var<storage, read_write> left: array<Element>;
@group(0) @binding(2) var<storage, read_write> right: array<Element>;

fn apply(x: Element, y: Element) -> Element {
    return x + y;
}

@compute @workgroup_size(WORKGROUP)
fn binary(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = element_index(workgroup, workgroups, local);
    if index < params.count {
        let at = places(index);
        output[at.output] = apply(left[at.left], right[at.right]);
    }
}
