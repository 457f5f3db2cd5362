// x to the power y, within 3 ULP wherever the result is a normal number. Special values are those of IEEE 754's pow. Needs
// lib/number.wgsl and lib/upper_product.wgsl.
//
// The result is 2^(y log2 |x|). Its relative error is the absolute error of the exponent, which is at most 150, so the logarithm
// and the product need 31 bits. They are computed in integers for two reasons: f32 has 24 bits, and a driver may contract,
// reorder and simplify floating-point arithmetic, which removes the error terms of double-single arithmetic.

// A positive number `mantissa` * 2^`exponent`, with the leading bit of the mantissa set.
struct Scaled {
    mantissa: Bits,
    exponent: Signed,
}

// |log2| of a positive finite number with this bit pattern. The mantissa is 0 for the number 1.
struct Logarithm {
    found: Scaled,
    is_negative: Truth,
}

fn logarithm_of_two(magnitude: Bits) -> Logarithm {
    let is_small = magnitude < Bits(0x00800000u);
    let shift = countLeadingZeros(magnitude | Bits(1u)) - Bits(8u);
    let whole = select(magnitude, magnitude << (shift & Bits(31u)), is_small);
    let mantissa = (whole & Bits(0x007fffffu)) | Bits(0x00800000u);
    var exponent = select(Signed(magnitude >> Bits(23u)), Signed(1) - Signed(shift), is_small) - Signed(127);
    // m, from 1 to 2, is scaled to near 1 by r / 16: 1, 13/16, 11/16, or (with the exponent of m / 2) 18/16 and 1. `high` and
    // `low` are log2(16 / r) times 2^34, in two words.
    var r = Bits(16u);
    var high = Signed(0);
    var low = Bits(0u);
    let second = mantissa >= Bits(9437184u);
    r = select(r, Bits(13u), second);
    high = select(high, Signed(1), second);
    low = select(low, Bits(851439159u), second);
    let third = mantissa >= Bits(11184811u);
    r = select(r, Bits(11u), third);
    high = select(high, Signed(2), third);
    low = select(low, Bits(696959485u), third);
    let fourth = mantissa >= Bits(13421773u);
    r = select(r, Bits(9u), fourth);
    high = select(high, Signed(-1), fourth);
    low = select(low, Bits(1375678000u), fourth);
    let fifth = mantissa >= Bits(15099494u);
    r = select(r, Bits(8u), fifth);
    high = select(high, Signed(0), fifth);
    low = select(low, Bits(0u), fifth);
    exponent += select(Signed(0), Signed(1), fourth);
    // z = m r / 16 - 1, exact, in units of 2^-27; at most 1/8.
    let z = Signed(mantissa * r) - Signed(134217728);
    let is_below = z < Signed(0);
    let size = Bits(abs(z));
    // log2(1 + z) = z (c0 - c1 z + z² q(z)), the factor in units of 2^-31.
    let real = Real(z) * 7.450580596923828e-9;
    let series = (real * real)
        * (0.48089835 + real * (-0.36067345 + real * (0.28852767 + real * (-0.24057749 + real * (0.20874728 - real * 0.17130535)))));
    let linear = upper_product(size << Bits(5u), Bits(3098164009u)) >> Bits(1u);
    let factor = Bits(3098164009u) + select(Bits(0u) - linear, linear, is_below) + Bits(series * 2147483648.0);
    let leading = countLeadingZeros(size | Bits(1u));
    let product = upper_product(size << leading, factor);
    // This is the whole logarithm if there is no other part: `product` * 2^(-26 - leading).
    let alone = (exponent == Signed(0)) & (high == Signed(0)) & (low == Bits(0u));
    // Otherwise the two parts are added in units of 2^-34.
    let part = product >> (leading - Bits(8u));
    high += exponent * Signed(4);
    let sum = select(low + part, low - part, is_below);
    high += select(select(Signed(0), Signed(1), sum < low), select(Signed(0), Signed(-1), sum > low), is_below);
    let is_negative = high < Signed(0);
    low = select(sum, Bits(0u) - sum, is_negative);
    var top = Bits(select(high, -high - select(Signed(0), Signed(1), sum != Bits(0u)), is_negative));
    let is_low = top == Bits(0u);
    let upper = select(top, low, is_low);
    let lower = select(low, Bits(0u), is_low);
    let zeros = countLeadingZeros(upper | Bits(1u));
    let joined = (upper << zeros) | ((lower >> Bits(1u)) >> (Bits(31u) - zeros));
    let scale = select(Signed(-2), Signed(-34), is_low) - Signed(zeros);
    // The product alone may have its leading bit one position lower.
    let lacking = select(Bits(1u), Bits(0u), product >= Bits(0x80000000u));
    return Logarithm(
        Scaled(
            select(joined, product << lacking, alone),
            select(scale, Signed(-26) - Signed(leading) - Signed(lacking), alone),
        ),
        select(is_negative, is_below, alone),
    );
}

fn power(x: Real, y: Real) -> Real {
    let bits = bitcast<Bits>(x);
    let magnitude = bits & Bits(0x7fffffffu);
    let y_bits = bitcast<Bits>(y);
    let y_magnitude = y_bits & Bits(0x7fffffffu);
    let y_exponent = Signed(y_magnitude >> Bits(23u));
    let y_mantissa = (y_magnitude & Bits(0x007fffffu)) | Bits(0x00800000u);
    let y_is_negative = y_bits >= Bits(0x80000000u);
    let logarithm = logarithm_of_two(magnitude);
    let is_negative = logarithm.is_negative != y_is_negative;
    // |y log2 |x|| = product * 2^-reach, in units of 2^-24; the leading bit of `product` is its first or second bit.
    let product = upper_product(y_mantissa << Bits(8u), logarithm.found.mantissa);
    let reach = Signed(102) - y_exponent - logarithm.found.exponent;
    let right = Bits(clamp(reach, Signed(1), Signed(31)));
    let rounded = (product >> right) + ((product >> (right - Bits(1u))) & Bits(1u));
    let doubled = select(product << Bits(1u), Bits(0xff000000u), product >= Bits(0x7f800000u));
    var size = select(rounded, product, reach == Signed(0));
    size = select(size, doubled, reach == Signed(-1));
    size = select(size, Bits(0xff000000u), reach < Signed(-1));
    size = select(size, Bits(0u), (reach > Signed(31)) | (product == Bits(0u)));
    // 2^n times 2^f, with f from -1/2 to 1/2.
    let nearest = (min(size, Bits(0xff000000u)) + Bits(0x00800000u)) >> Bits(24u);
    let rest = Signed(size - (nearest << Bits(24u)));
    let n = select(Signed(nearest), -Signed(nearest), is_negative);
    let f = Real(select(rest, -rest, is_negative)) * 5.960464477539063e-8;
    let series = 1.0
        + f * (0.69314719 + f * (0.24022651 + f * (0.05550357 + f * (0.0096180826 + f * (0.0013390863 + f * 0.00015453163)))));
    let series_bits = bitcast<Signed>(series);
    let exponent = (series_bits >> Bits(23u)) + n;
    // Scaled in two steps if the result is subnormal; the driver may flush it to 0.
    let low = bitcast<Real>(series_bits + ((max(n, Signed(-180)) + Signed(64)) << Bits(23u))) * 5.421010862427522e-20;
    let infinity = bitcast<Real>((bits & Bits(0u)) | Bits(0x7f800000u));
    var found = bitcast<Real>(series_bits + (n << Bits(23u)));
    found = select(found, low, exponent <= Signed(0));
    found = select(found, infinity, exponent >= Signed(255));
    // x is 0 or infinite.
    let is_extreme = (magnitude == Bits(0u)) | (magnitude == Bits(0x7f800000u));
    found = select(found, select(infinity, Real(0.0), (magnitude == Bits(0u)) != y_is_negative), is_extreme);
    // The sign of an odd power; NaN for a non-integer power of a negative number.
    let point = Bits(clamp(Signed(150) - y_exponent, Signed(0), Signed(31)));
    let is_broken = (y_magnitude < Bits(0x4b800000u))
        & ((y_mantissa & ((Bits(1u) << point) - Bits(1u))) != Bits(0u));
    let is_odd = (y_magnitude < Bits(0x4b800000u)) & !is_broken & (((y_mantissa >> point) & Bits(1u)) == Bits(1u));
    found = select(found, -found, (bits >= Bits(0x80000000u)) & is_odd);
    let is_undefined = (bits > Bits(0x80000000u)) & (bits < Bits(0xff800000u)) & is_broken;
    found = select(found, bitcast<Real>(bits | Bits(0x7fc00000u)), is_nan(x) | is_nan(y) | is_undefined);
    return select(found, Real(1.0), (y_magnitude == Bits(0u)) | (bits == Bits(0x3f800000u)));
}
