//! The history: a ring buffer of allocation events.

use super::super::Pool;
use crate::device::Memory;
use crate::heap::{Place, SegmentId};
use quanta::Instant;
use std::panic::Location;

/// The kind of an [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum EventKind {
    /// A block was allocated.
    Allocate,
    /// A block was freed.
    Free,
    /// A segment was created.
    SegmentCreated,
    /// A segment was released.
    SegmentReleased,
    /// A block was moved.
    Move,
    /// A block has moved to host memory, from this location.
    Spill,
    /// A block has returned from host memory, to this location.
    Return,
    /// The pool was trimmed; the size is the sum of the released segments.
    Trim,
    /// A request failed with an out-of-memory error.
    OutOfMemory,
}

/// One event. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The kind of the event.
    pub kind: EventKind,
    /// The time in nanoseconds since recording began.
    pub time: u64,
    /// The segment, if the event belongs to one.
    pub segment: Option<SegmentId>,
    /// The first byte, relative to the segment's start.
    pub offset: u64,
    /// The size of the block or segment, the bytes trimmed, or the bytes of a failed request.
    pub size: u64,
    /// The requested bytes of the block.
    pub requested: u64,
    /// The call site of the allocation or request.
    pub site: Option<&'static Location<'static>>,
    /// The number of the scope in which the block was allocated.
    pub scope: Option<u32>,
    /// The new location of a moved block.
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

/// An event in the ring buffer: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Record {
    time: u64,
    /// [`NOWHERE`] if the event belongs to no segment.
    segment: u64,
    offset: u64,
    size: u64,
    /// The requested bytes, or the new offset of a moved block.
    more: u64,
    site: Option<&'static Location<'static>>,
    /// The new segment of a moved block.
    to_segment: u64,
    /// The scope's number plus one, or 0 outside any scope.
    scope: u32,
    kind: EventKind,
}

const _: () = assert!(size_of::<Record>() == 64);

/// Never a segment number: these count up from 0.
const NOWHERE: u64 = u64::MAX;

impl Record {
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

/// The largest capacity in events, which takes 1 GiB.
const MAX_EVENTS: usize = 1 << 24;
/// The initial capacity in events.
const INITIAL_EVENTS: usize = 1 << 14;

/// The most recent events.
#[derive(Debug)]
pub(in crate::pool) struct History {
    began: Instant,
    /// Grows up to `capacity`, then serves as a ring buffer.
    events: Vec<Record>,
    capacity: usize,
    /// The index of the oldest event once the buffer is full, which the next event overwrites.
    next: usize,
    /// The number of overwritten events.
    dropped: u64,
}

impl History {
    fn new(capacity: usize) -> Self {
        let capacity = capacity.min(MAX_EVENTS);
        let events = Vec::with_capacity(capacity.min(INITIAL_EVENTS));
        Self { began: Instant::now(), events, capacity, next: 0, dropped: 0 }
    }

    #[inline]
    pub(super) fn record(&mut self, event: &Event) {
        let time = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let stored = Record::new(event, time);
        if self.events.len() < self.capacity {
            if self.events.len() == self.events.capacity() {
                self.grow();
            }
            if self.events.len() < self.events.capacity() {
                self.events.push(stored);
                return;
            }
        }
        self.events[self.next] = stored;
        self.next = if self.next + 1 == self.events.len() { 0 } else { self.next + 1 };
        self.dropped += 1;
    }

    /// Doubles the allocation, up to the capacity. If host memory cannot be allocated, the current length becomes the
    /// capacity.
    #[cold]
    fn grow(&mut self) {
        let more = self.events.len().max(INITIAL_EVENTS).min(self.capacity - self.events.len());
        if self.events.try_reserve_exact(more).is_err() {
            self.capacity = self.events.len();
        }
    }

    /// Returns the events, oldest first.
    pub(in crate::pool) fn events(&self) -> impl Iterator<Item = Event> {
        let (younger, older) = self.events.split_at(self.next);
        older.iter().chain(younger).map(Record::event)
    }

    pub(in crate::pool) const fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl<M: Memory> Pool<M> {
    /// Starts to record the most recent `max_events` events, and discards previous records. Snapshots contain the events. Off
    /// until this is called. Equals `torch.cuda.memory._record_memory_history(max_entries=max_events)`.
    ///
    /// An event takes 64 bytes of host memory, allocated as needed. The capacity is limited to 2²⁴ events (1 GiB), or
    /// to fewer if host memory cannot be allocated. The first call in a program calibrates the CPU's clock, which can
    /// take 0.2 s.
    pub fn start_history(&self, max_events: usize) {
        if let Some(dry) = self.dry() {
            return dry.start_history(max_events);
        }
        let history = (max_events > 0).then(|| Box::new(History::new(max_events)));
        self.replace_history(history);
    }

    /// Stops recording, and discards the records. Equals `torch.cuda.memory._record_memory_history(enabled=None)`.
    pub fn stop_history(&self) {
        if let Some(dry) = self.dry() {
            return dry.stop_history();
        }
        self.replace_history(None);
    }

    fn replace_history(&self, history: Option<Box<History>>) {
        let previous = self.inner.state().attribution.set_history(history);
        drop(previous);
    }

    /// Returns the recorded events, oldest first; empty unless [`Pool::start_history`] was called. O(events).
    #[must_use]
    pub fn history(&self) -> Vec<Event> {
        if let Some(dry) = self.dry() {
            return dry.history();
        }
        let state = self.inner.state();
        state.attribution.history().map_or_else(Vec::new, |history| history.events().collect())
    }
}
