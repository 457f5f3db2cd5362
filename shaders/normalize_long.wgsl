// normalize_long: as normalize, for rows of any length.
//
// Shapes, bindings: lib/row.wgsl, with weight and bias; offsets are in elements. The row is read three times, mostly from the
// cache after the first time. Dispatch one workgroup per row.
//
// Indices: rows * columns is the number of elements, which the host checks to be below 2^32 - 2^24; columns + 256 is below 2^32.
// Loops: 3 * ((columns / 256, rounded up) + 1) + 32; for longer rows the host uses reductions in several passes.

@group(0) @binding(0) var<storage, read_write> output: array<Element>;
@group(0) @binding(1) var<storage, read_write> input: array<Element>;
@group(0) @binding(2) var<storage, read_write> weight: array<Element>;
@group(0) @binding(3) var<storage, read_write> bias: array<Element>;

const CENTERED: bool = true;

@compute @workgroup_size(WORKGROUP)
fn normalize_long(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = workgroup.y * workgroups.x + workgroup.x;
    if row >= params.rows {
        return;
    }
    let start = params.input_offset + row * params.columns;
    let count = f32(params.columns);
    var mean = 0.0;
    if CENTERED {
        let pivot = f32(input[start]);
        var sum = 0.0;
        for (var column = local; column < params.columns; column += WORKGROUP) {
            sum += f32(input[start + column]) - pivot;
        }
        mean = pivot + sum_of_all(sum, local) / count;
    }
    var rest = 0.0;
    var squares = 0.0;
    for (var column = local; column < params.columns; column += WORKGROUP) {
        let x = f32(input[start + column]) - mean;
        rest += x;
        squares += x * x;
    }
    var shift = 0.0;
    var variance = 0.0;
    if CENTERED {
        let sums = sums_of_all(rest, squares, local);
        shift = sums.x / count;
        variance = (sums.y - sums.x * shift) / count;
    } else {
        variance = sum_of_all(squares, local) / count;
    }
    let factor = 1.0 / sqrt(variance + params.epsilon);
    for (var column = local; column < params.columns; column += WORKGROUP) {
        let x = ((f32(input[start + column]) - mean) - shift) * factor;
        let scaled = x * f32(weight[params.weight_offset + column]);
        output[row * params.columns + column] = Element(scaled + f32(bias[params.bias_offset + column]));
    }
}
