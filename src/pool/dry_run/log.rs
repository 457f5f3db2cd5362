//! The events of a dry run, and its peaks.

use super::super::attribution::HolderTotals;
use super::{Peak, Refusal};
use crate::error::{Holder, Site};
use crate::heap::{BlockId, Stats};
use crate::plan::Trace;
use rustc_hash::{FxHashMap, FxHashSet};
use std::panic::Location;
use std::sync::Arc;

type CallSite = &'static Location<'static>;

/// An allocated block of a dry run. Blocks are numbered in the order of their allocation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allocated {
    pub(super) bytes: u64,
    pub(super) site: CallSite,
    /// The number of the scope.
    pub(super) scope: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// The next block is allocated.
    Allocate(Allocated),
    /// The block of this number is freed.
    Free(u64),
}

/// A value that the dry run has reached.
#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    bytes: u64,
    /// The call site of the request. `None` before the first one.
    site: Option<CallSite>,
    /// The number of events until then, including the event that reached the value.
    events: usize,
}

impl Reached {
    fn peak(&self) -> Peak {
        Peak { bytes: self.bytes, site: self.site.map(Site::from) }
    }
}

/// The events of a dry run. Begins with an allocation for each block that exists before.
#[derive(Debug, Default)]
pub(super) struct Log {
    events: Vec<Event>,
    blocks: u64,
    /// The numbers of the blocks from before the dry run, while they are allocated.
    existing: FxHashMap<BlockId, u64>,
    labels: FxHashMap<u64, Arc<str>>,
    requested: Reached,
    reserved: Reached,
    refusal: Option<Refusal>,
}

impl Log {
    /// Appends a block from before the dry run.
    pub(super) fn existing(&mut self, block: BlockId, allocated: Allocated, label: Option<&Arc<str>>) {
        let number = self.append(allocated);
        self.existing.insert(block, number);
        if let Some(label) = label {
            self.labels.insert(number, Arc::clone(label));
        }
    }

    /// Ends the list of the blocks from before the dry run, and begins with the peaks of `stats`.
    pub(super) fn begin(&mut self, stats: &Stats) {
        self.note(stats, None);
        self.requested.events = self.events.len();
    }

    /// Appends an allocation, and returns the number of the block.
    pub(super) fn allocated(&mut self, allocated: Allocated, stats: &Stats) -> u64 {
        let number = self.append(allocated);
        self.note(stats, Some(allocated.site));
        number
    }

    fn append(&mut self, allocated: Allocated) -> u64 {
        self.events.push(Event::Allocate(allocated));
        self.blocks += 1;
        self.blocks - 1
    }

    pub(super) fn freed(&mut self, number: u64) {
        self.events.push(Event::Free(number));
    }

    /// Appends a free of a block from before the dry run. Returns false for other blocks.
    pub(super) fn freed_existing(&mut self, block: BlockId) -> bool {
        let Some(number) = self.existing.remove(&block) else { return false };
        self.freed(number);
        true
    }

    pub(super) fn number_of(&self, block: BlockId) -> Option<u64> {
        self.existing.get(&block).copied()
    }

    pub(super) fn label(&mut self, number: u64, label: Arc<str>) {
        self.labels.insert(number, label);
    }

    /// Raises the peaks to those of the heap, which a call at `site` has reached.
    pub(super) fn note(&mut self, stats: &Stats, site: Option<CallSite>) {
        let events = self.events.len();
        // Only requests raise the sum of the blocks on the device and in host memory.
        let requested = stats.requested.current + stats.spilled_requested.current;
        let requested = requested.max(stats.requested.peak);
        for (reached, bytes) in [(&mut self.requested, requested), (&mut self.reserved, stats.reserved.peak)] {
            if bytes > reached.bytes {
                *reached = Reached { bytes, site, events };
            }
        }
    }

    /// Stores the first refused request.
    pub(super) fn refused(&mut self, refusal: impl FnOnce() -> Refusal) {
        self.refusal.get_or_insert_with(refusal);
    }

    pub(super) fn take_refusal(&mut self) -> Option<Refusal> {
        self.refusal.take()
    }

    /// Returns the peaks of requested and of reserved bytes.
    pub(super) fn peaks(&self) -> [Peak; 2] {
        [self.requested.peak(), self.reserved.peak()]
    }

    /// Returns the holders at the peak of requested bytes. `path` returns the path of a scope.
    pub(super) fn holders(&self, path: impl Fn(u32) -> String) -> Vec<Holder> {
        let until = &self.events[..self.requested.events];
        let freed: FxHashSet<u64> = until.iter().filter_map(Event::freed).collect();
        let mut totals = HolderTotals::default();
        for (number, allocated) in (0..).zip(until.iter().filter_map(Event::allocated)) {
            if !freed.contains(&number) {
                totals.add((allocated.site, self.labels.get(&number), allocated.scope), allocated.bytes);
            }
        }
        totals.holders(|(site, label, scope)| (site.into(), label.cloned(), scope.map(|scope| path(scope).into())))
    }

    /// Returns the allocations and frees, with the numbers of the blocks as ids.
    pub(super) fn trace(&self) -> Trace {
        let mut trace = Trace::new();
        let mut next = 0;
        for event in &self.events {
            let appended = match event {
                Event::Allocate(allocated) => {
                    next += 1;
                    trace.allocate(next - 1, allocated.bytes)
                }
                &Event::Free(number) => trace.free(number),
            };
            appended.expect("a block is allocated once, and freed once after that");
        }
        trace
    }
}

impl Event {
    const fn freed(&self) -> Option<u64> {
        match self {
            Self::Free(number) => Some(*number),
            Self::Allocate(_) => None,
        }
    }

    const fn allocated(&self) -> Option<&Allocated> {
        match self {
            Self::Allocate(allocated) => Some(allocated),
            Self::Free(_) => None,
        }
    }
}
