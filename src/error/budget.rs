//! The errors of memory budgets.

use super::{AllocateError, Bytes, Count, Site};
use std::fmt;
use std::path::PathBuf;

/// The reason why a dry run does not match its recorded [`Budget`](crate::Budget).
///
/// Cause and remedy of each variant: [`guide::errors::budget`](crate::guide::errors::budget).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BudgetError {
    /// The file does not exist.
    Missing {
        /// The file.
        path: PathBuf,
        /// The environment variable that records it.
        variable: &'static str,
    },
    /// The file cannot be read or written.
    File {
        /// The file.
        path: PathBuf,
        /// The system's message.
        reason: String,
    },
    /// The file is not the text of a dry run.
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The expected start of the line.
        expected: &'static str,
    },
    /// The program does not fit the limit, so there is no peak to compare or to record.
    DoesNotFit {
        /// The call site of the refused request. `None` for a command.
        site: Option<Site>,
        /// The error of the request or of the command.
        error: AllocateError,
    },
    /// A peak has changed. Sizes are in bytes.
    Changed {
        /// The file.
        path: PathBuf,
        /// The recorded peak of requested bytes, and the peak now.
        requested: [u64; 2],
        /// The recorded peak of reserved bytes, and the peak now.
        reserved: [u64; 2],
        /// The holders that changed: lines of the file that start with `-`, and lines of the dry run that start with `+`. Lines that
        /// differ only in the position within a source file are equal.
        holders: Vec<String>,
        /// The environment variable that records the new peaks.
        variable: &'static str,
    },
}

impl fmt::Display for BudgetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { path, variable } => {
                write!(f, "{} does not exist: set {variable}=1 to record it", path.display())
            }
            Self::File { path, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Malformed { path, line, expected } => {
                write!(f, "{}, line {line}: expected `{expected}` and a number of bytes", path.display())
            }
            Self::DoesNotFit { site, error } => {
                write!(f, "the program does not fit: {error}")?;
                site.as_ref().map_or(Ok(()), |site| write!(f, ", at {site}"))
            }
            Self::Changed { path, requested, reserved, holders, variable } => {
                write!(f, "the peak differs from {}: set {variable}=1 to record the new one", path.display())?;
                write_change(f, "requested", *requested)?;
                write_change(f, "reserved", *reserved)?;
                holders.iter().try_for_each(|line| write!(f, "\n  {line}"))
            }
        }
    }
}

fn write_change(f: &mut fmt::Formatter<'_>, name: &str, [recorded, now]: [u64; 2]) -> fmt::Result {
    write!(f, "\n  {name}: {} recorded, {} now", Count(recorded, "byte"), Count(now, "byte"))?;
    match now.checked_sub(recorded) {
        Some(0) => Ok(()),
        Some(more) => write!(f, ", {} more", Bytes(more)),
        None => write!(f, ", {} less", Bytes(recorded - now)),
    }
}

impl std::error::Error for BudgetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::DoesNotFit { error, .. } => Some(error),
            _ => None,
        }
    }
}
