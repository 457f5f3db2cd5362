//! Memory snapshots of PyTorch: what `torch.cuda.memory._dump_snapshot` writes as pickle, or `_snapshot` converted to JSON. The files that
//! this crate writes for PyTorch's page memory_viz have the same structure.
//!
//! The history (`device_traces`) is a list of events for each device, the newest of which are kept. A block was therefore allocated before
//! the first event if it is freed without having been allocated, or is in use at the end and was not allocated. Such blocks come first, by
//! address. A block is freed by the event `free_requested`, not by `free_completed`: in the pool all commands have one order, so it need not
//! wait for other streams as PyTorch does. A history without `free_requested` (`skip_actions`) frees by `free_completed`.

use super::{Addresses, nesting};
use crate::fault::Fault;
use crate::trace::Trace;
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};

/// The format of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Pickle,
    Json,
}

impl Format {
    /// The format of a file that starts with these bytes, if it is a snapshot.
    pub(crate) fn of(start: &[u8]) -> Option<Self> {
        /// The operation code that begins each pickle since protocol 2.
        const PROTOCOL: u8 = 0x80;
        match start.trim_ascii_start() {
            [b'{', ..] => Some(Self::Json),
            [PROTOCOL, ..] => Some(Self::Pickle),
            // A dictionary in the protocols 0 and 1.
            [b'(', b'd', ..] | [b'}', b'q', ..] => Some(Self::Pickle),
            _ => None,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Snapshot {
    #[serde(default)]
    segments: Vec<Segment>,
    device_traces: Vec<Vec<Entry>>,
}

#[derive(Debug, Deserialize)]
struct Segment {
    #[serde(default)]
    device: usize,
    address: u64,
    blocks: Vec<Block>,
}

#[derive(Debug, Deserialize)]
struct Block {
    size: u64,
    requested_size: Option<u64>,
    state: String,
}

/// An event of the history. An event of another kind may lack the address.
#[derive(Debug, Deserialize)]
struct Entry {
    action: String,
    addr: Option<u64>,
    #[serde(default)]
    size: u64,
}

/// Reads the history of a device: of `device`, or of the only one that has a history.
pub(crate) fn read(format: Format, bytes: &[u8], device: Option<usize>) -> Result<Trace, Fault> {
    let snapshot: Snapshot = match format {
        Format::Json => serde_json::from_slice(bytes).map_err(|error| Fault::NoSnapshot(error.to_string()))?,
        Format::Pickle => {
            if !nesting::is_bounded(bytes) {
                return Err(Fault::TooDeep { most: nesting::MOST });
            }
            // The library takes a value that is referred to inside several copies of another for a recursive structure. Only frames are,
            // which are ignored.
            let options = serde_pickle::DeOptions::new().replace_unresolved_globals().replace_recursive_structures();
            serde_pickle::from_slice(bytes, options).map_err(|error| Fault::NoSnapshot(error.to_string()))?
        }
    };
    let device = snapshot.device(device)?;
    let before = snapshot.allocated_before(device);
    let mut addresses = Addresses::default();
    for (address, bytes) in before {
        addresses.allocate(address, bytes)?;
    }
    for (event, entry) in snapshot.device_traces[device].iter().enumerate() {
        let Some(address) = entry.addr else { continue };
        let done = match entry.action.as_str() {
            "alloc" => addresses.allocate(address, entry.size),
            "free_requested" | "free" => addresses.free(address).map(drop),
            // Frees only where the history lacks the request.
            "free_completed" if addresses.is_in_use(address) => addresses.free(address).map(drop),
            _ => Ok(()),
        };
        done.map_err(|fault| Fault::Event { event, device, fault: Box::new(fault) })?;
    }
    Ok(addresses.finish())
}

impl Snapshot {
    fn device(&self, wanted: Option<usize>) -> Result<usize, Fault> {
        let with: Vec<usize> = (0..self.device_traces.len()).filter(|&n| !self.device_traces[n].is_empty()).collect();
        let listed = || with.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        match (wanted, &with[..]) {
            (_, []) => Err(Fault::NoHistory),
            (Some(device), _) if with.contains(&device) => Ok(device),
            (Some(device), _) => Err(Fault::NoSuchDevice { device, with: listed() }),
            (None, &[device]) => Ok(device),
            (None, _) => Err(Fault::SeveralDevices { with: listed() }),
        }
    }

    /// The addresses and bytes of the blocks that were in use before the first event.
    fn allocated_before(&self, device: usize) -> BTreeMap<u64, u64> {
        let mut before = BTreeMap::new();
        let history = &self.device_traces[device];
        let has_requests = history.iter().any(|entry| entry.action == "free_requested");
        // Addresses with an event so far.
        let mut seen = HashSet::new();
        for entry in history {
            let Some(address) = entry.addr else { continue };
            let frees = match entry.action.as_str() {
                "free_requested" | "free" => true,
                // The request came before the history, unless no request is in it.
                "free_completed" => !has_requests,
                "alloc" => false,
                _ => continue,
            };
            if seen.insert(address) && frees {
                before.insert(address, entry.size);
            }
        }
        for segment in self.segments.iter().filter(|segment| segment.device == device) {
            let mut address = segment.address;
            for block in &segment.blocks {
                if block.state == "active_allocated" && !seen.contains(&address) {
                    before.insert(address, block.requested_size.unwrap_or(block.size));
                }
                address = address.saturating_add(block.size);
            }
        }
        before
    }
}
