//! The thread that takes batches to the queue while the program goes on recording.
//!
//! Beside an H100 a launch costs the program's thread 1.0 to 1.3 µs, encoding it another 2.2, and the device's own wait between two that
//! depend on each other is 2.4. So a program that encodes for itself keeps the device waiting; with a courier it only records. A
//! program that is far ahead encodes, too: what is recorded and not encoded stays bounded without anybody waiting.

use super::super::lock;
use super::{Batch, Contents, Item, Outbox};
use crate::error::DeviceError;
use std::sync::{Arc, MutexGuard, PoisonError};

/// Batches that wait for the courier before the program helps: what CUDA lets a program be ahead, 1,024 launches.
const MOST_BEHIND: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Courier {
    state: State,
    /// The newest batch that is left to it.
    wanted: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    NotYet,
    Serving,
    /// The system has no thread for it, or it ended in a panic of the program's.
    Refused,
    /// The memory is given up: what is in the outbox is the last.
    Leaving,
}

/// Dismisses a courier in which a callback of the program's panicked.
struct Serving<'a>(&'a Outbox);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.0.contents).courier.state = State::Refused;
        }
    }
}

impl Outbox {
    /// Has the courier empty the outbox; encodes the newest batch meanwhile if the courier is far behind. Without a courier,
    /// empties it. Called without any lock.
    ///
    /// # Errors
    /// As [`Outbox::empty`], of what this call submitted. Of what the courier does the memory's progress tells.
    pub(in super::super) fn deliver(self: &Arc<Self>) -> Result<(), DeviceError> {
        if !self.has_courier() {
            return self.empty();
        }
        let mut contents = lock(&self.contents);
        contents.courier.wanted = contents.closed;
        self.called.notify_one();
        drop(self.help(contents, MOST_BEHIND));
        Ok(())
    }

    /// Encodes the newest batch, if more than `spare` are to be encoded; else gives the contents back.
    pub(super) fn help<'a>(
        &self,
        mut contents: MutexGuard<'a, Contents>,
        spare: usize,
    ) -> Option<MutexGuard<'a, Contents>> {
        let Some(batch) = contents.lend_newest(spare) else { return Some(contents) };
        drop(contents);
        let batch = batch.encode(&self.device, &self.progress);
        let mut contents = lock(&self.contents);
        contents.take_back(batch);
        self.tell_others(&contents);
        None
    }

    /// Whether there is a courier; the first call has it come.
    fn has_courier(self: &Arc<Self>) -> bool {
        {
            let mut contents = lock(&self.contents);
            match contents.courier.state {
                State::NotYet => contents.courier.state = State::Serving,
                state => return state == State::Serving,
            }
        }
        let outbox = Arc::clone(self);
        let refused = self.helpers.spawn("wgpu-pool courier", move || outbox.serve()).err();
        if let Some(error) = &refused {
            log::warn!("wgpu-pool: no thread to submit commands, so the program's own do: {error}");
            lock(&self.contents).courier.state = State::Refused;
        }
        refused.is_none()
    }

    /// The thread: submits what is left to it, until the memory is given up.
    fn serve(&self) {
        let _until_panic = Serving(self);
        let this_thread = std::thread::current().id();
        loop {
            // The error is noted, and the program's next call returns it.
            let _ = self.empty_while(Contents::is_wanted);
            let mut contents = lock(&self.contents);
            while !contents.is_wanted() || contents.is_elsewhere(this_thread) {
                if contents.courier.state == State::Leaving {
                    return;
                }
                contents = self.called.wait(contents).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Has the courier submit what is left to it, and leave.
    pub(in super::super) fn close(&self) {
        lock(&self.contents).courier.state = State::Leaving;
        self.called.notify_one();
        self.helpers.part();
    }
}

impl Contents {
    /// Whether something is left to the courier.
    pub(super) fn is_wanted(&self) -> bool {
        self.handed_over < self.courier.wanted && !self.items.is_empty()
    }

    /// Takes the newest batch out to be encoded, if more than `spare` are.
    fn lend_newest(&mut self, spare: usize) -> Option<Batch> {
        let is_recorded = |item: &&mut Item| matches!(item, Item::Submit(batch) if batch.is_recorded());
        let place = self.items.iter_mut().filter(is_recorded).skip(spare).last()?;
        let Item::Submit(batch) = place else { return None };
        let lent = Item::Lent(batch.number);
        match std::mem::replace(place, lent) {
            Item::Submit(batch) => Some(batch),
            Item::Lent(_) | Item::Destroy(..) => None,
        }
    }

    /// Puts a batch back into its place.
    fn take_back(&mut self, batch: Batch) {
        let number = batch.number;
        let is_its_place = |item: &&mut Item| matches!(item, Item::Lent(lent) if *lent == number);
        let place = self.items.iter_mut().find(is_its_place).expect("a batch that is lent has its place");
        *place = Item::Submit(batch);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::wait::MOST_IN_FLIGHT;
    use super::*;
    use crate::device::{Commands, Gpu, Location, Memory};
    use crate::heap::{Heap, HeapOptions, SubPool};
    use std::sync::atomic::Ordering;
    use std::sync::mpsc;

    type Tested = Result<(), Box<dyn std::error::Error>>;

    struct Program {
        gpu: Gpu,
        place: Location<crate::device::GpuSegment>,
    }

    impl Program {
        fn new() -> Result<Self, Box<dyn std::error::Error>> {
            let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
            let gpu = Gpu::from_device(device, queue);
            let mut heap = Heap::new(HeapOptions { granule: 256, small_limit: 1 << 20 })?;
            let id = heap.add_segment(SubPool::Small, 256)?;
            let place = Location { id, segment: gpu.create_segment(256)?, offset: 0, size: 256 };
            Ok(Self { gpu, place })
        }

        /// A batch that the courier is to have.
        fn batch(&self) -> Result<(), DeviceError> {
            self.gpu.commands().clear(&self.place)?;
            self.gpu.submit_soon()
        }

        /// Acts in a callback on the courier's thread, in the middle of a submission.
        fn on_courier(&self, act: impl FnOnce() + Send + 'static) -> Result<(), DeviceError> {
            // The courier's first batch is done when it submits the second.
            self.gpu.queue.on_submitted_work_done(act);
            self.batch()
        }

        /// Has the courier wait in a callback, in the middle of a submission, until it is told to go on.
        fn held_courier(&self) -> Result<mpsc::Sender<()>, Box<dyn std::error::Error>> {
            let ((arrived, arrival), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel());
            self.on_courier(move || {
                arrived.send(std::thread::current().name().map(str::to_owned)).expect("the test listens");
                may_go_on.recv().expect("the test goes on");
            })?;
            assert_eq!(arrival.recv()?.as_deref(), Some("wgpu-pool courier"));
            Ok(go_on)
        }

        /// Batches in the outbox that are still to be encoded, and those that are encoded.
        fn waiting(&self) -> [usize; 2] {
            let contents = lock(&self.gpu.outbox.contents);
            [true, false].map(|recorded| {
                let is_such = |item: &&Item| matches!(item, Item::Submit(batch) if batch.is_recorded() == recorded);
                contents.items.iter().filter(is_such).count()
            })
        }
    }

    #[test]
    fn a_program_far_ahead_of_the_courier_encodes_and_never_waits() -> Tested {
        let program = Program::new()?;
        let go_on = program.held_courier()?;
        for _ in 0..MOST_BEHIND + 5 {
            program.batch()?;
        }
        assert_eq!(program.waiting(), [MOST_BEHIND, 5]);
        go_on.send(())?;
        program.gpu.wait()?;
        assert_eq!(program.waiting(), [0, 0]);
        let batches = MOST_BEHIND as u64 + 6;
        assert_eq!(program.gpu.progress.completed.load(Ordering::Acquire), batches);
        Ok(())
    }

    #[test]
    fn a_program_is_held_back_before_commands_pile_up() -> Tested {
        let program = Program::new()?;
        let go_on = program.held_courier()?;
        std::thread::scope(|scope| -> Tested {
            let endless = scope.spawn(|| (0..1000).try_for_each(|_| program.batch()));
            while program.gpu.outbox.newest() <= MOST_IN_FLIGHT {
                std::thread::yield_now();
            }
            // Long enough for all of them.
            std::thread::sleep(std::time::Duration::from_millis(50));
            let recorded = program.gpu.outbox.newest();
            go_on.send(())?;
            endless.join().expect("it doesn't panic")?;
            assert_eq!(recorded, MOST_IN_FLIGHT + 1);
            Ok(())
        })?;
        program.gpu.wait()?;
        assert_eq!(program.gpu.progress.completed.load(Ordering::Acquire), 1001);
        Ok(())
    }

    #[test]
    fn trying_to_submit_leaves_to_the_courier_what_it_is_at() -> Tested {
        let program = Program::new()?;
        let go_on = program.held_courier()?;
        program.gpu.commands().clear(&program.place)?;
        program.gpu.try_submit()?;
        assert_eq!(program.waiting(), [1, 0]);
        go_on.send(())?;
        program.gpu.wait()?;
        program.gpu.commands().clear(&program.place)?;
        program.gpu.try_submit()?;
        assert_eq!(program.waiting(), [0, 0]);
        Ok(())
    }

    #[test]
    fn whoever_waits_for_the_courier_encodes_meanwhile() -> Tested {
        let program = Program::new()?;
        let go_on = program.held_courier()?;
        for _ in 0..3 {
            program.batch()?;
        }
        assert_eq!(program.waiting(), [3, 0]);
        std::thread::scope(|scope| -> Tested {
            let waiting = scope.spawn(|| program.gpu.wait());
            while program.waiting() != [0, 3] {
                std::thread::yield_now();
            }
            go_on.send(())?;
            Ok(waiting.join().expect("waiting doesn't panic")?)
        })?;
        assert_eq!(program.gpu.progress.completed.load(Ordering::Acquire), 4);
        Ok(())
    }

    #[test]
    fn a_callback_that_panics_ends_the_courier_and_nothing_else() -> Tested {
        let program = Program::new()?;
        program.on_courier(|| panic!("a callback of the program's, on purpose"))?;
        while lock(&program.gpu.outbox.contents).courier.state != State::Refused {
            std::thread::yield_now();
        }
        program.batch()?;
        assert_eq!(program.waiting(), [0, 0]);
        Ok(program.gpu.wait()?)
    }

    #[test]
    fn the_courier_leaves_with_the_memory() -> Tested {
        let program = Program::new()?;
        for _ in 0..5 {
            program.batch()?;
        }
        let outbox = Arc::downgrade(&program.gpu.outbox);
        drop(program);
        assert!(outbox.upgrade().is_none());
        Ok(())
    }
}
