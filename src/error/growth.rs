//! The error of a loop whose memory grows.

use super::Bytes;
use std::fmt;

/// The error of an iteration of a [`GrowthCheck`](crate::GrowthCheck): more bytes are requested than at the end of the
/// warm-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrowthError {
    /// The number of the iteration, counted from 1.
    pub iteration: u64,
    /// The permitted requested bytes.
    pub allowed: u64,
    /// The requested bytes.
    pub requested: u64,
    /// One line per call site that grew, the largest growth first.
    pub sites: Vec<String>,
}

impl fmt::Display for GrowthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [requested, excess] = [self.requested, self.requested.saturating_sub(self.allowed)].map(Bytes);
        write!(f, "iteration {} ends with {requested} requested, {excess} more than allowed", self.iteration)?;
        self.sites.iter().try_for_each(|site| write!(f, "\n  {site}"))
    }
}

impl std::error::Error for GrowthError {}
