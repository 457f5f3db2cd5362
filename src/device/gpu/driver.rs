//! The contents of wgpu's allocator report, grouped by buffer labels.

use super::super::DriverHoldings;

/// The label of every segment.
pub(super) const SEGMENT: &str = "wgpu-pool segment";
/// The prefix of the labels of all other buffers of the crate.
const OWN: &str = "wgpu-pool";

/// Returns what the driver holds for a device, where the backend reports it.
pub(super) fn holdings(device: &wgpu::Device) -> Option<DriverHoldings> {
    let report = device.generate_allocator_report()?;
    let mut holdings = DriverHoldings { reserved: report.total_reserved_bytes, ..DriverHoldings::default() };
    for allocation in &report.allocations {
        let kind = match allocation.name.as_str() {
            SEGMENT => &mut holdings.segments,
            name if name.starts_with(OWN) => &mut holdings.own,
            _ => &mut holdings.foreign,
        };
        *kind += allocation.size;
    }
    let used = holdings.segments + holdings.own + holdings.foreign;
    holdings.unused = holdings.reserved.saturating_sub(used);
    Some(holdings)
}
