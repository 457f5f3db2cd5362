// A product of slices in workgroup memory by cooperative matrices: fragments of 16 × 16 elements of f16 with f32 accumulators. A
// subgroup of 32 invocations computes 4 × 4 fragments, of four subgroups in a workgroup.
//
// The kernel declares `left_piece` and `right_piece`, which load a fragment of an operand from workgroup memory, and Vec4.
// Accumulators pass through `finished_pieces` before they are stored, because single elements are accessible only there.
//
// Indices: constants below the sizes. Loops: none.

const PIECE: u32 = 16u;

alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sum = coop_mat16x16<f32, C>;

// One fragment for each subgroup.
var<workgroup> finished_pieces: array<f32, 4 * PIECE * PIECE>;

fn step(row: u32, column: u32, k: u32, sums: ptr<function, array<Sum, 16>>) {
    let left_0 = left_piece(row, k);
    let left_1 = left_piece(row + PIECE, k);
    let left_2 = left_piece(row + 2u * PIECE, k);
    let left_3 = left_piece(row + 3u * PIECE, k);
    let right_0 = right_piece(k, column);
    (*sums)[0] = coopMultiplyAdd(left_0, right_0, (*sums)[0]);
    (*sums)[4] = coopMultiplyAdd(left_1, right_0, (*sums)[4]);
    (*sums)[8] = coopMultiplyAdd(left_2, right_0, (*sums)[8]);
    (*sums)[12] = coopMultiplyAdd(left_3, right_0, (*sums)[12]);
    let right_1 = right_piece(k, column + PIECE);
    (*sums)[1] = coopMultiplyAdd(left_0, right_1, (*sums)[1]);
    (*sums)[5] = coopMultiplyAdd(left_1, right_1, (*sums)[5]);
    (*sums)[9] = coopMultiplyAdd(left_2, right_1, (*sums)[9]);
    (*sums)[13] = coopMultiplyAdd(left_3, right_1, (*sums)[13]);
    let right_2 = right_piece(k, column + 2u * PIECE);
    (*sums)[2] = coopMultiplyAdd(left_0, right_2, (*sums)[2]);
    (*sums)[6] = coopMultiplyAdd(left_1, right_2, (*sums)[6]);
    (*sums)[10] = coopMultiplyAdd(left_2, right_2, (*sums)[10]);
    (*sums)[14] = coopMultiplyAdd(left_3, right_2, (*sums)[14]);
    let right_3 = right_piece(k, column + 3u * PIECE);
    (*sums)[3] = coopMultiplyAdd(left_0, right_3, (*sums)[3]);
    (*sums)[7] = coopMultiplyAdd(left_1, right_3, (*sums)[7]);
    (*sums)[11] = coopMultiplyAdd(left_2, right_3, (*sums)[11]);
    (*sums)[15] = coopMultiplyAdd(left_3, right_3, (*sums)[15]);
}

fn vec4_at(place: u32) -> Vec4 {
    return Vec4(
        finished_pieces[place],
        finished_pieces[place + 1u],
        finished_pieces[place + 2u],
        finished_pieces[place + 3u],
    );
}
