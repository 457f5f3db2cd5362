//! A reference cycle that keeps blocks alive: the leak report finds it, and a weak handle removes it. Needs no GPU.
//!
//! Run with `cargo run --example leak`.

use std::sync::{Arc, OnceLock, Weak};
use wgpu_pool::{HostMemory, Pool, PoolOptions, Storage};

/// A layer that refers to the next one, and the next one back to it.
struct Layer {
    _weights: Storage<HostMemory>,
    next: OnceLock<Arc<Layer>>,
    previous: OnceLock<Previous>,
}

enum Previous {
    Strong(#[expect(dead_code, reason = "it only keeps the layer alive")] Arc<Layer>),
    Weak(#[expect(dead_code, reason = "it does not even do that")] Weak<Layer>),
}

fn layer(pool: &Pool<HostMemory>, name: &str) -> wgpu_pool::Result<Arc<Layer>> {
    let weights = pool.allocate(1 << 20)?;
    weights.set_label(name);
    Ok(Arc::new(Layer { _weights: weights, next: OnceLock::new(), previous: OnceLock::new() }))
}

fn network(pool: &Pool<HostMemory>, link_back: fn(&Arc<Layer>) -> Previous) -> wgpu_pool::Result<()> {
    let (first, second) = (layer(pool, "first layer")?, layer(pool, "second layer")?);
    let _ = second.previous.set(link_back(&first));
    let _ = first.next.set(second);
    assert!(first.next.get().is_some_and(|next| next.previous.get().is_some()));
    Ok(()) // both layers go out of scope
}

pub(crate) fn main() -> wgpu_pool::Result<()> {
    let pool = Pool::new(HostMemory::default(), PoolOptions::default())?;

    network(&pool, |first| Previous::Weak(Arc::downgrade(first)))?;
    println!("with a weak link back: {} leaks", pool.leaks().blocks.len());
    assert!(pool.leaks().is_empty());

    network(&pool, |first| Previous::Strong(Arc::clone(first)))?;
    let leaks = pool.leaks();
    println!("with a strong link back: {} leaks\n{leaks}", leaks.blocks.len());
    let labels: Vec<_> = leaks.blocks.iter().filter_map(|block| block.holder.label.as_deref()).collect();
    assert_eq!(labels, ["first layer", "second layer"]);
    assert!(leaks.blocks[0].holder.site.file.ends_with("leak.rs"));
    Ok(())
}
