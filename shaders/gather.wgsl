// gather: value[i] = table[i, with the axis at index[i]], or 0 if the index exceeds the axis. Of a table in parts, each part but
// the first leaves the values of other indices as they are.
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
        if chosen < params.axis_size {
            value[at.value] = table[at.table + chosen * params.axis_stride];
        } else if params.rank <= 0xffffu {
            value[at.value] = Element(0);
        }
    }
}
