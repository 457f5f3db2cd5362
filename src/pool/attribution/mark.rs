//! Memory growth between two points in time.

use super::super::{Inner, Pool};
use crate::device::{Gpu, Memory};
use crate::error::{GrowthError, Holder, HolderGrowth};
use rustc_hash::FxHashMap;
use std::fmt;
use std::sync::Arc;

/// The holders of a pool's memory at one point in time. Created by [`Pool::mark`].
#[derive(Clone, Debug)]
pub struct Mark {
    holders: Vec<Holder>,
}

/// The changes between two marks: the largest growth first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrowthBetween {
    /// The holders whose bytes or number of blocks have changed.
    pub holders: Vec<HolderGrowth>,
}

impl GrowthBetween {
    /// Returns the sum of the changes in bytes.
    #[must_use]
    pub fn bytes(&self) -> i64 {
        self.holders.iter().fold(0, |sum: i64, growth| sum.saturating_add(growth.bytes))
    }
}

/// Formats one line per holder, such as `+4.0 MiB in +2 blocks, src/main.rs:12:5 (weights)`.
impl fmt::Display for GrowthBetween {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.holders.is_empty() {
            return writeln!(f, "no growth");
        }
        self.holders.iter().try_for_each(|growth| writeln!(f, "{growth}"))
    }
}

impl Mark {
    /// Returns the changes from this mark to a later one. O(holders).
    #[must_use]
    pub fn growth_to(&self, later: &Self) -> GrowthBetween {
        let mut before: FxHashMap<_, _> = self.holders.iter().map(|holder| (holder.key(), holder)).collect();
        let grown = later.holders.iter().map(|now| HolderGrowth::between(before.remove(&now.key()), now.clone()));
        let mut holders: Vec<HolderGrowth> = grown.collect();
        let gone = before
            .into_values()
            .map(|earlier| HolderGrowth::between(Some(earlier), Holder { blocks: 0, bytes: 0, ..earlier.clone() }));
        holders.extend(gone);
        holders.retain(|growth| growth.blocks != 0 || growth.bytes != 0);
        holders.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.holder.key().cmp(&b.holder.key())));
        GrowthBetween { holders }
    }
}

impl<M: Memory> Pool<M> {
    /// Records the holders of the pool's memory. O(blocks).
    #[must_use]
    pub fn mark(&self) -> Mark {
        if let Some(dry) = self.dry() {
            return dry.mark();
        }
        Mark { holders: self.inner.state().holders() }
    }

    /// Returns the changes since a mark, by holder. O(blocks).
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
    /// assert_eq!(growth.holders[0].blocks, 1);
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
pub struct GrowthCheck<M: Memory = Gpu> {
    inner: Arc<Inner<M>>,
    warm_up: u64,
    iterations: u64,
    /// The largest number of requested bytes with which an iteration may end.
    allowed: u64,
    /// The holders at the end of the warm-up.
    mark: Option<Mark>,
}

impl<M: Memory> GrowthCheck<M> {
    /// Ends an iteration of the loop. O(1), except for the last warm-up iteration, which is O(blocks).
    ///
    /// # Errors
    /// [`GrowthError`] if the pool has grown, with the holders that grew. The new size then becomes the allowed
    /// size, so that each growth is reported once.
    pub fn check_iteration(&mut self) -> Result<(), GrowthError> {
        self.iterations += 1;
        let pool = Pool::of(&self.inner);
        let now = pool.stats().requested.current;
        if self.iterations <= self.warm_up {
            self.allowed = if self.iterations == 1 { now } else { self.allowed.max(now) };
            if self.iterations == self.warm_up {
                self.mark = Some(pool.mark());
            }
            return Ok(());
        }
        if now <= self.allowed {
            return Ok(());
        }
        let later = pool.mark();
        let growth = self.mark.replace(later.clone()).map(|mark| mark.growth_to(&later)).unwrap_or_default();
        let error = GrowthError {
            iteration: self.iterations,
            allowed: self.allowed,
            requested: now,
            holders: growth.holders.into_iter().filter(|growth| growth.bytes > 0).collect(),
        };
        self.allowed = now;
        Err(error)
    }

    /// Ends an iteration of the loop. O(1), except for the last warm-up iteration, which is O(blocks).
    ///
    /// # Panics
    /// If the pool has grown; the message lists the holders that grew.
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
        f.debug_struct("GrowthCheck")
            .field("warm_up", warm_up)
            .field("iterations", iterations)
            .field("allowed", allowed)
            .finish_non_exhaustive()
    }
}
