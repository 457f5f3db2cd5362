// matmul_tiled: output[b, m, n] = sum over k of left[b, m, k] * right[b, k, n], added to what is there if `accumulate` is 1, then
// finished by lib/epilogue.wgsl.
//
// Shapes: left (batches, rows, depth), right (batches, depth, columns), output (batches, rows, columns), contiguous. Depth is
// a multiple of SLICE. Each operand is contiguous along one side of its matrices: along the depth where LEFT_IS_DEEP and
// RIGHT_IS_DEEP say so (the host sets these and TILE), else along the rows of left and the columns of right. Needs
// lib/fours.wgsl where those are multiples of 4, and all other strides and offsets, or else lib/ones.wgsl: these have the
// bindings.
//
// A workgroup of TILE / 8 by TILE / 8 invocations makes a tile of TILE by TILE, each invocation 8 by 8 of it: two fours of
// rows and two of columns, half a tile apart. Slices of the operands pass through workgroup memory, 16 KiB of it; the next
// slice is read into registers while this one is worked on. A tile beyond the matrices' end reads their last row or column
// again, and stores nothing: those sums are not used. The unrolled steps index workgroup memory by a constant,
// so that the bounds check of the other index is done once a slice. Dispatch (tiles, 1 or more, batches) workgroups.
//
// Indices: rows and columns beyond the last are taken for it, so places lie within the storages, but for the end of a four.
// Loops: depth / SLICE + 1; the host keeps depth at 2^15.

const TILE: u32 = 128u;
const SLICE: u32 = TILE / 8u;
const FOURS: u32 = TILE / 4u;
const SIDE: u32 = TILE / 8u;
const INVOCATIONS: u32 = SIDE * SIDE;
// The 32 invocations that run in step are 4 down by 8 across: of all shapes that one reads the least.
const ACROSS: u32 = SIDE / 8u;

const LEFT_IS_DEEP: bool = true;
const RIGHT_IS_DEEP: bool = true;
// Then the right operand's slice is read some steps after the left one's: on an H100 that is 46 against 40 TFLOP/s, while the layouts of
// which one operand is deep lose as much by it.
const BOTH_ARE_DEEP: bool = LEFT_IS_DEEP && RIGHT_IS_DEEP;

struct Params {
    rows: u32,
    columns: u32,
    depth: u32,
    accumulate: u32,
    left_offset: u32,
    left_stride: u32,
    left_batch: u32,
    tiles_across: u32,
    right_offset: u32,
    right_stride: u32,
    right_batch: u32,
    tiles: u32,
    first_batch: u32,
    bias_offset: u32,
}

@group(1) @binding(0) var<uniform> params: Params;

// Slices of the operands, depth first: [k][row] and [k][column].
var<workgroup> left_slice: array<array<Four, FOURS>, SLICE>;
var<workgroup> right_slice: array<array<Four, FOURS>, SLICE>;

// One of the fours of a slice that an invocation brings: its first place in the operand, and where it goes.
struct Carried {
    at: u32,
    k: u32,
    side: u32,
}

fn carried(number: u32, is_deep: bool, start: u32, end: u32, offset: u32, stride: u32) -> Carried {
    if is_deep {
        let k = number % (SLICE / 4u);
        let side = number / (SLICE / 4u);
        return Carried(offset + min(start + side, end - 1u) * stride + k * UNIT, k * 4u, side);
    }
    let k = number / FOURS;
    let side = number % FOURS;
    return Carried(offset + k * stride + min(start / 4u + side, (end - 1u) / 4u) * UNIT, k, side);
}

fn keep_left(place: Carried, four: Four) {
    if LEFT_IS_DEEP {
        left_slice[place.k][place.side / 4u][place.side % 4u] = four.x;
        left_slice[place.k + 1u][place.side / 4u][place.side % 4u] = four.y;
        left_slice[place.k + 2u][place.side / 4u][place.side % 4u] = four.z;
        left_slice[place.k + 3u][place.side / 4u][place.side % 4u] = four.w;
    } else {
        left_slice[place.k][place.side] = four;
    }
}

fn keep_right(place: Carried, four: Four) {
    if RIGHT_IS_DEEP {
        right_slice[place.k][place.side / 4u][place.side % 4u] = four.x;
        right_slice[place.k + 1u][place.side / 4u][place.side % 4u] = four.y;
        right_slice[place.k + 2u][place.side / 4u][place.side % 4u] = four.z;
        right_slice[place.k + 3u][place.side / 4u][place.side % 4u] = four.w;
    } else {
        right_slice[place.k][place.side] = four;
    }
}

fn step(k: u32, down: u32, along: u32, sums: ptr<function, array<Four, 16>>) {
    let left_0 = left_slice[k][down];
    let left_1 = left_slice[k][down + SIDE];
    let right_0 = right_slice[k][along];
    let right_1 = right_slice[k][along + SIDE];
    (*sums)[0] += left_0.x * right_0;
    (*sums)[1] += left_0.x * right_1;
    (*sums)[2] += left_0.y * right_0;
    (*sums)[3] += left_0.y * right_1;
    (*sums)[4] += left_0.z * right_0;
    (*sums)[5] += left_0.z * right_1;
    (*sums)[6] += left_0.w * right_0;
    (*sums)[7] += left_0.w * right_1;
    (*sums)[8] += left_1.x * right_0;
    (*sums)[9] += left_1.x * right_1;
    (*sums)[10] += left_1.y * right_0;
    (*sums)[11] += left_1.y * right_1;
    (*sums)[12] += left_1.z * right_0;
    (*sums)[13] += left_1.z * right_1;
    (*sums)[14] += left_1.w * right_0;
    (*sums)[15] += left_1.w * right_1;
}

fn first_steps(down: u32, along: u32, sums: ptr<function, array<Four, 16>>) {
    step(0u, down, along, sums);
    step(1u, down, along, sums);
    step(2u, down, along, sums);
    step(3u, down, along, sums);
}

fn other_steps(down: u32, along: u32, sums: ptr<function, array<Four, 16>>) {
    step(4u, down, along, sums);
    step(5u, down, along, sums);
    step(6u, down, along, sums);
    step(7u, down, along, sums);
    if SLICE == 16u {
        step(8u, down, along, sums);
        step(9u, down, along, sums);
        step(10u, down, along, sums);
        step(11u, down, along, sums);
        step(12u, down, along, sums);
        step(13u, down, along, sums);
        step(14u, down, along, sums);
        step(15u, down, along, sums);
    }
}

fn store(batch: u32, row: u32, across: u32, first: Four, second: Four) {
    if row < params.rows {
        put(batch * params.rows + row, across, first);
        put(batch * params.rows + row, across + SIDE, second);
    }
}

@compute @workgroup_size(INVOCATIONS)
fn matmul_tiled(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = workgroup.y * workgroups.x + workgroup.x;
    if tile >= params.tiles {
        return;
    }
    let row = tile / params.tiles_across * TILE;
    let column = tile % params.tiles_across * TILE;
    let batch = params.first_batch + workgroup.z;
    let left_start = params.left_offset + batch * params.left_batch;
    let right_start = params.right_offset + batch * params.right_batch;
    let left_step = select(SLICE * params.left_stride, SLICE / 4u * UNIT, LEFT_IS_DEEP);
    let right_step = select(SLICE * params.right_stride, SLICE / 4u * UNIT, RIGHT_IS_DEEP);
    let left_a = carried(local, LEFT_IS_DEEP, row, params.rows, left_start, params.left_stride);
    let left_b = carried(local + INVOCATIONS, LEFT_IS_DEEP, row, params.rows, left_start, params.left_stride);
    let right_a = carried(local, RIGHT_IS_DEEP, column, params.columns, right_start, params.right_stride);
    let right_b = carried(local + INVOCATIONS, RIGHT_IS_DEEP, column, params.columns, right_start, params.right_stride);
    let down = local / 32u / ACROSS * 4u + local % 32u / 8u;
    let along = local / 32u % ACROSS * 8u + local % 8u;

    var sums: array<Four, 16>;
    var left_0 = left_four(left_a.at);
    var left_1 = left_four(left_b.at);
    var right_0 = right_four(right_a.at);
    var right_1 = right_four(right_b.at);
    // Each place is moved on right after it was read. Moved on right before the next reading, the whole loses a quarter of its
    // speed on an H100: addresses are then worked out while the slice waits for them.
    var left_at_0 = left_a.at + left_step;
    var left_at_1 = left_b.at + left_step;
    var right_at_0 = right_a.at + right_step;
    var right_at_1 = right_b.at + right_step;
    for (var depth = SLICE; ; depth += SLICE) {
        keep_left(left_a, left_0);
        keep_left(left_b, left_1);
        keep_right(right_a, right_0);
        keep_right(right_b, right_1);
        workgroupBarrier();
        if depth < params.depth {
            left_0 = left_four(left_at_0);
            left_at_0 += left_step;
            left_1 = left_four(left_at_1);
            left_at_1 += left_step;
            if !BOTH_ARE_DEEP {
                right_0 = right_four(right_at_0);
                right_at_0 += right_step;
                right_1 = right_four(right_at_1);
                right_at_1 += right_step;
            }
        }
        first_steps(down, along, &sums);
        if BOTH_ARE_DEEP && depth < params.depth {
            right_0 = right_four(right_at_0);
            right_at_0 += right_step;
            right_1 = right_four(right_at_1);
            right_at_1 += right_step;
        }
        other_steps(down, along, &sums);
        if depth >= params.depth {
            break;
        }
        workgroupBarrier();
    }
    let across = column / 4u + along;
    let top = row + down * 4u;
    let bottom = top + TILE / 2u;
    store(batch, top, across, sums[0], sums[1]);
    store(batch, top + 1u, across, sums[2], sums[3]);
    store(batch, top + 2u, across, sums[4], sums[5]);
    store(batch, top + 3u, across, sums[6], sums[7]);
    store(batch, bottom, across, sums[8], sums[9]);
    store(batch, bottom + 1u, across, sums[10], sums[11]);
    store(batch, bottom + 2u, across, sums[12], sums[13]);
    store(batch, bottom + 3u, across, sums[14], sums[15]);
}
