//! What wgpu's own allocator says that it holds, by the names of the buffers.

use super::super::DriverHoldings;

/// What every segment is called.
pub(super) const SEGMENT: &str = "wgpu-pool segment";
/// What the names of all other buffers of the crate begin with.
const OWN: &str = "wgpu-pool";

/// The driver's holdings for a device, where its backend can tell.
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
