//! Leaks: blocks that are still allocated.

use crate::common::Outcome;
use crate::subjects::{Subject, options, over_every_memory};
use std::cell::RefCell;
use std::rc::Rc;
use wgpu_pool::{Memory, Pool, Storage};

over_every_memory! {
    each_leaked_block_has_a_line_also_in_a_reference_cycle,
    a_program_that_drops_everything_has_no_leaks,
}

/// A node that may contain a reference to itself.
struct Node<M: Memory> {
    _storage: Storage<M>,
    next: RefCell<Option<Rc<Node<M>>>>,
}

// Case 51.
fn each_leaked_block_has_a_line_also_in_a_reference_cycle<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let kept = pool.allocate(3000)?;
    let storage = pool.allocate(1000)?;
    let at = line!() - 1;
    storage.set_label("in a cycle");
    let node = Rc::new(Node { _storage: storage, next: RefCell::new(None) });
    node.next.replace(Some(Rc::clone(&node)));
    let weak = Rc::downgrade(&node);
    drop(node);
    drop(pool.allocate(10)?);

    let leaks = pool.leaks();
    let text = leaks.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    let file = file!();
    assert!(lines[0].starts_with(&format!("2.9 KiB, 2 allocations old, {file}:")), "{text}");
    assert!(lines[1].starts_with(&format!("1000 B in a cycle, 1 allocation old, {file}:{at}:")), "{text}");
    drop(kept);
    assert_eq!(pool.leaks().to_string().lines().count(), 1);
    let node = weak.upgrade().ok_or("the cycle is alive")?;
    node.next.replace(None);
    drop(node);
    assert!(pool.leaks().is_empty());
    Ok(())
}

// Case 51.
fn a_program_that_drops_everything_has_no_leaks<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let live = (1..50).map(|number| pool.allocate(number * 1000)).collect::<Result<Vec<_>, _>>()?;
    drop(live);
    assert!(pool.leaks().is_empty());
    assert_eq!(pool.leaks().to_string(), "");
    Ok(())
}
