// fold: for each element of the image, the sum of the column elements that unfold takes from it.
//
// Parameters: lib/image.wgsl. Bindings: 0 image, contiguous, 1 columns, contiguous from `input_offset` on. Dispatch one
// invocation per element of the image.
//
// Indices: lib/image.wgsl.
// Loops: rows * (columns + 2) + 1 of the tile; the host keeps tiles within the limit of loop iterations.

@group(0) @binding(0) var<storage, read_write> image: array<Output>;
@group(0) @binding(1) var<storage, read_write> columns: array<Element>;

@compute @workgroup_size(WORKGROUP)
fn fold(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let step = step_of(workgroup, workgroups, local);
    if step < params.count {
        let own = split(step, params.size);
        let at = own.yz + params.padding;
        let over = windows_over(own.yz);
        var sum = Number(0);
        if (params.pass_kind & CONTINUES) != 0u {
            sum = Number(image[step]);
        }
        for (var row = over.first.x; row < over.end.x; row += 1u) {
            for (var column = over.first.y; column < over.end.y; column += 1u) {
                let found = element_at(at, vec2(row, column));
                if found.exists {
                    let line = place(own.x, found.element, params.kernel);
                    sum += Number(columns[params.input_offset + place(line, vec2(row, column), params.out)]);
                }
            }
        }
        image[step] = Output(sum);
    }
}
