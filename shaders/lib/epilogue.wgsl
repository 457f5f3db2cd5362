// The epilogue of a matrix product, applied to the accumulator before it is stored: adds the bias of the columns and applies an
// activation. Without a bias the host removes the binding and the addition. Needs lib/activation.wgsl. `bias_offset` is in elements.
// Biases past the last column are added to accumulators that are not stored.

@group(0) @binding(3) var<storage, read_write> biases: array<Element>;

fn finished(sum: Value, column: u32) -> Value {
    let at = params.bias_offset + column;
    return apply(sum + Value(vec4(biases[at], biases[at + 1u], biases[at + 2u], biases[at + 3u])));
}
