//! Tests of the reader of traces: valid traces, and the errors of invalid ones.

use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

const GOOD: &str = "a 0 100\na 1 0\nf 0\na 2 50\nf 1\n";

fn read(bytes: &[u8]) -> Result<Trace, (u64, String)> {
    Trace::read(bytes).map_err(|(line, fault)| (line, fault.to_string()))
}

fn compressed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).expect("a vector takes everything");
    encoder.finish().expect("a vector takes everything")
}

#[test]
fn ids_map_to_reusable_slots() {
    let trace = read(GOOD.as_bytes()).expect("it is well formed");
    assert_eq!(
        trace.events,
        [
            Event::Allocate { slot: 0, bytes: 100 },
            Event::Allocate { slot: 1, bytes: 0 },
            Event::Free { slot: 0 },
            Event::Allocate { slot: 0, bytes: 50 },
            Event::Free { slot: 1 },
        ]
    );
    assert_eq!((trace.slots, trace.peak_requested), (2, 100));
}

#[test]
fn a_compressed_trace_reads_as_the_plain_one_in_one_stream_or_several() {
    let plain = read(GOOD.as_bytes());
    assert_eq!(read(&compressed(GOOD)), plain);
    let (first, second) = GOOD.split_at(8);
    assert_eq!(read(&[compressed(first), compressed(second)].concat()), plain);
}

#[test]
fn a_trace_may_be_empty_end_without_a_newline_and_have_the_line_ends_of_windows() {
    assert_eq!(read(b""), Ok(Trace::default()));
    assert_eq!(read(&compressed("")), Ok(Trace::default()));
    let plain = read(GOOD.as_bytes());
    assert_eq!(read(GOOD.trim_end().as_bytes()), plain);
    assert_eq!(read(GOOD.replace('\n', "\r\n").as_bytes()), plain);
}

#[test]
fn a_malformed_line_is_refused_with_its_number_and_what_is_wrong() {
    let usage = "an event is `a ID BYTES` or `f ID`";
    let cases = [
        ("b 0 1", format!("unknown event `b`: {usage}")),
        ("allocate 0 1", format!("unknown event `allocate`: {usage}")),
        ("\u{fc}", format!("unknown event `\\xc3\\xbc`: {usage}")),
        ("", "the line is empty".into()),
        ("  ", "the line is empty".into()),
        ("a", format!("a number is missing: {usage}")),
        ("a 2", format!("a number is missing: {usage}")),
        ("f", format!("a number is missing: {usage}")),
        ("a 2 10 10", format!("`10` is too much: {usage}")),
        ("f 0 100", format!("`100` is too much: {usage}")),
        ("a 2 10; drop", "`10;` is no whole number".into()),
        ("a 2 -1", "`-1` is no whole number".into()),
        ("a 2 +1", "`+1` is no whole number".into()),
        ("a 2 1.5", "`1.5` is no whole number".into()),
        ("a 2 0x10", "`0x10` is no whole number".into()),
        ("a x 10", "`x` is no whole number".into()),
        ("a 2 18446744073709551616", "`18446744073709551616` is too large, numbers have 64 bits".into()),
        ("a 2 18446744073709551615", "the bytes of all allocations together are above 2^64".into()),
        ("a 99999999999999999999 1", "`99999999999999999999` is too large, numbers have 64 bits".into()),
        ("a 3 10", "id 3 is out of order, 2 is next".into()),
        ("a 1 10", "id 1 is out of order, 2 is next".into()),
        ("a 0 10", "id 0 is out of order, 2 is next".into()),
        ("f 2", "id 2 is freed and was never allocated".into()),
        ("f 18446744073709551615", "id 18446744073709551615 is freed and was never allocated".into()),
        ("f 1", "id 1 is freed twice".into()),
    ];
    for (line, expected) in cases {
        // Two allocations live, one of them freed; the line in question is the fourth of five.
        let text = format!("a 0 100\na 1 200\nf 1\n{line}\nf 0\n");
        assert_eq!(read(text.as_bytes()), Err((4, expected.clone())), "{line:?}");
        assert_eq!(read(&compressed(&text)), Err((4, expected)), "{line:?}, compressed");
    }
}

#[test]
fn an_overlong_line_is_refused_before_it_fills_the_memory() {
    let text = format!("a 0 100\n{}", "a".repeat(1 << 20));
    assert_eq!(read(text.as_bytes()), Err((2, "the line is longer than 1024 bytes".into())));
    // A line of exactly that length is judged by what it says.
    let spaces = " ".repeat(1024 - "a 0 1\n".len());
    assert!(read(format!("a 0{spaces} 1\n").as_bytes()).is_ok());
    assert!(read(format!("a 0 {spaces} 1\n").as_bytes()).is_err());
}

#[test]
fn a_field_of_any_length_is_shown_in_a_short_message() {
    let (line, message) = read(format!("a 0 {}\n", "9".repeat(200)).as_bytes()).expect_err("it has too many digits");
    assert_eq!(line, 1);
    assert_eq!(message, format!("`{}...` is too large, numbers have 64 bits", "9".repeat(24)));
}

#[test]
fn a_truncated_stream_is_refused() {
    let text: String = (0..1000).map(|id| format!("a {id} {}\n", id * 37 % 1009)).collect();
    let whole = compressed(&text);
    assert!(read(&whole).is_ok());
    for length in 2..whole.len() {
        let (line, message) = read(&whole[..length]).expect_err("it is cut off");
        assert_eq!(
            message, "the gzip stream, or something that follows it, is cut off",
            "after {length} bytes, line {line}"
        );
    }
}

#[test]
fn a_stream_followed_by_a_few_bytes_is_refused() {
    let (_, message) = read(&[compressed(GOOD).as_slice(), b"hi"].concat()).expect_err("that is no stream");
    assert_eq!(message, "the gzip stream, or something that follows it, is cut off");
}

#[test]
fn a_damaged_stream_or_trailing_data_is_refused() {
    let whole = compressed(GOOD);
    let mut damaged = whole.clone();
    let checksum = whole.len() - 8;
    damaged[checksum] ^= 1;
    for bytes in
        [damaged, [whole.as_slice(), b"garbage and more of it"].concat(), [whole.as_slice(), &[0; 32]].concat()]
    {
        let (line, message) = read(&bytes).expect_err("it is damaged");
        assert!(message.starts_with("the gzip stream is corrupt, or something follows it: "), "{line}: {message}");
    }
}

#[test]
fn a_missing_file_is_reported_by_name() {
    let error = Trace::open(Path::new("no/such.trace")).expect_err("there is no such file").to_string();
    assert!(error.starts_with("no/such.trace: cannot be read: "), "{error}");
}

#[test]
fn a_scaled_trace_has_the_same_events_with_smaller_sizes_and_its_own_peak() {
    let read = Trace::read("a 0 7\na 1 100\nf 0\na 2 20\nf 1\na 3 0\n".as_bytes()).expect("it is well formed");
    let scaled = read.clone().scaled(NonZeroU64::new(10).expect("not zero"));
    let sizes = |trace: &Trace| -> Vec<u64> {
        trace
            .events
            .iter()
            .filter_map(|event| if let Event::Allocate { bytes, .. } = event { Some(*bytes) } else { None })
            .collect()
    };
    assert_eq!(sizes(&scaled), [1, 10, 2, 0]);
    assert_eq!((scaled.slots, scaled.events.len(), scaled.peak_requested), (read.slots, read.events.len(), 12));
    assert_eq!(read.clone().scaled(NonZeroU64::MIN), read);
}

#[path = "../../fuzz/bodies/trace.rs"]
mod fuzzed;

/// The committed inputs of the fuzz target `trace`.
#[test]
fn every_accepted_input_satisfies_the_invariants_of_a_trace() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/trace");
    let mut inputs = 0;
    for entry in std::fs::read_dir(&folder).expect("the checkout holds the inputs") {
        let path = entry.expect("the folder can be read").path();
        eprintln!("{}", path.display());
        fuzzed::run(&std::fs::read(&path).expect("the input can be read"));
        inputs += 1;
    }
    assert!(inputs > 5, "{inputs} inputs");
}
