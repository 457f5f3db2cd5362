//! Replays a trace as CubeCL's wgpu server executes a client's calls.

use crate::DEVICE;
use crate::storage::{Buffers, Copies};
use cubecl_server::logging::ServerLogger;
use cubecl_server::memory_management::{
    ErrorGraph, ManagedMemoryHandle, MemoryConfiguration, MemoryManagement, MemoryManagementOptions, PageUpdate,
};
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The number of replays in the same manager after the first; their median is the warm time.
const WARM_REPLAYS: usize = 7;

pub(crate) enum Event {
    Allocate { id: usize, bytes: u64 },
    Free { id: usize },
}

/// Reads a trace in the format of tests/data/README.md.
pub(crate) fn read(source: impl Read) -> Result<Vec<Event>, String> {
    let parse = |line: &str| match *line.split(' ').collect::<Vec<_>>() {
        ["a", id, bytes] => Some(Event::Allocate { id: id.parse().ok()?, bytes: bytes.parse().ok()? }),
        ["f", id] => Some(Event::Free { id: id.parse().ok()? }),
        _ => None,
    };
    let event = |line: std::io::Result<String>| {
        let line = line.map_err(|error| error.to_string())?;
        parse(&line).ok_or_else(|| format!("not an event: {line}"))
    };
    BufReader::new(source).lines().map(event).collect()
}

pub(crate) struct Figures {
    pub(crate) peak_requested: u64,
    /// The peak of the bytes of all buffers in the first replay, and the number of buffers that it created.
    pub(crate) peak_held: u64,
    pub(crate) buffers: u64,
    pub(crate) ns_per_event_warm: f64,
}

/// Replays the events in one manager: once with checks, then for the time.
pub(crate) fn measure(events: &[Event], configuration: MemoryConfiguration) -> Result<Figures, String> {
    let mut server = Server::new(configuration);
    let mut peak_requested = 0;
    server.replay(events, |server| {
        peak_requested = peak_requested.max(server.requested);
        server.check()
    })?;
    let (peak_held, buffers) = (server.memory.storage().peak, server.memory.storage().created);
    let mut times = Vec::with_capacity(WARM_REPLAYS);
    for _ in 0..WARM_REPLAYS {
        times.push(server.replay(events, |_| Ok(()))?);
    }
    times.sort();
    let ns_per_event_warm = times[WARM_REPLAYS / 2].as_nanos() as f64 / events.len() as f64;
    Ok(Figures { peak_requested, peak_held, buffers, ns_per_event_warm })
}

/// The part of the wgpu server that allocates, and the handles of its client.
struct Server {
    memory: MemoryManagement<Buffers>,
    failures: ErrorGraph,
    /// The handle and the requested bytes, by id.
    live: Vec<Option<(ManagedMemoryHandle, u64)>>,
    /// The sums of all live allocations: requested bytes, and bytes as the client rounds them.
    requested: u64,
    rounded: u64,
    relocations: u64,
}

impl Server {
    fn new(configuration: MemoryConfiguration) -> Self {
        let (storage, logger) = (Buffers::default(), Arc::new(ServerLogger::default()));
        let options = MemoryManagementOptions::new("Main GPU Memory");
        let memory = MemoryManagement::from_configuration(storage, &DEVICE, configuration, logger, options);
        Self { memory, failures: ErrorGraph::default(), live: Vec::new(), requested: 0, rounded: 0, relocations: 0 }
    }

    /// Executes an event. An allocation is `client.empty`: the client rounds the size up (`ContiguousMemoryLayoutPolicy`); the server moves
    /// allocations if the manager asks for it, reserves, and binds the client's handle (`WgpuServer::initialize_memory`).
    fn execute(&mut self, event: &Event) -> Result<(), String> {
        match *event {
            Event::Allocate { id, bytes } => {
                if let Some(reason) = self.memory.relocation_need().reason(|| self.memory.bytes_allocated()) {
                    self.memory.relocate(&mut Copies, reason, &mut self.failures);
                    self.relocations += 1;
                }
                let (size, failures) = (bytes.next_multiple_of(DEVICE.alignment), &mut self.failures);
                let reserved =
                    self.memory.reserve(size, PageUpdate::Allow, failures).map_err(|error| error.to_string())?;
                let handle = ManagedMemoryHandle::new();
                self.memory.bind(reserved, handle.clone(), 0, failures).map_err(|error| error.to_string())?;
                *self.live.get_mut(id).ok_or("ids do not count up from 0")? = Some((handle, bytes));
                self.requested += bytes;
                self.rounded += size;
            }
            Event::Free { id } => {
                let (handle, bytes) = self.live.get_mut(id).and_then(Option::take).ok_or("nothing to free")?;
                drop(handle);
                self.requested -= bytes;
                self.rounded -= bytes.next_multiple_of(DEVICE.alignment);
            }
        }
        Ok(())
    }

    /// Executes the events, calls `after` after each one, and drops the rest. Returns the time of the events.
    fn replay(
        &mut self,
        events: &[Event],
        mut after: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<Duration, String> {
        self.live.resize_with(events.len(), || None);
        let start = Instant::now();
        for (number, event) in events.iter().enumerate() {
            self.execute(event).and_then(|()| after(self)).map_err(|error| format!("line {}: {error}", number + 1))?;
        }
        let time = start.elapsed();
        self.live.clear();
        (self.requested, self.rounded) = (0, 0);
        Ok(time)
    }

    /// Compares the trace with what the manager reports, and the report with the buffers.
    fn check(&self) -> Result<(), String> {
        let (held, usage) = (self.memory.bytes_allocated(), self.memory.memory_report().usage());
        if usage.bytes_in_use == self.rounded && usage.bytes_reserved == held && held >= self.requested {
            return Ok(());
        }
        Err(format!("{} requested bytes, {} rounded, {held} in buffers, but {usage:?}", self.requested, self.rounded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn server() -> Server {
        Server::new(MemoryConfiguration::Adaptive)
    }

    #[test]
    fn buffers_are_counted_until_they_are_released() {
        // A page of 8 MiB for small allocations and one of 3 + 1 MiB, which is released after the one of 5 + 1 MiB is created.
        let trace = "a 0 100\na 1 3145728\na 2 5242880\nf 1\na 3 1000000\nf 2\n";
        let events = read(trace.as_bytes()).expect("a valid trace");
        let figures = measure(&events, MemoryConfiguration::Adaptive).expect("a valid trace");
        assert_eq!((figures.peak_requested, figures.peak_held, figures.buffers), (100 + 8 * MIB, 18 * MIB, 3));
        let mut server = server();
        server.replay(&events, |_| Ok(())).expect("a valid trace");
        assert_eq!(server.memory.bytes_allocated(), 14 * MIB);
    }

    #[test]
    fn allocations_move_when_the_manager_has_no_more_page_sizes() {
        // A page has 1 MiB to spare, so that each of these needs larger pages, while the one before stays where it is.
        let events: Vec<Event> = (0..70).map(|id| Event::Allocate { id, bytes: 2 * (id as u64 + 1) * MIB }).collect();
        let mut server = server();
        server.replay(&events, |server| server.check()).expect("a valid trace");
        assert!(server.relocations > 0);
    }

    #[test]
    fn faults_name_their_line() {
        for trace in ["f 0\n", "a 0 2147483649\n", "a 9 1\n"] {
            let fault = server().replay(&read(trace.as_bytes()).expect("events"), |_| Ok(())).expect_err("faulty");
            assert!(fault.starts_with("line 1: "), "{fault}");
        }
        assert!(read("a 0 1\nb 1 1\n".as_bytes()).is_err());
    }
}
