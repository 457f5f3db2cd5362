// matmul_tiled: output[b, m, n] = sum over k of left[b, m, k] * right[b, k, n], plus the previous output if `accumulate` is 1,
// then the epilogue of lib/epilogue.wgsl.
//
// Shapes: left (batches, rows, K), right (batches, K, columns), output (batches, rows, columns), contiguous. K is a multiple of
// SLICE. Each operand is contiguous along one dimension of its matrices: along K if LEFT_K_CONTIGUOUS or RIGHT_K_CONTIGUOUS is
// true (the host sets these, ROWS, COLUMNS and SLICE), otherwise along the rows of left and the columns of right. Needs
// lib/operands_vec4.wgsl if these dimensions and all other strides and offsets are multiples of 4, otherwise
// lib/operands_scalar.wgsl; these files declare the bindings.
//
// A workgroup of ROWS / 8 × COLUMNS / 8 invocations computes a tile of ROWS × COLUMNS, of which lib/block.wgsl multiplies the
// slices: 128 × 128 with slices of 16, or 64 × 64 or 32 × 128 with slices of 8. Slices of the operands are staged in workgroup
// memory, at most 16 KiB in total; the next slice is loaded into registers during the computation on the current one. A tile past
// the end of the matrices reads their last row or column again and stores nothing. Dispatch (tiles, 1 or more, batches) workgroups.
//
// Indices: rows and columns past the last one are clamped to it, so positions lie within the storages, except for the end of a
// vec4.
// Loops: K / SLICE + 1; the host keeps K at 2^15.

const ROWS: u32 = 128u;
const COLUMNS: u32 = 128u;
const SLICE: u32 = 16u;
const LEFT_VECTORS: u32 = ROWS / 4u;
const RIGHT_VECTORS: u32 = COLUMNS / 4u;
const INVOCATIONS: u32 = ROWS * COLUMNS / 64u;
// The vec4s of a slice that an invocation stages: 1 or 2 of left, and 2 or 4 of right.
const LEFT_LOADS: u32 = LEFT_VECTORS * SLICE / INVOCATIONS;
const RIGHT_LOADS: u32 = RIGHT_VECTORS * SLICE / INVOCATIONS;
// Of lib/block.wgsl.
const LEFT_HALF: u32 = ROWS / 8u;
const RIGHT_HALF: u32 = COLUMNS / 8u;
const ACROSS: u32 = RIGHT_HALF / 8u;

const LEFT_K_CONTIGUOUS: bool = true;
const RIGHT_K_CONTIGUOUS: bool = true;
// If both are contiguous along K, the right operand's slice is loaded some steps after the left one's: 46 instead of 40 TFLOP/s
// on an H100. The other layouts lose as much by this order.
const BOTH_K_CONTIGUOUS: bool = LEFT_K_CONTIGUOUS && RIGHT_K_CONTIGUOUS;

struct Params {
    rows: u32,
    columns: u32,
    k_size: u32,
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

// Slices of the operands, K-major: [k][row] and [k][column].
var<workgroup> left_slice: array<array<Vec4, LEFT_VECTORS>, SLICE>;
var<workgroup> right_slice: array<array<Vec4, RIGHT_VECTORS>, SLICE>;

// The position of a vec4 that an invocation stages: its position in the operand and in the slice.
struct StagedPosition {
    at: u32,
    k: u32,
    side: u32,
}

fn k_contiguous_position(number: u32, start: u32, end: u32, offset: u32, stride: u32) -> StagedPosition {
    let k = number % (SLICE / 4u);
    let side = number / (SLICE / 4u);
    return StagedPosition(offset + min(start + side, end - 1u) * stride + k * UNIT, k * 4u, side);
}

fn left_position(number: u32, row: u32, offset: u32) -> StagedPosition {
    if LEFT_K_CONTIGUOUS {
        return k_contiguous_position(number, row, params.rows, offset, params.left_stride);
    }
    let k = number / LEFT_VECTORS;
    let side = number % LEFT_VECTORS;
    let vector = min(row / 4u + side, (params.rows - 1u) / 4u);
    return StagedPosition(offset + k * params.left_stride + vector * UNIT, k, side);
}

fn right_position(number: u32, column: u32, offset: u32) -> StagedPosition {
    if RIGHT_K_CONTIGUOUS {
        return k_contiguous_position(number, column, params.columns, offset, params.right_stride);
    }
    let k = number / RIGHT_VECTORS;
    let side = number % RIGHT_VECTORS;
    let vector = min(column / 4u + side, (params.columns - 1u) / 4u);
    return StagedPosition(offset + k * params.right_stride + vector * UNIT, k, side);
}

fn stage_left(place: StagedPosition, vector: Vec4) {
    if LEFT_K_CONTIGUOUS {
        left_slice[place.k][place.side / 4u][place.side % 4u] = vector.x;
        left_slice[place.k + 1u][place.side / 4u][place.side % 4u] = vector.y;
        left_slice[place.k + 2u][place.side / 4u][place.side % 4u] = vector.z;
        left_slice[place.k + 3u][place.side / 4u][place.side % 4u] = vector.w;
    } else {
        left_slice[place.k][place.side] = vector;
    }
}

fn stage_right(place: StagedPosition, vector: Vec4) {
    if RIGHT_K_CONTIGUOUS {
        right_slice[place.k][place.side / 4u][place.side % 4u] = vector.x;
        right_slice[place.k + 1u][place.side / 4u][place.side % 4u] = vector.y;
        right_slice[place.k + 2u][place.side / 4u][place.side % 4u] = vector.z;
        right_slice[place.k + 3u][place.side / 4u][place.side % 4u] = vector.w;
    } else {
        right_slice[place.k][place.side] = vector;
    }
}

fn store(batch: u32, row: u32, across: u32, first: Vec4, second: Vec4) {
    if row < params.rows {
        store_vec4(batch * params.rows + row, across, first);
        store_vec4(batch * params.rows + row, across + RIGHT_HALF, second);
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
    let row = tile / params.tiles_across * ROWS;
    let column = tile % params.tiles_across * COLUMNS;
    let batch = params.first_batch + workgroup.z;
    let left_start = params.left_offset + batch * params.left_batch;
    let right_start = params.right_offset + batch * params.right_batch;
    let left_step = select(SLICE * params.left_stride, SLICE / 4u * UNIT, LEFT_K_CONTIGUOUS);
    let right_step = select(SLICE * params.right_stride, SLICE / 4u * UNIT, RIGHT_K_CONTIGUOUS);
    let left_a = left_position(local, row, left_start);
    let left_b = left_position(local + INVOCATIONS, row, left_start);
    let right_a = right_position(local, column, right_start);
    let right_b = right_position(local + INVOCATIONS, column, right_start);
    let right_c = right_position(local + 2u * INVOCATIONS, column, right_start);
    let right_d = right_position(local + 3u * INVOCATIONS, column, right_start);
    let block = block_of(local);
    let down = block.down;
    let along = block.along;

    var sums: array<Vec4, 16>;
    var left_0 = load_left_vec4(left_a.at);
    var left_1: Vec4;
    if LEFT_LOADS == 2u {
        left_1 = load_left_vec4(left_b.at);
    }
    var right_0 = load_right_vec4(right_a.at);
    var right_1 = load_right_vec4(right_b.at);
    var right_2: Vec4;
    var right_3: Vec4;
    if RIGHT_LOADS == 4u {
        right_2 = load_right_vec4(right_c.at);
        right_3 = load_right_vec4(right_d.at);
    }
    // Each position is advanced directly after its load. Advancing directly before the next load costs a quarter of the speed on
    // an H100, because the address computation then delays the load.
    var left_at_0 = left_a.at + left_step;
    var left_at_1 = left_b.at + left_step;
    var right_at_0 = right_a.at + right_step;
    var right_at_1 = right_b.at + right_step;
    var right_at_2 = right_c.at + right_step;
    var right_at_3 = right_d.at + right_step;
    for (var k_start = SLICE; ; k_start += SLICE) {
        stage_left(left_a, left_0);
        if LEFT_LOADS == 2u {
            stage_left(left_b, left_1);
        }
        stage_right(right_a, right_0);
        stage_right(right_b, right_1);
        if RIGHT_LOADS == 4u {
            stage_right(right_c, right_2);
            stage_right(right_d, right_3);
        }
        workgroupBarrier();
        if k_start < params.k_size {
            left_0 = load_left_vec4(left_at_0);
            left_at_0 += left_step;
            if LEFT_LOADS == 2u {
                left_1 = load_left_vec4(left_at_1);
                left_at_1 += left_step;
            }
            if !BOTH_K_CONTIGUOUS {
                right_0 = load_right_vec4(right_at_0);
                right_at_0 += right_step;
                right_1 = load_right_vec4(right_at_1);
                right_at_1 += right_step;
                if RIGHT_LOADS == 4u {
                    right_2 = load_right_vec4(right_at_2);
                    right_at_2 += right_step;
                    right_3 = load_right_vec4(right_at_3);
                    right_at_3 += right_step;
                }
            }
        }
        first_steps(down, along, &sums);
        if BOTH_K_CONTIGUOUS && k_start < params.k_size {
            right_0 = load_right_vec4(right_at_0);
            right_at_0 += right_step;
            right_1 = load_right_vec4(right_at_1);
            right_at_1 += right_step;
            if RIGHT_LOADS == 4u {
                right_2 = load_right_vec4(right_at_2);
                right_at_2 += right_step;
                right_3 = load_right_vec4(right_at_3);
                right_at_3 += right_step;
            }
        }
        other_steps(down, along, true, &sums);
        if k_start >= params.k_size {
            break;
        }
        workgroupBarrier();
    }
    let across = column / 4u + along;
    let top = row + down * 4u;
    let bottom = top + ROWS / 2u;
    store(batch, top, across, sums[0], sums[1]);
    store(batch, top + 1u, across, sums[2], sums[3]);
    store(batch, top + 2u, across, sums[4], sums[5]);
    store(batch, top + 3u, across, sums[6], sums[7]);
    store(batch, bottom, across, sums[8], sums[9]);
    store(batch, bottom + 1u, across, sums[10], sums[11]);
    store(batch, bottom + 2u, across, sums[12], sums[13]);
    store(batch, bottom + 3u, across, sums[14], sums[15]);
}
