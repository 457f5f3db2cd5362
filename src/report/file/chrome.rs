//! A trace for Perfetto and Chrome's own viewer: the Trace Event Format, with counters.

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

/// One event of the format. `ph` is C for a counter, i for an instant, M for what a track is called.
#[derive(Serialize)]
struct TraceEvent<'a> {
    name: &'a str,
    ph: &'static str,
    pid: u32,
    tid: u32,
    /// Microseconds.
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
    /// The history as a trace that Perfetto and `chrome://tracing` load: memory over time as a counter, and an instant for each
    /// segment that was made or released, move, trim and request that found no memory. O(events).
    #[must_use]
    pub fn to_chrome_trace(&self) -> String {
        let instant = |name, ph, ts, args| TraceEvent { name, ph, pid: 1, tid: 1, ts, s: None, args };
        let name = format!("wgpu-pool on {}", self.memory);
        let mut events = vec![instant("process_name", "M", 0.0, Arguments::Name { name })];
        for (event, held) in timeline(self) {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a file's times are below 2^53, and other histories' are young"
            )]
            let ts = event.time as f64 / 1000.0;
            let name = match event.kind {
                EventKind::Allocate | EventKind::Free => None,
                EventKind::SegmentMade => Some("segment made"),
                EventKind::SegmentReleased => Some("segment released"),
                EventKind::Move => Some("move"),
                EventKind::Trim => Some("trim"),
                EventKind::OutOfMemory => Some("out of memory"),
            };
            if let Some(name) = name {
                let site = event.site.and_then(|site| self.sites.get(site as usize)).map(ToString::to_string);
                let scope = event.scope.map(|scope| self.scope_path(scope));
                let args = Arguments::Instant { bytes: event.size, site, scope };
                events.push(TraceEvent { s: Some("p"), ..instant(name, "i", ts, args) });
            }
            let inactive = held.reserved.saturating_sub(held.allocated);
            events.push(instant("memory", "C", ts, Arguments::Counter { allocated: held.allocated, inactive }));
        }
        let trace = Trace { events, unit: "ns" };
        serde_json::to_string(&trace).expect("every field is a number, a text or a list of these")
    }
}
