// The error function, by Abramowitz and Stegun's formula 7.1.26, with an error below 1.5e-7.

fn error_function(x: Real) -> Real {
    let t = 1.0 / (1.0 + 0.3275911 * abs(x));
    let series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return sign(x) * (1.0 - series * exp(-x * x));
}
