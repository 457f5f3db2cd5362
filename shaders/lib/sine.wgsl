// The sine and the cosine, within 4 ULP for every finite number. WGSL permits an error of 2^-11 up to pi, and any error above.
// Needs lib/upper_product.wgsl.
//
// |x| times 2 / pi, modulo 4, gives the quadrant and the remainder. The product is computed in integers, with 62 bits of the remainder, which is accurate for large x and near multiples of pi (Payne and Hanek 1983).

struct Angle {
    // In radians, at most pi / 4 in magnitude.
    rest: Real,
    quadrant: Bits,
}

fn angle_of(magnitude: Bits) -> Angle {
    let mantissa = (magnitude & Bits(0x007fffffu)) | Bits(0x00800000u);
    // The first word of 2 / pi whose product is not a multiple of 4: word 0 for magnitudes up to 2^26.
    let start = max(magnitude >> Bits(23u), Bits(126u)) - Bits(120u);
    let shift = start & Bits(31u);
    var word_0 = Bits(0u);
    var word_1 = Bits(0xa2f9836eu);
    var word_2 = Bits(0x4e441529u);
    var word_3 = Bits(0xfc2757d1u);
    if any(start >= Bits(32u)) {
        let second = start >= Bits(32u);
        let third = start >= Bits(64u);
        let fourth = start >= Bits(96u);
        let fifth = start >= Bits(128u);
        word_0 = select(word_0, Bits(0xa2f9836eu), second);
        word_1 = select(word_1, Bits(0x4e441529u), second);
        word_2 = select(word_2, Bits(0xfc2757d1u), second);
        word_3 = select(word_3, Bits(0xf534ddc0u), second);
        word_0 = select(word_0, Bits(0x4e441529u), third);
        word_1 = select(word_1, Bits(0xfc2757d1u), third);
        word_2 = select(word_2, Bits(0xf534ddc0u), third);
        word_3 = select(word_3, Bits(0xdb629599u), third);
        word_0 = select(word_0, Bits(0xfc2757d1u), fourth);
        word_1 = select(word_1, Bits(0xf534ddc0u), fourth);
        word_2 = select(word_2, Bits(0xdb629599u), fourth);
        word_3 = select(word_3, Bits(0x3c439041u), fourth);
        word_0 = select(word_0, Bits(0xf534ddc0u), fifth);
        word_1 = select(word_1, Bits(0xdb629599u), fifth);
        word_2 = select(word_2, Bits(0x3c439041u), fifth);
        word_3 = select(word_3, Bits(0xfe5163abu), fifth);
    }
    let back = Bits(31u) - shift;
    let first = (word_0 << shift) | ((word_1 >> Bits(1u)) >> back);
    let middle = (word_1 << shift) | ((word_2 >> Bits(1u)) >> back);
    let last = (word_2 << shift) | ((word_3 >> Bits(1u)) >> back);
    // The upper two of the three words of the product; two bits are before the binary point.
    let carried = upper_product(mantissa, last);
    var low = mantissa * middle + carried;
    var high = mantissa * first + upper_product(mantissa, middle) + select(Bits(0u), Bits(1u), low < carried);
    let quadrant = (high + Bits(0x20000000u)) >> Bits(30u);
    high -= quadrant << Bits(30u);
    let is_below = high >= Bits(0x80000000u);
    high = select(high, ~high + select(Bits(0u), Bits(1u), low == Bits(0u)), is_below);
    low = select(low, Bits(0u) - low, is_below);
    // The first 32 bits of the remainder.
    let is_low = high == Bits(0u);
    let upper = select(high, low, is_low);
    let zeros = countLeadingZeros(upper | Bits(1u));
    let joined = (upper << zeros) | ((select(low, Bits(0u), is_low) >> Bits(1u)) >> (Bits(31u) - zeros));
    let scale = (select(Bits(97u), Bits(65u), is_low) - zeros) << Bits(23u);
    let radians = Real(joined) * bitcast<Real>(scale) * 1.5707963;
    let is_near = magnitude < Bits(0x3f490fdbu);
    return Angle(
        select(select(radians, -radians, is_below), bitcast<Real>(magnitude), is_near),
        select(quadrant, Bits(0u), is_near),
    );
}

// Returns the sine of an angle, by the polynomials of Cephes' sinf and cosf, with a sign.
fn sine_of(angle: Angle, sign: Bits, magnitude: Bits) -> Real {
    let x = angle.rest;
    let z = x * x;
    let sine = x + x * (z * (-1.6666654611e-1 + z * (8.3321608736e-3 - z * 1.9515295891e-4)));
    let cosine = 1.0 - (0.5 * z - z * z * (4.166664568e-2 + z * (-1.388731625e-3 + z * 2.443315712e-5)));
    let found = bitcast<Bits>(select(sine, cosine, (angle.quadrant & Bits(1u)) == Bits(1u)));
    let signed_value = found ^ sign ^ ((angle.quadrant & Bits(2u)) << Bits(30u));
    // Infinity and NaN give NaN.
    return bitcast<Real>(select(signed_value, magnitude | Bits(0x7fc00000u), magnitude >= Bits(0x7f800000u)));
}

fn sine(x: Real) -> Real {
    let magnitude = bitcast<Bits>(x) & Bits(0x7fffffffu);
    return sine_of(angle_of(magnitude), bitcast<Bits>(x) & Bits(0x80000000u), magnitude);
}

fn cosine(x: Real) -> Real {
    let magnitude = bitcast<Bits>(x) & Bits(0x7fffffffu);
    var angle = angle_of(magnitude);
    angle.quadrant += Bits(1u);
    return sine_of(angle, Bits(0u), magnitude);
}
