// The epilogue of a matrix product, applied to the accumulator before it is stored: adds the bias of the columns and applies an
// activation. The host replaces the body of `apply` by an expression; without a bias it removes the binding and the addition.
// `bias_offset` is in elements. Biases past the last column are added to accumulators that are not stored.

alias Value = vec4<Number>;
alias Bits = vec4<u32>;
alias Signed = vec4<i32>;
alias Real = vec4<f32>;
alias Truth = vec4<bool>;

@group(0) @binding(3) var<storage, read_write> biases: array<Element>;

fn apply(x: Value) -> Value {
    return x;
}

fn finished(sum: Value, column: u32) -> Value {
    let at = params.bias_offset + column;
    return apply(sum + Value(vec4(biases[at], biases[at + 1u], biases[at + 2u], biases[at + 3u])));
}
