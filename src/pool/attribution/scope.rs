//! Named parts of a program, with counters of their own.

use super::super::{Inner, Pool, Storage};
use super::holders::Holding;
use crate::device::Memory;
use crate::heap::BlockId;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::thread::ThreadId;

/// What happened inside of a scope, on its thread: bytes are requested bytes. Frees of older blocks count too, so that a scope
/// which frees more than it allocates has a negative balance.
///
/// The counters of RMM's `statistics_resource_adaptor`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ScopeCounts {
    /// Bytes allocated less bytes freed: by how much the program has grown.
    pub current: i64,
    /// The most that `current` has been, and at least 0.
    pub peak: i64,
    /// All bytes allocated.
    pub allocated: u64,
    /// All bytes freed.
    pub freed: u64,
    /// Blocks allocated less blocks freed.
    pub blocks: i64,
}

impl ScopeCounts {
    fn allocate(&mut self, bytes: u64) {
        self.allocated += bytes;
        self.blocks += 1;
        self.current += signed(bytes);
        self.peak = self.peak.max(self.current);
    }

    fn free(&mut self, bytes: u64) {
        self.freed += bytes;
        self.blocks -= 1;
        self.current -= signed(bytes);
    }

    /// Adds up two entries of one scope. Between them anything may have happened, so that the peak is the higher one's.
    fn add(&mut self, other: &Self) {
        self.peak = self.peak.max(other.peak);
        self.current += other.current;
        self.allocated += other.allocated;
        self.freed += other.freed;
        self.blocks += other.blocks;
    }

    /// Counts what happened in another scope after what happened in this one.
    fn append(&mut self, inner: &Self) {
        self.peak = self.peak.max(self.current + inner.peak);
        self.current += inner.current;
        self.allocated += inner.allocated;
        self.freed += inner.freed;
        self.blocks += inner.blocks;
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).expect("a block is far below 2^63 bytes")
}

/// Names that are kept. What comes after them is counted as [`OTHERS`], of which there is one in each scope at most.
const MOST_SCOPES: usize = 1024;
/// Stands for all scopes within another one whose names came too late.
const OTHERS: &str = "(others)";

/// A scope's name, and the sums over all its entries that have ended.
#[derive(Clone, Debug)]
pub(in crate::pool) struct ScopeTotals {
    pub(in crate::pool) name: Arc<str>,
    pub(in crate::pool) parent: Option<u32>,
    pub(in crate::pool) entries: u64,
    pub(in crate::pool) counts: ScopeCounts,
}

/// An entry that has not ended.
#[derive(Clone, Debug)]
struct Open {
    entry: u64,
    thread: ThreadId,
    scope: u32,
    counts: ScopeCounts,
}

/// All scopes of a pool. One with the same name within the same scope is the same.
#[derive(Debug, Default)]
pub(in crate::pool) struct Scopes {
    totals: Vec<ScopeTotals>,
    /// Of all threads, each thread's in the order in which they were entered.
    open: Vec<Open>,
    entries: u64,
}

impl Scopes {
    /// Counts an allocation of this thread, and tells the scope that it is in.
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
    fn innermost(&mut self) -> Option<&mut Open> {
        if self.open.is_empty() { None } else { self.innermost_of(std::thread::current().id()) }
    }

    fn innermost_of(&mut self, thread: ThreadId) -> Option<&mut Open> {
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
        let is_of_others = |parent: u32| *self.totals[parent as usize].name == *OTHERS;
        let place = match (find(&self.totals, parent, name), parent) {
            (Some(place), _) => place,
            (None, _) if self.totals.len() < MOST_SCOPES => add(&mut self.totals, parent, name),
            // Within the scope that stands for many there are no more.
            (None, Some(parent)) if is_of_others(parent) => parent as usize,
            (None, _) => find(&self.totals, parent, OTHERS).unwrap_or_else(|| add(&mut self.totals, parent, OTHERS)),
        };
        let scope = u32::try_from(place).expect("fewer than 2^32 names fit the host's memory");
        self.totals[place].entries += 1;
        self.entries += 1;
        self.open.push(Open { entry: self.entries, thread, scope, counts: ScopeCounts::default() });
        (self.entries, scope)
    }

    /// Ends an entry: what happened in it is its own from now on, and happened in the scope around it too.
    fn leave(&mut self, entry: u64) {
        let Some(place) = self.open.iter().position(|open| open.entry == entry) else { return };
        // With what happened in scopes inside of it that are still open; those will tell the scopes around them themselves.
        let all = self.counts(entry);
        let Open { thread, scope, counts, .. } = self.open.remove(place);
        self.totals[scope as usize].counts.add(&all);
        if let Some(outer) = self.open[..place].iter_mut().rev().find(|open| open.thread == thread) {
            outer.counts.append(&counts);
        }
    }

    /// What happened in an entry so far, the entries inside of it included.
    fn counts(&self, entry: u64) -> ScopeCounts {
        let Some(place) = self.open.iter().position(|open| open.entry == entry) else { return ScopeCounts::default() };
        let thread = self.open[place].thread;
        let inner = self.open[place..].iter().filter(|open| open.thread == thread);
        inner.fold(ScopeCounts::default(), |mut sum, open| {
            sum.append(&open.counts);
            sum
        })
    }

    /// Every scope, parents before their children, with the sums over its entries; those still open included.
    pub(in crate::pool) fn totals(&self) -> Vec<ScopeTotals> {
        let mut totals = self.totals.clone();
        for open in &self.open {
            totals[open.scope as usize].counts.add(&self.counts(open.entry));
        }
        totals
    }

    /// The names from the outermost scope on, as `step/forward`.
    pub(in crate::pool) fn path(&self, scope: u32) -> String {
        let totals = &self.totals[scope as usize];
        match totals.parent {
            Some(parent) => format!("{}/{}", self.path(parent), totals.name),
            None => totals.name.to_string(),
        }
    }

    /// Whether a scope is another one, or within it.
    fn is_within(&self, scope: u32, outer: u32) -> bool {
        scope == outer || self.totals[scope as usize].parent.is_some_and(|parent| self.is_within(parent, outer))
    }
}

/// A named part of the program, until it is dropped. Made by [`Pool::scope`].
pub struct Scope<M: Memory> {
    inner: Arc<Inner<M>>,
    entry: u64,
    scope: u32,
    /// How many allocations there had been when it was entered.
    since: u64,
    handed_out: Vec<BlockId>,
    /// A scope belongs to the thread that entered it.
    of_thread: PhantomData<*const ()>,
}

impl<M: Memory> Pool<M> {
    /// Enters a scope: until the guard is dropped, what this thread allocates and frees is counted for it, and blocks
    /// allocated in it carry its name. Scopes nest: what happens in one also happens in those around it.
    ///
    /// A name is kept for as long as the pool, so use few: `"step"`, not `"step 17"`. After 1,024 names, scopes of new names are
    /// counted together, as `(others)`. While any scope is open, an allocation
    /// and a free cost some tens of nanoseconds more.
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
    /// step.hand_out(&output);
    /// assert_eq!(step.counts().peak, 1500);
    /// assert_eq!(step.kept().len(), 1, "the activation should be gone by now");
    /// drop(activation);
    /// assert_eq!(step.finish().current, 500);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "a scope ends when its guard is dropped"]
    pub fn scope(&self, name: &str) -> Scope<M> {
        let mut state = self.inner.state();
        let (entry, scope) = state.attribution.change_scopes(|scopes| scopes.enter(name));
        let since = state.attribution.origins.allocations();
        let (handed_out, of_thread) = (Vec::new(), PhantomData);
        Scope { inner: Arc::clone(&self.inner), entry, scope, since, handed_out, of_thread }
    }
}

impl<M: Memory> Scope<M> {
    /// What happened in it so far.
    #[must_use]
    pub fn counts(&self) -> ScopeCounts {
        self.inner.state().attribution.scopes().counts(self.entry)
    }

    /// Says that a block allocated in it is meant to outlive it.
    pub fn hand_out(&mut self, storage: &Storage<M>) {
        self.handed_out.extend(storage.block());
    }

    /// What was allocated in it, is still alive and was not handed out: what `tf.tidy` would dispose of. Largest first.
    /// O(blocks).
    #[must_use]
    pub fn kept(&self) -> Vec<Holding> {
        let state = self.inner.state();
        let scopes = state.attribution.scopes();
        state.holdings(|block, origin| {
            origin.serial() >= self.since
                && origin.scope().is_some_and(|scope| scopes.is_within(scope, self.scope))
                && !self.handed_out.contains(&block)
        })
    }

    /// Ends it, and tells what happened in it.
    #[expect(clippy::must_use_candidate, reason = "ending it is the point")]
    pub fn finish(self) -> ScopeCounts {
        let counts = self.counts();
        drop(self);
        counts
    }
}

impl<M: Memory> Drop for Scope<M> {
    fn drop(&mut self) {
        self.inner.state().attribution.change_scopes(|scopes| scopes.leave(self.entry));
    }
}

impl<M: Memory> fmt::Debug for Scope<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner: _, entry, scope, since: _, handed_out: _, of_thread: _ } = self;
        f.debug_struct("Scope").field("entry", entry).field("scope", scope).finish_non_exhaustive()
    }
}
