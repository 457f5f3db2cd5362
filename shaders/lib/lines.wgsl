// The K dimension of convolutions, or the lines of the weight gradient, with few channels: units of PACK adjacent lines, where
// a line is a channel and a tap, in the order of the weight. Nothing is rounded up to PACK channels: with 3 channels and 3 × 3 taps
// there are 32 lines instead of the 72 of lib/channels.wgsl, whose functions this file replaces. The positions of the taps are
// computed once, in workgroup memory, since divisions by the number of taps would take longer than the sums.
//
// The kernel declares what lib/channels.wgsl needs, and INVOCATIONS. The host checks that there are at most MOST_LINES lines, that
// tiles of lines divide MOST_LINES, and that a phase has all taps.
//
// Indices: as lib/channels.wgsl. A line is below MOST_LINES; the element of one that does not exist may be past the binding.
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

// Eight lines of a unit of a window as they were loaded, and which of them exist, as bits.
struct Pack {
    low: vec4<Element>,
    high: vec4<Element>,
    exist: u32,
}

fn load_lines(source: Source, first: u32) -> vec4<Element> {
    let start = source.start + source.corner.x * params.size.y + source.corner.y;
    return vec4(
        image[start + lines[first].z],
        image[start + lines[first + 1u].z],
        image[start + lines[first + 2u].z],
        image[start + lines[first + 3u].z],
    );
}

fn line_exists(source: Source, number: u32) -> bool {
    let line = lines[number];
    return all(source.corner + line.xy < params.size) && line.w == 1u;
}

// Returns which of four lines exist, as bits.
fn existing_lines(source: Source, first: u32) -> u32 {
    return select(0u, 1u, line_exists(source, first))
        | select(0u, 2u, line_exists(source, first + 1u))
        | select(0u, 4u, line_exists(source, first + 2u))
        | select(0u, 8u, line_exists(source, first + 3u));
}

fn existing(source: Source, unit: Unit) -> u32 {
    let line = unit.chunk * PACK;
    return existing_lines(source, line) | (existing_lines(source, line + 4u) << 4u);
}

fn load_pack(source: Source, unit: Unit, exists: bool) -> Pack {
    let line = unit.chunk * PACK;
    return Pack(load_lines(source, line), load_lines(source, line + 4u), select(0u, existing(source, unit), exists));
}

fn padded(pack: Pack) -> Pack {
    let low = (vec4(pack.exist) & vec4(1u, 2u, 4u, 8u)) != vec4(0u);
    let high = (vec4(pack.exist) & vec4(16u, 32u, 64u, 128u)) != vec4(0u);
    return Pack(select(vec4<Element>(), pack.low, low), select(vec4<Element>(), pack.high, high), pack.exist);
}
