//! The memory of a pool by place, over time.

use crate::nn::plot::{Curve, Plot};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wgpu_pool::Pool;

/// The time between two looks at the pool.
const BETWEEN: Duration = Duration::from_millis(20);
const MIB: f64 = (1 << 20) as f64;

/// Bytes by place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    /// Allocated on the device.
    pub(crate) device: u64,
    pub(crate) host: u64,
    pub(crate) in_transit: u64,
}

impl Places {
    fn of(pool: &Pool) -> Self {
        let spill = pool.spill_stats();
        Self { device: pool.stats().allocated.current, host: spill.host, in_transit: spill.in_transit }
    }
}

/// A thread that looks at a pool.
#[derive(Debug)]
pub(crate) struct Watched {
    ends: Arc<AtomicBool>,
    looks: JoinHandle<Vec<(f64, Places)>>,
}

impl Watched {
    pub(crate) fn start(pool: &Pool) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let looks = std::thread::spawn({
            let (pool, ends, begun) = (pool.clone(), Arc::clone(&ends), Instant::now());
            move || {
                let mut looks = Vec::new();
                loop {
                    looks.push((begun.elapsed().as_secs_f64(), Places::of(&pool)));
                    if ends.load(Ordering::Relaxed) {
                        return looks;
                    }
                    std::thread::sleep(BETWEEN);
                }
            }
        });
        Self { ends, looks }
    }

    /// Ends the thread. Returns the most bytes of each place, and a curve of each.
    pub(crate) fn finish(self) -> (Places, Vec<Curve>) {
        self.ends.store(true, Ordering::Relaxed);
        let looks = self.looks.join().unwrap_or_default();
        let most = |of: fn(&Places) -> u64| looks.iter().map(|(_, places)| of(places)).max().unwrap_or(0);
        let curve = |name: &str, of: fn(&Places) -> u64| Curve {
            name: name.to_owned(),
            points: looks.iter().map(|(seconds, places)| (*seconds, of(places) as f64 / MIB)).collect(),
        };
        let device = |places: &Places| places.device;
        let host = |places: &Places| places.host;
        let in_transit = |places: &Places| places.in_transit;
        let peak = Places { device: most(device), host: most(host), in_transit: most(in_transit) };
        (peak, vec![curve("device", device), curve("host", host), curve("in transit", in_transit)])
    }
}

/// Writes the curves to a PNG file.
pub(crate) fn plot(curves: Vec<Curve>, path: &Path) -> Result<(), Box<dyn Error>> {
    let axes = ["seconds", "MiB"];
    Plot { title: "large_image: the pool's memory by place".to_owned(), axes, curves }.write(path)
}
