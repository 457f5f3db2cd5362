// scatter_add: table[i, with the axis at index[i]] += value[i], in an unspecified order. Indices that exceed the axis have no
// effect.
//
// Shapes, parameters: lib/indexed.wgsl. Bindings: 0 table, as bits, 1 value, 2 index. Integers are added with `atomicAdd`.
// Dispatch one invocation per element of the index from `first` up to `count`.
//
// Indices: positions of the walk and selected elements lie within their storages; `first` + the invocation index < count + 2^24.
// Loops: 7 of the walk, and for floating-point elements one retry for each concurrent addition of the dispatch, so fewer than
// count - first. Software drivers bound loops: there the host states the retries, and dispatches as many elements at a time as they allow.

@group(0) @binding(0) var<storage, read_write> table: array<atomic<u32>>;
@group(0) @binding(1) var<storage, read_write> value: array<Element>;
@group(0) @binding(2) var<storage, read_write> index: array<u32>;

// Returns the bits of an element after an addition.
fn added(word: u32, more: Number) -> u32 {
    return bitcast<u32>(bitcast<Number>(word) + more);
}

fn add(place: u32, more: Number) {
    var found = atomicLoad(&table[place]);
    loop {
        let tried = atomicCompareExchangeWeak(&table[place], found, added(found, more));
        if tried.exchanged {
            break;
        }
        found = tried.old_value;
    }
}

@compute @workgroup_size(WORKGROUP)
fn scatter_add(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let step = params.first + step_of(workgroup, workgroups, local);
    if step < params.count {
        let at = places(step);
        let chosen = index[at.index];
        if chosen < params.axis_size {
            let place = at.table + chosen * params.axis_stride;
            let more = Number(value[at.value]);
            add(place, more);
        }
    }
}
