//! Snapshot files: they agree with the pool's counters, can be read back without loss, and can be replayed by other
//! tools. Inconsistent files are refused with an error that names the problem.

use serde_json::{Value, json};
use wgpu_pool::{AccountingMemory, HostMemory, Pool, PoolOptions, RepeatOptions, Snapshot, Storage};

#[path = "common/mod.rs"]
mod common;

use common::Outcome;
use common::random::Random;

const SEGMENT: u64 = 256 << 10;
/// The largest number that the page of memory_viz computes with exactly.
const MAX_NUMBER: u64 = (1 << 53) - 1;

fn options() -> PoolOptions {
    PoolOptions { small_limit: 16 << 10, smallest_segment: Some(SEGMENT), ..PoolOptions::default() }
}

/// A pool and its live blocks.
type Lived<M> = Result<(Pool<M>, Vec<Storage<M>>), Box<dyn std::error::Error>>;

/// Creates a pool with labels, scopes, a history that has dropped events, and holes.
fn lived_in(events: usize) -> Lived<AccountingMemory> {
    let pool = Pool::new(AccountingMemory::new(), PoolOptions { compaction_share: 1.0, ..options() })?;
    pool.start_history(events);
    let mut random = Random::new(49);
    let mut live = Vec::new();
    for turn in 0..400 {
        let _step = pool.scope("step");
        let _part = pool.scope(if turn % 2 == 0 { "forward" } else { "backward" });
        match random.below(10) {
            0 => drop(pool.trim()),
            1 => drop(pool.compact_up_to(1 << 20)?),
            2..=4 if !live.is_empty() => drop(live.swap_remove(random.below(live.len()))),
            _ => {
                let storage = pool.allocate(random.size(SEGMENT))?;
                storage.set_label(format!("block {turn}"));
                live.push(storage);
            }
        }
    }
    pool.set_limit(Some(pool.stats().reserved.current));
    pool.allocate(SEGMENT * 1000).expect_err("the limit is reached");
    Ok((pool, live))
}

#[test]
fn a_file_is_read_as_it_was_written() -> Outcome {
    let (pool, _live) = lived_in(100)?;
    let snapshot = pool.snapshot();
    assert!(snapshot.events_dropped > 0 && !snapshot.events.is_empty());
    let text = snapshot.to_json();
    assert!(text.starts_with(r#"{"format":"wgpu-pool snapshot","version":1,"#), "{}", &text[..80]);
    assert_eq!(Snapshot::from_json(&text)?, snapshot);
    Ok(())
}

#[test]
fn a_plan_of_a_repeated_step_is_part_of_the_file() -> Outcome {
    let pool = Pool::new(AccountingMemory::new(), PoolOptions::default())?;
    let step = pool.repeat(RepeatOptions::default());
    let mut snapshot = Snapshot::default();
    let mut kept = None;
    for _ in 0..3 {
        step.run(|| -> Outcome {
            let first = pool.allocate(3 << 20)?;
            let second = pool.allocate(1 << 20)?;
            snapshot = pool.snapshot();
            drop(first);
            kept = Some(second);
            Ok(())
        })??;
    }
    let [plan] = snapshot.plans.as_slice() else { return Err("there is one loop".into()) };
    assert_eq!((plan.runs, plan.agreeing, plan.segments.as_slice()), (2, 1, &[3 << 20][..]));
    let ends: Vec<_> = plan.requests.iter().map(|request| (request.lower, request.upper, request.segment)).collect();
    assert_eq!(ends, [(0, Some(2), Some(0)), (1, None, None)]);
    assert!(snapshot.segments.iter().any(|segment| segment.planned && plan.arena == [segment.id]));
    let text = snapshot.to_json();
    assert_eq!(Snapshot::from_json(&text)?, snapshot);
    // A request outside of its segment, one that ends before it begins, and a site that does not exist.
    for (field, value) in [("offset", 1 << 20), ("upper", 0), ("size", 1), ("site", 99), ("segment", 1)] {
        let mut file: Value = serde_json::from_str(&text)?;
        file["plans"][0]["requests"][0][field] = json!(value);
        Snapshot::from_json(&file.to_string()).expect_err(field);
    }
    drop((kept, step));
    assert!(pool.snapshot().plans.is_empty());
    Ok(())
}

// Cases 25 and 49.
#[test]
fn the_memory_viz_file_sums_to_the_counters() -> Outcome {
    let (pool, live) = lived_in(10_000)?;
    let (snapshot, stats) = (pool.snapshot(), pool.stats());
    let page: Value = serde_json::from_str(&snapshot.to_memory_viz_json()?)?;
    let segments = page["segments"].as_array().ok_or("no segments")?;
    let sum = |key: &str| segments.iter().filter_map(|segment| segment[key].as_u64()).sum::<u64>();
    let sums = ["total_size", "allocated_size", "active_size", "requested_size"].map(sum);
    let counters = [stats.reserved, stats.allocated, stats.active, stats.requested].map(|counter| counter.current);
    assert_eq!(sums, counters);
    let mut framed = 0;
    for segment in segments {
        let mut end = segment["address"].as_u64().ok_or("no address")?;
        assert!(end > 0 && end < 1 << 53);
        for block in segment["blocks"].as_array().ok_or("no blocks")? {
            assert_eq!(block["address"], end, "blocks tile");
            end += block["size"].as_u64().ok_or("no size")?;
            let known = ["active_allocated", "active_pending_free", "inactive"];
            assert!(known.contains(&block["state"].as_str().unwrap_or_default()), "{block}");
            if let Some(frame) = block["frames"].get(0) {
                framed += 1;
                assert_eq!(frame["filename"], file!());
                assert!(frame["name"].as_str().is_some_and(|name| name.starts_with("block ")), "{frame}");
                assert_scopes(&block["frames"]);
            }
        }
        assert_eq!(
            end,
            segment["address"].as_u64().unwrap_or_default() + segment["total_size"].as_u64().unwrap_or_default()
        );
    }
    assert_eq!(framed, live.len());

    // Replaying its trace ends with the same number of bytes, in blocks with the same labels.
    let mut alive = std::collections::HashMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for entry in page["device_traces"][0].as_array().ok_or("no trace")? {
        let action = entry["action"].as_str().ok_or("no action")?;
        seen.insert(action.to_string());
        match action {
            "alloc" => {
                assert_scopes(&entry["frames"]);
                alive.insert(entry["addr"].as_u64(), (entry["size"].as_u64(), entry["frames"][0]["name"].clone()));
            }
            "free_completed" => assert!(alive.remove(&entry["addr"].as_u64()).is_some(), "{entry}"),
            _ => {}
        }
    }
    assert_eq!(alive.values().filter_map(|(size, _)| *size).sum::<u64>(), stats.allocated.current);
    for block in segments.iter().filter_map(|segment| segment["blocks"].as_array()).flatten() {
        if let Some(frame) = block["frames"].get(0) {
            let (_, label) = &alive[&block["address"].as_u64()];
            assert_eq!(label, &frame["name"], "also of blocks that were moved");
        }
    }
    let actions = ["alloc", "free_completed", "free_requested", "oom", "segment_alloc", "segment_free"];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), actions);
    Ok(())
}

/// The frames after that of the call site are the scopes, innermost first.
fn assert_scopes(frames: &Value) {
    let frames = frames.as_array().map(Vec::as_slice).unwrap_or_default();
    let names: Vec<_> =
        frames.iter().skip(1).map(|frame| (frame["filename"].as_str(), frame["name"].as_str())).collect();
    let [(Some("scope"), Some("forward" | "backward")), (Some("scope"), Some("step"))] = names[..] else {
        panic!("{frames:?}");
    };
}

/// The page reads integers of up to eight bytes as numbers, and longer ones as a type that its arithmetic rejects.
#[test]
fn no_integer_of_a_pickle_exceeds_what_the_page_can_compute_with() -> Outcome {
    let pool = Pool::new(AccountingMemory::new(), PoolOptions::default())?;
    let _large = (0..4).map(|gibibytes| pool.allocate((5 + gibibytes) << 30)).collect::<Result<Vec<_>, _>>()?;
    let pickle = pool.snapshot().to_memory_viz_pickle()?;
    // Total size 0x1_4000_0000: LONG1 of five bytes.
    let size = [0x8a, 5, 0, 0, 0, 0x40, 1];
    assert!(pickle.windows(size.len()).any(|window| window == size));
    let reads: Value = serde_pickle::from_slice(&pickle, serde_pickle::DeOptions::new())?;
    assert_eq!(reads["segments"][0]["total_size"], json!(5_u64 << 30));
    Ok(())
}

/// Nine bytes are what the page's library reads as a `BigInt`.
#[test]
fn a_limit_of_2_to_the_63_and_above_has_no_integer_of_nine_bytes() -> Outcome {
    for limit in [1 << 53, 1 << 63, u64::MAX] {
        let pool = Pool::new(
            AccountingMemory::new().with_budget(1 << 20),
            PoolOptions { limit: Some(limit), ..PoolOptions::default() },
        )?;
        pool.start_history(100);
        pool.allocate(1 << 30).expect_err("the budget is exceeded");
        let pickle = pool.snapshot().to_memory_viz_pickle()?;
        let reads: Value = serde_pickle::from_slice(&pickle, serde_pickle::DeOptions::new())?;
        assert_eq!(reads["allocator_settings"]["limit"], json!(MAX_NUMBER), "{limit}");
        let traces = reads["device_traces"][0].as_array().ok_or("no events")?;
        let free: Vec<_> = traces.iter().filter_map(|entry| entry.get("device_free")).collect();
        assert!(free.iter().all(|free| free.as_u64().is_some_and(|free| free <= MAX_NUMBER)), "{free:?}");
        assert!(!free.is_empty(), "the out-of-memory error is an event");
    }
    Ok(())
}

#[test]
fn the_pickle_has_protocol_2_and_the_same_contents_as_the_json() -> Outcome {
    let (pool, _live) = lived_in(2000)?;
    let snapshot = pool.snapshot();
    let pickle = snapshot.to_memory_viz_pickle()?;
    assert_eq!(pickle[..2], [0x80, 2]);
    let page: Value = serde_pickle::from_slice(&pickle, serde_pickle::DeOptions::new())?;
    assert_eq!(page, serde_json::from_str::<Value>(&snapshot.to_memory_viz_json()?)?);
    Ok(())
}

/// Replays a trace, and returns the pool and its live blocks.
fn replay(trace: &str) -> Lived<HostMemory> {
    let pool = Pool::new(HostMemory::default(), PoolOptions { compaction_share: 0.0, ..options() })?;
    let mut storages: Vec<Option<Storage<HostMemory>>> = Vec::new();
    for line in trace.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["a", id, bytes] => {
                assert_eq!(id.parse::<usize>()?, storages.len(), "ids count up from 0");
                storages.push(Some(pool.allocate(bytes.parse()?)?));
            }
            ["f", id] => assert!(storages[id.parse::<usize>()?].take().is_some(), "{line}"),
            _ => return Err(line.into()),
        }
    }
    Ok((pool, storages.into_iter().flatten().collect()))
}

// Case 49.
#[test]
fn a_trace_ends_in_the_state_of_the_live_pool() -> Outcome {
    // With the complete history, with only its end, and without history.
    for events in [10_000, 50, 0] {
        let (pool, _live) = lived_in(events)?;
        let (again, _alive) = replay(&pool.snapshot().to_trace())?;
        let [live, replayed] = [pool.stats(), again.stats()];
        let state = |stats: wgpu_pool::Stats| [stats.requested, stats.allocated, stats.blocks].map(|now| now.current);
        assert_eq!(state(replayed), state(live), "{events} events");
        let sizes = |snapshot: &Snapshot| {
            let mut sizes: Vec<u64> = snapshot.allocated_blocks().map(|block| block.requested).collect();
            sizes.sort_unstable();
            sizes
        };
        assert_eq!(sizes(&again.snapshot()), sizes(&pool.snapshot()), "{events} events");
    }
    Ok(())
}

/// If nothing is moved or trimmed, the replay produces the same map.
#[test]
fn a_trace_of_a_pool_that_only_allocates_and_frees_ends_in_the_same_map() -> Outcome {
    let pool = Pool::new(HostMemory::default(), PoolOptions { compaction_share: 0.0, ..options() })?;
    pool.start_history(10_000);
    let mut random = Random::new(7);
    let mut live = Vec::new();
    for _ in 0..500 {
        if random.below(3) == 0 && !live.is_empty() {
            drop(live.swap_remove(random.below(live.len())));
        } else {
            live.push(pool.allocate(random.size(SEGMENT))?);
        }
    }
    let (again, _alive) = replay(&pool.snapshot().to_trace())?;
    let map = |pool: &Pool<HostMemory>| {
        let segments = pool.snapshot().segments.into_iter();
        let blocks = |segment: wgpu_pool::pool::snapshot::SegmentSnapshot| {
            let of = segment.blocks.into_iter().map(|block| (block.offset, block.size, block.requested, block.state));
            (segment.id, segment.pool, of.collect::<Vec<_>>())
        };
        segments.map(blocks).collect::<Vec<_>>()
    };
    assert_eq!(map(&again), map(&pool));
    Ok(())
}

#[test]
fn the_chrome_trace_ends_with_the_pools_counters() -> Outcome {
    let (pool, _live) = lived_in(10_000)?;
    let (snapshot, stats) = (pool.snapshot(), pool.stats());
    let trace: Value = serde_json::from_str(&snapshot.to_chrome_trace())?;
    let events = trace["traceEvents"].as_array().ok_or("no events")?;
    let counters: Vec<&Value> = events.iter().filter(|event| event["ph"] == "C").collect();
    assert_eq!(counters.len(), snapshot.events.len());
    let last = &counters.last().ok_or("no counter")?["args"];
    assert_eq!(last, &json!({"allocated": stats.allocated.current, "inactive": stats.inactive()}));
    let first = &counters.first().ok_or("no counter")?["args"];
    // The history started with an empty pool, so its first event is a segment.
    assert_eq!(first, &json!({"allocated": 0, "inactive": snapshot.events[0].size}));
    let names: std::collections::BTreeSet<_> = events.iter().filter_map(|event| event["name"].as_str()).collect();
    let wanted = ["memory", "move", "out of memory", "process_name", "segment made", "segment released", "trim"];
    assert_eq!(names.into_iter().collect::<Vec<_>>(), wanted);
    Ok(())
}

/// Returns a modified file.
fn modified(change: impl FnOnce(&mut Value)) -> Result<Value, Box<dyn std::error::Error>> {
    let pool = Pool::new(AccountingMemory::new(), PoolOptions { compaction_share: 0.0, ..options() })?;
    pool.start_history(10);
    let scope = pool.scope("step");
    let mut live = (0..4).map(|_| pool.allocate(SEGMENT / 4)).collect::<Result<Vec<_>, _>>()?;
    live.remove(1);
    drop(scope);
    let mut file: Value = serde_json::from_str(&pool.snapshot().to_json())?;
    change(&mut file);
    Ok(file)
}

/// Returns the error from reading a modified file.
fn refusal(change: impl FnOnce(&mut Value)) -> Result<String, Box<dyn std::error::Error>> {
    Ok(Snapshot::from_json(&modified(change)?.to_string()).err().ok_or("the file is inconsistent")?.to_string())
}

#[test]
fn invalid_files_are_refused_with_the_violated_invariant() -> Outcome {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 21] = [
        (|file| file["version"] = json!(2), "snapshot file has version 2, and this crate reads versions up to 1"),
        (|file| file["format"] = json!("x"), "not a snapshot file: its format is \"x\""),
        (|file| file["granule"] = json!(0), "granule of 0 B is not a power of two"),
        (
            |file| file["segments"][0]["blocks"][1]["offset"] = json!(65280),
            "segment 0: the block at 65280 overlaps the previous block, which ends at 65536",
        ),
        (
            |file| file["segments"][0]["blocks"][1]["offset"] = json!(65792),
            "segment 0: no block covers bytes 65536 to 65792",
        ),
        (
            |file| drop(file["segments"][0]["blocks"].as_array_mut().and_then(Vec::pop)),
            "segment 0: no block covers bytes 196608 to 262144",
        ),
        (
            |file| file["segments"][0]["blocks"][3]["size"] = json!(u64::MAX),
            "segment 0: the block at 196608 extends past the segment's end at 262144",
        ),
        (
            |file| file["segments"][0]["blocks"][0]["requested"] = json!(65537),
            "segment 0: the block at 0 has 65536 B, and 65537 B were requested",
        ),
        (
            |file| file["segments"][0]["bytes"] = json!(1_u64 << 53),
            "segment 0 of 9007199254740992 B needs a number above 2^53 - 1, which a viewer cannot represent exactly",
        ),
        (
            |file| {
                let twice = file["segments"][0].clone();
                file["segments"].as_array_mut().expect("a list").push(twice);
            },
            "segment 0 occurs twice",
        ),
        (
            |file| file["segments"][0]["blocks"][0]["origin"]["site"] = json!(7),
            "site 7 does not exist, and the file lists 1",
        ),
        (
            |file| file["segments"][0]["blocks"][0]["origin"]["scope"] = json!(7),
            "scope 7 does not exist, and the file lists 1",
        ),
        (|file| file["scopes"][0]["parent"] = json!(0), "scope 0 does not exist, and the file lists 0"),
        (
            |file| file["pins"] = json!([{"site": 0, "segment": 0, "offset": 65536}]),
            "segment 0: pin at 65536, where no active block starts",
        ),
        (
            |file| file["stats"]["requested"]["current"] = json!(1),
            "counter `requested` is 1, and the segments and blocks sum to 196608",
        ),
        (
            |file| file["segments"][0]["active"] = json!(u64::MAX),
            "segment 0 has 18446744073709551615 active B, and its active blocks sum to 196608 B",
        ),
        (
            |file| file["stats"]["blocks"]["current"] = json!(4),
            "counter `blocks` is 4, and the segments and blocks sum to 3",
        ),
        (
            |file| file["stats"]["inactive_split"]["current"] = json!(0),
            "counter `inactive split` is 0, and the segments and blocks sum to 65536",
        ),
        (
            |file| file["stats"]["large"]["reserved"] = json!(u64::MAX),
            "counter `large reserved` is 18446744073709551615, and the segments and blocks sum to 262144",
        ),
        (|file| file["stats"]["holes"] = json!(7), "counter `holes` is 7, and the segments and blocks sum to 1"),
        (
            |file| file["events"][1]["requested"] = json!(1_u64 << 53),
            "event 1 has a number above 2^53 - 1, which a viewer cannot represent exactly",
        ),
    ];
    for (change, text) in cases {
        assert_eq!(refusal(change)?, text);
        // Other readers of serde know neither the format nor the version, and check the same invariants.
        if !text.contains("snapshot file") {
            let file = modified(change)?;
            assert_eq!(serde_json::from_value::<Snapshot>(file).err().ok_or("accepted")?.to_string(), text);
        }
    }
    for change in [
        (|file| file["segments"][0]["blocks"][0]["size"] = json!(1e30)) as Change,
        |file| file["segments"][0]["blocks"][0]["size"] = json!(-1),
        |file| file["segments"][0]["blocks"][0]["state"] = json!("unheard of"),
        |file| file["segments"] = json!("none"),
    ] {
        let text = refusal(change)?;
        assert!(text.starts_with("not a snapshot file: "), "{text}");
    }
    Ok(())
}

// From 2^53 ns on, after 104 days, viewers round times.
#[test]
fn the_history_of_an_old_pool_is_read_and_exported() -> Outcome {
    for time in [1_u64 << 53, u64::MAX] {
        let file = modified(|file| file["events"][1]["time"] = json!(time))?;
        let snapshot = Snapshot::from_json(&file.to_string())?;
        assert_eq!(snapshot.events[1].time, time);
        assert_eq!(snapshot.to_json(), Snapshot::from_json(&snapshot.to_json())?.to_json());
        assert!(snapshot.to_chrome_trace().contains("\"ts\""));
        assert!(snapshot.to_memory_viz_json()?.contains("time_us"));
        assert!(!snapshot.to_memory_viz_pickle()?.is_empty());
    }
    Ok(())
}

#[test]
fn a_file_truncated_anywhere_is_refused_as_truncated() -> Outcome {
    let pool = Pool::new(AccountingMemory::new(), options())?;
    let storage = pool.allocate(1000)?;
    storage.set_label("</script><script>alert(1)</script>\u{2028}");
    let text = pool.snapshot().to_json();
    for end in (0..text.len()).filter(|&end| text.is_char_boundary(end)) {
        let error = Snapshot::from_json(&text[..end]).err().ok_or("its end is missing")?.to_string();
        assert!(error.starts_with("snapshot file is truncated at line 1"), "cut at {end}: {error}");
    }
    Ok(())
}
