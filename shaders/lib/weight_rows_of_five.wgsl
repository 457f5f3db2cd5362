// Four outputs and the 5 × 5 taps of a channel, for conv2d_weight_rows_tiled.wgsl. Needs lib/sides_of_two.wgsl.
//
// Indices: those of the kernel. Loops: none.

const KERNEL: u32 = 5u;
const AT_ONCE: u32 = 4u;

// The last two elements of a vec4, and the two after it.
alias Tail = vec4<Number>;

// Of each output and row of taps: the first four taps, and the last one.
struct Sums {
    firsts: array<Vec4, 20>,
    lasts: array<Number, 20>,
}

// The elements of a row under the taps of four windows.
struct Row {
    head: Vec4,
    tail: Tail,
}

fn stage_row(row: u32, channel: u32, loaded: Loaded) {
    let before = select(vec2<Number>(), vec2<Number>(loaded.before), loaded.has_before);
    let own = select(Vec4(), Vec4(loaded.own), loaded.exists);
    let after = select(vec2<Number>(), vec2<Number>(loaded.after), loaded.has_after);
    heads[row][channel] = Vec4(before, own.xy);
    tails[row][channel] = Tail(own.zw, after);
}

fn add_row(number: u32, slope: Vec4, row: Row, sums: ptr<function, Sums>) {
    let head = row.head;
    let tail = row.tail;
    (*sums).firsts[number] = (*sums).firsts[number] + slope.x * head + slope.y * Vec4(head.yzw, tail.x)
        + slope.z * Vec4(head.zw, tail.xy) + slope.w * Vec4(head.w, tail.xyz);
    (*sums).lasts[number] =
        (*sums).lasts[number] + slope.x * tail.x + slope.y * tail.y + slope.z * tail.z + slope.w * tail.w;
}

// A row of taps of all outputs.
fn add(tap: u32, k: u32, slope_0: Vec4, slope_1: Vec4, slope_2: Vec4, slope_3: Vec4, channel: u32, sums: ptr<function, Sums>) {
    let row = Row(heads[KERNEL * k + tap][channel], tails[KERNEL * k + tap][channel]);
    add_row(tap, slope_0, row, sums);
    add_row(KERNEL + tap, slope_1, row, sums);
    add_row(2u * KERNEL + tap, slope_2, row, sums);
    add_row(3u * KERNEL + tap, slope_3, row, sums);
}

fn step(k: u32, block: u32, channel: u32, sums: ptr<function, Sums>) {
    let slope_0 = slopes[k][0][block];
    let slope_1 = slopes[k][1][block];
    let slope_2 = slopes[k][2][block];
    let slope_3 = slopes[k][3][block];
    add(0u, k, slope_0, slope_1, slope_2, slope_3, channel, sums);
    add(1u, k, slope_0, slope_1, slope_2, slope_3, channel, sums);
    add(2u, k, slope_0, slope_1, slope_2, slope_3, channel, sums);
    add(3u, k, slope_0, slope_1, slope_2, slope_3, channel, sums);
    add(4u, k, slope_0, slope_1, slope_2, slope_3, channel, sums);
}

fn store_row(at: u32, first: Vec4, last: Number) {
    parts[at] = Output(first.x);
    parts[at + 8u] = Output(first.y);
    parts[at + 16u] = Output(first.z);
    parts[at + 24u] = Output(first.w);
    parts[at + 32u] = Output(last);
}

fn store_output(goal: Target, output: u32, number: u32, sums: ptr<function, Sums>) {
    if goal.exists && output < params.outputs {
        let at = goal.at + output * goal.width;
        store_row(at, (*sums).firsts[number], (*sums).lasts[number]);
        store_row(at + 40u, (*sums).firsts[number + 1u], (*sums).lasts[number + 1u]);
        store_row(at + 80u, (*sums).firsts[number + 2u], (*sums).lasts[number + 2u]);
        store_row(at + 120u, (*sums).firsts[number + 3u], (*sums).lasts[number + 3u]);
        store_row(at + 160u, (*sums).firsts[number + 4u], (*sums).lasts[number + 4u]);
    }
}

fn store(goal: Target, own: u32, sums: ptr<function, Sums>) {
    store_output(goal, own, 0u, sums);
    store_output(goal, own + BLOCKS, KERNEL, sums);
    store_output(goal, own + 2u * BLOCKS, 2u * KERNEL, sums);
    store_output(goal, own + 3u * BLOCKS, 3u * KERNEL, sums);
}
