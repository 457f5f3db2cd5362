// matmul_parts: output[m, n] = sum over p of parts[p, m, n], then the epilogue of lib/epilogue.wgsl. The second step of a product
// whose K dimension is divided into parts (split-K); the first one multiplies them with the kernel that suits the operands.
//
// Shapes: parts (parts, rows, columns) of accumulators, contiguous; output (rows, columns), contiguous, from `output_offset` on.
// Bindings: 0 output, 1 parts.
//
// An invocation computes one element, and adds the parts in the order of p: the result is the same on every run. Adjacent
// invocations load adjacent elements. Limited by memory: parts + 1 accesses for each element. Dispatch `elements` invocations.
//
// Indices: the host checks parts * elements, and the elements of the output, to be below 2^32 - 2^24.
// Loops: parts / 4 + 5; the host keeps parts at 2^8.

struct Params {
    elements: u32,
    columns: u32,
    parts: u32,
    output_offset: u32,
    bias_offset: u32,
}

@group(0) @binding(0) var<storage, read_write> output: array<Output>;
@group(0) @binding(1) var<storage, read_write> parts: array<Number>;
// lib/epilogue.wgsl numbers the bindings of kernels with two operands; the host removes this one.
@group(0) @binding(2) var<storage, read_write> right: array<Element>;
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP: u32 = 256u;

@compute @workgroup_size(WORKGROUP)
fn matmul_parts(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let element = (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
    if element >= params.elements {
        return;
    }
    var sum = parts[element];
    var at = element + params.elements;
    var remaining = params.parts - 1u;
    // Four parts are loaded together, without other instructions in between.
    for (; remaining >= 4u; remaining -= 4u) {
        let part_0 = parts[at];
        let part_1 = parts[at + params.elements];
        let part_2 = parts[at + 2u * params.elements];
        let part_3 = parts[at + 3u * params.elements];
        sum = sum + part_0 + part_1 + part_2 + part_3;
        at += 4u * params.elements;
    }
    for (; remaining > 0u; remaining -= 1u) {
        sum += parts[at];
        at += params.elements;
    }
    output[params.output_offset + element] = Output(finished(Value(sum), element % params.columns).x);
}
