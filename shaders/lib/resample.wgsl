// Resampling of an image along one axis of length `size`: each output position takes two adjacent elements with weights. Needs
// lib/image.wgsl.
//
// Position `at` of `out` takes the element floor(at * size / out), or in the bilinear case both neighbours of source = max((2 at
// + 1) * size - out, 0) / (2 out). Both are computed in 64-bit integers, as pairs of words, which is exact for every size: in
// floating point the position is wrong by whole elements above about 2^23 elements.
//
// With ALIGNED corners, the centers of the first and of the last elements of both images coincide: source = at * (size
// - 1) / (out - 1), and 0 if `out` is 1.
//
// The operands may be bands of rows of larger images: `counted_first` is the first row of the smaller image's band and of the other
// one's, and `counted_end` has the heights of both images, from which positions are computed.
//
// Indices: the host checks that axis sizes are below 2^30. Quotients are then below 2^31, and the values in `contribution` are
// below 4 out < 2^32, so that wrapping products are exact.

const BILINEAR: bool = false;
// Only for bilinear resampling.
const ALIGNED: bool = false;

fn first_rows() -> vec2<u32> {
    return params.counted_first;
}

fn heights() -> vec2<u32> {
    return params.counted_end;
}

// A 64-bit integer.
struct U64 {
    high: u32,
    low: u32,
}

struct Quotient {
    whole: u32,
    remainder: u32,
}

// Computed from 16-bit halves, because not every backend has 64-bit integers. No sum can wrap.
fn product(left: u32, right: u32) -> U64 {
    let left_low = left & 0xffffu;
    let left_high = left >> 16u;
    let right_low = right & 0xffffu;
    let right_high = right >> 16u;
    let middle = left_high * right_low + ((left_low * right_low) >> 16u);
    let other = left_low * right_high + (middle & 0xffffu);
    return U64(left_high * right_high + (middle >> 16u) + (other >> 16u), left * right);
}

// Returns a quotient below 2^32. At most 32 loop iterations, and none for a 32-bit number.
fn quotient(number: U64, divisor: u32) -> Quotient {
    if number.high == 0u {
        let whole = number.low / divisor;
        return Quotient(whole, number.low - whole * divisor);
    }
    // Long division: the quotient's bits replace the bits of the lower word that have been used.
    var remainder = number.high;
    var found = number.low;
    for (var bit = 0u; bit < 32u; bit += 1u) {
        let carry = remainder >> 31u;
        remainder = (remainder << 1u) | (found >> 31u);
        found <<= 1u;
        if carry == 1u || remainder >= divisor {
            remainder -= divisor;
            found |= 1u;
        }
    }
    return Quotient(found, remainder);
}

// The lower and the upper neighbour, and the weight of the upper one. Nearest-neighbour resampling uses the lower one only.
struct Taps {
    low: u32,
    high: u32,
    weight: f32,
}

fn taps(at: u32, size: u32, out: u32) -> Taps {
    if !BILINEAR {
        let low = quotient(product(at, size), out).whole;
        return Taps(low, low, 0.0);
    }
    if ALIGNED {
        let last = max(out, 2u) - 1u;
        let source = quotient(product(at, size - 1u), last);
        return Taps(source.whole, min(source.whole + 1u, size - 1u), f32(source.remainder) / f32(last));
    }
    let ahead = product(2u * at + 1u, size);
    if ahead.high == 0u && ahead.low <= out {
        return Taps(0u, min(1u, size - 1u), 0.0);
    }
    let source = quotient(U64(ahead.high - u32(ahead.low < out), ahead.low - out), 2u * out);
    return Taps(source.whole, min(source.whole + 1u, size - 1u), f32(source.remainder) / f32(2u * out));
}

// Returns ceil(out * factor / size).
fn scaled(out: u32, factor: u32, size: u32) -> u32 {
    let found = quotient(product(out, factor), size);
    return found.whole + u32(found.remainder > 0u);
}

// Returns the range of output positions that take an element.
fn output_range(own: u32, size: u32, out: u32) -> vec2<u32> {
    if !BILINEAR {
        return vec2(scaled(out, own, size), scaled(out, own + 1u, size));
    }
    // The positions whose source is between own - 1 and own + 1, and at the edges also those outside the image.
    var range = vec2(0u, out);
    if ALIGNED {
        if out == 1u {
            return vec2(0u, select(0u, 1u, own == 0u));
        }
        if own > 0u {
            range.x = scaled(out - 1u, own - 1u, size - 1u);
        }
        if own + 1u < size {
            range.y = min(scaled(out - 1u, own + 1u, size - 1u), out);
        }
        return range;
    }
    if own > 0u {
        range.x = scaled(out, 2u * own - 1u, size) / 2u;
    }
    if own + 1u < size {
        range.y = min(scaled(out, 2u * own + 3u, size) / 2u, out);
    }
    return range;
}

// Returns the weight of an element in an output position.
fn contribution(own: u32, at: u32, size: u32, out: u32) -> f32 {
    if !BILINEAR {
        return 1.0;
    }
    if ALIGNED {
        if out == 1u {
            return 1.0;
        }
        // The distance of the source from own - 1, in units of 1 / (out - 1); at most twice that.
        let step = out - 1u;
        let from_previous = at * (size - 1u) + step - own * step;
        return select(f32(from_previous), f32(2u * step - from_previous), from_previous > step) / f32(step);
    }
    // The distance of the source from own - 1, in units of 1 / (2 out).
    let one = 2u * out;
    let distance = (2u * at + 1u) * size + out - own * one;
    if distance >= one {
        return select(1.0 - f32(distance - one) / f32(one), 1.0, own + 1u == size);
    }
    return select(f32(distance) / f32(one), 1.0, own == 0u);
}
