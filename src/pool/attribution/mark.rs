//! Memory growth between two points in time.

use super::super::{Inner, Pool};
use super::holders::Group;
use crate::device::Memory;
use crate::error::{Bytes, GrowthError};
use rustc_hash::FxHashMap;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// The allocated bytes of every call site at one point in time. Created by [`Pool::mark`].
#[derive(Clone, Debug)]
pub struct Mark {
    groups: FxHashMap<Group, (u64, u64)>,
}

/// The change of the requested bytes of one call site and label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteGrowth {
    /// The call site of the allocations.
    pub site: &'static Location<'static>,
    /// The label of the blocks.
    pub label: Option<Arc<str>>,
    /// The change in bytes; negative if memory was freed.
    pub bytes: i64,
    /// The change in the number of blocks.
    pub blocks: i64,
}

/// The changes between two marks, by call site: the largest growth first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrowthBetween {
    /// The call sites whose memory has changed.
    pub sites: Vec<SiteGrowth>,
}

impl GrowthBetween {
    /// Returns the sum of the changes in bytes.
    #[must_use]
    pub fn bytes(&self) -> i64 {
        self.sites.iter().map(|site| site.bytes).sum()
    }
}

/// Formats one line per call site, such as `+4.0 MiB in +2 blocks, src/main.rs:12:5 (weights)`.
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
    /// Returns the changes from this mark to a later one. O(call sites).
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
    /// Records the allocated bytes of every call site. O(blocks).
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { groups: self.inner.state().groups() }
    }

    /// Returns the changes since a mark, by call site. O(blocks).
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
    /// # Ok::<(), wgpu_pool::Error>(())
    /// ```
    #[must_use]
    pub fn growth_since(&self, mark: &Mark) -> GrowthBetween {
        mark.growth_to(&self.mark())
    }

    /// Creates a check for a loop whose memory must not grow: call [`GrowthCheck::assert_iteration`] at the end of each
    /// iteration. The first `warm_up` iterations may grow. Every later iteration must end with at most as many
    /// requested bytes as the largest number at the end of a warm-up iteration.
    ///
    /// # Examples
    ///
    /// ```
    /// use wgpu_pool::{HostMemory, Pool, PoolOptions};
    ///
    /// let pool = Pool::new(HostMemory::default(), PoolOptions::default())?;
    /// let mut state = pool.allocate(1000)?;
    /// let mut check = pool.growth_check(1);
    /// for _ in 0..10 {
    ///     state = pool.allocate(1000)?;
    ///     check.assert_iteration();
    /// }
    /// # drop(state);
    /// # Ok::<(), wgpu_pool::Error>(())
    /// ```
    #[must_use]
    pub fn growth_check(&self, warm_up: u64) -> GrowthCheck<M> {
        let allowed = self.stats().requested.current;
        let mark = if warm_up == 0 { Some(self.mark()) } else { None };
        GrowthCheck { inner: Arc::clone(&self.inner), warm_up, iterations: 0, allowed, mark }
    }
}

/// A growth check for a loop. Created by [`Pool::growth_check`].
pub struct GrowthCheck<M: Memory> {
    inner: Arc<Inner<M>>,
    warm_up: u64,
    iterations: u64,
    /// The largest number of requested bytes with which an iteration may end.
    allowed: u64,
    /// The allocated bytes of every call site at the end of the warm-up.
    mark: Option<Mark>,
}

impl<M: Memory> GrowthCheck<M> {
    /// Ends an iteration of the loop. O(1), except for the last warm-up iteration, which is O(blocks).
    ///
    /// # Errors
    /// [`GrowthError`] if the pool has grown, with the call sites that grew. The new size then becomes the allowed
    /// size, so that each growth is reported once.
    pub fn check_iteration(&mut self) -> Result<(), GrowthError> {
        self.iterations += 1;
        let state = self.inner.state();
        let now = state.heap.stats().requested.current;
        if self.iterations <= self.warm_up {
            self.allowed = if self.iterations == 1 { now } else { self.allowed.max(now) };
            if self.iterations == self.warm_up {
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
            iteration: self.iterations,
            allowed: self.allowed,
            requested: now,
            sites: growth.sites.iter().filter(|site| site.bytes > 0).map(ToString::to_string).collect(),
        };
        self.allowed = now;
        Err(error)
    }

    /// Ends an iteration of the loop. O(1), except for the last warm-up iteration, which is O(blocks).
    ///
    /// # Panics
    /// If the pool has grown; the message lists the call sites that grew.
    #[track_caller]
    pub fn assert_iteration(&mut self) {
        if let Err(error) = self.check_iteration() {
            panic!("{error}");
        }
    }
}

impl<M: Memory> fmt::Debug for GrowthCheck<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner: _, warm_up, iterations, allowed, mark: _ } = self;
        f.debug_struct("NoGrowth")
            .field("warm_up", warm_up)
            .field("iterations", iterations)
            .field("allowed", allowed)
            .finish_non_exhaustive()
    }
}
