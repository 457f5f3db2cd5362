//! The report: a pool's memory use, its causes, and possible remedies, for a terminal of 80 columns.

use super::breakdown::{Breakdown, Fragmentation};
use crate::error::{Bytes, Count, Holder};
use crate::heap::Counter;
use crate::pool::SpillStats;
use crate::pool::snapshot::{BlockOrigin, Report, SegmentSnapshot, Snapshot};
use std::fmt;

/// The number of entries in the lists of holders, segments and pins.
const LISTED: usize = 5;
/// The longest line, in columns.
const COLUMNS: usize = 80;

impl Snapshot {
    /// Returns the report of this snapshot. O(blocks).
    #[must_use]
    pub fn report(&self) -> Report {
        Report::of(self.clone())
    }
}

impl Report {
    /// Returns a breakdown of the memory. O(blocks).
    #[must_use]
    pub fn breakdown(&self) -> Breakdown {
        Breakdown::of(&self.snapshot)
    }

    /// Returns the fragmentation of the free memory. O(blocks).
    #[must_use]
    pub fn fragmentation(&self) -> Fragmentation {
        Fragmentation::of(&self.snapshot)
    }

    /// Returns the report as one line of `name=number` pairs, for logs. Sizes are in bytes.
    #[must_use]
    pub fn to_log_line(&self) -> String {
        let Breakdown { live, rounding, pending_free, releasable, split, pending, driver, .. } = self.breakdown();
        let fragmentation = self.fragmentation();
        let stats = &self.snapshot.stats;
        let spill = match self.snapshot.spill {
            SpillStats { limit: None, .. } => String::new(),
            SpillStats { host, moved_out, moved_in, stalls, .. } => {
                format!(" host={host} moved_out={moved_out} moved_in={moved_in} stalls={stalls}")
            }
        };
        let driver = driver.map_or_else(|| "unknown".into(), |driver| driver.total.to_string());
        format!(
            "requested={} peak_requested={} reserved={} peak_reserved={} live={live} rounding={rounding} pending_free={pending_free} \
             releasable={releasable} split={split} pending={pending} pinned={} driver={driver} largest_hole={} holes={} \
             out_of_memory={}{spill}",
            stats.requested.current,
            stats.requested.peak,
            stats.reserved.current,
            stats.reserved.peak,
            stats.pinned.current,
            fragmentation.largest_hole,
            fragmentation.holes,
            self.snapshot.remedies.out_of_memory
        )
    }

    fn counters(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<24}{:>13}{:>13}{:>13}{:>13}", "", "now", "peak", "allocated", "freed")?;
        let stats = &self.snapshot.stats;
        let bytes = [
            ("requested", &stats.requested),
            ("allocated", &stats.allocated),
            ("active", &stats.active),
            ("reserved", &stats.reserved),
            ("inactive split", &stats.inactive_split),
            ("pinned", &stats.pinned),
            ("in host memory", &stats.spilled),
        ];
        let shown = if self.snapshot.spill.limit.is_some() { bytes.len() } else { bytes.len() - 1 };
        for &(name, counter) in &bytes[..shown] {
            row(f, name, counter, |amount| Bytes(amount).to_string())?;
            // The two pools have counters of current bytes only.
            let of_pools = match name {
                "active" => [stats.small.active, stats.large.active],
                "reserved" => [stats.small.reserved, stats.large.reserved],
                _ => continue,
            };
            for (pool, amount) in ["  in the small pool", "  in the large pool"].into_iter().zip(of_pools) {
                writeln!(f, "{pool:<24}{:>13}", Bytes(amount).to_string())?;
            }
        }
        let counts =
            [("blocks", &stats.blocks), ("active blocks", &stats.active_blocks), ("segments", &stats.segments)];
        for (name, counter) in counts {
            row(f, name, counter, |amount| amount.to_string())?;
        }
        let is_split = |segment: &&SegmentSnapshot| segment.active > 0;
        let blocks = self.snapshot.segments.iter().filter(is_split).flat_map(|segment| &segment.blocks);
        let split = blocks.filter(|block| !block.state.is_active()).count();
        writeln!(f, "{:<24}{split:>13}", "inactive split blocks")
    }

    fn bytes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let breakdown = self.breakdown();
        writeln!(f, "\nwhere the memory is")?;
        let segments = |count: u64| format!("{count} {}", if count == 1 { "segment" } else { "segments" });
        part(f, "live", breakdown.live, "requested: drop tensors")?;
        part(f, "rounding", breakdown.rounding, "added by rounding to the granule")?;
        part(f, "pending free", breakdown.pending_free, "freed but pinned: drop the guards")?;
        part(
            f,
            "cached, releasable",
            breakdown.releasable,
            &format!("{}: trim", segments(breakdown.releasable_segments)),
        )?;
        let pins = if breakdown.split_by_pins > 0 {
            format!(", {} pinned", Bytes(breakdown.split_by_pins))
        } else {
            String::new()
        };
        let what = format!("{}: compact, trim{pins}", segments(breakdown.split_segments));
        part(f, "cached, not releasable", breakdown.split, &what)?;
        part(
            f,
            "= reserved",
            breakdown.reserved,
            &match self.snapshot.limit {
                Some(limit) => format!("limit {}", Bytes(limit)),
                None => "no limit".into(),
            },
        )?;
        part(f, "destroyed, pending", breakdown.pending, "freed when the device has finished")?;
        match breakdown.driver {
            Some(driver) => {
                part(f, "staging, parameters", driver.own, "freed by Pool::pressure")?;
                part(f, "other segments", driver.other_segments, "other pools, pending, alignment")?;
                part(f, "application", driver.foreign, "buffers and textures of the application")?;
                part(f, "unused by the driver", driver.unused, "kept by wgpu for later buffers")?;
                part(f, "= held by the driver", driver.total, "for this device")?;
            }
            None => writeln!(f, "  {:<24}{:>11}  not reported by this backend", "= held by the driver", "unknown")?,
        }
        writeln!(f, "  Tools such as nvidia-smi also count the device context, compiled kernels and")?;
        writeln!(f, "  other programs, which the pool does not control.")
    }

    fn fragments(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fragmentation = self.fragmentation();
        let [largest, free] = [fragmentation.largest_hole, fragmentation.free].map(Bytes);
        writeln!(f, "\nfragmentation")?;
        writeln!(f, "  largest hole {largest} of {free} free in {}", Count(fragmentation.holes, "hole"))?;
        let arenas = || self.snapshot.segments.iter().filter(|segment| segment.planned);
        if arenas().next().is_some() {
            let sums = [arenas().map(|segment| segment.active).sum(), arenas().map(|segment| segment.bytes).sum()];
            let [active, bytes] = sums.map(Bytes);
            writeln!(f, "  arenas of repeated steps: {active} used of {bytes}")?;
        }
        let [external, unused] = [fragmentation.external(), fragmentation.unused()];
        writeln!(f, "  1 - largest / free = {external:.3}, 1 - live / reserved = {unused:.3}")
    }

    fn holders(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holders = self.snapshot.holders();
        if holders.is_empty() {
            return Ok(());
        }
        writeln!(f, "\ntop holders")?;
        for Holder { site, label, scope, blocks, bytes } in holders.iter().take(LISTED) {
            let label = label.as_ref().map(|label| format!("{} ", label.escape_debug())).unwrap_or_default();
            let scope = scope.as_ref().map(|scope| format!(" in {}", scope.escape_debug())).unwrap_or_default();
            line(f, format!("  {:>10} in {blocks:>5}  {label}{site}{scope}", Bytes(*bytes).to_string()))?;
        }
        more(f, holders.len())
    }

    /// Lists the segments that cannot be trimmed, with their largest active block.
    fn not_releasable(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inactive = |segment: &SegmentSnapshot| segment.bytes - segment.active;
        let segments = self.snapshot.segments.iter();
        let mut partly_used: Vec<_> = segments.filter(|segment| segment.active > 0 && inactive(segment) > 0).collect();
        if partly_used.is_empty() {
            return Ok(());
        }
        partly_used.sort_by_key(|segment| std::cmp::Reverse(inactive(segment)));
        writeln!(f, "\ncached and not releasable, with the largest active block")?;
        for segment in partly_used.iter().take(LISTED) {
            let free = Bytes(inactive(segment)).to_string();
            let active = segment.blocks.iter().filter(|block| block.state.is_active());
            let count = active.clone().count();
            writeln!(f, "  {free:>10} free in segment {}, {} active, the largest:", segment.id, blocks(count))?;
            let Some(block) = active.max_by_key(|block| block.size) else { continue };
            let pinned = if block.pins > 0 { "pinned, " } else { "" };
            let origin = block.origin.as_ref().map_or_else(|| "unknown".into(), |origin| self.origin(origin));
            line(f, format!("  {:>10} {pinned}{origin}", Bytes(block.size).to_string()))?;
        }
        more(f, partly_used.len())
    }

    fn pins(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pins = &self.snapshot.pins;
        if pins.is_empty() {
            return Ok(());
        }
        writeln!(f, "\npins")?;
        for pin in pins.iter().take(LISTED) {
            line(f, format!("  a block of segment {} by {}", pin.segment, self.site(pin.site)))?;
        }
        more(f, pins.len())
    }

    fn scopes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.snapshot.scopes.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n{:<28}{:>8}{:>13}{:>13}{:>14}", "scopes", "entries", "allocated", "peak", "growth")?;
        for (number, scope) in (0..).zip(&self.snapshot.scopes) {
            let counts = &scope.counts;
            let sign = if counts.current < 0 { '-' } else { '+' };
            let growth = format!("{sign}{}", Bytes(counts.current.unsigned_abs()));
            let [allocated, peak] =
                [counts.allocated, counts.peak.unsigned_abs()].map(|bytes| Bytes(bytes).to_string());
            let path = cut(&self.snapshot.scope_path(number).escape_debug().to_string(), 27);
            writeln!(f, "{path:<28}{:>8}{allocated:>13}{peak:>13}{growth:>14}", scope.entries)?;
        }
        Ok(())
    }

    /// Lists the caches that are not empty, or whose objects commands use.
    fn caches(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let caches = self.snapshot.caches.iter().map(|cache| (cache, cache.in_use.unwrap_or(0)));
        let mut used = caches.filter(|(cache, in_use)| cache.entries > 0 || *in_use > 0).peekable();
        if used.peek().is_none() {
            return Ok(());
        }
        writeln!(
            f,
            "\n{:<28}{:>8}{:>10}{:>11}{:>11}{:>8}",
            "caches", "entries", "at most", "bytes", "at most", "made"
        )?;
        let bytes = |amount: Option<u64>| amount.map_or_else(|| "-".into(), |amount| Bytes(amount).to_string());
        for (cache, in_use) in used {
            let most = cache.most_entries.map_or_else(|| "-".into(), |most| most.to_string());
            let [current, most_bytes] = [cache.bytes, cache.most_bytes].map(bytes);
            let made = if cache.made == 0 { "-".into() } else { cache.made.to_string() };
            writeln!(
                f,
                "  {:<26}{:>8}{most:>10}{current:>11}{most_bytes:>11}{made:>8}",
                cut(&cache.name, 25),
                cache.entries
            )?;
            if in_use > 0 {
                writeln!(f, "    {:<42}{:>11}", "in use by commands", Bytes(in_use).to_string())?;
            }
        }
        Ok(())
    }

    fn remedies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remedies = &self.snapshot.remedies;
        let [moved, released, relieved] = [remedies.bytes_moved, remedies.bytes_released, remedies.relieved].map(Bytes);
        writeln!(f, "\nremedies taken")?;
        writeln!(
            f,
            "  served late {}, segments adopted {}, cross-pool placements {}",
            remedies.served_late, remedies.adopted, remedies.cross_pool
        )?;
        writeln!(
            f,
            "  compactions {} of {moved}, of which evacuations {}, host copies {}",
            remedies.compactions, remedies.evacuations, remedies.host_copies
        )?;
        writeln!(
            f,
            "  segments created {}, released {} of {released}, refused {}",
            remedies.segments_created, remedies.segments_released, remedies.refusals
        )?;
        writeln!(
            f,
            "  limit hits {}, waits {}, callbacks {} of {relieved}, out of memory {}",
            remedies.limit_hits, remedies.waits, remedies.callbacks, remedies.out_of_memory
        )
    }

    /// The places of the blocks, in a pool with spilling.
    fn places(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spill = &self.snapshot.spill;
        let Some(limit) = spill.limit else { return Ok(()) };
        writeln!(f, "\nspilling")?;
        let limit = if limit == u64::MAX { "no limit".into() } else { format!("limit {}", Bytes(limit)) };
        part(f, "on the device", self.snapshot.stats.allocated.current, &format!("{} kept there", Bytes(spill.kept)))?;
        part(f, "in host memory", spill.host, &format!("{}, {limit}", Count(spill.host_blocks, "block")))?;
        part(f, "in transit", spill.in_transit, "being read back, still on the device")?;
        part(f, "host buffers, idle", spill.idle, "freed by trim")?;
        part(f, "moved to the host", spill.moved_out, &format!("in {}", Count(spill.blocks_out, "block")))?;
        part(f, "returned", spill.moved_in, &format!("in {}", Count(spill.blocks_in, "block")))?;
        writeln!(f, "  {:<24}{:>11}  commands that a return preceded", "stalls", spill.stalls)?;
        let period = spill.period.map_or_else(|| "none".into(), |uses| uses.to_string());
        writeln!(f, "  {:<24}{period:>11}  uses of blocks until they repeat", "period")
    }

    fn site(&self, number: u32) -> String {
        self.snapshot.sites.get(number as usize).map_or_else(|| "unknown".into(), ToString::to_string)
    }

    fn origin(&self, origin: &BlockOrigin) -> String {
        let mut text = String::new();
        if let Some(label) = &origin.label {
            text += &format!("{} ", label.escape_debug());
        }
        if let (Some(dtype), Some(shape)) = (&origin.dtype, &origin.shape) {
            text += &format!("{dtype} {shape:?} ");
        }
        text + &self.site(origin.site)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(f, format!("wgpu-pool on {}", self.snapshot.memory))?;
        self.counters(f)?;
        self.bytes(f)?;
        self.places(f)?;
        self.fragments(f)?;
        self.holders(f)?;
        self.not_releasable(f)?;
        self.pins(f)?;
        self.scopes(f)?;
        self.caches(f)?;
        self.remedies(f)
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, counter: &Counter, show: impl Fn(u64) -> String) -> fmt::Result {
    let Counter { current, peak, allocated, freed } = *counter;
    let [current, peak, allocated, freed] = [current, peak, allocated, freed].map(show);
    writeln!(f, "{name:<24}{current:>13}{peak:>13}{allocated:>13}{freed:>13}")
}

fn part(f: &mut fmt::Formatter<'_>, name: &str, bytes: u64, what: &str) -> fmt::Result {
    writeln!(f, "  {name:<24}{:>11}  {what}", Bytes(bytes).to_string())
}

fn blocks(count: usize) -> String {
    Count(count, "block").to_string()
}

fn more(f: &mut fmt::Formatter<'_>, all: usize) -> fmt::Result {
    if all > LISTED { writeln!(f, "  and {} more", all - LISTED) } else { Ok(()) }
}

/// Writes a line of unknown length. The middle of a long line is removed: the end of a path and the start of a label
/// matter most.
fn line(f: &mut fmt::Formatter<'_>, text: impl Into<String>) -> fmt::Result {
    writeln!(f, "{}", cut(&text.into(), COLUMNS))
}

fn cut(text: &str, columns: usize) -> String {
    let length = text.chars().count();
    if length <= columns {
        return text.into();
    }
    let start = columns / 3;
    let end = columns - start - 1;
    text.chars().take(start).chain(['…']).chain(text.chars().skip(length - end)).collect()
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_long_line_keeps_its_start_and_its_end() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("abcdefghijklm", 7), "ab…jklm");
        assert_eq!(cut("äöüäöüäöü", 4), "ä…öü");
    }
}
