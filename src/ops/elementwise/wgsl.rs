//! The WGSL of an elementwise kernel.
//!
//! An invocation has one element, or four neighbours as a vector. Parameters are words in the order of
//! [`Words`](super::variant::Words): the count of steps of the walk; in the flat form the elements of the last step,
//! and an offset in vec4s for each operand; else the sizes, and for each operand its offset and strides; then the
//! constants, unless these are a binding.
//!
//! Indices: elements of operands are within their storages; the invocation index is below count + 2^24, see
//! `launch.rs`. There are no loops but those of the operations.

use super::form::Form;
use super::graph::{Node, Place};
use super::operation::{Operation, Typed, Value};
use super::variant::{Parameters, Variant};
use crate::ops::shader::{NUMBER, PAIRS};
use crate::tensor::DType;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write;

/// The entry point of every kernel.
pub(super) const ENTRY: &str = "elementwise";

/// Hides from compilers that a value is that of another expression. Mesa replaces `x - x` by 0 and `(x + y) - x` by y, although x may be
/// infinite or NaN. The number of workgroups along z is 1, but only at run time.
const OPAQUE: &str =
    "fn opaque(x: Real, one: u32) -> Real { return bitcast<Real>(bitcast<Bits>(x) ^ Bits(one ^ 1u)); }";

/// The computation of a kernel: nodes, their types, and the index of the result.
#[derive(Debug)]
pub(super) struct Steps<'a> {
    pub(super) nodes: Cow<'a, [Node]>,
    pub(super) kinds: Cow<'a, [Typed]>,
    pub(super) result: Place,
}

/// The type of a step's values: a vector, unless an invocation has one element.
fn value(kind: Typed, form: Form) -> String {
    let scalar = match kind.result {
        Value::Number(dtype) => dtype.number().name(),
        Value::Truth => "bool",
    };
    of_form(scalar, form)
}

/// The type of elements.
fn element(dtype: DType, form: Form) -> String {
    of_form(dtype.name(), form)
}

/// The type in which a binding has them.
fn stored(dtype: DType, variant: &Variant) -> String {
    if variant.in_pairs { "vec2<u64>".into() } else { element(dtype, variant.form) }
}

fn of_form(scalar: &str, form: Form) -> String {
    if form == Form::Strided { scalar.into() } else { format!("vec4<{scalar}>") }
}

/// The kernel, with `workgroup_size` invocations in a workgroup.
pub(super) fn kernel(steps: &Steps<'_>, variant: &Variant, parameters: &Parameters, workgroup_size: u32) -> String {
    let mut text = String::new();
    let mut line = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    let dtypes = variant.binding_dtypes();
    if dtypes.contains(&DType::F16) {
        line("enable f16;");
    }
    line(&format!("const WORKGROUP: u32 = {workgroup_size}u;"));
    line(&format!("struct Params {{ words: array<vec4<u32>, {}> }}", parameters.words() / 4));
    line("@group(1) @binding(0) var<uniform> params: Params;");
    for (binding, dtype) in dtypes.iter().enumerate() {
        let stored = stored(*dtype, variant);
        line(&format!("@group(0) @binding({binding}) var<storage, read_write> b{binding}: array<{stored}>;"));
    }
    if parameters.binds_constants {
        let binding = dtypes.len();
        line(&format!("@group(0) @binding({binding}) var<storage, read_write> constants: array<u32>;"));
    }
    if variant.in_pairs {
        line(PAIRS);
    }
    for function in functions(steps, variant.form) {
        line(&function);
    }
    let lets = lets(steps, variant, parameters);
    if lets.contains("opaque(") {
        line(OPAQUE);
    }
    line("@compute @workgroup_size(WORKGROUP)");
    line(&format!("fn {ENTRY}("));
    line("    @builtin(workgroup_id) workgroup: vec3<u32>,");
    line("    @builtin(num_workgroups) workgroups: vec3<u32>,");
    line("    @builtin(local_invocation_index) local: u32,");
    line(") {");
    line("    let index = (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;");
    line(&format!("    if index >= {} {{ return; }}", word(0)));
    line(&places(variant));
    match steps.nodes[steps.result as usize] {
        // Copies all bits, also those of NaN.
        Node::Input(input) if variant.dtypes[input as usize] == variant.written => {
            line(&store(&load(input as usize + 1, variant), variant));
        }
        _ => {
            line(&lets);
            let result = as_number(steps.result, &steps.kinds);
            line(&store(&format!("{}({result})", element(variant.written, variant.form)), variant));
        }
    }
    line("}");
    text
}

/// A parameter.
fn word(number: usize) -> String {
    format!("params.words[{}].{}", number / 4, ["x", "y", "z", "w"][number % 4])
}

/// Writes a function for each operation and dtype of the kernel, and the functions that these call.
fn functions(steps: &Steps<'_>, form: Form) -> Vec<Cow<'static, str>> {
    let aliases = [("Real", "f32"), ("Bits", "u32"), ("Signed", "i32"), ("Truth", "bool")];
    let aliases = aliases.map(|(name, scalar)| format!("alias {name} = {};", of_form(scalar, form)));
    let mut written: Vec<Cow<'static, str>> = vec![aliases.join("\n").into()];
    let mut add = |function: Cow<'static, str>| {
        if !written.contains(&function) {
            written.push(function);
        }
    };
    for (node, kind) in steps.nodes.iter().zip(&*steps.kinds) {
        match (node, kind.code) {
            (Node::Apply(operation, _), Some(code)) => {
                code.functions.iter().for_each(|&called| add(called.into()));
                let operand = value(Typed::number(kind.operands), form);
                let operands: Vec<_> =
                    ["x", "y", "z"][..operation.arity].iter().map(|x| format!("{x}: {operand}")).collect();
                let (name, operands) = (function_name(operation, *kind), operands.join(", "));
                add(format!("fn {name}({operands}) -> {} {{ return {}; }}", value(*kind, form), code.expression).into());
            }
            // The function that converts numbers to truth values.
            (Node::Both(..) | Node::Either(..) | Node::Not(_) | Node::Select(..), _) => add(NUMBER.into()),
            _ => {}
        }
    }
    written
}

fn function_name(operation: &Operation, kind: Typed) -> String {
    format!("{}_{}", operation.name, kind.operands)
}

/// Writes the index of each operand's element or vector.
fn places(variant: &Variant) -> String {
    let mut text = String::new();
    let rank = variant.rank;
    let operands = variant.inputs + 1;
    if variant.form == Form::Flat {
        for operand in 0..operands {
            writeln!(text, "    let p{operand} = {} + index;", word(2 + operand)).expect("a String takes every text");
        }
        return text;
    }
    let offset = |operand: usize| 1 + rank + operand * (1 + rank);
    for operand in 0..operands {
        writeln!(text, "    var p{operand} = {};", word(offset(operand))).expect("a String takes every text");
    }
    text.push_str("    var rest = index;\n");
    for axis in (0..rank).rev() {
        // The rest of the index is the coordinate of the outermost dimension, without a division.
        let coordinate = if axis == 0 { "rest" } else { "coordinate" };
        if axis > 0 {
            let size = word(1 + axis);
            let declared = if axis + 1 == rank { "var outer = rest" } else { "outer = rest" };
            writeln!(text, "    {declared} / {size};").expect("a String takes every text");
            let declared = if axis + 1 == rank { "var coordinate" } else { "coordinate" };
            writeln!(text, "    {declared} = rest - outer * {size};").expect("a String takes every text");
            text.push_str("    rest = outer;\n");
        }
        for operand in 0..operands {
            let stride = word(offset(operand) + 1 + axis);
            writeln!(text, "    p{operand} += {coordinate} * {stride};").expect("a String takes every text");
        }
    }
    text
}

/// A `let` for each step.
fn lets(steps: &Steps<'_>, variant: &Variant, parameters: &Parameters) -> String {
    let mut text = String::new();
    let kinds = &*steps.kinds;
    let leaves = leaves(&steps.nodes);
    for (place, (node, kind)) in steps.nodes.iter().zip(kinds).enumerate() {
        let of = value(*kind, variant.form);
        let number = |operand: Place| converted(operand, kind.operands, kinds, variant.form);
        let truth = |operand: Place| as_truth(operand, kinds, variant.form);
        let expression = match node {
            Node::Input(input) => format!("{of}({})", load(*input as usize + 1, variant)),
            Node::Constant { number, .. } => {
                let number = *number as usize;
                let bits = match parameters.binds_constants {
                    true => format!("constants[{number}]"),
                    false => word(parameters.walk + number),
                };
                format!("{of}(bitcast<{}>({bits}))", kind.dtype().number())
            }
            Node::Apply(operation, operands) => {
                let operands = &operands[..operation.arity];
                let is_real = kind.operands.number() == DType::F32;
                let of_earlier = |index: usize| {
                    let shared =
                        |&earlier: &Place| !leaves[earlier as usize].is_disjoint(&leaves[operands[index] as usize]);
                    is_real && operands[..index].iter().any(shared)
                };
                let operand = |(index, &operand): (usize, &Place)| {
                    let number = number(operand);
                    if of_earlier(index) { format!("opaque({number}, workgroups.z)") } else { number }
                };
                let operands: Vec<_> = operands.iter().enumerate().map(operand).collect();
                match kind.code {
                    Some(_) => format!("{}({})", function_name(operation, *kind), operands.join(", ")),
                    None => operands.join(", "),
                }
            }
            Node::Both(x, y) => format!("{} & {}", truth(*x), truth(*y)),
            Node::Either(x, y) => format!("{} | {}", truth(*x), truth(*y)),
            Node::Not(x) => format!("!{}", truth(*x)),
            Node::Select(which, this, other) => {
                format!("select({}, {}, {})", number(*other), number(*this), truth(*which))
            }
            // Refused by `fuse`.
            Node::Foreign => continue,
        };
        writeln!(text, "    let v{place}: {of} = {expression};").expect("a String takes every text");
    }
    text
}

/// Returns the inputs and constants on which each step depends.
fn leaves(nodes: &[Node]) -> Vec<BTreeSet<Place>> {
    let mut leaves: Vec<BTreeSet<Place>> = Vec::with_capacity(nodes.len());
    for (place, node) in (0..).zip(nodes) {
        let operands: &[Place] = match node {
            Node::Input(_) | Node::Constant { .. } | Node::Foreign => &[],
            Node::Apply(operation, operands) => &operands[..operation.arity],
            Node::Both(x, y) | Node::Either(x, y) => &[*x, *y],
            Node::Not(x) => &[*x],
            Node::Select(which, this, other) => &[*which, *this, *other],
        };
        let own = if operands.is_empty() { Some(place) } else { None };
        leaves.push(operands.iter().flat_map(|&operand| leaves[operand as usize].iter().copied()).chain(own).collect());
    }
    leaves
}

/// The element, or the four, of an input.
fn load(operand: usize, variant: &Variant) -> String {
    let (binding, dtype) = (variant.bindings[operand], variant.dtypes[operand - 1]);
    match variant.form {
        Form::Flat | Form::Strided => unpacked(format!("b{binding}[p{operand}]"), dtype, variant),
        Form::Rows if variant.is_broadcast[operand] => {
            let four = unpacked(format!("b{binding}[p{operand} >> 2u]"), dtype, variant);
            format!("vec4<{dtype}>({four}[p{operand} & 3u])")
        }
        Form::Rows => unpacked(format!("b{binding}[p{operand} >> 2u]"), dtype, variant),
    }
}

/// Converts loaded bits to elements of a dtype.
fn unpacked(stored: String, dtype: DType, variant: &Variant) -> String {
    if variant.in_pairs { format!("bitcast<vec4<{dtype}>>(words({stored}))") } else { stored }
}

/// Converts elements to the type of a binding.
fn packed(elements: &str, variant: &Variant) -> String {
    if variant.in_pairs { format!("pairs(bitcast<vec4<u32>>({elements}))") } else { elements.into() }
}

/// A step's value as a number: comparison results are 1 and 0.
fn as_number(place: Place, kinds: &[Typed]) -> String {
    match kinds[place as usize].result {
        Value::Number(_) => format!("v{place}"),
        Value::Truth => format!("select(Bits(0u), Bits(1u), v{place})"),
    }
}

/// A step's value as a number that kernels compute with for another dtype.
fn converted(place: Place, to: DType, kinds: &[Typed], form: Form) -> String {
    let number = as_number(place, kinds);
    let (from, to) = (kinds[place as usize].dtype().number(), to.number());
    match (from, to) {
        _ if from == to => number,
        (DType::I32 | DType::U32, DType::I32 | DType::U32) => {
            format!("bitcast<{}>({number})", of_form(to.name(), form))
        }
        _ => format!("{}({number})", of_form(to.name(), form)),
    }
}

/// A step's value as a condition: numbers other than 0, including NaN, are true.
fn as_truth(place: Place, kinds: &[Typed], form: Form) -> String {
    match kinds[place as usize] {
        Typed { result: Value::Truth, .. } => format!("v{place}"),
        Typed { result: Value::Number(dtype), .. } if dtype.is_floating_point() => format!("is_true(v{place})"),
        kind => format!("(v{place} != {}())", value(kind, form)),
    }
}

/// Stores the value of the result, in elements of the output.
fn store(value: &str, variant: &Variant) -> String {
    match variant.form {
        Form::Strided => format!("    b0[p0] = {value};"),
        Form::Rows => format!("    b0[p0 >> 2u] = {};", packed(value, variant)),
        Form::Flat => {
            // Elements after the end may belong to another view, and are stored with the values that they have.
            let (count, tail) = (word(0), word(1));
            let (there, result) = (unpacked("b0[p0]".into(), variant.written, variant), packed("result", variant));
            format!(
                "    var result = {value};
    if index + 1u == {count} && {tail} < 4u {{
        result = select({there}, result, vec4(0u, 1u, 2u, 3u) < vec4({tail}));
    }}
    b0[p0] = {result};"
            )
        }
    }
}
