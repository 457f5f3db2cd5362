//! A cache of weak handles: an entry can be reused while the program holds it, and never keeps memory. Needs no GPU.
//!
//! Run with `cargo run --example weak_cache`.

use std::collections::HashMap;
use wgpu_pool::{Bytes, HostMemory, Pool, PoolOptions, Storage, WeakStorage};

struct Cache {
    pool: Pool<HostMemory>,
    entries: HashMap<String, WeakStorage<HostMemory>>,
    loaded: u32,
}

impl Cache {
    /// Returns the image, and loads it only if no part of the program holds it.
    fn image(&mut self, name: &str) -> wgpu_pool::Result<Storage<HostMemory>> {
        if let Some(image) = self.entries.get(name).and_then(WeakStorage::upgrade) {
            return Ok(image);
        }
        let image = self.pool.allocate(2 << 20)?;
        image.set_label(name);
        image.clear()?; // stands for reading the file
        self.loaded += 1;
        self.entries.insert(name.to_string(), image.downgrade());
        Ok(image)
    }
}

pub(crate) fn main() -> wgpu_pool::Result<()> {
    let pool = Pool::new(HostMemory::default(), PoolOptions::default())?;
    let mut cache = Cache { pool: pool.clone(), entries: HashMap::new(), loaded: 0 };

    let cat = cache.image("cat")?;
    let same_cat = cache.image("cat")?;
    let dog = cache.image("dog")?;
    println!("3 images requested, {} loaded, {} in use", cache.loaded, Bytes(pool.stats().requested.current));
    assert!(cat.is_same(&same_cat));
    assert_eq!((cache.loaded, pool.stats().requested.current), (2, 4 << 20));

    drop((cat, same_cat));
    println!("without the cat: {} in use, {} entries", Bytes(pool.stats().requested.current), cache.entries.len());
    assert_eq!(pool.stats().requested.current, 2 << 20);

    let cat = cache.image("cat")?;
    println!("requested again: {} loaded", cache.loaded);
    assert_eq!(cache.loaded, 3);
    drop((cat, dog));
    assert_eq!(pool.stats().requested.current, 0);
    Ok(())
}
