//! Returning blocks to the device.

use super::super::EventKind;
use super::super::ladder::Sizing;
use super::super::spill::{RESTORE_ATTEMPTS, STAGED_BYTES, WRITE_BYTES};
use super::{ClaimGuard, HostCopy, Inner, State};
use crate::device::{CacheLevel, Commands, Location, Memory, Submit};
use crate::error::{AllocateError, DeviceError, WorkingSet};
use crate::heap::BlockId;
use crate::pool::messages::Postponed;
use rustc_hash::FxHashSet;

impl<M: Memory> Inner<M> {
    /// Returns all detached blocks of a claim to the device, in the order of `blocks`, which are those of the claim. May move
    /// other blocks to host memory, and waits for the device only where the ladder does. The caller must hold no lock.
    ///
    /// # Errors
    /// [`DeviceError::WorkingSet`] if the device has no room for all blocks of the claim together;
    /// [`DeviceError::Refused`] if staging memory cannot be allocated; [`DeviceError::Lost`]. The bytes of each block stay
    /// where they are.
    pub(in crate::pool) fn return_blocks(
        &self,
        claim: &ClaimGuard<'_, M>,
        mut blocks: impl Iterator<Item = BlockId> + Clone,
    ) -> Result<(), DeviceError> {
        self.check_working_set(claim, blocks.clone())?;
        blocks.try_for_each(|block| self.return_block(claim, block))
    }

    /// Refuses a command whose blocks exceed the limit by themselves, before any block moves.
    fn check_working_set(
        &self,
        claim: &ClaimGuard<'_, M>,
        mut blocks: impl Iterator<Item = BlockId>,
    ) -> Result<(), DeviceError> {
        let state = self.state();
        let Some(limit) = state.limit else { return Ok(()) };
        if claim.bytes_in(&state) <= limit {
            return Ok(());
        }
        let mut seen = FxHashSet::default();
        let mut sum: u64 = 0;
        let missing = blocks.find(|&block| {
            sum = sum.saturating_add(if seen.insert(block) { state.size_of(block) } else { 0 });
            sum > limit
        });
        let missing = missing.map_or(0, |block| state.size_of(block));
        Err(state.working_set_error(claim, missing, None))
    }

    fn return_block(&self, claim: &ClaimGuard<'_, M>, block: BlockId) -> Result<(), DeviceError> {
        let mut refused = 0;
        loop {
            let Some(detached) = self.state().heap.detached(block) else { return Ok(()) };
            let hole = self.state().take_hole(detached.requested);
            let target = match hole {
                Some(target) => target,
                None => {
                    let before = self.state().remedies;
                    let climbed = self.climb(detached.requested, Sizing::Planned, &before, Some(claim.number()));
                    climbed.map_err(|error| self.working_set_error(error, claim))?
                }
            };
            claim.add(target);
            let filled = self.fill(block, target);
            claim.remove(target);
            if !matches!(filled, Ok(true)) {
                // Not attached: the target is still a separate block.
                let mut state = self.state();
                let used = state.heap.stats().spilled.current;
                let copy = state.spilling.as_mut().and_then(|spilling| spilling.forget(target, 0, used));
                let _ = state.heap.free(target);
                drop(state);
                drop(copy);
            }
            match filled {
                Ok(_) => {}
                Err(DeviceError::Refused { .. }) if refused < RESTORE_ATTEMPTS => {
                    refused += 1;
                    self.memory.drop_caches(CacheLevel::Buffers);
                    self.memory.wait_blocking()?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Copies the bytes of a detached block to the location of `target`, and attaches the block there. Returns false if the
    /// block was freed or returned by another thread meanwhile.
    fn fill(&self, block: BlockId, target: BlockId) -> Result<bool, DeviceError> {
        let copy = {
            let state = self.state();
            let copies = state.spilling.as_ref().map(|spilling| &spilling.copies);
            match copies.and_then(|copies| copies.get(&block)) {
                Some(copy) => copy.clone(),
                None => return Ok(false),
            }
        };
        let uploaded = match &copy {
            HostCopy::Bytes(bytes) => self.upload(bytes, target)?,
            HostCopy::Segment(_) => 0,
        };
        let _later = Postponed::new();
        let mut commands = self.memory.commands();
        let to = self.location_of(&mut commands, target)?;
        let mut state = self.state();
        let (Some(detached), Some(to)) = (state.heap.detached(block), to) else { return Ok(false) };
        match &copy {
            HostCopy::Segment(host) => {
                let host = host.location(detached.size);
                commands.copy(&host, &to)?;
                if self.scrubs {
                    commands.clear(&host)?;
                }
            }
            HostCopy::Bytes(bytes) => write_pieces::<M>(&mut commands, &to, bytes, uploaded, usize::MAX).map(|_| ())?,
        }
        let freed = state.attach(block, target);
        drop(state);
        let due = commands.due();
        drop(commands);
        drop(freed);
        if due {
            self.memory.submit(Submit::Soon)?;
        }
        Ok(true)
    }

    /// Writes all but the last part of a block's bytes, waiting for the device in between, so that staging memory can be
    /// reused. Returns the number of written bytes.
    fn upload(&self, bytes: &[u8], target: BlockId) -> Result<usize, DeviceError> {
        let mut written = 0;
        while bytes.len() - written > STAGED_BYTES {
            let _later = Postponed::new();
            let mut commands = self.memory.commands();
            let Some(to) = self.location_of(&mut commands, target)? else { return Ok(written) };
            written = write_pieces::<M>(&mut commands, &to, bytes, written, STAGED_BYTES)?;
            drop(commands);
            self.memory.wait_blocking()?;
        }
        Ok(written)
    }

    /// Returns the location of a block that is not a storage's, after its segment has device memory.
    fn location_of(
        &self,
        commands: &mut M::Commands<'_>,
        block: BlockId,
    ) -> Result<Option<Location<M::Segment>>, DeviceError> {
        loop {
            let mut state = self.state();
            let Some(place) = state.heap.allocated_place(block) else { return Ok(None) };
            if state.segments.contains_key(&place.segment) {
                return Ok(Some(state.location(place.segment, place.offset, place.size)));
            }
            drop(state);
            self.restore(commands, place.segment)?;
        }
    }

    /// Returns the error of a command whose blocks do not fit on the device together.
    fn working_set_error(&self, error: AllocateError, claim: &ClaimGuard<'_, M>) -> DeviceError {
        match error {
            AllocateError::OutOfMemory(numbers) => {
                self.state().working_set_error(claim, numbers.rounded, numbers.refused)
            }
            AllocateError::Device(error) => error,
            AllocateError::TooLarge { requested, limit } => DeviceError::TooLarge { bytes: requested, limit },
            AllocateError::Unfinished { requested, .. } => DeviceError::Refused { bytes: requested },
        }
    }
}

/// Records writes of about `most` bytes of a block from `written` on. Returns the number of bytes written so far.
fn write_pieces<M: Memory>(
    commands: &mut M::Commands<'_>,
    to: &Location<M::Segment>,
    bytes: &[u8],
    mut written: usize,
    most: usize,
) -> Result<usize, DeviceError> {
    let end = bytes.len().min(written.saturating_add(most));
    while written < end {
        let piece = &bytes[written..end.min(written + WRITE_BYTES)];
        commands.write(&to.part(written as u64, piece.len() as u64)?, piece)?;
        written += piece.len();
    }
    Ok(written)
}

impl<M: Memory> State<M> {
    /// Returns the error of a command whose blocks do not fit on the device together: there is no room for `missing` bytes.
    fn working_set_error(&self, claim: &ClaimGuard<'_, M>, missing: u64, refused: Option<u64>) -> DeviceError {
        let stats = self.heap.stats();
        let spilling = self.spill_stats();
        DeviceError::WorkingSet(Box::new(WorkingSet {
            bytes: claim.bytes_in(self),
            missing,
            limit: self.limit,
            refused,
            pinned_segments: self.heap.pinned_segments().reserved,
            kept: spilling.kept,
            reserved: stats.reserved.current,
            host: stats.spilled.current,
            host_limit: spilling.limit.unwrap_or(0),
        }))
    }

    /// Attaches a block whose bytes were copied to the location of `target`. Returns bytes to drop without the lock.
    fn attach(&mut self, block: BlockId, target: BlockId) -> Option<HostCopy<M::Segment>> {
        let place = self.heap.attach(block, target).expect("the target was allocated for the block");
        let used = self.heap.stats().spilled.current;
        let spilling = self.spilling.as_mut()?;
        spilling.counts.moved_in = spilling.counts.moved_in.saturating_add(place.size);
        spilling.counts.blocks_in += 1;
        let stays = spilling.kept.contains(&block);
        let freed = spilling.forget(block, place.size, used);
        spilling.order.entered(block);
        if stays {
            spilling.keep(block, true);
        }
        self.attribution.moved_between(EventKind::Return, block, place);
        freed
    }
}
