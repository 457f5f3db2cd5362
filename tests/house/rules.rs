//! The rules. Each is a function from the path and the text of a file to complaints, so that each can be tested on made-up
//! sources.

use crate::source::{Kind, Path, Token, module_of, paths, tokens};
use crate::{products, sums};

/// The layers, from the lowest to the highest. A file may use its own layer and lower layers.
const LAYERS: [&str; 7] = ["error", "heap", "plan", "device", "pool", "tensor", "ops"];

/// A module outside of the layers: `report` reads the published statistics and snapshots of `heap` and `pool`, and no layer uses
/// `report`.
const SIDE: &str = "report";

/// The maximum number of lines in a file.
const LONGEST_FILE: usize = 600;

/// The maximum number of characters in a line of a comment. Rows of tables cannot be wrapped, and may be longer.
const LONGEST_COMMENT: usize = 145;

/// The permitted names at the top level of the checkout, in addition to names that git ignores.
const TOP_LEVEL: [&str; 26] = [
    ".cargo",
    ".ci",
    ".config",
    ".git",
    ".github",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "benches",
    "clippy.toml",
    "conformance",
    "deny.toml",
    "docs",
    "examples",
    "fuzz",
    "rustfmt.toml",
    "shaders",
    "src",
    "tests",
    "xtask",
];

/// Modules of the standard library for I/O, time, processes and threads.
const OUTSIDE_WORLD: [&str; 9] = ["env", "fs", "io", "net", "os", "process", "sync", "thread", "time"];

/// The prefix of the module with checked products of sizes, and of its tests.
const CHECKED_ARITHMETIC: &str = "src/tensor/arithmetic";

/// Macros that write to a terminal.
const PRINTING: [&str; 5] = ["dbg", "eprint", "eprintln", "print", "println"];

/// The only file with calls of wgpu that can fail. Each of these calls is inside of error scopes; where callbacks may
/// run, outside of all error scopes.
const CHECKED_CALLS: &str = "src/device/gpu/checked.rs";

/// Methods of wgpu that can fail. An error outside of an error scope calls the application's error handler, which by default
/// panics.
const FALLIBLE_CALLS: [&str; 12] = [
    "create_bind_group",
    "create_bind_group_layout",
    "create_buffer",
    "create_command_encoder",
    "create_compute_pipeline",
    "create_pipeline_layout",
    "create_query_set",
    "create_shader_module",
    "get_bind_group_layout",
    "map_async",
    "push_error_scope",
    "unmap",
];

/// Types with the location of a block in a segment.
const BYTE_ADDRESSES: [&str; 3] = ["Location", "Place", "SegmentId"];

/// The files of the ops layer that may turn a storage into a binding of a kernel. A binding covers the whole storage unless it is
/// limited, so each of these files passes the offset of a view to the kernel, or binds only the range of the view.
const MAY_BIND: [&str; 3] = ["src/ops/kernel.rs", "src/ops/launch.rs", "src/ops/optimize/list.rs"];

/// Where the standard library's locks may be named. All others are `Lock`, whose order is checked.
const LOCKS: [&str; 3] = ["src/device/context.rs", "src/device/lock.rs", "src/device/sync.rs"];

/// Where tasks are woken: after the check that the thread holds no lock, and in a waker of the crate itself.
const WAKING: [&str; 2] = ["src/device/block_on.rs", "src/device/lock.rs"];

/// The standard library's locks.
const LOCK_TYPES: [&str; 4] = ["Condvar", "Mutex", "ReentrantLock", "RwLock"];

/// All complaints about one file. `path` is relative to the root of the checkout.
pub(crate) fn complaints(path: &str, text: &str) -> Vec<String> {
    let mut found = length(path, text);
    found.extend(wraps_its_comments(path, text));
    if path.ends_with(".wgsl") {
        let code = without_wgsl_comments(text);
        found.extend(bindings(path, &code));
        found.extend(states_its_bounds(path, text, &code));
    }
    if !path.ends_with(".rs") {
        return found;
    }
    let tokens = tokens(text);
    found.extend(chains_no_let(path, &tokens));
    let Some(file) = path.strip_prefix("src/") else {
        return found;
    };
    if file == "lib.rs" {
        found.extend(forbids_unsafe_code(path, &tokens));
        return found;
    }
    if path != CHECKED_CALLS {
        found.extend(leaves_fallible_calls_to_one_file(path, &tokens));
    }
    if !WAKING.contains(&path) {
        found.extend(wakes_no_task_itself(path, &tokens));
    }
    let layer = file.split('/').next().unwrap_or_default();
    let paths = paths(&tokens, &module_of(file));
    // The heap has none at all.
    if layer != "heap" && !LOCKS.contains(&path) && !path.ends_with("tests.rs") {
        found.extend(takes_no_unranked_lock(path, &paths));
    }
    found.extend(follows_the_layering(path, layer, &paths));
    match layer {
        "heap" => found.extend(is_pure(path, &tokens, &paths)),
        "tensor" => {
            found.extend(uses_no_byte_address(path, &tokens));
            found.extend(multiplies_no_shape(path, &tokens));
            found.extend(products::complaints(path, text));
            found.extend(sums::complaints(path, text));
        }
        "ops" => {
            found.extend(binds_in_permitted_files_only(path, &paths));
            found.extend(names_its_caller(path, text));
            found.extend(multiplies_no_shape(path, &tokens));
            found.extend(products::complaints(path, text));
            found.extend(sums::complaints(path, text));
        }
        _ => {}
    }
    // One import of several names is one violation.
    found.dedup();
    found
}

/// A complaint for each name at the top level of the checkout that is neither permitted nor ignored by git.
pub(crate) fn top_level(names: &[String], ignored: &str) -> Vec<String> {
    let ignored: Vec<&str> = ignored.lines().map(|line| line.trim().trim_matches('/')).collect();
    let known = |name: &str| TOP_LEVEL.contains(&name) || ignored.contains(&name);
    names.iter().filter(|name| !known(name)).map(|name| format!("{name}: not a known name at the top level")).collect()
}

fn complaint(path: &str, line: usize, text: &str) -> String {
    format!("{path}:{line}: {text}")
}

fn length(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    let complaint = format!("{path}: {lines} lines; the maximum is {LONGEST_FILE}");
    if lines > LONGEST_FILE { vec![complaint] } else { Vec::new() }
}

fn wraps_its_comments(path: &str, text: &str) -> Vec<String> {
    let long = text.lines().enumerate().filter(|(_, line)| {
        let comment = line.trim_start().strip_prefix("//").map(|text| text.trim_start_matches(['/', '!']).trim_start());
        comment.is_some_and(|text| !text.starts_with('|')) && line.chars().count() > LONGEST_COMMENT
    });
    long.map(|(at, line)| {
        let characters = line.chars().count();
        format!("{path}:{}: a comment of {characters} characters; the maximum is {LONGEST_COMMENT}", at + 1)
    })
    .collect()
}

/// An operation in place may allocate, for example for the conversion of an operand. The call site of this memory is the caller's
/// line only if the function is marked `#[track_caller]`.
fn names_its_caller(path: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let is_marked = |at: usize| {
        let attributes = lines[..at].iter().rev().take_while(|line| line.starts_with('#') || line.starts_with("//"));
        attributes.into_iter().any(|line| *line == "#[track_caller]")
    };
    let unmarked = lines.iter().enumerate().filter(|&(at, line)| {
        let name = line.strip_prefix("pub fn ").and_then(|rest| rest.split(['(', '<']).next());
        name.is_some_and(|name| name.ends_with('_') || name == "$in_place") && !is_marked(at)
    });
    unmarked.map(|(at, _)| format!("{path}:{}: an operation in place lacks #[track_caller]", at + 1)).collect()
}

fn forbids_unsafe_code(path: &str, tokens: &[Token]) -> Vec<String> {
    let forbidden = tokens.windows(8).any(|window| {
        let words = ["forbid", "unsafe_code"];
        let symbols = [(0, '#'), (1, '!'), (2, '['), (4, '('), (6, ')'), (7, ']')];
        symbols.iter().all(|(at, symbol)| window[*at].is_symbol(*symbol))
            && words.iter().zip([3, 5]).all(|(word, at)| window[at].is_word(word))
    });
    if forbidden { Vec::new() } else { vec![format!("{path}: lacks #![forbid(unsafe_code)]")] }
}

/// Imports name the file's own layer or lower layers, and every path names its layer.
fn follows_the_layering(path: &str, layer: &str, paths: &[Path]) -> Vec<String> {
    let rank = LAYERS.iter().position(|own| *own == layer);
    if rank.is_none() && layer != SIDE {
        return vec![format!("{path}: {layer} is not a layer")];
    }
    let judge = |named: &Path| {
        let Some(target) = named.segments.first() else {
            return Some("names the crate root, which is above every layer".to_string());
        };
        if target == layer {
            return None;
        }
        if target == SIDE {
            return Some(format!("names {SIDE}, which no layer may use"));
        }
        let Some(other) = LAYERS.iter().position(|own| own == target) else {
            return Some(format!("names crate::{target}, a path that does not name a layer"));
        };
        match rank {
            Some(own) if other > own => Some(format!("{layer} names {target}, which is above it")),
            Some(_) => None,
            None => judge_side(named),
        }
    };
    let inside = paths.iter().filter(|named| named.inside);
    inside.filter_map(|named| judge(named).map(|text| complaint(path, named.line, &text))).collect()
}

/// `report` may use errors, statistics, snapshots and the results of dry runs only.
fn judge_side(named: &Path) -> Option<String> {
    let [layer, rest @ ..] = named.segments.as_slice() else {
        return None;
    };
    let published = |name: &String| {
        let lower = name.to_lowercase();
        ["stats", "snapshot", "counter", "dryrun"].iter().any(|word| lower.contains(word))
    };
    let may = match layer.as_str() {
        "error" => true,
        "heap" | "pool" => rest.first().is_some_and(published),
        _ => false,
    };
    (!may).then(|| format!("{SIDE} names {}, which may read stats and snapshots only", named.segments.join("::")))
}

/// The heap uses no wgpu, clock, I/O, threads or unsafe code.
fn is_pure(path: &str, tokens: &[Token], paths: &[Path]) -> Vec<String> {
    let mut found = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let Kind::Word(word) = &token.kind else {
            continue;
        };
        let called = tokens.get(index + 1).is_some_and(|next| next.is_symbol('!'));
        if word == "wgpu" || word == "unsafe" {
            found.push(complaint(path, token.line, &format!("the heap names {word}")));
        } else if called && PRINTING.contains(&word.as_str()) {
            found.push(complaint(path, token.line, &format!("the heap prints ({word}!)")));
        }
    }
    for named in paths.iter().filter(|named| !named.inside) {
        let [library, part, ..] = named.segments.as_slice() else {
            continue;
        };
        let standard = ["std", "core", "alloc"].contains(&library.as_str());
        if standard && (OUTSIDE_WORLD.contains(&part.as_str()) || part == "*") {
            found.push(complaint(path, named.line, &format!("the heap names {library}::{part}")));
        }
    }
    found
}

/// A lock without a rank escapes the check of the lock order.
fn takes_no_unranked_lock(path: &str, paths: &[Path]) -> Vec<String> {
    let unranked = |named: &&Path| match named.segments.as_slice() {
        [library, module, name, ..] => {
            !named.inside && library == "std" && module == "sync" && LOCK_TYPES.contains(&name.as_str())
        }
        _ => false,
    };
    let found = paths.iter().filter(unranked);
    found.map(|named| complaint(path, named.line, "a lock without a rank; src/device/lock.rs has one")).collect()
}

/// Conditions that combine `let` and `&&` need Rust 1.88, and the manifest states 1.87. No lint of a newer Rust finds them.
fn chains_no_let(path: &str, tokens: &[Token]) -> Vec<String> {
    let is_and = |at: usize| tokens.get(at..at + 2).is_some_and(|pair| pair.iter().all(|token| token.is_symbol('&')));
    let is_chained = |at: usize| {
        let follows = at.checked_sub(2).is_some_and(is_and);
        let begins =
            at.checked_sub(1).is_some_and(|before| ["if", "while"].iter().any(|word| tokens[before].is_word(word)));
        follows || begins && ends_with_and(&tokens[at..])
    };
    let found = tokens.iter().enumerate().filter(|&(at, token)| token.is_word("let") && is_chained(at));
    found.map(|(_, token)| complaint(path, token.line, "`let` and `&&` in one condition need Rust 1.88")).collect()
}

/// Whether `&&` follows the expression of the `let` with which the tokens begin, before its block.
fn ends_with_and(tokens: &[Token]) -> bool {
    let (mut depth, mut in_pattern) = (0_u32, true);
    for at in 1..tokens.len() {
        let is = |place: usize, symbol: char| tokens.get(place).is_some_and(|token| token.is_symbol(symbol));
        if is(at, '{') && depth == 0 && !in_pattern {
            return false;
        }
        if ['(', '[', '{'].iter().any(|&symbol| is(at, symbol)) {
            depth += 1;
        } else if [')', ']', '}'].iter().any(|&symbol| is(at, symbol)) {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && in_pattern {
            // Not `..=` in the pattern.
            in_pattern = !is(at, '=') || is(at - 1, '.');
        } else if depth == 0 && is(at, '&') && is(at + 1, '&') && !is(at - 1, '=') {
            return true;
        }
    }
    false
}

/// `waker.wake()` and `Waker::wake`.
fn wakes_no_task_itself(path: &str, tokens: &[Token]) -> Vec<String> {
    let wakes = |window: &&[Token]| {
        let [owner, before, name] = window else { return false };
        let of_waker = owner.is_word("Waker") && before.kind == Kind::Separator;
        (of_waker || before.is_symbol('.')) && ["wake", "wake_by_ref"].iter().any(|word| name.is_word(word))
    };
    let found = tokens.windows(3).filter(wakes);
    found.map(|window| complaint(path, window[2].line, "a task is woken outside of wake_unlocked")).collect()
}

fn binds_in_permitted_files_only(path: &str, paths: &[Path]) -> Vec<String> {
    let records = |named: &&Path| named.inside && named.segments == ["pool", "record"];
    let recording = paths.iter().filter(records).filter(|_| !MAY_BIND.contains(&path));
    recording.map(|named| complaint(path, named.line, "ops records a dispatch outside of launch")).collect()
}

fn leaves_fallible_calls_to_one_file(path: &str, tokens: &[Token]) -> Vec<String> {
    let calls = tokens.windows(3).filter_map(|window| match &window[1].kind {
        Kind::Word(word) if window[0].is_symbol('.') && window[2].is_symbol('(') => Some((window[1].line, word)),
        _ => None,
    });
    let fallible = calls.filter(|(_, word)| FALLIBLE_CALLS.contains(&word.as_str()));
    fallible
        .map(|(line, word)| complaint(path, line, &format!("calls {word}, which only {CHECKED_CALLS} does")))
        .collect()
}

fn uses_no_byte_address(path: &str, tokens: &[Token]) -> Vec<String> {
    let addresses = tokens.iter().filter_map(|token| match &token.kind {
        Kind::Word(word) if BYTE_ADDRESSES.contains(&word.as_str()) => Some((token.line, word)),
        _ => None,
    });
    addresses.map(|(line, word)| complaint(path, line, &format!("tensor names a byte address ({word})"))).collect()
}

/// Products of sizes are computed in one module with overflow checks, because release builds have none.
fn multiplies_no_shape(path: &str, tokens: &[Token]) -> Vec<String> {
    if path.starts_with(CHECKED_ARITHMETIC) {
        return Vec::new();
    }
    let calls = tokens.windows(2).filter(|pair| pair[0].is_symbol('.') && pair[1].is_word("product"));
    let text = "an unchecked product of sizes; src/tensor/arithmetic.rs has checked ones";
    calls.map(|pair| complaint(path, pair[1].line, text)).collect()
}

/// The header of every kernel states why indices stay within 32 bits, and the number of loop iterations per invocation:
/// some drivers end a loop after 65,536 iterations, without an error.
fn states_its_bounds(path: &str, text: &str, code: &str) -> Vec<String> {
    if path.starts_with("shaders/lib/") {
        return Vec::new();
    }
    let header: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//")).map(str::trim_start).collect();
    let bound = |name: &str| header.iter().find_map(|line| Some(line.strip_prefix(name)?.trim()));
    let mut found = Vec::new();
    for name in ["Indices:", "Loops:"] {
        if bound(name).is_none_or(str::is_empty) {
            found.push(format!("{path}: the header has no line \"{name}\" that states the bound"));
        }
    }
    let has_loop = code.split(|c: char| !c.is_alphanumeric()).any(|word| ["for", "loop", "while"].contains(&word));
    if has_loop && bound("Loops:").is_some_and(|bound| bound.starts_with("none")) {
        found.push(format!("{path}: the header says that there are no loops"));
    }
    found
}

/// Every storage binding is `read_write`: wgpu refuses a buffer that is bound both `read` and `read_write` in one
/// dispatch, even for disjoint ranges, and many tensors share one buffer.
fn bindings(path: &str, wgsl: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (start, _) in wgsl.match_indices("var") {
        let Some(qualifiers) = wgsl[start + 3..].trim_start().strip_prefix('<') else {
            continue;
        };
        let qualifiers = qualifiers.split('>').next().unwrap_or_default();
        let words: Vec<&str> = qualifiers.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
        if words.first() == Some(&"storage") && words != ["storage", "read_write"] {
            let line = 1 + wgsl[..start].matches('\n').count();
            found.push(complaint(path, line, &format!("a storage binding that is not read_write: var<{qualifiers}>")));
        }
    }
    found
}

/// The text without comments, with the same line numbers. Block comments nest in WGSL.
fn without_wgsl_comments(text: &str) -> String {
    let mut rest = text;
    let mut kept = String::with_capacity(text.len());
    let mut depth = 0_u32;
    while let Some(character) = rest.chars().next() {
        let mut length = character.len_utf8();
        if rest.starts_with("/*") {
            (depth, length) = (depth + 1, 2);
        } else if depth > 0 && rest.starts_with("*/") {
            (depth, length) = (depth - 1, 2);
        } else if depth == 0 && rest.starts_with("//") {
            length = rest.find('\n').unwrap_or(rest.len());
        } else if depth == 0 || character == '\n' {
            kept.push(character);
        }
        rest = &rest[length..];
    }
    kept
}
