//! A pool, the program's own record of it, and the checks that compare them.

use super::content::Content;
use super::{Extent, Step, Text};
use crate::common::Outcome;
use std::collections::BTreeMap;
use wgpu_pool::heap::SegmentId;
use wgpu_pool::{AllocateError, DeviceError, Memory, Pinned, Pool, PoolOptions, Residence, Storage, WeakStorage};

/// The maximum numbers of simultaneous pins and weak handles.
const MOST_PINS: usize = 12;
const MOST_WEAK: usize = 40;
/// The number of steps between two comparisons of all counters with the snapshot.
const AUDIT: usize = 16;

/// An allocated block: its sequence number, its handles, and its expected content.
struct Block<M: Memory> {
    serial: u64,
    handles: Vec<Storage<M>>,
    content: Content,
}

impl<M: Memory> Block<M> {
    fn storage(&self) -> &Storage<M> {
        &self.handles[0]
    }
}

/// The capabilities of a memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Abilities {
    /// Reads return what was written.
    pub(crate) holds_bytes: bool,
    /// Kernels run.
    pub(crate) runs_kernels: bool,
    /// Finding the location of a block is cheap.
    pub(crate) shows_places: bool,
}

/// The state of a running program.
pub(crate) struct World<M: Memory> {
    pool: Pool<M>,
    abilities: Abilities,
    extent: Extent,
    text: Text,
    fault: fn(&M, u64),
    audit: fn(&Pool<M>),
    granule: u64,
    scrubs: bool,
    moves: bool,
    blocks: Vec<Block<M>>,
    weak: Vec<(u64, WeakStorage<M>)>,
    pins: Vec<(u64, u64, Pinned<M>)>,
    allocations: u64,
    refusals: u64,
    taken: usize,
    /// Whether blocks were kept on the device.
    keeps: bool,
    /// Whether the limit on host bytes may refuse a block.
    is_bounded: bool,
    /// The maximum of the reserved bytes: the limit, or the reserved bytes when the limit was set.
    ceiling: u64,
}

impl<M: Memory> World<M> {
    /// Creates a pool with options derived from the seed.
    pub(crate) fn new(
        memory: M,
        seed: u64,
        extent: Extent,
        abilities: Abilities,
        text: &Text,
        fault: fn(&M, u64),
        audit: fn(&Pool<M>),
    ) -> Self {
        let options = PoolOptions {
            smallest_segment: Some(extent.largest / 4),
            compaction_share: [0.1, 1.0, 0.0][usize::try_from(seed % 3).expect("below three")],
            scrub_on_free: seed % 4 == 3,
            ..crate::common::options()
        };
        let (scrubs, moves) = (options.scrub_on_free, options.compaction_share > 0.0);
        let pool = Pool::new(memory, options).expect("the options suit the memory");
        Self { scrubs, moves, ..Self::over(pool, extent, abilities, text, fault, audit) }
    }

    /// Adapts the checks to the options of a pool with spilling. `is_bounded` states whether the limit on host bytes can
    /// refuse a block.
    #[allow(dead_code, reason = "not every user of the module tests spilling")]
    pub(crate) fn spilling(self, options: &PoolOptions, is_bounded: bool) -> Self {
        let (scrubs, moves) = (options.scrub_on_free, options.compaction_share > 0.0);
        Self { scrubs, moves, is_bounded, ceiling: options.limit.unwrap_or(u64::MAX), ..self }
    }

    /// Creates a world on an existing pool that contains nothing else.
    pub(crate) fn over(
        pool: Pool<M>,
        extent: Extent,
        abilities: Abilities,
        text: &Text,
        fault: fn(&M, u64),
        audit: fn(&Pool<M>),
    ) -> Self {
        Self {
            granule: pool.snapshot().granule,
            pool,
            abilities,
            extent,
            text: text.clone(),
            fault,
            audit,
            scrubs: false,
            moves: true,
            blocks: Vec::new(),
            weak: Vec::new(),
            pins: Vec::new(),
            allocations: 0,
            refusals: 0,
            taken: 0,
            keeps: false,
            is_bounded: false,
            ceiling: u64::MAX,
        }
    }

    /// Runs a step, and checks everything that can be checked.
    pub(crate) fn take(&mut self, step: Step) -> Outcome {
        let outcome = self.act(step);
        self.tolerate(outcome)?;
        self.taken += 1;
        self.check()
    }

    /// Ignores errors if the memory injects failures: any operation may fail.
    fn tolerate(&self, outcome: Outcome) -> Outcome {
        let Err(error) = outcome else { return Ok(()) };
        let device = error.downcast_ref::<DeviceError>();
        // With pinned or kept blocks, the tensors of a command may not fit. Nothing was recorded.
        if let Some(DeviceError::WorkingSet(set)) = device {
            return self.is_full(Err(DeviceError::WorkingSet(set.clone()))).map(|_| ());
        }
        let refused = matches!(device, Some(DeviceError::Refused { .. }));
        if refused && self.extent.faults { Ok(()) } else { Err(error) }
    }

    fn act(&mut self, step: Step) -> Outcome {
        let one_of = |number: u64, of: usize| usize::try_from(number % of as u64).expect("it is an index");
        let (blocks, weak, pins) = (self.blocks.len(), self.weak.len(), self.pins.len());
        match step {
            Step::Allocate { bytes } => self.allocate(bytes)?,
            Step::Clone { block } if blocks > 0 => {
                let block = &mut self.blocks[one_of(block, blocks)];
                let clone = block.storage().clone();
                block.handles.push(clone);
            }
            Step::Drop { block, on_another_thread } if blocks > 0 => {
                self.drop_handle(one_of(block, blocks), on_another_thread)?;
            }
            Step::Free { block } if blocks > 0 => {
                let block = self.blocks.swap_remove(one_of(block, blocks));
                self.verify(&block)?;
            }
            Step::Downgrade { block } if blocks > 0 => {
                let block = &self.blocks[one_of(block, blocks)];
                self.weak.push((block.serial, block.storage().downgrade()));
                if self.weak.len() > MOST_WEAK {
                    self.weak.remove(0);
                }
            }
            Step::Upgrade { weak: number } if weak > 0 => self.upgrade(one_of(number, weak))?,
            Step::DropWeak { weak: number } if weak > 0 => drop(self.weak.swap_remove(one_of(number, weak))),
            Step::Pin { block } if blocks > 0 => self.pin(one_of(block, blocks))?,
            Step::Unpin { pin } if pins > 0 => self.unpin(one_of(pin, pins))?,
            Step::Write { block, number } if blocks > 0 => {
                let index = one_of(block, blocks);
                self.write(index, number >> 1)?;
            }
            Step::Clear { block } if blocks > 0 => {
                let block = &mut self.blocks[one_of(block, blocks)];
                block.storage().clear()?;
                block.content = if self.abilities.holds_bytes { Content::Zeros } else { Content::Stale };
            }
            Step::Copy { from, to } if blocks > 0 => self.copy(one_of(from, blocks), one_of(to, blocks))?,
            Step::Verify { block } if blocks > 0 => self.verify(&self.blocks[one_of(block, blocks)])?,
            Step::Offload { block } if blocks > 0 => self.offload(one_of(block, blocks))?,
            Step::Prefetch { block } if blocks > 0 => {
                let storage = self.blocks[one_of(block, blocks)].storage();
                if !self.is_full(storage.prefetch())? && storage.residence() != Residence::Device {
                    return Err("a prefetched storage is not on the device".into());
                }
            }
            Step::Keep { block } if blocks > 0 => {
                let storage = self.blocks[one_of(block, blocks)].storage().clone();
                self.is_full(storage.keep_on_device())?;
                self.keeps = true;
            }
            Step::Trim => drop(self.pool.trim()),
            Step::TrimTo { bytes } => drop(self.pool.trim_to(bytes)),
            Step::Compact { bytes } => drop(self.pool.compact_up_to(bytes)?),
            Step::Limit { eighths } => {
                let limit = (eighths > 0).then(|| self.extent.most_live / 8 * eighths);
                self.pool.set_limit(limit);
                self.ceiling = limit.map_or(u64::MAX, |limit| limit.max(self.pool.stats().reserved.current));
            }
            Step::Fault { after } => (self.fault)(self.pool.memory(), after),
            Step::Submit => self.pool.submit()?,
            Step::Synchronize => self.pool.synchronize_blocking()?,
            Step::ResetPeaks => self.pool.reset_peaks(),
            Step::ResetAccumulated => self.pool.reset_accumulated(),
            _ => {}
        }
        Ok(())
    }

    /// Returns whether a command was refused because the tensors of one command, the pinned and the kept blocks do not fit
    /// within the limit.
    fn is_full(&self, result: Result<(), DeviceError>) -> Result<bool, Box<dyn std::error::Error>> {
        match result {
            Ok(()) => Ok(false),
            Err(DeviceError::WorkingSet(set)) if self.pool.limit().is_some() || self.extent.faults => {
                let excused = self.keeps || !self.pins.is_empty() || !self.moves || self.extent.faults;
                let limit = self.pool.limit().unwrap_or(u64::MAX);
                if !excused && set.bytes <= limit && !self.is_bounded {
                    return Err(set.into());
                }
                Ok(true)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn offload(&mut self, index: usize) -> Outcome {
        let block = &self.blocks[index];
        match block.storage().offload() {
            Ok(()) if block.storage().bytes() == 0 || block.storage().residence() == Residence::Host => Ok(()),
            Ok(()) => Err("an offloaded storage is not in host memory".into()),
            Err(DeviceError::Pinned { .. }) if self.pins.iter().any(|&(serial, ..)| serial == block.serial) => Ok(()),
            Err(DeviceError::HostLimit { bytes, held, limit }) if held + bytes > limit => Ok(()),
            Err(DeviceError::HostRefused { .. }) if self.extent.faults => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn allocate(&mut self, bytes: u64) -> Outcome {
        if self.pool.stats().requested.current + bytes > self.extent.most_live {
            self.blocks.truncate(self.blocks.len() / 2);
        }
        let before = self.pool.stats();
        let storage = match self.pool.allocate(bytes) {
            Ok(storage) => storage,
            Err(AllocateError::OutOfMemory(_)) if self.extent.limits || self.extent.faults => {
                self.refusals += 1;
                let after = self.pool.stats();
                let held = |stats: &wgpu_pool::Stats| {
                    let requested = stats.requested.current + stats.spilled_requested.current;
                    (requested, stats.blocks.current + stats.spilled_blocks.current)
                };
                let moved = before.spilled.allocated != after.spilled.allocated;
                let is_same = (before.requested, before.blocks) == (after.requested, after.blocks);
                if held(&before) != held(&after) || (!is_same && !moved) {
                    return Err("a refusal changed what is allocated".into());
                }
                return self.check_refusal(bytes);
            }
            // Also if the memory injects failures: a step of the ladder that fails for lack of memory is skipped.
            Err(error) => return Err(format!("a request of {bytes} bytes: {error}").into()),
        };
        if (storage.handles(), storage.bytes()) != (1, bytes) {
            return Err(format!("a new block of {} bytes has {} handles", storage.bytes(), storage.handles()).into());
        }
        self.check_place(&storage)?;
        let serial = self.allocations;
        self.allocations += 1;
        let content = if self.scrubs && self.abilities.holds_bytes { Content::Zeros } else { Content::Stale };
        self.blocks.push(Block { serial, handles: vec![storage], content });
        let index = self.blocks.len() - 1;
        // In a pool that clears freed blocks, a new block contains zeros.
        self.verify(&self.blocks[index])?;
        self.write(index, serial.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1)
    }

    /// The guarantee of `Pool::allocate`: a request is served whenever it fits in the limit together with the live
    /// blocks, wherever they are.
    fn check_refusal(&self, bytes: u64) -> Outcome {
        let Some(limit) = self.pool.limit() else {
            return if self.extent.faults { Ok(()) } else { Err("refused without a limit".into()) };
        };
        let rounded = |bytes: u64| bytes.next_multiple_of(self.granule);
        let live: u64 = self.blocks.iter().map(|block| rounded(block.storage().bytes())).sum();
        let limit = limit / self.granule * self.granule;
        // With unlimited host memory, every block can move there.
        let moves_out = self.pool.spill_stats().limit == Some(u64::MAX) && !self.keeps;
        let fits = live + rounded(bytes) <= limit || (moves_out && rounded(bytes) <= limit);
        if self.moves && !self.extent.faults && self.pins.is_empty() && fits {
            return Err(format!("{bytes} bytes are refused, with {live} of {limit} bytes live").into());
        }
        Ok(())
    }

    /// Checks that a new block overlaps no pinned block, whether that is freed or not.
    fn check_place(&self, storage: &Storage<M>) -> Outcome {
        if !self.abilities.shows_places || self.pins.is_empty() {
            return Ok(());
        }
        if storage.bytes() == 0 {
            return Ok(());
        }
        let own = storage.pin()?;
        let ends = |pinned: &Pinned<M>| {
            let (segment, offset): (SegmentId, u64) = pinned.place();
            (segment, offset, offset + pinned.bytes().next_multiple_of(self.granule))
        };
        let (segment, start, end) = ends(&own);
        for (_, _, pinned) in &self.pins {
            let (other, other_start, other_end) = ends(pinned);
            if segment == other && start < other_end && other_start < end {
                return Err(format!("a new block at {start} of segment {segment} lies over a pinned one").into());
            }
        }
        Ok(())
    }

    fn drop_handle(&mut self, index: usize, on_another_thread: bool) -> Outcome {
        let last = if self.blocks[index].handles.len() > 1 {
            let handles = &mut self.blocks[index].handles;
            handles.swap_remove(handles.len() / 2)
        } else {
            let mut block = self.blocks.swap_remove(index);
            self.verify(&block)?;
            block.handles.swap_remove(0)
        };
        if on_another_thread && !cfg!(target_arch = "wasm32") {
            std::thread::spawn(move || drop(last)).join().map_err(|_| "a thread that drops a handle panicked")?;
        }
        Ok(())
    }

    fn upgrade(&mut self, index: usize) -> Outcome {
        let (serial, weak) = &self.weak[index];
        let alive = self.blocks.iter_mut().find(|block| block.serial == *serial);
        match (weak.upgrade(), alive) {
            (None, None) => Ok(()),
            (Some(storage), Some(block)) if storage.is_same(block.storage()) => {
                block.handles.push(storage);
                Ok(())
            }
            (Some(_), None) => Err(format!("a weak handle of block {serial} upgraded after it was freed").into()),
            (Some(_), Some(_)) => Err(format!("a weak handle of block {serial} upgraded to another").into()),
            (None, Some(_)) => Err(format!("a weak handle of block {serial}, which lives, did not upgrade").into()),
        }
    }

    fn pin(&mut self, index: usize) -> Outcome {
        let block = &self.blocks[index];
        match block.storage().pin() {
            Ok(guard) => {
                let size = block.storage().bytes().next_multiple_of(self.granule);
                self.pins.push((block.serial, size, guard));
            }
            Err(DeviceError::ZeroBytes) if block.storage().bytes() == 0 => {}
            Err(error) => return Err(error.into()),
        }
        if self.pins.len() > MOST_PINS { self.unpin(0) } else { Ok(()) }
    }

    fn unpin(&mut self, index: usize) -> Outcome {
        let (serial, _, guard) = self.pins.swap_remove(index);
        let Some(block) = self.blocks.iter().find(|block| block.serial == serial) else { return Ok(()) };
        let moved = block.storage().pin()?.place() != guard.place();
        drop(guard);
        self.verify(block)?;
        if moved { Err(format!("block {serial} moved while it was pinned").into()) } else { Ok(()) }
    }

    fn write(&mut self, index: usize, number: u64) -> Outcome {
        let block = &mut self.blocks[index];
        if self.abilities.holds_bytes {
            // After a failed write, the content is unknown.
            block.content = Content::Stale;
            block.content = Content::write(block.storage(), &self.text, number)?;
        }
        Ok(())
    }

    fn copy(&mut self, from: usize, to: usize) -> Outcome {
        let (source, target) = (&self.blocks[from], &self.blocks[to]);
        let (bytes, room) = (source.storage().bytes(), target.storage().bytes());
        // When the destination is longer than the copy, a kernel merges the last copy unit.
        if from == to || (!self.abilities.runs_kernels && bytes != room && bytes % 4 != 0) {
            return Ok(());
        }
        let Some(content) = source.content.copied_to(bytes, &target.content, room) else { return Ok(()) };
        source.storage().copy_to(target.storage())?;
        self.blocks[to].content = content;
        Ok(())
    }

    fn verify(&self, block: &Block<M>) -> Outcome {
        if self.abilities.holds_bytes { block.content.verify(block.storage(), &self.text) } else { Ok(()) }
    }

    /// Checks that the counters equal the program's own record, and that the invariants of the heap hold.
    fn check(&mut self) -> Outcome {
        let stats = self.pool.stats();
        let rounded = |block: &Block<M>| block.storage().bytes().next_multiple_of(self.granule);
        let requested: u64 = self.blocks.iter().map(|block| block.storage().bytes()).sum();
        let allocated: u64 = self.blocks.iter().map(rounded).sum();
        let pinned: BTreeMap<u64, u64> = self.pins.iter().map(|&(serial, size, _)| (serial, size)).collect();
        let lives = |serial: &u64| self.blocks.iter().any(|block| block.serial == *serial);
        let pending: u64 = pinned.iter().filter(|(serial, _)| !lives(serial)).map(|(_, size)| size).sum();
        for (what, says, sum) in [
            ("requested", stats.requested.current + stats.spilled_requested.current, requested),
            ("allocated", stats.allocated.current + stats.spilled.current, allocated),
            ("blocks", stats.blocks.current + stats.spilled_blocks.current, self.blocks.len() as u64),
            ("active", stats.active.current + stats.spilled.current, allocated + pending),
            ("pinned", stats.pinned.current, pinned.values().sum()),
        ] {
            if says != sum {
                return Err(format!("{what}: the pool says {says}, the program holds {sum}").into());
            }
        }
        if stats.reserved.current > self.ceiling {
            return Err(format!("{} bytes are reserved, the limit is {}", stats.reserved.current, self.ceiling).into());
        }
        let spill = self.pool.spill_stats();
        // An exchange that failed may leave the bytes of a command above the limit.
        let is_exact = self.moves && !self.extent.faults && !self.keeps && self.pins.is_empty();
        if is_exact && spill.host + spill.in_transit + spill.idle > spill.limit.unwrap_or(0) {
            return Err(format!("the limit on host bytes is exceeded: {spill:?}").into());
        }
        if let Some(limit) = self.pool.limit() {
            self.ceiling = limit.max(stats.reserved.current.min(self.ceiling));
        }
        if self.taken.is_multiple_of(AUDIT) {
            (self.audit)(&self.pool);
        } else {
            self.pool.check()?;
        }
        Ok(())
    }

    /// Verifies all live blocks, then frees and releases everything.
    pub(crate) fn end(&mut self) -> Outcome {
        for block in &self.blocks {
            self.tolerate(self.verify(block))?;
        }
        self.blocks.clear();
        if self.weak.drain(..).any(|(_, weak)| weak.upgrade().is_some()) {
            return Err("a weak handle upgraded after the last block was freed".into());
        }
        self.pins.clear();
        self.pool.trim();
        let spill = self.pool.spill_stats();
        if spill.host + spill.host_blocks + spill.in_transit + spill.idle + spill.kept > 0 {
            return Err(format!("host memory is in use though nothing is held: {spill:?}").into());
        }
        match self.pool.stats().reserved.current {
            0 => Ok(()),
            reserved => Err(format!("{reserved} bytes are reserved though nothing is held").into()),
        }
    }
}
