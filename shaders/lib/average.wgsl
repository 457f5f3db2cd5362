// Common part of the kernels that average: the divisor of a window. Needs lib/image.wgsl.
//
// The divisor is `scale`, or if that is 0 the number of positions of the window that count: those from `counted_first` up to
// `counted_end` of the padded image. The host rejects windows without such a position.

// Of lib/quotient.wgsl.
alias Real = f32;
alias Bits = u32;

fn divisor_of(corner: vec2<u32>) -> f32 {
    if params.scale != 0u {
        return bitcast<f32>(params.scale);
    }
    let first = max(corner, params.counted_first);
    let counted = vec2<f32>(min(corner + params.kernel, params.counted_end) - first);
    return counted.x * counted.y;
}
