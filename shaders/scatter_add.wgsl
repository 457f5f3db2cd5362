// scatter_add: table[i, with the axis at index[i]] += value[i], in no particular order. Nothing where the index is beyond the axis.
//
// Shapes, parameters: lib/indexed.wgsl. Bindings: 0 table, by its bits, 1 value, 2 index. Dispatch one invocation an element of the
// index. An addition is tried again for as long as another invocation comes between: as often as invocations meet.

@group(0) @binding(0) var<storage, read_write> table: array<atomic<u32>>;
@group(0) @binding(1) var<storage, read_write> value: array<Element>;
@group(0) @binding(2) var<storage, read_write> index: array<u32>;

// The bits of an element with more added.
fn added(word: u32, more: Number) -> u32 {
    return bitcast<u32>(bitcast<Number>(word) + more);
}

@compute @workgroup_size(WORKGROUP)
fn scatter_add(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let step = step_of(workgroup, workgroups, local);
    if step < params.count {
        let at = places(step);
        let chosen = index[at.index];
        if chosen < params.axis_size {
            let place = at.table + chosen * params.axis_stride;
            let more = Number(value[at.value]);
            var found = atomicLoad(&table[place]);
            loop {
                let tried = atomicCompareExchangeWeak(&table[place], found, added(found, more));
                if tried.exchanged {
                    break;
                }
                found = tried.old_value;
            }
        }
    }
}
