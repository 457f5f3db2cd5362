// Common part of the kernels on a list of tensors. Up to four segments are each bound once; the two highest bits of a position
// select the binding.
//
// Parameters: up to 56 words in rows of ROW, one row for each entry of the list: the positions of its tensors, in elements, then
// the number of elements of each tensor, contiguous. The host removes the declarations of unused bindings. A workgroup processes
// CHUNK elements of one entry. Dispatch the sum over the entries of count / CHUNK workgroups, each rounded up.

@group(0) @binding(0) var<storage, read_write> memory_0: array<Element>;
@group(0) @binding(1) var<storage, read_write> memory_1: array<Element>;
@group(0) @binding(2) var<storage, read_write> memory_2: array<Element>;
@group(0) @binding(3) var<storage, read_write> memory_3: array<Element>;
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP: u32 = 256u;
const CHUNK: u32 = 1024u;

fn load(at: u32) -> f32 {
    let place = at & 0x3fffffffu;
    switch at >> 30u {
        case 1u: { return f32(memory_1[place]); }
        case 2u: { return f32(memory_2[place]); }
        case 3u: { return f32(memory_3[place]); }
        default: { return f32(memory_0[place]); }
    }
}

fn store(at: u32, value: f32) {
    let place = at & 0x3fffffffu;
    switch at >> 30u {
        case 1u: { memory_1[place] = Element(value); }
        case 2u: { memory_2[place] = Element(value); }
        case 3u: { memory_3[place] = Element(value); }
        default: { memory_0[place] = Element(value); }
    }
}

fn word(position: u32) -> u32 {
    return params.words[position >> 2u][position & 3u];
}

// The elements of a workgroup: from `start` to `end`, of the entry whose row begins at `row`.
struct Chunk {
    row: u32,
    start: u32,
    end: u32,
}

fn chunk_of(workgroup: u32) -> Chunk {
    var before = 0u;
    for (var entry = 0u; entry < params.entries; entry += 1u) {
        let row = entry * ROW;
        let count = word(row + ROW - 1u);
        let chunks = (count + CHUNK - 1u) / CHUNK;
        if workgroup < before + chunks {
            let start = (workgroup - before) * CHUNK;
            return Chunk(row, start, min(start + CHUNK, count));
        }
        before += chunks;
    }
    return Chunk(0u, 0u, 0u);
}
