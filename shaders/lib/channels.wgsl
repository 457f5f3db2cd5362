// The K dimension of convolutions, or the lines of the weight gradient: units of PACK adjacent channels of one tap, ordered
// by chunk of channels, then by tap, so that consecutive units read neighbouring elements of the same channels. Channels past the
// last one count as zeros.
//
// The kernel declares PACK (8, or 1 or 4 if it has no packs), `image` and the parameters: `size` of the image, (height,
// width), `kernel`, the numbers of taps, `tap_move` from the position of one tap to that of the next, `channels` of a group.
// Offsets are in elements. lib/lines.wgsl has the same functions for few channels.
//
// Indices: positions are computed modulo 2^32. The host checks that the padded size of the image and the extent of the window are
// below 2^32 - 2^24. A position before the image is at most one extent or the padding before it, so it wraps to a number above
// the image's size, and one comparison excludes both sides. Numbers of elements are below 2^32 - 2^24. Elements of channels and
// positions that do not exist may be past the binding, where WebGPU makes reads harmless.
// Loops: none.

// A chunk of channels, and the number of a tap on each axis.
struct Unit {
    chunk: u32,
    tap: vec2<u32>,
}

// Prepares the functions below. All invocations of a workgroup call it.
fn prepare_units(local: u32) {}

// Returns the number of units of these taps.
fn units_of(taps: vec2<u32>) -> u32 {
    return (params.channels + PACK - 1u) / PACK * taps.x * taps.y;
}

// Returns the row of a unit in a matrix whose rows are ordered as the units are; `tap` is its tap in the kernel.
fn row_of(unit: Unit, tap: vec2<u32>) -> u32 {
    return ((unit.chunk * params.kernel.x + tap.x) * params.kernel.y + tap.y) * PACK;
}

// Four adjacent lines of the units: the first one's element in (channels, taps), and how many of them exist.
struct Lines {
    first: u32,
    count: u32,
}

fn lines_from(line: u32) -> Lines {
    let unit = unit_at(line / PACK, params.kernel);
    let channel = unit.chunk * PACK + line % PACK;
    let element = channel * params.kernel.x * params.kernel.y + unit.tap.x * params.kernel.y + unit.tap.y;
    return Lines(element, max(params.channels, channel) - channel);
}

// Returns the elements from one of four adjacent lines to the next.
fn line_distance() -> u32 {
    return params.kernel.x * params.kernel.y;
}

fn unit_at(number: u32, taps: vec2<u32>) -> Unit {
    let line = number / max(taps.y, 1u);
    let chunk = line / max(taps.x, 1u);
    return Unit(chunk, vec2(line - chunk * taps.x, number - line * taps.y));
}

fn next_unit(unit: Unit, taps: vec2<u32>) -> Unit {
    var next = Unit(unit.chunk, unit.tap + vec2(0u, 1u));
    if next.tap.y >= taps.y {
        next.tap = vec2(next.tap.x + 1u, 0u);
        if next.tap.x >= taps.x {
            next.tap.x = 0u;
            next.chunk += 1u;
        }
    }
    return next;
}

// A window as the source of elements: the position of its first tap, and the first element of its channels.
struct Source {
    corner: vec2<u32>,
    start: u32,
}

// Loads four channels of a unit of a window. The elements of those that do not exist are arbitrary.
fn load_channels(source: Source, unit: Unit, first: u32) -> vec4<Element> {
    let at = source.corner + unit.tap * params.tap_move;
    let plane = params.size.x * params.size.y;
    let place = source.start + (unit.chunk * PACK + first) * plane + at.x * params.size.y + at.y;
    return vec4(image[place], image[place + plane], image[place + 2u * plane], image[place + 3u * plane]);
}

// Returns how many channels of a unit exist: none if its position is outside the image.
fn existing(source: Source, unit: Unit) -> u32 {
    let at = source.corner + unit.tap * params.tap_move;
    let channel = unit.chunk * PACK;
    return select(0u, max(params.channels, channel) - channel, all(at < params.size));
}

// Eight lines of a unit of a window as they were loaded, and how many of them exist.
struct Pack {
    low: vec4<Element>,
    high: vec4<Element>,
    exist: u32,
}

// Loads the eight lines of a unit. A kernel that loads ahead calls `padded` later, since that waits for the loads.
fn load_pack(source: Source, unit: Unit, exists: bool) -> Pack {
    let exist = select(0u, existing(source, unit), exists);
    return Pack(load_channels(source, unit, 0u), load_channels(source, unit, 4u), exist);
}

// Replaces the lines that do not exist by zeros.
fn padded(pack: Pack) -> Pack {
    var found = pack;
    found.low = select(vec4<Element>(), pack.low, pack.exist > 0u);
    found.high = select(vec4<Element>(), pack.high, pack.exist > 0u);
    if params.channels % PACK != 0u {
        found.low = select(vec4<Element>(), found.low, vec4(0u, 1u, 2u, 3u) < vec4(pack.exist));
        found.high = select(vec4<Element>(), found.high, vec4(4u, 5u, 6u, 7u) < vec4(pack.exist));
    }
    return found;
}
