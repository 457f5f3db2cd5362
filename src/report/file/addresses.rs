//! Addresses for viewers that have no notion of segments: each segment gets a separate address range.

use super::SnapshotFileError;
use super::check::EXACT;
use crate::pool::snapshot::{SegmentId, Snapshot};
use std::collections::{BTreeMap, BTreeSet};

/// The distance between the addresses of consecutive segments. Segments are counted from 1, so no address is 0.
const SPACING: u64 = 1 << 36;

/// The address of every segment that occurs in a snapshot's map or history.
pub(super) struct Addresses(BTreeMap<u64, u64>);

impl Addresses {
    /// # Errors
    /// [`SnapshotFileError::TooLarge`] if an address does not fit: a segment above 64 GiB, or more than 2^17 − 1
    /// segments.
    pub(super) fn of(snapshot: &Snapshot) -> Result<Self, SnapshotFileError> {
        let mut numbers: BTreeSet<u64> = snapshot.segments.iter().map(|segment| segment.id.number()).collect();
        for event in &snapshot.events {
            numbers.extend(event.segment.map(SegmentId::number));
            numbers.extend(event.to.map(|(segment, _)| segment.number()));
        }
        let too_large = |segment, bytes| Err(SnapshotFileError::TooLarge { segment, bytes });
        for segment in &snapshot.segments {
            if segment.bytes > SPACING {
                return too_large(segment.id.number(), segment.bytes);
            }
        }
        let mut addresses = BTreeMap::new();
        for (place, number) in (1u64..).zip(numbers) {
            match place.checked_mul(SPACING) {
                Some(address) if address <= EXACT - SPACING => addresses.insert(number, address),
                _ => return too_large(number, 0),
            };
        }
        Ok(Self(addresses))
    }

    /// The address of a byte of a segment.
    pub(super) fn at(&self, segment: u64, offset: u64) -> u64 {
        self.0.get(&segment).copied().unwrap_or_default() + offset
    }
}
