//! A kernel of the program's own: Conway's Game of Life on a torus, one dispatch per generation.
//!
//! Run with `cargo run --example own_kernel`.

use wgpu_pool::{Pool, PoolOptions, Tensor};

const SIZE: usize = 12;

/// Inputs and outputs are both `read_write`: the tensors may share one wgpu buffer.
const LIFE: &str = "
    @group(0) @binding(0) var<storage, read_write> now: array<u32>;
    @group(0) @binding(1) var<storage, read_write> next: array<u32>;
    @group(1) @binding(0) var<uniform> size: u32;

    @compute @workgroup_size(8, 8)
    fn life(@builtin(global_invocation_id) id: vec3<u32>) {
        if id.x >= size || id.y >= size { return; }
        var neighbours = 0u;
        for (var dy = 0u; dy < 3u; dy++) {
            for (var dx = 0u; dx < 3u; dx++) {
                let x = (id.x + dx + size - 1u) % size;
                let y = (id.y + dy + size - 1u) % size;
                if dx != 1u || dy != 1u { neighbours += now[y * size + x]; }
            }
        }
        let cell = id.y * size + id.x;
        next[cell] = u32(neighbours == 3u || (neighbours == 2u && now[cell] == 1u));
    }";

pub(crate) fn main() -> wgpu_pool::Result<()> {
    let pool = Pool::request_blocking(PoolOptions::default())?;
    let life = pool.kernel(LIFE, "life")?;

    let mut glider = vec![0_u32; SIZE * SIZE];
    for (x, y) in [(1, 0), (2, 1), (0, 2), (1, 2), (2, 2)] {
        glider[y * SIZE + x] = 1;
    }
    let mut now = Tensor::from_slice(&pool, &glider, [SIZE, SIZE])?;
    let mut next = now.empty_like()?;
    for generation in 0..=8 {
        if generation % 4 == 0 {
            println!("generation {generation}");
            for row in now.read_blocking::<u32>()?.chunks(SIZE) {
                println!("  {}", row.iter().map(|&cell| if cell == 1 { "#" } else { "." }).collect::<String>());
            }
        }
        life.dispatch(&[&now, &next], &[12_u32.into()], [2, 2, 1])?;
        std::mem::swap(&mut now, &mut next);
    }

    // A glider moves by one cell down and right every four generations: `next` is generation 8.
    let moved: Vec<u32> = (0..SIZE * SIZE)
        .map(|cell| glider[(cell / SIZE + SIZE - 2) % SIZE * SIZE + (cell % SIZE + SIZE - 2) % SIZE])
        .collect();
    assert_eq!(next.read_blocking::<u32>()?, moved);
    Ok(())
}
