// Sums over the SLICE invocations of a row of a workgroup, in a fixed order.
//
// The kernel declares SLICE, INVOCATIONS, and DISTANCE, the distance between the numbers of two invocations, which is odd, so that
// these are in different banks.
//
// Loops: SLICE + 1.

var<workgroup> sums_of_all: array<Number, INVOCATIONS * DISTANCE>;

// Adds up number `lane` of each invocation in the row of the invocation `local`.
fn sum_of_lanes(local: u32, lane: u32) -> Number {
    var at = (local - local % SLICE) * DISTANCE + lane;
    var sum = Number();
    for (var other = 0u; other < SLICE; other += 1u) {
        sum += sums_of_all[at];
        at += DISTANCE;
    }
    return sum;
}
