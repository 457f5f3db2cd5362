// Common part of the kernels that average: the divisor of a window. Needs lib/image.wgsl.
//
// The divisor is `scale`, or if that is 0 the number of positions of the window that count: those from `counted_first` up to
// `counted_end` of the padded image. The host rejects windows without such a position.
//
// Indices: a window starts before `counted_end`, and its size and start may exceed 32 bits together, so sizes are compared, not ends.

// Of lib/quotient.wgsl.
alias Real = f32;
alias Bits = u32;

fn divisor_of(corner: vec2<u32>) -> f32 {
    if params.scale != 0u {
        return bitcast<f32>(params.scale);
    }
    let first = max(corner, params.counted_first);
    let end = corner + min(params.kernel, max(params.counted_end, corner) - corner);
    let counted = vec2<f32>(max(end, first) - first);
    return counted.x * counted.y;
}
