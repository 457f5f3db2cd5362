//! The reader of allocation traces: accepted traces satisfy the invariants of a trace.

use crate::trace::{Event, Trace};
use std::io::{BufReader, Write};

pub(crate) fn run(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    match kind % 3 {
        0 => read(rest, kind),
        1 => {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(rest).expect("memory takes every byte");
            read(&packed.finish().expect("memory takes every byte"), kind);
        }
        _ => read(program(rest).as_bytes(), kind),
    }
}

/// Lines that are mostly valid.
fn program(data: &[u8]) -> String {
    const SIZES: [u64; 4] = [u64::MAX, u64::MAX / 2, 1 << 40, 0];
    const FAULTS: [&str; 8] =
        ["a\n", " a  0 1 \n", "f -1\n", "\n", "f 99999999999999999999\n", "a 0 1 2\n", "\u{e4} 1\n", "a\t0\r1"];
    let (mut text, mut id) = (String::new(), 0_u64);
    for pair in data.chunks_exact(2) {
        let (kind, argument) = (pair[0], pair[1]);
        match kind % 8 {
            0..=4 => {
                let bytes = SIZES.get(usize::from(kind / 8 % 16)).copied().unwrap_or(u64::from(argument));
                text += &format!("a {id} {bytes}\n");
                id += 1;
            }
            5 | 6 => text += &format!("f {}\n", u64::from(argument) % id.max(1)),
            _ => text += FAULTS[usize::from(argument) % FAULTS.len()],
        }
    }
    text
}

fn read(bytes: &[u8], capacity: u8) {
    let Ok(trace) = Trace::read(BufReader::with_capacity(1 + usize::from(capacity), bytes)) else { return };
    let mut slots: Vec<Option<u64>> = vec![None; trace.slots as usize];
    let (mut requested, mut peak) = (0_u64, 0);
    for event in &trace.events {
        match *event {
            Event::Allocate { slot, bytes } => {
                assert_eq!(slots[slot as usize].replace(bytes), None, "the slot is empty");
                requested += bytes;
                peak = peak.max(requested);
            }
            Event::Free { slot } => requested -= slots[slot as usize].take().expect("the slot is full"),
        }
    }
    assert_eq!(peak, trace.peak_requested);
}
