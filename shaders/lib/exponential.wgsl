// The exponential function, the logistic function and the hyperbolic tangent, without intermediate overflow. Needs
// lib/number.wgsl.

// exp(x), and NaN for NaN, for which some drivers return infinity.
fn exponential(x: Real) -> Real {
    return select(exp(x), x, is_nan(x));
}

// 1 / (1 + exp(-x)), computed as exp(x) / (1 + exp(x)) below 0, where the first form overflows.
fn logistic(x: Real) -> Real {
    let power = exp(-abs(x));
    let found = select(Real(1.0), power, bitcast<Signed>(x) < Signed(0)) / (1.0 + power);
    return select(found, x, is_nan(x));
}

// Below 0.625, the polynomial of Cephes' tanhf, so that the error is relative to x near 0; above, 1 - 2 / (exp(2 |x|) + 1). Above
// 15 the result is 1 in f32.
fn hyperbolic_tangent(x: Real) -> Real {
    let magnitude = select(abs(x), Real(15.0), (bitcast<Bits>(x) & Bits(0x7fffffffu)) > Bits(0x41700000u));
    let square = magnitude * magnitude;
    let series = ((((-5.70498872745e-3 * square + 2.06390887954e-2) * square - 5.37397155531e-2) * square
        + 1.33314422036e-1) * square - 3.33332819422e-1) * square;
    let near = magnitude + magnitude * series;
    let far = 1.0 - 2.0 / (exp(2.0 * magnitude) + 1.0);
    let found = bitcast<Bits>(select(far, near, magnitude < Real(0.625)));
    return select(bitcast<Real>(found | (bitcast<Bits>(x) & Bits(0x80000000u))), x, is_nan(x));
}
