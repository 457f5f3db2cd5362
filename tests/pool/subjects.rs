//! The memories under test, and helpers that inspect a pool on any of them.

use crate::common::adapter;
use crate::program::Abilities;
use std::cell::Cell;
use std::marker::PhantomData;
use wgpu_pool::heap::SegmentId;
use wgpu_pool::{
    AccountingMemory, AllocateError, BlockState, Counter, DeviceError, Gpu, HostMemory, Memory, Pool, PoolOptions,
    Stats, Storage,
};

/// Requests up to this many bytes are in the small size class of [`options`].
pub(crate) const SMALL_LIMIT: u64 = 16 << 10;
/// The size of the smallest segment of [`options`].
pub(crate) const SEGMENT: u64 = 256 << 10;

/// A kind of memory to run the suite on.
pub(crate) trait Subject {
    type Memory: Memory;
    /// Whether reads return what was written.
    const HOLDS_BYTES: bool;
    /// Whether kernels run. wgpu without a driver (the `noop` backend) ignores them.
    const RUNS_KERNELS: bool = true;
    /// Whether finding the location of a block is cheap.
    const SHOWS_PLACES: bool = false;

    /// The options of random programs.
    fn abilities() -> Abilities {
        Abilities { holds_bytes: Self::HOLDS_BYTES, runs_kernels: Self::RUNS_KERNELS, shows_places: Self::SHOWS_PLACES }
    }

    /// Creates a new memory. `None` if the machine has none of this kind.
    fn memory() -> Option<Self::Memory>;
}

pub(crate) struct Accounting;
pub(crate) struct Host;
/// Host memory without recorded copies.
pub(crate) struct HostReadback;
pub(crate) struct Noop;
pub(crate) struct Adapter;
pub(crate) struct Gl;
/// The best adapter, with a kernel for every copy that it can make.
pub(crate) struct KernelCopies;

impl Subject for Accounting {
    type Memory = AccountingMemory;
    const HOLDS_BYTES: bool = false;
    const SHOWS_PLACES: bool = true;

    fn memory() -> Option<AccountingMemory> {
        Some(AccountingMemory::new())
    }
}

impl Subject for Host {
    type Memory = HostMemory;
    const HOLDS_BYTES: bool = true;
    const SHOWS_PLACES: bool = true;

    fn memory() -> Option<HostMemory> {
        Some(HostMemory::default())
    }
}

impl Subject for HostReadback {
    type Memory = HostMemory;
    const HOLDS_BYTES: bool = true;
    const SHOWS_PLACES: bool = true;

    fn memory() -> Option<HostMemory> {
        let memory = HostMemory::default();
        memory.lack_host_segments(true);
        Some(memory)
    }
}

impl Subject for Noop {
    type Memory = Gpu;
    const HOLDS_BYTES: bool = true;
    const RUNS_KERNELS: bool = false;

    fn memory() -> Option<Gpu> {
        let (device, queue) = adapter::noop();
        Some(Gpu::from_device(device, queue))
    }
}

impl Subject for Adapter {
    type Memory = Gpu;
    const HOLDS_BYTES: bool = true;

    fn memory() -> Option<Gpu> {
        adapter::gpu()
    }
}

impl Subject for Gl {
    type Memory = Gpu;
    const HOLDS_BYTES: bool = true;

    fn memory() -> Option<Gpu> {
        adapter::gl()
    }
}

impl Subject for KernelCopies {
    type Memory = Gpu;
    const HOLDS_BYTES: bool = true;

    fn memory() -> Option<Gpu> {
        adapter::gpu().inspect(|gpu| gpu.set_kernel_copies(Some(0)))
    }
}

thread_local! {
    /// The limit on host bytes of the pools of this test.
    static SPILL: Cell<Option<u64>> = const { Cell::new(None) };
}

/// A memory whose pools move blocks to host memory: see [`options`].
pub(crate) struct Spilling<S>(PhantomData<S>);
pub(crate) type SpillingHost = Spilling<Host>;
pub(crate) type SpillingReadback = Spilling<HostReadback>;
pub(crate) type SpillingNoop = Spilling<Noop>;
pub(crate) type SpillingAdapter = Spilling<Adapter>;
pub(crate) type SpillingGl = Spilling<Gl>;

impl<S: Subject> Subject for Spilling<S> {
    type Memory = S::Memory;
    const HOLDS_BYTES: bool = S::HOLDS_BYTES;
    const RUNS_KERNELS: bool = S::RUNS_KERNELS;
    const SHOWS_PLACES: bool = S::SHOWS_PLACES;

    fn memory() -> Option<Self::Memory> {
        SPILL.set(Some(u64::MAX));
        S::memory()
    }
}

/// Defines a test for each case, a function of a new memory, and each kind of memory, with spilling and without. Cases after
/// `without spilling:` expect that the limit leaves no room.
macro_rules! over_every_memory {
    ($($case:ident),* $(,)? $(; without spilling: $($full:ident),* $(,)?)?) => {
        $crate::subjects::over_memories! {
            [accounting Accounting, host Host, noop Noop, adapter Adapter, gl Gl] $($case)* $($($full)*)?
        }
        $crate::subjects::over_memories! {
            [
                spilling_host SpillingHost, spilling_readback SpillingReadback, spilling_noop SpillingNoop,
                spilling_adapter SpillingAdapter, spilling_gl SpillingGl
            ]
            $($case)*
        }
    };
}

/// As `over_every_memory`, on every memory that stores bytes.
macro_rules! over_every_memory_with_bytes {
    ($($case:ident),* $(,)?) => {
        $crate::subjects::over_memories! { [host Host, noop Noop, adapter Adapter, gl Gl] $($case)* }
    };
}

/// As `over_every_memory`, on every memory that stores bytes and runs kernels: wgpu without a driver ignores
/// dispatches.
macro_rules! over_every_memory_that_runs_kernels {
    ($($case:ident),* $(,)?) => {
        $crate::subjects::over_memories! { [host Host, adapter Adapter, gl Gl] $($case)* }
    };
}

/// As `over_every_memory`, on the best adapter with a kernel for every copy.
macro_rules! over_kernel_copies {
    ($($case:ident),* $(,)?) => {
        $crate::subjects::over_memories! { [kernel_copies KernelCopies] $($case)* }
    };
}

macro_rules! over_memories {
    ([] $($case:ident)*) => {};
    ([$module:ident $subject:ident $(, $rest:ident $rest_subject:ident)*] $($case:ident)*) => {
        mod $module {
            use $crate::subjects::Subject;
            $(
                #[test]
                fn $case() -> $crate::common::Outcome {
                    match $crate::subjects::$subject::memory() {
                        Some(memory) => super::$case::<$crate::subjects::$subject>(memory),
                        None => Ok(()),
                    }
                }
            )*
        }
        $crate::subjects::over_memories! { [$($rest $rest_subject),*] $($case)* }
    };
}

pub(crate) use {
    over_every_memory, over_every_memory_that_runs_kernels, over_every_memory_with_bytes, over_kernel_copies,
    over_memories,
};

/// Options with small segments, so that few bytes need many segments, and with spilling on the memories whose name says so.
pub(crate) fn options() -> PoolOptions {
    let spill = SPILL.get();
    PoolOptions { small_limit: SMALL_LIMIT, smallest_segment: Some(SEGMENT), spill, ..crate::common::options() }
}

/// Returns the location of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) segment: SegmentId,
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

/// Returns the locations of the allocated blocks, ordered by segment and offset.
pub(crate) fn spots<M: Memory>(pool: &Pool<M>) -> Vec<Spot> {
    let snapshot = pool.snapshot();
    let of_segment = |segment: &wgpu_pool::pool::snapshot::SegmentSnapshot| {
        let allocated = segment.blocks.iter().filter(|block| block.state == BlockState::Allocated);
        let id = segment.id;
        allocated.map(|block| Spot { segment: id, offset: block.offset, size: block.size }).collect::<Vec<_>>()
    };
    snapshot.segments.iter().flat_map(of_segment).collect()
}

/// Allocates and returns the location.
pub(crate) fn allocate_at<M: Memory>(pool: &Pool<M>, bytes: u64) -> Result<(Storage<M>, Spot), AllocateError> {
    let before = spots(pool);
    let storage = pool.allocate(bytes)?;
    let new: Vec<Spot> = spots(pool).into_iter().filter(|spot| !before.contains(spot)).collect();
    let [spot] = new[..] else { panic!("one allocation made the blocks {new:?}") };
    Ok((storage, spot))
}

/// The stamp of a storage: bytes that are different for each number and at each position. Eight bytes at a time, because tests are
/// compiled without optimization and spend much of their time here.
pub(crate) fn pattern(number: u64, bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes.next_multiple_of(8)];
    let (mut place, mut word) = (0, 0_u64);
    while place < content.len() {
        let of_word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ word.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        content[place..place + 8].copy_from_slice(&of_word.to_le_bytes());
        (place, word) = (place + 8, word + 1);
    }
    content.truncate(bytes);
    content
}

/// Stamps a storage, if the memory stores bytes.
pub(crate) fn stamp<M: Memory>(storage: &Storage<M>, number: u64) -> Result<(), DeviceError> {
    storage.write(0, &pattern(number, length(storage)))
}

/// Reads all bytes of a storage.
pub(crate) fn read<M: Memory>(storage: &Storage<M>) -> Result<Vec<u8>, DeviceError> {
    storage.read_blocking(0, storage.bytes())
}

/// Asserts that a storage still contains its stamp, if the memory of `S` stores bytes.
pub(crate) fn assert_stamp<S: Subject>(storage: &Storage<S::Memory>, number: u64) {
    if !S::HOLDS_BYTES {
        return;
    }
    let found = read(storage).expect("a live storage can be read");
    let wanted = pattern(number, found.len());
    if found == wanted {
        return;
    }
    let differs = found.iter().zip(&wanted).position(|(found, wanted)| found != wanted);
    assert_eq!(differs, None, "storage {number} of {} bytes lost its content from there on", storage.bytes());
}

fn length<M: Memory>(storage: &Storage<M>) -> usize {
    usize::try_from(storage.bytes()).expect("a test's storage fits the host")
}

/// Asserts that the invariants of the heap and of the counters hold, and that the counters equal the sums over the
/// snapshot.
pub(crate) fn assert_consistent<M: Memory>(pool: &Pool<M>) {
    pool.check().unwrap_or_else(|broken| panic!("{broken}"));
    let snapshot = pool.snapshot();
    let stats = snapshot.stats;
    let Stats {
        requested, allocated, active, inactive_split, reserved, blocks, active_blocks, segments, pinned, ..
    } = stats;
    let counters = [requested, allocated, active, inactive_split, reserved, blocks, active_blocks, segments, pinned];
    for Counter { current, peak, allocated, freed } in counters {
        assert_eq!(allocated - freed, current, "{stats:?}");
        assert!(current <= peak, "{stats:?}");
    }
    let mut sums = Stats::default();
    for segment in &snapshot.segments {
        let is_split = segment.blocks.iter().any(|block| block.state != BlockState::Inactive);
        sums.segments.current += 1;
        sums.reserved.current += segment.bytes;
        for block in &segment.blocks {
            match block.state {
                BlockState::Inactive => {
                    sums.holes += u64::from(!segment.planned);
                    sums.inactive_split.current += if is_split { block.size } else { 0 };
                }
                BlockState::Allocated => {
                    sums.requested.current += block.requested;
                    sums.allocated.current += block.size;
                    sums.blocks.current += 1;
                }
                BlockState::PendingFree => {}
            }
            if block.state != BlockState::Inactive {
                sums.active.current += block.size;
                sums.active_blocks.current += 1;
            }
            sums.pinned.current += if block.pins > 0 { block.size } else { 0 };
        }
    }
    assert_eq!(currents(&stats), currents(&sums));
    assert_eq!(stats.inactive() + stats.active.current, stats.reserved.current);
}

/// Returns the current values of the counters, without peaks and totals.
pub(crate) fn currents(stats: &Stats) -> [u64; 10] {
    let Stats {
        requested, allocated, active, inactive_split, reserved, blocks, active_blocks, segments, pinned, ..
    } = stats;
    let counters = [requested, allocated, active, inactive_split, reserved, blocks, active_blocks, segments, pinned];
    let mut found = [stats.holes; 10];
    for (slot, counter) in found.iter_mut().zip(counters) {
        *slot = counter.current;
    }
    found
}
