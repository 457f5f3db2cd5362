// The K dimension of convolutions, or the lines of the weight gradient, with few channels: units of PACK adjacent lines, where
// a line is a channel and a tap, in the order of the weight. Nothing is rounded up to PACK channels: with 3 channels and 3 × 3 taps
// there are 32 lines instead of the 72 of lib/channels.wgsl, whose functions this file replaces. The positions of the taps are
// computed once, in workgroup memory, since divisions by the number of taps would take longer than the sums.
//
// The kernel declares what lib/channels.wgsl needs, and INVOCATIONS. The host checks that there are at most MOST_LINES lines, that
// tiles of lines divide MOST_LINES, and that a phase has all taps.
//
// Indices: as lib/channels.wgsl. A line is below MOST_LINES.
// Loops: MOST_LINES / INVOCATIONS + 1 in `prepare_units`.

const MOST_LINES: u32 = 256u;

// The number of a unit in `chunk`; `tap` is not used.
struct Unit {
    chunk: u32,
    tap: vec2<u32>,
}

// Of each line: the position of its tap relative to the first tap, the element relative to that of the first line, and whether the
// line exists.
var<workgroup> lines: array<vec4<u32>, MOST_LINES>;

fn prepare_units(local: u32) {
    let taps = params.kernel.x * params.kernel.y;
    for (var line = local; line < MOST_LINES; line += INVOCATIONS) {
        let channel = line / taps;
        let tap = line - channel * taps;
        let at = vec2(tap / params.kernel.y, tap % params.kernel.y) * params.tap_move;
        let place = (channel * params.size.x + at.x) * params.size.y + at.y;
        lines[line] = vec4(at, place, select(0u, 1u, channel < params.channels));
    }
    workgroupBarrier();
}

fn units_of(taps: vec2<u32>) -> u32 {
    return (params.channels * taps.x * taps.y + PACK - 1u) / PACK;
}

fn row_of(unit: Unit, tap: vec2<u32>) -> u32 {
    return unit.chunk * PACK;
}

struct Lines {
    first: u32,
    count: u32,
}

fn lines_from(line: u32) -> Lines {
    let count = params.channels * params.kernel.x * params.kernel.y;
    return Lines(line, max(count, line) - line);
}

fn line_distance() -> u32 {
    return 1u;
}

fn unit_at(number: u32, taps: vec2<u32>) -> Unit {
    return Unit(number, vec2(0u));
}

fn next_unit(unit: Unit, taps: vec2<u32>) -> Unit {
    return Unit(unit.chunk + 1u, vec2(0u));
}

// A window as the source of elements: the position of its first tap, and the first element of its channels.
struct Source {
    corner: vec2<u32>,
    start: u32,
}

fn load_line(source: Source, number: u32) -> Element {
    let line = lines[number];
    if all(source.corner + line.xy < params.size) && line.w == 1u {
        return image[source.start + source.corner.x * params.size.y + source.corner.y + line.z];
    }
    return Element();
}

// Loads four lines of a unit of a window, with zero padding.
fn load_channels(source: Source, unit: Unit, first: u32) -> vec4<Element> {
    let line = unit.chunk * PACK + first;
    return vec4(
        load_line(source, line),
        load_line(source, line + 1u),
        load_line(source, line + 2u),
        load_line(source, line + 3u),
    );
}
