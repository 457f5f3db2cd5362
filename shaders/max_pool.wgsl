// max_pool: the largest element of each kernel window, and its position in the plane: the first one of several; NaN counts as the
// largest, and the last one of several NaN is taken, as in PyTorch.
//
// Parameters: lib/image.wgsl. Bindings: 0 largest, 1 positions, both contiguous, 2 image. Dispatch one invocation per window.
//
// Indices: lib/image.wgsl.
// Loops: rows * (columns + 2) + 1 of the tile; the host keeps tiles within the limit of loop iterations.

@group(0) @binding(0) var<storage, read_write> largest: array<Element>;
@group(0) @binding(1) var<storage, read_write> places: array<u32>;
@group(0) @binding(2) var<storage, read_write> image: array<Element>;

const NAN_KEY: u32 = 0xffffffffu;

// An integer with the same order as the numbers, equal for both zeros, and the largest of all for NaN.
fn key_of(bits: u32) -> u32 {
    let key = select(bits | 0x80000000u, ~bits, bits > 0x80000000u);
    return select(key, NAN_KEY, (bits & 0x7fffffffu) > 0x7f800000u);
}

@compute @workgroup_size(WORKGROUP)
fn max_pool(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let step = step_of(workgroup, workgroups, local);
    if step < params.count {
        let own = split(step, params.out);
        let corner = own.yz * params.stride;
        let elements = elements_inside(corner);
        var best = 0u;
        var best_place = 0u;
        var best_value = Element(0);
        if (params.pass_kind & CONTINUES) != 0u {
            best_place = places[step];
            best_value = largest[step];
            best = key_of(bitcast<u32>(f32(best_value)));
        }
        for (var row = elements.first.x; row < elements.end.x; row += 1u) {
            for (var column = elements.first.y; column < elements.end.y; column += 1u) {
                let at = position_of(corner, vec2(row, column));
                let value = image[params.input_offset + place(own.x, at, params.size)];
                let key = key_of(bitcast<u32>(f32(value)));
                if key > best || key == NAN_KEY {
                    best = key;
                    best_place = at.x * params.size.y + at.y;
                    best_value = value;
                }
            }
        }
        largest[step] = best_value;
        places[step] = best_place;
    }
}
