//! Shared code of the three programs: opening the adapter, the table of the pool's memory, and verified claims.

mod watch;

use std::process::ExitCode;
use watch::Watch;
use wgpu_pool::{Bytes, DeviceResources, MemoryTable, OpenError, Pool, PoolOptions, Tensor};

/// The pool of a program, the table of its memory, and the verified claims.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) pool: Pool,
    table: MemoryTable,
    /// The pool's map, if the program runs with `--watch`.
    pub(crate) watch: Watch,
    /// The number of table lines that have been printed.
    shown: usize,
    notes: Vec<String>,
    claims: Vec<Claim>,
}

#[derive(Debug)]
struct Claim {
    holds: bool,
    text: String,
}

impl Report {
    /// Opens the best adapter and prints its name.
    pub(crate) fn open(watch: bool) -> Result<Self, OpenError> {
        let pool = Pool::request_blocking(PoolOptions::default())?;
        let info = pool.memory().adapter_info();
        println!("adapter  {}", info.name);
        println!("backend  {:?}, {:?}", info.backend, info.device_type);
        println!("driver   {} {}", info.driver, info.driver_info);
        println!();
        Ok(Self {
            pool,
            table: MemoryTable::new(),
            watch: Watch::new(watch),
            shown: 0,
            notes: Vec::new(),
            claims: Vec::new(),
        })
    }

    /// Uploads, computes and reads a few numbers, and trims, so that later changes of the driver's memory are caused by
    /// the program's tensors. Returns the memory use at this point.
    pub(crate) fn warm_up(&mut self) -> wgpu_pool::Result<Held> {
        let opened = self.step("opened");
        let few = Tensor::from_slice(&self.pool, &[1.0_f32, 2.0], [2])?;
        few.add(&few)?.read_blocking::<f32>()?;
        drop(few);
        self.pool.trim();
        self.pool.synchronize_blocking()?;
        self.pool.trim();
        let warm = self.step("warmed up and trimmed");
        match (opened.driver, warm.driver) {
            (Some(before), Some(after)) if after > before => self.note(format!(
                "The driver held {} when the device was opened, and holds {} since two numbers were added: wgpu takes its own\n\
                 small buffers out of driver blocks of 4 MiB, and keeps one block of each kind of memory that was ever\n\
                 used. No pool can give those back; what the tensors take is measured from there.",
                Bytes(before),
                Bytes(after)
            )),
            (None, _) | (_, None) => {
                self.note("This backend does not report the driver's memory, so no claim is made about it.");
            }
            _ => {}
        }
        Ok(warm)
    }

    /// Adds a row to the table of the pool's memory, and prints it.
    pub(crate) fn step(&mut self, step: &str) -> Held {
        let held = Held {
            reserved: self.pool.stats().reserved.current,
            driver: self.pool.memory().driver_holdings().map(|held| held.reserved),
        };
        self.table.add(step, self.pool.stats(), held.driver);
        let table = self.table.to_string();
        let _ = self.watch.clear();
        for line in table.lines().skip(self.shown) {
            println!("{line}");
            self.shown += 1;
        }
        self.watch.draw(&self.pool);
        held
    }

    /// Adds a remark, which is printed before the claims.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Adds a claim, with the numbers on which it is based.
    pub(crate) fn claim(&mut self, holds: bool, text: impl Into<String>) {
        self.claims.push(Claim { holds, text: text.into() });
    }

    /// Adds claims that the memory use of the pool, and of the driver if reported, is the same as at an earlier point.
    pub(crate) fn claim_back(&mut self, before: Held, now: Held) {
        let (was, is) = (before.reserved, now.reserved);
        self.claim(is == was, format!("reserved is back: {}, was {}", Bytes(is), Bytes(was)));
        if let (Some(was), Some(is)) = (before.driver, now.driver) {
            // A small buffer of the crate, such as that of parameters, may lie in a block that segments below 4 MiB have filled.
            let block = 4 << 20;
            let text = "what the driver holds is back, but for at most one of its blocks of 4.0 MiB";
            self.claim(is <= was + block, format!("{text}: {}, was {}", Bytes(is), Bytes(was)));
        }
    }

    /// Prints the remarks and the claims. Returns a failure if a claim is false.
    pub(crate) fn conclude(mut self) -> ExitCode {
        let _ = self.watch.clear();
        println!();
        for note in &self.notes {
            println!("{note}\n");
        }
        for Claim { holds, text } in &self.claims {
            println!("{} {text}", if *holds { "holds" } else { "FAILS" });
        }
        let failed: Vec<&str> =
            self.claims.iter().filter(|claim| !claim.holds).map(|claim| claim.text.as_str()).collect();
        if failed.is_empty() {
            return ExitCode::SUCCESS;
        }
        eprintln!("error: {} of {} claims fail: {}", failed.len(), self.claims.len(), failed.join("; "));
        ExitCode::FAILURE
    }
}

/// The memory use at one point of a program, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) reserved: u64,
    /// `None` if the backend does not report it.
    pub(crate) driver: Option<u64>,
}

/// Runs a program, and converts its result to an exit status.
pub(crate) fn run<E: std::fmt::Display>(program: impl FnOnce() -> Result<ExitCode, E>) -> ExitCode {
    env_logger::init();
    program().unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}
