// Division and powers of integers. Drivers differ for a divisor of 0 and for the quotient of the least integer and -1,
// which has no value in i32, and GLSL leaves `%` of negative operands undefined. Here such a divisor is replaced by 1:
// the quotient is x, the remainder is 0. Needs the aliases Bits, Signed and Truth.
//
// Loops: 33 in power_of_unsigned.

fn signed_divisor(x: Signed, y: Signed) -> Signed {
    return select(y, Signed(1), (y == Signed(0)) | ((x == Signed(-2147483647 - 1)) & (y == Signed(-1))));
}

fn signed_truncated(x: Signed, y: Signed) -> Signed {
    return x / signed_divisor(x, y);
}

fn signed_modulo(x: Signed, y: Signed) -> Signed {
    let divisor = signed_divisor(x, y);
    return x - (x / divisor) * divisor;
}

// Whether the floored quotient is below the truncated one.
fn rounds_down(x: Signed, y: Signed) -> Truth {
    return (signed_modulo(x, y) != Signed(0)) & ((x ^ y) < Signed(0));
}

fn signed_floored(x: Signed, y: Signed) -> Signed {
    return signed_truncated(x, y) - select(Signed(0), Signed(1), rounds_down(x, y));
}

fn signed_remainder(x: Signed, y: Signed) -> Signed {
    return signed_modulo(x, y) + select(Signed(0), y, rounds_down(x, y));
}

fn unsigned_quotient(x: Bits, y: Bits) -> Bits {
    return x / max(y, Bits(1u));
}

fn unsigned_remainder(x: Bits, y: Bits) -> Bits {
    let divisor = max(y, Bits(1u));
    return x - (x / divisor) * divisor;
}

// Wraps, as products do.
fn power_of_unsigned(x: Bits, y: Bits) -> Bits {
    var base = x;
    var left = y;
    var found = Bits(1u);
    for (var bit = 0u; bit < 32u; bit += 1u) {
        found = select(found, found * base, (left & Bits(1u)) == Bits(1u));
        base *= base;
        left >>= Bits(1u);
    }
    return found;
}

// The integer part for a negative exponent: 0, except of 1 and -1.
fn power_of_signed(x: Signed, y: Signed) -> Signed {
    let found = bitcast<Signed>(power_of_unsigned(bitcast<Bits>(x), bitcast<Bits>(y)));
    return select(found, Signed(0), (y < Signed(0)) & (x != Signed(1)) & (x != Signed(-1)));
}
