// copy: output[i] = left[i].
//
// Shapes: output and left of one shape. Bindings: 0 output, 1 left; the two must not overlap. The host makes Element u32,
// or f16 for elements of its size: they are moved and not computed with, so that every value of every dtype survives. Needs lib/places.wgsl and the form that fits the
// operands: lib/strided.wgsl, lib/rows.wgsl or lib/flat.wgsl. Dispatch one invocation a value.
//
// Indices: elements of operands lie within their storages; the invocation's number is below count + 2^24, see src/ops/launch.rs.
// Loops: 6 of lib/walk.wgsl, or none.

@group(0) @binding(0) var<storage, read_write> output: array<Kept>;
@group(0) @binding(1) var<storage, read_write> left: array<Stored>;

@compute @workgroup_size(WORKGROUP)
fn copy(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = value_index(workgroup, workgroups, local);
    if index < params.count {
        let at = places(index);
        put(index, at.output, spread(opened(left[at.left]), at.left_lane));
    }
}
