//! The program as a whole: what goes where, and how it ends.

use super::*;
use std::fs;
use std::path::PathBuf;

/// A folder of traces, gone when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wgpu-pool-replay-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary folder takes another");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).expect("the folder takes a file");
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn replay(arguments: &[&str]) -> (Outcome, String, String) {
    let options = Options::try_parse_from([&["replay"], arguments].concat()).expect("the arguments are valid");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let outcome = run(&options, &mut out, &mut err);
    let text = |bytes| String::from_utf8(bytes).expect("all is text");
    (outcome, text(out), text(err))
}

#[test]
fn each_trace_gives_one_json_object_on_a_line_of_its_own() {
    let folder = Folder::new("lines");
    let traces = [folder.write("one.trace", "a 0 100\nf 0\n"), folder.write("two", "")];
    for memory in ["none", "host"] {
        let (outcome, out, err) = replay(&["--memory", memory, &traces[0], &traces[1]]);
        assert_eq!((outcome, err.as_str()), (Outcome::Success, ""));
        let lines: Vec<serde_json::Value> =
            out.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["trace"], &lines[1]["trace"]), (&"one".into(), &"two".into()));
        assert_eq!(lines[0]["memory"], memory);
        for line in lines {
            for key in [
                "scale",
                "events",
                "peak_requested",
                "peak_reserved",
                "driver_peak",
                "ratio",
                "segments_created",
                "segments_released",
                "compactions",
                "bytes_moved",
                "bytes_allocated",
                "moved_ratio",
                "trim_residue",
                "ns_per_event_cold",
                "ns_per_event_warm",
            ] {
                assert!(line[key].as_f64().is_some_and(f64::is_finite), "{key}: {line}");
            }
        }
    }
}

#[test]
fn a_scale_divides_every_size_and_all_figures_are_those_of_the_smaller_sizes() {
    let folder = Folder::new("scale");
    let trace = folder.write("one.trace", "a 0 1000\na 1 1999\nf 0\na 2 3\na 3 0\n");
    let figures = |scale: &str| {
        let (outcome, out, err) = replay(&["--memory", "host", "--scale", scale, &trace]);
        assert_eq!((outcome, err.as_str()), (Outcome::Success, ""));
        let line: serde_json::Value = serde_json::from_str(&out).expect("it is JSON");
        ["scale", "events", "peak_requested"].map(|key| line[key].as_u64().unwrap_or(u64::MAX))
    };
    assert_eq!(figures("1"), [1, 5, 2999]);
    assert_eq!(figures("100"), [100, 5, 10 + 19]);
    // Of 1,999 and 3 bytes 1 each is left, which is more than before.
    assert_eq!(figures("1999"), [1999, 5, 2]);
    assert_eq!(figures("18446744073709551615"), [u64::MAX, 5, 2]);
}

#[test]
fn a_malformed_trace_is_reported_with_its_line_and_the_others_are_replayed() {
    let folder = Folder::new("malformed");
    let (bad, good) = (folder.write("bad.trace", "a 0 100\nf 7\n"), folder.write("good.trace", "a 0 100\n"));
    let (outcome, out, err) = replay(&[&bad, &good]);
    assert_eq!(outcome, Outcome::Refused);
    assert_eq!(err, format!("replay: {bad}:2: id 7 is freed and was never allocated\n"));
    assert!(out.starts_with("{\"trace\":\"good\",") && out.lines().count() == 1, "{out}");
}

#[test]
fn a_limit_that_is_too_low_fails_with_the_numbers_on_standard_error_alone() {
    let folder = Folder::new("limit");
    let large = folder.write("large.trace", "a 0 16777216\n");
    let (outcome, out, err) = replay(&["--limit", "8MiB", &large]);
    assert_eq!((outcome, out.as_str()), (Outcome::Failed, ""));
    let start = format!("replay: {large}: line 1: out of memory: requested 16.0 MiB, limit 8.0 MiB, allocated 0 B");
    assert!(err.starts_with(&start), "{err}");
}

#[test]
fn a_trace_that_fails_at_a_limit_without_compaction_succeeds_with_it() {
    let folder = Folder::new("compact");
    // Blocks that share segments fill the limit; every other one goes, and then half of it is wanted in one piece.
    let block = 256 << 10;
    let mut text: String = (0..128).map(|id| format!("a {id} {block}\n")).collect();
    text += &(0..64).map(|half| format!("f {}\n", 2 * half)).collect::<String>();
    text += &format!("a 128 {}\n", 64 * block);
    let trace = folder.write("shattered.trace", &text);
    let limit = ["--limit", "32MiB", "--memory", "host"];
    let (outcome, out, err) = replay(&[&limit[..], &["--compact", "off", &trace]].concat());
    assert_eq!((outcome, out.as_str()), (Outcome::Failed, ""));
    assert!(err.contains("out of memory"), "{err}");
    let (outcome, out, err) = replay(&[&limit[..], &["--compact", "on", &trace]].concat());
    assert_eq!((outcome, err.as_str()), (Outcome::Success, ""));
    let line: serde_json::Value = serde_json::from_str(&out).expect("it is JSON");
    assert!(line["bytes_moved"].as_u64().is_some_and(|bytes| bytes >= 4 << 20), "{line}");
}

/// A reader that has gone away.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_output_pipe_is_not_a_failure() {
    let folder = Folder::new("pipe");
    let trace = folder.write("one.trace", "a 0 100\n");
    let options = Options::try_parse_from(["replay", &trace]).expect("the arguments are valid");
    let mut err = Vec::new();
    assert_eq!(run(&options, &mut Closed, &mut err), Outcome::Success);
    assert!(err.is_empty());
}

#[test]
fn a_trace_is_named_after_its_file() {
    let names = ["tests/data/a.trace.gz", "a.trace", "a", "a.gz", "b/a.trace.gz"].map(|path| name(Path::new(path)));
    assert!(names.iter().all(|name| name == "a"), "{names:?}");
}

#[test]
fn a_table_has_a_row_for_each_trace_and_no_json() {
    let folder = Folder::new("table");
    let traces = [folder.write("one.trace", "a 0 100\nf 0\n"), folder.write("two.trace", "a 0 1048576\n")];
    let (outcome, out, err) = replay(&["--table", &traces[0], &traces[1]]);
    assert_eq!((outcome, err.as_str()), (Outcome::Success, ""));
    let rows = |name: &str| out.lines().filter(|line| line.starts_with(name)).count();
    assert_eq!((rows("one "), rows("two "), rows("geometric mean "), rows("{")), (1, 1, 1, 0), "{out}");

    let (outcome, out, err) = replay(&["--table", &folder.write("bad.trace", "b\n")]);
    assert_eq!((outcome, out.as_str()), (Outcome::Refused, ""));
    assert!(err.contains("bad.trace"), "{err}");
    assert!(Options::try_parse_from(["replay", "--table", "--compact", "on", &traces[0]]).is_err());
}

#[test]
fn the_intervals_of_each_trace_are_written_as_csv_that_the_planner_reads() {
    let folder = Folder::new("intervals");
    let traces = [folder.write("one.trace", "a 0 100\na 1 0\nf 0\na 2 64\n"), folder.write("two", "")];
    let target = folder.0.display().to_string();
    let (outcome, _, err) = replay(&["--intervals", &target, &traces[0], &traces[1]]);
    assert_eq!((outcome, err.as_str()), (Outcome::Success, ""));
    let written = |name: &str| fs::read_to_string(folder.0.join(name)).expect("it was written");
    assert_eq!(written("one.csv"), "id,lower,upper,size\n0,0,2,100\n2,3,4,64\n");
    let problem = wgpu_pool::plan::Problem::from_csv(&written("one.csv")).expect("it is well formed");
    assert_eq!(problem.buffers().len(), 2);
    assert_eq!(written("two.csv"), "id,lower,upper,size\n");
    let (outcome, _, err) = replay(&["--intervals", "no/such/folder", &traces[0]]);
    assert_eq!(outcome, Outcome::Failed);
    assert!(err.contains("one.csv can't be written: "), "{err}");
}

#[test]
fn a_snapshot_of_pytorch_is_replayed_as_any_trace() {
    let folder = Folder::new("snapshot");
    let event = |action, size| format!("{{\"action\":\"{action}\",\"addr\":64,\"size\":{size},\"stream\":0}}");
    let history = [event("alloc", 1000), event("free_requested", 1000), event("alloc", 10)].join(",");
    let path = folder.write("dump.json", &format!("{{\"segments\":[],\"device_traces\":[[{history}]]}}"));
    let (outcome, out, err) = replay(&[&path]);
    assert_eq!((outcome, err.as_str()), (Outcome::Success, ""));
    let line: serde_json::Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!((&line["events"], &line["peak_requested"]), (&3.into(), &1000.into()));
    let (outcome, _, err) = replay(&["--device", "3", &path]);
    assert_eq!(outcome, Outcome::Refused);
    assert!(err.ends_with("dump.json: the snapshot has a history of the devices 0, and none of device 3\n"), "{err}");
}
