// fill: output[i] = scalar.
//
// Shapes: output of any shape. Bindings: 0 output. Needs lib/places.wgsl and the form for the operands' layout: lib/strided.wgsl,
// lib/rows.wgsl or lib/flat.wgsl. Dispatch one invocation per value.
//
// Indices: elements of operands lie within their storages; the invocation index is below count + 2^24, see src/ops/launch.rs.
// Loops: 6 in lib/walk.wgsl, or none.

@group(0) @binding(0) var<storage, read_write> output: array<StoredOutput>;

@compute @workgroup_size(WORKGROUP)
fn fill(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = value_index(workgroup, workgroups, local);
    if index < params.count {
        let at = places(index);
        store_value(index, at.output, Written(Value(bitcast<Number>(params.scalar))));
    }
}
