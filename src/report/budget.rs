//! Memory budgets: dry runs compared with committed files.

use super::dry_run::PEAKS;
use crate::error::BudgetError;
use crate::pool::DryRun;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// A committed file with the peak of a program, for tests: the test fails when the peak changes, and lists the call sites that changed.
///
/// The file is the text of a [`DryRun`]. With the environment variable [`Budget::UPDATE`] set to `1`, the file is written instead of
/// compared, as by the crates `insta` and `expect-test`, to which the same text can be passed.
///
/// Reserved bytes depend on the limits of the device. A test that runs on several machines uses an accounting memory, or wgpu's `noop`
/// backend for tensors; see [the guide](crate::guide::dry_run).
///
/// # Examples
/// ```no_run
/// use wgpu_pool::{AccountingMemory, Budget, Pool, PoolOptions};
///
/// let pool = Pool::new(AccountingMemory::default(), PoolOptions::default())?;
/// let (step, dry_run) = pool.dry_run(|| pool.allocate(16 << 20).map(drop))?;
/// step?;
/// Budget::at("tests/budgets/step.txt").assert(&dry_run);
/// # Ok::<(), wgpu_pool::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    path: PathBuf,
}

impl Budget {
    /// The environment variable that makes [`Budget::check`] and [`Budget::assert`] write the files instead of comparing them, if it is set,
    /// not empty and not `0`.
    pub const UPDATE: &str = "UPDATE_BUDGETS";

    /// Returns the budget in a file, which need not exist yet. Relative paths start from the working directory: in `cargo test` that is the
    /// package's root.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Returns the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Compares the peaks of requested and of reserved bytes with the file. A smaller peak is a change too: record it, so that later growth
    /// is noticed. Positions within source files may differ.
    ///
    /// # Errors
    /// [`BudgetError::Changed`] with the holders that changed; [`BudgetError::Missing`], [`BudgetError::Malformed`] or [`BudgetError::File`]
    /// if the file cannot be used; [`BudgetError::DoesNotFit`] if the dry run has refused a request.
    pub fn check(&self, dry_run: &DryRun) -> Result<(), BudgetError> {
        if env::var_os(Self::UPDATE).is_some_and(|value| !value.is_empty() && value != "0") {
            return self.record(dry_run);
        }
        self.check_fits(dry_run)?;
        let recorded = fs::read_to_string(&self.path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => BudgetError::Missing { path: self.path.clone(), variable: Self::UPDATE },
            _ => self.refusal(&error),
        })?;
        let recorded_peaks = self.peaks(&recorded)?;
        let now = [dry_run.requested_peak(), dry_run.reserved_peak()].map(|peak| peak.bytes);
        if recorded_peaks == now {
            return Ok(());
        }
        let [requested, reserved] = [0, 1].map(|which| [recorded_peaks[which], now[which]]);
        let holders = changed(&recorded, &text(dry_run));
        Err(BudgetError::Changed { path: self.path.clone(), requested, reserved, holders, variable: Self::UPDATE })
    }

    /// Compares the peaks with the file, in a test: a difference panics. See [`Budget::check`].
    ///
    /// # Panics
    /// With the message of the error.
    #[track_caller]
    pub fn assert(&self, dry_run: &DryRun) {
        if let Err(error) = self.check(dry_run) {
            panic!("{error}");
        }
    }

    /// Writes the file, and creates its folder if necessary.
    ///
    /// # Errors
    /// [`BudgetError::File`] if the file cannot be written; [`BudgetError::DoesNotFit`] if the dry run has refused a request.
    pub fn record(&self, dry_run: &DryRun) -> Result<(), BudgetError> {
        self.check_fits(dry_run)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        folder.map_or(Ok(()), fs::create_dir_all).map_err(|error| self.refusal(&error))?;
        fs::write(&self.path, text(dry_run)).map_err(|error| self.refusal(&error))
    }

    fn check_fits(&self, dry_run: &DryRun) -> Result<(), BudgetError> {
        let refused = dry_run.refusal();
        refused.map_or(Ok(()), |refusal| {
            Err(BudgetError::DoesNotFit { site: refusal.site.clone(), error: refusal.error.clone() })
        })
    }

    fn refusal(&self, error: &io::Error) -> BudgetError {
        BudgetError::File { path: self.path.clone(), reason: error.to_string() }
    }

    /// Reads the peaks of requested and of reserved bytes.
    fn peaks(&self, text: &str) -> Result<[u64; 2], BudgetError> {
        let mut lines = text.lines();
        let mut peaks = [0; 2];
        for ((line, expected), peak) in (1..).zip(PEAKS).zip(&mut peaks) {
            let number = lines.next().and_then(|line| line.strip_prefix(expected)?.split(' ').next()?.parse().ok());
            *peak = number.ok_or_else(|| BudgetError::Malformed { path: self.path.clone(), line, expected })?;
        }
        Ok(peaks)
    }
}

/// Returns the text of a dry run, with the same separators in paths on every platform.
fn text(dry_run: &DryRun) -> String {
    dry_run.to_string().replace('\\', "/")
}

/// Returns the lines of holders that are in one text only, with the signs `-` and `+`. Positions in source files are not compared.
fn changed(recorded: &str, now: &str) -> Vec<String> {
    let holders = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix("  ")).map(str::to_owned).collect()
    };
    let (recorded, now) = (holders(recorded), holders(now));
    let only_in = |sign: char, lines: &[String], others: &[String]| -> Vec<String> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        others.iter().for_each(|line| *counts.entry(without_position(line)).or_default() += 1);
        let is_new = |line: &&String| match counts.get_mut(&without_position(line)) {
            Some(count @ 1..) => {
                *count -= 1;
                false
            }
            _ => true,
        };
        lines.iter().filter(is_new).map(|line| format!("{sign} {line}")).collect()
    };
    let mut lines = only_in('-', &recorded, &now);
    lines.extend(only_in('+', &now, &recorded));
    lines
}

/// Removes each `:12:5`.
fn without_position(line: &str) -> String {
    let mut parts = line.split(':');
    let mut rest = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
        if digits == 0 {
            rest.push(':');
        }
        rest.push_str(&part[digits..]);
    }
    rest
}
