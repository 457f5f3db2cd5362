// matmul: output[b, m, n] = sum over k of left[b, m, k] * right[b, k, n], plus the previous output if `accumulate` is 1, then the
// epilogue of lib/epilogue.wgsl.
//
// Shapes: left (batches, rows, K), right (batches, K, columns), each with arbitrary strides; output (batches, rows, columns),
// contiguous. For operands that `matmul_tiled` does not support. Bindings: 0 output, 1 left, 2 right; if both operands are in one
// storage the host binds it once, as left.
//
// A workgroup of 16 × 16 invocations computes a tile of 64 × 64, or 8 × 8 a tile of 32 × 32 on devices that permit fewer than 256;
// each invocation computes 4 × 4 elements. The operands are staged in workgroup memory in slices of 16 along K. Dispatch (tiles, 1 or
// more, batches) workgroups.
//
// Indices: elements are read and written only within their storages; tiles * TILE rounds each side of the output up.
// Loops: K / 16 * 27 + 1 at most; the host accumulates slices of 32,768 along K, below the limit of 65,535 iterations.

struct Params {
    rows: u32,
    columns: u32,
    k_size: u32,
    accumulate: u32,
    left_offset: u32,
    left_row: u32,
    left_column: u32,
    tiles_across: u32,
    right_offset: u32,
    right_row: u32,
    right_column: u32,
    tiles: u32,
    left_batch: u32,
    right_batch: u32,
    first_batch: u32,
    bias_offset: u32,
}

@group(0) @binding(0) var<storage, read_write> output: array<Output>;
@group(0) @binding(1) var<storage, read_write> left: array<Element>;
@group(0) @binding(2) var<storage, read_write> right: array<Element>;
@group(1) @binding(0) var<uniform> params: Params;

// The host replaces the body if both operands are in one binding.
fn right_at(at: u32) -> Element {
    return right[at];
}

// The most that the device permits, at most 256.
const WORKGROUP: u32 = 256u;
const SIDE: u32 = select(8u, 16u, WORKGROUP >= 256u);
const TILE: u32 = 4u * SIDE;
const SLICE: u32 = 16u;

// Slices of the operands, K-major: [k][row] and [k][column].
var<workgroup> left_slice: array<Number, TILE * SLICE>;
var<workgroup> right_slice: array<Number, TILE * SLICE>;

fn load_slices(batch: u32, row: u32, column: u32, k_start: u32, local: u32) {
    let left_start = params.left_offset + batch * params.left_batch;
    let right_start = params.right_offset + batch * params.right_batch;
    for (var part = 0u; part < 4u * SLICE / SIDE; part += 1u) {
        let at = part * SIDE * SIDE + local;
        // Adjacent invocations read along the dimension that is contiguous in memory.
        var m = at % TILE;
        var k = at / TILE;
        if params.left_column == 1u {
            m = at / SLICE;
            k = at % SLICE;
        }
        var value = Element(0);
        if row + m < params.rows && k_start + k < params.k_size {
            value = left[left_start + (row + m) * params.left_row + (k_start + k) * params.left_column];
        }
        left_slice[k * TILE + m] = Number(value);
        var n = at % TILE;
        k = at / TILE;
        if params.right_row == 1u {
            n = at / SLICE;
            k = at % SLICE;
        }
        value = Element(0);
        if column + n < params.columns && k_start + k < params.k_size {
            value = right_at(right_start + (k_start + k) * params.right_row + (column + n) * params.right_column);
        }
        right_slice[k * TILE + n] = Number(value);
    }
}

fn store(batch: u32, row: u32, column: u32, values: vec4<Number>) {
    if row >= params.rows {
        return;
    }
    let start = (batch * params.rows + row) * params.columns + column;
    var sums = values;
    if params.accumulate == 1u {
        // Elements past the end of the row are not stored.
        sums += vec4<Number>(vec4(output[start], output[start + 1u], output[start + 2u], output[start + 3u]));
    }
    sums = finished(sums, column);
    if column < params.columns {
        output[start] = Output(sums.x);
    }
    if column + 1u < params.columns {
        output[start + 1u] = Output(sums.y);
    }
    if column + 2u < params.columns {
        output[start + 2u] = Output(sums.z);
    }
    if column + 3u < params.columns {
        output[start + 3u] = Output(sums.w);
    }
}

@compute @workgroup_size(SIDE, SIDE)
fn matmul(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) invocation: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let batch = params.first_batch + workgroup.z;
    let tile = workgroup.y * workgroups.x + workgroup.x;
    let row = tile / params.tiles_across * TILE;
    let column = tile % params.tiles_across * TILE;
    var sum_0 = vec4<Number>();
    var sum_1 = vec4<Number>();
    var sum_2 = vec4<Number>();
    var sum_3 = vec4<Number>();
    for (var k_start = 0u; k_start < params.k_size; k_start += SLICE) {
        load_slices(batch, row, column, k_start, local);
        workgroupBarrier();
        for (var k = 0u; k < SLICE; k += 1u) {
            let l = k * TILE + invocation.y * 4u;
            let r = k * TILE + invocation.x * 4u;
            let across = vec4(right_slice[r], right_slice[r + 1u], right_slice[r + 2u], right_slice[r + 3u]);
            sum_0 += left_slice[l] * across;
            sum_1 += left_slice[l + 1u] * across;
            sum_2 += left_slice[l + 2u] * across;
            sum_3 += left_slice[l + 3u] * across;
        }
        workgroupBarrier();
    }
    if tile < params.tiles {
        let top = row + invocation.y * 4u;
        let start = column + invocation.x * 4u;
        store(batch, top, start, sum_0);
        store(batch, top + 1u, start, sum_1);
        store(batch, top + 2u, start, sum_2);
        store(batch, top + 3u, start, sum_3);
    }
}
