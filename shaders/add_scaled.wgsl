// add_scaled: output[i] = output[i] + scalar * left[i], in place.
//
// Shapes: left is broadcast to the output's shape; the output's elements are distinct. Bindings: 0 output, 1 left; if both are in
// one storage the host binds it once, as output. Needs lib/places.wgsl and the form for the operands' layout: lib/strided.wgsl,
// lib/rows.wgsl or lib/flat.wgsl. Dispatch one invocation per value.
//
// Indices: elements of operands lie within their storages; the invocation index is below count + 2^24, see src/ops/launch.rs.
// Loops: 6 in lib/walk.wgsl, or none.

@group(0) @binding(0) var<storage, read_write> output: array<StoredOutput>;
@group(0) @binding(1) var<storage, read_write> left: array<StoredInput>;

@compute @workgroup_size(WORKGROUP)
fn add_scaled(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = value_index(workgroup, workgroups, local);
    if index < params.count {
        let at = places(index);
        let x = Value(broadcast_lane(unpack(left[at.left]), at.left_lane));
        store_value(index, at.output, Written(Value(unpack(output[at.output])) + Value(bitcast<Number>(params.scalar)) * x));
    }
}
