//! The options of the program.

use crate::replay::Trims;
use clap::{Parser, ValueEnum};
use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;

/// Replays allocation traces in a pool, and prints the figures of each trace: one JSON object per line.
///
/// A trace is a snapshot of PyTorch with a history (torch.cuda.memory._dump_snapshot, or the same as JSON), a trace of
/// STAlloc (mem_log_dev0.txt), or text with one event per line: `a ID BYTES` allocates, `f ID` frees. Ids count up from
/// 0; blocks that are never freed live until the end. Each may be compressed with gzip. Each trace is replayed once in a fresh pool (peaks,
/// segments and the cold time), seven more times in the same pool (the warm time is the median), and once in another
/// fresh pool that is trimmed at several points (the trim residue).
///
/// Exit status: 0; 1 if a replay failed (out of memory, a stamp that does not match, a device error); 2 if the arguments
/// are wrong or a trace is refused. The error on standard error contains the trace and the line. Other traces are
/// replayed nevertheless.
#[derive(Clone, Debug, Parser)]
#[command(name = "replay", max_term_width = 100)]
pub(crate) struct Options {
    /// The memory below the pool.
    #[arg(long, value_enum, default_value_t = MemoryKind::None)]
    pub(crate) memory: MemoryKind,

    /// Whether the pool may move live blocks before it grows, and compacts before it is trimmed.
    #[arg(long, value_enum, default_value_t = Switch::Off)]
    pub(crate) compact: Switch,

    /// Whether each trace is also replayed as a repeated step (`Pool::repeat`), in another pool: with the time of observed runs and of planned
    /// ones, each in turns with runs that are neither.
    #[arg(long, value_enum, default_value_t = Switch::Off)]
    pub(crate) plan: Switch,

    /// The pool's limit on the sum of all segments: a number of bytes, or a number with a unit (KiB, MiB, GiB, TiB).
    /// Unlimited by default.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) limit: Option<u64>,

    /// Divides every size of the traces by this whole number, rounding down to at least 1 byte: the same programs on a smaller
    /// device. All figures are those of the divided sizes.
    #[arg(long, value_name = "N", default_value_t = NonZeroU64::MIN, value_parser = scale)]
    pub(crate) scale: NonZeroU64,

    /// The number of points at which the last replay of a trace is trimmed. They divide the trace into equal parts. Points
    /// without requested bytes do not count.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) trim_points: u32,

    /// Times only the pool: no block is stamped. Otherwise the times of `host` and `wgpu` include writing each block's stamp,
    /// reading the stamp back and verifying it.
    #[arg(long)]
    pub(crate) time: bool,

    /// Draws the pool's segments while a trace is replayed; the times include the drawing.
    #[arg(long)]
    pub(crate) watch: bool,

    /// Replays each trace with and without compaction, and prints a table instead of the JSON, with PyTorch's figures for
    /// the traces in tests/data.
    #[arg(long, conflicts_with = "compact")]
    pub(crate) table: bool,

    /// The device of a snapshot with the histories of several devices.
    #[arg(long, value_name = "N")]
    pub(crate) device: Option<usize>,

    /// Writes the lifetimes and sizes of each trace's blocks to the file TRACE.csv in this folder, for other planners. The columns are
    /// id, lower, upper (exclusive; moments are numbers of events) and size in bytes.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) intervals: Option<PathBuf>,

    /// The traces.
    #[arg(value_name = "TRACE", required = true)]
    pub(crate) traces: Vec<PathBuf>,
}

impl Options {
    pub(crate) fn compacts(&self) -> bool {
        self.compact == Switch::On
    }

    pub(crate) fn plans(&self) -> bool {
        self.plan == Switch::On
    }

    /// Returns these options with compaction enabled or disabled.
    pub(crate) fn compacting(&self, compact: bool) -> Self {
        Self { compact: if compact { Switch::On } else { Switch::Off }, ..self.clone() }
    }

    pub(crate) fn trims(&self) -> Trims {
        Trims { points: self.trim_points, compact: self.compacts() }
    }
}

/// A memory below the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MemoryKind {
    /// Counts bytes and stores none: a trace of any size runs on any machine.
    None,
    /// Stores bytes in host memory, and stamps every block.
    Host,
    /// Stores bytes in wgpu buffers on the best adapter (see WGPU_BACKEND and WGPU_ADAPTER_NAME), and stamps every block.
    Wgpu,
}

impl fmt::Display for MemoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Host => "host",
            Self::Wgpu => "wgpu",
        })
    }
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// Yes.
    On,
    /// No.
    Off,
}

/// Reads a number of bytes, with or without a unit.
fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u32); 5] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("B", 0)];
    let unit = UNITS.iter().find_map(|&(unit, shift)| Some((text.strip_suffix(unit)?, shift)));
    let (digits, shift) = unit.unwrap_or((text, 0));
    let digits = digits.trim_end();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("not a count of bytes, such as 536870912 or 512MiB".into());
    }
    let number: Option<u64> = digits.parse().ok();
    number.and_then(|number| number.checked_mul(1 << shift)).ok_or_else(|| "too large, sizes have 64 bits".into())
}

/// Parses the divisor of sizes.
fn scale(text: &str) -> Result<NonZeroU64, String> {
    text.parse().map_err(|_| format!("not a whole number from 1 to {}", u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_of_bytes_with_or_without_a_unit() {
        let read = [("0", 0), ("536870912", 512 << 20), ("512MiB", 512 << 20), ("12 GiB", 12 << 30), ("7B", 7)];
        for (text, expected) in read {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_limit_that_is_no_number_of_bytes_is_refused() {
        for text in ["", "MiB", "-1", "+1", "1.5GiB", "512MB", "0x10", "18446744073709551616", "16777216TiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_arguments_have_the_defaults_that_the_help_promises() {
        let options = Options::try_parse_from(["replay", "a.trace"]).expect("a trace is all that is required");
        assert_eq!(options.memory, MemoryKind::None);
        assert_eq!(options.compact, Switch::Off);
        assert_eq!((options.limit, options.trim_points, options.time), (None, 20, false));
        assert_eq!(options.scale.get(), 1);
        assert!(Options::try_parse_from(["replay"]).is_err());
        assert!(Options::try_parse_from(["replay", "--trim-points", "0", "a.trace"]).is_err());
    }

    #[test]
    fn a_scale_that_is_no_whole_number_from_1_on_is_refused_with_exit_code_2_by_name() {
        for scale in ["0", "-1", "1.5", "", "x", "18446744073709551616"] {
            let argument = format!("--scale={scale}");
            let error = Options::try_parse_from(["replay", &argument, "a.trace"]).expect_err(scale);
            assert_eq!(error.exit_code(), 2, "{scale}");
            let text = format!("'--scale <N>': not a whole number from 1 to {}", u64::MAX);
            assert!(error.to_string().contains(&text), "{error}");
        }
        let options = Options::try_parse_from(["replay", "--scale", "18446744073709551615", "a.trace"]);
        assert_eq!(options.expect("every u64 but 0 is a scale").scale, NonZeroU64::MAX);
    }
}
