//! The recorder: encodes all commands of a memory in program order.
//!
//! One encoder is open at a time. Consecutive dispatches share one compute pass; a copy ends the pass. A block that is
//! freed while the open batch uses it may be allocated to the next command, because commands execute in order.

mod commands;
mod copies;
#[cfg(feature = "tensor")]
mod dispatch;

pub use commands::GpuCommands;

use super::super::CacheUse;
use super::copier::Copier;
use super::open::Open;
use super::own::OwnBuffer;
use super::staging::Staging;
use super::submission::{Batch, DUE_AGE, Submission};
use super::unit::UnitMerger;
use super::verdict::Verdict;
use super::{Gpu, GpuSegment};
use crate::error::DeviceError;
#[cfg(feature = "tensor")]
use dispatch::Dispatches;
use std::sync::Arc;
use std::time::Duration;

/// A batch with this many commands is due for submission. On an H100 recording costs 1 to 2 µs per command and a
/// submission 8 µs, so submissions add less than a tenth to the host time.
const DUE_COMMANDS: u32 = 128;
/// The first batch after a pause is due at this many commands, and each following batch at twice as many as its
/// predecessor: the device starts early, and later batches are long.
const FIRST_DUE_COMMANDS: u32 = 16;
/// A batch that stages this many bytes is due, too.
const DUE_BYTES: u64 = 16 << 20;
/// The largest size of the bounce buffer for copies within one segment.
const BOUNCE_BUFFER_BYTES: u64 = 8 << 20;
/// The largest number of messages that wait for the end of a batch.
const MAX_MESSAGES: usize = 16;

#[derive(Debug)]
pub(super) struct Recorder {
    /// The number of the open batch, or of the next batch if none is open.
    number: u64,
    /// The number of commands at which the open batch is due.
    due_commands: u32,
    /// The age at which the open batch is due.
    due_age: Duration,
    /// Whether each command checks the age of the open batch, because there is no submission thread to check it. On
    /// some virtual machines reading the clock takes a large part of a command's host time.
    checks_age: bool,
    /// Whether the submission thread will check the age of the open batch.
    is_watched: bool,
    /// The value of `number` at the submission thread's last check.
    #[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "there is no submission thread"))]
    number_seen: u64,
    open: Option<Open>,
    /// The verdicts that every command of the open batch depends on, and that were pending when it began, by number.
    pending: Vec<Verdict>,
    /// Whether a batch was ended before it was due.
    was_split: bool,
    staging: Staging,
    bounce_buffer: Option<Arc<OwnBuffer>>,
    /// Buffers of the crate's own that the open batch uses.
    kept: Vec<Arc<OwnBuffer>>,
    /// Segments of the open batch whose buffers were returned to the application.
    exposed: Vec<GpuSegment>,
    /// Messages for the log. A `log` implementation may call the pool, so they wait until no lock is held.
    messages: Vec<String>,
    merger: Option<UnitMerger>,
    copier: Option<Copier>,
    #[cfg(feature = "tensor")]
    dispatches: Dispatches,
}

impl Recorder {
    pub(super) fn new(checks_age: bool) -> Self {
        Self {
            number: 1,
            due_commands: FIRST_DUE_COMMANDS,
            due_age: DUE_AGE,
            checks_age,
            is_watched: false,
            number_seen: 1,
            open: None,
            pending: Vec::new(),
            was_split: false,
            staging: Staging::default(),
            bounce_buffer: None,
            kept: Vec::new(),
            exposed: Vec::new(),
            messages: Vec::new(),
            merger: None,
            copier: None,
            #[cfg(feature = "tensor")]
            dispatches: Dispatches::default(),
        }
    }

    /// Prepares for commands that depend on these verdicts. A command buffer that uses a refused object is discarded as a
    /// whole, so all commands of a batch depend on the same pending verdicts: the open batch ends if it depends on
    /// others.
    ///
    /// # Errors
    /// The refusal of an object, which no command can use.
    pub(super) fn depend_on<'v>(
        &mut self,
        gpu: &Gpu,
        verdicts: impl Iterator<Item = &'v Verdict> + Clone,
    ) -> Result<(), DeviceError> {
        if self.pending.is_empty() && verdicts.clone().all(Verdict::is_immediate) {
            return Ok(());
        }
        if let Some(refusal) = verdicts.clone().find_map(Verdict::refusal) {
            return Err(refusal.clone());
        }
        let mut pending: Vec<_> = verdicts.filter(|verdict| verdict.pending().is_some()).cloned().collect();
        pending.sort_unstable_by_key(Verdict::number);
        pending.dedup_by_key(|verdict| verdict.number());
        if self.open.is_some() && !pending.iter().map(Verdict::number).eq(self.pending.iter().map(Verdict::number)) {
            self.close(&gpu.submission);
            self.was_split = true;
        }
        self.pending = pending;
        Ok(())
    }

    /// Returns whether a batch was ended before it was due since the last call: it must be submitted soon.
    pub(super) fn take_split(&mut self) -> bool {
        std::mem::take(&mut self.was_split)
    }

    /// Notes a message for the log, unless many wait.
    fn note(&mut self, message: impl FnOnce() -> String) {
        if self.messages.len() < MAX_MESSAGES && log::log_enabled!(log::Level::Debug) {
            self.messages.push(message());
        }
    }

    /// Returns the messages since the last call.
    pub(super) fn take_messages(&mut self) -> Vec<String> {
        std::mem::take(&mut self.messages)
    }

    /// Ends the open batch, if there is one, and appends it to the submission queue.
    pub(super) fn close(&mut self, submission: &Submission) {
        let stages_enough = self.staging.open_bytes() >= DUE_BYTES;
        let staged = self.staging.close();
        #[cfg(feature = "tensor")]
        self.dispatches.close();
        if let Some(open) = self.open.take() {
            // A batch that ends before it is due is one that a caller waits for, so the device becomes idle.
            let was_due = stages_enough || open.commands >= self.due_commands;
            self.due_commands = match was_due {
                true => DUE_COMMANDS.min(2 * self.due_commands),
                // The age of a batch does not show whether the device is idle.
                false if open.age() >= self.due_age => self.due_commands,
                false => FIRST_DUE_COMMANDS,
            };
            drop(open.pass);
            let exposed = std::mem::take(&mut self.exposed);
            let (kept, pending) = (std::mem::take(&mut self.kept), std::mem::take(&mut self.pending));
            let (number, encoder) = (self.number, open.encoder);
            submission.push_batch(Batch { number, encoder, staged, exposed, kept, pending });
            self.number += 1;
        }
    }

    /// Returns the number of the next batch for something else that the device finishes. No batch is open.
    #[cfg(any(target_arch = "wasm32", test))]
    fn take_number(&mut self) -> u64 {
        self.number += 1;
        self.number - 1
    }

    /// The number of the batch that was appended last.
    pub(super) fn newest_batch(&self) -> u64 {
        self.number - 1
    }

    /// Ends the open batch if it is old. Returns whether it was old, and the time until the next check: `None` if no
    /// batch was recorded since the last check.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn close_if_old(&mut self, submission: &Submission) -> (bool, Option<Duration>) {
        let age = self.open.as_ref().map(Open::age);
        let is_old = age.is_some_and(|age| age >= self.due_age);
        if is_old {
            self.close(submission);
        }
        let is_active = self.open.is_some() || self.number != self.number_seen;
        self.number_seen = self.number;
        self.is_watched = is_active;
        let pause = self.due_age.saturating_sub(age.filter(|_| !is_old).unwrap_or_default());
        (is_old, is_active.then_some(pause))
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(super) const fn has_open_batch(&self) -> bool {
        self.open.is_some()
    }

    #[cfg(test)]
    pub(super) fn set_due_age(&mut self, age: Duration) {
        self.due_age = age;
    }

    pub(super) fn drop_caches(&mut self) {
        self.staging.drop_idle();
        if self.open.is_none() {
            (self.bounce_buffer, self.merger) = (None, None);
            #[cfg(feature = "tensor")]
            self.dispatches.drop_ring();
        }
    }

    /// Drops the kernel that copies.
    pub(super) fn drop_copier(&mut self) {
        self.copier = None;
    }

    #[cfg(feature = "tensor")]
    pub(super) fn drop_groups(&mut self) {
        self.dispatches.drop_groups();
    }

    /// Returns the usage of the recorder's caches.
    pub(super) fn caches(&self) -> Vec<CacheUse> {
        let bounce_buffer = self.bounce_buffer_bytes();
        let bounce = CacheUse {
            entries: u64::from(bounce_buffer > 0),
            most_entries: Some(1),
            bytes: Some(bounce_buffer),
            most_bytes: Some(BOUNCE_BUFFER_BYTES),
            ..CacheUse::named("bounce buffer")
        };
        let copier = CacheUse {
            entries: u64::from(self.copier.is_some()),
            most_entries: Some(1),
            ..CacheUse::named("kernel for copies")
        };
        let caches = vec![self.staging.usage(), bounce, copier];
        #[cfg(feature = "tensor")]
        let caches = [self.dispatches.caches().to_vec(), caches].concat();
        caches
    }

    /// Keeps a buffer of the crate's own until the open batch, or the next batch if none is open, is submitted.
    pub(super) fn keep(&mut self, buffer: &Arc<OwnBuffer>) {
        if !self.kept.iter().any(|kept| Arc::ptr_eq(kept, buffer)) {
            self.kept.push(Arc::clone(buffer));
        }
    }

    fn bounce_buffer_bytes(&self) -> u64 {
        self.bounce_buffer.as_ref().map_or(0, |buffer| buffer.size())
    }

    /// Notes that the open batch, or the next batch if none is open, uses a segment.
    fn uses(&mut self, segment: &GpuSegment) {
        if segment.used_in(self.number) {
            self.exposed.push(segment.clone());
        }
    }

    fn open(&mut self, gpu: &Gpu) -> Result<&mut Open, DeviceError> {
        if self.open.is_none() {
            self.open = Some(Open::new(gpu)?);
            #[cfg(not(target_arch = "wasm32"))]
            gpu.submission.note_thread();
            if !self.is_watched && !self.checks_age {
                self.is_watched = true;
                self.checks_age = !gpu.submission.watch_open_batch();
            }
        }
        Ok(self.open.as_mut().expect("a batch was just opened"))
    }

    /// Returns the encoder outside any pass, for a copy.
    pub(super) fn encoder(&mut self, gpu: &Gpu) -> Result<&mut wgpu::CommandEncoder, DeviceError> {
        let open = self.open(gpu)?;
        open.pass = None;
        open.commands += 1;
        Ok(&mut open.encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Commands, DeviceStatus, Location, Memory, Submit};
    use crate::heap::{Heap, HeapOptions, SubPool};

    fn gpu_and_place() -> Result<(Gpu, Location<GpuSegment>), Box<dyn std::error::Error>> {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let gpu = Gpu::from_device(device, queue);
        let mut heap = Heap::new(HeapOptions { granule: 256, small_limit: 1 << 20 })?;
        let id = heap.add_segment(SubPool::Small, 256)?;
        let place = Location { id, segment: gpu.create_segment(256)?, offset: 0, size: 256 };
        Ok((gpu, place))
    }

    #[test]
    fn the_batch_size_doubles_until_a_batch_is_submitted_early() -> Result<(), Box<dyn std::error::Error>> {
        let (gpu, place) = gpu_and_place()?;
        gpu.submission.recorder().due_age = Duration::MAX;
        let record = || -> Result<bool, DeviceError> {
            let mut commands = gpu.commands();
            commands.clear(&place)?;
            Ok(commands.due())
        };
        let commands_of_a_batch = || -> Result<u32, DeviceError> {
            let mut commands = 1;
            while !record()? {
                commands += 1;
            }
            gpu.submit(Submit::Now)?;
            Ok(commands)
        };
        for wanted in [16, 32, 64, 128, 128] {
            assert_eq!(commands_of_a_batch()?, wanted);
        }
        assert!(!record()?);
        gpu.submit(Submit::Now)?;
        assert_eq!(commands_of_a_batch()?, 16);
        Ok(())
    }

    #[test]
    fn a_batch_holds_only_commands_that_depend_on_the_same_pending_verdicts() -> Result<(), Box<dyn std::error::Error>>
    {
        let (gpu, place) = gpu_and_place()?;
        gpu.submission.recorder().due_age = Duration::MAX;
        let verdicts = Arc::clone(gpu.submission.health().verdicts());
        let pending = || -> Result<_, Box<dyn std::error::Error>> {
            let (verdict, ruling) = verdicts.open();
            Ok((Location { segment: gpu.create_segment(256)?.with_verdict(verdict), ..place.clone() }, ruling))
        };
        let [(one, answer_one), (other, answer_other)] = [pending()?, pending()?];
        let clear = |place: &Location<GpuSegment>| -> Result<u64, DeviceError> {
            gpu.commands().clear(place)?;
            Ok(gpu.submission.recorder().number)
        };
        let numbers = [&place, &place, &one, &one, &other, &one, &place].map(clear);
        assert_eq!(numbers, [1, 1, 2, 2, 3, 4, 5].map(Ok));
        assert!(gpu.commands().due(), "a batch that was ended early is submitted soon");
        gpu.submit(Submit::Now)?;
        assert!(!gpu.commands().due());
        assert_eq!([&one, &place].map(clear), [6, 7].map(Ok));
        // An accepted segment needs no further checks.
        drop(answer_one);
        assert_eq!([&one, &place].map(clear), [7, 7].map(Ok));
        // Commands on a refused segment are not recorded.
        let refused = DeviceError::Refused { bytes: 256 };
        answer_other.give(Err(refused.clone()), drop);
        assert_eq!([&other, &place].map(clear), [Err(refused), Ok(7)]);
        Ok(())
    }

    /// The case of browsers.
    #[test]
    fn a_refused_unit_merger_is_alone_in_its_batch_and_is_replaced() -> Result<(), Box<dyn std::error::Error>> {
        let (gpu, place) = gpu_and_place()?;
        gpu.submission.recorder().due_age = Duration::MAX;
        let (verdict, ruling) = gpu.submission.health().verdicts().open();
        let mut merger = UnitMerger::new(&gpu)?;
        let units = Arc::into_inner(merger.units).ok_or("nothing uses it yet")?;
        merger.units = Arc::new(units.with_verdict(verdict));
        gpu.submission.recorder().merger = Some(merger);
        let [from, to] = [place.part(0, 4)?, place.part(8, 4)?];
        let numbers = || -> Result<[u64; 2], DeviceError> {
            gpu.commands().copy_part_of_unit(&from, &to, 3)?;
            let first = gpu.submission.recorder().number;
            gpu.commands().clear(&place)?;
            Ok([first, gpu.submission.recorder().number])
        };
        assert_eq!(numbers()?, [1, 2]);
        let refused = DeviceError::Refused { bytes: 8 };
        ruling.give(Err(refused.clone()), |error| gpu.submission.health().latch(error));
        assert_eq!(numbers(), Err(refused));
        assert!(gpu.clear_fault().is_some());
        assert_eq!(numbers()?, [2, 2]);
        Ok(())
    }

    /// Of more than 64 KiB, in browsers.
    #[test]
    fn a_write_through_the_queue_counts_as_a_batch_until_the_device_has_finished_it()
    -> Result<(), Box<dyn std::error::Error>> {
        let (gpu, place) = gpu_and_place()?;
        gpu.commands().clear(&place)?;
        gpu.submit(Submit::Now)?;
        let number = gpu.submission.recorder().take_number();
        assert_eq!((number, gpu.submission.recorder().newest_batch()), (2, 2));
        gpu.submission.note_write(number);
        gpu.poll();
        assert_eq!(gpu.submission.fence().finished(), 2);
        gpu.commands().clear(&place)?;
        assert_eq!(gpu.submission.recorder().number, 3);
        Ok(())
    }

    /// The case of GL and of browsers.
    #[test]
    fn without_a_submission_thread_every_command_checks_the_age_of_its_batch() -> Result<(), Box<dyn std::error::Error>>
    {
        let (gpu, place) = gpu_and_place()?;
        {
            let mut recorder = gpu.submission.recorder();
            (recorder.checks_age, recorder.due_age) = (true, Duration::ZERO);
        }
        for _ in 0..3 {
            let mut commands = gpu.commands();
            commands.clear(&place)?;
            assert!(commands.due());
        }
        Ok(())
    }
}
