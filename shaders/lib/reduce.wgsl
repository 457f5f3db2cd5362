// Common part of reductions: each output combines one part of its elements, which are passed through `prepare` before and
// `finish` after.
//
// Shapes: the input's dimensions are the kept ones (`kept_rank` of them) followed by the reduced ones, each group in row-major
// order. There are `kept_count` outputs of `reduced_count` elements each, in `split` parts of `part` elements. Output k of part p
// is at k * split + p, unless the kernel states otherwise. Bindings: 0 output, 1 input. The host replaces the lines of a sum by
// those of the operation.

alias Accumulator = Number;
alias Real = vec4<f32>;
alias Bits = vec4<u32>;

struct Params {
    // Sizes of the dimensions (6), then strides of the input (6).
    dims: array<vec4<u32>, 3>,
    rank: u32,
    kept_rank: u32,
    kept_count: u32,
    reduced_count: u32,
    split: u32,
    part: u32,
    input_offset: u32,
    // The bits of the f32 divisor of a mean.
    divisor: u32,
}

@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP: u32 = 256u;

var<workgroup> partial: array<Accumulator, WORKGROUP>;

// Maps the bits of a number to an integer with the same order as the numbers. The mapping is its own inverse.
fn ordered(bits: vec4<i32>) -> vec4<i32> {
    return bits ^ ((bits >> vec4(31u)) & vec4(0x7fffffff));
}

fn key_of(bits: vec4<i32>, nan_key: i32) -> vec4<i32> {
    return select(ordered(bits), vec4(nan_key), (bits & vec4(0x7fffffff)) > vec4(0x7f800000));
}

// The identity element of `combine`.
fn identity() -> Accumulator {
    return Accumulator(0);
}

// Called before `prepare` is, with the output that the elements belong to: in reduce_columns one for each component, in the other
// kernels four times the same.
fn begin(outputs: vec4<u32>) {
}

fn prepare(x: vec4<Element>) -> vec4<Accumulator> {
    return vec4<Accumulator>(x);
}

fn combine(x: vec4<Accumulator>, y: vec4<Accumulator>) -> vec4<Accumulator> {
    return x + y;
}

fn finish(total: vec4<Accumulator>) -> vec4<Output> {
    return vec4<Output>(total);
}

fn combine_scalars(x: Accumulator, y: Accumulator) -> Accumulator {
    return combine(vec4(x), vec4(y)).x;
}

fn combine_components(values: vec4<Accumulator>) -> Accumulator {
    let pair = combine(values, values.zwxy);
    return combine_scalars(pair.x, pair.y);
}

fn dim(position: u32) -> u32 {
    return params.dims[position >> 2u][position & 3u];
}

// Returns the element offset of `index`, counted over the dimensions from `first` up to `end`.
fn place(index: u32, first: u32, end: u32) -> u32 {
    var found = 0u;
    if first < end {
        var rest = index;
        for (var axis = end; axis > first + 1u; axis -= 1u) {
            let size = dim(axis - 1u);
            let outer = rest / size;
            found += (rest - outer * size) * dim(axis + 5u);
            rest = outer;
        }
        found += rest * dim(first + 6u);
    }
    return found;
}

// Combines the accumulators of all invocations in the workgroup; the result is valid in invocation 0.
fn combine_workgroup(accumulator: Accumulator, local: u32) -> Accumulator {
    partial[local] = accumulator;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        if local < half {
            partial[local] = combine_scalars(partial[local], partial[local + half]);
        }
        workgroupBarrier();
    }
    return partial[0];
}

fn input_of(output_index: u32) -> u32 {
    return params.input_offset + place(output_index, 0u, params.kept_rank);
}
