//! Export to the Trace Event Format, which Perfetto and Chrome's trace viewer load.

use super::timeline::timeline;
use crate::pool::snapshot::{EventKind, Snapshot};
use serde::Serialize;

#[derive(Serialize)]
struct Trace<'a> {
    #[serde(rename = "traceEvents")]
    events: Vec<TraceEvent<'a>>,
    #[serde(rename = "displayTimeUnit")]
    unit: &'static str,
}

/// One event of the format. `ph` is C for a counter, i for an instant event, M for the name of a track.
#[derive(Serialize)]
struct TraceEvent<'a> {
    name: &'a str,
    ph: &'static str,
    pid: u32,
    tid: u32,
    /// The timestamp in microseconds.
    ts: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    args: Arguments,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Arguments {
    Name { name: String },
    Counter { allocated: u64, inactive: u64 },
    Instant { bytes: u64, site: Option<String>, scope: Option<String> },
}

impl Snapshot {
    /// Returns the history as a trace for Perfetto and `chrome://tracing`: memory over time as a counter, and an
    /// instant event for each creation and release of a segment, move, spill, return, trim and out-of-memory error. O(events).
    #[must_use]
    pub fn to_chrome_trace(&self) -> String {
        let instant = |name, ph, ts, args| TraceEvent { name, ph, pid: 1, tid: 1, ts, s: None, args };
        let name = format!("wgpu-pool on {}", self.memory);
        let mut events = vec![instant("process_name", "M", 0.0, Arguments::Name { name })];
        for (event, memory_use) in timeline(self) {
            #[expect(clippy::cast_precision_loss, reason = "times are rounded from 2^53 ns on, which are 104 days")]
            let ts = event.time as f64 / 1000.0;
            let name = match event.kind {
                EventKind::Allocate | EventKind::Free => None,
                EventKind::SegmentCreated => Some("segment made"),
                EventKind::SegmentReleased => Some("segment released"),
                EventKind::Move => Some("move"),
                EventKind::Spill => Some("moved to host memory"),
                EventKind::Return => Some("returned from host memory"),
                EventKind::Trim => Some("trim"),
                EventKind::OutOfMemory => Some("out of memory"),
            };
            if let Some(name) = name {
                let site = event.site.and_then(|site| self.sites.get(site as usize)).map(ToString::to_string);
                let scope = event.scope.map(|scope| self.scope_path(scope));
                let args = Arguments::Instant { bytes: event.size, site, scope };
                events.push(TraceEvent { s: Some("p"), ..instant(name, "i", ts, args) });
            }
            let inactive = memory_use.reserved.saturating_sub(memory_use.allocated);
            events.push(instant("memory", "C", ts, Arguments::Counter { allocated: memory_use.allocated, inactive }));
        }
        let trace = Trace { events, unit: "ns" };
        serde_json::to_string(&trace).expect("every field is a number, a text or a list of these")
    }
}
