// fill: output[i] = scalar.
//
// Shapes: output of any shape. Bindings: 0 output. Needs lib/places.wgsl and the form that fits the operands:
// lib/strided.wgsl, lib/rows.wgsl or lib/flat.wgsl. Dispatch one invocation a value.
//
// Indices: elements of operands lie within their storages; the invocation's number is below count + 2^24, see src/ops/launch.rs.
// Loops: 6 of lib/walk.wgsl, or none.

@group(0) @binding(0) var<storage, read_write> output: array<Kept>;

@compute @workgroup_size(WORKGROUP)
fn fill(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = value_index(workgroup, workgroups, local);
    if index < params.count {
        let at = places(index);
        put(index, at.output, Written(Value(bitcast<Number>(params.scalar))));
    }
}
