//! Unit tests of the rules: for each rule, made-up sources that break the rule, and similar sources that do not.

use crate::rules::{complaints, top_level};

/// The complaints about a made-up file, without its path.
fn about(path: &str, text: &str) -> Vec<String> {
    complaints(path, text)
        .into_iter()
        .map(|line| line.trim_start_matches(path).trim_start_matches(':').to_string())
        .collect()
}

#[track_caller]
fn refused(path: &str, text: &str, expected: &str) {
    assert_eq!(about(path, text), [expected], "{path}: {text}");
}

#[track_caller]
fn accepted(path: &str, text: &str) {
    assert_eq!(about(path, text), Vec::<String>::new(), "{path}: {text}");
}

#[test]
fn a_layer_may_use_itself_and_lower_layers() {
    accepted("src/pool/mod.rs", "use crate::heap::Heap;\nuse crate::{device::Memory, error::DeviceError, pool::Pool};");
    accepted("src/ops/mod.rs", "use crate::tensor::{self, Tensor};\nfn f(pool: &crate::pool::Pool) {}");
    accepted("src/heap/class.rs", "use super::{Heap, lists::Lists};\nuse self::inner::*;");
}

#[test]
fn a_layer_may_not_use_a_higher_layer() {
    refused("src/heap/mod.rs", "\nuse crate::pool::Pool;", "2: heap names pool, which is above it");
    refused(
        "src/device/gpu/mod.rs",
        "use crate::{error::X, pool::{Pool as P, self}};",
        "1: device names pool, which is above it",
    );
    refused("src/heap/mod.rs", "use crate::r#pool::Pool;", "1: heap names pool, which is above it");
    refused("src/tensor/mod.rs", "fn f() { crate::ops::add(); }", "1: tensor names ops, which is above it");
    refused(
        "src/pool/mod.rs",
        "macro_rules! m { () => { $crate::tensor::Tensor } }",
        "1: pool names tensor, which is above it",
    );
}

#[test]
fn conditions_do_not_combine_let_and_and() {
    let complaint = "1: `let` and `&&` in one condition need Rust 1.88";
    for path in ["src/pool/mod.rs", "examples/replay/main.rs", "xtask/src/main.rs"] {
        refused(path, "fn f() { if a && let Some(b) = c { d() } }", complaint);
        refused(path, "fn f() { if let Some(b) = c(|x| x) && b { d() } }", complaint);
        refused(path, "fn f() { while let Some(Part { a, .. }) = c[0] && a { d() } }", complaint);
        refused(path, "fn f() { if let 1..=2 = c && a { d() } }", complaint);
        accepted(path, "fn f() { if let Some(b) = c.filter(|b| a && *b) { d(e && f) } }");
        accepted(path, "fn f() { let a = b && c; let d = e; if let Some(f) = d { a && g } }");
        accepted(path, "fn f() { if let Part { a, .. } = &&b { c() } else if a && b { d() } }");
        accepted(path, "fn f() { let Some(a) = b else { return c && d }; }");
    }
}

#[test]
fn tasks_are_woken_after_a_check_of_the_locks() {
    let complaint = "1: a task is woken outside of wake_unlocked";
    accepted("src/device/lock.rs", "fn f() { wakers.for_each(Waker::wake); }");
    accepted("src/device/gpu/readback.rs", "fn f() { let waker = state.waker.take(); wake_unlocked(waker); }");
    accepted("src/device/gpu/readback.rs", "fn f() { Mapping::wake(&mapping); }");
    refused("src/device/gpu/readback.rs", "fn f() { waker.wake(); }", complaint);
    refused("src/device/gpu/readback.rs", "fn f() { waker.wake_by_ref(); }", complaint);
    refused("src/pool/read.rs", "fn f() { wakers.into_iter().for_each(Waker::wake); }", complaint);
}

#[test]
fn only_one_file_makes_the_calls_of_wgpu_that_can_fail() {
    accepted("src/device/gpu/checked.rs", "fn f() { device.create_buffer(&descriptor); buffer.unmap(); }");
    accepted("src/device/gpu/mod.rs", "fn f() { checked::buffer(&device, &descriptor); self.create_segment(8); }");
    refused(
        "src/device/gpu/staging.rs",
        "fn f() {\n    buffer.map_async(mode, .., note);\n}",
        "2: calls map_async, which only src/device/gpu/checked.rs does",
    );
    refused(
        "src/ops/kernel.rs",
        "fn f() { gpu.device().create_bind_group(&descriptor); }",
        "1: calls create_bind_group, which only src/device/gpu/checked.rs does",
    );
}

#[test]
fn every_lock_has_a_rank() {
    accepted("src/device/lock.rs", "use std::sync::{Mutex, MutexGuard};");
    accepted("src/pool/mod.rs", "use crate::device::lock::Lock;\nuse std::sync::Arc;");
    accepted("src/pool/answers/tests.rs", "use std::sync::{Arc, Mutex};");
    let text = "1: a lock without a rank; src/device/lock.rs has one";
    refused("src/pool/mod.rs", "use std::sync::{Arc, Mutex};", text);
    refused("src/ops/kernel.rs", "fn f() { let lock = std::sync::RwLock::new(0); }", text);
}

#[test]
fn the_error_layer_uses_no_other_layer() {
    accepted("src/error/heap.rs", "use super::Bytes;\nuse crate::error::DeviceError;");
    refused("src/error/mod.rs", "use crate::heap::BlockId;", "1: error names heap, which is above it");
}

#[test]
fn a_path_through_parent_modules_is_resolved() {
    refused("src/heap/mod.rs", "use super::pool::Pool;", "1: heap names pool, which is above it");
    refused("src/heap/class.rs", "use super::super::pool::Pool;", "1: heap names pool, which is above it");
    refused("src/heap/class.rs", "use self::super::super::pool::Pool;", "1: heap names pool, which is above it");
    refused("src/heap/class_tests.rs", "use super::super::super::pool::Pool;", "1: heap names pool, which is above it");
    let behind = "mod a { mod b {} }\nuse super::pool::Pool;";
    refused("src/heap/mod.rs", behind, "2: heap names pool, which is above it");
    let inline = "mod tests { mod deep { use super::super::super::super::pool::Pool; } }\nuse super::Heap;";
    refused("src/heap/class.rs", inline, "1: heap names pool, which is above it");
}

#[test]
fn inline_modules_and_test_files_count_as_levels() {
    accepted("src/heap/mod.rs", "mod tests { use super::*; fn f() { if true {} } }\nuse self::x::Y;");
    accepted("src/heap/class_tests.rs", "use super::*;\nuse super::super::Heap;");
}

#[test]
fn a_path_through_the_crate_root_is_refused() {
    let root = "names the crate root, which is above every layer";
    refused("src/heap/mod.rs", "use crate as root;", &format!("1: {root}"));
    refused("src/heap/mod.rs", "use super as root;", &format!("1: {root}"));
    refused("src/heap/mod.rs", "use crate::{self as root};", &format!("1: {root}"));
    let named = |name: &str| format!("1: names crate::{name}, a path that does not name a layer");
    refused("src/heap/mod.rs", "use crate::Pool;", &named("Pool"));
    refused("src/heap/mod.rs", "use super::*;", &named("*"));
}

#[test]
fn a_folder_that_is_not_a_layer_is_refused() {
    refused("src/util/mod.rs", "", " util is not a layer");
    refused("src/helpers.rs", "", " helpers.rs is not a layer");
}

#[test]
fn words_in_comments_and_strings_are_not_paths() {
    let source = r##"
        //! See [`Pool`](crate::pool::Pool) and wgpu.
        /* use crate::pool::Pool; /* nested */ unsafe */
        /// `crate::ops::add`
        const A: &str = "use crate::pool::Pool; \" unsafe";
        const B: &str = r#"crate::pool::Pool "quoted" wgpu"#;
        const C: (char, char, &[u8]) = ('"', '\'', br"crate::ops::X");
        const D: [char; 2] = ['\'','"'];
        pub(crate) fn f<'a>(x: &'a str) -> &'a str { x }
        pub(in crate::heap) struct S;
    "##;
    accepted("src/heap/mod.rs", source);
    // A violation after all of these strings and comments is still found.
    let violation = format!("{source}use crate::pool::Pool;");
    refused("src/heap/mod.rs", &violation, "11: heap names pool, which is above it");
}

#[test]
fn the_heap_is_pure() {
    refused("src/heap/mod.rs", "fn f(buffer: &wgpu::Buffer) {}", "1: the heap names wgpu");
    refused("src/heap/mod.rs", "fn f() { unsafe { g() } }", "1: the heap names unsafe");
    refused("src/heap/mod.rs", "use std::time::Instant;", "1: the heap names std::time");
    refused("src/heap/mod.rs", "use std::{fmt, sync::{Arc, Mutex}};", "1: the heap names std::sync");
    refused("src/heap/mod.rs", "fn f() { std::thread::yield_now(); }", "1: the heap names std::thread");
    refused("src/heap/mod.rs", "use std::fs;", "1: the heap names std::fs");
    refused("src/heap/mod.rs", "use core::*;", "1: the heap names core::*");
    refused("src/heap/mod.rs", "fn f() { println!(); }", "1: the heap prints (println!)");
    accepted("src/heap/mod.rs", "use std::{collections::BTreeMap, fmt, num::NonZeroU64};");
    accepted("src/device/gpu/mod.rs", "use std::{sync::Arc, time::Duration};\nuse wgpu::Buffer;");
}

#[test]
fn the_tensor_layer_uses_no_byte_address() {
    refused("src/tensor/mod.rs", "use crate::heap::Place;", "1: tensor names a byte address (Place)");
    refused("src/tensor/layout.rs", "fn f(id: SegmentId) {}", "1: tensor names a byte address (SegmentId)");
    accepted("src/tensor/mod.rs", "/// Not a `Place`.\nstruct Placement;");
    accepted("src/pool/mod.rs", "use crate::heap::{Place, SegmentId};");
}

#[test]
fn operations_bind_tensors_through_launch() {
    accepted("src/ops/launch.rs", "use crate::pool::{Storage, record};");
    accepted("src/ops/reduce.rs", "use super::launch::launch;\nuse crate::pool::Storage;");
    let outside = "1: ops records a dispatch outside of launch";
    refused("src/ops/reduce.rs", "use crate::pool::{Storage, record};", outside);
    refused("src/ops/image/pool.rs", "fn f() { crate::pool::record(&[], |_, _| Ok(())); }", outside);
}

#[test]
fn report_reads_stats_and_snapshots_only() {
    accepted(
        "src/report/mod.rs",
        "use crate::heap::Stats;\nuse crate::pool::{Snapshot, snapshot::BlockSnapshot};\nuse crate::error::Bytes;",
    );
    accepted("src/report/json.rs", "use super::text;\nuse crate::report::text::Table;");
    let only = "which may read stats and snapshots only";
    refused("src/report/mod.rs", "use crate::heap::{Heap, Stats};", &format!("1: report names heap::Heap, {only}"));
    refused("src/report/mod.rs", "use crate::heap::*;", &format!("1: report names heap::*, {only}"));
    refused("src/report/mod.rs", "use crate::pool::Pool;", &format!("1: report names pool::Pool, {only}"));
    refused("src/report/mod.rs", "use crate::device::Memory;", &format!("1: report names device::Memory, {only}"));
    refused("src/pool/mod.rs", "use crate::report::text;", "1: names report, which no layer may use");
}

#[test]
fn lib_may_name_everything_and_must_forbid_unsafe_code() {
    accepted("src/lib.rs", "#![forbid(unsafe_code)]\npub use crate::ops::add;\npub use report::Text;");
    refused("src/lib.rs", "// #![forbid(unsafe_code)]\n", " lacks #![forbid(unsafe_code)]");
    refused("src/lib.rs", "mod a;\n#[forbid(unsafe_code)]\nmod b;", " lacks #![forbid(unsafe_code)]");
    refused("src/lib.rs", "#![deny(unsafe_code)]", " lacks #![forbid(unsafe_code)]");
}

#[test]
fn a_long_file_is_refused_in_every_folder() {
    for path in ["src/heap/mod.rs", "tests/cases.rs", "xtask/src/main.rs", "shaders/lib/matmul.wgsl"] {
        accepted(path, &"\n".repeat(600));
        refused(path, &"\n".repeat(601), " 601 lines; the maximum is 600");
    }
}

#[test]
fn a_long_line_of_a_comment_is_refused_and_a_row_of_a_table_is_accepted() {
    for (path, mark) in [("src/heap/mod.rs", "//"), ("tests/a.rs", "    ///"), ("shaders/lib/a.wgsl", "//!")] {
        let line = |characters: usize| format!("{mark} {}\n", "ä".repeat(characters - mark.len() - 1));
        accepted(path, &line(145));
        refused(path, &format!("\n{}", line(146)), "2: a comment of 146 characters; the maximum is 145");
        accepted(path, &format!("{mark} | {} |\n", "a".repeat(200)));
        accepted(path, &format!("let url = \"{}\"; {mark} b\n", "a".repeat(200)));
    }
}

#[test]
fn an_operation_in_place_that_does_not_name_its_caller_is_refused() {
    let lacks = |line: u32| format!("{line}: an operation in place lacks #[track_caller]");
    accepted("src/ops/a.rs", "    #[track_caller]\n    /// Adds.\n    #[must_use]\n    pub fn add_(&self) {}");
    accepted("src/ops/a.rs", "pub fn add(&self) {}\nfn add_(&self) {}\npub(super) fn sub_(&self) {}");
    refused("src/ops/a.rs", "#[track_caller]\npub fn add() {}\n/// Adds.\npub fn add_(&self) {}", &lacks(4));
    refused("src/ops/a.rs", "pub fn add_scaled_<T>(&self) {}", &lacks(1));
    refused("src/ops/a.rs", "    // #[track_caller]\n    pub fn $in_place(&self) {}", &lacks(2));
    accepted("src/pool/a.rs", "pub fn add_(&self) {}");
}

#[test]
fn every_storage_binding_is_read_write() {
    let accepted_forms = "@group(0) @binding(0) var<storage, read_write> a: array<f32>;\n\
        @group(0) @binding(1) var < storage,read_write , > b: array<f32>;\n\
        // var<storage, read> c: array<f32>;\n/* /* */ var<storage> d: array<f32>; */\n\
        @group(1) @binding(0) var<uniform> params: Params;\nvar<workgroup> tile: array<f32, 64>;\n\
        fn f() { var i = 0u; let variable = i < storage; }";
    accepted("shaders/lib/good.wgsl", accepted_forms);
    let refusal = "2: a storage binding that is not read_write: var<storage, read>";
    refused("shaders/lib/bad.wgsl", "/* a\n */ var<storage, read> a: array<f32>;", refusal);
    refused("shaders/lib/nested/bad.wgsl", "\nvar<storage, read> a: array<f32>;", refusal);
    let refusal = "1: a storage binding that is not read_write: var<storage>";
    refused("shaders/lib/bad.wgsl", "var<storage> a: array<f32>;", refusal);
}

#[test]
fn an_unknown_name_at_the_top_level_is_refused() {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let known = names(&["Cargo.toml", "src", "xtask", ".ci", "target", "notes"]);
    assert_eq!(top_level(&known, "/target\nnotes/\n"), Vec::<String>::new());
    assert_eq!(top_level(&names(&["src", "TODO.md"]), "/target\n"), ["TODO.md: not a known name at the top level"]);
}

#[test]
fn an_unchecked_product_of_sizes_is_refused() {
    let text = "an unchecked product of sizes; src/tensor/arithmetic.rs has checked ones";
    refused("src/ops/reduce.rs", "fn f() {\n    let n: usize = shape.iter().product();\n}", &format!("2: {text}"));
    refused("src/tensor/layout.rs", "fn f() -> u64 { sizes.product::<u64>() }", &format!("1: {text}"));
    accepted("src/tensor/arithmetic.rs", "fn f() -> u64 { sizes.product::<u64>() }");
    let text = "2: 2 products of sizes with `*`, in lines [1, 2], of which tests/house/products.rs lists 0 as bounded; \
                src/tensor/arithmetic.rs has checked ones";
    refused("src/ops/image/new.rs", "let all = rows * columns; // a * b\nall *= 2;\nlet x = *y;\n", text);
    accepted("src/ops/unary.rs", "let all = rows * columns;");
    accepted("src/ops/image/new.rs", "$(f($x),)*\nmod tests {\nlet all = rows * columns;\n}");
    accepted("src/ops/reduce.rs", "fn f() -> usize { arithmetic::product(&shape) }");
    accepted("src/heap/mod.rs", "fn f() -> u64 { sizes.product::<u64>() }");
}

#[test]
fn an_unchecked_sum_of_sizes_is_refused() {
    let text = "2: 3 sums and shifts of sizes with `+` and `<<`, in lines [1, 1, 2], of which tests/house/sums.rs lists 0 as bounded; \
                src/tensor/arithmetic.rs has checked ones";
    refused("src/ops/image/new.rs", "let all = rows + columns + 1; // a + b\nall += 2;\n", text);
    accepted("src/ops/unary.rs", "let all = rows + columns;");
    accepted("src/ops/image/new.rs", "mod tests {\nlet all = rows + columns;\n}");
    accepted("src/tensor/arithmetic.rs", "let all = rows + columns;");
}

#[test]
fn a_kernel_without_stated_bounds_is_refused() {
    let (indices, loops) = ("// Indices: below count.\n", "// Loops: 6.\n");
    let code = "fn f() { for (var i = 0u; i < 5u; i += 1u) {} }";
    accepted("shaders/a.wgsl", &format!("// a: it.\n//\n{indices}{loops}\n{code}"));
    accepted("shaders/a.wgsl", &format!("{indices}// Loops: none.\nfn former() {{}}"));
    accepted("shaders/lib/a.wgsl", code);
    let lacks = |name: &str| format!(" the header has no line \"{name}:\" that states the bound");
    refused("shaders/a.wgsl", &format!("{loops}{code}"), &lacks("Indices"));
    refused("shaders/a.wgsl", &format!("{indices}{code}"), &lacks("Loops"));
    refused("shaders/a.wgsl", &format!("{indices}// Loops:\n{code}"), &lacks("Loops"));
    refused("shaders/a.wgsl", &format!("{indices}\n{loops}{code}"), &lacks("Loops"));
    refused("shaders/a.wgsl", &format!("{indices}// Loops: none.\n{code}"), " the header says that there are no loops");
}

#[test]
fn a_method_of_a_pool_that_ignores_dry_runs_is_refused() {
    let source = "\nimpl<M: Memory> Pool<M> {
    pub fn forgets(&self) -> u64 {
        1
    }

    #[must_use]
    pub async fn asks(&self) {
        if let Some(dry) = self.dry() {
            return;
        }
    }

    fn is_private(&self) {}
}
";
    let found = crate::dry_runs::methods(source);
    assert_eq!(found, [("forgets".to_owned(), false), ("asks".to_owned(), true)]);
    let complaints = crate::dry_runs::complaints(&found);
    assert!(complaints.iter().any(|line| line.starts_with("Pool::forgets does not ask")), "{complaints:?}");
    assert!(complaints.iter().all(|line| !line.starts_with("Pool::asks")), "{complaints:?}");
    assert!(complaints.iter().any(|line| line.starts_with("Pool::report is listed")), "no stale entry remains");
}
