// max_pool: the largest element under each window, and its place in the plane: the first of several; what is not a number is the
// largest.
//
// Parameters: lib/image.wgsl. Bindings: 0 largest, 1 places, both contiguous, 2 image. Dispatch one invocation a window. At most
// kernel.x * kernel.y turns.

@group(0) @binding(0) var<storage, read_write> largest: array<Element>;
@group(0) @binding(1) var<storage, read_write> places: array<u32>;
@group(0) @binding(2) var<storage, read_write> image: array<Element>;

// An integer in the order of the numbers, the same for both zeros, and the greatest of all for NaN.
fn key_of(bits: u32) -> u32 {
    let key = select(bits | 0x80000000u, ~bits, bits > 0x80000000u);
    return select(key, 0xffffffffu, (bits & 0x7fffffffu) > 0x7f800000u);
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
        var best = 0u;
        var best_place = 0u;
        var best_value = Element(0);
        for (var row = 0u; row < params.kernel.x; row += 1u) {
            for (var column = 0u; column < params.kernel.y; column += 1u) {
                let at = corner + vec2(row, column);
                if is_inside(at) {
                    let inside = at - params.padding;
                    let value = image[params.input_offset + place(own.x, inside, params.size)];
                    let key = key_of(bitcast<u32>(f32(value)));
                    if key > best {
                        best = key;
                        best_place = inside.x * params.size.y + inside.y;
                        best_value = value;
                    }
                }
            }
        }
        largest[step] = best_value;
        places[step] = best_place;
    }
}
