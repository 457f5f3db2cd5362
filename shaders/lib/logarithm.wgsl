// The natural logarithm, within 2 ULP also near 1, where WGSL's `log` has an absolute error of 2^-21. Supports subnormal numbers.
// Needs lib/number.wgsl.
//
// x = 2^k (1 + f), with 1 + f from √½ to √2; with s = f / (2 + f), log(1 + f) = 2 s + s R(s²), as in FreeBSD's e_logf.c.

fn logarithm(x: Real) -> Real {
    let bits = bitcast<Bits>(x);
    let magnitude = bits & Bits(0x7fffffffu);
    // A subnormal number is shifted until its leading bit is at the position of the implicit bit.
    let is_small = magnitude < Bits(0x00800000u);
    let shift = countLeadingZeros(magnitude | Bits(1u)) - Bits(8u);
    let whole = select(magnitude, magnitude << (shift & Bits(31u)), is_small) & Bits(0x007fffffu);
    let carry = (whole + Bits(0x004afb0du)) & Bits(0x00800000u);
    let fraction = bitcast<Real>((Bits(0x3f800000u) - carry) + whole);
    let exponent = select(Signed(magnitude >> Bits(23u)), Signed(1) - Signed(shift), is_small);
    let k = Real(exponent - Signed(127) + Signed(carry >> Bits(23u)));
    let f = fraction - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let series = z * (0.66666662693 + w * 0.28498786688) + w * (0.40000972152 + w * 0.24279078841);
    let half = 0.5 * f * f;
    var found = (k * 9.0580006145e-6 + s * (half + series) - half) + f + k * 6.9313812256e-1;
    let infinity = bitcast<Real>((bits & Bits(0u)) | Bits(0x7f800000u));
    found = select(found, -infinity, magnitude == Bits(0u));
    found = select(found, x, (bits >= Bits(0x7f800000u)) & (bits < Bits(0x80000000u)));
    return select(found, bitcast<Real>(bits | Bits(0x7fc00000u)), bits > Bits(0x80000000u));
}
