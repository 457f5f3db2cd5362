// How an image of another size takes its elements from one of `size`, along one axis: from two neighbours, with weights. Needs
// lib/image.wgsl.

// The lower neighbour, and the upper one's weight; NEAREST takes the one, BILINEAR both.
struct Taps {
    low: u32,
    high: u32,
    weight: f32,
}

const BILINEAR: bool = false;

fn taps(at: u32, size: u32, out: u32) -> Taps {
    if BILINEAR {
        let source = max((f32(at) + 0.5) * (f32(size) / f32(out)) - 0.5, 0.0);
        let low = min(u32(source), size - 1u);
        return Taps(low, min(low + 1u, size - 1u), source - f32(low));
    }
    let low = min(at * size / out, size - 1u);
    return Taps(low, low, 0.0);
}

// What a place of the image gives to a place of the other one.
fn share(own: u32, taken: Taps) -> f32 {
    return select(0.0, 1.0 - taken.weight, own == taken.low) + select(0.0, taken.weight, own == taken.high);
}

// The places of the other image that may take from one: from the first up to the end.
fn takers(own: u32, size: u32, out: u32) -> vec2<u32> {
    let reach = f32(out) / f32(size);
    let first = u32(max((f32(own) - 1.0) * reach - 1.0, 0.0));
    return vec2(first, min(u32((f32(own) + 2.0) * reach) + 2u, out));
}
