//! The division of long sums into parts, which different workgroups compute and a second dispatch adds.

/// Elements of the sums of all parts, at most 16 MiB of f32: those of 256 tiles of 128 × 128 or of 1,024 tiles of 64 × 64, which are
/// as many workgroups as the registers of 128 multiprocessors hold.
const MOST_SUMS: usize = 1 << 22;

/// Returns the parts into which sums are divided so that `workgroups` workgroups of `tile` sums each occupy a large GPU: 1 if they
/// do without parts. The sums of all parts have at most 2²² elements.
pub(super) fn parts_that_fill(tile: usize, workgroups: usize) -> usize {
    (MOST_SUMS / tile / workgroups).max(1)
}
