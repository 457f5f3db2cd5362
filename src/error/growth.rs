//! A loop that was not to grow, and did.

use super::Bytes;
use std::fmt;

/// Why a turn of a watched loop failed: the pool holds more than after the turns of its warm-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrowthError {
    /// Which turn it was, counted from 1.
    pub turn: u64,
    /// Bytes requested that were allowed.
    pub allowed: u64,
    /// Bytes requested that there are.
    pub requested: u64,
    /// A line for each call site that grew, the one that grew most first.
    pub sites: Vec<String>,
}

impl fmt::Display for GrowthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [requested, allowed] = [self.requested, self.allowed].map(Bytes);
        write!(f, "turn {} ends with {requested} requested, {allowed} allowed", self.turn)?;
        self.sites.iter().try_for_each(|site| write!(f, "\n  {site}"))
    }
}

impl std::error::Error for GrowthError {}
