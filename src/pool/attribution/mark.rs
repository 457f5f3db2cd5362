//! What grew between two moments.

use super::super::{Inner, Pool};
use super::holders::Group;
use crate::device::Memory;
use crate::error::{Bytes, GrowthError};
use rustc_hash::FxHashMap;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// What every call site held at one moment. Made by [`Pool::mark`].
#[derive(Clone, Debug)]
pub struct Mark {
    groups: FxHashMap<Group, (u64, u64)>,
}

/// By how much the memory of one call site, and label, has grown. Bytes are requested bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteGrowth {
    /// The line of the program that allocates.
    pub site: &'static Location<'static>,
    /// The name that the program gave the blocks.
    pub label: Option<Arc<str>>,
    /// Bytes more than at the first moment, or fewer.
    pub bytes: i64,
    /// Blocks more than at the first moment, or fewer.
    pub blocks: i64,
}

/// What grew and what shrank between two marks: the call sites that changed, the one that grew most first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrowthBetween {
    /// The sites.
    pub sites: Vec<SiteGrowth>,
}

impl GrowthBetween {
    /// Bytes more than at the first moment, or fewer, over all sites.
    #[must_use]
    pub fn bytes(&self) -> i64 {
        self.sites.iter().map(|site| site.bytes).sum()
    }
}

/// A line for each call site, as `+4.0 MiB in +2 blocks, src/main.rs:12:5 (weights)`.
impl fmt::Display for GrowthBetween {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sites.is_empty() {
            return writeln!(f, "no growth");
        }
        self.sites.iter().try_for_each(|site| writeln!(f, "{site}"))
    }
}

impl fmt::Display for SiteGrowth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.bytes < 0 { '-' } else { '+' };
        write!(f, "{sign}{} in {:+} blocks, {}", Bytes(self.bytes.unsigned_abs()), self.blocks, self.site)?;
        if let Some(label) = &self.label { write!(f, " ({})", label.escape_debug()) } else { Ok(()) }
    }
}

impl Mark {
    /// What changed from this mark to a later one. O(call sites).
    #[must_use]
    pub fn growth_to(&self, later: &Self) -> GrowthBetween {
        let change = |now: u64, then: u64| i64::try_from(i128::from(now) - i128::from(then)).expect("far below 2^63");
        let mut sites = Vec::new();
        for (group, &(blocks, bytes)) in &later.groups {
            let (blocks_then, bytes_then) = self.groups.get(group).copied().unwrap_or_default();
            sites.push((group, change(blocks, blocks_then), change(bytes, bytes_then)));
        }
        for (group, &(blocks, bytes)) in &self.groups {
            if !later.groups.contains_key(group) {
                sites.push((group, change(0, blocks), change(0, bytes)));
            }
        }
        let mut sites: Vec<SiteGrowth> = sites
            .into_iter()
            .filter(|&(_, blocks, bytes)| blocks != 0 || bytes != 0)
            .map(|((site, label), blocks, bytes)| SiteGrowth { site, label: label.clone(), bytes, blocks })
            .collect();
        sites.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| (a.site, &a.label).cmp(&(b.site, &b.label))));
        GrowthBetween { sites }
    }
}

impl<M: Memory> Pool<M> {
    /// Notes what every call site holds now. O(blocks).
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { groups: self.inner.state().groups() }
    }

    /// What changed since a mark, by call site. O(blocks).
    ///
    /// # Examples
    ///
    /// ```
    /// use wgpu_pool::{HostMemory, Pool, PoolOptions};
    ///
    /// let pool = Pool::new(HostMemory::default(), PoolOptions::default())?;
    /// let mark = pool.mark();
    /// let kept = pool.allocate(1000)?;
    /// let growth = pool.growth_since(&mark);
    /// assert_eq!(growth.bytes(), 1000);
    /// assert_eq!(growth.sites[0].blocks, 1);
    /// # drop(kept);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn growth_since(&self, mark: &Mark) -> GrowthBetween {
        mark.growth_to(&self.mark())
    }

    /// Watches a loop that must not grow: call [`NoGrowth::turn`] at the end of each turn. The first `warm_up` turns may
    /// grow; every later one must end with no more bytes requested than the most that one of those ended with.
    ///
    /// # Examples
    ///
    /// ```
    /// use wgpu_pool::{HostMemory, Pool, PoolOptions};
    ///
    /// let pool = Pool::new(HostMemory::default(), PoolOptions::default())?;
    /// let mut state = pool.allocate(1000)?;
    /// let mut turns = pool.assert_no_growth(1);
    /// for _ in 0..10 {
    ///     state = pool.allocate(1000)?;
    ///     turns.turn();
    /// }
    /// # drop(state);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn assert_no_growth(&self, warm_up: u64) -> NoGrowth<M> {
        let allowed = self.stats().requested.current;
        let mark = if warm_up == 0 { Some(self.mark()) } else { None };
        NoGrowth { inner: Arc::clone(&self.inner), warm_up, turns: 0, allowed, mark }
    }
}

/// A watch over a loop. Made by [`Pool::assert_no_growth`].
pub struct NoGrowth<M: Memory> {
    inner: Arc<Inner<M>>,
    warm_up: u64,
    turns: u64,
    /// The most bytes that a turn may end with.
    allowed: u64,
    /// What every site held when the warm-up was over.
    mark: Option<Mark>,
}

impl<M: Memory> NoGrowth<M> {
    /// Ends a turn of the loop. O(1), save for the last turn of the warm-up, which is O(blocks).
    ///
    /// # Errors
    /// [`GrowthError`] when the pool has grown, with the call sites that grew. It then allows what there is now, so that each
    /// growth is told once.
    pub fn check_turn(&mut self) -> Result<(), GrowthError> {
        self.turns += 1;
        let state = self.inner.state();
        let now = state.heap.stats().requested.current;
        if self.turns <= self.warm_up {
            self.allowed = if self.turns == 1 { now } else { self.allowed.max(now) };
            if self.turns == self.warm_up {
                self.mark = Some(Mark { groups: state.groups() });
            }
            return Ok(());
        }
        if now <= self.allowed {
            return Ok(());
        }
        let later = Mark { groups: state.groups() };
        drop(state);
        let growth = self.mark.replace(later.clone()).map(|mark| mark.growth_to(&later)).unwrap_or_default();
        let error = GrowthError {
            turn: self.turns,
            allowed: self.allowed,
            requested: now,
            sites: growth.sites.iter().filter(|site| site.bytes > 0).map(ToString::to_string).collect(),
        };
        self.allowed = now;
        Err(error)
    }

    /// Ends a turn of the loop. O(1), save for the last turn of the warm-up, which is O(blocks).
    ///
    /// # Panics
    /// When the pool has grown: with the call sites that grew.
    #[track_caller]
    pub fn turn(&mut self) {
        if let Err(error) = self.check_turn() {
            panic!("{error}");
        }
    }
}

impl<M: Memory> fmt::Debug for NoGrowth<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner: _, warm_up, turns, allowed, mark: _ } = self;
        f.debug_struct("NoGrowth")
            .field("warm_up", warm_up)
            .field("turns", turns)
            .field("allowed", allowed)
            .finish_non_exhaustive()
    }
}
