// gather: value[i] = table[i, with the axis at index[i]], or 0 if the index exceeds the axis.
//
// Shapes, parameters: lib/indexed.wgsl. Bindings: 0 value, 1 table, 2 index. Dispatch one invocation per element of the index.
//
// Indices: positions of the walk and selected elements lie within their storages; the invocation index is below count + 2^24.
// Loops: 7 of the walk.

@group(0) @binding(0) var<storage, read_write> value: array<Element>;
@group(0) @binding(1) var<storage, read_write> table: array<Element>;
@group(0) @binding(2) var<storage, read_write> index: array<u32>;

@compute @workgroup_size(WORKGROUP)
fn gather(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let step = step_of(workgroup, workgroups, local);
    if step < params.count {
        let at = places(step);
        let chosen = index[at.index];
        var found = Element(0);
        if chosen < params.axis_size {
            found = table[at.table + chosen * params.axis_stride];
        }
        value[at.value] = found;
    }
}
