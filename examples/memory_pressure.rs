//! Compaction and memory pressure: what each level returns to the system. Needs no GPU.
//!
//! Run with `cargo run --example memory_pressure`.

use wgpu_pool::{Bytes, HostMemory, MemoryPressure, Pool, PoolOptions, Storage};

/// Allocates 32 blocks of 1 MiB, and drops every other: half of each segment is free.
fn fragmented(pool: &Pool<HostMemory>) -> wgpu_pool::Result<Vec<Storage<HostMemory>>> {
    let blocks = (0..32).map(|_| pool.allocate(1 << 20)).collect::<Result<Vec<_>, _>>()?;
    for (number, block) in (0_u8..).zip(&blocks) {
        block.write(0, &[number; 4])?;
    }
    Ok(blocks.into_iter().step_by(2).collect())
}

pub(crate) fn main() -> wgpu_pool::Result<()> {
    println!("{:>10} {:>10} {:>10} {:>10}", "level", "reserved", "after", "moved");
    let mut kept = Vec::new();
    for level in [MemoryPressure::Low, MemoryPressure::Moderate, MemoryPressure::Critical] {
        let pool = Pool::new(HostMemory::default(), PoolOptions::default())?;
        let blocks = fragmented(&pool)?;
        let before = pool.stats().reserved.current;
        let relief = pool.pressure(level)?;
        let after = pool.stats().reserved.current;
        let text = format!("{level:?}");
        println!("{text:>10} {:>10} {:>10} {:>10}", Bytes(before), Bytes(after), Bytes(relief.compacted.bytes));
        kept.push(after);
        if level == MemoryPressure::Critical {
            println!("\nthe segments afterwards:\n{}", pool.snapshot().to_map(64, 8));
        }

        // Blocks that moved have their bytes.
        for (index, block) in blocks.iter().enumerate() {
            let mut download = pool.download(4)?;
            download.add(block, 0, 4)?;
            assert_eq!(download.finish_blocking()?, [u8::try_from(2 * index).expect("below 32"); 4]);
        }
    }
    assert!(kept[2] < kept[0], "compaction empties sparse segments: {kept:?}");
    assert!(kept[2] < 20 << 20, "16 MiB are in use");
    Ok(())
}
