// unary: output[i] = apply(left[i]).
//
// Shapes: output and left have the same shape. Bindings: 0 output, 1 left. The host replaces the body of `apply` by the
// operation's expression, whose values are one element or four, computed component by component. Needs lib/places.wgsl and the
// form for the operands' layout: lib/strided.wgsl, lib/rows.wgsl or lib/flat.wgsl. Dispatch one invocation per value.
//
// Indices: elements of operands lie within their storages; the invocation index is below count + 2^24, see src/ops/launch.rs.
// Loops: 6 in lib/walk.wgsl, or none.

@group(0) @binding(0) var<storage, read_write> output: array<StoredOutput>;
@group(0) @binding(1) var<storage, read_write> left: array<StoredInput>;

fn apply(x: Value) -> Value {
    return -x;
}

@compute @workgroup_size(WORKGROUP)
fn unary(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = value_index(workgroup, workgroups, local);
    if index < params.count {
        let at = places(index);
        store_value(index, at.output, Written(apply(Value(broadcast_lane(unpack(left[at.left]), at.left_lane)))));
    }
}
