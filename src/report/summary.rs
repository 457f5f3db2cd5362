//! The report: what a pool holds, why, and what could be done about it, for a terminal of 80 columns.

use super::split::{Fragmentation, Split};
use crate::error::Bytes;
use crate::heap::Counter;
use crate::pool::snapshot::{BlockOrigin, Report, SegmentSnapshot, Snapshot};
use std::collections::BTreeMap;
use std::fmt;

/// How many holders, segments, pins and scopes are listed.
const LISTED: usize = 5;
/// No line is longer.
const COLUMNS: usize = 80;

impl Snapshot {
    /// The report of this moment. O(blocks).
    #[must_use]
    pub fn report(&self) -> Report {
        Report::of(self.clone())
    }
}

impl Report {
    /// Where the memory is. O(blocks).
    #[must_use]
    pub fn split(&self) -> Split {
        Split::of(&self.snapshot)
    }

    /// How scattered the free bytes are. O(blocks).
    #[must_use]
    pub fn fragmentation(&self) -> Fragmentation {
        Fragmentation::of(&self.snapshot)
    }

    /// The report as one line of `name=number` pairs, for logs. Sizes are in bytes.
    #[must_use]
    pub fn to_log_line(&self) -> String {
        let Split { live, rounding, waiting, releasable, split, pending, beyond, .. } = self.split();
        let fragmentation = self.fragmentation();
        let stats = &self.snapshot.stats;
        let held = beyond.map_or_else(|| "unknown".into(), |beyond| beyond.held.to_string());
        format!(
            "requested={} peak_requested={} reserved={} peak_reserved={} live={live} rounding={rounding} waiting={waiting} \
             releasable={releasable} split={split} pending={pending} pinned={} driver={held} largest_hole={} holes={} \
             out_of_memory={}",
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
        ];
        for (name, counter) in bytes {
            row(f, name, counter, |amount| Bytes(amount).to_string())?;
            // Of the two pools only what they hold now is counted.
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
        let split = self.split();
        writeln!(f, "\nwhere the memory is")?;
        let segments = |count: u64| format!("{count} {}", if count == 1 { "segment" } else { "segments" });
        part(f, "live", split.live, "asked for: drop tensors")?;
        part(f, "rounding", split.rounding, "added to reach the granule")?;
        part(f, "waiting", split.waiting, "freed but pinned: drop the guards")?;
        part(f, "cached, releasable", split.releasable, &format!("{}: trim", segments(split.releasable_segments)))?;
        let pins =
            if split.split_by_pins > 0 { format!(", {} pinned", Bytes(split.split_by_pins)) } else { String::new() };
        let what = format!("{}: compact, trim{pins}", segments(split.split_segments));
        part(f, "cached, not releasable", split.split, &what)?;
        part(
            f,
            "= reserved",
            split.reserved,
            &match self.snapshot.limit {
                Some(limit) => format!("limit {}", Bytes(limit)),
                None => "no limit".into(),
            },
        )?;
        part(f, "on its way back", split.pending, "trimmed: back when the device is done")?;
        match split.beyond {
            Some(beyond) => {
                part(f, "staging and the like", beyond.own, "the crate's own: pressure gives it up")?;
                part(f, "other segments", beyond.other_segments, "other pools, pending, alignment")?;
                part(f, "rest of the program", beyond.foreign, "buffers and textures of others")?;
                part(f, "unused by the driver", beyond.unused, "kept by wgpu for the next buffers")?;
                part(f, "= held by the driver", beyond.held, "for this device")?;
            }
            None => writeln!(f, "  {:<24}{:>11}  this backend can't tell", "= held by the driver", "unknown")?,
        }
        writeln!(f, "  Tools like nvidia-smi add the device's context, its compiled kernels and other")?;
        writeln!(f, "  programs: outside of the pool's control.")
    }

    fn fragments(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fragmentation = self.fragmentation();
        let [largest, free] = [fragmentation.largest_hole, fragmentation.free].map(Bytes);
        writeln!(f, "\nfragmentation")?;
        writeln!(f, "  largest hole {largest} of {free} free in {} holes", fragmentation.holes)?;
        let [external, unused] = [fragmentation.external(), fragmentation.unused()];
        writeln!(f, "  1 - largest / free = {external:.3}, 1 - live / reserved = {unused:.3}")
    }

    fn holders(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups: BTreeMap<(u32, Option<&str>), (u64, u64)> = BTreeMap::new();
        for block in self.snapshot.handed_out() {
            let Some(origin) = &block.origin else { continue };
            let (blocks, bytes) = groups.entry((origin.site, origin.label.as_deref())).or_default();
            *blocks += 1;
            *bytes += block.requested;
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|&(_, (_, bytes))| std::cmp::Reverse(bytes));
        if groups.is_empty() {
            return Ok(());
        }
        writeln!(f, "\ntop holders")?;
        for ((site, label), (blocks, bytes)) in groups.iter().take(LISTED) {
            let label = label.map(|label| format!("{} ", label.escape_debug())).unwrap_or_default();
            line(f, format!("  {:>10} in {blocks:>5}  {label}{}", Bytes(*bytes).to_string(), self.site(*site)))?;
        }
        more(f, groups.len())
    }

    /// What keeps segments from being trimmed.
    fn not_releasable(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inactive = |segment: &SegmentSnapshot| segment.bytes - segment.active;
        let segments = self.snapshot.segments.iter();
        let mut held: Vec<_> = segments.filter(|segment| segment.active > 0 && inactive(segment) > 0).collect();
        if held.is_empty() {
            return Ok(());
        }
        held.sort_by_key(|segment| std::cmp::Reverse(inactive(segment)));
        writeln!(f, "\ncached and not releasable, with what holds it")?;
        for segment in held.iter().take(LISTED) {
            let free = Bytes(inactive(segment)).to_string();
            let active = segment.blocks.iter().filter(|block| block.state.is_active());
            let count = active.clone().count();
            writeln!(f, "  {free:>10} free in segment {}, held by {}, the largest:", segment.id, blocks(count))?;
            let Some(block) = active.max_by_key(|block| block.size) else { continue };
            let pinned = if block.pins > 0 { "pinned, " } else { "" };
            let origin = block.origin.as_ref().map_or_else(|| "unknown".into(), |origin| self.origin(origin));
            line(f, format!("  {:>10} {pinned}{origin}", Bytes(block.size).to_string()))?;
        }
        more(f, held.len())
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

    /// The caches that hold anything.
    fn caches(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut used = self.snapshot.caches.iter().filter(|cache| cache.entries > 0).peekable();
        if used.peek().is_none() {
            return Ok(());
        }
        writeln!(
            f,
            "\n{:<28}{:>8}{:>10}{:>11}{:>11}{:>8}",
            "caches", "entries", "at most", "bytes", "at most", "made"
        )?;
        let bytes = |amount: Option<u64>| amount.map_or_else(|| "-".into(), |amount| Bytes(amount).to_string());
        for cache in used {
            let most = cache.most_entries.map_or_else(|| "-".into(), |most| most.to_string());
            let [held, most_bytes] = [cache.bytes, cache.most_bytes].map(bytes);
            let made = if cache.made == 0 { "-".into() } else { cache.made.to_string() };
            writeln!(
                f,
                "  {:<26}{:>8}{most:>10}{held:>11}{most_bytes:>11}{made:>8}",
                cut(&cache.name, 25),
                cache.entries
            )?;
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
    format!("{count} {}", if count == 1 { "block" } else { "blocks" })
}

fn more(f: &mut fmt::Formatter<'_>, all: usize) -> fmt::Result {
    if all > LISTED { writeln!(f, "  and {} more", all - LISTED) } else { Ok(()) }
}

/// Writes a line of texts whose length nobody knows. What is too long loses its middle: a path matters at its end, a label at
/// its start.
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
    fn a_long_text_keeps_its_start_and_its_end() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("abcdefghijklm", 7), "ab…jklm");
        assert_eq!(cut("äöüäöüäöü", 4), "ä…öü");
    }
}
