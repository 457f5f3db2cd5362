//! The suites of `tests/ops`, `tests/pool` and `tests/adapter` in a browser: which of their tests cannot run there, and why.
//!
//! `cargo xtask test --target web` compiles the suites for WebAssembly from the same files as everywhere else. The library is
//! compiled with `--cfg wgpu_pool_suspend`, so that its blocking calls exist; they and the suites' `pollster::block_on` suspend the
//! WebAssembly stack (JavaScript Promise Integration). `#[test]` exports a test, and the driver calls the exports one by one.
//!
//! Every other test runs. The driver fails if a pattern matches no test, and a unit test if a suite hides a test from
//! WebAssembly by `cfg` instead.

/// The tests that cannot run in a browser: a reason, and patterns of names in which `*` matches any text.
pub const EXCLUDED: &[(&str, &[&str])] = &[
    (
        "there is no GL in a browser",
        &[
            "ops::table::divided::every_operation_runs_on_gl",
            "ops::table::special::*_on_gl",
            "pool::*::gl::*",
            "pool::driver::on_gl_*",
            "pool::fuzz::*_on_gl",
        ],
    ),
    ("no block moves to host memory in a browser", &["pool::*::spilling_*::*"]),
    (
        "a device without a driver is not one of a browser: `adapter` is tested instead",
        &[
            "pool::*::noop::*",
            "pool::ladder::on_the_noop_device_a_fully_pinned_pool_neither_deadlocks_nor_loses_data",
            "pool::spill_ranges::varying_sizes_without_a_driver",
        ],
    ),
    (
        "needs a second thread",
        &[
            "adapter::lost::a_pending_read_ends_when_the_device_is_lost",
            "adapter::submission::a_panic_in_a_callback_on_the_poller_thread_ends_no_read",
            "adapter::submission::a_trim_does_not_wait_for_a_thread_that_polls",
            "adapter::submission::compaction_does_not_wait_for_a_thread_that_submits",
            "adapter::submission::a_trim_while_the_submission_thread_is_busy_completes_without_a_further_call",
            "adapter::submission::dropped_and_trimmed_memory_is_released_without_a_further_call",
            "adapter::threads::callbacks_on_gl_may_use_the_pool_while_other_threads_do",
            "adapter::threads::reads_are_awaited_on_one_thread_while_another_records",
            "adapter::threads::reads_on_several_threads_all_complete",
            "adapter::threads::threads_on_gl_wait_for_each_other_however_long_a_kernel_is_compiled",
            "adapter::threads::threads_that_record_at_once_each_get_their_own_results",
            "adapter::threads::waits_on_several_threads_end_when_the_device_is_done",
            "adapter::wakers::*",
            "ops::warm_up::another_thread_runs_the_same_kernels_during_a_warm_up",
            "pool::dry_run_handles::a_block_of_another_thread_is_never_freed_in_place_of_a_block_with_the_same_id",
            "pool::dry_run_handles::other_threads_and_other_pools_are_not_part_of_a_dry_run",
            "pool::host_copies::a_thread_that_writes_continuously_does_not_prevent_requests_from_succeeding",
            "pool::last_rungs::a_limit_that_changes_while_threads_grow_the_pool_holds",
            "pool::last_rungs::threads_at_the_limit_never_exceed_it_and_are_never_refused",
            "pool::last_rungs::threads_at_the_limit_never_exceed_it_without_compaction",
            "pool::pressure::a_callback_may_wait_for_a_thread_whose_request_calls_it",
            "pool::pressure::a_callback_without_effect_that_waits_for_such_threads_is_called_a_bounded_number_of_times",
            "pool::pressure::concurrent_callbacks_do_not_block_each_other",
            "pool::pressure_bounds::callbacks_that_free_their_own_blocks_and_wait_for_such_threads_are_called_a_bounded_number_of_times",
            "pool::pressure_bounds::calls_that_gain_room_for_requests_that_fail_are_bounded_too",
            "pool::pressure_bounds::requests_that_gain_room_step_by_step_are_served_while_another_thread_is_inside",
            "pool::repeat::a_step_in_a_step_and_a_step_of_another_thread_are_refused",
            "pool::repeat::a_run_that_loses_its_arena_to_another_thread_goes_on",
            "pool::repeat::two_runs_never_use_one_arena_at_the_same_time",
            "pool::repeat::two_loops_on_two_threads_have_an_arena_each",
            "pool::repeat_caches::no_run_is_refused_because_another_thread_drops_plans",
            "pool::scopes::a_scope_counts_its_own_thread_only",
            "pool::spill_threads::*",
            "pool::threads::*",
            "pool::weak::an_upgrade_racing_with_the_last_strong_handle_never_returns_a_freed_block",
            "pool::weak::racing_pins_weak_handles_and_allocations_free_no_block_twice",
        ],
    ),
    (
        "a panic ends the page instead of being caught",
        &[
            "adapter::kernel_refusal::a_panic_of_the_compiler_is_an_error",
            "ops::profile::more_dispatches_than_there_are_timestamps_are_counted_and_a_panic_ends_the_profile",
            "ops::warm_up::after_a_panic_in_a_warm_up_kernels_are_compiled_when_they_are_used",
            "pool::dry_run_handles::*::a_panic_ends_the_dry_run_and_leaves_the_pool_intact",
            "pool::host_copies::a_panic_in_a_callback_during_a_host_copy_loses_no_data",
            "pool::marks::asserting_an_iteration_that_grows_panics_with_the_call_site",
            "pool::pressure::*::a_panicking_callback_leaves_the_pool_consistent",
            "pool::repeat::a_panic_ends_the_run_and_loses_nothing",
            "pool::repeat_edges::after_a_panic_in_a_dry_run_no_step_is_in_progress",
        ],
    ),
    (
        "needs a process of its own",
        &[
            "adapter::exit::*",
            "pool::dry_run_batch::a_budget_*",
            "adapter::open::what_is_missing_is_said_in_one_sentence",
            "pool::driver::a_device_without_free_memory_returns_an_error_and_stays_usable",
        ],
    ),
    ("reads the files of the checkout", &["ops::table::special::every_*", "ops::table::names::*"]),
    (
        "callbacks run inside calls of the crate, whereas a browser runs them between tasks",
        &[
            "adapter::callbacks::*",
            "adapter::submission::an_error_of_the_applications_callback_reaches_only_the_applications_handler",
        ],
    ),
    (
        "the device answers after the call, when the program has returned to the event loop",
        &[
            "adapter::foreign::a_dropped_pool_holds_no_reference_to_the_device",
            "adapter::foreign::errors_of_the_pool_do_not_reach_the_applications_handler",
            "adapter::kernel_refusal::unsupported_features_are_refused_when_the_kernel_is_created",
            "adapter::submission::a_fault_is_reported_cleared_and_distinguished_from_the_next",
            "pool::dry_run::adapter::a_dry_run_is_exact_and_changes_nothing",
        ],
    ),
    (
        "blocks are not moved before the device has accepted their segments and the bounce buffer, and not into new segments",
        &[
            "pool::compaction::adapter::a_single_segment_is_compacted",
            "pool::compaction::adapter::blocks_that_fit_no_hole_slide_to_the_front_of_their_segment",
            "pool::compaction::adapter::a_single_block_in_a_large_segment_is_packed_into_a_segment_of_its_size",
            "pool::compaction::adapter::a_sparse_segment_is_packed_and_released_before_the_pool_grows",
            "pool::compaction::adapter::fragmented_free_bytes_of_two_segments_serve_a_request_of_their_sum",
            "pool::compaction::adapter::packing_is_skipped_when_the_limit_permits_no_new_segment",
            "pool::compaction::kernel_copies::blocks_that_fit_no_hole_slide_to_the_front_of_their_segment",
            "pool::compaction::kernel_copies::fragmented_free_bytes_of_two_segments_serve_a_request_of_their_sum",
            "pool::compaction::blocks_above_the_largest_binding_move_in_pieces_and_keep_their_bytes",
            "pool::history::adapter::every_kind_of_event_is_recorded_in_order",
            "pool::holders::adapter::a_moved_block_keeps_its_origin",
            "pool::ladder::adapter::at_the_limit_blocks_are_moved_before_the_pool_waits",
            "pool::ladder::adapter::blocks_are_moved_to_form_a_hole_before_a_segment_is_created",
            "pool::ladder::on_the_adapter_a_fully_pinned_pool_neither_deadlocks_nor_loses_data",
            "pool::limits::adapter::next_to_a_pinned_block_its_whole_segment_is_counted",
            "pool::pressure::adapter::critical_pressure_shrinks_the_pool_to_its_live_blocks",
            "pool::scrub::adapter::the_old_location_of_a_moved_block_is_cleared",
        ],
    ),
    (
        "bytes are not moved through host memory: nothing can wait for the device",
        &[
            "pool::compaction::accounting::fragmented_free_bytes_of_two_segments_serve_a_request_of_their_sum",
            "pool::compaction::host::fragmented_free_bytes_of_two_segments_serve_a_request_of_their_sum",
            "pool::guarantee::no_request_that_fits_*",
            "pool::host_copies::a_request_during_a_host_copy_may_start_its_own_host_copy",
            "pool::host_copies::blocks_allocated_during_a_host_copy_overlap_no_other_block",
            "pool::host_copies::blocks_can_be_dropped_and_cloned_during_a_host_copy",
            "pool::host_copies::bytes_written_during_a_host_copy_are_preserved",
            "pool::host_copies::reads_and_copies_during_a_host_copy_are_correct",
            "pool::last_rungs::*::blocks_too_large_for_any_hole_are_moved_through_host_memory",
            "pool::last_rungs::a_block_is_read_in_pieces_that_fit_the_remaining_device_memory",
            "pool::last_rungs::adapter::a_limit_below_the_reserved_bytes_is_met_by_shrinking_segments",
            "pool::last_rungs::adapter::a_limit_below_the_smallest_segment_is_usable_to_the_last_granule",
            "pool::last_rungs::adapter::one_live_byte_costs_one_granule_of_the_limit",
            "pool::last_rungs::adapter::one_small_block_in_each_segment_does_not_block_a_large_request",
            "pool::last_rungs::adapter::small_blocks_are_moved_for_a_large_request_and_large_blocks_for_small_requests",
            "pool::last_rungs::blocks_whose_segment_no_longer_fits_are_restored_in_smaller_segments",
            "pool::last_rungs::blocks_without_device_memory_stay_in_host_memory_until_there_is_room",
            "pool::dry_run_batch::the_largest_batch_is_the_largest_that_the_real_pool_serves",
            "pool::repeat::*::at_the_limit_the_arena_serves_every_request",
            "pool::repeat_programs::accounting::random_loops",
            "pool::repeat_programs::host::random_loops",
            "pool::last_rungs::without_memory_for_a_readback_the_error_states_that_free_bytes_could_not_be_joined",
        ],
    ),
    (
        "blocks do not move to host memory when there is no room: nothing can wait for the device",
        &[
            "pool::spill::*",
            "pool::spill_faults::*",
            "pool::spill_losses::*",
            "pool::spill_programs::*",
            "pool::spill_tensors::*",
        ],
    ),
    (
        "launches so far ahead of the device are refused (`DeviceError::Backlog`): nothing can wait there",
        &[
            "adapter::order::a_chain_longer_than_a_batch_is_in_order",
            "adapter::order::more_bind_groups_than_the_cache_holds_give_correct_results",
        ],
    ),
    (
        "WebGPU forbids to bind one tensor twice",
        &[
            "adapter::kernel_refusal::a_written_tensor_that_overlaps_another_is_refused",
            "adapter::kernels::one_tensor_may_be_bound_twice_where_neither_is_written",
        ],
    ),
    (
        "kernels nest less deeply there: they are compiled on the stack of the page",
        &["adapter::kernel_refusal::a_deeply_nested_kernel_runs_and_a_deeper_one_is_refused"],
    ),
    (
        "its sizes need addresses of 64 bits",
        &[
            "ops::limits::more_views_than_the_limit_are_refused",
            "ops::limits::sizes_that_overflow_are_refused_by_every_operation",
            "ops::limits::views_of_more_elements_than_kernels_can_index_are_refused",
            "ops::refusal::a_repeated_view_of_too_many_elements_is_refused",
            "ops::refusal::sizes_beyond_every_limit_are_refused_with_both_sides",
        ],
    ),
    (
        "WebGPU gives no device less than its default limits",
        &[
            "ops::optimize::a_parameter_above_the_largest_binding_is_stepped_in_parts",
            "ops::several_blocks::a_device_that_binds_64_kib_holds_larger_tensors",
            "ops::small_devices::*",
            "ops::table::divided::every_operation_runs_on_a_device_of_the_least_limits",
        ],
    ),
];

/// Tests that the short version leaves out: they take half of the time, and their kernels are tested by others at fewer sizes.
pub const SLOW: &[&str] = &[
    "ops::table::divided::binary_operations",
    "ops::table::divided::binary_operations_in_place",
    "ops::table::divided::comparisons_and_choices",
    "ops::table::divided::lookups",
    "ops::table::divided::operations_with_numbers",
    "ops::table::divided::products_of_matrices",
    "ops::table::divided::reductions",
    "ops::table::divided::unary_operations",
    "ops::table::divided::views_and_copies",
    "ops::table::products::products_of_matrices",
    "ops::table::products::products_with_a_bias_and_an_activation",
    "ops::table::elementwise::elementwise_operations_of_one_operand",
    "ops::batches::as_many_batches_as_there_are_go_through",
    "ops::batches::products_in_tiles_equal_the_model_in_every_layout",
    "ops::epilogue::a_product_with_an_epilogue_is_the_three_operations_one_after_the_other",
    "ops::extremes::extremes_and_sums_equal_the_model_however_the_elements_lie",
    "ops::limits::rows_of_any_length_are_normalized_whole",
    "ops::matmul::deep_products_add_up_all_of_the_depth",
    "ops::matmul::products_of_sizes_around_the_tile_equal_the_model_in_every_layout",
    "ops::promotion::fused_expressions_promote_like_tensors",
    "ops::shapes::any_two_matrices_multiply_as_in_the_model",
    "ops::special_values::binary::operations_with_a_number_equal_the_model_for_special_values",
    "ops::special_values::integers::limits_of_i32_wrap_in_every_operation",
];

/// Returns the reason why a test does not run in a browser, if there is one.
#[must_use]
pub fn excluded(name: &str) -> Option<&'static str> {
    let found = EXCLUDED.iter().find(|(_, patterns)| patterns.iter().any(|pattern| matches(pattern, name)));
    found.map(|(reason, _)| *reason)
}

/// Whether a pattern, in which `*` matches any text, matches a whole name.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|end| {
            (0..=end.len()).any(|skipped| end.is_char_boundary(skipped) && matches(rest, &end[skipped..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::{Path, PathBuf};

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder of the checkout").flatten() {
            let path = entry.path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    /// The lines of a suite's source that keep parts from WebAssembly, with their numbers. The import of `#[test]` is not one.
    fn hiding(text: &str) -> Vec<usize> {
        let hides = |line: &str| line.trim_start().starts_with("#[cfg(") && line.contains("wasm");
        let lines: Vec<&str> = text.lines().collect();
        let imports = |index: usize| lines.get(index + 1).is_some_and(|next| next.trim() == "#[macro_use]");
        (0..lines.len()).filter(|&index| hides(lines[index]) && !imports(index)).map(|index| index + 1).collect()
    }

    #[test]
    fn tests_are_kept_from_browsers_by_the_table_alone() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut files = Vec::new();
        for suite in ["ops", "pool", "adapter"] {
            sources(&tests.join(suite), &mut files);
        }
        assert!(files.len() > 80, "{} files were found", files.len());
        for file in files {
            let text = fs::read_to_string(&file).expect("sources are text");
            assert_eq!(hiding(&text), [0; 0], "{}: enter the tests in `EXCLUDED`, with a reason", file.display());
        }
        assert_eq!(hiding("mod a;\n#[cfg(not(target_arch = \"wasm32\"))]\n#[test]\nfn b() {}"), [2]);
    }

    #[test]
    fn every_exclusion_has_a_reason_and_excludes_tests_of_a_suite() {
        for (reason, patterns) in EXCLUDED {
            assert!(reason.split_whitespace().count() > 2, "{reason:?} is no reason");
            assert!(!patterns.is_empty(), "{reason}");
        }
        let patterns = EXCLUDED.iter().flat_map(|(_, patterns)| patterns.iter()).chain(SLOW);
        for pattern in patterns {
            let suite = pattern.split("::").next().unwrap_or_default();
            assert!(["ops", "pool", "adapter"].contains(&suite), "{pattern}: begin with the name of a suite");
        }
    }

    /// The functions of a source, each with its attributes and its text, by the indentation that `rustfmt` gives them.
    fn functions(text: &str) -> Vec<(&str, String)> {
        let mut found: Vec<(&str, String)> = Vec::new();
        let (mut attributes, mut is_inside) = (String::new(), false);
        for line in text.lines() {
            if let Some((name, _)) = line.strip_prefix("fn ").and_then(|rest| rest.split_once(['(', '<'])) {
                found.push((name, std::mem::take(&mut attributes)));
                is_inside = true;
            }
            match found.last_mut() {
                Some((_, text)) if is_inside => *text += &format!("{line}\n"),
                _ if line.starts_with("#[") => attributes += line,
                _ => attributes.clear(),
            }
            is_inside &= line != "}";
        }
        found
    }

    /// The sources of all suites, and what they share: the names of the modules, and the text.
    fn of_all_suites() -> Vec<(Vec<String>, String)> {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut files = Vec::new();
        for suite in ["ops", "pool", "adapter", "common"] {
            sources(&tests.join(suite), &mut files);
        }
        let source = |file: PathBuf| {
            let text = fs::read_to_string(&file).expect("sources are text");
            let place = file.strip_prefix(&tests).expect("it is in the folder").with_extension("");
            let modules = place.iter().map(|part| part.to_string_lossy().into_owned());
            (modules.filter(|name| name != "mod" && name != "main").collect(), text)
        };
        files.into_iter().map(source).collect()
    }

    /// Divides a pattern into the modules and the name of a function. Between them there may be the name of a memory.
    fn parts(pattern: &str) -> (Vec<&str>, &str) {
        let mut parts: Vec<&str> = pattern.split("::").collect();
        let name = parts.pop().expect("a pattern has parts");
        (parts, name)
    }

    fn is_in(before: &[&str], modules: &[String]) -> bool {
        before.iter().zip(modules).all(|(part, module)| matches(part, module) || module == "common")
    }

    /// The driver finds this out, too, but only in a browser. A macro may create a function of a name.
    #[test]
    fn every_pattern_matches_a_name_in_a_source_of_the_suite() {
        let all = of_all_suites();
        for pattern in EXCLUDED.iter().flat_map(|(_, patterns)| patterns.iter()).chain(SLOW) {
            let (before, name) = parts(pattern);
            let known = name.split('*').max_by_key(|part| part.len()).unwrap_or_default();
            let is_known = |(modules, text): &(Vec<String>, String)| is_in(&before, modules) && text.contains(known);
            assert!(all.iter().any(is_known), "{pattern} matches nothing");
        }
    }

    /// What the standard library has no equivalent of in a browser, and the functions of the suites that read the checkout.
    const MISSING: [&str; 11] = [
        "thread::spawn(",
        "thread::scope(",
        "thread::sleep(",
        "fs::read",
        "all_methods(",
        "methods_of(",
        "catch_unwind(",
        "current_exe(",
        "temp_dir(",
        "Instant::now(",
        "SystemTime::now(",
    ];

    /// Tests that call such a function themselves; those that call one through another function fail in a browser only.
    #[test]
    fn tests_of_what_a_browser_lacks_are_excluded() {
        let mut seen = 0;
        for (modules, text) in of_all_suites() {
            for (name, text) in functions(&text) {
                // One that runs on each memory is listed by a macro.
                let is_test = text.starts_with("#[test]") || text.contains("<S: Subject>(memory: S::Memory) ->");
                seen += usize::from(is_test);
                let missing = MISSING.iter().find(|missing| text.contains(*missing));
                let mut patterns =
                    EXCLUDED.iter().flat_map(|(_, patterns)| patterns.iter().map(|pattern| parts(pattern)));
                if let (true, Some(missing)) = (is_test, missing) {
                    let is_excluded = patterns.any(|(before, pattern)| {
                        // Not a pattern for one of the memories.
                        let is_for_all = before.iter().skip(modules.len()).all(|memory| *memory == "*");
                        is_for_all && is_in(&before, &modules) && matches(pattern, name)
                    });
                    let path = modules.join("::");
                    assert!(is_excluded, "{path}::{name} calls {missing}..): enter it in `EXCLUDED`, with a reason");
                }
            }
        }
        assert!(seen > 500, "{seen} tests were found");
    }

    #[test]
    fn a_pattern_matches_whole_names() {
        assert!(matches("pool::*::gl::*", "pool::reuse::gl::blocks"));
        assert!(matches("pool::a", "pool::a"));
        assert!(matches("*", ""));
        for name in ["pool::reuse::host::blocks", "pool::a::b", "xpool::a::gl::b", "pool::ab"] {
            assert!(!matches("pool::*::gl::*", name) && !matches("pool::a", name), "{name}");
        }
    }
}
