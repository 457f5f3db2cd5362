//! The holders of a pool's memory, and its allocated blocks with their holders.

use super::super::{Inner, Pool, State};
use super::origins::Origin;
use crate::device::Memory;
use crate::error::{Bytes, Holder, Site};
use crate::heap::{BlockId, BlockState, BlockView, SegmentId};
use rustc_hash::FxHashMap;
use std::fmt;
use std::hash::Hash;
use std::panic::Location;
use std::sync::Arc;

/// An allocated block: its holder, content and position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBlock {
    /// The call site, label and scope of the block, and its requested bytes. The number of blocks is 1.
    pub holder: Holder,
    /// The element type.
    pub dtype: Option<&'static str>,
    /// The shape of the tensor for which the block was allocated.
    pub shape: Option<Vec<u32>>,
    /// The block's size in bytes, after rounding.
    pub size: u64,
    /// The number of later allocations.
    pub age: u64,
    /// The number of pins on the block.
    pub pins: u32,
    /// The segment that contains the block and that the block prevents from being trimmed. [`SegmentId::NEVER`] for a
    /// block in host memory.
    pub segment: SegmentId,
}

/// Formats as `4.0 MiB weights f32 [1024, 1024], 17 allocations old, src/main.rs:12:5 in step/forward`.
impl fmt::Display for HeldBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Holder { site, label, scope, blocks: _, bytes } = &self.holder;
        write!(f, "{}", Bytes(*bytes))?;
        if let Some(label) = label {
            write!(f, " {}", label.escape_debug())?;
        }
        if let Some(dtype) = self.dtype {
            write!(f, " {dtype}")?;
        }
        if let Some(shape) = &self.shape {
            write!(f, " {shape:?}")?;
        }
        let allocations = if self.age == 1 { "allocation" } else { "allocations" };
        write!(f, ", {} {allocations} old, {site}", self.age)?;
        if let Some(scope) = scope {
            write!(f, " in {}", scope.escape_debug())?;
        }
        if self.pins > 0 { write!(f, ", pinned") } else { Ok(()) }
    }
}

impl<M: Memory> Pool<M> {
    /// Returns the holders of allocated memory, largest first, at most `most` of them: one for each call site, label and
    /// scope. O(blocks).
    #[must_use]
    pub fn top_holders(&self, most: usize) -> Vec<Holder> {
        if let Some(dry) = self.dry() {
            return dry.top_holders(most);
        }
        let mut holders = self.inner.state().holders();
        holders.truncate(most);
        holders
    }

    /// Returns the blocks that prevent a segment from being trimmed, largest first. O(blocks).
    #[must_use]
    pub fn holders_of(&self, segment: SegmentId) -> Vec<HeldBlock> {
        if let Some(dry) = self.dry() {
            return dry.holders_of(segment);
        }
        let mut blocks = self.inner.state().held_blocks(|_, _| true);
        blocks.retain(|block| block.segment == segment);
        blocks
    }
}

/// The call site, label and scope of a block, before text is copied.
type Key<'a> = (&'static Location<'static>, Option<&'a Arc<str>>, Option<u32>);

/// The number of blocks and the requested bytes of each holder. The key is made of references and numbers, so that text
/// is copied once for each holder, not for each block.
pub(in crate::pool) struct HolderTotals<K> {
    totals: FxHashMap<K, (u64, u64)>,
}

impl<K> Default for HolderTotals<K> {
    fn default() -> Self {
        Self { totals: FxHashMap::default() }
    }
}

impl<K: Hash + Eq> HolderTotals<K> {
    /// Adds a block.
    pub(in crate::pool) fn add(&mut self, key: K, requested: u64) {
        let (blocks, bytes) = self.totals.entry(key).or_default();
        *blocks += 1;
        *bytes += requested;
    }

    /// Returns the holders, largest first. `resolve` returns the site, label and scope of a key.
    pub(in crate::pool) fn holders(
        self,
        resolve: impl Fn(K) -> (Site, Option<Arc<str>>, Option<Arc<str>>),
    ) -> Vec<Holder> {
        let holders = self.totals.into_iter().map(|(key, (blocks, bytes))| {
            let (site, label, scope) = resolve(key);
            Holder { site, label, scope, blocks, bytes }
        });
        let mut holders: Vec<Holder> = holders.collect();
        // Ties are ordered by key, so that the order is deterministic.
        holders.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.key().cmp(&b.key())));
        holders
    }
}

impl<M: Memory> State<M> {
    /// Returns the holders of the allocated blocks, largest first.
    pub(in crate::pool) fn holders(&self) -> Vec<Holder> {
        let mut totals = HolderTotals::default();
        self.each_allocated(|_, id, block, origin| {
            totals.add((origin.site, self.attribution.origins.label_of(id), origin.scope()), block.requested);
        });
        totals.holders(|key| self.resolve(key))
    }

    fn resolve(&self, (site, label, scope): Key<'_>) -> (Site, Option<Arc<str>>, Option<Arc<str>>) {
        (site.into(), label.cloned(), scope.map(|scope| self.attribution.scopes().path(scope).into()))
    }

    /// Returns the allocated blocks that satisfy `which`, largest first, then oldest first.
    pub(in crate::pool) fn held_blocks(&self, which: impl Fn(BlockId, &Origin) -> bool) -> Vec<HeldBlock> {
        let mut blocks = Vec::new();
        self.each_allocated(|segment, id, block, origin| {
            if which(id, origin) {
                blocks.push(self.held_block(segment, id, block, origin));
            }
        });
        blocks.sort_by(|a, b| b.holder.bytes.cmp(&a.holder.bytes).then(b.age.cmp(&a.age)));
        blocks
    }

    fn held_block(&self, segment: SegmentId, id: BlockId, block: &BlockView, origin: &Origin) -> HeldBlock {
        let origins = &self.attribution.origins;
        let (site, label, scope) = self.resolve((origin.site, origins.label_of(id), origin.scope()));
        HeldBlock {
            holder: Holder { site, label, scope, blocks: 1, bytes: block.requested },
            dtype: origin.dtype(),
            shape: origin.shape().map(<[u32]>::to_vec),
            size: block.size,
            age: origins.allocations() - origin.serial() - 1,
            pins: block.pins,
            segment,
        }
    }

    /// Calls `act` for each allocated block, on the device and in host memory.
    pub(in crate::pool) fn each_allocated(&self, mut act: impl FnMut(SegmentId, BlockId, &BlockView, &Origin)) {
        for segment in self.heap.segments() {
            for block in segment.blocks() {
                let Some(id) = block.id.filter(|_| block.state.is_allocated()) else { continue };
                if let Some(origin) = self.attribution.origins.of(id) {
                    act(segment.id, id, &block, origin);
                }
            }
        }
        if self.spilling.is_none() {
            return;
        }
        for (id, detached) in self.heap.detached_blocks() {
            if let Some(origin) = self.attribution.origins.of(id) {
                let (size, requested) = (detached.size, detached.requested.get());
                let state = BlockState::Allocated;
                let block = BlockView { offset: 0, size, requested, state, pins: 0, id: Some(id) };
                act(SegmentId::NEVER, id, &block, origin);
            }
        }
    }
}

impl<M: Memory> Inner<M> {
    /// The largest number of holders that an error lists.
    pub(in crate::pool) const LISTED: usize = 5;
}
