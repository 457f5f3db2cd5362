//! Reading a snapshot with its invariants checked, in every format of serde.

use super::check;
use crate::heap::Stats;
use crate::pool::SpillStats;
use crate::pool::snapshot::{
    CacheUse, DriverHoldings, EventSnapshot, HostBlockSnapshot, PinSnapshot, PlanSnapshot, Remedies, ScopeSnapshot,
    SegmentSnapshot, Site, Snapshot,
};
use serde::{Deserialize, Deserializer, de::Error};

/// The fields of a snapshot before its invariants are checked.
#[derive(Deserialize)]
#[serde(remote = "Snapshot")]
struct Fields {
    memory: String,
    granule: u64,
    limit: Option<u64>,
    stats: Stats,
    remedies: Remedies,
    driver: Option<DriverHoldings>,
    #[serde(default)]
    caches: Vec<CacheUse>,
    pending: u64,
    sites: Vec<Site>,
    scopes: Vec<ScopeSnapshot>,
    pins: Vec<PinSnapshot>,
    segments: Vec<SegmentSnapshot>,
    #[serde(default)]
    spill: SpillStats,
    #[serde(default)]
    host_blocks: Vec<HostBlockSnapshot>,
    #[serde(default)]
    plans: Vec<PlanSnapshot>,
    events: Vec<EventSnapshot>,
    events_dropped: u64,
    allocations: u64,
}

/// Reads the fields, without a check of the invariants.
pub(super) fn unchecked<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Snapshot, D::Error> {
    Fields::deserialize(deserializer)
}

impl<'de> Deserialize<'de> for Snapshot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let snapshot = unchecked(deserializer)?;
        check::check(&snapshot).map_err(D::Error::custom)?;
        Ok(snapshot)
    }
}
