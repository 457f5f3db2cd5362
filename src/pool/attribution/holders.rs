//! Who holds the memory.

use super::super::{Inner, Pool, State};
use super::origins::Origin;
use crate::device::Memory;
use crate::error::{Bytes, Holder};
use crate::heap::{BlockId, BlockSnapshot, SegmentId};
use rustc_hash::FxHashMap;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// One block that is handed out, and what it is. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The line of the program that allocated it.
    pub site: &'static Location<'static>,
    /// The name that the program gave it.
    pub label: Option<Arc<str>>,
    /// The scope that it was allocated in, from the outermost on, as `step/forward`.
    pub scope: Option<String>,
    /// The type of its elements.
    pub dtype: Option<&'static str>,
    /// The shape of the tensor that it was allocated for.
    pub shape: Option<Vec<u32>>,
    /// Bytes asked for.
    pub requested: u64,
    /// The block's size.
    pub size: u64,
    /// How many allocations were made after it.
    pub age: u64,
    /// Pins on it.
    pub pins: u32,
    /// The segment that it lies in, which it keeps from being trimmed.
    pub segment: SegmentId,
}

/// As `4.0 MiB weights f32 [1024, 1024], 17 allocations old, src/main.rs:12:5 in step/forward`.
impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Bytes(self.requested))?;
        if let Some(label) = &self.label {
            write!(f, " {}", label.escape_debug())?;
        }
        if let Some(dtype) = self.dtype {
            write!(f, " {dtype}")?;
        }
        if let Some(shape) = &self.shape {
            write!(f, " {shape:?}")?;
        }
        let allocations = if self.age == 1 { "allocation" } else { "allocations" };
        write!(f, ", {} {allocations} old, {}", self.age, self.site)?;
        if let Some(scope) = &self.scope {
            write!(f, " in {scope}")?;
        }
        if self.pins > 0 { write!(f, ", pinned") } else { Ok(()) }
    }
}

impl<M: Memory> Pool<M> {
    /// The call sites, and the labels, whose blocks take the most memory: the `most` largest, largest first. O(blocks).
    #[must_use]
    pub fn top_holders(&self, most: usize) -> Vec<Holder> {
        let mut holders = self.inner.state().holders();
        holders.truncate(most);
        holders
    }

    /// The blocks that keep a segment from being trimmed, largest first. O(blocks).
    #[must_use]
    pub fn holders_of(&self, segment: SegmentId) -> Vec<Holding> {
        let mut holdings = self.inner.state().holdings(|_, _| true);
        holdings.retain(|holding| holding.segment == segment);
        holdings
    }
}

/// What blocks are grouped by.
pub(super) type Group = (&'static Location<'static>, Option<Arc<str>>);

impl<M: Memory> State<M> {
    /// What every group holds, largest first.
    pub(in crate::pool) fn holders(&self) -> Vec<Holder> {
        let groups = self.groups();
        let holder = |((site, label), (blocks, bytes))| Holder { site, label, blocks, bytes };
        let mut holders: Vec<Holder> = groups.into_iter().map(holder).collect();
        // The site decides among equals, so that the order is always the same.
        holders.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| (a.site, &a.label).cmp(&(b.site, &b.label))));
        holders
    }

    /// Blocks and requested bytes of every call site and label.
    pub(super) fn groups(&self) -> FxHashMap<Group, (u64, u64)> {
        let mut groups: FxHashMap<Group, (u64, u64)> = FxHashMap::default();
        self.each_handed_out(|_, id, block, origin| {
            let label = self.attribution.origins.label_of(id).cloned();
            let (blocks, bytes) = groups.entry((origin.site, label)).or_default();
            *blocks += 1;
            *bytes += block.requested;
        });
        groups
    }

    /// The blocks that are handed out and pass `which`, largest first, older ones before younger.
    pub(in crate::pool) fn holdings(&self, which: impl Fn(BlockId, &Origin) -> bool) -> Vec<Holding> {
        let mut holdings = Vec::new();
        self.each_handed_out(|segment, id, block, origin| {
            if which(id, origin) {
                holdings.push(self.holding(segment, id, block, origin));
            }
        });
        holdings.sort_by(|a, b| b.requested.cmp(&a.requested).then(b.age.cmp(&a.age)));
        holdings
    }

    fn holding(&self, segment: SegmentId, id: BlockId, block: &BlockSnapshot, origin: &Origin) -> Holding {
        let origins = &self.attribution.origins;
        Holding {
            site: origin.site,
            label: origins.label_of(id).cloned(),
            scope: origin.scope().map(|scope| self.attribution.scopes().path(scope)),
            dtype: origin.dtype(),
            shape: origin.shape().map(<[u32]>::to_vec),
            requested: block.requested,
            size: block.size,
            age: origins.allocations() - origin.serial() - 1,
            pins: block.pins,
            segment,
        }
    }

    fn each_handed_out(&self, mut act: impl FnMut(SegmentId, BlockId, &BlockSnapshot, &Origin)) {
        for segment in self.heap.snapshot().segments {
            for block in &segment.blocks {
                let Some(id) = block.id.filter(|_| block.state.is_allocated()) else { continue };
                if let Some(origin) = self.attribution.origins.of(id) {
                    act(segment.id, id, block, origin);
                }
            }
        }
    }
}

impl<M: Memory> Inner<M> {
    /// The most that an error lists.
    pub(in crate::pool) const LISTED: usize = 5;
}
