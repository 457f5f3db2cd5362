//! The workgroups of a dispatch.

/// The largest number of workgroups in one dimension of a dispatch: WebGPU's minimum limit, so that no query is necessary.
pub(crate) const MOST_WORKGROUPS: u32 = 65_535;

/// Returns a grid of at least `count` workgroups in two dimensions. Kernels number the workgroups row by row and skip the excess.
pub(crate) fn grid(count: u32) -> [u32; 3] {
    if count <= MOST_WORKGROUPS {
        return [count, 1, 1];
    }
    let rows = count.div_ceil(MOST_WORKGROUPS);
    [count.div_ceil(rows), rows, 1]
}

#[cfg(test)]
mod tests {
    use super::grid;

    #[test]
    fn a_grid_covers_its_count_and_wastes_less_than_a_row() {
        for count in [0, 1, 65_535, 65_536, 1 << 20, (1 << 24) + 1] {
            let [x, y, z] = grid(count);
            let covered = u64::from(x) * u64::from(y) * u64::from(z);
            assert!(covered >= u64::from(count) && covered < u64::from(count) + u64::from(x).max(1), "{count}");
            assert!(x <= 65_535 && y <= 65_535);
        }
    }
}
