//! Export to the file that PyTorch's memory_viz page loads.
//!
//! The page shows a stack of frames for each block, innermost first. The innermost frame is the line that allocated the
//! block, named by the block's label. The scopes that were open follow as separate frames, from the innermost to the
//! outermost.
//!
//! Three properties of the page constrain the file. It computes addresses by summing sizes, so blocks must tile their
//! segment. It stores addresses as floating point, so they must stay below 2^53. It passes a pickled batch as function
//! arguments, so a batch must have at most 1,000 items, which is the pickle library's limit.

use super::SnapshotFileError;
use super::addresses::Addresses;
use super::labels::event_labels;
use super::pickle;
use super::timeline::{MemoryUse, timeline};
use crate::pool::snapshot::{BlockOrigin, BlockSnapshot, EventKind, EventSnapshot, SegmentSnapshot, Site, Snapshot};
use serde::Serialize;

#[derive(Serialize)]
struct Page<'a> {
    segments: Vec<Segment<'a>>,
    device_traces: Vec<Vec<TraceEntry<'a>>>,
    allocator_settings: Settings<'a>,
}

#[derive(Serialize)]
struct Settings<'a> {
    allocator: &'static str,
    version: &'static str,
    memory: &'a str,
    granule: u64,
    limit: Option<u64>,
}

#[derive(Serialize)]
struct Segment<'a> {
    device: u32,
    address: u64,
    total_size: u64,
    allocated_size: u64,
    active_size: u64,
    requested_size: u64,
    stream: u32,
    segment_type: String,
    segment_pool_id: [u32; 2],
    is_expandable: bool,
    frames: Vec<Frame<'a>>,
    blocks: Vec<Block<'a>>,
}

#[derive(Serialize)]
struct Block<'a> {
    address: u64,
    size: u64,
    requested_size: u64,
    state: &'static str,
    frames: Vec<Frame<'a>>,
}

#[derive(Serialize)]
struct TraceEntry<'a> {
    action: &'static str,
    /// Absent in the entry of an out-of-memory error.
    #[serde(skip_serializing_if = "Option::is_none")]
    addr: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_free: Option<u64>,
    size: u64,
    stream: u32,
    time_us: u64,
    frames: Vec<Frame<'a>>,
}

#[derive(Clone, Serialize)]
struct Frame<'a> {
    filename: &'a str,
    line: u32,
    name: &'a str,
}

/// The name of the frame of a block without a label.
const UNLABELLED: &str = "allocate";
/// The file name in a scope's frame.
const SCOPE: &str = "scope";

impl Snapshot {
    /// Returns the JSON file that PyTorch's memory_viz page loads. O(blocks + events).
    ///
    /// The page has no event for a move, so a move is exported as a free and an allocation.
    ///
    /// # Errors
    /// [`SnapshotFileError::TooLarge`] if an address does not fit: a segment above 64 GiB, or more than 2^17 − 1
    /// segments.
    pub fn to_memory_viz_json(&self) -> Result<String, SnapshotFileError> {
        Ok(serde_json::to_string(&self.page()?).expect("every field is a number, a text or a list of these"))
    }

    /// Returns the same file as a pickle of protocol 2, for older copies of the page and `_memory_viz.py`. Integers
    /// have the shortest encoding, as in Python's pickler. O(blocks + events).
    ///
    /// # Errors
    /// As [`to_memory_viz_json`](Self::to_memory_viz_json).
    pub fn to_memory_viz_pickle(&self) -> Result<Vec<u8>, SnapshotFileError> {
        let options = serde_pickle::SerOptions::new().proto_v2();
        let pickle = serde_pickle::to_vec(&self.page()?, options);
        Ok(pickle::shortened(pickle.expect("every field is a number, a text or a list of these")))
    }

    fn page(&self) -> Result<Page<'_>, SnapshotFileError> {
        let addresses = Addresses::of(self)?;
        let allocator_settings = Settings {
            allocator: "wgpu-pool",
            version: env!("CARGO_PKG_VERSION"),
            memory: &self.memory,
            granule: number(self.granule),
            limit: self.limit.map(number),
        };
        let segments = self.segments.iter().map(|segment| self.page_segment(&addresses, segment)).collect();
        let events = timeline(self).into_iter().zip(event_labels(self));
        let entries =
            events.flat_map(|((event, memory_use), label)| self.page_entries(&addresses, event, memory_use, label));
        Ok(Page { segments, device_traces: vec![entries.collect()], allocator_settings })
    }

    fn page_block<'a>(&'a self, segment: u64, block: &'a BlockSnapshot) -> Block<'a> {
        Block {
            address: segment + block.offset,
            size: block.size,
            requested_size: block.requested,
            state: state(block),
            frames: block.origin.as_ref().map(|origin| self.frames_of(origin)).unwrap_or_default(),
        }
    }

    fn page_segment<'a>(&'a self, addresses: &Addresses, segment: &'a SegmentSnapshot) -> Segment<'a> {
        let address = addresses.at(segment.id.number(), 0);
        let allocated = || segment.blocks.iter().filter(|block| block.state.is_allocated());
        Segment {
            device: 0,
            address,
            total_size: segment.bytes,
            allocated_size: allocated().map(|block| block.size).sum(),
            active_size: segment.blocks.iter().filter(|block| block.state.is_active()).map(|block| block.size).sum(),
            requested_size: allocated().map(|block| block.requested).sum(),
            stream: 0,
            segment_type: segment.pool.to_string(),
            segment_pool_id: [0, 0],
            is_expandable: false,
            frames: Vec::new(),
            blocks: segment.blocks.iter().map(|block| self.page_block(address, block)).collect(),
        }
    }

    fn page_entries<'a>(
        &'a self,
        addresses: &Addresses,
        event: &EventSnapshot,
        memory_use: MemoryUse,
        label: Option<&'a str>,
    ) -> Vec<TraceEntry<'a>> {
        let address = event.segment.map(|segment| addresses.at(segment.number(), event.offset));
        let frames = || event.site.map(|site| self.frames(site, event.scope, label)).unwrap_or_default();
        let entry = |action, addr| TraceEntry {
            action,
            addr,
            device_free: None,
            size: number(event.size),
            stream: 0,
            time_us: event.time / 1000,
            frames: frames(),
        };
        let freed = || [entry("free_requested", address), entry("free_completed", address)];
        match event.kind {
            EventKind::Free if address.is_none() => Vec::new(),
            EventKind::Allocate | EventKind::Return => vec![entry("alloc", address)],
            EventKind::Free | EventKind::Spill => freed().into(),
            EventKind::Move => {
                let to = event.to.map(|(segment, offset)| addresses.at(segment.number(), offset));
                let mut entries = Vec::from(freed());
                entries.push(entry("alloc", to));
                entries
            }
            EventKind::SegmentCreated => vec![entry("segment_alloc", address)],
            EventKind::SegmentReleased => vec![entry("segment_free", address)],
            EventKind::OutOfMemory => {
                // The remaining bytes below the limit. Without a limit the free device memory is unknown.
                let device_free = self.limit.map_or(0, |limit| limit.saturating_sub(memory_use.reserved));
                vec![TraceEntry { device_free: Some(number(device_free)), ..entry("oom", None) }]
            }
            // The released segments have separate entries.
            EventKind::Trim => Vec::new(),
        }
    }

    fn frames_of<'a>(&'a self, origin: &'a BlockOrigin) -> Vec<Frame<'a>> {
        self.frames(origin.site, origin.scope, origin.label.as_deref())
    }

    /// Returns the frame of the line that allocated a block, and one frame for each scope around it, innermost first.
    fn frames<'a>(&'a self, site: u32, scope: Option<u32>, label: Option<&'a str>) -> Vec<Frame<'a>> {
        let site = self.sites.get(site as usize);
        let line = |site: &'a Site| Frame { filename: &site.file, line: site.line, name: label.unwrap_or(UNLABELLED) };
        let scopes = scope.map(|scope| self.scope_names(scope)).unwrap_or_default();
        let scopes = scopes.into_iter().map(|name| Frame { filename: SCOPE, line: 0, name });
        site.map(line).into_iter().chain(scopes).collect()
    }
}

/// The largest number of the page that is exact: 2^53 − 1.
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// Returns a number that the page can load: a pickle stores 2^63 and above in nine bytes, which the page's library reads as a `BigInt`,
/// and the page's arithmetic on that throws.
fn number(value: u64) -> u64 {
    value.min(MAX_NUMBER)
}

/// PyTorch's name for a block's state.
fn state(block: &BlockSnapshot) -> &'static str {
    match (block.state.is_allocated(), block.state.is_active()) {
        (true, _) => "active_allocated",
        (false, true) => "active_pending_free",
        (false, false) => "inactive",
    }
}
