// Eight outputs and the 3 × 3 taps of a channel, for conv2d_weight_rows_tiled.wgsl. Needs lib/sides_of_one.wgsl and lib/three_taps.wgsl.
//
// Indices: those of the kernel. Loops: none.

const KERNEL: u32 = 3u;
const AT_ONCE: u32 = 8u;

// The last element of a vec4, and the one after it.
alias Tail = vec2<Number>;
// Of each output and row of taps.
alias Sums = array<Vec3, 24>;

fn stage_row(row: u32, channel: u32, loaded: Loaded) {
    let before = select(Number(), Number(loaded.before), loaded.has_before);
    let own = select(Vec4(), Vec4(loaded.own), loaded.exists);
    let after = select(Number(), Number(loaded.after), loaded.has_after);
    heads[row][channel] = Vec4(before, own.xyz);
    tails[row][channel] = Tail(own.w, after);
}

fn row_of(row: u32, channel: u32) -> Row {
    return row_from(heads[row][channel], tails[row][channel]);
}

fn add_output(output: u32, slope: Vec4, row_0: Row, row_1: Row, row_2: Row, sums: ptr<function, Sums>) {
    (*sums)[3u * output] = added((*sums)[3u * output], slope, row_0);
    (*sums)[3u * output + 1u] = added((*sums)[3u * output + 1u], slope, row_1);
    (*sums)[3u * output + 2u] = added((*sums)[3u * output + 2u], slope, row_2);
}

fn step(k: u32, block: u32, channel: u32, sums: ptr<function, Sums>) {
    let row_0 = row_of(3u * k, channel);
    let row_1 = row_of(3u * k + 1u, channel);
    let row_2 = row_of(3u * k + 2u, channel);
    add_output(0u, slopes[k][0][block], row_0, row_1, row_2, sums);
    add_output(1u, slopes[k][1][block], row_0, row_1, row_2, sums);
    add_output(2u, slopes[k][2][block], row_0, row_1, row_2, sums);
    add_output(3u, slopes[k][3][block], row_0, row_1, row_2, sums);
    add_output(4u, slopes[k][4][block], row_0, row_1, row_2, sums);
    add_output(5u, slopes[k][5][block], row_0, row_1, row_2, sums);
    add_output(6u, slopes[k][6][block], row_0, row_1, row_2, sums);
    add_output(7u, slopes[k][7][block], row_0, row_1, row_2, sums);
}

fn store_row(at: u32, sum: Vec3) {
    parts[at] = Output(sum.x);
    parts[at + 8u] = Output(sum.y);
    parts[at + 16u] = Output(sum.z);
}

fn store_output(goal: Target, output: u32, sum_0: Vec3, sum_1: Vec3, sum_2: Vec3) {
    if goal.exists && output < params.outputs {
        let at = goal.at + output * goal.width;
        store_row(at, sum_0);
        store_row(at + 24u, sum_1);
        store_row(at + 48u, sum_2);
    }
}

fn store(goal: Target, own: u32, sums: ptr<function, Sums>) {
    store_output(goal, own, (*sums)[0], (*sums)[1], (*sums)[2]);
    store_output(goal, own + BLOCKS, (*sums)[3], (*sums)[4], (*sums)[5]);
    store_output(goal, own + 2u * BLOCKS, (*sums)[6], (*sums)[7], (*sums)[8]);
    store_output(goal, own + 3u * BLOCKS, (*sums)[9], (*sums)[10], (*sums)[11]);
    store_output(goal, own + 4u * BLOCKS, (*sums)[12], (*sums)[13], (*sums)[14]);
    store_output(goal, own + 5u * BLOCKS, (*sums)[15], (*sums)[16], (*sums)[17]);
    store_output(goal, own + 6u * BLOCKS, (*sums)[18], (*sums)[19], (*sums)[20]);
    store_output(goal, own + 7u * BLOCKS, (*sums)[21], (*sums)[22], (*sums)[23]);
}
