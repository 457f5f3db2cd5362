//! Snapshots: the full map of a pool, as plain data.
//!
//! Call sites and scopes are stored once and referenced by number, so that a snapshot of many blocks stays small, in
//! memory and in a file.

pub(crate) use super::Remedies;
pub use super::attribution::{EventKind, ScopeCounts};
use super::attribution::{History, HolderTotals};
pub use super::repeat::{PlanSnapshot, PlannedRequest};
use super::{Event, Pool, SpillStats, State};
use crate::device::Memory;
pub(crate) use crate::device::{CacheUse, DriverHoldings};
use crate::error::Holder;
pub use crate::error::Site;
use crate::heap::{BlockId, Stats};
pub use crate::heap::{BlockState, SegmentId, SubPool};
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::panic::Location;
use std::sync::Arc;

/// The complete state of a pool at one point in time. Sizes are in bytes. Taking a snapshot costs O(blocks + events).
///
/// Invariants: the blocks of a segment tile it, every site number and scope number exists, and the counters equal the
/// sums over the blocks. Deserializing a snapshot checks them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// The memory's name: for a GPU, the adapter and its backend.
    pub memory: String,
    /// The unit of offsets and sizes.
    pub granule: u64,
    /// The limit on reserved bytes, if one is set.
    pub limit: Option<u64>,
    /// The counters.
    pub stats: Stats,
    /// Counts of the measures against out-of-memory errors.
    pub remedies: Remedies,
    /// The bytes that the driver holds, if the backend reports them.
    pub driver: Option<DriverHoldings>,
    /// The usage of the caches of the pool and its memory.
    pub caches: Vec<CacheUse>,
    /// Bytes of released segments that the driver has not freed yet.
    pub pending: u64,
    /// Every call site that is referenced below.
    pub sites: Vec<Site>,
    /// Every scope, parents before children.
    pub scopes: Vec<ScopeSnapshot>,
    /// All pins, in the order of the segments.
    pub pins: Vec<PinSnapshot>,
    /// The segments in the order of their ids.
    pub segments: Vec<SegmentSnapshot>,
    /// The use of host memory by spilling. All values are 0 in a pool without spilling.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_zero"))]
    pub spill: SpillStats,
    /// The blocks in host memory, in the order of their slots. The blocks of the segments are on the device.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub host_blocks: Vec<HostBlockSnapshot>,
    /// The loops of [`Repeat`](crate::Repeat) that have a plan.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub plans: Vec<PlanSnapshot>,
    /// The most recent events, oldest first; empty unless the history is recorded.
    pub events: Vec<EventSnapshot>,
    /// The number of events that the history has overwritten.
    pub events_dropped: u64,
    /// The number of allocations so far.
    pub allocations: u64,
}

/// A scope with the totals over all its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ScopeSnapshot {
    /// The scope's own name.
    pub name: String,
    /// The number of the parent scope.
    pub parent: Option<u32>,
    /// The number of entries.
    pub entries: u64,
    /// The totals over all entries; the peak is the largest peak of any entry.
    pub counts: ScopeCounts,
}

/// A pinned block and the call site that pinned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PinSnapshot {
    /// The site number of the call of [`Storage::pin`](crate::Storage::pin).
    pub site: u32,
    /// The segment that contains the block.
    pub segment: SegmentId,
    /// The block's first byte, relative to the segment's start.
    pub offset: u64,
}

/// A segment with its blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SegmentSnapshot {
    /// The segment's id.
    pub id: SegmentId,
    /// The sub-pool that the segment belongs to.
    pub pool: SubPool,
    /// The segment's size.
    pub bytes: u64,
    /// The bytes of the segment's active blocks.
    pub active: u64,
    /// Whether the segment is part of the arena of a [`Repeat`](crate::Repeat): no other request uses its free bytes, so they are no holes.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "std::ops::Not::not"))]
    pub planned: bool,
    /// The segment's blocks in the order of their offsets. They tile the segment.
    pub blocks: Vec<BlockSnapshot>,
}

/// A block.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BlockSnapshot {
    /// The block's first byte, relative to the segment's start.
    pub offset: u64,
    /// The block's size.
    pub size: u64,
    /// The requested bytes; 0 for an inactive block.
    pub requested: u64,
    /// Whether the block is allocated, freed but pinned, or inactive.
    pub state: BlockState,
    /// The number of pins on the block.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub pins: u32,
    /// The block's origin, if the block is active.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub origin: Option<BlockOrigin>,
}

/// An allocated block in host memory, with [`PoolOptions::spill`](crate::PoolOptions::spill).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HostBlockSnapshot {
    /// The block's size.
    pub size: u64,
    /// The requested bytes.
    pub requested: u64,
    /// The block's origin.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub origin: Option<BlockOrigin>,
}

/// The call site, scope, label and content of a block. Call site and scope are numbers of the snapshot;
/// [`Snapshot::holders`] resolves them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BlockOrigin {
    /// The site number of the allocation.
    pub site: u32,
    /// The number of the scope in which the block was allocated.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub scope: Option<u32>,
    /// The block's label, if one was set.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub label: Option<String>,
    /// The element type.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub dtype: Option<Cow<'static, str>>,
    /// The shape of the tensor for which the block was allocated.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub shape: Option<Vec<u32>>,
    /// The number of later allocations.
    pub age: u64,
}

/// An event of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EventSnapshot {
    /// The kind of the event.
    pub kind: EventKind,
    /// The time in nanoseconds since recording began.
    pub time: u64,
    /// The segment, if the event belongs to one.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub segment: Option<SegmentId>,
    /// The first byte, relative to the segment's start.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub offset: u64,
    /// The size of the block or segment, the bytes trimmed, or the bytes of a failed request.
    pub size: u64,
    /// The requested bytes of the block.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub requested: u64,
    /// The site number of the allocation or request.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub site: Option<u32>,
    /// The number of the scope in which the block was allocated.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub scope: Option<u32>,
    /// The new location of a moved block.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub to: Option<(SegmentId, u64)>,
}

/// Returns whether a field is omitted from the file.
#[cfg(feature = "serde")]
fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// The site of a number that does not exist, in a snapshot that violates the invariants.
const UNKNOWN: Site = Site { file: Cow::Borrowed("unknown"), line: 0, column: 0 };

impl Snapshot {
    /// Returns the path of a scope, such as `step/forward`. Empty if the number does not exist.
    #[must_use]
    pub fn scope_path(&self, scope: u32) -> String {
        let mut names = self.scope_names(scope);
        names.reverse();
        names.join("/")
    }

    /// Returns the names of a scope and its ancestors, innermost first. Empty if the number does not exist.
    pub(crate) fn scope_names(&self, scope: u32) -> Vec<&str> {
        let mut names = Vec::new();
        let mut next = Some(scope);
        while let Some(scope) = next.and_then(|number| self.scopes.get(number as usize)) {
            names.push(scope.name.as_str());
            // Bounded, because a file may violate the order of parents and children.
            next = scope.parent.filter(|&parent| names.len() < self.scopes.len() && Some(parent) != next);
        }
        names
    }

    /// Returns the holders of the allocated blocks, on the device and in host memory, largest first: one for each call
    /// site, label and scope. Equals [`Pool::top_holders`] at the time of the snapshot. O(blocks).
    #[must_use]
    pub fn holders(&self) -> Vec<Holder> {
        let mut totals = HolderTotals::default();
        let on_device = self.allocated_blocks().map(|block| (&block.origin, block.requested));
        let on_host = self.host_blocks.iter().map(|block| (&block.origin, block.requested));
        for (origin, requested) in on_device.chain(on_host) {
            let Some(origin) = origin else { continue };
            totals.add((origin.site, origin.label.as_deref(), origin.scope), requested);
        }
        totals.holders(|(site, label, scope)| {
            let site = self.sites.get(site as usize).cloned().unwrap_or(UNKNOWN);
            (site, label.map(Arc::from), scope.map(|scope| self.scope_path(scope).into()))
        })
    }

    /// Returns the inactive blocks that a request can use: not those of the arenas of repeated steps.
    pub fn holes(&self) -> impl Iterator<Item = &BlockSnapshot> {
        let blocks = self.segments.iter().filter(|segment| !segment.planned).flat_map(|segment| &segment.blocks);
        blocks.filter(|block| !block.state.is_active())
    }

    /// Returns the allocated blocks on the device.
    pub fn allocated_blocks(&self) -> impl Iterator<Item = &BlockSnapshot> {
        let blocks = self.segments.iter().flat_map(|segment| &segment.blocks);
        blocks.filter(|block| block.state.is_allocated())
    }
}

/// A text report of a pool's memory: `println!("{}", pool.report())`. Fits 80 columns. The rows of its first table are
/// those of `torch.cuda.memory_summary`.
#[derive(Clone, Debug)]
pub struct Report {
    pub(crate) snapshot: Snapshot,
}

impl Report {
    pub(crate) fn of(mut snapshot: Snapshot) -> Self {
        // Reports do not use the events, which may be numerous.
        snapshot.events.clear();
        Self { snapshot }
    }
}

impl<M: Memory> Pool<M> {
    /// Returns a report of the pool's memory use, its causes, and possible remedies. O(blocks). Does not wait for the
    /// device, but polls it, as [`Pool::snapshot`].
    #[must_use]
    pub fn report(&self) -> Report {
        Report::of(self.snapshot())
    }

    /// Returns the complete state of the pool: every segment and block, holders and pins, the counters, the scopes, and
    /// the history if it is recorded. Equals `torch.cuda.memory._snapshot`. O(blocks + events); the heap is locked
    /// meanwhile. Does not wait for the device, but polls it, which may run application callbacks.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        if let Some(dry) = self.dry() {
            return dry.snapshot();
        }
        let memory = &self.inner.memory;
        // Queried before the lock is taken, so the driver's values may be slightly older.
        let (name, driver, reclaimed) = (memory.name(), memory.driver_holdings(), memory.reclaim());
        let mut caches = memory.caches();
        let mut state = self.inner.state();
        state.count_freed(reclaimed.freed);
        caches.extend(state.caches(self.inner.deferred.handles()));
        let mut snapshot = Builder::default().of(&state);
        drop(state);
        snapshot.memory = name;
        snapshot.driver = driver;
        snapshot.caches = caches;
        snapshot.pending = reclaimed.pending;
        snapshot
    }
}

/// A snapshot under construction.
#[derive(Default)]
struct Builder {
    sites: Vec<Site>,
    numbers: FxHashMap<&'static Location<'static>, u32>,
}

impl Builder {
    fn of<M: Memory>(mut self, state: &State<M>) -> Snapshot {
        let segments = state.heap.segments().map(|segment| {
            let blocks = segment.blocks().map(|block| BlockSnapshot {
                offset: block.offset,
                size: block.size,
                requested: block.requested,
                state: block.state,
                pins: block.pins,
                origin: block.id.and_then(|id| self.origin(state, id)),
            });
            let blocks = blocks.collect();
            SegmentSnapshot {
                id: segment.id,
                pool: segment.pool,
                bytes: segment.bytes,
                active: segment.active,
                planned: segment.is_planned(),
                blocks,
            }
        });
        let segments = segments.collect();
        let host_blocks = state.heap.detached_blocks().map(|(id, block)| {
            let origin = self.origin(state, id);
            HostBlockSnapshot { size: block.size, requested: block.requested.get(), origin }
        });
        let host_blocks = if state.spilling.is_some() { host_blocks.collect() } else { Vec::new() };
        let pins = state.pins.iter().filter_map(|(_, &(block, site))| {
            let place = state.heap.active_place(block)?;
            Some(PinSnapshot { site: self.site(site), segment: place.segment, offset: place.offset })
        });
        let mut pins: Vec<PinSnapshot> = pins.collect();
        pins.sort_by_key(|pin| (pin.segment, pin.offset));
        let granule = state.heap.granule();
        let plans = state.steps.loops().filter_map(|view| view.snapshot(granule, |site| self.site(site))).collect();
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
            granule: state.heap.granule(),
            limit: state.limit,
            stats: state.heap.stats(),
            remedies: state.remedies,
            scopes: scopes.collect(),
            pins,
            segments,
            plans,
            spill: state.spill_stats(),
            host_blocks,
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

    /// Returns the number of a call site.
    fn site(&mut self, site: &'static Location<'static>) -> u32 {
        *self.numbers.entry(site).or_insert_with(|| {
            let number = u32::try_from(self.sites.len()).expect("a program has fewer than 2^32 lines");
            self.sites.push(site.into());
            number
        })
    }
}
