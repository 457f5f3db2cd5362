// Seeded random numbers: the same bits on every backend, and in src/ops/philox.rs.
//
// Formula    words   = philox4x32_10(counter, key), one call for each group of four elements, with
//                      counter = (group low, group high, stream.x, stream.y), key = (seed.x, seed.y);
//                      element i takes lane i % 4 of group i / 4. A dispatch may begin at any element.
//            uniform = (word >> 8) * 2^-24, so in [0, 1), exactly.
//            normal  = sqrt(-2 ln u) * cos(2 pi v) in lanes 0 and 2, the same with sin in lanes 1 and 3, where
//                      u = (word + 1/2) * 2^-32 of word 0, or of word 2 for lanes 2 and 3, and
//                      v = (word + 1/2) * 2^-32 of the word after it.
//                      Never 0, never infinite; at most sqrt(66 ln 2), below 6.77, in size.
// Arithmetic Integers only, from the counter to the bit pattern of the result: in floating point drivers have a choice
//            (accuracy of built-ins, fused multiply-add, subnormals), in u32 they have none. A normal is within
//            0.56 units in the last place of the formula's exact value.
// Source     Salmon, Moraes, Dror and Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011 (Philox);
//            Box and Muller: "A note on the generation of random normal deviates", 1958;
//            Zimmermann: "Karatsuba square root", 1999 (the lower half of the root).
// Shapes     output: any shape, seen flat: the elements params.offset .. params.offset + params.count. They are the elements
//            4 * params.first + params.lead and following ones of the sequence.
// Bindings   group 0: 0 output, f32 as bit patterns. group 1: 0 params.
// Dispatch   at least ceil(ceil((lead + count) / 4) / WORKGROUP) workgroups, in x or in x times y; four elements an invocation.
// Indices:   offset + count lies within the binding, lead + count < 2^32; fewer than 2^32 invocations in a dispatch, see
//            src/ops/launch.rs.
// Loops:     11 for uniforms, and 45 for normals.

struct Params {
    // (low word, high word) of the 64-bit seed.
    seed: vec2<u32>,
    // (low word, high word) of the 64-bit stream: another stream gives other numbers under the same seed.
    stream: vec2<u32>,
    // Elements to write.
    count: u32,
    // Elements from the start of the binding to the first one written. It does not change the numbers.
    offset: u32,
    // (low word, high word) of the first group, and the elements of this group before the first one written.
    first: vec2<u32>,
    lead: u32,
    padding: u32,
}

@group(0) @binding(0) var<storage, read_write> output: array<u32>;
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP: u32 = 256u;

// The upper word of left * right, by halves, since not every backend has 64-bit integers. No sum below can wrap.
fn multiply_high(left: u32, right: u32) -> u32 {
    let left_low = left & 0xffffu;
    let left_high = left >> 16u;
    let right_low = right & 0xffffu;
    let right_high = right >> 16u;
    let middle = left_high * right_low + ((left_low * right_low) >> 16u);
    let other = left_low * right_high + (middle & 0xffffu);
    return left_high * right_high + (middle >> 16u) + (other >> 16u);
}

fn philox4x32_10(first_counter: vec4<u32>, first_key: vec2<u32>) -> vec4<u32> {
    var counter = first_counter;
    var key = first_key;
    for (var round = 0u; round < 10u; round += 1u) {
        counter = vec4<u32>(
            multiply_high(0xcd9e8d57u, counter.z) ^ counter.y ^ key.x,
            0xcd9e8d57u * counter.z,
            multiply_high(0xd2511f53u, counter.x) ^ counter.w ^ key.y,
            0xd2511f53u * counter.x,
        );
        key += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return counter;
}

// floor(sqrt(square * 2^32)) for square >= 2^30, so the root has its top bit set.
fn square_root(square: u32) -> u32 {
    // The upper half of the root digit by digit: high = floor(sqrt(square)), rest = square - high * high <= 2 * high.
    var rest = square;
    var high = 0u;
    for (var bit = 0x40000000u; bit != 0u; bit >>= 2u) {
        let trial = high + bit;
        let fits = rest >= trial;
        rest -= select(0u, trial, fits);
        high = (high >> 1u) + select(0u, bit, fits);
    }
    // The lower half is one division, at most one too large: that shows in the sign of what is then left,
    // left * 2^17 - low * low.
    let low = min((rest << 15u) / high, 0xffffu);
    let left = (rest << 15u) - low * high;
    let too_large = left < 0x8000u && (left << 17u) < low * low;
    return ((high << 16u) | low) - u32(too_large);
}

// sqrt(-2 ln u) for u = (word + 1/2) * 2^-32, as mantissa * 2^(exponent - 32); the mantissa has its top bit set.
struct Radius {
    mantissa: u32,
    exponent: i32,
}

fn radius_of(word: u32) -> Radius {
    // u = (1 - t) * 2^-halvings with 0 <= t < 1/2, so -ln u = halvings * ln 2 - ln(1 - t). t is in units of 2^-33.
    let halvings = countLeadingZeros(word) + u32(word == 0u);
    let t = select(0u - (((word << 1u) | 1u) << (halvings & 31u)), 0u, word == 0u);
    // -ln(1 - t) / t in units of 2^-31, a polynomial of degree 10 in x = 1 - 2 t, in units of 2^-32. Minimax in
    // relative error by Remez exchange in 50 digits: 2^-30.7. Then rounded, and the last one below raised by 2 to
    // centre what the truncated products lose: over all 2^32 words the radius is then within 2^-29.3 of its size.
    let x = ~t;
    var series = 4636722u;
    series = 30637212u - multiply_high(x, series);
    series = 94907148u - multiply_high(x, series);
    series = 189156011u - multiply_high(x, series);
    series = 286401840u - multiply_high(x, series);
    series = 374715303u - multiply_high(x, series);
    series = 469190123u - multiply_high(x, series);
    series = 601809215u - multiply_high(x, series);
    series = 829543497u - multiply_high(x, series);
    series = 1317922410u - multiply_high(x, series);
    series = 2977044472u - multiply_high(x, series);
    // Near u = 1 nothing but -ln(1 - t) is left: t is scaled up first, so that a small radius keeps all its bits.
    let scale = select(0u, countLeadingZeros(t), halvings == 0u);
    let fraction = multiply_high(t << (scale & 31u), series);
    // -ln u = whole:sum in units of 2^-(32 + scale), with ln 2 = 2977044472 * 2^-32.
    let low_product = halvings * (2977044472u & 0xffffu);
    let high_product = halvings * (2977044472u >> 16u) + (low_product >> 16u);
    let product = (high_product << 16u) | (low_product & 0xffffu);
    let sum = product + fraction;
    let whole = (high_product >> 16u) + u32(sum < product);
    // The top 32 bits, and the exponent of -2 ln u, then made even so that the root halves it.
    let above = 32u - countLeadingZeros(whole);
    let leading = countLeadingZeros(sum);
    let top = select(
        sum << (leading & 31u),
        (whole << ((32u - above) & 31u)) | (sum >> (above & 31u)),
        whole != 0u,
    );
    let exponent = 1 - i32(scale) + select(-i32(leading), i32(above), whole != 0u);
    let odd = exponent & 1;
    return Radius(square_root(top >> u32(odd)), (exponent + odd) >> 1u);
}

// The bits of the f32 nearest to radius * sin(pi / 2 * angle), angle in units of 2^-32 and not 0, before its sign.
fn leg(radius: Radius, angle: u32) -> u32 {
    // sin(pi / 2 * angle) / angle in units of 2^-31, a polynomial of degree 5 in x = angle^2. Minimax in relative
    // error by Remez exchange in 50 digits: 2^-35.4. Then rounded: within 2^-29.4 over all 2^30 angles.
    let x = multiply_high(angle, angle);
    var series = 344128u - multiply_high(x, 7363u);
    series = 10053769u - multiply_high(x, series);
    series = 171138558u - multiply_high(x, series);
    series = 1387197332u - multiply_high(x, series);
    series = 3373259426u - multiply_high(x, series);
    let scale = countLeadingZeros(angle);
    let sine = multiply_high(angle << (scale & 31u), series);
    // The top 32 bits of the product, which has its top bit in one of the first three places.
    let product = multiply_high(radius.mantissa, sine);
    let leading = countLeadingZeros(product) & 31u;
    let mantissa = (product << leading) | (((radius.mantissa * sine) >> 1u) >> (31u - leading));
    // Rounded to 24 bits. Adding, not joining, lets the mantissa's top bit, and a carry out of it, go to the exponent.
    let rounded = ((mantissa >> 7u) + 1u) >> 1u;
    let exponent = u32(126 + radius.exponent - i32(scale) - i32(leading));
    return (exponent << 23u) + rounded;
}

// Two normals as bits: one point of the plane, at the radius of the first word and the angle of the second.
fn box_muller(words: vec2<u32>) -> vec2<u32> {
    let radius = radius_of(words.x);
    // The angle's top two bits are its quadrant, the other 30 and the half are the way through it.
    let quadrant = words.y >> 30u;
    let angle = (words.y << 2u) | 2u;
    let rising = leg(radius, angle);
    let falling = leg(radius, 0u - angle);
    let magnitudes = select(
        vec2<u32>(falling, rising),
        vec2<u32>(rising, falling),
        (quadrant & 1u) == 1u,
    );
    let negative = vec2<u32>(((quadrant + 1u) >> 1u) & 1u, quadrant >> 1u);
    return magnitudes | (negative << vec2<u32>(31u));
}

// (word >> 8) * 2^-24 as bits: shifted until the top bit is bit 23, where adding lets it go to the exponent.
// 0 has no top bit.
fn uniforms_of(words: vec4<u32>) -> vec4<u32> {
    let integers = words >> vec4<u32>(8u);
    let leading = countLeadingZeros(integers) - vec4<u32>(8u);
    let mantissas = integers << (leading & vec4<u32>(31u));
    let bits = ((vec4<u32>(125u) - leading) << vec4<u32>(23u)) + mantissas;
    return select(bits, vec4<u32>(0u), integers == vec4<u32>(0u));
}

fn words_of(group: u32) -> vec4<u32> {
    let low = params.first.x + group;
    let high = params.first.y + u32(low < group);
    return philox4x32_10(vec4<u32>(low, high, params.stream), params.seed);
}

fn is_inside(group: u32) -> bool {
    let elements = params.lead + params.count;
    return group < elements / 4u + u32(elements % 4u != 0u);
}

// Writes an element, unless it is before the first one or after the last one: `at` has then wrapped, or is too large.
fn store_one(at: u32, bits: u32) {
    if at < params.count {
        output[params.offset + at] = bits;
    }
}

fn store(group: u32, bits: vec4<u32>) {
    let at = group * 4u - params.lead;
    store_one(at, bits.x);
    store_one(at + 1u, bits.y);
    store_one(at + 2u, bits.z);
    store_one(at + 3u, bits.w);
}

@compute @workgroup_size(WORKGROUP)
fn uniform_numbers(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let group = (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
    if !is_inside(group) {
        return;
    }
    store(group, uniforms_of(words_of(group)));
}

@compute @workgroup_size(WORKGROUP)
fn normal_numbers(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let group = (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
    if !is_inside(group) {
        return;
    }
    let words = words_of(group);
    store(group, vec4<u32>(box_muller(words.xy), box_muller(words.zw)));
}
