//! The plan of a step: a location in the arena for each request.

use super::log::{NEVER, Request};
use crate::plan::{Buffer, PlanOptions, Problem};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// The location of a planned block. Offset and size are in granules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// The requested bytes.
    pub(super) bytes: u64,
    pub(super) size: u32,
    pub(super) offset: u32,
    /// The number of the arena's segment. [`Slot::OUTSIDE`] for a block that outlives the run, which the heap places.
    pub(super) segment: u32,
    /// The range of [`StepPlan::earlier`].
    first_earlier: u32,
    end_earlier: u32,
}

impl Slot {
    pub(super) const OUTSIDE: u32 = u32::MAX;

    pub(super) const fn range(&self) -> Range<u32> {
        self.offset..self.offset + self.size
    }
}

/// The plan of a step.
///
/// Invariant: two slots of one segment overlap only if the lifetimes of their requests do not.
#[derive(Debug, Default)]
pub(super) struct StepPlan {
    requests: Vec<Request>,
    slots: Vec<Slot>,
    /// For each slot, the slots that were the last ones before it at some of its bytes. In a run that has used every slot in its order, these
    /// are the only ones that can still be in use there.
    earlier: Vec<u32>,
    /// The numbers of the slots by their sizes, and by their order.
    by_size: Vec<u32>,
    /// The sizes of the arena's segments in granules.
    segments: Vec<u32>,
    /// The peak of the planned blocks in granules, which no arena undercuts.
    peak: u64,
}

impl StepPlan {
    /// Plans the blocks that end within the run, in segments of at most `largest` granules of `granule` bytes. Takes at most about `time`, and
    /// at least one greedy pass. `None` if the sizes add up to 2⁶⁴ granules or more.
    pub(super) fn new(requests: Vec<Request>, granule: u64, largest: u32, time: Duration) -> Option<Self> {
        let size = |request: &Request| u32::try_from(request.bytes.div_ceil(granule)).ok();
        let sizes: Vec<u32> = requests.iter().map(size).collect::<Option<_>>()?;
        let buffer = |(id, (request, &size)): (u64, (&Request, &u32))| Buffer {
            id,
            lower: request.lower.into(),
            upper: request.upper.into(),
            bytes: size.into(),
        };
        let planned =
            (0..).zip(requests.iter().zip(&sizes)).filter(|(_, (request, _))| request.upper != NEVER).map(buffer);
        let plan = Problem::new(planned.collect()).ok()?.plan(&PlanOptions::default().time(time)).ok()?;
        // The plan has the order of its problem.
        let planned = (0..requests.len()).filter(|&number| requests[number].upper != NEVER);
        let placements = planned.zip(plan.placements()).map(|(number, placed)| (number, placed.offset));
        let (places, segments) = divide(placements.collect(), &sizes, largest);
        let mut slots: Vec<Slot> = requests
            .iter()
            .zip(&sizes)
            .map(|(request, &size)| Slot {
                bytes: request.bytes,
                size,
                offset: 0,
                segment: Slot::OUTSIDE,
                first_earlier: 0,
                end_earlier: 0,
            })
            .collect();
        for (number, segment, offset) in places {
            (slots[number].segment, slots[number].offset) = (segment, offset);
        }
        let earlier = link(&mut slots);
        let mut by_size: Vec<u32> = (0..narrow(slots.len())).collect();
        by_size.sort_by_key(|&number| slots[number as usize].size);
        let peak = plan.lower_bound();
        Some(Self { requests, slots, earlier, by_size, segments, peak })
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns the host memory of the plan in bytes.
    pub(super) fn host_bytes(&self) -> u64 {
        let numbers = self.earlier.capacity() + self.by_size.capacity() + self.segments.capacity();
        let parts = [
            (self.requests.capacity(), size_of::<Request>()),
            (self.slots.capacity(), size_of::<Slot>()),
            (numbers, size_of::<u32>()),
            (1, size_of::<Self>()),
        ];
        parts.into_iter().map(|(count, size)| count as u64 * size as u64).sum()
    }

    pub(super) fn slot(&self, index: usize) -> Option<&Slot> {
        self.slots.get(index)
    }

    pub(super) fn request(&self, index: usize) -> Option<&Request> {
        self.requests.get(index)
    }

    /// Returns the first slot of this size from a place on. O(log n).
    pub(super) fn next_of_size(&self, size: u32, from: usize) -> Option<usize> {
        let next = *self.by_size.get(self.before(size, from))? as usize;
        (self.slots[next].size == size).then_some(next)
    }

    /// Returns the last slot of this size before a place. O(log n).
    pub(super) fn last_of_size(&self, size: u32, until: usize) -> Option<usize> {
        let last = *self.by_size.get(self.before(size, until).checked_sub(1)?)? as usize;
        (self.slots[last].size == size).then_some(last)
    }

    /// Returns the number of the slots that are smaller, or of this size and before a place.
    fn before(&self, size: u32, place: usize) -> usize {
        self.by_size.partition_point(|&number| (self.slots[number as usize].size, number as usize) < (size, place))
    }

    /// Returns the requests with their slots.
    pub(super) fn requests(&self) -> impl Iterator<Item = (&Request, &Slot)> {
        self.requests.iter().zip(&self.slots)
    }

    /// Returns the slots that may still be in use at the bytes of a slot.
    #[inline]
    pub(super) fn earlier(&self, slot: &Slot) -> &[u32] {
        &self.earlier[slot.first_earlier as usize..slot.end_earlier as usize]
    }

    /// Returns the sizes of the arena's segments in granules.
    pub(super) fn segments(&self) -> &[u32] {
        &self.segments
    }

    /// Returns the peak of the planned blocks in granules.
    pub(super) fn peak(&self) -> u64 {
        self.peak
    }

    /// Returns whether a run with these requests would have the same plan.
    pub(super) fn is_of(&self, requests: &[Request]) -> bool {
        self.requests.len() == requests.len()
            && self.requests.iter().zip(requests).all(|(one, other)| one.agrees(other))
    }

    /// Returns whether the requests have the sizes of this plan's.
    pub(super) fn has_sizes_of(&self, requests: &[Request]) -> bool {
        self.requests.len() == requests.len()
            && self.requests.iter().zip(requests).all(|(one, other)| one.bytes == other.bytes)
    }

    /// Returns whether this plan has the same sizes as the beginning of another.
    pub(super) fn begins(&self, other: &Self) -> bool {
        self.len() <= other.len() && self.slots.iter().zip(&other.slots).all(|(one, other)| one.bytes == other.bytes)
    }

    /// Returns whether two plans have the same sizes up to a request, and this one continues with `bytes`.
    pub(super) fn continues(&self, other: &Self, index: usize, bytes: u64) -> bool {
        self.slots.get(index).is_some_and(|slot| slot.bytes == bytes)
            && self.slots[..index].iter().zip(&other.slots).all(|(one, other)| one.bytes == other.bytes)
    }
}

/// An end of a segment, relative to its start in granules.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// The number of blocks before the cut.
    count: usize,
    /// The offset of the first block behind the cut.
    next: u64,
    /// The highest end of the blocks before the cut.
    size: u64,
}

/// Divides a plan of one range into segments of at most `largest` granules. Returns the segment and the offset of each placement, and the
/// sizes of the segments.
///
/// A segment contains the blocks that begin in one part of the range. It also contains the ends of those blocks, so a cut that few bytes cross
/// is chosen: of the offsets in the upper half of what fits, the one with the fewest.
fn divide(mut placements: Vec<(usize, u64)>, sizes: &[u32], largest: u32) -> (Vec<(usize, u32, u32)>, Vec<u32>) {
    placements.sort_unstable_by_key(|&(_, offset)| offset);
    let end = |&(number, offset): &(usize, u64)| offset + u64::from(sizes[number]);
    let (mut places, mut segments) = (Vec::with_capacity(placements.len()), Vec::new());
    let mut rest = placements.as_slice();
    while let Some(&(_, start)) = rest.first() {
        let mut highest = start;
        let cuts = rest.iter().enumerate().map_while(|(index, placement)| {
            highest = highest.max(end(placement));
            let next = rest.get(index + 1).map_or(highest, |&(_, offset)| offset);
            let cut = Cut { count: index + 1, next: next - start, size: highest - start };
            (cut.size <= largest.into()).then_some(cut)
        });
        let cuts: Vec<Cut> = cuts.collect();
        let late = cuts.iter().filter(|cut| cut.next >= u64::from(largest) / 2);
        let last = cuts.last().expect("a block fits a segment");
        let Cut { count, size, .. } =
            match late.min_by_key(|cut| (cut.size.saturating_sub(cut.next), Reverse(cut.count))) {
                Some(cheapest) if last.count < rest.len() => *cheapest,
                _ => *last,
            };
        let segment = u32::try_from(segments.len()).expect("fewer segments than blocks");
        let narrow = |granules: u64| u32::try_from(granules).expect("a segment has fewer than 2^32 granules");
        let (inside, others) = rest.split_at(count);
        places.extend(inside.iter().map(|&(number, offset)| (number, segment, narrow(offset - start))));
        segments.push(narrow(size));
        rest = others;
    }
    (places, segments)
}

/// Finds the slots before each slot, and returns their list. O(n log n).
fn link(slots: &mut [Slot]) -> Vec<u32> {
    // By segment and offset: the end of a range, and the last slot there.
    let mut last: BTreeMap<(u32, u32), (u32, u32)> = BTreeMap::new();
    let mut earlier = Vec::new();
    for (number, slot) in (0..).zip(slots) {
        let first = narrow(earlier.len());
        (slot.first_earlier, slot.end_earlier) = (first, first);
        if slot.segment == Slot::OUTSIDE {
            continue;
        }
        let Range { start, end } = slot.range();
        let below = last.range(..(slot.segment, start)).next_back().map(|(&key, &value)| (key, value));
        let overlaps = last.range((slot.segment, start)..(slot.segment, end)).map(|(&key, &value)| (key, value));
        let below = below.filter(|&((segment, _), (until, _))| segment == slot.segment && until > start);
        let found: Vec<_> = below.into_iter().chain(overlaps).collect();
        for ((segment, from), (until, before)) in found {
            last.remove(&(segment, from));
            if from < start {
                last.insert((segment, from), (start, before));
            }
            if until > end {
                last.insert((segment, end), (until, before));
            }
            if !earlier[first as usize..].contains(&before) {
                earlier.push(before);
            }
        }
        last.insert((slot.segment, start), (end, number));
        slot.end_earlier = narrow(earlier.len());
    }
    earlier
}

fn narrow(index: usize) -> u32 {
    u32::try_from(index).expect("a run has fewer than 2^32 requests")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::Location;

    const TIME: Duration = Duration::from_millis(50);

    /// The requests of random sizes and lifetimes, some of which outlive the run.
    fn requests(seed: u64, count: usize) -> Vec<Request> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut requests: Vec<Request> = Vec::new();
        let mut live = Vec::new();
        let mut event = 0;
        while requests.len() < count || !live.is_empty() {
            let frees = requests.len() == count || (!live.is_empty() && random(2) == 0);
            if frees {
                let number: usize = {
                    let place = usize::try_from(random(live.len() as u64)).expect("below the length");
                    live.swap_remove(place)
                };
                if random(10) > 0 {
                    requests[number].upper = event;
                    event += 1;
                }
                continue;
            }
            live.push(requests.len());
            let bytes = 1 + random(4000);
            requests.push(Request { bytes, lower: event, upper: NEVER, site: Location::caller() });
            event += 1;
        }
        requests
    }

    #[test]
    fn blocks_that_are_live_together_do_not_overlap_and_segments_have_at_most_the_largest_size() {
        for seed in 0..40 {
            let requests = requests(seed, 120);
            for largest in [u32::MAX, 100, 41] {
                let plan = StepPlan::new(requests.clone(), 100, largest, TIME).expect("small sizes");
                assert!(plan.segments().iter().all(|&size| size <= largest));
                assert_eq!(plan.len(), requests.len());
                let placed = (0..plan.len()).map(|number| (*plan.slot(number).expect("in range"), requests[number]));
                let placed: Vec<_> = placed.filter(|(slot, _)| slot.segment != Slot::OUTSIDE).collect();
                assert_eq!(placed.len(), requests.iter().filter(|request| request.upper != NEVER).count());
                for (index, (slot, request)) in placed.iter().enumerate() {
                    assert!(slot.range().end <= plan.segments()[slot.segment as usize]);
                    for (other, lifetime) in &placed[..index] {
                        let together = request.lower < lifetime.upper && lifetime.lower < request.upper;
                        let overlap = slot.segment == other.segment
                            && slot.range().start < other.range().end
                            && other.range().start < slot.range().end;
                        assert!(!(together && overlap), "seed {seed}: {slot:?} and {other:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_earlier_slot_at_the_bytes_of_a_slot_is_found_through_the_last_ones() {
        for seed in 0..40 {
            let plan = StepPlan::new(requests(seed, 80), 100, 200, TIME).expect("small sizes");
            // The slots that are known to be free when a slot is used: the last ones before it, and those before them.
            for number in 0..plan.len() {
                let slot = *plan.slot(number).expect("in range");
                if slot.segment == Slot::OUTSIDE {
                    assert!(plan.earlier(&slot).is_empty());
                    continue;
                }
                let mut known = vec![false; plan.len()];
                let mut open = plan.earlier(&slot).to_vec();
                while let Some(before) = open.pop() {
                    if !std::mem::replace(&mut known[before as usize], true) {
                        open.extend(plan.earlier(plan.slot(before as usize).expect("in range")));
                    }
                }
                for (other, known) in known.iter().enumerate().take(number) {
                    let other = plan.slot(other).expect("in range");
                    let overlap = slot.segment == other.segment
                        && slot.range().start < other.range().end
                        && other.range().start < slot.range().end;
                    assert!(*known || !overlap, "seed {seed}, slot {number}");
                }
            }
        }
    }

    #[test]
    fn a_divided_plan_wastes_little() {
        for seed in 0..20 {
            let requests = requests(seed, 400);
            let whole = StepPlan::new(requests.clone(), 100, u32::MAX, TIME).expect("small sizes");
            let whole: u32 = whole.segments().iter().sum();
            let divided = StepPlan::new(requests, 100, whole / 2, TIME).expect("small sizes");
            let divided: u32 = divided.segments().iter().sum();
            assert!(divided <= whole + 2 * 40, "{divided} instead of {whole}");
        }
    }

    #[test]
    fn a_run_without_requests_needs_no_arena() {
        let plan = StepPlan::new(Vec::new(), 100, 10, TIME).expect("small sizes");
        assert_eq!((plan.len(), plan.segments().len(), plan.peak()), (0, 0, 0));
        assert!(plan.is_of(&[]) && plan.slot(0).is_none());
    }
}
