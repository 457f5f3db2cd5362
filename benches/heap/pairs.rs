//! Pairs: one block is freed and one of another size is allocated, among many live blocks.

use crate::contenders::{Contender, Offsets, OurHeap, Rlsf};
use crate::random::Random;
use crate::rounds::{self, Times};
use std::time::Instant;

/// The largest block in granules: 256 KiB.
const MOST: u32 = 1024;
/// The number of pairs per round.
const PAIRS: usize = 50_000;
/// The freed block is one of this many youngest blocks, as in programs that free recent allocations.
const YOUNG: usize = 1000;

/// A pair: the block to free, and the size to allocate.
#[derive(Clone, Copy, Debug)]
struct Pair {
    victim: u32,
    granules: u32,
}

/// The choice of the block to free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victims {
    Any,
    Young,
}

pub(crate) fn compare(most_live: u32, rounds: u32) {
    rounds::print_head("pairs, ns (ratio)", &[OurHeap::NAME, Offsets::NAME, Rlsf::NAME]);
    for victims in [Victims::Young, Victims::Any] {
        let mut live = 1000;
        while live <= most_live {
            let name = match victims {
                Victims::Any => format!("{live} live, any is freed"),
                Victims::Young => format!("{live} live, a young one is freed"),
            };
            rounds::print(&name, &at(live, victims, rounds));
            live *= 10;
        }
    }
}

fn at(live: u32, victims: Victims, rounds: u32) -> [Times; 3] {
    let mut random = Random::new(u64::from(live));
    let sizes: Vec<u32> = (0..live).map(|_| log_uniform(&mut random, MOST)).collect();
    let sum: u64 = sizes.iter().map(|&size| u64::from(size)).sum();
    // Room for a quarter more, so that no allocation fails.
    let arena = u32::try_from(sum * 5 / 4 + 64 * u64::from(MOST)).expect("ten million such blocks fit");
    let mut runs =
        (Run::<OurHeap>::new(arena, &sizes), Run::<Offsets>::new(arena, &sizes), Run::<Rlsf>::new(arena, &sizes));
    let mut times = [(); 3].map(|()| Times::new());
    // Two untimed rounds: the first touches memory, the second fragments it as a longer run does.
    for round in 0..rounds + 2 {
        let pairs: Vec<Pair> = (0..PAIRS)
            .map(|_| Pair { victim: victim(&mut random, live, victims), granules: log_uniform(&mut random, MOST) })
            .collect();
        let nanoseconds = [runs.0.round(&pairs), runs.1.round(&pairs), runs.2.round(&pairs)];
        if round >= 2 {
            for (times, time) in times.iter_mut().zip(nanoseconds) {
                times.push(time);
            }
        }
    }
    times
}

fn victim(random: &mut Random, live: u32, victims: Victims) -> u32 {
    let among = match victims {
        Victims::Any => live as usize,
        Victims::Young => YOUNG.min(live as usize),
    };
    u32::try_from(random.below(among)).expect("it is below a u32")
}

/// A size from 1 to `most` with a uniformly distributed logarithm.
pub(crate) fn log_uniform(random: &mut Random, most: u32) -> u32 {
    let unit = (random.next() >> 11) as f64 / (1u64 << 53) as f64;
    let size = (unit * f64::from(most).ln()).exp();
    #[expect(clippy::cast_possible_truncation, reason = "it is from 1 to the largest size")]
    let size = size.round() as u32;
    size.clamp(1, most)
}

struct Run<C: Contender> {
    contender: C,
    live: Vec<C::Block>,
}

impl<C: Contender> Run<C> {
    fn new(arena: u32, sizes: &[u32]) -> Self {
        let mut contender = C::new(arena, u32::try_from(sizes.len()).expect("it was a u32"));
        let live = sizes.iter().map(|&size| contender.allocate(size).expect("there is room")).collect();
        Self { contender, live }
    }

    /// Returns the nanoseconds per pair.
    fn round(&mut self, pairs: &[Pair]) -> f64 {
        let start = Instant::now();
        for pair in pairs {
            let place = &mut self.live[pair.victim as usize];
            self.contender.free(*place);
            *place = self.contender.allocate(pair.granules).expect("there is room");
        }
        start.elapsed().as_secs_f64() * 1e9 / pairs.len() as f64
    }
}
