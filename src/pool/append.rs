//! Append loops: programs that repeatedly replace a block by a slightly larger block.
//!
//! Examples are a decoder's key and value cache, and `x = concat(x, row)` in a loop. Each new block is slightly larger than
//! the segment of the previous block, so every step would create one segment and destroy another. [`AppendLoops`] detects
//! such a sequence and adds room for the next steps.
//!
//! A request is a step of a sequence if no hole serves the request, the largest hole has at least half its size, and the
//! request is at most a sixteenth larger than the previous step. From the third step on, the segment is larger than the
//! block by an eighth of the block (in the third step by a sixteenth). A program that replaces a block by a larger block
//! only once or twice gets no additional room.
//!
//! Larger steps need no additional room, because growing by more than a sixteenth each time takes a logarithmic number of
//! steps. Inference with varying lengths has many such steps, for which additional room is wasted: with steps of up to a
//! quarter, serving BERT peaked at 1.155 times the requested bytes instead of 1.004.
//!
//! # Bound
//! A loop of `k` tensors alternates between `k + 1` segments, and replaces a segment only when the block exceeds the
//! segment: after growing by an eighth, or by a step of more than a sixteenth. So growing from `a` to `b` bytes creates at
//! most `(k + 1) · (3 + ln(b / a) / ln(17 / 16))` segments, 11.4 for each doubling and segment; loops with small steps
//! create half as many. In exchange the pool reserves up to an eighth more than the old and the new block together.

/// A hole of at least this part of the request may be the location of an earlier block of the sequence. The hole need not
/// be an idle segment: smaller blocks may have been placed next to the hole.
const OUTGROWN: u64 = 2;
/// A step exceeds the previous step by at most this part of the previous step.
const LARGEST_STEP: u64 = 16;
/// The number of steps of a sequence without additional room. Traces of training and inference have many sequences of two
/// steps.
const UNNOTICED_STEPS: u32 = 2;
/// The additional room of the next step is the block's size shifted right by this; with each step the shift is one less.
const FIRST_SHIFT: u32 = 4;
/// The smallest shift: an eighth. A quarter halves the number of segments, but reserves up to 1.25 times the old and the
/// new block (measured).
const LAST_SHIFT: u32 = 3;
/// The number of sequences that are stored. A new sequence replaces the oldest.
const SEQUENCES: usize = 8;

/// One sequence of growing blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sequence {
    /// The size of the latest block in bytes.
    bytes: u64,
    /// The number of steps so far.
    steps: u32,
}

/// The recent sequences of growing blocks of a pool.
#[derive(Clone, Debug, Default)]
pub(super) struct AppendLoops {
    sequences: [Sequence; SEQUENCES],
    /// The index of the sequence that is replaced next.
    next: usize,
}

impl AppendLoops {
    /// Returns the additional bytes for the segment of a block of `lacking` bytes. `hole` is the size of the pool's largest
    /// hole. Called once for each request that no hole serves.
    pub(super) fn additional_bytes(&mut self, lacking: u64, hole: u64) -> u64 {
        if hole < lacking / OUTGROWN {
            return 0;
        }
        let continues =
            |one: &&mut Sequence| (one.bytes..=one.bytes.saturating_add(one.bytes / LARGEST_STEP)).contains(&lacking);
        let Some(sequence) = self.sequences.iter_mut().filter(continues).max_by_key(|one| one.bytes) else {
            self.sequences[self.next] = Sequence { bytes: lacking, steps: 0 };
            self.next = (self.next + 1) % SEQUENCES;
            return 0;
        };
        // Several tensors that grow together are one sequence, whose steps are counted once.
        if lacking > sequence.bytes {
            *sequence = Sequence { bytes: lacking, steps: sequence.steps.saturating_add(1) };
        }
        let noticed = sequence.steps.checked_sub(UNNOTICED_STEPS);
        noticed.map_or(0, |steps| lacking >> FIRST_SHIFT.saturating_sub(steps).max(LAST_SHIFT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_sequence_gets_room_from_its_third_step_on() {
        let mut loops = AppendLoops::default();
        let rooms = [100, 101, 102, 103, 104].map(|size| loops.additional_bytes(size * MIB, (size - 2) * MIB));
        assert_eq!(rooms, [0, 0, 102 * MIB / 16, 103 * MIB / 8, 104 * MIB / 8]);
    }

    #[test]
    fn a_block_that_is_far_larger_than_every_hole_or_than_the_step_before_starts_again() {
        let mut loops = AppendLoops::default();
        for size in [100, 101, 102, 103] {
            loops.additional_bytes(size * MIB, (size - 2) * MIB);
        }
        assert_eq!(loops.additional_bytes(104 * MIB, 51 * MIB), 0, "it replaces nothing");
        assert_eq!(loops.additional_bytes(150 * MIB, 149 * MIB), 0, "it is no step");
        assert_eq!(loops.additional_bytes(80 * MIB, 79 * MIB), 0, "it shrinks");
        assert_eq!(loops.additional_bytes(104 * MIB, 52 * MIB), 104 * MIB / 8, "the sequence goes on");
    }

    #[test]
    fn tensors_that_grow_in_step_or_side_by_side_are_told_apart_by_size_alone() {
        let mut loops = AppendLoops::default();
        for step in 0..10 {
            for (size, tensors) in [(100, 2), (1000, 1)] {
                let size = (size + step) * MIB;
                for _ in 0..tensors {
                    let room = loops.additional_bytes(size, size - 2 * MIB);
                    let expected = if step < 2 { 0 } else { size >> if step == 2 { 4 } else { 3 } };
                    assert_eq!(room, expected, "{size} in step {step}");
                }
            }
        }
    }

    #[test]
    fn sizes_at_the_end_of_the_range_do_not_overflow() {
        let mut loops = AppendLoops::default();
        for bytes in (u64::MAX - 10..=u64::MAX).chain([1, 2, 3]) {
            assert!(loops.additional_bytes(bytes, bytes - 1) <= bytes / 8);
        }
    }
}
