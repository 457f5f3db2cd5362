//! A memory that refuses segments after their creation, as a browser does: what was refused leaves the pool, and nothing
//! else is lost with it.

use crate::device::{
    Acceptance, Commands, Deferred, DeviceResources, DeviceStatus, HostCommands, HostMemory, HostReadback, HostSegment,
    Location, Memory, MemoryLimits, Reclaimed, Submit,
};
use crate::error::{AllocateError, DeviceError, Error};
use crate::heap::SegmentId;
use crate::pool::{Pool, PoolOptions, Storage, WeakPool};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

type Outcome = Result<(), Error>;

/// Host memory with room for a number of bytes, which answers when it is asked to.
#[derive(Debug)]
struct LateMemory {
    host: HostMemory,
    room: u64,
    used: AtomicU64,
    /// Bytes of destroyed segments until the next answer.
    pending: AtomicU64,
    questions: Mutex<Vec<LateSegment>>,
    /// Whether a command has used a refused segment, and so was lost.
    has_lost_commands: AtomicBool,
    /// Whether a guard for commands exists.
    is_recording: AtomicBool,
}

#[derive(Clone, Debug)]
struct LateSegment {
    segment: HostSegment,
    bytes: u64,
    acceptance: Arc<Mutex<Acceptance>>,
}

impl LateSegment {
    fn acceptance(&self) -> Acceptance {
        self.acceptance.lock().expect("no test panics with this lock").clone()
    }
}

impl LateMemory {
    fn new(room: u64) -> Self {
        Self {
            host: HostMemory::default(),
            room,
            used: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            questions: Mutex::default(),
            has_lost_commands: AtomicBool::new(false),
            is_recording: AtomicBool::new(false),
        }
    }

    /// Answers for every segment so far, and returns the first refusal.
    fn answer(&self) -> Result<(), DeviceError> {
        let mut outcome = Ok(());
        self.pending.store(0, Ordering::Relaxed);
        for segment in std::mem::take(&mut *self.questions.lock().expect("no test panics with this lock")) {
            let mut acceptance = segment.acceptance.lock().expect("no test panics with this lock");
            let used = self.used.load(Ordering::Relaxed);
            *acceptance = if used + segment.bytes <= self.room {
                self.used.store(used + segment.bytes, Ordering::Relaxed);
                Acceptance::Accepted
            } else {
                Acceptance::Refused(DeviceError::Refused { bytes: segment.bytes })
            };
            if let Acceptance::Refused(error) = &*acceptance {
                outcome = outcome.and(Err(error.clone()));
            }
        }
        outcome
    }
}

impl Memory for LateMemory {
    type Segment = LateSegment;
    type Commands<'a> = LateCommands<'a>;
    type Readback = HostReadback;

    fn limits(&self) -> MemoryLimits {
        self.host.limits()
    }

    fn create_segment(&self, bytes: u64) -> Result<LateSegment, DeviceError> {
        let segment = self.host.create_segment(bytes)?;
        let segment = LateSegment { segment, bytes, acceptance: Arc::new(Mutex::new(Acceptance::Pending)) };
        self.questions.lock().expect("no test panics with this lock").push(segment.clone());
        Ok(segment)
    }

    fn commands(&self) -> LateCommands<'_> {
        let host = self.host.commands();
        self.is_recording.store(true, Ordering::Relaxed);
        LateCommands { memory: self, host }
    }

    fn submit(&self, _when: Submit) -> Result<(), DeviceError> {
        Ok(())
    }

    fn wait_blocking(&self) -> Result<(), DeviceError> {
        Ok(())
    }

    async fn wait(&self) -> Result<(), DeviceError> {
        self.answer()
    }

    fn readback(&self, bytes: u64) -> Result<HostReadback, DeviceError> {
        self.host.readback(bytes)
    }

    async fn collect(&self, readback: HostReadback) -> Result<Vec<u8>, DeviceError> {
        // A refused segment that the read does not use would be a fault, and this memory reports no faults.
        let _ = self.answer();
        self.host.collect(readback).await
    }
}

impl DeviceStatus for LateMemory {
    fn acceptance(&self, segment: &LateSegment) -> Acceptance {
        segment.acceptance()
    }

    fn defer_refusals<R>(&self, act: impl FnOnce() -> R) -> (R, Deferred) {
        let result = act();
        (result, Deferred::new(std::future::ready(self.answer())))
    }

    fn can_block(&self) -> bool {
        false
    }

    fn reclaim(&self) -> Reclaimed {
        Reclaimed { pending: self.pending.load(Ordering::Relaxed), ..self.host.reclaim() }
    }
}

impl DeviceResources for LateMemory {
    fn name(&self) -> String {
        "late".into()
    }
}

struct LateCommands<'a> {
    memory: &'a LateMemory,
    host: HostCommands<'a>,
}

impl LateCommands<'_> {
    /// The place in host memory. A command on a refused segment is an error.
    fn place(&self, place: &Location<LateSegment>) -> Result<Location<HostSegment>, DeviceError> {
        if let Acceptance::Refused(error) = place.segment.acceptance() {
            self.memory.has_lost_commands.store(true, Ordering::Relaxed);
            return Err(error);
        }
        let segment = place.segment.segment.clone();
        Ok(Location { id: place.id, segment, offset: place.offset, size: place.size })
    }
}

impl Drop for LateCommands<'_> {
    fn drop(&mut self) {
        self.memory.is_recording.store(false, Ordering::Relaxed);
    }
}

impl Commands for LateCommands<'_> {
    type Segment = LateSegment;
    type Readback = HostReadback;

    fn write(&mut self, to: &Location<LateSegment>, bytes: &[u8]) -> Result<(), DeviceError> {
        self.host.write(&self.place(to)?, bytes)
    }

    fn clear(&mut self, to: &Location<LateSegment>) -> Result<(), DeviceError> {
        self.host.clear(&self.place(to)?)
    }

    fn copy(&mut self, from: &Location<LateSegment>, to: &Location<LateSegment>) -> Result<(), DeviceError> {
        // Bytes that are copied into a segment which is refused later would be lost.
        for place in [from, to] {
            assert_eq!(place.segment.acceptance(), Acceptance::Accepted, "a block moves from or to {place:?}");
        }
        self.host.copy(&self.place(from)?, &self.place(to)?)
    }

    fn read(&mut self, from: &Location<LateSegment>, into: &mut HostReadback) -> Result<(), DeviceError> {
        self.host.read(&self.place(from)?, into)
    }

    fn destroy(&mut self, id: SegmentId, segment: LateSegment, bytes: u64) {
        match segment.acceptance() {
            Acceptance::Accepted => {
                assert_eq!(segment.bytes, bytes);
                self.memory.used.fetch_sub(bytes, Ordering::Relaxed);
                self.memory.pending.fetch_add(bytes, Ordering::Relaxed);
            }
            Acceptance::Pending => {
                let mut questions = self.memory.questions.lock().expect("no test panics with this lock");
                questions.retain(|one| !Arc::ptr_eq(&one.acceptance, &segment.acceptance));
            }
            Acceptance::Refused(_) => assert_eq!(bytes, 0, "a refused segment takes no bytes"),
        }
        self.host.destroy(id, segment.segment, segment.bytes);
    }
}

const MIB: u64 = 1 << 20;

fn pool(room: u64) -> Result<Pool<LateMemory>, Error> {
    Ok(Pool::new(LateMemory::new(room), PoolOptions { release_after: None, ..PoolOptions::default() })?)
}

fn read(pool: &Pool<LateMemory>, storage: &Storage<LateMemory>) -> Result<Vec<u8>, DeviceError> {
    let mut download = pool.download(4)?;
    download.add(storage, 0, 4)?;
    download.finish_blocking()
}

fn check(pool: &Pool<LateMemory>) {
    pool.check().expect("the heap is consistent");
}

#[test]
fn a_refused_segment_leaves_the_pool_as_soon_as_it_is_idle() -> Outcome {
    let pool = pool(8 * MIB)?;
    let kept = pool.allocate(MIB)?;
    kept.write(0, b"kept")?;
    assert_eq!(pool.memory().answer(), Ok(()));
    let refused = pool.allocate(100 * MIB)?;
    let refusal = Err(DeviceError::Refused { bytes: 100 * MIB });
    assert_eq!(pool.memory().answer(), refusal);
    // A request that would fit in the refused segment is served from another one.
    let other = pollster::block_on(pool.allocate_accepted(MIB))?;
    other.write(0, b"more")?;
    check(&pool);
    assert_eq!(pool.stats().allocated.current, 102 * MIB);
    drop(refused);
    drop(pool.allocate(1000)?);
    check(&pool);
    assert!(pool.stats().reserved.current < 100 * MIB, "{}", pool.stats().reserved.current);
    assert_eq!(read(&pool, &kept)?, b"kept");
    assert_eq!(read(&pool, &other)?, b"more");
    assert!(!pool.memory().has_lost_commands.load(Ordering::Relaxed));
    Ok(())
}

#[test]
fn using_a_refused_block_asks_the_device_again() -> Outcome {
    let pool = pool(8 * MIB)?;
    let blocking = pool.allocate(6 * MIB)?;
    assert_eq!(pool.memory().answer(), Ok(()));
    let block = pool.allocate(6 * MIB)?;
    let refusal = Err(DeviceError::Refused { bytes: 6 * MIB });
    assert_eq!(pool.memory().answer(), refusal);
    assert!(pool.memory().used.load(Ordering::Relaxed) <= 8 * MIB);
    for _ in 0..2 {
        // The device may have free memory meanwhile, so each use creates the segment again.
        block.write(0, b"lost")?;
        assert_eq!(pool.memory().answer(), refusal);
        check(&pool);
    }
    drop(blocking);
    pool.trim();
    block.write(0, b"back")?;
    assert_eq!(pool.memory().answer(), Ok(()));
    assert_eq!(read(&pool, &block)?, b"back");
    check(&pool);
    Ok(())
}

#[test]
fn an_allocation_that_waits_for_the_answer_releases_what_is_idle_and_tries_again() -> Outcome {
    let pool = pool(8 * MIB)?;
    drop(pollster::block_on(pool.allocate_accepted(6 * MIB))?);
    // The idle segment occupies the rest of the limit.
    let block = pollster::block_on(pool.allocate_accepted(7 * MIB))?;
    block.write(0, b"here")?;
    let error = pollster::block_on(pool.allocate_accepted(7 * MIB)).expect_err("there is no more");
    let AllocateError::OutOfMemory(error) = error else { panic!("{error}") };
    assert_eq!((error.requested, error.refused), (7 * MIB, Some(7 * MIB)));
    assert_eq!(read(&pool, &block)?, b"here");
    check(&pool);
    assert!(pool.stats().reserved.current <= 8 * MIB, "{}", pool.stats().reserved.current);
    assert_eq!(pool.remedies().waits, 0, "nothing waited");
    Ok(())
}

#[test]
fn what_the_limit_lacks_is_an_error_of_its_own_only_if_released_segments_provide_it() -> Outcome {
    let options = PoolOptions { release_after: None, limit: Some(64 * MIB), ..PoolOptions::default() };
    let pool = Pool::new(LateMemory::new(u64::MAX), options)?;
    drop(pollster::block_on(pool.allocate_accepted(40 * MIB))?);
    let error = pool.allocate(44 * MIB).expect_err("the device still uses the first segment");
    let AllocateError::Unfinished { requested, pending } = error else { panic!("{error}") };
    assert_eq!(requested, 44 * MIB);
    assert!(pending >= 40 * MIB, "{pending}");
    // Waiting does not help: live blocks occupy the whole limit.
    let kept = pool.allocate(20 * MIB)?;
    let error = pool.allocate(60 * MIB).expect_err("the limit has no room");
    assert!(matches!(error, AllocateError::OutOfMemory(_)), "{error}");
    drop(pollster::block_on(pool.allocate_accepted(44 * MIB))?);
    drop(kept);
    check(&pool);
    Ok(())
}

#[test]
fn no_block_moves_from_or_to_a_segment_without_an_answer() -> Outcome {
    let mut random = fastrand::Rng::with_seed(7);
    for seed in 0..20 {
        random.seed(seed);
        let options = PoolOptions { release_after: None, limit: Some(64 * MIB), ..PoolOptions::default() };
        let pool = Pool::new(LateMemory::new(random.u64(8..64) * MIB), options)?;
        let mut live: Vec<(Storage<LateMemory>, [u8; 4])> = Vec::new();
        let mut unsure: Vec<Storage<LateMemory>> = Vec::new();
        for step in 0..200_u32 {
            match random.u32(0..10) {
                0..=4 => {
                    let bytes = 4 * random.u64(1..MIB);
                    if let Ok(storage) = pollster::block_on(pool.allocate_accepted(bytes)) {
                        let stamp = step.to_le_bytes();
                        storage.write(0, &stamp)?;
                        live.push((storage, stamp));
                    }
                }
                // A block in a segment that may be refused, among blocks that may move.
                5 => unsure.extend(pool.allocate(4 * random.u64(1..MIB / 4))),
                6 => {
                    drop(pool.memory().answer());
                    unsure.clear();
                }
                7 => drop(pool.compact()?),
                8 => drop(pool.trim()),
                _ if !live.is_empty() => drop(live.swap_remove(random.usize(0..live.len()))),
                _ => {}
            }
            check(&pool);
        }
        for (storage, stamp) in &live {
            assert_eq!(read(&pool, storage)?, stamp, "seed {seed}");
        }
        assert!(!pool.memory().has_lost_commands.load(Ordering::Relaxed), "seed {seed}");
    }
    Ok(())
}

thread_local! {
    /// The pool that the logger looks at on this thread, and for each message whether the pool was recording meanwhile.
    static WATCHED: RefCell<Option<(WeakPool<LateMemory>, Vec<bool>)>> = const { RefCell::new(None) };
}

/// Notes whether a message is logged while a guard for commands exists: a logger that records would wait for itself.
struct Watcher;

impl log::Log for Watcher {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, _: &log::Record<'_>) {
        WATCHED.with_borrow_mut(|watched| {
            let Some((pool, found)) = watched else { return };
            found.extend(pool.upgrade().map(|pool| pool.memory().is_recording.load(Ordering::Relaxed)));
        });
    }

    fn flush(&self) {}
}

#[test]
fn a_command_that_learns_of_a_refusal_logs_without_the_recorder() -> Outcome {
    log::set_logger(&Watcher).expect("no other test of the library has a logger");
    log::set_max_level(log::LevelFilter::Debug);
    let pool = pool(8 * MIB)?;
    let block = pool.allocate(100 * MIB)?;
    WATCHED.set(Some((pool.downgrade(), Vec::new())));
    for _ in 0..2 {
        assert!(pool.memory().answer().is_err(), "the device has no room");
        block.write(0, b"lost")?;
    }
    let (_, found) = WATCHED.take().expect("it was set");
    assert_eq!(found, [false; 2]);
    Ok(())
}
