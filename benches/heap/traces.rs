//! The events of real programs on the heap alone.

use crate::contenders::{Contender, GRANULE, Offsets, OurHeap};
use crate::rounds::{self, Times};
use crate::trace::{Event, Trace};
use std::error::Error;
use std::path::Path;
use std::time::Instant;

pub(crate) fn compare(path: &Path, rounds: u32) -> Result<(), Box<dyn Error>> {
    let trace = Trace::open(path)?;
    let events: Vec<(u32, u32)> = trace.events.iter().map(compiled).collect::<Result<_, _>>()?;
    // Twice the memory that the program needs: the benchmark measures time, not packing.
    let arena = u32::try_from(trace.peak_requested * 2 / GRANULE + u64::from(trace.slots))?;
    let mut ours = Run { contender: OurHeap::new(arena, trace.slots), live: vec![None; trace.slots as usize] };
    let mut offsets = Run { contender: Offsets::new(arena, trace.slots), live: vec![None; trace.slots as usize] };
    let mut times = [(); 2].map(|()| Times::new());
    for round in 0..rounds + 1 {
        let both = [ours.round(&events), offsets.round(&events)];
        if round > 0 {
            for (times, time) in times.iter_mut().zip(both) {
                times.push(time);
            }
        }
    }
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    rounds::print_head("trace, ns an event (ratio)", &[OurHeap::NAME, Offsets::NAME]);
    rounds::print(&name, &times);
    Ok(())
}

/// The slot, and the granules to allocate; 0 to free.
fn compiled(event: &Event) -> Result<(u32, u32), std::num::TryFromIntError> {
    match *event {
        Event::Allocate { slot, bytes } => Ok((slot, u32::try_from(bytes.div_ceil(GRANULE).max(1))?)),
        Event::Free { slot } => Ok((slot, 0)),
    }
}

struct Run<C: Contender> {
    contender: C,
    live: Vec<Option<C::Block>>,
}

impl<C: Contender> Run<C> {
    /// Returns the nanoseconds per event. Blocks that are still live at the end are freed after the clock has stopped.
    fn round(&mut self, events: &[(u32, u32)]) -> f64 {
        let start = Instant::now();
        for &(slot, granules) in events {
            let place = &mut self.live[slot as usize];
            if granules > 0 {
                *place = Some(self.contender.allocate(granules).expect("there is room"));
            } else if let Some(block) = place.take() {
                self.contender.free(block);
            }
        }
        let time = start.elapsed().as_secs_f64() * 1e9 / events.len() as f64;
        for block in self.live.iter_mut().filter_map(Option::take) {
            self.contender.free(block);
        }
        time
    }
}
