//! Dry runs at the limit, the search for the largest batch, and budgets in files.

use crate::common::Outcome;
use crate::subjects::options;
use wgpu_pool::{
    AccountingMemory, AllocateError, Budget, BudgetError, DeviceError, HostMemory, MaxBatchError, Pool, PoolOptions,
};

#[test]
fn a_program_above_the_limit_is_refused_as_in_reality_and_measured_without_the_limit() -> Outcome {
    let pool = Pool::new(AccountingMemory::new(), PoolOptions { limit: Some(1 << 20), ..options() })?;
    let program = || pool.allocate(3 << 20).map(drop);
    let (result, dry_run) = pool.dry_run(program)?;
    let refusal = dry_run.refusal().ok_or("the request is above the limit")?;
    assert_eq!(Some(&refusal.error), result.as_ref().err());
    let real = program().err().ok_or("the request is above the limit")?;
    assert_eq!(refusal.error.to_string(), real.to_string());
    let site = refusal.site.as_ref().ok_or("a request has a call site")?;
    assert!(site.file.ends_with("dry_run_batch.rs") && !dry_run.fits());
    let (result, dry_run) = pool.dry_run(|| {
        pool.set_limit(None);
        program()
    })?;
    result?;
    assert_eq!((dry_run.reserved_peak().bytes, dry_run.limit()), (3 << 20, None));
    assert_eq!(pool.limit(), Some(1 << 20), "the limit of the pool is unchanged");
    Ok(())
}

#[test]
fn the_largest_batch_is_the_largest_that_the_real_pool_serves() -> Outcome {
    let pool = Pool::new(HostMemory::default(), PoolOptions { limit: Some(8 << 20), ..options() })?;
    let weights = pool.allocate(1_000_001)?;
    let act = |n: usize| -> Result<(), AllocateError> {
        let inputs = (0..3).map(|_| pool.allocate(n as u64 * 10_007)).collect::<Result<Vec<_>, _>>()?;
        drop(inputs);
        Ok(())
    };
    let found = pool.max_batch(1..=100_000, act)?;
    let largest = found.largest.ok_or("one fits")?;
    assert!((200..300).contains(&largest), "{largest}");
    assert!(found.dry_run.fits() && found.runs <= 2 * 17 + 2, "{} dry runs", found.runs);
    act(largest)?;
    assert!(act(largest + 1).is_err(), "the next one does not fit");
    for (range, expected) in [(largest..=largest, Some(largest)), (0..=50, Some(50)), (largest + 1..=usize::MAX, None)]
    {
        let found = pool.max_batch(range.clone(), act)?;
        assert_eq!((found.largest, found.dry_run.fits()), (expected, expected.is_some()), "{range:?}");
    }
    drop(weights);
    Ok(())
}

/// Each block fits, and from n = 5 on the two of them do not fit together.
#[test]
fn a_command_that_finds_no_room_does_not_fit() -> Outcome {
    const MIB: u64 = 1 << 20;
    let limited = PoolOptions { limit: Some(8 * MIB), spill: Some(1 << 30), ..options() };
    let pool = Pool::new(HostMemory::default(), limited)?;
    let act = |n: usize| -> Result<(), wgpu_pool::Error> {
        let (from, to) = (pool.allocate(n as u64 * MIB)?, pool.allocate(n as u64 * MIB)?);
        Ok(from.copy_to(&to)?)
    };
    let found = pool.max_batch(1..=100, act)?;
    assert_eq!(found.largest, Some(4));
    act(4)?;
    let (predicted, dry_run) = pool.dry_run(|| act(6))?;
    let real = act(6).err().ok_or("12 MiB are above the limit")?;
    assert_eq!(predicted.err().ok_or("as in reality")?.to_string(), real.to_string());
    let refusal = dry_run.refusal().ok_or("12 MiB are above the limit")?;
    assert!(!dry_run.fits() && refusal.site.is_none(), "{refusal:?}");
    assert!(matches!(&refusal.error, AllocateError::Device(DeviceError::WorkingSet(set)) if set.bytes == 12 * MIB));
    assert!(dry_run.to_string().contains(&format!("\nrefused: {real}\n")), "{dry_run}");
    let budget = Budget::at("no-such-folder/never-written.txt");
    let error = budget.record(&dry_run).err().ok_or("there is no peak to record")?;
    assert_eq!(error.to_string(), format!("the program does not fit: {real}"));
    Ok(())
}

/// Moves that the program asks for, and that find no room on one side.
#[test]
fn a_move_that_finds_no_room_does_not_fit() -> Outcome {
    const BLOCK: u64 = 64 << 10;
    let limited = PoolOptions { limit: Some(4 * BLOCK), spill: Some(2 * BLOCK), ..options() };
    let pool = Pool::new(HostMemory::default(), limited)?;
    let blocks = (0..4).map(|_| pool.allocate(BLOCK)).collect::<Result<Vec<_>, _>>()?;
    let (moved, dry_run) = pool.dry_run(|| blocks.iter().try_for_each(wgpu_pool::Storage::offload))?;
    let limit = DeviceError::HostLimit { bytes: BLOCK, held: 2 * BLOCK, limit: 2 * BLOCK };
    assert_eq!(moved, Err(limit.clone()));
    assert_eq!(dry_run.refusal().map(|refusal| refusal.error.clone()), Some(AllocateError::Device(limit)));
    let (stayed, dry_run) = pool.dry_run(|| {
        blocks[0].offload()?;
        let taken = pool.allocate(BLOCK);
        blocks[1..].iter().try_for_each(wgpu_pool::Storage::keep_on_device)?;
        taken.iter().try_for_each(wgpu_pool::Storage::keep_on_device)?;
        blocks[0].keep_on_device()
    })?;
    assert!(matches!(stayed, Err(DeviceError::WorkingSet(_))) && !dry_run.fits(), "{stayed:?}");
    // Not a lack of memory.
    let pinned = blocks[0].pin()?;
    let (moved, dry_run) = pool.dry_run(|| blocks[0].offload())?;
    assert!(matches!(moved, Err(DeviceError::Pinned { .. })) && dry_run.fits(), "{moved:?}");
    drop(pinned);
    Ok(())
}

#[test]
fn a_search_without_a_result_returns_a_typed_error() -> Outcome {
    let pool = Pool::new(HostMemory::default(), options())?;
    #[expect(clippy::reversed_empty_ranges, reason = "the input under test")]
    let empty = pool.max_batch(5..=4, |n| pool.allocate(n as u64)).err();
    assert_eq!(empty, Some(MaxBatchError::Empty { first: 5, last: 4 }));
    let read = |n: usize| pool.download(n as u64).map(drop);
    let error = pool.max_batch(3..=4, read).err().ok_or("a read fails")?;
    assert_eq!(error, MaxBatchError::Program { n: 3, error: DeviceError::DryRun { bytes: 3 } });
    let wanted = "the program failed with n = 3, and no request was refused: a dry run executes nothing, so there is nothing to read \
                  or to pin in 3 B: leave the call out of it";
    assert_eq!(error.to_string(), wanted);
    let (nested, _) = pool.dry_run(|| pool.max_batch(1..=2, |n| pool.allocate(n as u64)).err())?;
    assert_eq!(nested, Some(MaxBatchError::Nested));
    Ok(())
}

#[test]
fn a_budget_passes_until_a_peak_changes_and_then_lists_the_call_sites() -> Outcome {
    let folder = std::env::temp_dir().join(format!("wgpu-pool-budget-{}", std::process::id()));
    let budget = Budget::at(folder.join("nested").join("step.txt"));
    let pool = Pool::new(AccountingMemory::new(), PoolOptions { limit: Some(1 << 20), ..options() })?;
    let step = |bytes: u64, label: &str| {
        pool.dry_run(|| -> Result<(), AllocateError> {
            let _scope = pool.scope("step");
            let fixed = pool.allocate(10_000)?;
            fixed.set_label("fixed");
            let other = pool.allocate(bytes)?;
            other.set_label(label);
            drop(fixed);
            Ok(())
        })
    };
    let (_, first) = step(100_000, "activations")?;
    let missing = budget.check(&first);
    assert_eq!(missing, Err(BudgetError::Missing { path: budget.path().into(), variable: Budget::UPDATE }));
    budget.record(&first)?;
    budget.check(&first)?;
    let text = std::fs::read_to_string(budget.path())?;
    assert!(text.starts_with("requested peak: 110000 bytes (107.4 KiB), "), "{text}");
    assert!(text.contains("\n  100000 bytes in 1 block, tests/pool/dry_run_batch.rs:"), "{text}");
    assert!(text.ends_with("(fixed) in step\n"), "{text}");
    // Lines of code that move change no budget, whether a peak changes or not.
    let moved = text.replace("dry_run_batch.rs:", "dry_run_batch.rs:9");
    std::fs::write(budget.path(), &moved)?;
    budget.check(&first)?;
    for (bytes, change) in [(120_000, "130000 bytes now, 19.5 KiB more"), (90_000, "100000 bytes now, 9.7 KiB less")] {
        let (_, now) = step(bytes, "activations")?;
        let error = budget.check(&now).err().ok_or("the peak differs")?;
        assert!(error.to_string().contains(change), "{error}");
        let BudgetError::Changed { requested, holders, .. } = error else { return Err(error.into()) };
        assert_eq!(requested, [110_000, bytes + 10_000]);
        let [removed, added] = &holders[..] else { return Err(format!("{holders:?}").into()) };
        assert!(removed.starts_with("- 100000 bytes in 1 block") && removed.ends_with("(activations) in step"));
        assert!(added.starts_with(&format!("+ {bytes} bytes in 1 block")));
    }
    // The same requests from a pool with larger segments.
    let larger = Pool::new(AccountingMemory::new(), PoolOptions { smallest_segment: Some(1 << 20), ..options() })?;
    let (_, now) = larger.dry_run(|| drop((larger.allocate(10_000), larger.allocate(100_000))))?;
    let error = budget.check(&now).err().ok_or("the reserved bytes differ")?;
    let BudgetError::Changed { requested, reserved, .. } = error else { return Err(error.into()) };
    assert!(requested == [110_000; 2] && reserved[0] < reserved[1], "{reserved:?}");
    let (_, refused) = step(2 << 20, "activations")?;
    assert!(matches!(budget.check(&refused), Err(BudgetError::DoesNotFit { .. })));
    assert!(matches!(budget.record(&refused), Err(BudgetError::DoesNotFit { .. })));
    for (text, line) in [("", 1), ("requested peak: many bytes\n", 1), ("requested peak: 1 bytes\nreserved\n", 2)] {
        std::fs::write(budget.path(), text)?;
        let error = budget.check(&first).err().ok_or("the file is malformed")?;
        assert!(matches!(error, BudgetError::Malformed { line: found, .. } if found == line), "{error}");
    }
    assert!(matches!(Budget::at(&folder).check(&first), Err(BudgetError::File { .. })), "a folder is no file");
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

/// Run by the next test, in a process with the variable.
#[test]
fn a_budget_in_the_file_that_the_next_test_names() -> Outcome {
    let Some(path) = std::env::var_os("WGPU_POOL_TEST_BUDGET") else { return Ok(()) };
    let pool = Pool::new(AccountingMemory::new(), options())?;
    let (_, dry_run) = pool.dry_run(|| pool.allocate(5000).map(drop))?;
    Budget::at(path).assert(&dry_run);
    Ok(())
}

#[test]
fn a_budget_is_recorded_if_the_variable_is_set() -> Outcome {
    let path = std::env::temp_dir().join(format!("wgpu-pool-variable-{}.txt", std::process::id()));
    for (value, passes) in [("0", false), ("", false), ("1", true), ("0", true)] {
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command.args(["--exact", "dry_run_batch::a_budget_in_the_file_that_the_next_test_names"]);
        let output = command.env("WGPU_POOL_TEST_BUDGET", &path).env(Budget::UPDATE, value).output()?;
        assert_eq!(output.status.success(), passes, "{value:?}: {output:?}");
    }
    std::fs::remove_file(path)?;
    Ok(())
}
