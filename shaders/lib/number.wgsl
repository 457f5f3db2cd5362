// Floating-point predicates by bit patterns. WGSL permits a driver to assume that no operand is NaN, and drivers do so:
// comparisons, `max`, `min` and `clamp` may return either result. Integer operations are exact. Needs the aliases Real, Bits,
// Signed and Truth.

fn is_nan(x: Real) -> Truth {
    return (bitcast<Bits>(x) & Bits(0x7fffffffu)) > Bits(0x7f800000u);
}

// Whether a number counts as true: everything except the two zeros, including NaN and subnormal numbers.
fn is_true(x: Real) -> Truth {
    return (bitcast<Bits>(x) & Bits(0x7fffffffu)) != Bits(0u);
}

// An integer with the same order as the numbers, equal for both zeros. NaN is beyond the infinity of its sign.
fn order_of(x: Real) -> Signed {
    let bits = bitcast<Signed>(x);
    let magnitude = bits & Signed(0x7fffffff);
    return select(magnitude, -magnitude, bits < Signed(0));
}

fn is_equal(x: Real, y: Real) -> Truth {
    return (order_of(x) == order_of(y)) & !is_nan(x);
}

fn is_less(x: Real, y: Real) -> Truth {
    return (order_of(x) < order_of(y)) & !(is_nan(x) | is_nan(y));
}

fn is_at_most(x: Real, y: Real) -> Truth {
    return (order_of(x) <= order_of(y)) & !(is_nan(x) | is_nan(y));
}

// The maximum and the minimum of two numbers; NaN if either is NaN, computed as their sum.
fn larger(x: Real, y: Real) -> Real {
    return select(select(y, x, order_of(x) >= order_of(y)), x + y, is_nan(x) | is_nan(y));
}

fn smaller(x: Real, y: Real) -> Real {
    return select(select(y, x, order_of(x) <= order_of(y)), x + y, is_nan(x) | is_nan(y));
}
