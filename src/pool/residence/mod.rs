//! Residence: working sets larger than the device. Blocks move to host memory and return; see
//! [`PoolOptions::spill`](super::PoolOptions::spill).
//!
//! # States of a block
//! ```text
//!                    move out, recorded
//!      ┌──────────────────────────────────────────────┐
//!   device ◄──────── in transit ────────────────────► host ──── last handle dropped ────► freed
//!      │  copy invalid: used or freed   copy complete   │
//!      └◄───────────────────────────────────────────────┘
//!                    return, before a command that uses the block
//! ```
//! | state | in the heap | the bytes are in |
//! | --- | --- | --- |
//! | device | in a segment | the segment |
//! | in transit | in a segment; [`Spilling::transit`] has an entry | the segment; a copy is being made |
//! | host | [detached](crate::heap::Heap::detach) | [`Spilling::copies`] |
//!
//! Every change of state is one step with the recorder and the heap locked. The block's id, its handles, its label and
//! its weak handles do not change. Views and offsets share the storage, so they move together.
//!
//! # Moving out
//! - *Recorded* (`DeviceResources::create_host_segment`): the copy to a host segment is a command. From the next command on, the
//!   old location is a hole: a command that reuses the location executes after the copy. Nothing waits. Host segments
//!   are kept for reuse (`host_segments.rs`), because creating one takes 170 ms per GiB on an H100; they count towards the limit.
//! - *Read back* (GL, devices without the feature `MAPPABLE_PRIMARY_BUFFERS`): the block stays on the device while a
//!   read-back copies its bytes, without any lock. A command that uses the block meanwhile invalidates the copy. The
//!   block leaves the device in the step that finds the copy complete and valid.
//! - A memory without bytes only counts.
//!
//! The limit on host bytes holds before and after each command. While blocks of a command return in exchange for others,
//! the host may exceed the limit by the bytes of these blocks, so that device and host can both be full.
//!
//! # Returning
//! A command that uses a detached block first returns it: [`Inner::resolve`] registers a [`Claim`] on all blocks of the
//! command, requests a block of the same size through the out-of-memory ladder, records the copy into it, and attaches
//! the detached block to its location. If the device has no room, the bytes stay in host memory and the command returns
//! [`DeviceError::WorkingSet`].
//!
//! # Which blocks move
//! The ladder moves blocks out before its expensive rungs: those whose next use is last in the learned [`Order`], or the
//! least recently used. The order of the blocks is kept while the program runs (`ranking.rs`), so that a move costs
//! O(log blocks). If no hole results, the cheapest range of addresses is cleared (`clear_range.rs`). Never moved: pinned
//! blocks, blocks kept by [`Storage::keep_on_device`], blocks in a segment without device memory, and claimed blocks.
//!
//! # What waits for what
//! No lock is held while anything waits. Claims replace a lock: while a thread returns the blocks of a command, other
//! threads do not move them out. If two claims conflict, the older one wins, so one thread always makes progress. A thread
//! that finds no block to move out waits for the others, for at most [`PATIENCE`] steps: for an older claim, or while a
//! younger one moves a block. It then ignores other threads' claims, because the older thread may be waiting for a callback
//! of the younger. A claim does not block claims of the same thread: a callback that records a command may move out a block
//! of the command below it on the call stack, which then returns the block again.
//!
//! Locks are acquired in the order of `device/gpu/mod.rs`. The data of this module belongs to the heap's lock.
//!
//! # Failures
//! Whatever can be refused (host segments, read-backs, device memory) is created before the heap changes, so a refusal
//! leaves every block where it was. After the loss of the device all commands fail, and the states stay consistent.

mod clear_range;
mod control;
mod copy_back;
mod host_segments;
mod make_space;
mod move_out;
mod order;
mod ranking;
#[cfg(not(target_arch = "wasm32"))]
mod read_out;
mod statistics;
#[cfg(test)]
mod tests;

pub use control::Residence;
pub(super) use make_space::Effort;
pub use statistics::SpillStats;

use super::{Inner, State};
use crate::device::{CacheUse, Location, Memory};
#[cfg(doc)]
use crate::error::DeviceError;
use crate::error::InvariantBroken;
use crate::heap::BlockId;
use host_segments::{HostSegment, HostSegments};
use order::Order;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::ThreadId;

/// The number of times that a thread waits for older claims of other threads before it ignores them.
const PATIENCE: u32 = 1000;

/// The bytes of a detached block.
#[derive(Clone, Debug)]
pub(in crate::pool) enum HostCopy<S> {
    /// In a host segment, which commands copy from and to.
    Segment(HostSegment<S>),
    /// Read back. Empty on a memory without bytes.
    #[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "only read-backs make it, which wait"))]
    Bytes(Arc<Vec<u8>>),
}

/// A block whose bytes are being read back.
#[derive(Clone, Copy, Debug)]
struct Transit {
    block: BlockId,
    size: u64,
    /// Whether no command has used the block since the copy began.
    valid: bool,
}

/// The blocks of a command that a thread is about to record: other threads do not move them out.
#[derive(Debug)]
pub(super) struct Claim {
    /// Numbers count up, so a lower number is an older claim.
    number: u64,
    thread: ThreadId,
    blocks: FxHashSet<BlockId>,
    /// The bytes of those blocks that are detached.
    detached: u64,
}

/// The data of a pool with spilling.
#[derive(Debug)]
pub(super) struct Spilling<S> {
    /// The limit on host bytes.
    limit: u64,
    /// The bytes of each detached block.
    copies: FxHashMap<BlockId, HostCopy<S>>,
    /// Host segments that are not in use, and the bytes of those in use beyond their blocks.
    host: HostSegments<S>,
    transit: Vec<Transit>,
    /// Blocks that stay on the device.
    kept: FxHashSet<BlockId>,
    claims: Vec<Claim>,
    claims_made: u64,
    order: Order,
    /// The heap's version when the last attempt to make a hole by moving blocks within the device failed, and the bytes of the hole.
    futile: Option<(u64, u64)>,
    counts: statistics::Counts,
}

impl<S: Clone> Spilling<S> {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            copies: FxHashMap::default(),
            host: HostSegments::default(),
            transit: Vec::new(),
            kept: FxHashSet::default(),
            claims: Vec::new(),
            claims_made: 0,
            order: Order::new(),
            futile: None,
            counts: statistics::Counts::default(),
        }
    }

    /// Returns a copy for a dry run, in which blocks in host memory have no bytes, and `create` creates host segments.
    pub(super) fn shadow<T>(&self, create: impl Fn() -> T) -> Spilling<T> {
        let copy = |copy: &HostCopy<S>| match copy {
            HostCopy::Segment(segment) => HostCopy::Segment(segment.in_memory(create())),
            HostCopy::Bytes(_) => HostCopy::Bytes(Arc::default()),
        };
        let copies = self.copies.iter().map(|(&block, bytes)| (block, copy(bytes))).collect();
        Spilling {
            limit: self.limit,
            copies,
            host: self.host.in_memory(&create),
            transit: Vec::new(),
            kept: self.kept.clone(),
            claims: Vec::new(),
            claims_made: 0,
            order: self.order.clone(),
            futile: self.futile,
            counts: self.counts,
        }
    }

    /// Records that a command uses a block, in the learned order.
    #[inline]
    pub(super) fn used(&mut self, block: BlockId) {
        self.order.used(block.key());
    }

    /// Records that a block was allocated.
    #[inline]
    pub(super) fn allocated(&mut self, block: BlockId) {
        self.order.entered(block);
    }

    /// Records that a block on the device stays there, or no longer has to.
    fn keep(&mut self, block: BlockId, stays: bool) {
        if stays {
            self.kept.insert(block);
            self.order.exclude(block);
        } else if self.kept.remove(&block) && !self.copies.contains_key(&block) {
            self.order.include(block);
        }
    }

    /// Records that a block of `size` bytes has left the device or returned, for the claims on it.
    fn count_detached(&mut self, block: BlockId, change: impl Fn(u64) -> u64) {
        for claim in self.claims.iter_mut().filter(|claim| claim.blocks.contains(&block)) {
            claim.detached = change(claim.detached);
        }
    }

    /// Invalidates a copy of the block that is being made.
    #[inline]
    pub(super) fn invalidate(&mut self, block: BlockId) {
        if !self.transit.is_empty() {
            self.transit.iter_mut().filter(|transit| transit.block == block).for_each(|transit| transit.valid = false);
        }
    }

    /// Removes everything about a block that is freed or returns, of which `size` bytes are in host memory. Its host segment is
    /// kept for reuse if the limit permits it next to `used` bytes of other blocks. Returns the bytes otherwise, to be dropped
    /// without the lock.
    pub(super) fn forget(&mut self, block: BlockId, size: u64, used: u64) -> Option<HostCopy<S>> {
        self.kept.remove(&block);
        self.order.exclude(block);
        self.invalidate(block);
        self.count_detached(block, |bytes| bytes - size);
        match self.copies.remove(&block)? {
            HostCopy::Segment(segment) => {
                self.host.put_back(segment, self.limit.saturating_sub(used)).map(HostCopy::Segment)
            }
            copy @ HostCopy::Bytes(_) => Some(copy),
        }
    }

    /// Removes all idle host segments, to be dropped without the lock.
    pub(super) fn take_idle(&mut self) -> BTreeMap<u64, Vec<S>> {
        self.host.take_all_idle()
    }

    /// Returns the usage of the cache of idle host segments.
    pub(super) fn host_cache(&self) -> CacheUse {
        self.host.cache_use(self.limit)
    }

    fn claim(&self, number: u64) -> Option<&Claim> {
        self.claims.iter().find(|claim| claim.number == number)
    }

    /// Returns whether a block must stay for a command that is about to be recorded. `own` is the claim of the calling
    /// thread. With `ignores_others`, only that claim counts.
    fn is_claimed(&self, block: BlockId, own: Option<u64>, ignores_others: bool) -> bool {
        if self.claims.is_empty() {
            return false;
        }
        let this_thread = std::thread::current().id();
        self.claims.iter().any(|claim| {
            let is_older = own.is_none_or(|own| claim.number < own);
            let counts = own == Some(claim.number) || (!ignores_others && claim.thread != this_thread && is_older);
            counts && claim.blocks.contains(&block)
        })
    }

    /// Returns whether another thread has a claim, so that it may be returning blocks, or reads a block back.
    fn others_move(&self) -> bool {
        let this_thread = std::thread::current().id();
        !self.transit.is_empty() || self.claims.iter().any(|claim| claim.thread != this_thread)
    }
}

impl<M: Memory> State<M> {
    /// Returns the bytes of the detached blocks of a claim, which return in exchange for blocks that move out.
    fn returning_bytes(&self, claim: Option<u64>) -> u64 {
        let claim = claim.and_then(|number| self.spilling.as_ref()?.claim(number));
        claim.map_or(0, |claim| claim.detached)
    }

    /// Returns the size of a block on the device or in host memory.
    fn size_of(&self, block: BlockId) -> u64 {
        let on_device = self.heap.allocated_place(block).map(|place| place.size);
        on_device.or_else(|| Some(self.heap.detached(block)?.size)).unwrap_or(0)
    }

    /// Checks that the blocks that may move to host memory are allocated, on the device, and not kept there, and that the claims
    /// have counted their blocks in host memory. O(blocks).
    pub(super) fn check_residence(&self) -> Result<(), InvariantBroken> {
        let Some(spilling) = &self.spilling else { return Ok(()) };
        let equal = |metric, counted, sum| match counted == sum {
            true => Ok(()),
            false => Err(InvariantBroken::Stats { metric, counted, sum }),
        };
        let listed = || spilling.order.slots().iter().filter_map(|slot| slot.block);
        let moves = |block: &BlockId| self.heap.allocated_place(*block).is_some() && !spilling.kept.contains(block);
        equal("blocks that may move to host memory", listed().count() as u64, listed().filter(moves).count() as u64)?;
        for claim in &spilling.claims {
            let detached = claim.blocks.iter().filter_map(|&block| self.heap.detached(block));
            equal("detached bytes of a claim", claim.detached, detached.map(|detached| detached.size).sum())?;
        }
        Ok(())
    }

    /// Returns the host segment of a detached block, as the source or the target of a command.
    pub(super) fn host_location(&self, block: BlockId) -> Option<Location<M::Segment>> {
        let size = self.heap.detached(block)?.size;
        match self.spilling.as_ref()?.copies.get(&block)? {
            HostCopy::Segment(host) => Some(host.location(size)),
            HostCopy::Bytes(_) => None,
        }
    }

    /// Returns the bytes in host memory, including those that are being read back, without idle host segments.
    fn host_bytes(&self) -> u64 {
        let others = self.spilling.as_ref().map_or(0, |spilling| {
            let transit: u64 = spilling.transit.iter().map(|one| one.size).sum();
            transit.saturating_add(spilling.host.excess())
        });
        self.heap.stats().spilled.current.saturating_add(others)
    }
}

/// A registered claim, until dropped.
pub(super) struct ClaimGuard<'a, M: Memory> {
    inner: &'a Inner<M>,
    number: u64,
}

impl<M: Memory> ClaimGuard<'_, M> {
    /// Returns the number of the claim.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Returns the bytes of all blocks of the claim. O(blocks of the claim).
    fn bytes_in(&self, state: &State<M>) -> u64 {
        let claim = state.spilling.as_ref().and_then(|spilling| spilling.claim(self.number));
        claim.map_or(0, |claim| claim.blocks.iter().map(|&block| state.size_of(block)).sum())
    }

    /// Adds a block on the device to the claim.
    fn add(&self, block: BlockId) {
        self.change(|blocks| _ = blocks.insert(block));
    }

    /// Removes a block from the claim.
    fn remove(&self, block: BlockId) {
        self.change(|blocks| _ = blocks.remove(&block));
    }

    fn change(&self, change: impl FnOnce(&mut FxHashSet<BlockId>)) {
        let mut state = self.inner.state();
        let claims = state.spilling.iter_mut().flat_map(|spilling| &mut spilling.claims);
        if let Some(claim) = claims.into_iter().find(|claim| claim.number == self.number) {
            change(&mut claim.blocks);
        }
    }
}

impl<M: Memory> Drop for ClaimGuard<'_, M> {
    fn drop(&mut self) {
        if let Some(spilling) = &mut self.inner.state().spilling {
            spilling.claims.retain(|claim| claim.number != self.number);
        }
    }
}

impl<M: Memory> Inner<M> {
    /// Registers a claim on blocks of a command.
    pub(super) fn claim(&self, blocks: impl Iterator<Item = BlockId>) -> ClaimGuard<'_, M> {
        let blocks: FxHashSet<BlockId> = blocks.collect();
        let mut state = self.state();
        let mut number = 0;
        let State { spilling, heap, .. } = &mut *state;
        if let Some(spilling) = spilling {
            spilling.claims_made += 1;
            number = spilling.claims_made;
            let detached = blocks.iter().filter_map(|&block| heap.detached(block)).map(|detached| detached.size).sum();
            spilling.claims.push(Claim { number, thread: std::thread::current().id(), blocks, detached });
        }
        drop(state);
        ClaimGuard { inner: self, number }
    }
}
