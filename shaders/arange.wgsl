// arange: output[i] = start + (first + i) * step.
//
// Bindings: 0 output, contiguous. Dispatch one invocation per element.
//
// Indices: first + count < 2^32; the invocation index is below count + 2^24, see src/ops/launch.rs.
// Loops: none.

struct Params {
    count: u32,
    // The bits of a Number.
    start: u32,
    step: u32,
    // The number of the first element.
    first: u32,
}

@group(0) @binding(0) var<storage, read_write> output: array<Element>;
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP: u32 = 256u;

@compute @workgroup_size(WORKGROUP)
fn arange(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
    if index < params.count {
        output[index] = Element(bitcast<Number>(params.start) + Number(params.first + index) * bitcast<Number>(params.step));
    }
}
