//! Which operations do not have a form, and why; and which special values of an operation's other tests have.

use super::Form;
use super::filling::Filling;

/// Operations that return a view, or the tensor itself.
const VIEWS: &[&str] = &[
    "Tensor::narrow",
    "Tensor::transpose",
    "Tensor::t",
    "Tensor::permute",
    "Tensor::expand",
    "Tensor::reshape",
    "Tensor::contiguous",
    "Tensor::slice",
    "Tensor::select",
    "Tensor::i",
    "Tensor::squeeze",
    "Tensor::unsqueeze",
    "Tensor::flatten",
    "Tensor::split",
    "Tensor::split_with_sizes",
    "Tensor::chunk",
];
/// Operations that create a tensor from numbers, or read one.
const NEW: &[&str] = &[
    "Tensor::full",
    "Tensor::ones",
    "Tensor::zeros",
    "Tensor::empty",
    "Tensor::full_like",
    "Tensor::ones_like",
    "Tensor::zeros_like",
    "Tensor::empty_like",
    "Tensor::arange",
    "Tensor::from_slice",
    "Tensor::from_vec",
    "Tensor::copied",
    "Tensor::read",
    "Tensor::read_blocking",
    "Tensor::item",
    "Tensor::item_blocking",
];
/// Operations that draw numbers.
const RANDOM: &[&str] = &["Tensor::rand", "Tensor::randn", "Tensor::rand_like", "Tensor::randn_like"];
/// Operations that move elements to other places.
const MOVES: &[&str] = &["Tensor::cat", "Tensor::stack", "Tensor::gather", "Tensor::index_select", "Tensor::unfold"];
/// Operations that combine elements at several places, of every dtype.
const SUMS: &[&str] = &[
    "Tensor::sum",
    "Tensor::sum_keepdim",
    "Tensor::amax",
    "Tensor::amax_keepdim",
    "Tensor::amin",
    "Tensor::amin_keepdim",
    "Tensor::argmax",
    "Tensor::argmax_keepdim",
    "Tensor::argmin",
    "Tensor::argmin_keepdim",
    "Tensor::fold",
];
/// Operations that combine elements at several places, of floating point.
const REAL_SUMS: &[&str] = &[
    "Tensor::mean",
    "Tensor::mean_keepdim",
    "Tensor::var",
    "Tensor::var_keepdim",
    "Tensor::std",
    "Tensor::std_keepdim",
    "Tensor::softmax",
    "Tensor::log_softmax",
    "Tensor::layer_norm",
    "Tensor::rms_norm",
    "Tensor::mse_loss",
    "Tensor::mse_loss_backward",
    "Tensor::cross_entropy",
    "Tensor::cross_entropy_backward",
    "Tensor::avg_pool2d",
    "Tensor::avg_pool2d_backward",
    "Tensor::max_pool2d",
    "Tensor::max_pool2d_with_indices",
    "Tensor::max_pool2d_backward",
    "Tensor::upsample_bilinear",
    "Tensor::upsample_bilinear_backward",
    "Tensor::upsample_nearest",
    "Tensor::upsample_nearest_backward",
];
/// Products and convolutions.
const PLAIN_PRODUCTS: &[&str] = &[
    "Tensor::matmul",
    "Tensor::bmm",
    "Tensor::linear",
    "Tensor::conv2d",
    "Tensor::conv2d_backward_input",
    "Tensor::conv2d_backward_weight",
];
/// Products and convolutions with an epilogue.
const THEN: &[&str] = &["Tensor::matmul_then", "Tensor::conv2d_then"];
/// Operations whose results are u32.
const COMPARISONS: &[&str] = &["Tensor::eq", "Tensor::ne", "Tensor::lt", "Tensor::le", "Tensor::gt", "Tensor::ge"];
/// Operations that exist in place alone.
const CHANGES: &[&str] =
    &["Tensor::copy_", "Tensor::fill_", "Tensor::add_scaled_", "Tensor::scatter_add_", "Tensor::index_add_"];
/// Whole expressions.
const FUSED: &[&str] = &["Fused::run", "Fused::run_into"];
/// Steps of expressions without a method of tensors.
const LOGIC: &[&str] = &["Expression::not", "Expression::bitand", "Expression::bitor"];
/// Steps of optimizers.
const OPTIMIZERS: &[&str] = &["Sgd::step", "AdamW::step"];
/// Elementwise operations that no epilogue has.
const NO_ACTIVATIONS: &[&str] = &[
    "Tensor::neg",
    "Tensor::abs",
    "Tensor::exp",
    "Tensor::log",
    "Tensor::sqrt",
    "Tensor::rsqrt",
    "Tensor::reciprocal",
    "Tensor::square",
    "Tensor::sin",
    "Tensor::cos",
    "Tensor::floor",
    "Tensor::ceil",
    "Tensor::round",
    "Tensor::add",
    "Tensor::sub",
    "Tensor::mul",
    "Tensor::div",
    "Tensor::pow",
    "Tensor::div_floor",
    "Tensor::div_trunc",
    "Tensor::remainder",
    "Tensor::fmod",
    "Tensor::maximum",
    "Tensor::minimum",
    "Tensor::clamp",
    "Tensor::where_cond",
    "Tensor::to",
];

/// Forms that operations do not have: the reason, the forms, the operations.
type Absent = (&'static str, &'static [Form], &'static [&'static [&'static str]]);

const ABSENT: &[Absent] = &[
    ("changes its operand: it has the form in place", &[Form::Plain], &[CHANGES, OPTIMIZERS]),
    ("runs as an expression", &[Form::Plain, Form::InPlace], &[FUSED, LOGIC]),
    ("its plain form is without the epilogue", &[Form::Plain], &[THEN]),
    ("has no method that writes its operand", &[Form::InPlace], &[MOVES, SUMS, REAL_SUMS, PLAIN_PRODUCTS, THEN]),
    ("its result has another dtype or shape", &[Form::InPlace], &[COMPARISONS, &["Tensor::to", "Tensor::where_cond"]]),
    ("a view changes no element", &[Form::InPlace], &[VIEWS]),
    ("makes a new tensor, or reads one", &[Form::InPlace], &[NEW, RANDOM]),
    (
        "expressions compute each element from those at its place",
        &[Form::Fused],
        &[VIEWS, MOVES, SUMS, REAL_SUMS, PLAIN_PRODUCTS, THEN, &["Tensor::scatter_add_", "Tensor::index_add_"]],
    ),
    ("expressions return a new tensor", &[Form::Fused], &[&["Tensor::copy_", "Tensor::fill_"]]),
    ("an expression has it as a product and a sum", &[Form::Fused], &[&["Tensor::add_scaled_"]]),
    ("expressions promote, and have no conversion", &[Form::Fused], &[&["Tensor::to"]]),
    ("expressions have at least one input", &[Form::Fused], &[NEW, RANDOM]),
    ("a kernel of its own", &[Form::Fused], &[OPTIMIZERS]),
    (
        "epilogues are a bias and an activation",
        &[Form::Epilogue],
        &[
            VIEWS,
            NEW,
            RANDOM,
            MOVES,
            SUMS,
            REAL_SUMS,
            PLAIN_PRODUCTS,
            COMPARISONS,
            CHANGES,
            FUSED,
            LOGIC,
            OPTIMIZERS,
            NO_ACTIVATIONS,
        ],
    ),
    ("refuses operands that are not contiguous", &[Form::View], &[OPTIMIZERS]),
    ("draws f32 alone", &[Form::F16, Form::Integers], &[&["Tensor::rand", "Tensor::randn"]]),
    (
        "copies bits of every dtype alike: the table has u32",
        &[Form::F16],
        &[&["Tensor::from_slice", "Tensor::from_vec"]],
    ),
    (REFUSES_INTEGERS, &[Form::Integers], &[REAL_SUMS, OPTIMIZERS, REAL]),
];

/// The reason that `integers_are_refused_where_an_operation_has_none` verifies.
pub(super) const REFUSES_INTEGERS: &str = "refuses integers";
/// Elementwise operations, and random numbers, of floating point alone.
const REAL: &[&str] = &["Tensor::silu", "Tensor::gelu", "Tensor::gelu_tanh", "Tensor::rand_like", "Tensor::randn_like"];

/// Operations whose kernels take Mesa's software GL 20 seconds to compile.
pub(super) const PRODUCTS: &[&[&str]] = &[PLAIN_PRODUCTS, THEN];

/// Special values that an operation does not run with, and why.
type Skipped = (&'static str, &'static [Filling], &'static [&'static [&'static str]]);

const SKIPPED: &[Skipped] = &[
    (
        "sums of the largest numbers overflow on the way or cancel, in the order of the device",
        &[Filling::Large],
        &[
            PLAIN_PRODUCTS,
            THEN,
            FUSED,
            OPTIMIZERS,
            &[
                "Tensor::sum",
                "Tensor::sum_keepdim",
                "Tensor::fold",
                "Tensor::mean",
                "Tensor::mean_keepdim",
                "Tensor::var",
                "Tensor::var_keepdim",
                "Tensor::std",
                "Tensor::std_keepdim",
                "Tensor::mse_loss",
                "Tensor::mse_loss_backward",
                "Tensor::avg_pool2d",
                "Tensor::avg_pool2d_backward",
                "Tensor::max_pool2d_backward",
                "Tensor::upsample_bilinear",
                "Tensor::upsample_bilinear_backward",
                "Tensor::upsample_nearest_backward",
                "Tensor::scatter_add_",
                "Tensor::index_add_",
                "Tensor::add_scaled_",
                "Tensor::cross_entropy",
                "Tensor::cross_entropy_backward",
            ],
        ],
    ),
    (
        "squares of the largest numbers overflow: `special_values/reductions.rs` has the limits",
        &[Filling::Large],
        &[&["Tensor::layer_norm", "Tensor::rms_norm"]],
    ),
];

/// Whether an operation is in one of some groups.
pub(super) fn contains(groups: &[&[&str]], operation: &str) -> bool {
    groups.iter().any(|group| group.contains(&operation))
}

/// The reasons why an operation does not have a form.
pub(super) fn reasons(operation: &str, form: Form) -> Vec<&'static str> {
    let of = |(_, forms, groups): &&Absent| forms.contains(&form) && contains(groups, operation);
    ABSENT.iter().filter(of).map(|(reason, ..)| *reason).collect()
}

/// Every operation that is named here.
pub(super) fn operations() -> impl Iterator<Item = &'static str> {
    ABSENT.iter().flat_map(|(_, _, groups)| groups.iter().copied().flatten().copied())
}

/// Why a cell is not run with special values of this kind, if it is not.
pub(super) fn skipped(operation: &str, form: Form, filling: Filling) -> Option<&'static str> {
    let of = |(_, fillings, groups): &&Skipped| fillings.contains(&filling) && contains(groups, operation);
    let reason = SKIPPED.iter().find(of).map(|(reason, ..)| *reason);
    reason.or((form == Form::Epilogue && filling == Filling::Large).then_some("at the end of a sum"))
}

/// Integers for a cell, which the model has exactly.
pub(super) fn integers(operation: &str, form: Form) -> Filling {
    if form == Form::Epilogue || contains(&[PLAIN_PRODUCTS, THEN, FUSED], operation) {
        Filling::Factors
    } else if ["Tensor::sin", "Tensor::cos"].contains(&operation) {
        // The angle is rounded to f32 first.
        Filling::Representable
    } else {
        Filling::Limits
    }
}
