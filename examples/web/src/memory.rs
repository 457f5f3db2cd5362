//! The buttons of the page that act on the pool's memory.

use wasm_bindgen::prelude::*;
use wgpu_pool::{Bytes, DeviceError, MemoryPressure, Pool, Storage};

const MIB: u64 = 1 << 20;
/// What a refused request asks for beyond the limit.
const BEYOND: u64 = 16 * MIB;

/// The pool's counters, in bytes.
#[wasm_bindgen]
#[derive(Clone, Copy)]
pub struct Memory {
    pub allocated: f64,
    pub reserved: f64,
    pub peak: f64,
    pub segments: f64,
    /// 0 if there is no limit.
    pub limit: f64,
    /// Bytes of the staging buffers, in use and idle. They are not segments.
    pub staging: f64,
}

impl Memory {
    pub(crate) fn of(pool: &Pool) -> Self {
        let stats = pool.stats();
        let staging = pool.caches().into_iter().find(|cache| cache.name == "staging buffers").unwrap_or_default();
        Self {
            allocated: stats.allocated.current as f64,
            reserved: stats.reserved.current as f64,
            peak: stats.reserved.peak as f64,
            segments: stats.segments.current as f64,
            limit: pool.limit().unwrap_or(0) as f64,
            staging: (staging.bytes.unwrap_or(0) + staging.in_use.unwrap_or(0)) as f64,
        }
    }
}

pub(crate) fn trim(pool: &Pool) -> String {
    let before = pool.stats().reserved.current;
    let trimmed = pool.trim();
    let now = pool.stats().reserved.current;
    format!("trim() released {} segments: {} → {} reserved.", trimmed.segments, Bytes(before), Bytes(now))
}

pub(crate) fn compact(pool: &Pool) -> Result<String, DeviceError> {
    let compacted = pool.compact()?;
    Ok(format!("compact() moved {} blocks, {}.", compacted.moves, Bytes(compacted.bytes)))
}

pub(crate) fn pressure(pool: &Pool) -> Result<String, DeviceError> {
    let before = pool.stats().reserved.current;
    let relief = pool.pressure(MemoryPressure::Critical)?;
    let now = pool.stats().reserved.current;
    Ok(format!(
        "A critical memory warning: {} moved, {} segments released, caches dropped: {} → {} reserved.",
        Bytes(relief.compacted.bytes),
        relief.trimmed.segments,
        Bytes(before),
        Bytes(now)
    ))
}

pub(crate) fn leaked(blocks: &[Storage]) -> String {
    let bytes = blocks.iter().map(Storage::bytes).sum();
    format!(
        "{} blocks are leaked, {}. The table of holders names the line that allocated them.",
        blocks.len(),
        Bytes(bytes)
    )
}

/// Sets or removes the limit. A limit below the reserved bytes alone releases none of them, so that blocks are also moved together and
/// idle segments released.
pub(crate) fn set_limit(pool: &Pool, mib: u32) -> Result<String, DeviceError> {
    let limit = (mib > 0).then(|| u64::from(mib) * MIB);
    pool.set_limit(limit);
    let Some(limit) = limit else { return Ok("The pool has no limit.".into()) };
    let before = pool.stats().reserved.current;
    if before <= limit {
        return Ok(format!("The pool reserves at most {}.", Bytes(limit)));
    }
    pool.pressure(MemoryPressure::Critical)?;
    let now = pool.stats().reserved.current;
    Ok(format!(
        "The pool reserves at most {}. Idle memory above the limit was released: {} → {} reserved.",
        Bytes(limit),
        Bytes(before),
        Bytes(now)
    ))
}

/// Without a limit, one is set for the request: the reserved bytes.
pub(crate) async fn refuse(pool: &Pool) -> String {
    let limit = pool.limit();
    let highest = limit.unwrap_or_else(|| pool.stats().reserved.current);
    pool.set_limit(Some(highest));
    let answer = pool.allocate_accepted(highest + BEYOND).await;
    pool.set_limit(limit);
    match answer {
        Ok(_) => "The request was served.".into(),
        Err(error) => error.to_string(),
    }
}
