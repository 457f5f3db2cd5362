// The product of two slices in workgroup memory, of which each invocation computes 8 × 8 elements: two vec4s of rows and two of
// columns, half a tile apart.
//
// The kernel declares Vec4; `left_slice` and `right_slice`, K-major: [k][vec4 of rows] and [k][vec4 of columns], with SLICE (8 or
// 16) values of k; LEFT_HALF and RIGHT_HALF, the vec4s of half a tile of rows and of columns; and ACROSS, an eighth of RIGHT_HALF.
// sums[2 * row] and sums[2 * row + 1] are the two vec4s of columns of a row.
//
// The unrolled steps index workgroup memory by a constant, so that the bounds check of the other index is done once per slice.
//
// Indices: down < LEFT_HALF and along < RIGHT_HALF, if the workgroup has LEFT_HALF * RIGHT_HALF invocations. Loops: none.

struct Block {
    down: u32,
    along: u32,
}

// 32 consecutive invocations cover 4 rows of vec4s by 8 columns, the shape with the fewest loads from workgroup memory.
fn block_of(local: u32) -> Block {
    return Block(local / 32u / ACROSS * 4u + local % 32u / 8u, local / 32u % ACROSS * 8u + local % 8u);
}

fn step(k: u32, down: u32, along: u32, sums: ptr<function, array<Vec4, 16>>) {
    let left_0 = left_slice[k][down];
    let left_1 = left_slice[k][down + LEFT_HALF];
    let right_0 = right_slice[k][along];
    let right_1 = right_slice[k][along + RIGHT_HALF];
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

fn first_steps(down: u32, along: u32, sums: ptr<function, array<Vec4, 16>>) {
    step(0u, down, along, sums);
    step(1u, down, along, sums);
    step(2u, down, along, sums);
    step(3u, down, along, sums);
}

// `has_second`: whether a slice of 16 values of k has the last eight.
fn other_steps(down: u32, along: u32, has_second: bool, sums: ptr<function, array<Vec4, 16>>) {
    step(4u, down, along, sums);
    step(5u, down, along, sums);
    step(6u, down, along, sums);
    step(7u, down, along, sums);
    if SLICE == 16u && has_second {
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
