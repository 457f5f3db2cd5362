//! Tests of the readers of other programs' traces.

#[cfg(feature = "serde")]
use crate::trace::Event;
use crate::trace::Trace;
use serde_json::{Value, json};
#[cfg(feature = "serde")]
use std::collections::BTreeMap;

fn read(bytes: &[u8], device: Option<usize>) -> Result<Trace, (u64, String)> {
    super::read(bytes, device).map_err(|(line, fault)| (line, fault.to_string()))
}

/// The same file as text of `a ID BYTES` and `f ID`.
fn same_as(bytes: &[u8], expected: &str) {
    assert_eq!(read(bytes, None), read(expected.as_bytes(), None));
}

fn entry(action: &str, addr: u64, size: u64) -> Value {
    json!({ "action": action, "addr": addr, "size": size, "stream": 0, "time_us": 1_700_000_000_000_000_u64, "frames": [] })
}

fn block(size: u64, requested: u64, state: &str) -> Value {
    json!({ "size": size, "requested_size": requested, "state": state, "frames": [{ "filename": "a.py", "line": 3, "name": "f" }] })
}

/// A snapshot of device 0 with one segment at address 4096.
fn snapshot(blocks: &[Value], traces: &[&[Value]]) -> Value {
    json!({
        "segments": [{ "device": 0, "address": 4096, "total_size": 2_097_152, "segment_type": "small", "blocks": blocks }],
        "device_traces": traces,
        "allocator_settings": { "expandable_segments": false },
    })
}

/// As JSON, and as the pickle of the same value.
fn both(snapshot: &Value) -> [Vec<u8>; 2] {
    let pickle = serde_pickle::to_vec(snapshot, serde_pickle::SerOptions::new()).expect("every value can be pickled");
    [snapshot.to_string().into_bytes(), pickle]
}

#[test]
fn a_snapshot_of_pytorch_is_read_as_json_and_as_pickle() {
    let events = [
        entry("segment_alloc", 4096, 2_097_152),
        entry("alloc", 4096, 1000),
        entry("alloc", 5120, 20),
        entry("free_requested", 4096, 1000),
        entry("free_completed", 4096, 1000),
        json!({ "action": "oom", "device_free": 100, "size": 7, "stream": 0 }),
        entry("alloc", 4096, 500),
        entry("snapshot", 0, 0),
    ];
    let blocks =
        [block(1024, 500, "active_allocated"), block(512, 20, "active_allocated"), block(2_095_616, 0, "inactive")];
    for bytes in both(&snapshot(&blocks, &[&events])) {
        same_as(&bytes, "a 0 1000\na 1 20\nf 0\na 2 500\n");
    }
}

#[test]
fn blocks_from_before_the_history_come_first_by_address() {
    // 5120 is freed and was never allocated; 6144 is only in the segments; 7168 waits for a stream, so it was freed before.
    let events = [entry("free_requested", 5120, 30), entry("free_completed", 7168, 9), entry("alloc", 5120, 40)];
    let blocks = [
        block(1024, 0, "inactive"),
        block(1024, 40, "active_allocated"),
        block(1024, 1001, "active_allocated"),
        block(1024, 9, "active_pending_free"),
    ];
    for bytes in both(&snapshot(&blocks, &[&events])) {
        same_as(&bytes, "a 0 30\na 1 1001\nf 0\na 2 40\n");
    }
}

#[test]
fn the_device_of_a_snapshot_is_the_one_with_a_history_or_chosen() {
    let (first, second) = ([entry("alloc", 4096, 1)], [entry("alloc", 8192, 2)]);
    let one = snapshot(&[], &[&[], &second]).to_string();
    same_as(one.as_bytes(), "a 0 2\n");
    let two = snapshot(&[], &[&first, &second, &[]]).to_string();
    let several = "the snapshot has a history of the devices 0, 1; choose one with --device".to_string();
    assert_eq!(read(two.as_bytes(), None), Err((0, several)));
    assert_eq!(read(two.as_bytes(), Some(1)), read(b"a 0 2\n", None));
    let none = "the snapshot has a history of the devices 0, 1, and none of device 2".to_string();
    assert_eq!(read(two.as_bytes(), Some(2)), Err((0, none)));
    let (line, text) = read(snapshot(&[], &[&[]]).to_string().as_bytes(), None).expect_err("there is no event");
    assert!(line == 0 && text.starts_with("the snapshot has no history"), "{text}");
}

#[test]
fn a_malformed_snapshot_is_refused_with_the_field_or_the_event() {
    let twice = [entry("alloc", 4096, 1), entry("alloc", 4096, 2)];
    let text = read(snapshot(&[], &[&twice]).to_string().as_bytes(), None).expect_err("the address is in use").1;
    assert_eq!(text, "event 1 of device 0: address 0x1000 is allocated while it is in use");
    let huge = [entry("alloc", 4096, u64::MAX), entry("alloc", 8192, 1)];
    let text = read(snapshot(&[], &[&huge]).to_string().as_bytes(), None).expect_err("the sum overflows").1;
    assert_eq!(text, "event 1 of device 0: the bytes of all allocations together are above 2^64");
    for (bytes, reason) in [
        (&b"{}"[..], "missing field `device_traces`"),
        (b"{\"device_traces\": [[{}]]}", "missing field `action`"),
        (b"{\"device_traces\": 1", "invalid type"),
        (b"\x80\x04", "EOF"),
        (b"\x80\x04}.", "missing field"),
        (b"\x80\x04K\x01.", "invalid type"),
    ] {
        let (line, text) = read(bytes, None).expect_err("it is no snapshot");
        assert!(line == 0 && text.starts_with("not a snapshot of PyTorch: ") && text.contains(reason), "{text}");
    }
}

#[cfg(feature = "serde")]
#[test]
fn a_file_for_memory_viz_that_this_crate_has_written_gives_back_the_events() {
    let pool = wgpu_pool::Pool::new(wgpu_pool::AccountingMemory::new(), wgpu_pool::PoolOptions::default());
    let pool = pool.expect("the defaults are valid");
    let early = pool.allocate(3000).expect("there is no limit");
    pool.start_history(1000);
    let mut live = BTreeMap::from([(0, early)]);
    // The history has the sizes of blocks: multiples of 32.
    let mut expected = vec![Event::Allocate { slot: 0, bytes: 3008 }];
    for step in 1..200_u64 {
        let slot = u32::try_from(step % 7).expect("it is below 7");
        if live.remove(&slot).is_some() {
            expected.push(Event::Free { slot });
        }
        let bytes = step * 37 % 5000 + 1;
        live.insert(slot, pool.allocate(bytes).expect("there is no limit"));
        expected.push(Event::Allocate { slot, bytes: bytes.next_multiple_of(32) });
    }
    let pickle = pool.snapshot().to_memory_viz_pickle().expect("the pool is small");
    let trace = read(&pickle, None).expect("it is a snapshot");
    // The reader numbers slots in another order.
    let sizes = |events: &[Event]| {
        let mut slots = BTreeMap::new();
        let mut sizes = Vec::new();
        for event in events {
            match *event {
                Event::Allocate { slot, bytes } => {
                    slots.insert(slot, bytes);
                    sizes.push((true, bytes));
                }
                Event::Free { slot } => sizes.push((false, slots[&slot])),
            }
        }
        sizes
    };
    assert_eq!(sizes(&trace.events), sizes(&expected));
}

#[test]
fn a_trace_of_stalloc_is_read_without_its_marks() {
    let text = "Iteration Index : 0\n1 0x7f00 1024 0\nmodel.mlp->ParallelMLP Layer : F-start\n1 0 0 0\n1 0x9000 7 0x55aa\n\
                micro-batch : F\n0 0x7f00 1024 0\n0 0 0 0\n1 0x7f00 5 0\nIteration Index : end\n";
    same_as(text.as_bytes(), "a 0 1024\na 1 7\nf 0\na 2 5\n");
    same_as(b"1 0xFF 3 0\r\n0 0xff 3 0", "a 0 3\nf 0\n");
}

#[test]
fn a_malformed_line_of_a_trace_of_stalloc_is_refused_with_its_number() {
    for (line, reason) in [
        ("1 0x20 1 0 9", "`9` is too much"),
        ("1 0x20 x 0", "`x` is no whole number"),
        ("1 0x20 1", "`1 0x20 1` is neither an event"),
        ("1 32 1 0", "`32` is no address"),
        ("1 0x1ffffffffffffffff 1 0", "is no address"),
        ("1 0x10 4 0", "address 0x10 is allocated while it is in use"),
        ("0 0x20 1 0", "address 0x20 is freed and is not in use"),
        ("0 0x10 4 0", "address 0x10 is freed with 4 bytes and has 8"),
        ("2 0x20 1 0", "`2 0x20 1 0` is neither an event"),
    ] {
        let (number, text) = read(format!("1 0x10 8 0\n{line}\n").as_bytes(), None).expect_err(line);
        assert!(number == 2 && text.contains(reason), "{number}: {text}");
    }
}

/// What Python's pickler writes for a history whose events share their frames: references to what was written before.
const SHARED_FRAMES: &[u8] =
    b"\x80\x04\x95\x1b\x01\x00\x00\x00\x00\x00\x00}\x94(\x8c\x08segments\x94]\x94\x8c\x0ddevice_traces\x94]\x94\
      ]\x94(}\x94(\x8c\x06action\x94\x8c\x05alloc\x94\x8c\x04addr\x94M\x00\x10\x8c\x04size\x94Kd\x8c\x06stream\x94\
      K\x00\x8c\x06frames\x94]\x94(}\x94(\x8c\x08filename\x94\x8c\x08train.py\x94\x8c\x04line\x94K\x03\x8c\x04n\
      ame\x94\x8c\x01f\x94uh\x0eeu}\x94(h\x07h\x08h\x09M\x00\x12h\x0aKeh\x0bK\x00h\x0c]\x94(h\x0eh\x0eeu}\x94(h\
      \x07h\x08h\x09M\x00\x14h\x0aKfh\x0bK\x00h\x0c]\x94(h\x0eh\x0eeu}\x94(h\x07\x8c\x0efree_requested\x94h\x09\
      M\x00\x10h\x0aKdh\x0bK\x00h\x0c]\x94h\x0eau}\x94(h\x07h\x08h\x09M\x00\x10h\x0aK\x07h\x0bK\x00h\x0ch\x1aue\
      au.";

#[test]
fn a_pickle_whose_events_share_frames_is_read() {
    same_as(SHARED_FRAMES, "a 0 100\na 1 101\na 2 102\nf 0\na 3 7\n");
}

/// With `skip_actions=["free_requested"]`.
#[test]
fn a_history_without_the_requests_frees_where_they_are_completed() {
    let events = [
        entry("free_completed", 5120, 30),
        entry("alloc", 4096, 1000),
        entry("free_completed", 4096, 1000),
        entry("alloc", 4096, 7),
        entry("alloc", 5120, 8),
    ];
    for bytes in both(&snapshot(&[], &[&events])) {
        same_as(&bytes, "a 0 30\nf 0\na 1 1000\nf 1\na 2 7\na 3 8\n");
    }
}

/// What `pickle.dumps(…, protocol=0)` and `protocol=1` write.
#[test]
fn a_pickle_of_the_first_protocols_is_read() {
    let zero = b"(dp0\nVsegments\np1\n(lp2\nsVdevice_traces\np3\n(lp4\n(lp5\n(dp6\nVaction\np7\nValloc\np8\nsVaddr\np9\nI4096\nsVsize\n\
                 p10\nL100L\nsaas.";
    let one = b"}q\x00(X\x08\x00\x00\x00segmentsq\x01]q\x02X\r\x00\x00\x00device_tracesq\x03]q\x04]q\x05}q\x06(X\x06\x00\x00\x00actionq\x07\
                X\x05\x00\x00\x00allocq\x08X\x04\x00\x00\x00addrq\tM\x00\x10X\x04\x00\x00\x00sizeq\nKduaau.";
    same_as(zero, "a 0 100\n");
    same_as(one, "a 0 100\n");
}

/// The dictionary `{"x": value}`.
fn pickle_of(value: &[u8]) -> Vec<u8> {
    [b"\x80\x02}X\x01\0\0\0x", value, b"s."].concat()
}

#[test]
fn deeply_nested_values_are_refused_and_end_no_program() {
    const DEEP: usize = 200_000;
    let number = |count: usize| u32::try_from(count).expect("it is small").to_le_bytes();
    // Lists that are finished one after the other, the last one first.
    let lists = |depth: usize| [b"]".repeat(depth), b"a".repeat(depth - 1)].concat();
    let tuples = |depth: usize| [b"N".to_vec(), b"\x85".repeat(depth - 1)].concat();
    let marked = |depth: usize| [b"(".repeat(depth), b"l".repeat(depth)].concat();
    // Each list has a number, and a reference to the one before.
    let referring = |depth: usize| {
        let one = |level: usize| [b"]r".as_slice(), &number(level), b"j", &number(level - 1), b"a0"].concat();
        let first = [b"]r".as_slice(), &number(0), b"0"].concat();
        let lists: Vec<u8> = (1..depth).flat_map(one).collect();
        [first, lists, [b"j".as_slice(), &number(depth - 1)].concat()].concat()
    };
    // The same, but each list is empty when the one before refers to it.
    let growing = |depth: usize| {
        let empty = (0..depth).flat_map(|level| [b"]r".as_slice(), &number(level), b"0"].concat());
        let grown =
            (1..depth).flat_map(|level| [b"j".as_slice(), &number(level - 1), b"j", &number(level), b"a0"].concat());
        let lists: Vec<u8> = empty.chain(grown).collect();
        [lists, [b"j".as_slice(), &number(0)].concat()].concat()
    };
    // A number that is given to a deeper list each time, of which the one before is a part.
    let renumbering = |depth: usize| [b"]q\0".to_vec(), b"\x85q\0".repeat(depth - 1)].concat();
    let of_depth: [&dyn Fn(usize) -> Vec<u8>; 6] = [&lists, &tuples, &marked, &referring, &growing, &renumbering];
    for (kind, values) in of_depth.iter().enumerate() {
        let text = |depth| read(&pickle_of(&values(depth)), None).expect_err("it has no history").1;
        assert_eq!(text(DEEP), "not a snapshot of PyTorch: its values are nested in more than 128 levels", "{kind}");
        assert!(text(60).contains("missing field `device_traces`"), "{kind}: {}", text(60));
    }
    // Cut off, and with what follows the end.
    let mut cut = pickle_of(&lists(DEEP));
    cut.pop();
    assert!(read(&cut, None).expect_err("it is cut off").1.ends_with("more than 128 levels"));
    // In JSON, unknown fields are skipped without nested calls, and known ones are bounded.
    for (start, end) in [("{\"x\":", "}"), ("{\"device_traces\":[[{\"frames\":", "}]]}")] {
        let json = [start, &"[".repeat(DEEP), &"]".repeat(DEEP), end].concat();
        assert!(read(json.as_bytes(), None).expect_err("a field is missing").1.contains("missing field"), "{start}");
    }
    let known = format!("{{\"segments\":[{{\"blocks\":{}", "[".repeat(DEEP));
    assert!(read(known.as_bytes(), None).expect_err("it is cut off").1.starts_with("not a snapshot of PyTorch: "));
}
