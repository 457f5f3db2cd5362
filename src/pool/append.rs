//! Append loops: programs that allocate a block again and again, each time slightly larger, and drop the one before.
//!
//! A decoder's key and value cache, or `x = concat(x, row)` in a loop, never fits the segment of its predecessor: that segment is a
//! little too small, so every step would create a segment and destroy another. [`AppendLoops`] recognises such a sequence and
//! adds room for the next steps.
//!
//! A step of a sequence is a request that no hole serves, though there is one of at least half its size, and that is up to a
//! sixteenth larger than the step before it. From the third step on, a segment for the block has an eighth more than the block needs
//! (the third step itself: a sixteenth). A program that replaces a block by a larger one once or twice gets none.
//!
//! Larger steps need no additional room: growing by more than a sixteenth each time takes a logarithmic number of steps. Inference
//! with varying lengths has many such steps, and room for them is wasted: with steps of up to a quarter, serving BERT peaked at 1.155 times the
//! requested bytes instead of 1.004.
//!
//! # Bound
//! A loop of `k` tensors alternates between `k + 1` segments, and replaces each only when the block has outgrown it: by an
//! eighth, or in one step by more than a sixteenth. So growing from `a` to `b` bytes creates at most
//! `(k + 1) · (3 + ln(b / a) / ln(17 / 16))` segments, 11.4 for each doubling and segment; loops with small steps create half as many. In
//! exchange the pool reserves up to an eighth more than the old and the new block together.

/// A hole of at least this part of the request may be where an earlier block of the sequence was. It need not be an idle segment:
/// smaller blocks may have been placed in it.
const OUTGROWN: u64 = 2;
/// A step is larger than the one before it by at most this part of that.
const LARGEST_STEP: u64 = 16;
/// Steps of a sequence before the first one that gets additional room. Traces of training and inference have many sequences of two.
const UNNOTICED_STEPS: u32 = 2;
/// The additional room of the first such step is the block's size shifted right by this; with each step the shift is one less.
const FIRST_SHIFT: u32 = 4;
/// The shift of all later steps: an eighth. A quarter was measured to halve the number of segments, and to reserve up to 1.25 times the
/// old and the new block.
const LAST_SHIFT: u32 = 3;
/// Sequences that are remembered at once. The one that began first is forgotten first.
const SEQUENCES: usize = 8;

/// One sequence of growing blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sequence {
    /// The size of its latest block, in bytes.
    bytes: u64,
    /// How often it has grown.
    steps: u32,
}

/// The sequences of growing blocks that a pool has seen lately.
#[derive(Clone, Debug, Default)]
pub(super) struct AppendLoops {
    sequences: [Sequence; SEQUENCES],
    /// The sequence that is forgotten next.
    next: usize,
}

impl AppendLoops {
    /// The bytes that a segment for a block of `lacking` bytes should have in addition. `hole` is the size of the pool's
    /// largest hole. To be called once for each request that no hole serves.
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
        // Several tensors that grow in step are one sequence, and its steps are counted once.
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
