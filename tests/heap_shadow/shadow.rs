//! A simple model of the heap: blocks are in a `BTreeMap` of ranges, and every query walks all of them.

use crate::random::Random;
use std::collections::{BTreeMap, HashSet};
use std::fmt::{Arguments, Debug};
use std::num::NonZeroU64;
use wgpu_pool::error::HeapError;
use wgpu_pool::heap::{BlockId, BlockState, BlockView, Heap, SegmentId, Shortfall, SubPool};

/// Few enough that a check after each step is cheap.
const MOST_LIVE: usize = 48;

/// A block in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    size: u64,
    requested: u64,
    pins: u32,
    freed: bool,
    id: BlockId,
}

/// A segment in the model. Only active blocks are stored; the gaps are free.
#[derive(Debug)]
struct Area {
    pool: SubPool,
    bytes: u64,
    blocks: BTreeMap<u64, Range>,
}

impl Area {
    /// Returns the free gaps as start and size.
    fn gaps(&self) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut end = 0;
        for (&offset, block) in &self.blocks {
            gaps.push((end, offset - end));
            end = offset + block.size;
        }
        gaps.push((end, self.bytes - end));
        gaps.retain(|&(_, size)| size > 0);
        gaps
    }
}

/// The model: the contents of the heap's segments, and all ids that were ever allocated.
pub(crate) struct Shadow {
    granule: u64,
    small_limit: u64,
    areas: BTreeMap<SegmentId, Area>,
    /// Segments without a block; the one that has been empty for longest comes first.
    idle: Vec<SegmentId>,
    stale: Vec<BlockId>,
    /// Blocks without a location.
    detached: Vec<Range>,
    /// All ids that were ever allocated.
    known: HashSet<BlockId>,
    log: Vec<String>,
}

/// The reason of a failure.
pub(crate) type Difference = String;

impl Shadow {
    pub(crate) fn new(granule: u64, small_limit: u64) -> Self {
        let (areas, idle, stale, detached, known, log) = Default::default();
        Self { granule, small_limit, areas, idle, stale, detached, known, log }
    }

    /// Returns the steps so far.
    pub(crate) fn log(&self) -> &[String] {
        &self.log
    }

    fn live(&self) -> Vec<(SegmentId, u64, Range)> {
        let blocks = |(&id, area): (&SegmentId, &Area)| -> Vec<_> {
            area.blocks.iter().map(|(&offset, &block)| (id, offset, block)).collect()
        };
        self.areas.iter().flat_map(blocks).collect()
    }

    fn block(&mut self, segment: SegmentId, offset: u64) -> &mut Range {
        let area = self.areas.get_mut(&segment).expect("the model's own segment");
        area.blocks.get_mut(&offset).expect("the model's own block")
    }

    fn allocate(&mut self, heap: &mut Heap, requested: NonZeroU64) -> Result<(), Difference> {
        let size = requested.get().next_multiple_of(self.granule);
        let pool = if requested.get() <= self.small_limit { SubPool::Small } else { SubPool::Large };
        let largest = |area: &Area| area.gaps().into_iter().map(|(_, size)| size).max();
        let hole = self.areas.values().filter(|area| area.pool == pool).filter_map(largest).max().unwrap_or(0);
        let before = heap.stats();
        let id = match heap.allocate(requested) {
            Ok(id) => id,
            Err(shortfall) => {
                same("shortfall", shortfall, Shortfall { pool, bytes: size })?;
                same("stats after a shortfall", heap.stats(), before)?;
                return at_most("the largest hole of a pool that has none for the block", hole, size - 1);
            }
        };
        at_most("an allocated block", size, hole)?;
        let place = heap.allocated_place(id).ok_or("a new block has no place")?;
        same("size", (place.size, place.requested), (size, requested.get()))?;
        same("offset beyond the granule", place.offset % self.granule, 0)?;
        if !self.known.insert(id) {
            return Err(format!("{id:?} was allocated before"));
        }
        let area = self.areas.get_mut(&place.segment).ok_or("a segment that is not there")?;
        same("pool", area.pool, pool)?;
        let fits = |&(start, gap): &(u64, u64)| start <= place.offset && place.offset + size <= start + gap;
        if !area.gaps().iter().any(fits) {
            return Err(format!("{place:?} overlaps a block or the end of its segment"));
        }
        area.blocks.insert(place.offset, Range { size, requested: requested.get(), pins: 0, freed: false, id });
        self.idle.retain(|&idle| idle != place.segment);
        Ok(())
    }

    /// Removes a block from the model.
    fn vanish(&mut self, segment: SegmentId, offset: u64) {
        let area = self.areas.get_mut(&segment).expect("the model's own segment");
        let block = area.blocks.remove(&offset).expect("the model's own block");
        self.stale.push(block.id);
        if area.blocks.is_empty() {
            self.idle.push(segment);
        }
    }

    fn free(&mut self, heap: &mut Heap, (segment, offset, block): (SegmentId, u64, Range)) -> Result<(), Difference> {
        let answer = heap.free(block.id);
        if block.freed {
            let (key, generation) = parts(block.id);
            return same("second free", answer, Err(HeapError::FreedBlock { key, generation, pins: block.pins }));
        }
        same("free", answer, Ok(()))?;
        if block.pins == 0 {
            self.vanish(segment, offset);
        } else {
            self.block(segment, offset).freed = true;
        }
        Ok(())
    }

    fn detach(&mut self, heap: &mut Heap, (segment, offset, block): (SegmentId, u64, Range)) -> Result<(), Difference> {
        let answer = heap.detach(block.id);
        let ((key, generation), pins) = (parts(block.id), block.pins);
        if block.freed {
            return same("late detach", answer, Err(HeapError::FreedBlock { key, generation, pins }));
        }
        if pins > 0 {
            return same("pinned detach", answer, Err(HeapError::PinnedBlock { key, generation, pins }));
        }
        same("detach", answer.map(|place| (place.segment, place.offset)), Ok((segment, offset)))?;
        same("place of a detached block", heap.active_place(block.id), None)?;
        self.vanish(segment, offset);
        // Its id stays valid.
        self.stale.pop();
        self.detached.push(block);
        Ok(())
    }

    /// Attaches a detached block if there is room, or frees it.
    fn attach_or_free(&mut self, heap: &mut Heap, index: usize, attach: bool) -> Result<(), Difference> {
        let block = self.detached[index];
        if !attach {
            self.detached.swap_remove(index);
            self.stale.push(block.id);
            return same("free of a detached block", heap.free(block.id), Ok(()));
        }
        let requested = NonZeroU64::new(block.requested).ok_or("a block of no bytes")?;
        let Ok(target) = heap.allocate(requested) else { return Ok(()) };
        let place = heap.attach(block.id, target).map_err(|error| error.to_string())?;
        self.known.insert(target);
        self.stale.push(target);
        self.idle.retain(|&id| id != place.segment);
        let area = self.areas.get_mut(&place.segment).ok_or("attached to an unknown segment")?;
        let fits =
            area.gaps().iter().any(|&(start, size)| start <= place.offset && place.offset + place.size <= start + size);
        if !fits {
            return Err(format!("{:?} was attached over another block", block.id));
        }
        area.blocks.insert(place.offset, block);
        self.detached.swap_remove(index);
        Ok(())
    }

    fn pin(&mut self, heap: &mut Heap, (segment, offset, block): (SegmentId, u64, Range)) -> Result<(), Difference> {
        let answer = heap.pin(block.id);
        if block.freed {
            let (key, generation) = parts(block.id);
            return same("late pin", answer, Err(HeapError::FreedBlock { key, generation, pins: block.pins }));
        }
        same("pin", answer, Ok(()))?;
        self.block(segment, offset).pins += 1;
        Ok(())
    }

    fn unpin(&mut self, heap: &mut Heap, (segment, offset, block): (SegmentId, u64, Range)) -> Result<(), Difference> {
        let answer = heap.unpin(block.id);
        if block.pins == 0 {
            let (key, generation) = parts(block.id);
            return same("unpin", answer, Err(HeapError::NotPinned { key, generation }));
        }
        same("unpin", answer, Ok(()))?;
        self.block(segment, offset).pins -= 1;
        if block.freed && block.pins == 1 {
            self.vanish(segment, offset);
        }
        Ok(())
    }

    fn misuse(&self, heap: &mut Heap, id: BlockId) -> Result<(), Difference> {
        let (key, generation) = parts(id);
        let refusal = Err(HeapError::StaleBlock { key, generation });
        same("stale free", heap.free(id), refusal)?;
        same("stale pin", heap.pin(id), refusal)?;
        same("stale unpin", heap.unpin(id), refusal)?;
        same("places of a stale id", (heap.allocated_place(id), heap.active_place(id)), (None, None))
    }

    fn add_segment(&mut self, heap: &mut Heap, pool: SubPool, bytes: u64) -> Result<(), Difference> {
        let id = heap.add_segment(pool, bytes).map_err(|error| error.to_string())?;
        if self.areas.last_key_value().is_some_and(|(&last, _)| last >= id) {
            return Err(format!("segment {id} is not above those before"));
        }
        self.areas.insert(id, Area { pool, bytes, blocks: BTreeMap::new() });
        self.idle.push(id);
        Ok(())
    }

    fn release_inactive(&mut self, heap: &mut Heap) -> Result<(), Difference> {
        let released = heap.release_inactive();
        let expected: Vec<_> = self.idle.drain(..).map(|id| (id, self.areas[&id].bytes)).collect();
        same("released", &released, &expected)?;
        released.iter().for_each(|(id, _)| drop(self.areas.remove(id)));
        Ok(())
    }

    fn release_segment(&mut self, heap: &mut Heap, id: SegmentId) -> Result<(), Difference> {
        let area = &self.areas[&id];
        let active: u64 = area.blocks.values().map(|block| block.size).sum();
        let segment = id.number();
        if active > 0 {
            return same("release in use", heap.release_segment(id), Err(HeapError::SegmentInUse { segment, active }));
        }
        same("release", heap.release_segment(id), Ok(area.bytes))?;
        same("second release", heap.release_segment(id), Err(HeapError::UnknownSegment { segment }))?;
        self.areas.remove(&id);
        self.idle.retain(|&idle| idle != id);
        Ok(())
    }

    /// Replaces a segment by segments without holes, each of at most `most` bytes or with one block.
    fn repack(&mut self, heap: &mut Heap, id: SegmentId, most: u64) -> Result<(), Difference> {
        let area = &self.areas[&id];
        let stays = area.blocks.is_empty() || area.blocks.values().any(|block| block.pins > 0);
        let (before, peak) = (heap.stats(), heap.stats().reserved.peak);
        let Some(repacked) = heap.repack_segment(id, most) else {
            same("stats after a segment stayed", heap.stats(), before)?;
            return if stays { Ok(()) } else { Err("a segment can be repacked and is not".into()) };
        };
        if stays {
            return Err("a segment was repacked that is idle or pinned".into());
        }
        same("peak of the reserved bytes", heap.stats().reserved.peak, peak)?;
        let Some(Area { pool, bytes, blocks }) = self.areas.remove(&id) else { return Err("it was there".into()) };
        same("released", (repacked.released, repacked.pool), (bytes, pool))?;
        let mut blocks = blocks.into_iter();
        for (index, &(new, size)) in repacked.segments.iter().enumerate() {
            let mut area = Area { pool, bytes: size, blocks: BTreeMap::new() };
            let mut end = 0;
            while end < size {
                let (_, block) = blocks.next().ok_or("more segments than blocks")?;
                area.blocks.insert(end, block);
                end += block.size;
            }
            same("end of the blocks of a segment without holes", end, size)?;
            if size > most && area.blocks.len() > 1 {
                return Err(format!("segment {index} has {size} bytes, at most {most} can be"));
            }
            self.areas.insert(new, area);
        }
        same("blocks left", blocks.next(), None)
    }

    fn adopt(&mut self, heap: &mut Heap, id: SegmentId, pool: SubPool) -> Result<(), Difference> {
        let area = self.areas.get_mut(&id).expect("the model's own segment");
        let active: u64 = area.blocks.values().map(|block| block.size).sum();
        if active > 0 {
            let refusal = Err(HeapError::SegmentInUse { segment: id.number(), active });
            return same("adopt in use", heap.adopt(id, pool), refusal);
        }
        area.pool = pool;
        same("adopt", heap.adopt(id, pool), Ok(()))
    }

    /// Compares everything that can be read from the heap.
    pub(crate) fn compare(&self, heap: &Heap) -> Result<(), Difference> {
        heap.check().map_err(|broken| format!("broken invariant: {broken}"))?;
        let live = self.live();
        for (segment, offset, block) in &live {
            let place = heap.active_place(block.id).ok_or_else(|| format!("{:?} has no place", block.id))?;
            // A freed block that is still pinned is active but not allocated: only its pins can access it.
            same("allocated place", heap.allocated_place(block.id), (!block.freed).then_some(place))?;
            let expected = (*segment, *offset, block.size, block.requested);
            same("place", (place.segment, place.offset, place.size, place.requested), expected)?;
        }

        let sum = |of: &dyn Fn(&Range) -> u64| live.iter().map(|(_, _, block)| of(block)).sum::<u64>();
        let allocated = |value: fn(&Range) -> u64| move |block: &Range| if block.freed { 0 } else { value(block) };
        let stats = heap.stats();
        same("requested", stats.requested.current, sum(&allocated(|block| block.requested)))?;
        same("allocated", stats.allocated.current, sum(&allocated(|block| block.size)))?;
        same("blocks", stats.blocks.current, sum(&allocated(|_| 1)))?;
        same("active", stats.active.current, sum(&|block| block.size))?;
        let detached = |of: fn(&Range) -> u64| self.detached.iter().map(of).sum::<u64>();
        same("spilled", stats.spilled.current, detached(|block| block.size))?;
        same("spilled_requested", stats.spilled_requested.current, detached(|block| block.requested))?;
        same("spilled_blocks", stats.spilled_blocks.current, detached(|_| 1))?;
        for block in &self.detached {
            let found = heap.detached(block.id).map(|detached| (detached.size, detached.requested.get()));
            same("detached", found, Some((block.size, block.requested)))?;
        }
        same("pinned", stats.pinned.current, sum(&|block| if block.pins > 0 { block.size } else { 0 }))?;
        same("reserved", stats.reserved.current, self.areas.values().map(|area| area.bytes).sum())?;
        let in_use = self.areas.values().filter(|area| !area.blocks.is_empty());
        let split = in_use.flat_map(Area::gaps).map(|(_, size)| size).sum();
        same("inactive_split", stats.inactive_split.current, split)?;

        let gaps: Vec<u64> = self.areas.values().flat_map(Area::gaps).map(|(_, size)| size).collect();
        same("holes", heap.holes(), gaps.len() as u64)?;
        same("largest hole", heap.largest_hole(), gaps.iter().copied().max().unwrap_or(0))?;
        let idle: Vec<_> = self.idle.iter().map(|&id| (id, self.areas[&id].bytes)).collect();
        same("idle segments", &heap.inactive_segments().collect::<Vec<_>>(), &idle)?;
        self.compare_segments(heap)
    }

    fn compare_segments(&self, heap: &Heap) -> Result<(), Difference> {
        let ids: Vec<_> = heap.segments().map(|segment| segment.id).collect();
        same("segments", &ids, &self.areas.keys().copied().collect())?;
        for (segment, area) in heap.segments().zip(self.areas.values()) {
            same("segment", (segment.pool, segment.bytes), (area.pool, area.bytes))?;
            let mut end = 0;
            for block in segment.blocks() {
                same("start of a block", block.offset, end)?;
                end += block.size;
            }
            same("end of the blocks", end, area.bytes)?;
            let (inactive, active): (Vec<BlockView>, Vec<BlockView>) =
                segment.blocks().partition(|block| block.state == BlockState::Inactive);
            let gaps: Vec<_> = inactive.iter().map(|block| (block.offset, block.size)).collect();
            same("gaps", &gaps, &area.gaps())?;
            let blocks = active.iter().filter_map(|block| {
                let freed = block.state == BlockState::PendingFree;
                let (size, requested, pins) = (block.size, block.requested, block.pins);
                Some((block.offset, Range { size, requested, pins, freed, id: block.id? }))
            });
            same("blocks", &blocks.collect(), &area.blocks)?;
        }
        Ok(())
    }

    /// Runs one random step.
    pub(crate) fn step(&mut self, heap: &mut Heap, random: &mut Random, request: NonZeroU64) -> Result<(), Difference> {
        let live = self.live();
        let ids: Vec<SegmentId> = self.areas.keys().copied().collect();
        let choice = random.below(100);
        let block = (!live.is_empty()).then(|| live[random.below(live.len())]);
        let segment = (!ids.is_empty()).then(|| ids[random.below(ids.len())]);
        let pool = if random.below(2) == 0 { SubPool::Small } else { SubPool::Large };
        match (choice, block, segment) {
            (0..45, ..) if live.len() < MOST_LIVE => {
                self.note(format_args!("allocate {request}"));
                self.allocate(heap, request)
            }
            (78..81, Some(block), _) => {
                self.note(format_args!("detach {:?}", block.2.id));
                self.detach(heap, block)
            }
            (81..84, ..) if !self.detached.is_empty() => {
                let index = random.below(self.detached.len());
                let attach = self.detached.len() < MOST_LIVE && random.below(4) > 0;
                let id = self.detached[index].id;
                self.note(format_args!("attach {attach} {id:?}"));
                self.attach_or_free(heap, index, attach)
            }
            (0..78 | 81, Some(block), _) => {
                self.note(format_args!("free {:?}", block.2.id));
                self.free(heap, block)
            }
            (82..85, Some(block), _) => {
                self.note(format_args!("pin {:?}", block.2.id));
                self.pin(heap, block)
            }
            (85..91, Some(block), _) => {
                // Pinned blocks first, so that pins do not accumulate.
                let pinned = live.iter().copied().find(|(_, _, block)| block.pins > 0);
                let block = pinned.filter(|_| choice > 85).unwrap_or(block);
                self.note(format_args!("unpin {:?}", block.2.id));
                self.unpin(heap, block)
            }
            (91..93, ..) if !self.stale.is_empty() => {
                let id = self.stale[random.below(self.stale.len())];
                self.note(format_args!("misuse {id:?}"));
                self.misuse(heap, id)
            }
            (93..95, _, Some(segment)) => {
                self.note(format_args!("release {segment}"));
                self.release_segment(heap, segment)
            }
            (95, _, Some(segment)) => {
                let most = if random.below(2) == 0 { u64::MAX } else { random.size(256) * self.granule };
                self.note(format_args!("repack {segment} to {most}"));
                self.repack(heap, segment, most)
            }
            (96..98, _, Some(segment)) => {
                self.note(format_args!("adopt {segment} to {pool}"));
                self.adopt(heap, segment, pool)
            }
            (98.., ..) if ids.len() > 6 || random.below(8) == 0 => {
                self.note(format_args!("release all that are inactive"));
                self.release_inactive(heap)
            }
            _ if ids.len() < 8 => {
                let bytes = random.size(64) * 64 * self.granule;
                self.note(format_args!("add {bytes} to {pool}"));
                self.add_segment(heap, pool, bytes)
            }
            _ => Ok(()),
        }
    }

    /// Removes all pins and frees all blocks.
    pub(crate) fn empty(&mut self, heap: &mut Heap) -> Result<(), Difference> {
        for (segment, offset, block) in self.live() {
            for _ in 0..block.pins {
                same("last unpins", heap.unpin(block.id), Ok(()))?;
            }
            if !block.freed {
                same("last free", heap.free(block.id), Ok(()))?;
            }
            self.vanish(segment, offset);
        }
        for block in std::mem::take(&mut self.detached) {
            same("last free of a detached block", heap.free(block.id), Ok(()))?;
        }
        self.compare(heap)
    }

    fn note(&mut self, step: Arguments<'_>) {
        self.log.push(step.to_string());
    }
}

fn parts(id: BlockId) -> (u32, u32) {
    (u32::try_from(id.key()).expect("a key is a u32"), id.generation())
}

fn same<T: PartialEq + Debug>(what: &str, heap: T, shadow: T) -> Result<(), Difference> {
    if heap == shadow { Ok(()) } else { Err(format!("{what}: the heap says {heap:?}, the shadow {shadow:?}")) }
}

fn at_most(what: &str, value: u64, most: u64) -> Result<(), Difference> {
    if value <= most { Ok(()) } else { Err(format!("{what} is {value}, at most {most} can be")) }
}
