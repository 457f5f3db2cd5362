//! The text of a dry run.

use crate::error::{Bytes, Count, Holder, Site};
use crate::pool::DryRun;
use std::fmt;

/// The starts of the lines with the peaks of requested and of reserved bytes, which [`Budget`](super::Budget) reads.
pub(super) const PEAKS: [&str; 2] = ["requested peak: ", "reserved peak: "];
/// The line before the holders.
pub(super) const HOLDERS: &str = "held at the peak of requested bytes:";

/// Formats the peaks with their call sites, the refused request if there is one, and the holders, one line each:
///
/// ```text
/// requested peak: 33554432 bytes (32.0 MiB), src/train.rs:14:25
/// reserved peak: 34603008 bytes (33.0 MiB), src/train.rs:14:25
/// held at the peak of requested bytes:
///   16777216 bytes in 1 block, src/train.rs:13:28 (activations) in step/forward
///   8388608 bytes in 1 block, src/train.rs:10:20
/// ```
impl fmt::Display for DryRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (start, peak) in PEAKS.iter().zip([self.requested_peak(), self.reserved_peak()]) {
            write_peak(f, start, peak.bytes, peak.site.as_ref())?;
        }
        if let Some(refusal) = self.refusal() {
            write!(f, "refused: {}", refusal.error)?;
            refusal.site.as_ref().map_or(Ok(()), |site| write!(f, ", {site}"))?;
            writeln!(f)?;
        }
        writeln!(f, "{HOLDERS}")?;
        self.holders().iter().try_for_each(|holder| write_holder(f, holder))
    }
}

fn write_peak(f: &mut fmt::Formatter<'_>, start: &str, bytes: u64, site: Option<&Site>) -> fmt::Result {
    write!(f, "{start}{bytes} bytes ({})", Bytes(bytes))?;
    match site {
        Some(site) => writeln!(f, ", {site}"),
        None => writeln!(f),
    }
}

fn write_holder(f: &mut fmt::Formatter<'_>, holder: &Holder) -> fmt::Result {
    write!(f, "  {} bytes in {}, {}", holder.bytes, Count(holder.blocks, "block"), holder.site)?;
    if let Some(label) = &holder.label {
        write!(f, " ({})", label.escape_debug())?;
    }
    if let Some(scope) = &holder.scope {
        write!(f, " in {}", scope.escape_debug())?;
    }
    writeln!(f)
}
