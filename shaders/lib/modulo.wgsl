// The integer part and the remainder of x / y, from the bits of both numbers: a long division of the mantissas, 8 bits at a time.
// The remainder is exact for all finite operands; x - y * trunc(x / y) is not, because the quotient is rounded. Needs the aliases
// Real, Bits, Signed and Truth, lib/number.wgsl and lib/divided.wgsl.
//
// Loops: 36 in divide_mantissas. The exponents of x and y, including those of subnormal numbers, differ by at most 276.

// A number `mantissa` * 2^(`exponent` - 150), with bit 23 of the mantissa set unless the number is 0.
struct Magnitude {
    mantissa: Bits,
    exponent: Signed,
}

fn magnitude_of(x: Real) -> Magnitude {
    let bits = bitcast<Bits>(x) & Bits(0x7fffffffu);
    let is_small = bits < Bits(0x00800000u);
    let shift = (countLeadingZeros(bits | Bits(1u)) - Bits(8u)) & Bits(31u);
    return Magnitude(
        select((bits & Bits(0x007fffffu)) | Bits(0x00800000u), bits << shift, is_small),
        select(Signed(bits >> Bits(23u)), Signed(1) - Signed(shift), is_small),
    );
}

// |x| = `whole` * |y| + `rest` * 2^(exponent of y - 150). If |x| < |y|, `whole` is 0 and `rest` is unspecified. `whole` is exact
// where `is_counted`: if its exponents differ by at most 24.
struct Division {
    whole: Bits,
    rest: Bits,
    divisor: Magnitude,
    is_below: Truth,
    is_counted: Truth,
    is_exact: Truth,
}

fn divide_mantissas(x: Real, y: Real) -> Division {
    let dividend = magnitude_of(x);
    let divisor = magnitude_of(y);
    let is_below = (bitcast<Bits>(x) & Bits(0x7fffffffu)) < (bitcast<Bits>(y) & Bits(0x7fffffffu));
    let distance = dividend.exponent - divisor.exponent;
    // 1 for a divisor of 0, whose quotient the callers replace.
    let by = max(divisor.mantissa, Bits(1u));
    let first = dividend.mantissa >= by;
    var whole = select(Bits(0u), Bits(1u), first);
    var rest = dividend.mantissa - select(Bits(0u), by, first);
    var left = Bits(clamp(distance, Signed(0), Signed(280)));
    // The sum of the components' squares; WGSL has no `any` that all backends accept for one bool.
    for (var step = 0u; step < 35u; step += 1u) {
        if length(Real(left)) == 0.0 {
            break;
        }
        let bits = min(left, Bits(8u));
        // Below 2^32, because the rest is below the divisor and that is below 2^24.
        let wide = rest << bits;
        let digits = wide / by;
        rest = wide - digits * by;
        whole = (whole << bits) | digits;
        left -= bits;
    }
    whole = select(whole, Bits(0u), is_below);
    let is_zero = (bitcast<Bits>(x) & Bits(0x7fffffffu)) == Bits(0u);
    return Division(
        whole,
        rest,
        divisor,
        is_below,
        distance <= Signed(24),
        select(rest == Bits(0u), is_zero, is_below),
    );
}

// Whether the quotient has an integer part: x is finite, and y is neither 0 nor NaN.
fn is_divisible(x: Real, y: Real) -> Truth {
    let y_magnitude = bitcast<Bits>(y) & Bits(0x7fffffffu);
    return ((bitcast<Bits>(x) & Bits(0x7fffffffu)) < Bits(0x7f800000u))
        & (y_magnitude != Bits(0u))
        & (y_magnitude <= Bits(0x7f800000u));
}

fn has_other_sign(x: Real, y: Real) -> Truth {
    return ((bitcast<Bits>(x) ^ bitcast<Bits>(y)) >> Bits(31u)) == Bits(1u);
}

fn not_a_value(x: Real) -> Real {
    return bitcast<Real>((bitcast<Bits>(x) & Bits(0u)) | Bits(0x7fc00000u));
}

// The bits of `mantissa` * 2^(`exponent` - 150), for a mantissa below 2^24: exact where the number is a multiple of 2^-149.
fn assembled(mantissa: Bits, exponent: Signed) -> Bits {
    let shift = (countLeadingZeros(mantissa | Bits(1u)) - Bits(8u)) & Bits(31u);
    let place = exponent - Signed(shift);
    let shifted = mantissa << shift;
    let normal = (shifted & Bits(0x007fffffu)) | (Bits(max(place, Signed(0))) << Bits(23u));
    let subnormal = shifted >> Bits(clamp(Signed(1) - place, Signed(0), Signed(31)));
    return select(select(normal, subnormal, place < Signed(1)), Bits(0u), mantissa == Bits(0u));
}

// The remainder of the truncated division, with the sign of x: C's fmod.
fn modulo(x: Real, y: Real) -> Real {
    let division = divide_mantissas(x, y);
    let bits = assembled(division.rest, division.divisor.exponent) | (bitcast<Bits>(x) & Bits(0x80000000u));
    let found = select(bitcast<Real>(bits), x, division.is_below);
    return select(not_a_value(x), found, is_divisible(x, y));
}

// The bits of |y| - |x|, for |x| < |y|. Small numbers are subtracted as multiples of 2^64, because a device may take
// subnormal ones for 0; a subnormal number does not change a |y| of 2^-97 or more.
fn difference(x: Real, y: Real) -> Bits {
    let larger = magnitude_of(y);
    let smaller = magnitude_of(x);
    let scale = Signed(64);
    let scaled = bitcast<Bits>(
        bitcast<Real>(assembled(larger.mantissa, larger.exponent + scale))
            - bitcast<Real>(assembled(smaller.mantissa, smaller.exponent + scale))
    );
    let mantissa = (scaled & Bits(0x007fffffu)) | Bits(0x00800000u);
    let small = assembled(mantissa, Signed(scaled >> Bits(23u)) - scale);
    return select(bitcast<Bits>(abs(y) - abs(x)), small, larger.exponent < Signed(30));
}

// The remainder of the floored division, with the sign of y, or of x if it is 0.
fn remainder(x: Real, y: Real) -> Real {
    let division = divide_mantissas(x, y);
    // The truncated remainder has the sign of x; one of the other sign than y's is |y| too small in magnitude.
    let is_changed = has_other_sign(x, y) & !division.is_exact;
    let rest = select(division.rest, division.divisor.mantissa - division.rest, is_changed);
    let above = assembled(rest, division.divisor.exponent);
    let below = select(bitcast<Bits>(x) & Bits(0x7fffffffu), difference(x, y), is_changed);
    let sign = select(bitcast<Bits>(x), bitcast<Bits>(y), is_changed) & Bits(0x80000000u);
    let found = bitcast<Real>(select(above, below, division.is_below) | sign);
    // |x| is below an infinite |y|.
    let is_finite = (bitcast<Bits>(y) & Bits(0x7fffffffu)) < Bits(0x7f800000u);
    return select(not_a_value(x), select(select(x, y, is_changed), found, is_finite), is_divisible(x, y));
}

// trunc(x / y), of the quotient that is rounded to f32.
fn quotient_truncated(x: Real, y: Real) -> Real {
    let division = divide_mantissas(x, y);
    // The quotient rounds to the next integer if that is nearer than half the distance of adjacent numbers below it. No
    // quotient is halfway between two numbers.
    let exponent = Bits(31u) - countLeadingZeros(division.whole | Bits(1u));
    let by = max(division.divisor.mantissa, Bits(1u));
    let gap = (by - Bits(1u)) >> (Bits(24u) - min(exponent, Bits(24u)));
    let rounds_up = (division.whole != Bits(0u)) & (by - division.rest <= gap);
    let counted = Real(division.whole + select(Bits(0u), Bits(1u), rounds_up));
    let signed = select(counted, -counted, has_other_sign(x, y));
    return select(divided(x, y), signed, is_divisible(x, y) & division.is_counted);
}

// floor(x / y), of the exact quotient: Python's x // y. NaN for an infinite x.
fn quotient_floored(x: Real, y: Real) -> Real {
    let division = divide_mantissas(x, y);
    let is_negative = has_other_sign(x, y);
    let counted = Real(division.whole + select(Bits(0u), Bits(1u), is_negative & !division.is_exact));
    let signed = select(counted, -counted, is_negative);
    let is_zero = (bitcast<Bits>(y) & Bits(0x7fffffffu)) == Bits(0u);
    let found = select(divided(x, y), signed, division.is_counted);
    return select(select(not_a_value(x), divided(x, y), is_zero), found, is_divisible(x, y));
}
