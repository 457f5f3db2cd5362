// arange: output[i] = start + i * step.
//
// Bindings: 0 output, contiguous. Dispatch one invocation an element.

alias Element = f32;

struct Params {
    count: u32,
    // The bits of an Element each.
    start: u32,
    step: u32,
}

@group(0) @binding(0) var<storage, read_write> output: array<Element>;
@group(1) @binding(0) var<uniform> params: Params;

override WORKGROUP: u32 = 256u;

@compute @workgroup_size(WORKGROUP)
fn arange(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
    if index < params.count {
        output[index] = bitcast<Element>(params.start) + Element(index) * bitcast<Element>(params.step);
    }
}
