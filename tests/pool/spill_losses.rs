//! The loss of the device at each point of a program whose blocks move between the device and the host: inside of evictions, returns,
//! offloads, prefetches, compactions and releases, by recorded copies and by read-backs.

use crate::common::{Outcome, watchdog};
use crate::losing::{Lose, Losing, Report};
use crate::spill::{AdapterMapped, NoopMapped};
use crate::subjects::{Adapter, Gl, Host, HostReadback, Noop, SEGMENT, Subject, assert_consistent, options};
use wgpu_pool::{
    AllocateError, DeviceError, DeviceResources, Memory, MemoryPressure, Pool, PoolOptions, Residence, Storage,
    WeakStorage,
};

const BLOCK: u64 = SEGMENT / 2;

/// The first error of a program: the only one that a loss permits.
fn of_allocation(error: AllocateError) -> DeviceError {
    match error {
        AllocateError::Device(error) => error,
        error => panic!("an error of another kind: {error}"),
    }
}

fn is_lost<T>(what: &str, result: Result<T, DeviceError>) {
    match result {
        Err(DeviceError::Lost { .. }) => {}
        Err(error) => panic!("{what}: an error of another kind: {error}"),
        Ok(_) => panic!("{what} succeeded on a lost device"),
    }
}

/// What the program holds when it ends or fails.
struct Held<M: Memory> {
    storages: Vec<Storage<M>>,
    weak: Vec<WeakStorage<M>>,
}

/// The content of both ends of a storage.
fn mark(number: u64) -> [u8; 8] {
    (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()
}

/// Writes both ends of a storage.
fn stamp<M: Memory>(storage: &Storage<M>, number: u64) -> Result<(), DeviceError> {
    storage.write(0, &mark(number))?;
    storage.write(last(storage), &mark(number))
}

fn read<M: Memory>(storage: &Storage<M>) -> Result<Vec<u8>, DeviceError> {
    let mut download = storage.pool().download(16)?;
    download.add(storage, 0, 8)?;
    download.add(storage, last(storage), 8)?;
    download.finish_blocking()
}

/// The offset of the mark at the end.
fn last<M: Memory>(storage: &Storage<M>) -> u64 {
    (storage.bytes() - 8) / 4 * 4
}

fn stamped<M: Memory>(pool: &Pool<M>, held: &mut Held<M>, bytes: u64) -> Result<(), DeviceError> {
    let storage = pool.allocate(bytes).map_err(of_allocation)?;
    let number = held.storages.len() as u64;
    held.weak.push(storage.downgrade());
    held.storages.push(storage);
    stamp(&held.storages[held.storages.len() - 1], number)
}

fn assert_content<M: Memory>(storage: &Storage<M>, number: u64) -> Result<(), DeviceError> {
    assert_eq!(read(storage)?, mark(number).repeat(2), "storage {number} lost its content");
    Ok(())
}

/// Uses each way in which blocks move. Returns the first error.
fn program<M: Memory>(pool: &Pool<M>, held: &mut Held<M>) -> Result<(), DeviceError> {
    // Evictions: seven blocks, of which four fit.
    for _ in 0..7 {
        stamped(pool, held, BLOCK)?;
    }
    // Returns, in exchange for other blocks.
    for (storage, number) in held.storages.iter().zip(0..) {
        assert_content(storage, number)?;
    }
    // Commands on two blocks, of which at least one returns.
    let [first, second, third] = &held.storages[..3] else { panic!("there are seven") };
    first.copy_to(second)?;
    second.clear()?;
    stamp(second, 1)?;
    // Manual control, also of small blocks.
    third.offload()?;
    third.prefetch()?;
    third.keep_on_device()?;
    third.offload()?;
    stamped(pool, held, 1001)?;
    held.storages[7].offload()?;
    assert_content(&held.storages[7], 7)?;
    // Holes that only compaction joins, next to blocks in host memory.
    pool.trim();
    pool.compact()?;
    // A pin keeps a block where it is.
    let guard = held.storages[0].pin()?;
    assert_content(&held.storages[3], 3)?;
    drop(guard);
    pool.pressure(MemoryPressure::Critical)?;
    // The release of blocks, on the device and in host memory, and of segments.
    drop(held.storages.split_off(6));
    pool.trim();
    for (storage, number) in held.storages.iter().zip(0..) {
        assert_content(storage, number)?;
    }
    pool.synchronize_blocking()
}

/// Every call on a block returns the loss, and its handles and the pool stay consistent.
fn assert_lost<M: Lose>(pool: &Pool<Losing<M>>, held: Held<Losing<M>>) {
    // A call that succeeded before the loss may only have recorded a command. A read waits for the device, and notices.
    if let Some(storage) = held.storages.first() {
        is_lost("read", read(storage));
    } else {
        is_lost("allocate", pool.allocate(8 * SEGMENT).map_err(of_allocation));
    }
    is_lost("synchronize_blocking", pool.synchronize_blocking());
    is_lost("allocate", pool.allocate(BLOCK).map_err(of_allocation));
    is_lost("compact", pool.compact());
    is_lost("download", pool.download(BLOCK));
    for storage in &held.storages {
        for _ in 0..2 {
            is_lost("offload", storage.offload());
            is_lost("prefetch", storage.prefetch());
            is_lost("keep_on_device", storage.keep_on_device());
        }
        is_lost("clear", storage.clear());
        is_lost("write", stamp(storage, 1));
        is_lost("read", read(storage));
        if let Some(target) = held.storages.iter().find(|one| !one.is_same(storage) && one.bytes() == storage.bytes()) {
            is_lost("copy_to", storage.copy_to(target));
        }
        is_lost("pin", storage.pin());
        assert_ne!(storage.residence(), Residence::InTransit, "a move that has ended");
    }
    assert_eq!(pool.spill_stats().in_transit, 0);
    assert_consistent(pool);
    let Held { mut storages, weak } = held;
    // Handles may be dropped in any order, and between other calls.
    while !storages.is_empty() {
        drop(storages.swap_remove(storages.len() / 2));
        assert_consistent(pool);
    }
    assert!(weak.iter().all(|weak| weak.upgrade().is_none()));
    pool.trim();
    let (stats, spilled) = (pool.stats(), pool.spill_stats());
    assert_eq!((stats.requested.current, stats.active.current, stats.reserved.current), (0, 0, 0));
    assert_eq!((spilled.host, spilled.host_blocks, spilled.idle, spilled.kept), (0, 0, 0, 0), "{spilled:?}");
    if M::IS_SIMULATED {
        // A driver frees segments when it notices that their commands have ended.
        assert_eq!(pool.memory().driver_holdings().map(|held| held.reserved), Some(0));
    }
    assert_consistent(pool);
}

/// Runs the program with a loss at the point `at`. Returns the number of points, and whether the device was lost.
fn run<M: Lose>(memory: M, report: Report, at: u64, scrub_on_free: bool) -> (u64, bool) {
    let options = PoolOptions { limit: Some(2 * SEGMENT), spill: Some(u64::MAX), scrub_on_free, ..options() };
    let pool = Pool::new(Losing::new(memory, report, at), options).expect("the options suit every memory");
    let mut held = Held { storages: Vec::new(), weak: Vec::new() };
    let outcome = program(&pool, &mut held);
    let (points, lost) = (pool.memory().points(), pool.memory().is_lost());
    if lost {
        // No call that waits for the device has points after the loss at the last ones.
        if outcome.is_err() || points > at + 2 {
            is_lost("the program", outcome);
        }
        assert_consistent(&pool);
        assert_lost(&pool, held);
    } else {
        outcome.expect("no device was lost");
        let spilled = pool.spill_stats();
        assert!(spilled.blocks_out > 8 && spilled.blocks_in > 8, "{spilled:?}");
    }
    (points, lost)
}

/// Loses the device at every point of the program, or at about `most` points that are spread evenly: with scrubbing at others than
/// without.
fn lost_at_every_point<S: Subject>(report: Report, most: u64) -> Outcome
where
    S::Memory: Lose,
{
    watchdog::guarded("a lost device", move || -> Result<(), String> {
        for scrub_on_free in [false, true] {
            let Some(memory) = S::memory() else { return Ok(()) };
            let (points, lost) = run(memory, report, u64::MAX, scrub_on_free);
            assert!(points > 300 && !lost, "{points} points");
            let step = points.div_ceil(most);
            let first = if scrub_on_free { 1 + step / 2 } else { 1 };
            for at in (first..=points).step_by(usize::try_from(step).expect("few")) {
                let memory = S::memory().ok_or("there was one before")?;
                eprintln!("at the point {at} of {points}, scrubbing: {scrub_on_free}");
                let (reached, lost) = run(memory, report, at, scrub_on_free);
                // The number of calls that submit and wait depends on other threads.
                assert!(lost || reached < at);
            }
        }
        Ok(())
    })
    .map_err(Into::into)
}

#[test]
fn a_host_memory_lost_at_any_point_leaves_consistent_places() -> Outcome {
    lost_at_every_point::<Host>(Report::AtOnce, u64::MAX)?;
    lost_at_every_point::<HostReadback>(Report::AtOnce, u64::MAX)?;
    lost_at_every_point::<Host>(Report::WhenWaiting, 100)?;
    lost_at_every_point::<HostReadback>(Report::WhenWaiting, 100)
}

#[test]
fn a_device_without_a_driver_lost_at_any_point_leaves_consistent_places() -> Outcome {
    lost_at_every_point::<NoopMapped>(Report::AtOnce, 80)?;
    lost_at_every_point::<Noop>(Report::AtOnce, 80)
}

#[test]
fn an_adapter_lost_inside_moves_leaves_consistent_places() -> Outcome {
    lost_at_every_point::<AdapterMapped>(Report::AtOnce, 20)?;
    lost_at_every_point::<Adapter>(Report::AtOnce, 20)?;
    lost_at_every_point::<Gl>(Report::AtOnce, 20)
}

/// Threads with competing working sets, until each of them has got the loss.
fn lost_with_threads<S: Subject>(at: u64)
where
    S::Memory: Lose + Send + Sync,
    Storage<Losing<S::Memory>>: Send + Sync,
    Pool<Losing<S::Memory>>: Send + Sync,
{
    let Some(memory) = S::memory() else { return };
    let options = PoolOptions { limit: Some(2 * SEGMENT), spill: Some(u64::MAX), ..options() };
    let pool = Pool::new(Losing::new(memory, Report::AtOnce, at), options).expect("the options suit every memory");
    let mut held = Held { storages: Vec::new(), weak: Vec::new() };
    for _ in 0..8 {
        stamped(&pool, &mut held, BLOCK).expect("the device is lost later");
    }
    std::thread::scope(|scope| {
        for (thread, storages) in held.storages.chunks(2).enumerate() {
            scope.spawn(move || {
                let [first, second] = storages else { panic!("there are two for each thread") };
                // A thread that is behind gets the loss at a later command.
                for round in 0..100_000 {
                    let outcome = match (thread + round) % 4 {
                        0 => first.copy_to(second),
                        1 => second.offload().and_then(|()| second.prefetch()),
                        2 => read(first).map(drop),
                        _ => stamp(second, 7),
                    };
                    match outcome {
                        Ok(()) | Err(DeviceError::InUse { .. }) => {}
                        error => return is_lost("a command of a thread", error),
                    }
                }
                panic!("no command of thread {thread} got the loss");
            });
        }
    });
    assert!(pool.memory().is_lost());
    assert_lost(&pool, held);
}

#[test]
fn threads_whose_blocks_move_all_get_the_loss() {
    watchdog::guarded("threads on a lost device", || {
        // The last ones are late, so that the threads' commands compete for a while.
        for at in [150, 151, 190, 233, 300, 500, 801, 4000, 8000] {
            lost_with_threads::<Host>(at);
            lost_with_threads::<HostReadback>(at);
            lost_with_threads::<NoopMapped>(at);
            lost_with_threads::<Noop>(at);
        }
    });
}
