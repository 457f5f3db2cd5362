//! Reports of what holds memory: allocated blocks with their call sites.

use super::super::{Inner, Pool, State};
use super::origins::Origin;
use crate::device::Memory;
use crate::error::{Bytes, Holder};
use crate::heap::{BlockId, BlockView, SegmentId};
use rustc_hash::FxHashMap;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// An allocated block with its origin. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The call site of the allocation.
    pub site: &'static Location<'static>,
    /// The block's label, if one was set.
    pub label: Option<Arc<str>>,
    /// The path of the scope in which the block was allocated, such as `step/forward`.
    pub scope: Option<String>,
    /// The element type.
    pub dtype: Option<&'static str>,
    /// The shape of the tensor for which the block was allocated.
    pub shape: Option<Vec<u32>>,
    /// The requested bytes.
    pub requested: u64,
    /// The block's size.
    pub size: u64,
    /// The number of later allocations.
    pub age: u64,
    /// The number of pins on the block.
    pub pins: u32,
    /// The segment that contains the block and that the block prevents from being trimmed.
    pub segment: SegmentId,
}

/// Formats as `4.0 MiB weights f32 [1024, 1024], 17 allocations old, src/main.rs:12:5 in step/forward`.
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
    /// Returns the call sites and labels with the most allocated memory, largest first, at most `most` of them.
    /// O(blocks).
    #[must_use]
    pub fn top_holders(&self, most: usize) -> Vec<Holder> {
        let mut holders = self.inner.state().holders();
        holders.truncate(most);
        holders
    }

    /// Returns the blocks that prevent a segment from being trimmed, largest first. O(blocks).
    #[must_use]
    pub fn holders_of(&self, segment: SegmentId) -> Vec<Holding> {
        let mut holdings = self.inner.state().holdings(|_, _| true);
        holdings.retain(|holding| holding.segment == segment);
        holdings
    }
}

/// The key by which blocks are grouped: call site and label.
pub(super) type Group = (&'static Location<'static>, Option<Arc<str>>);

impl<M: Memory> State<M> {
    /// Returns the total of each group, largest first.
    pub(in crate::pool) fn holders(&self) -> Vec<Holder> {
        let groups = self.groups();
        let holder = |((site, label), (blocks, bytes))| Holder { site, label, blocks, bytes };
        let mut holders: Vec<Holder> = groups.into_iter().map(holder).collect();
        // Ties are ordered by call site, so that the order is deterministic.
        holders.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| (a.site, &a.label).cmp(&(b.site, &b.label))));
        holders
    }

    /// Returns the number of blocks and the requested bytes of each call site and label.
    pub(super) fn groups(&self) -> FxHashMap<Group, (u64, u64)> {
        let mut groups: FxHashMap<Group, (u64, u64)> = FxHashMap::default();
        self.each_allocated(|_, id, block, origin| {
            let label = self.attribution.origins.label_of(id).cloned();
            let (blocks, bytes) = groups.entry((origin.site, label)).or_default();
            *blocks += 1;
            *bytes += block.requested;
        });
        groups
    }

    /// Returns the allocated blocks that satisfy `which`, largest first, then oldest first.
    pub(in crate::pool) fn holdings(&self, which: impl Fn(BlockId, &Origin) -> bool) -> Vec<Holding> {
        let mut holdings = Vec::new();
        self.each_allocated(|segment, id, block, origin| {
            if which(id, origin) {
                holdings.push(self.holding(segment, id, block, origin));
            }
        });
        holdings.sort_by(|a, b| b.requested.cmp(&a.requested).then(b.age.cmp(&a.age)));
        holdings
    }

    fn holding(&self, segment: SegmentId, id: BlockId, block: &BlockView, origin: &Origin) -> Holding {
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

    fn each_allocated(&self, mut act: impl FnMut(SegmentId, BlockId, &BlockView, &Origin)) {
        for segment in self.heap.segments() {
            for block in segment.blocks() {
                let Some(id) = block.id.filter(|_| block.state.is_allocated()) else { continue };
                if let Some(origin) = self.attribution.origins.of(id) {
                    act(segment.id, id, &block, origin);
                }
            }
        }
    }
}

impl<M: Memory> Inner<M> {
    /// The largest number of holders that an error lists.
    pub(in crate::pool) const LISTED: usize = 5;
}
