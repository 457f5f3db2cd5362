//! A request above the limit: the message, what helps, and a callback that frees memory instead. Needs no GPU.
//!
//! Run with `cargo run --example out_of_memory`.

use std::sync::Mutex;
use wgpu_pool::{AllocateError, Bytes, HostMemory, Pool, PoolOptions, Storage};

pub(crate) fn main() -> wgpu_pool::Result<()> {
    let options = PoolOptions { limit: Some(64 << 20), ..PoolOptions::default() };
    let pool = Pool::new(HostMemory::default(), options)?;

    let model = pool.allocate(24 << 20)?;
    model.set_label("model");
    let mut cached = Vec::new();
    for _ in 0..4 {
        let thumbnail = pool.allocate(8 << 20)?;
        thumbnail.set_label("thumbnail");
        cached.push(thumbnail);
    }

    let Err(AllocateError::OutOfMemory(error)) = pool.allocate(16 << 20) else { panic!("16 MiB do not fit") };
    println!("{error}\n");
    assert_eq!((error.requested, error.allocated, error.largest_request), (16 << 20, 56 << 20, 8 << 20));

    // The error says what fits. The pool is as usable as before.
    let smaller = pool.allocate(error.largest_request)?;
    println!("a request of {} succeeds", Bytes(smaller.bytes()));
    drop(smaller);

    // A callback that drops cached blocks: the request is tried again as long as it returns true.
    let cached: Mutex<Vec<Storage<HostMemory>>> = Mutex::new(cached);
    pool.set_pressure_callback(move |_, request| {
        let mut cached = cached.lock().expect("no thread panicked");
        println!("dropping one of {} thumbnails for a request of {}", cached.len(), Bytes(request.requested));
        cached.pop().is_some()
    });
    let image = pool.allocate(24 << 20)?;
    println!("{} allocated, at most {} reserved", Bytes(image.bytes()), Bytes(pool.stats().reserved.peak));
    assert_eq!(pool.remedies().callbacks, 2);
    assert!(pool.stats().reserved.peak <= 64 << 20);
    Ok(())
}
