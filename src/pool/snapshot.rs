//! The full map of a pool, as plain data.
//!
//! Call sites and scopes are listed once and named by their numbers, so that a snapshot of very many blocks stays small, in memory
//! as in a file.

use super::attribution::History;
pub use super::attribution::{EventKind, ScopeCounts};
use super::{Event, Pool, Remedies, State};
use crate::device::{CacheUse, DriverHoldings, Memory};
use crate::heap::{BlockId, Stats};
pub use crate::heap::{BlockState, SegmentId, SubPool};
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::panic::Location;
use std::sync::Arc;

/// All that a pool knows of itself at one moment. Sizes are in bytes. O(blocks and events) to take.
///
/// Law: the blocks of a segment tile it, every number of a site or a scope names one, and the counters are the sums over the
/// blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// What the memory calls itself: the adapter and its backend.
    pub memory: String,
    /// The unit of offsets and sizes.
    pub granule: u64,
    /// The limit on reserved bytes, if one is set.
    pub limit: Option<u64>,
    /// The counters.
    pub stats: Stats,
    /// How often each rung of the ladder was taken.
    pub remedies: Remedies,
    /// What the driver holds, where the backend can tell.
    pub driver: Option<DriverHoldings>,
    /// What the pool and its memory keep to be fast.
    #[cfg_attr(feature = "serde", serde(default))]
    pub caches: Vec<CacheUse>,
    /// Bytes of segments that have left the pool and that the driver doesn't have back yet.
    pub pending: u64,
    /// Every line of the program that is named below.
    pub sites: Vec<Site>,
    /// Every scope, parents before their children.
    pub scopes: Vec<ScopeSnapshot>,
    /// Who pins what, in the order of the segments.
    pub pins: Vec<PinSnapshot>,
    /// The segments, in the order of their ids.
    pub segments: Vec<SegmentSnapshot>,
    /// The latest events, oldest first; none unless the history is recorded.
    pub events: Vec<EventSnapshot>,
    /// Events that the history has dropped to make room.
    pub events_dropped: u64,
    /// How many allocations there were.
    pub allocations: u64,
}

/// A line of a program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Site {
    /// The source file, as the compiler names it.
    pub file: Cow<'static, str>,
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted from 1.
    pub column: u32,
}

/// As `src/main.rs:12:5`.
impl std::fmt::Display for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A scope, with the sums over all its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ScopeSnapshot {
    /// Its own name.
    pub name: String,
    /// The number of the scope around it.
    pub parent: Option<u32>,
    /// How often it was entered.
    pub entries: u64,
    /// What happened in it, added up over its entries; the peak is that of the entry with the highest.
    pub counts: ScopeCounts,
}

/// A pin on a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PinSnapshot {
    /// Where the guard was taken: the number of the site.
    pub site: u32,
    /// The segment that the block holds.
    pub segment: SegmentId,
    /// The block's first byte.
    pub offset: u64,
}

/// One segment with its blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SegmentSnapshot {
    /// The segment.
    pub id: SegmentId,
    /// The pool it serves.
    pub pool: SubPool,
    /// Its size.
    pub bytes: u64,
    /// Bytes of its active blocks.
    pub active: u64,
    /// Its blocks in the order of their offsets. They tile it.
    pub blocks: Vec<BlockSnapshot>,
}

/// One block.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BlockSnapshot {
    /// Its first byte, from the segment's start.
    pub offset: u64,
    /// Its size.
    pub size: u64,
    /// The part of the size that was asked for; 0 if it is inactive.
    pub requested: u64,
    /// Whether and why it is in use.
    pub state: BlockState,
    /// Pins on it.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub pins: u32,
    /// Where it comes from, if it is active.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub origin: Option<BlockOrigin>,
}

/// Where a block comes from, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BlockOrigin {
    /// The line that allocated it: the number of the site.
    pub site: u32,
    /// The number of the scope that it was allocated in.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub scope: Option<u32>,
    /// The name that the program gave it.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub label: Option<String>,
    /// The type of its elements.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub dtype: Option<Cow<'static, str>>,
    /// The shape of the tensor that it was allocated for.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub shape: Option<Vec<u32>>,
    /// How many allocations were made after it.
    pub age: u64,
}

/// One event of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EventSnapshot {
    /// What happened.
    pub kind: EventKind,
    /// When: nanoseconds since the recording began.
    pub time: u64,
    /// The segment, where it happened in one.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub segment: Option<SegmentId>,
    /// The first byte, from the segment's start.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub offset: u64,
    /// The size of the block or segment, or the bytes trimmed or requested in vain.
    pub size: u64,
    /// The part of a block that was asked for.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub requested: u64,
    /// The number of the site that allocated the block, or whose request it was.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub site: Option<u32>,
    /// The number of the scope that the block was allocated in.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub scope: Option<u32>,
    /// Where a block was moved to.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub to: Option<(SegmentId, u64)>,
}

/// Whether a field needs no place in a file.
#[cfg(feature = "serde")]
fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

impl Snapshot {
    /// The names of a scope from the outermost on, as `step/forward`. Empty for a number that names none.
    #[must_use]
    pub fn scope_path(&self, scope: u32) -> String {
        let mut names = self.scope_names(scope);
        names.reverse();
        names.join("/")
    }

    /// The names of a scope and of those around it, innermost first. Empty for a number that names none.
    pub(crate) fn scope_names(&self, scope: u32) -> Vec<&str> {
        let mut names = Vec::new();
        let mut next = Some(scope);
        while let Some(scope) = next.and_then(|number| self.scopes.get(number as usize)) {
            names.push(scope.name.as_str());
            // Parents come before their children, also in a file that says otherwise: this ends.
            next = scope.parent.filter(|&parent| names.len() < self.scopes.len() && Some(parent) != next);
        }
        names
    }

    /// The blocks that are handed out.
    pub fn handed_out(&self) -> impl Iterator<Item = &BlockSnapshot> {
        let blocks = self.segments.iter().flat_map(|segment| &segment.blocks);
        blocks.filter(|block| block.state.is_allocated())
    }
}

/// A pool's memory explained: `println!("{}", pool.report())`. Fits 80 columns; the rows of its first table are those of
/// `torch.cuda.memory_summary`.
#[derive(Clone, Debug)]
pub struct Report {
    pub(crate) snapshot: Snapshot,
}

impl Report {
    pub(crate) fn of(mut snapshot: Snapshot) -> Self {
        // It shows none of them, and there may be very many.
        snapshot.events.clear();
        Self { snapshot }
    }
}

impl<M: Memory> Pool<M> {
    /// What the pool holds, why, and what could be done about it. O(blocks).
    #[must_use]
    pub fn report(&self) -> Report {
        Report::of(self.snapshot())
    }

    /// All that the pool knows of itself: every segment and block, who holds and who pins them, the counters, the scopes, and
    /// the history if it is recorded. O(blocks and events), with the heap locked meanwhile.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let memory = &self.inner.memory;
        // The driver is asked before the lock is taken: its answer is that of a moment before.
        let (name, driver, reclaimed) = (memory.name(), memory.driver_holdings(), memory.reclaim());
        let mut caches = memory.caches();
        let mut state = self.inner.state();
        state.unreported += reclaimed.freed;
        caches.push(super::caches::references(state.references.len()));
        let mut snapshot = Taken::default().of(&state);
        drop(state);
        snapshot.memory = name;
        snapshot.driver = driver;
        snapshot.caches = caches;
        snapshot.pending = reclaimed.pending;
        snapshot
    }
}

/// A snapshot while it is taken.
#[derive(Default)]
struct Taken {
    sites: Vec<Site>,
    numbers: FxHashMap<&'static Location<'static>, u32>,
}

impl Taken {
    fn of<M: Memory>(mut self, state: &State<M>) -> Snapshot {
        let heap = state.heap.snapshot();
        let segments = heap.segments.into_iter().map(|segment| {
            let blocks = segment.blocks.iter().map(|block| BlockSnapshot {
                offset: block.offset,
                size: block.size,
                requested: block.requested,
                state: block.state,
                pins: block.pins,
                origin: block.id.and_then(|id| self.origin(state, id)),
            });
            let blocks = blocks.collect();
            SegmentSnapshot { id: segment.id, pool: segment.pool, bytes: segment.bytes, active: segment.active, blocks }
        });
        let segments = segments.collect();
        let pins = state.pins.iter().filter_map(|(_, &(block, site))| {
            let place = state.heap.active_place(block)?;
            Some(PinSnapshot { site: self.site(site), segment: place.segment, offset: place.offset })
        });
        let mut pins: Vec<PinSnapshot> = pins.collect();
        pins.sort_by_key(|pin| (pin.segment, pin.offset));
        let scopes = state.attribution.scopes().totals().into_iter().map(|totals| ScopeSnapshot {
            name: totals.name.to_string(),
            parent: totals.parent,
            entries: totals.entries,
            counts: totals.counts,
        });
        let history = state.attribution.history();
        let events =
            history.map_or_else(Vec::new, |history| history.events().map(|event| self.event(&event)).collect());
        Snapshot {
            granule: heap.granule,
            limit: state.limit,
            stats: heap.stats,
            remedies: state.remedies,
            scopes: scopes.collect(),
            pins,
            segments,
            events,
            events_dropped: history.map_or(0, History::dropped),
            allocations: state.attribution.origins.allocations(),
            sites: self.sites,
            ..Snapshot::default()
        }
    }

    fn origin<M: Memory>(&mut self, state: &State<M>, block: BlockId) -> Option<BlockOrigin> {
        let origins = &state.attribution.origins;
        let origin = origins.of(block)?;
        Some(BlockOrigin {
            site: self.site(origin.site),
            scope: origin.scope(),
            label: origins.label_of(block).map(|label: &Arc<str>| label.to_string()),
            dtype: origin.dtype().map(Cow::Borrowed),
            shape: origin.shape().map(<[u32]>::to_vec),
            age: origins.allocations() - origin.serial() - 1,
        })
    }

    fn event(&mut self, event: &Event) -> EventSnapshot {
        let &Event { kind, time, segment, offset, size, requested, site, scope, to } = event;
        let site = site.map(|site| self.site(site));
        EventSnapshot { kind, time, segment, offset, size, requested, site, scope, to }
    }

    /// The number of a line.
    fn site(&mut self, site: &'static Location<'static>) -> u32 {
        *self.numbers.entry(site).or_insert_with(|| {
            let number = u32::try_from(self.sites.len()).expect("a program has fewer than 2^32 lines");
            self.sites.push(Site { file: site.file().into(), line: site.line(), column: site.column() });
            number
        })
    }
}
