// How an image of another size takes its elements from one of `size`, along one axis: from two neighbours, with weights. Needs
// lib/image.wgsl.
//
// Place `at` of `out` takes from place floor(at * size / out), or in the bilinear form from both neighbours of
// source = max((2 at + 1) * size - out, 0) / (2 out). Both are worked out in integers of 64 bits, as pairs of words, so that they are
// exact for every size: floating point is off by whole places from some 2^23 places on.
//
// Indices: the host checks that sizes of axes are below 2^30. Quotients are then below 2^31, and what `share` computes is below
// 4 out < 2^32, so that wrapping products give it exactly.

const BILINEAR: bool = false;

// A number of 64 bits.
struct Wide {
    high: u32,
    low: u32,
}

struct Quotient {
    whole: u32,
    rest: u32,
}

// By halves, since not every backend has integers of 64 bits. No sum can wrap.
fn product(left: u32, right: u32) -> Wide {
    let left_low = left & 0xffffu;
    let left_high = left >> 16u;
    let right_low = right & 0xffffu;
    let right_high = right >> 16u;
    let middle = left_high * right_low + ((left_low * right_low) >> 16u);
    let other = left_low * right_high + (middle & 0xffffu);
    return Wide(left_high * right_high + (middle >> 16u) + (other >> 16u), left * right);
}

// A quotient below 2^32. At most 32 turns of a loop, and none for a number of 32 bits.
fn quotient(number: Wide, divisor: u32) -> Quotient {
    if number.high == 0u {
        let whole = number.low / divisor;
        return Quotient(whole, number.low - whole * divisor);
    }
    // Long division: the quotient's bits take the place of those of the lower word that were used.
    var rest = number.high;
    var found = number.low;
    for (var bit = 0u; bit < 32u; bit += 1u) {
        let carry = rest >> 31u;
        rest = (rest << 1u) | (found >> 31u);
        found <<= 1u;
        if carry == 1u || rest >= divisor {
            rest -= divisor;
            found |= 1u;
        }
    }
    return Quotient(found, rest);
}

// The lower neighbour, and the upper one's weight; the nearest form takes the one, the bilinear form both.
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
    let ahead = product(2u * at + 1u, size);
    if ahead.high == 0u && ahead.low <= out {
        return Taps(0u, min(1u, size - 1u), 0.0);
    }
    let source = quotient(Wide(ahead.high - u32(ahead.low < out), ahead.low - out), 2u * out);
    return Taps(source.whole, min(source.whole + 1u, size - 1u), f32(source.rest) / f32(2u * out));
}

// ceil(out * factor / size).
fn scaled(out: u32, factor: u32, size: u32) -> u32 {
    let found = quotient(product(out, factor), size);
    return found.whole + u32(found.rest > 0u);
}

// The places of the other image that take from one: from the first up to the end.
fn takers(own: u32, size: u32, out: u32) -> vec2<u32> {
    if !BILINEAR {
        return vec2(scaled(out, own, size), scaled(out, own + 1u, size));
    }
    // Those with a source from own - 1 up to own + 1; at the edges also those beyond.
    var range = vec2(0u, out);
    if own > 0u {
        range.x = scaled(out, 2u * own - 1u, size) / 2u;
    }
    if own + 1u < size {
        range.y = min(scaled(out, 2u * own + 3u, size) / 2u, out);
    }
    return range;
}

// What a place of the image gives to one of its takers.
fn share(own: u32, at: u32, size: u32, out: u32) -> f32 {
    if !BILINEAR {
        return 1.0;
    }
    // How far the source is from own - 1, in units of 1 / (2 out).
    let one = 2u * out;
    let distance = (2u * at + 1u) * size + out - own * one;
    if distance >= one {
        return select(1.0 - f32(distance - one) / f32(one), 1.0, own + 1u == size);
    }
    return select(f32(distance) / f32(one), 1.0, own == 0u);
}
