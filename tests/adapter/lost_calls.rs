//! The list of calls on a lost device is complete: each public function that can fail and needs the device is in it.

use super::lost::CALLS;
use std::collections::BTreeSet;

/// The record of the public API.
const RECORD: &str = include_str!("../../docs/public-api.txt");

/// The types whose functions are checked.
const TYPES: [&str; 10] = ["AdamW", "Download", "Fused", "Gpu", "Kernel", "Pool", "Repeat", "Sgd", "Storage", "Tensor"];

/// Functions that the list of calls leaves out: why, the type, and the names.
const EXCEPTIONS: [(&str, &str, &str); 12] = [
    ("takes no device that exists", "Gpu", "open"),
    ("called by the functions of a pool", "Gpu", "collect collect_blocking submit wait wait_blocking readback"),
    ("called by an allocation", "Gpu", "create_segment create_host_segment"),
    ("stores a setting", "Gpu", "set_pipeline_cache"),
    ("takes no device that is in use", "Pool", "new from_device request request_blocking"),
    ("needs no device", "Pool", "check dry_run max_batch set_limit_fraction"),
    ("returns the errors of its closure in the closure's result", "Repeat", "run"),
    (
        "a view, or the shape of one",
        "Tensor",
        "chunk expand narrow permute select slice split split_with_sizes squeeze t transpose unsqueeze flatten reshape i storage",
    ),
    ("copies as `copied` does, or is a view", "Tensor", "contiguous copy_ to"),
    (
        "created as `full` is",
        "Tensor",
        "arange empty empty_like from_vec full_like ones ones_like rand rand_like randn_like zeros_like fill_",
    ),
    ("read as `read` is", "Tensor", "into_host into_host_blocking item item_blocking to_text to_text_blocking"),
    (
        "launched as `add`, `add_` or `sum` is",
        "Tensor",
        "abs abs_ add_scaled_ amax amax_keepdim amin amin_keepdim argmax argmax_keepdim argmin argmin_keepdim avg_pool2d \
         avg_pool2d_backward bmm cat ceil ceil_ clamp clamp_ conv2d conv2d_backward_input conv2d_backward_weight conv2d_then cos \
         cos_ cross_entropy cross_entropy_backward div div_ div_floor div_floor_ div_trunc div_trunc_ eq exp_ floor floor_ fmod fmod_ fold gather ge gelu \
         gelu_ gelu_tanh gelu_tanh_ gt index_add_ index_select layer_norm le linear log log_ log_softmax lt matmul matmul_then max_pool2d \
         max_pool2d_backward max_pool2d_with_indices maximum maximum_ mean mean_keepdim minimum minimum_ mse_loss mse_loss_backward mul mul_ ne neg neg_ pow pow_ \
         reciprocal reciprocal_ relu relu_ remainder remainder_ rms_norm round round_ rsqrt rsqrt_ scatter_add_ sigmoid sigmoid_ silu \
         silu_ sin sin_ softmax sqrt sqrt_ square square_ stack std std_keepdim sub sub_ sum_keepdim tanh tanh_ unfold \
         upsample_bilinear upsample_bilinear_backward upsample_nearest upsample_nearest_backward var var_keepdim where_cond",
    ),
];

/// Returns the type and the name of a function that can fail, from a line of the record.
fn fallible(line: &str) -> Option<(String, String)> {
    let function = line.strip_prefix("pub fn ").or_else(|| line.strip_prefix("pub async fn "))?;
    if !function.split_once("->")?.1.contains("Result<") {
        return None;
    }
    let (mut path, mut depth) = (String::new(), 0);
    for letter in function.split('(').next()?.chars() {
        match letter {
            '<' => depth += 1,
            '>' => depth -= 1,
            _ if depth == 0 => path.push(letter),
            _ => {}
        }
    }
    let mut names = path.rsplit("::");
    let name = names.next()?.to_owned();
    Some((names.next()?.to_owned(), name))
}

#[test]
fn every_function_that_can_fail_is_called_on_a_lost_device_or_is_an_exception() {
    let recorded: BTreeSet<String> = RECORD
        .lines()
        .filter_map(fallible)
        .filter(|(kind, _)| TYPES.contains(&kind.as_str()))
        .map(|(kind, name)| format!("{kind}::{name}"))
        .collect();
    assert!(recorded.len() > 100, "the record has another form");
    let called = CALLS.iter().filter_map(|(name, _)| name.split(' ').next()).map(str::to_owned);
    let named =
        |kind: &'static str, names: &'static str| names.split_whitespace().map(move |name| format!("{kind}::{name}"));
    let excepted = EXCEPTIONS.iter().flat_map(|&(_, kind, names)| named(kind, names));
    let (called, excepted): (BTreeSet<String>, BTreeSet<String>) = (called.collect(), excepted.collect());
    let missing: Vec<_> = recorded.iter().filter(|name| !called.contains(*name) && !excepted.contains(*name)).collect();
    assert!(missing.is_empty(), "neither in CALLS nor an exception: {missing:?}");
    let stale: Vec<_> = excepted.iter().chain(&called).filter(|name| !recorded.contains(*name)).collect();
    assert!(stale.is_empty(), "no function of the record: {stale:?}");
    let both: Vec<_> = excepted.intersection(&called).collect();
    assert!(both.is_empty(), "in CALLS, and an exception: {both:?}");
}
