// Windows of a vec4 of columns in two rows, whose channels are the units of the K dimension. The rows are DILATION apart, so that they
// have rows of the image in common: with a dilation of 2, the windows of eight rows have rows 0 and 2, 1 and 3, 4 and 6, 5 and 7.
//
// The kernel declares `output`, bound as vec4s, Vec4, DILATION, and TAPS, the taps of a channel. Needs lib/convolution.wgsl and
// lib/row_epilogue.wgsl.
//
// Indices: a place is below a quarter of the number of elements. Loops: none.

// The parts of lib/channels.wgsl that lib/convolution.wgsl needs; the loads of that file are of single elements. A unit is a channel.
struct Unit {
    channel: u32,
    tap: vec2<u32>,
}

struct Source {
    corner: vec2<u32>,
    start: u32,
}

fn units_of(taps: vec2<u32>) -> u32 {
    return params.channels;
}

fn row_of(unit: Unit, tap: vec2<u32>) -> u32 {
    return unit.channel * TAPS;
}

// Returns the first row of the windows with this number along the rows.
fn first_row_of(number: u32) -> u32 {
    return number / DILATION * 2u * DILATION + number % DILATION;
}

// Stores an output in both rows.
fn store(at: u32, first: u32, number: u32, group: u32, has_second: bool, upper: Vec4, lower: Vec4) {
    if first + number < params.outputs {
        let row = group * params.outputs + first + number;
        let place = at + row * params.written.x * params.written.y;
        output[place] = vec4<Output>(finished(upper, row));
        if has_second {
            output[place + DILATION * params.written.y] = vec4<Output>(finished(lower, row));
        }
    }
}
