// matmul_cooperative: as matmul_tiled, for f16 with cooperative matrices: subgroups multiply fragments of 16 × 16 with f32
// accumulators.
//
// Shapes: as matmul_tiled, with the same parameters and the operands of lib/operands_vec4.wgsl. K is a multiple of SLICE, and the
// dimensions along which the operands are contiguous are multiples of 4. There is a single pass over K, so the previous output is
// not added.
//
// A workgroup of four subgroups of 32 computes a tile of TILE × TILE; each subgroup computes a quarter of it, 4 × 4 fragments.
// Slices of the operands have the same layout in workgroup memory as in storage. The next slices are loaded into registers during
// the computation on the current ones. Lines are padded by two vec4s, so that eight consecutive lines are in different banks.
// Workgroup memory is indexed by line, by group of eight elements and by half of a group, so that the driver can prove that a
// line's address is a multiple of 16 bytes, even after a bounds check clamps the index, and loads fragments with wide
// instructions: on an H100 this saves a sixth of the time. Accumulators pass through workgroup memory before they are stored,
// because single elements are accessible only there. A tile past the end of the matrices reads other elements or zeros into
// accumulators that are not stored. Dispatch (tiles, 1 or more, batches) workgroups.
//
// Indices: a tile past the end of the matrices reads up to 128 lines beyond the operands, which WebGPU makes harmless.
// Loops: K / SLICE + 1; the host keeps K at 2^15.

enable wgpu_cooperative_matrix;

const TILE: u32 = 128u;
const SLICE: u32 = 32u;
const INVOCATIONS: u32 = 128u;

const LEFT_K_CONTIGUOUS: bool = true;
const RIGHT_K_CONTIGUOUS: bool = true;

// Lines of a slice, and the groups of eight elements in each: along K, or along the other dimension.
const LEFT_LINES: u32 = SLICE + u32(LEFT_K_CONTIGUOUS) * (TILE - SLICE);
const LEFT_EIGHTS: u32 = (TILE - u32(LEFT_K_CONTIGUOUS) * (TILE - SLICE)) / 8u;
const RIGHT_LINES: u32 = SLICE + u32(RIGHT_K_CONTIGUOUS) * (TILE - SLICE);
const RIGHT_EIGHTS: u32 = (TILE - u32(RIGHT_K_CONTIGUOUS) * (TILE - SLICE)) / 8u;
// Lines that all invocations together load in one step.
const LEFT_BAND: u32 = INVOCATIONS / LEFT_EIGHTS;
const RIGHT_BAND: u32 = INVOCATIONS / RIGHT_EIGHTS;

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

var<workgroup> left_slice: array<array<array<StoredInput, 2>, LEFT_EIGHTS + 1u>, LEFT_LINES>;
var<workgroup> right_slice: array<array<array<StoredInput, 2>, RIGHT_EIGHTS + 1u>, RIGHT_LINES>;

fn left_piece(row: u32, k: u32) -> Left {
    if LEFT_K_CONTIGUOUS {
        return coopLoadT<Left>(&left_slice[row][k / 8u][0], 2u * (LEFT_EIGHTS + 1u));
    }
    return coopLoad<Left>(&left_slice[k][row / 8u][0], 2u * (LEFT_EIGHTS + 1u));
}

fn right_piece(k: u32, column: u32) -> Right {
    if RIGHT_K_CONTIGUOUS {
        return coopLoad<Right>(&right_slice[column][k / 8u][0], 2u * (RIGHT_EIGHTS + 1u));
    }
    return coopLoadT<Right>(&right_slice[k][column / 8u][0], 2u * (RIGHT_EIGHTS + 1u));
}

@compute @workgroup_size(INVOCATIONS)
fn matmul_cooperative(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
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
    let left_line = local / LEFT_EIGHTS;
    let left_eight = local % LEFT_EIGHTS;
    let right_line = local / RIGHT_EIGHTS;
    let right_eight = local % RIGHT_EIGHTS;
    let left_band = LEFT_BAND * params.left_stride;
    let right_band = RIGHT_BAND * params.right_stride;
    let left_step = select(SLICE * params.left_stride, SLICE / 4u, LEFT_K_CONTIGUOUS);
    let right_step = select(SLICE * params.right_stride, SLICE / 4u, RIGHT_K_CONTIGUOUS);
    var left_at = left_start + left_line * params.left_stride + left_eight * 2u;
    left_at += select(row / 4u, row * params.left_stride, LEFT_K_CONTIGUOUS);
    var right_at = right_start + right_line * params.right_stride + right_eight * 2u;
    right_at += select(column / 4u, column * params.right_stride, RIGHT_K_CONTIGUOUS);
    let own_row = subgroup / 2u * (TILE / 2u);
    let own_column = subgroup % 2u * (TILE / 2u);

    var sums: array<Sum, 16>;
    var left_vectors: array<StoredInput, 8>;
    var right_vectors: array<StoredInput, 8>;
    load_left(left_at, left_band, &left_vectors);
    load_right(right_at, right_band, &right_vectors);
    for (var k_start = SLICE; ; k_start += SLICE) {
        stage_left(left_line, left_eight, &left_vectors);
        stage_right(right_line, right_eight, &right_vectors);
        workgroupBarrier();
        if k_start < params.k_size {
            left_at += left_step;
            load_left(left_at, left_band, &left_vectors);
            right_at += right_step;
            load_right(right_at, right_band, &right_vectors);
        }
        step(own_row, own_column, 0u, &sums);
        step(own_row, own_column, PIECE, &sums);
        if k_start >= params.k_size {
            break;
        }
        workgroupBarrier();
    }
    let top = row + own_row;
    let start = column + own_column;
    store_piece(batch, top, start, subgroup, lane, sums[0]);
    store_piece(batch, top, start + PIECE, subgroup, lane, sums[1]);
    store_piece(batch, top, start + 2u * PIECE, subgroup, lane, sums[2]);
    store_piece(batch, top, start + 3u * PIECE, subgroup, lane, sums[3]);
    store_piece(batch, top + PIECE, start, subgroup, lane, sums[4]);
    store_piece(batch, top + PIECE, start + PIECE, subgroup, lane, sums[5]);
    store_piece(batch, top + PIECE, start + 2u * PIECE, subgroup, lane, sums[6]);
    store_piece(batch, top + PIECE, start + 3u * PIECE, subgroup, lane, sums[7]);
    store_piece(batch, top + 2u * PIECE, start, subgroup, lane, sums[8]);
    store_piece(batch, top + 2u * PIECE, start + PIECE, subgroup, lane, sums[9]);
    store_piece(batch, top + 2u * PIECE, start + 2u * PIECE, subgroup, lane, sums[10]);
    store_piece(batch, top + 2u * PIECE, start + 3u * PIECE, subgroup, lane, sums[11]);
    store_piece(batch, top + 3u * PIECE, start, subgroup, lane, sums[12]);
    store_piece(batch, top + 3u * PIECE, start + PIECE, subgroup, lane, sums[13]);
    store_piece(batch, top + 3u * PIECE, start + 2u * PIECE, subgroup, lane, sums[14]);
    store_piece(batch, top + 3u * PIECE, start + 3u * PIECE, subgroup, lane, sums[15]);
}

// Loads an invocation's part of a slice: eight elements of a line in each band.
fn load_left(at: u32, band: u32, vectors: ptr<function, array<StoredInput, 8>>) {
    (*vectors)[0] = left[at];
    (*vectors)[1] = left[at + 1u];
    (*vectors)[2] = left[at + band];
    (*vectors)[3] = left[at + band + 1u];
    (*vectors)[4] = left[at + 2u * band];
    (*vectors)[5] = left[at + 2u * band + 1u];
    (*vectors)[6] = left[at + 3u * band];
    (*vectors)[7] = left[at + 3u * band + 1u];
}

fn load_right(at: u32, band: u32, vectors: ptr<function, array<StoredInput, 8>>) {
    (*vectors)[0] = right_at(at);
    (*vectors)[1] = right_at(at + 1u);
    (*vectors)[2] = right_at(at + band);
    (*vectors)[3] = right_at(at + band + 1u);
    (*vectors)[4] = right_at(at + 2u * band);
    (*vectors)[5] = right_at(at + 2u * band + 1u);
    (*vectors)[6] = right_at(at + 3u * band);
    (*vectors)[7] = right_at(at + 3u * band + 1u);
}

fn stage_left(line: u32, eight: u32, vectors: ptr<function, array<StoredInput, 8>>) {
    left_slice[line][eight][0] = (*vectors)[0];
    left_slice[line][eight][1] = (*vectors)[1];
    left_slice[line + LEFT_BAND][eight][0] = (*vectors)[2];
    left_slice[line + LEFT_BAND][eight][1] = (*vectors)[3];
    left_slice[line + 2u * LEFT_BAND][eight][0] = (*vectors)[4];
    left_slice[line + 2u * LEFT_BAND][eight][1] = (*vectors)[5];
    left_slice[line + 3u * LEFT_BAND][eight][0] = (*vectors)[6];
    left_slice[line + 3u * LEFT_BAND][eight][1] = (*vectors)[7];
}

fn stage_right(line: u32, eight: u32, vectors: ptr<function, array<StoredInput, 8>>) {
    right_slice[line][eight][0] = (*vectors)[0];
    right_slice[line][eight][1] = (*vectors)[1];
    right_slice[line + RIGHT_BAND][eight][0] = (*vectors)[2];
    right_slice[line + RIGHT_BAND][eight][1] = (*vectors)[3];
    right_slice[line + 2u * RIGHT_BAND][eight][0] = (*vectors)[4];
    right_slice[line + 2u * RIGHT_BAND][eight][1] = (*vectors)[5];
    right_slice[line + 3u * RIGHT_BAND][eight][0] = (*vectors)[6];
    right_slice[line + 3u * RIGHT_BAND][eight][1] = (*vectors)[7];
}

// Stores a fragment: an invocation stores two vec4s of one row.
fn store_piece(batch: u32, row: u32, column: u32, subgroup: u32, lane: u32, sum: Sum) {
    let piece = subgroup * PIECE * PIECE;
    workgroupBarrier();
    coopStoreT(sum, &finished_pieces[piece], PIECE);
    workgroupBarrier();
    let own_row = row + lane / 2u;
    let first = piece + lane * 8u;
    let across = column / 4u + lane % 2u * 2u;
    if own_row < params.rows {
        store_vec4(batch * params.rows + own_row, across, vec4_at(first));
        store_vec4(batch * params.rows + own_row, across + 1u, vec4_at(first + 4u));
    }
}
