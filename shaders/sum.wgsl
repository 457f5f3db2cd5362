// sum: output[k * split + p] = the sum of part p of the elements that output k is made of, passed through `finish`.
//
// Shapes: the input's dimensions are the kept ones (`kept_rank` of them) followed by the reduced ones, each group in row-major
// order; `reduced_count` elements for each of `kept_count` outputs, in `split` parts of `part` elements. Bindings:
// 0 output, 1 input. Two entry points:
// - `sum_by_workgroup`: a workgroup for each output and part; adds in stripes, then as a tree. At most part / WORKGROUP
//   turns of a loop with up to 6 turns within: the host keeps parts at 2^18 elements, well under the 65,535 that Mesa allows.
// - `sum_by_invocation`: an invocation for each output and part, where an output has few elements.

alias Element = f32;

struct Params {
    // Sizes of the dimensions (6), then strides of the input (6).
    dims: array<vec4<u32>, 3>,
    rank: u32,
    kept_rank: u32,
    // Outputs times parts.
    sums: u32,
    reduced_count: u32,
    split: u32,
    part: u32,
    input_offset: u32,
    // The bits of an f32 that a mean multiplies by.
    scale: u32,
}

@group(0) @binding(0) var<storage, read_write> output: array<Element>;
@group(0) @binding(1) var<storage, read_write> input: array<Element>;
@group(1) @binding(0) var<uniform> params: Params;

override WORKGROUP: u32 = 256u;

var<workgroup> partial: array<Element, WORKGROUP>;

fn dim(position: u32) -> u32 {
    return params.dims[position >> 2u][position & 3u];
}

// The element that `index`, counted over the dimensions from `first` up to `end`, is away from the start.
fn place(index: u32, first: u32, end: u32) -> u32 {
    var rest = index;
    var found = 0u;
    for (var axis = end; axis > first; axis -= 1u) {
        let size = dim(axis - 1u);
        found += rest % size * dim(axis + 5u);
        rest /= size;
    }
    return found;
}

fn finish(total: Element) -> Element {
    return total;
}

@compute @workgroup_size(WORKGROUP)
fn sum_by_workgroup(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup.y * workgroups.x + workgroup.x;
    var total = Element(0);
    if index < params.sums {
        let base = params.input_offset + place(index / params.split, 0u, params.kept_rank);
        let start = index % params.split * params.part;
        let end = min(start + params.part, params.reduced_count);
        for (var at = start + local; at < end; at += WORKGROUP) {
            total += input[base + place(at, params.kept_rank, params.rank)];
        }
    }
    partial[local] = total;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        if local < half {
            partial[local] += partial[local + half];
        }
        workgroupBarrier();
    }
    if local == 0u && index < params.sums {
        output[index] = finish(partial[0]);
    }
}

@compute @workgroup_size(WORKGROUP)
fn sum_by_invocation(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
    if index < params.sums {
        let base = params.input_offset + place(index / params.split, 0u, params.kept_rank);
        let start = index % params.split * params.part;
        let end = min(start + params.part, params.reduced_count);
        var total = Element(0);
        for (var at = start; at < end; at += 1u) {
            total += input[base + place(at, params.kept_rank, params.rank)];
        }
        output[index] = finish(total);
    }
}
