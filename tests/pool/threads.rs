//! Many threads at one pool.

use crate::common::Outcome;
use crate::common::random::Random;
use crate::common::watchdog;
use crate::subjects::{SEGMENT, Subject, assert_books_balance, assert_stamp, options, over_every_memory, stamp};
use std::sync::mpsc;
use wgpu_pool::{Pool, Storage};

over_every_memory! {
    blocks_allocated_on_one_thread_are_freed_on_another,
    threads_that_trim_and_threads_that_allocate_get_along,
}

// Case 50: each thread verifies and frees what another one allocated and stamped.
fn blocks_allocated_on_one_thread_are_freed_on_another<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let seen = pool.clone();
    watchdog::guarded("threads that pass blocks on", move || {
        std::thread::scope(|scope| {
            for seed in 0..3 {
                let (sender, receiver) = mpsc::sync_channel::<(Storage<S::Memory>, u64)>(8);
                let pool = &pool;
                scope.spawn(move || {
                    let mut random = Random::new(seed);
                    for _ in 0..60 {
                        let storage = pool.allocate(random.size(SEGMENT / 4)).expect("there is no limit");
                        let number = random.next();
                        stamp(&storage, number).expect("it can be written");
                        sender.send((storage, number)).expect("the other thread takes all");
                    }
                });
                scope.spawn(move || {
                    for (storage, number) in receiver {
                        assert_stamp::<S>(&storage, number);
                    }
                });
            }
        });
    });
    assert_eq!(seen.stats().blocks.current, 0);
    assert_eq!(seen.stats().blocks.allocated, 180);
    assert_books_balance(&seen);
    Ok(())
}

fn threads_that_trim_and_threads_that_allocate_get_along<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let seen = pool.clone();
    watchdog::guarded("threads that trim", move || {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..100 {
                    pool.trim();
                    pool.check().expect("the laws hold at any time");
                    std::thread::yield_now();
                }
            });
            for seed in 0..2 {
                let pool = &pool;
                scope.spawn(move || {
                    let mut random = Random::new(seed);
                    for _ in 0..60 {
                        let storage = pool.allocate(random.size(2 * SEGMENT)).expect("there is no limit");
                        let number = random.next();
                        // The last bytes, so that little is moved.
                        let start = (storage.bytes() - 1) / 4 * 4;
                        let end = number.to_le_bytes();
                        let tail = &end[..usize::try_from(storage.bytes() - start).expect("at most four")];
                        storage.write(start, tail).expect("it can be written");
                        if S::HOLDS_BYTES {
                            let mut download = pool.download(4).expect("there is room");
                            download.add(&storage, start, 4).expect("it is within");
                            assert_eq!(download.finish_blocking().expect("it arrives")[..tail.len()], *tail);
                        }
                    }
                });
            }
        });
    });
    assert_eq!(seen.stats().blocks.current, 0);
    assert_books_balance(&seen);
    Ok(())
}
