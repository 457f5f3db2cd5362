//! Scopes: named sections of a program with separate counters.

use super::super::dry_run::{Shadow, Target};
use super::super::{Inner, Pool, State, Storage};
use super::Attribution;
use super::holders::HeldBlock;
use crate::device::{Gpu, Memory};
use crate::heap::BlockId;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::thread::ThreadId;

/// The allocations and frees of a scope on its thread, in requested bytes. Frees of blocks that were allocated before
/// the scope count too, so a scope that frees more than it allocates has a negative balance. A count that exceeds the range of its
/// type stays at the end of the range.
///
/// Equals the counters of RMM's `statistics_resource_adaptor`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ScopeCounts {
    /// Bytes allocated minus bytes freed.
    pub current: i64,
    /// The largest value of `current`, at least 0.
    pub peak: i64,
    /// Total bytes allocated.
    pub allocated: u64,
    /// Total bytes freed.
    pub freed: u64,
    /// Blocks allocated minus blocks freed.
    pub blocks: i64,
}

impl ScopeCounts {
    fn allocate(&mut self, bytes: u64) {
        self.allocated = self.allocated.saturating_add(bytes);
        self.blocks += 1;
        self.current = self.current.saturating_add_unsigned(bytes);
        self.peak = self.peak.max(self.current);
    }

    fn free(&mut self, bytes: u64) {
        self.freed = self.freed.saturating_add(bytes);
        self.blocks -= 1;
        self.current = self.current.saturating_sub_unsigned(bytes);
    }

    /// Adds the counts of another entry of the same scope. The entries are separate in time, so the peak is the larger
    /// of the two.
    fn add(&mut self, other: &Self) {
        self.peak = self.peak.max(other.peak);
        self.add_totals(other);
    }

    /// Adds the counts of an inner scope, whose events follow the events counted so far.
    fn append(&mut self, inner: &Self) {
        self.peak = self.peak.max(self.current.saturating_add(inner.peak));
        self.add_totals(inner);
    }

    fn add_totals(&mut self, other: &Self) {
        self.current = self.current.saturating_add(other.current);
        self.allocated = self.allocated.saturating_add(other.allocated);
        self.freed = self.freed.saturating_add(other.freed);
        self.blocks = self.blocks.saturating_add(other.blocks);
    }
}

/// The largest number of scope names. Later names are counted as [`OTHERS`], which exists at most once in each scope.
const MAX_SCOPES: usize = 1024;
/// The name of the scope that represents all later names within the same parent.
const OTHERS: &str = "(others)";

/// A scope's name, and the totals of all its closed entries.
#[derive(Clone, Debug)]
pub(in crate::pool) struct ScopeTotals {
    pub(in crate::pool) name: Arc<str>,
    pub(in crate::pool) parent: Option<u32>,
    pub(in crate::pool) entries: u64,
    pub(in crate::pool) counts: ScopeCounts,
}

/// An open entry.
#[derive(Clone, Debug)]
struct OpenEntry {
    entry: u64,
    thread: ThreadId,
    scope: u32,
    counts: ScopeCounts,
}

/// All scopes of a pool. Scopes with the same name and the same parent are the same scope.
#[derive(Clone, Debug, Default)]
pub(in crate::pool) struct Scopes {
    totals: Vec<ScopeTotals>,
    /// The open entries of all threads; those of one thread are in the order of entering.
    open: Vec<OpenEntry>,
    entries: u64,
}

impl Scopes {
    /// Counts an allocation of this thread, and returns the innermost open scope.
    #[inline]
    pub(super) fn allocated(&mut self, bytes: u64) -> Option<u32> {
        let open = self.innermost()?;
        open.counts.allocate(bytes);
        Some(open.scope)
    }

    /// Counts a free of this thread.
    #[inline]
    pub(super) fn freed(&mut self, bytes: u64) {
        if let Some(open) = self.innermost() {
            open.counts.free(bytes);
        }
    }

    #[inline]
    fn innermost(&mut self) -> Option<&mut OpenEntry> {
        if self.open.is_empty() { None } else { self.innermost_of(std::thread::current().id()) }
    }

    fn innermost_of(&mut self, thread: ThreadId) -> Option<&mut OpenEntry> {
        self.open.iter_mut().rev().find(|open| open.thread == thread)
    }

    pub(super) fn any_open(&self) -> bool {
        !self.open.is_empty()
    }

    fn enter(&mut self, name: &str) -> (u64, u32) {
        let thread = std::thread::current().id();
        let parent = self.innermost_of(thread).map(|open| open.scope);
        let find = |totals: &[ScopeTotals], parent: Option<u32>, name: &str| {
            totals.iter().position(|totals| totals.parent == parent && *totals.name == *name)
        };
        let add = |totals: &mut Vec<ScopeTotals>, parent, name: &str| {
            totals.push(ScopeTotals { name: name.into(), parent, entries: 0, counts: ScopeCounts::default() });
            totals.len() - 1
        };
        let is_others = |parent: u32| *self.totals[parent as usize].name == *OTHERS;
        let place = match (find(&self.totals, parent, name), parent) {
            (Some(place), _) => place,
            (None, _) if self.totals.len() < MAX_SCOPES => add(&mut self.totals, parent, name),
            // The representative scope has no children.
            (None, Some(parent)) if is_others(parent) => parent as usize,
            (None, _) => find(&self.totals, parent, OTHERS).unwrap_or_else(|| add(&mut self.totals, parent, OTHERS)),
        };
        let scope = u32::try_from(place).expect("fewer than 2^32 names fit the host's memory");
        self.totals[place].entries += 1;
        self.entries += 1;
        self.open.push(OpenEntry { entry: self.entries, thread, scope, counts: ScopeCounts::default() });
        (self.entries, scope)
    }

    /// Closes an entry: adds its counts to the scope's totals and to the enclosing open entry.
    fn exit(&mut self, entry: u64) {
        let Some(place) = self.open.iter().position(|open| open.entry == entry) else { return };
        // Including inner entries that are still open. These add their own counts to the enclosing entries when they
        // close.
        let all = self.counts(entry);
        let OpenEntry { thread, scope, counts, .. } = self.open.remove(place);
        self.totals[scope as usize].counts.add(&all);
        if let Some(outer) = self.open[..place].iter_mut().rev().find(|open| open.thread == thread) {
            outer.counts.append(&counts);
        }
    }

    /// Returns the counts of an entry so far, including inner entries.
    fn counts(&self, entry: u64) -> ScopeCounts {
        let Some(place) = self.open.iter().position(|open| open.entry == entry) else { return ScopeCounts::default() };
        let thread = self.open[place].thread;
        let inner = self.open[place..].iter().filter(|open| open.thread == thread);
        inner.fold(ScopeCounts::default(), |mut sum, open| {
            sum.append(&open.counts);
            sum
        })
    }

    /// Returns every scope, parents before children, with the totals over its entries including open ones.
    pub(in crate::pool) fn totals(&self) -> Vec<ScopeTotals> {
        let mut totals = self.totals.clone();
        for open in &self.open {
            totals[open.scope as usize].counts.add(&self.counts(open.entry));
        }
        totals
    }

    /// Returns the path of a scope, such as `step/forward`.
    pub(in crate::pool) fn path(&self, scope: u32) -> String {
        let totals = &self.totals[scope as usize];
        match totals.parent {
            Some(parent) => format!("{}/{}", self.path(parent), totals.name),
            None => totals.name.to_string(),
        }
    }

    /// Returns whether a scope is `outer` or within it.
    fn is_within(&self, scope: u32, outer: u32) -> bool {
        scope == outer || self.totals[scope as usize].parent.is_some_and(|parent| self.is_within(parent, outer))
    }
}

/// A guard for a named section of the program. Created by [`Pool::scope`].
pub struct Scope<M: Memory = Gpu> {
    inner: Arc<Inner<M>>,
    /// The dry run in which the scope was entered.
    shadow: Option<Arc<Shadow>>,
    entry: u64,
    scope: u32,
    /// The number of allocations before the scope was entered.
    since: u64,
    outputs: Vec<BlockId>,
    /// Not `Send`: a scope belongs to the thread that entered it.
    of_thread: PhantomData<*const ()>,
}

impl<M: Memory> Pool<M> {
    /// Enters a scope. Until the guard is dropped, allocations and frees of this thread are counted for the scope, and
    /// blocks allocated in the scope carry its name. Scopes nest: counts of a scope are also counted for the enclosing
    /// scopes.
    ///
    /// The pool stores each name permanently, so use few names: `"step"`, not `"step 17"`. After 1,024 names, scopes
    /// with new names are counted together as `(others)`. While any scope is open, an allocation or a free costs some
    /// tens of nanoseconds more.
    ///
    /// # Examples
    ///
    /// ```
    /// use wgpu_pool::{HostMemory, Pool, PoolOptions};
    ///
    /// let pool = Pool::new(HostMemory::default(), PoolOptions::default())?;
    /// let mut step = pool.scope("step");
    /// let activation = pool.allocate(1000)?;
    /// let output = pool.allocate(500)?;
    /// step.mark_output(&output);
    /// assert_eq!(step.counts().peak, 1500);
    /// assert_eq!(step.retained().len(), 1, "the activation should be gone by now");
    /// drop(activation);
    /// assert_eq!(step.finish().current, 500);
    /// # Ok::<(), wgpu_pool::Error>(())
    /// ```
    #[must_use = "a scope ends when its guard is dropped"]
    pub fn scope(&self, name: &str) -> Scope<M> {
        let (inner, shadow) = (Arc::clone(&self.inner), self.inner.shadow());
        let enter = |attribution: &mut Attribution| {
            let (entry, scope) = attribution.change_scopes(|scopes| scopes.enter(name));
            (entry, scope, attribution.origins.allocations())
        };
        let (entry, scope, since) = with_attribution(&inner, shadow.as_deref(), enter);
        Scope { inner, shadow, entry, scope, since, outputs: Vec::new(), of_thread: PhantomData }
    }
}

impl<M: Memory> Scope<M> {
    /// Returns the counts so far.
    #[must_use]
    pub fn counts(&self) -> ScopeCounts {
        self.with_attribution(|attribution| attribution.scopes.counts(self.entry))
    }

    /// Marks a block as intended to outlive the scope.
    pub fn mark_output(&mut self, storage: &Storage<M>) {
        match storage.target() {
            Ok(Target::Device(_, block) | Target::Shadow(_, block)) => self.outputs.push(block),
            Ok(Target::Nothing) | Err(_) => {}
        }
    }

    /// Returns the blocks that were allocated in the scope, are still allocated, and were not marked with
    /// [`Scope::mark_output`]. These are the blocks that `tf.tidy` would dispose of. Largest first. O(blocks).
    #[must_use]
    pub fn retained(&self) -> Vec<HeldBlock> {
        match &self.shadow {
            Some(shadow) => self.retained_in(&shadow.inner().state()),
            None => self.retained_in(&self.inner.state()),
        }
    }

    fn retained_in<N: Memory>(&self, state: &State<N>) -> Vec<HeldBlock> {
        let scopes = state.attribution.scopes();
        state.held_blocks(|block, origin| {
            origin.serial() >= self.since
                && origin.scope().is_some_and(|scope| scopes.is_within(scope, self.scope))
                && !self.outputs.contains(&block)
        })
    }

    fn with_attribution<R>(&self, act: impl FnOnce(&mut Attribution) -> R) -> R {
        with_attribution(&self.inner, self.shadow.as_deref(), act)
    }

    /// Ends the scope and returns its counts.
    #[expect(clippy::must_use_candidate, reason = "ending it is the point")]
    pub fn finish(self) -> ScopeCounts {
        let counts = self.counts();
        drop(self);
        counts
    }
}

impl<M: Memory> Drop for Scope<M> {
    fn drop(&mut self) {
        let exit = |attribution: &mut Attribution| attribution.change_scopes(|scopes| scopes.exit(self.entry));
        self.with_attribution(exit);
        if self.shadow.is_none() {
            // A scope from before a dry run that ends in it.
            if let Some(shadow) = self.inner.shadow() {
                exit(&mut shadow.inner().state().attribution);
            }
        }
    }
}

/// Calls `act` with the attribution of a dry run, if there is one, or of the pool.
fn with_attribution<M: Memory, R>(
    inner: &Inner<M>,
    shadow: Option<&Shadow>,
    act: impl FnOnce(&mut Attribution) -> R,
) -> R {
    match shadow {
        Some(shadow) => act(&mut shadow.inner().state().attribution),
        None => act(&mut inner.state().attribution),
    }
}

impl<M: Memory> fmt::Debug for Scope<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner: _, shadow: _, entry, scope, since: _, outputs: _, of_thread: _ } = self;
        f.debug_struct("Scope").field("entry", entry).field("scope", scope).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_beyond_64_bits_stop_at_the_end_of_the_range() {
        let mut counts = ScopeCounts::default();
        for _ in 0..3 {
            counts.allocate(u64::MAX - 1);
        }
        let inner = counts;
        counts.append(&inner);
        assert_eq!((counts.current, counts.peak, counts.allocated, counts.blocks), (i64::MAX, i64::MAX, u64::MAX, 6));
        for _ in 0..6 {
            counts.free(u64::MAX - 1);
        }
        let other = counts;
        counts.add(&other);
        assert_eq!((counts.current, counts.freed, counts.blocks), (i64::MIN, u64::MAX, 0));
    }
}
