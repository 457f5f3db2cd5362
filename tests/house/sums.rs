//! Sums and shifts of sizes written with `+` and `<<`, which wrap silently in release builds. Each file over the shapes of the caller has as
//! many of them as are listed here, with the reason why they cannot overflow. Others go through `src/tensor/arithmetic.rs`, are checked, or
//! saturate.

use crate::products::{CHECKED, OVER_SHAPES};

/// Further files whose sizes come from the caller.
const MORE: [&str; 5] =
    ["src/ops/fill.rs", "src/ops/launch.rs", "src/ops/placed.rs", "src/ops/random.rs", "src/ops/read.rs"];

/// The number of sums and shifts in a file, and why each is bounded.
const BOUNDED: [(&str, usize, &str); 32] = [
    ("src/ops/arrange.rs", 1, "sizes of an axis, whose sum was checked"),
    ("src/ops/image/bands.rs", 7, "rows and positions within the padded size, which was checked"),
    ("src/ops/image/blocks.rs", 3, "ranges within a batch and rows"),
    (
        "src/ops/image/convolve.rs",
        3,
        "the lines of a weight for which loops are within the limit; iterations of loops over constants",
    ),
    ("src/ops/image/correlate.rs", 4, "units of the K dimension; iterations of loops whose numbers were checked"),
    (
        "src/ops/image/correlation_kernel.rs",
        6,
        "iterations of loops over the taps of a window, below 2^63; channels and taps of a group, and their chunks, at most 2^61",
    ),
    ("src/ops/image/folded_gradient.rs", 3, "positions within the padded size, which was checked"),
    ("src/ops/image/passes.rs", 1, "a flag"),
    ("src/ops/image/resample.rs", 7, "in 64 bits, sizes below 2^30; rows of an image"),
    ("src/ops/image/weight_gradient.rs", 4, "lines of a weight; iterations of loops over spans of at most 2^18"),
    ("src/ops/image/weight_parts.rs", 3, "channels or outputs of an image or a weight, which exist"),
    ("src/ops/image/weight_kernel.rs", 1, "lines of a weight"),
    ("src/ops/image/weight_tile.rs", 1, "iterations of a loop, a constant"),
    ("src/ops/indexed.rs", 3, "a rank and a flag; iterations of loops over six dimensions"),
    ("src/ops/launch.rs", 8, "constants, bounds of types, and texts"),
    ("src/ops/matmul/in_parts.rs", 3, "lengths of at most a quarter more than K; iterations of loops"),
    ("src/ops/matmul/mod.rs", 1, "lengths of parts of K"),
    ("src/ops/matmul/product.rs", 2, "iterations of loops over a slice; a number of dimensions"),
    ("src/ops/placed.rs", 1, "an element of the tensor"),
    ("src/ops/random.rs", 1, "elements of a block, which exists, and at most three more"),
    ("src/ops/read.rs", 1, "places of a tensor in the host's memory"),
    (
        "src/ops/reduce.rs",
        14,
        "constants; ranks; a number of bindings; iterations of loops over parts, which are bounded",
    ),
    ("src/ops/rows.rs", 2, "iterations of loops over columns of a tensor; an axis"),
    ("src/tensor/axis.rs", 1, "a number of axes"),
    ("src/tensor/blocks.rs", 6, "numbers of blocks and of references; elements of the tensor; a bound of a type"),
    ("src/tensor/format.rs", 17, "columns of a line, axes, and elements that are printed"),
    ("src/tensor/index.rs", 1, "a number of axes"),
    ("src/tensor/layout.rs", 10, "axes; places of elements, below 2^61"),
    ("src/tensor/mod.rs", 2, "places of elements, below 2^61"),
    ("src/tensor/overlap.rs", 2, "numbers of 128 bits"),
    ("src/tensor/pieces.rs", 3, "indices within an axis; places of elements"),
    ("src/tensor/view.rs", 2, "a rank; sizes whose sum was checked"),
];

/// The same of the heap and the pool, without increments by one: no counter of events reaches the end of 64 bits, and the counters of 32
/// bits count what the host's memory holds. The sum of all segments and detached blocks is checked at each increase
/// (`Heap::check_total`), which bounds every sum over different segments or blocks. Totals over time saturate.
const OF_MEMORY: [(&str, usize, &str); 51] = [
    ("src/heap/allocate.rs", 10, "granules of one segment, below 2^32; shifts to bytes of a block"),
    (
        "src/heap/check/mod.rs",
        21,
        "parts of the segments and detached blocks, whose sum was checked; places in one segment; shifts of granules",
    ),
    ("src/heap/class.rs", 5, "bits of a class, which a test compares with every boundary"),
    ("src/heap/compaction/commit.rs", 1, "granules of one segment"),
    ("src/heap/compaction/gathering.rs", 1, "granules of one segment"),
    ("src/heap/compaction/holes.rs", 3, "granules of different holes, in 64 bits; granules of one segment"),
    (
        "src/heap/compaction/packing.rs",
        6,
        "granules of different segments, in 64 bits; shares of 32 bits; shifts of their bytes, whose sum was checked",
    ),
    (
        "src/heap/compaction/repack.rs",
        7,
        "granules of one segment; a share of 64 bits, in 128; the bytes of a segment that replaces a larger one",
    ),
    ("src/heap/compaction/segments.rs", 2, "a share of 32 bits; sizes of different segments, whose sum was checked"),
    ("src/heap/compaction/window.rs", 3, "granules of one segment; a shift of the bytes of different holes"),
    ("src/heap/detach.rs", 2, "sizes of neighbours in one segment"),
    ("src/heap/lists.rs", 10, "numbers of blocks; single bits"),
    ("src/heap/mod.rs", 6, "sizes of different segments, whose sum was checked; shifts of a granule and of granules"),
    ("src/heap/planned.rs", 3, "granules of one segment, in 64 bits or below its size"),
    ("src/heap/segment.rs", 3, "segments and detached blocks, whose sum is checked at each increase"),
    ("src/heap/stats.rs", 2, "parts of the segments and detached blocks, whose sum was checked"),
    ("src/pool/append.rs", 1, "an index below a constant"),
    ("src/pool/attribution/history.rs", 3, "a number of scopes; an index of a list"),
    ("src/pool/attribution/holders.rs", 1, "requested bytes of different blocks"),
    ("src/pool/attribution/origins.rs", 2, "a number of scopes; the slot of a block"),
    ("src/pool/compact.rs", 2, "moves of plans, a number and the bytes of different blocks"),
    ("src/pool/dry_run/batch.rs", 1, "halves of a range"),
    ("src/pool/dry_run/log.rs", 1, "blocks on the device and in host memory, whose sum was checked"),
    (
        "src/pool/growth.rs",
        3,
        "a target or one block, below 2^59, and a part of the segments; a part of a size, in a test",
    ),
    ("src/pool/host_copy.rs", 3, "places in one segment; an index"),
    ("src/pool/ladder.rs", 2, "a number of waits; parts of different segments, at most the reserved bytes"),
    ("src/pool/make_room.rs", 1, "numbers of requests; parts of different segments, at most the reserved bytes"),
    ("src/pool/messages.rs", 1, "a number of nested guards"),
    ("src/pool/options.rs", 1, "a constant"),
    ("src/pool/pressure.rs", 1, "a number of calls"),
    ("src/pool/profile.rs", 1, "nanoseconds of one profile"),
    ("src/pool/references.rs", 1, "a counter of 31 bits, which the caller has compared"),
    ("src/pool/release.rs", 3, "numbers of periods and of segments"),
    ("src/pool/remedies.rs", 1, "a number of segments"),
    ("src/pool/repeat/arena.rs", 1, "a part of one segment, which is below 2^45 bytes"),
    ("src/pool/repeat/live.rs", 1, "places in one segment"),
    ("src/pool/repeat/log.rs", 1, "the slot of a block"),
    ("src/pool/repeat/mod.rs", 8, "numbers of runs; a shift by at most 10"),
    ("src/pool/repeat/run.rs", 6, "numbers of requests of one run"),
    ("src/pool/repeat/step_plan.rs", 6, "places in a plan, in granules; indices; capacities of lists"),
    (
        "src/pool/residence/clear_range.rs",
        9,
        "indices and places in one segment; bytes of different blocks; costs in 128 bits, of sizes by numbers of blocks",
    ),
    ("src/pool/residence/copy_back.rs", 2, "bytes of a slice"),
    ("src/pool/residence/host_segments.rs", 4, "segments within the limit on host bytes; an eighth of a size"),
    (
        "src/pool/residence/make_space.rs",
        2,
        "parts of different segments, at most the reserved bytes; bytes of different blocks",
    ),
    ("src/pool/residence/move_out.rs", 1, "bytes of different blocks of a claim"),
    ("src/pool/residence/order.rs", 6, "numbers of uses; the slot of a block"),
    ("src/pool/residence/ranking.rs", 5, "numbers of uses; the slot of a block"),
    ("src/pool/residence/read_out.rs", 2, "places in one block"),
    ("src/pool/scrub.rs", 5, "places in one segment; numbers of moves"),
    ("src/pool/spill.rs", 5, "numbers of segments and of attempts; places in one block; bytes in host memory"),
    ("src/pool/storage.rs", 2, "places in one block, whose range was checked; bytes of a slice"),
];

/// The folders of the second list.
const MEMORY: [&str; 2] = ["src/heap/", "src/pool/"];

/// Complains about a file with more sums than are listed.
pub(crate) fn complaints(path: &str, text: &str) -> Vec<String> {
    let (lines, listed) = (sums(path, text), bounded(path));
    match lines.last() {
        Some(last) if lines.len() > listed => vec![format!(
            "{path}:{last}: {} sums and shifts of sizes with `+` and `<<`, in lines {lines:?}, of which tests/house/sums.rs lists {listed} \
             as bounded; src/tensor/arithmetic.rs has checked ones",
            lines.len()
        )],
        _ => Vec::new(),
    }
}

/// Complains about entries of the list for more sums than the file has.
pub(crate) fn unneeded(sources: &[(String, String)]) -> Vec<String> {
    let found =
        |file: &str| sources.iter().find(|(path, _)| path == file).map_or(0, |(path, text)| sums(path, text).len());
    let listed = BOUNDED.iter().chain(&OF_MEMORY).filter(|(file, count, _)| found(file) < *count);
    listed.map(|(file, count, _)| format!("{file}: {} sums of {count} in tests/house/sums.rs", found(file))).collect()
}

/// The lines of the sums and shifts.
pub(crate) fn sums(path: &str, text: &str) -> Vec<usize> {
    let is_of_memory = MEMORY.iter().any(|one| path.starts_with(one));
    let is_over_shapes = OVER_SHAPES.iter().chain(&MORE).any(|one| path.starts_with(one));
    if !(is_over_shapes || is_of_memory) || path.starts_with(CHECKED) || path.ends_with("tests.rs") {
        return Vec::new();
    }
    let code = text.lines().enumerate().take_while(|(_, line)| *line != "mod tests {");
    let lines = code.flat_map(|(index, line)| {
        let code = without_texts(line.split("//").next().unwrap_or_default());
        let code = if is_of_memory { code.replace(" += 1;", ";") } else { code };
        let count = if is_of_types(&code) { 0 } else { count(&code) };
        std::iter::repeat_n(index + 1, count)
    });
    lines.collect()
}

/// As rustfmt writes an operator. A constant is evaluated by the compiler, which refuses an overflow.
fn count(code: &str) -> usize {
    let is_constant = code.trim_start().trim_start_matches("pub(super) ").starts_with("const ");
    let operators = [" + ", " += ", " << "];
    if is_constant { 0 } else { operators.map(|operator| code.matches(operator).count()).into_iter().sum() }
}

/// Whether a line has bounds of types.
fn is_of_types(code: &str) -> bool {
    ["impl ", "impl<", "dyn ", "trait ", "where ", "<T: "].iter().any(|word| code.contains(word))
        || code.contains(": Copy + ")
}

/// The code of a line with its texts empty.
fn without_texts(code: &str) -> String {
    let parts = code.split('"').enumerate();
    parts.filter(|(number, _)| number % 2 == 0).map(|(_, part)| part).collect::<Vec<_>>().join("\"\"")
}

fn bounded(path: &str) -> usize {
    BOUNDED.iter().chain(&OF_MEMORY).find(|(file, ..)| *file == path).map_or(0, |(_, count, _)| *count)
}

#[test]
fn sums_and_shifts_are_found_and_bounds_of_types_are_not() {
    let text = "let x = a + b + 1;\nx += 1;\nfn f(x: impl Copy + Send) {}\nconst N: usize = 1 << 4;\n// a + b\nlet t = \"a + b\";\nlet y = 1 << x;\n";
    assert_eq!(sums("src/tensor/view.rs", text), [1, 1, 2, 7]);
    assert_eq!(sums("src/heap/mod.rs", text), [1, 1, 7]);
    assert!(sums("src/tensor/arithmetic.rs", text).is_empty() && sums("src/device/mod.rs", text).is_empty());
}
