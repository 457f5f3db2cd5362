//! The error of a loop whose memory grows.

use super::{Bytes, HolderGrowth};
use std::fmt;

/// The error of an iteration of a [`GrowthCheck`](crate::GrowthCheck): more bytes are requested than at the end of the
/// warm-up.
///
/// Cause and remedy: [`guide::errors::growth`](crate::guide::errors::growth).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrowthError {
    /// The number of the iteration, counted from 1.
    pub iteration: u64,
    /// The permitted requested bytes.
    pub allowed: u64,
    /// The requested bytes.
    pub requested: u64,
    /// The holders that grew, the largest growth first.
    pub holders: Vec<HolderGrowth>,
}

impl fmt::Display for GrowthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [requested, excess] = [self.requested, self.requested.saturating_sub(self.allowed)].map(Bytes);
        write!(f, "iteration {} ends with {requested} requested, {excess} more than allowed", self.iteration)?;
        self.holders.iter().try_for_each(|growth| write!(f, "\n  {growth}"))
    }
}

impl std::error::Error for GrowthError {}
