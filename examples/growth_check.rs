//! A loop whose memory grows: the check fails in the first iteration that grows, and names the line. Needs no GPU.
//!
//! Run with `cargo run --example growth_check`.

use wgpu_pool::{HostMemory, Pool, PoolOptions};

pub(crate) fn main() -> wgpu_pool::Result<()> {
    let pool = Pool::new(HostMemory::default(), PoolOptions::default())?;
    let weights = pool.allocate(4 << 20)?;
    weights.set_label("weights");

    let mut check = pool.growth_check(1); // the first iteration may grow
    let mut losses = Vec::new();
    let mut growth = None;
    for step in 1..=6 {
        let activations = pool.allocate(1 << 20)?;
        let loss = pool.allocate(4)?;
        loss.set_label("loss");
        if step > 3 {
            losses.push(loss); // the mistake: a device buffer is kept for each step, instead of its value
        } else {
            drop(loss);
        }
        drop(activations);
        match check.check_iteration() {
            Ok(()) => println!("step {step}: no growth"),
            Err(error) => {
                println!("step {step}: {error}");
                growth.get_or_insert(error);
            }
        }
    }

    let growth = growth.expect("the loop grows from step 4 on");
    assert_eq!((growth.iteration, growth.requested - growth.allowed), (4, 4));
    assert_eq!(growth.holders.len(), 1, "one line is the cause");
    assert_eq!(growth.holders[0].holder.label.as_deref(), Some("loss"));
    Ok(())
}
