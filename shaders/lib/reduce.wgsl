// What the kernels that reduce have in common: each output is the join of one part of the elements that it is made of, passed
// through `take` before and `finish` after.
//
// Shapes: the input's dimensions are the kept ones (`kept_rank` of them) followed by the reduced ones, each group in row-major
// order; `reduced_count` elements for each of `kept_count` outputs, in `split` parts of `part` elements. Output k of part p is
// at k * split + p, if the kernel doesn't say otherwise. Bindings: 0 output, 1 input. The host puts an operation's lines in
// place of those that say sum.

alias Element = f32;
// What is computed with: f32 for elements of half its size.
alias Number = Element;
// The elements that are written.
alias Output = Element;
alias Held = Number;
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
    // The bits of an f32 that a mean divides by.
    divisor: u32,
}

@group(1) @binding(0) var<uniform> params: Params;

override WORKGROUP: u32 = 256u;

var<workgroup> partial: array<Held, WORKGROUP>;

// An integer for the bits of a number, in the order of the numbers; the same again turns it back.
fn ordered(bits: vec4<i32>) -> vec4<i32> {
    return bits ^ ((bits >> vec4(31u)) & vec4(0x7fffffff));
}

fn key_of(bits: vec4<i32>, not_a_number: i32) -> vec4<i32> {
    return select(ordered(bits), vec4(not_a_number), (bits & vec4(0x7fffffff)) > vec4(0x7f800000));
}

// What joins with anything to that thing.
fn nothing() -> Held {
    return Held(0);
}

fn take(x: vec4<Element>) -> vec4<Held> {
    return vec4<Held>(x);
}

fn join(x: vec4<Held>, y: vec4<Held>) -> vec4<Held> {
    return x + y;
}

fn finish(total: vec4<Held>) -> vec4<Output> {
    return vec4<Output>(total);
}

fn join_one(x: Held, y: Held) -> Held {
    return join(vec4(x), vec4(y)).x;
}

fn join_components(four: vec4<Held>) -> Held {
    let pair = join(four, four.zwxy);
    return join_one(pair.x, pair.y);
}

fn dim(position: u32) -> u32 {
    return params.dims[position >> 2u][position & 3u];
}

// The element that `index`, counted over the dimensions from `first` up to `end`, is away from the start.
fn place(index: u32, first: u32, end: u32) -> u32 {
    if first == end {
        return 0u;
    }
    var rest = index;
    var found = 0u;
    for (var axis = end; axis > first + 1u; axis -= 1u) {
        let size = dim(axis - 1u);
        let outer = rest / size;
        found += (rest - outer * size) * dim(axis + 5u);
        rest = outer;
    }
    return found + rest * dim(first + 6u);
}

// What all invocations of the workgroup hold, joined; for invocation 0.
fn join_workgroup(held: Held, local: u32) -> Held {
    partial[local] = held;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        if local < half {
            partial[local] = join_one(partial[local], partial[local + half]);
        }
        workgroupBarrier();
    }
    return partial[0];
}

fn input_of(output_index: u32) -> u32 {
    return params.input_offset + place(output_index, 0u, params.kept_rank);
}
