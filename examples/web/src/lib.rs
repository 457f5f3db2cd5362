//! A live demonstration in a browser: a U-Net that trains on the visitor's GPU, the memory of its pool, and a benchmark.
//!
//! `page/` draws; this module computes, and answers with numbers and texts. The page calls one method at a time.

#![cfg(target_arch = "wasm32")]

mod benchmark;
mod memory;
#[path = "../../unet/model.rs"]
#[allow(dead_code, reason = "the size of tiles is for the program in a terminal")]
mod model;
#[path = "../../nn/mod.rs"]
mod nn;
#[path = "../../unet/shapes.rs"]
#[allow(dead_code, reason = "the overlap of a single class and the names are for the program in a terminal")]
mod shapes;
mod training;

use memory::Memory;
use training::{Pictures, Progress, Training};
use wasm_bindgen::prelude::*;
use wgpu_pool::{Error, Pool, PoolOptions, Storage};

type Answer<T> = Result<T, JsError>;

/// The demonstration: a pool, the training, and the blocks that the visitor leaks.
#[wasm_bindgen]
pub struct Demo {
    pool: Pool,
    training: Training,
    leaked: Vec<Storage>,
}

fn told(error: impl Into<Error>) -> JsError {
    JsError::new(&error.into().to_string())
}

#[wasm_bindgen]
impl Demo {
    /// Opens the browser's GPU, and creates a model with random weights.
    ///
    /// # Errors
    /// The browser has no adapter; a refusal of the device.
    pub async fn open(seed: u32) -> Answer<Demo> {
        console_error_panic_hook::set_once();
        let pool = Pool::request(PoolOptions::default()).await.map_err(told)?;
        let training = Training::new(&pool, seed.into()).map_err(told)?;
        pool.synchronize().await.map_err(told)?;
        Ok(Self { pool, training, leaked: Vec::new() })
    }

    /// The name of the adapter.
    #[wasm_bindgen(getter)]
    pub fn adapter(&self) -> String {
        self.pool.snapshot().memory
    }

    /// Trains for a number of steps.
    ///
    /// # Errors
    /// Out of memory; a refusal of the device.
    pub async fn train(&mut self, steps: u32) -> Answer<Progress> {
        self.training.advance(&self.pool, steps).await.map_err(told)
    }

    /// Intersection over union on images that the model has not seen: the mean over the three shapes.
    ///
    /// # Errors
    /// As [`Demo::train`].
    pub async fn validate(&self) -> Answer<f32> {
        self.training.validate().await.map_err(told)
    }

    /// The first validation images, the true classes of their pixels, and the classes that the model finds.
    ///
    /// # Errors
    /// As [`Demo::train`].
    pub async fn pictures(&self) -> Answer<Pictures> {
        self.training.pictures().await.map_err(told)
    }

    /// The pool's counters.
    pub fn memory(&self) -> Memory {
        Memory::of(&self.pool)
    }

    /// A snapshot of the pool, as JSON for the viewer.
    pub fn snapshot(&self) -> String {
        self.pool.snapshot().to_json()
    }

    /// The viewer's page of the pool.
    pub fn report(&self) -> String {
        self.pool.snapshot().to_html()
    }

    /// Releases idle segments.
    pub fn trim(&self) -> String {
        memory::trim(&self.pool)
    }

    /// Moves blocks together.
    ///
    /// # Errors
    /// As [`Demo::train`].
    pub fn compact(&self) -> Answer<String> {
        memory::compact(&self.pool).map_err(told)
    }

    /// Reacts as to a critical memory warning.
    ///
    /// # Errors
    /// As [`Demo::train`].
    pub fn pressure(&self) -> Answer<String> {
        memory::pressure(&self.pool).map_err(told)
    }

    /// Allocates a block of a number of MiB that is kept.
    ///
    /// # Errors
    /// Out of memory.
    pub async fn leak(&mut self, mib: u32) -> Answer<String> {
        let block = self.pool.allocate_accepted(u64::from(mib) << 20).await.map_err(told)?;
        block.set_label("deliberate leak");
        self.leaked.push(block);
        Ok(memory::leaked(&self.leaked))
    }

    /// Drops the kept blocks.
    pub fn drop_leaks(&mut self) -> String {
        self.leaked.clear();
        "All leaked blocks were dropped. Their bytes are free for the next allocation.".into()
    }

    /// Sets the limit on reserved bytes in MiB, and releases idle memory above it; 0 removes the limit.
    ///
    /// # Errors
    /// As [`Demo::train`].
    pub fn set_limit(&self, mib: u32) -> Answer<String> {
        memory::set_limit(&self.pool, mib).map_err(told)
    }

    /// Requests more than the limit permits, and returns the refusal.
    pub async fn refuse(&self) -> String {
        memory::refuse(&self.pool).await
    }

    /// The number of rows of the benchmark.
    #[wasm_bindgen(getter, js_name = benchmarks)]
    pub fn benchmarks(&self) -> usize {
        benchmark::ROWS.len()
    }

    /// Runs a row of the benchmark: its name, its size, the milliseconds of a run, and the rate.
    ///
    /// # Errors
    /// As [`Demo::train`].
    pub async fn benchmark(&self, row: usize) -> Answer<Vec<String>> {
        benchmark::run(&self.pool, row).await.map_err(told)
    }
}
