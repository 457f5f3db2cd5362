//! What happened in the pool, event by event, in a ring.

use super::super::Pool;
use crate::device::Memory;
use crate::heap::{Place, SegmentId};
use quanta::Instant;
use std::panic::Location;

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum EventKind {
    /// A block was handed out.
    Allocate,
    /// A block was freed.
    Free,
    /// A segment was made.
    SegmentMade,
    /// A segment was released.
    SegmentReleased,
    /// A block was moved.
    Move,
    /// The pool was trimmed of so many bytes.
    Trim,
    /// A request found no memory.
    OutOfMemory,
}

/// One event. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// When: nanoseconds since the recording began.
    pub time: u64,
    /// The segment, where it happened in one.
    pub segment: Option<SegmentId>,
    /// The first byte, from the segment's start.
    pub offset: u64,
    /// The size of the block or segment, or the bytes trimmed or requested in vain.
    pub size: u64,
    /// The part of a block that was asked for.
    pub requested: u64,
    /// Where the block was allocated, or where the request came from.
    pub site: Option<&'static Location<'static>>,
    /// The number of the scope that the block was allocated in.
    pub scope: Option<u32>,
    /// Where a block was moved to.
    pub to: Option<(SegmentId, u64)>,
}

impl Event {
    pub(super) const fn of(kind: EventKind, size: u64) -> Self {
        Self { kind, time: 0, segment: None, offset: 0, size, requested: 0, site: None, scope: None, to: None }
    }

    pub(super) const fn at(kind: EventKind, place: Place) -> Self {
        Self { segment: Some(place.segment), offset: place.offset, ..Self::of(kind, place.size) }
    }
}

/// An event as it is kept: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Kept {
    time: u64,
    /// [`NOWHERE`] where there is none.
    segment: u64,
    offset: u64,
    size: u64,
    /// Bytes requested, or of a move the new offset.
    more: u64,
    site: Option<&'static Location<'static>>,
    /// Of a move the new segment.
    to_segment: u64,
    /// The scope's number and one, or 0 for none.
    scope: u32,
    kind: EventKind,
}

const _: () = assert!(size_of::<Kept>() == 64);

/// No segment has this number: they count up from 0.
const NOWHERE: u64 = u64::MAX;

impl Kept {
    #[inline]
    fn new(event: &Event, time: u64) -> Self {
        let &Event { kind, time: _, segment, offset, size, requested, site, scope, to } = event;
        let segment = segment.map_or(NOWHERE, SegmentId::number);
        let (to_segment, more) = to.map_or((NOWHERE, requested), |(segment, offset)| (segment.number(), offset));
        Self { time, segment, offset, size, more, site, to_segment, scope: scope.map_or(0, |scope| scope + 1), kind }
    }

    fn event(&self) -> Event {
        let &Self { time, segment, offset, size, more, site, to_segment, scope, kind } = self;
        let id = |number| (number != NOWHERE).then(|| SegmentId::from_number(number));
        let to = id(to_segment).map(|segment| (segment, more));
        let requested = if to.is_some() { 0 } else { more };
        Event { kind, time, segment: id(segment), offset, size, requested, site, scope: scope.checked_sub(1), to }
    }
}

/// The most events that are kept: 1 GiB of them.
const MOST_EVENTS: usize = 1 << 24;
/// Events for which there is room at once.
const FIRST_EVENTS: usize = 1 << 14;

/// The latest events.
#[derive(Debug)]
pub(in crate::pool) struct History {
    began: Instant,
    /// Grows to its capacity, and is then written over from the start.
    events: Vec<Kept>,
    capacity: usize,
    /// Where the next event goes once it is full: the place of the oldest.
    next: usize,
    /// Events that had to make room.
    dropped: u64,
}

impl History {
    fn new(capacity: usize) -> Self {
        let capacity = capacity.min(MOST_EVENTS);
        let events = Vec::with_capacity(capacity.min(FIRST_EVENTS));
        Self { began: Instant::now(), events, capacity, next: 0, dropped: 0 }
    }

    #[inline]
    pub(super) fn record(&mut self, event: &Event) {
        let time = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let kept = Kept::new(event, time);
        if self.events.len() < self.capacity {
            if self.events.len() == self.events.capacity() {
                self.grow();
            }
            if self.events.len() < self.events.capacity() {
                self.events.push(kept);
                return;
            }
        }
        self.events[self.next] = kept;
        self.next = if self.next + 1 == self.events.len() { 0 } else { self.next + 1 };
        self.dropped += 1;
    }

    /// Makes room for as many events again, within the capacity. Where the host has no memory the history stays as long as it is.
    #[cold]
    fn grow(&mut self) {
        let more = self.events.len().max(FIRST_EVENTS).min(self.capacity - self.events.len());
        if self.events.try_reserve_exact(more).is_err() {
            self.capacity = self.events.len();
        }
    }

    /// The events, oldest first.
    pub(in crate::pool) fn events(&self) -> impl Iterator<Item = Event> {
        let (younger, older) = self.events.split_at(self.next);
        older.iter().chain(younger).map(Kept::event)
    }

    pub(in crate::pool) const fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl<M: Memory> Pool<M> {
    /// Begins to record the latest `events` events, in place of what was recorded; 0 ends the recording. Snapshots carry
    /// them. Off by default, as `torch.cuda.memory._record_memory_history`.
    ///
    /// An event takes 64 bytes of the host's memory, once it is there. At most 2²⁴ events are kept, in 1 GiB, however many are asked
    /// for; fewer where the host has no memory for them. The first call of a program measures the processor's clock, which can take a fifth of a second.
    pub fn record_history(&self, events: usize) {
        let history = (events > 0).then(|| Box::new(History::new(events)));
        let previous = self.inner.state().attribution.set_history(history);
        drop(previous);
    }

    /// The recorded events, oldest first; none unless [`Pool::record_history`] was called. O(events).
    #[must_use]
    pub fn history(&self) -> Vec<Event> {
        let state = self.inner.state();
        state.attribution.history().map_or_else(Vec::new, |history| history.events().collect())
    }
}
