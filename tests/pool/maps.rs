//! The character map.

use crate::common::Outcome;
use crate::subjects::{SEGMENT, Subject, options, over_every_memory};
use wgpu_pool::{Pool, PoolOptions};

over_every_memory! {
    a_map_draws_segments_to_one_scale_and_fits_its_frame,
}

fn a_map_draws_segments_to_one_scale_and_fits_its_frame<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, PoolOptions { compaction_share: 0.0, ..options() })?;
    assert_eq!(pool.snapshot().to_map(80, 24), "0 B requested of 0 B reserved, 0 holes\n");
    let mut live = (0..4).map(|_| pool.allocate(SEGMENT / 4)).collect::<Result<Vec<_>, _>>()?;
    let _large = pool.allocate(2 * SEGMENT)?;
    live.remove(1);
    let map = pool.snapshot().to_map(58, 24);
    let lines: Vec<&str> = map.lines().collect();
    assert_eq!(lines[0], "704.0 KiB requested of 768.0 KiB reserved, 1 hole");
    assert_eq!(lines[1], "     0 large   256.0 KiB  ████····████████");
    assert_eq!(lines[2], format!("     1 large   512.0 KiB  {}", "█".repeat(32)));
    assert_eq!(lines.len(), 3);

    let _more = (0..30).map(|_| pool.allocate(SEGMENT)).collect::<Result<Vec<_>, _>>()?;
    for (columns, rows) in [(80, 24), (40, 5), (1, 1), (200, 100)] {
        let map = pool.snapshot().to_map(columns, rows);
        assert!(map.lines().count() <= rows.max(2), "{rows} rows:\n{map}");
        assert!(map.lines().skip(1).all(|line| line.chars().count() <= columns.max(40)), "{columns} columns:\n{map}");
    }
    for (columns, rows) in [(usize::MAX, 1), (usize::MAX, usize::MAX), (usize::MAX >> 24, 3)] {
        let map = pool.snapshot().to_map(columns, rows);
        assert!(map.lines().all(|line| line.chars().count() <= 4096), "{columns} columns");
    }
    assert!(
        pool.snapshot().to_map(80, 5).ends_with("and 29 more segments of 7.2 MiB\n"),
        "{}",
        pool.snapshot().to_map(80, 5)
    );
    Ok(())
}
