//! The kernel of an expression, as WGSL.
//!
//! An invocation has one element, or four neighbours as a vector. Parameters are words in the order of `Fused::words`: the count of
//! steps; in the flat form the elements of the last step, and an offset in vec4s for each operand; else the sizes, and for each
//! operand its offset and strides; then the constants, unless these are a binding.

use super::super::form::Form;
use super::super::shader::{NUMBER, Operation, PAIRS};
use super::expression::Node;
use super::kinds::Kind;
use super::{Parameters, Place, Variant};
use crate::tensor::DType;
use std::fmt::Write;

/// The type of a kind's values: a vector, unless an invocation has one element.
fn value(kind: Kind, form: Form) -> String {
    let scalar = match kind {
        Kind::Number(dtype, _) => dtype.number().name(),
        Kind::Truth(_) => "bool",
    };
    of_form(scalar, form)
}

/// The type of the values of a binding, which may not be what is computed with.
fn stored(dtype: DType, form: Form) -> String {
    of_form(dtype.name(), form)
}

/// The type in which a binding keeps them.
fn kept(dtype: DType, variant: &Variant) -> String {
    if variant.in_pairs { "vec2<u64>".into() } else { stored(dtype, variant.form) }
}

fn of_form(scalar: &str, form: Form) -> String {
    if form == Form::Strided { scalar.into() } else { format!("vec4<{scalar}>") }
}

/// The kernel.
pub(super) fn kernel(
    nodes: &[Node],
    result: Place,
    kinds: &[Kind],
    variant: &Variant,
    parameters: &Parameters,
) -> String {
    let mut text = String::new();
    let words = parameters.words() / 4;
    let inputs = parameters.inputs;
    let mut line = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    let dtypes = binding_dtypes(variant, inputs);
    if dtypes.contains(&DType::F16) {
        line("enable f16;");
    }
    line("override WORKGROUP: u32 = 256u;");
    line(&format!("struct Params {{ words: array<vec4<u32>, {words}> }}"));
    line("@group(1) @binding(0) var<uniform> params: Params;");
    for (binding, dtype) in dtypes.iter().enumerate() {
        let element = kept(*dtype, variant);
        line(&format!("@group(0) @binding({binding}) var<storage, read_write> b{binding}: array<{element}>;"));
    }
    if parameters.binds_constants {
        let binding = dtypes.len();
        line(&format!("@group(0) @binding({binding}) var<storage, read_write> constants: array<u32>;"));
    }
    if variant.in_pairs {
        line(PAIRS);
    }
    for function in functions(nodes, kinds, variant.form) {
        line(&function);
    }
    line("@compute @workgroup_size(WORKGROUP)");
    line("fn fused(");
    line("    @builtin(workgroup_id) workgroup: vec3<u32>,");
    line("    @builtin(num_workgroups) workgroups: vec3<u32>,");
    line("    @builtin(local_invocation_index) local: u32,");
    line(") {");
    line("    let index = (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;");
    line(&format!("    if index >= {} {{ return; }}", word(0)));
    line(&places(variant, inputs));
    line(&steps(nodes, kinds, variant, parameters));
    line(&store(result, kinds, variant));
    line("}");
    text
}

/// A parameter.
fn word(number: usize) -> String {
    format!("params.words[{}].{}", number / 4, ["x", "y", "z", "w"][number % 4])
}

/// The dtype of each binding.
fn binding_dtypes(variant: &Variant, inputs: usize) -> Vec<DType> {
    let mut dtypes = vec![variant.written; variant.bound()];
    for (dtype, binding) in variant.dtypes.iter().zip(&variant.bindings[1..]).take(inputs) {
        dtypes[*binding] = *dtype;
    }
    dtypes
}

/// A function for each operation that the expression takes, once for each dtype, and what those call.
fn functions(nodes: &[Node], kinds: &[Kind], form: Form) -> Vec<String> {
    let aliases = [("Real", "f32"), ("Bits", "u32"), ("Signed", "i32"), ("Truth", "bool")];
    let aliases = aliases.map(|(name, scalar)| format!("alias {name} = {};", of_form(scalar, form)));
    let mut written = vec![aliases.join("\n"), NUMBER.into()];
    for (node, kind) in nodes.iter().zip(kinds) {
        let Kind::Number(dtype, Some(operation)) = *kind else { continue };
        for called in operation.functions {
            if !written.iter().any(|known| known == called) {
                written.push((*called).into());
            }
        }
        let is_binary = matches!(node, Node::Binary(..));
        let function = function(operation, is_binary, dtype, form);
        if !written.contains(&function) {
            written.push(function);
        }
    }
    written
}

fn function_name(operation: Operation, dtype: DType) -> String {
    format!("{}_{dtype}", operation.name)
}

fn function(operation: Operation, is_binary: bool, dtype: DType, form: Form) -> String {
    let name = function_name(operation, dtype);
    let own = value(Kind::Number(dtype, None), form);
    let arguments = if is_binary { format!("x: {own}, y: {own}") } else { format!("x: {own}") };
    // The expressions are written over this name, which kernels of one operation have as an alias.
    let expression = operation.expression.replace("Value(", &format!("{own}("));
    format!("fn {name}({arguments}) -> {own} {{ return {expression}; }}")
}

/// Where each operand's element, or its four, are.
fn places(variant: &Variant, inputs: usize) -> String {
    let mut text = String::new();
    let rank = variant.rank;
    let operands = inputs + 1;
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
        // What is left for the outermost dimension needs no division.
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
fn steps(nodes: &[Node], kinds: &[Kind], variant: &Variant, parameters: &Parameters) -> String {
    let mut text = String::new();
    for (place, (node, kind)) in nodes.iter().zip(kinds).enumerate() {
        let of = value(*kind, variant.form);
        let number = |operand: Place| converted(operand, kind.of_operands(), kinds, variant.form);
        let truth = |operand: Place| as_truth(operand, kinds, variant.form);
        let call = |arguments: String| match kind {
            Kind::Number(dtype, Some(operation)) => format!("{}({arguments})", function_name(*operation, *dtype)),
            _ => arguments,
        };
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
            Node::Unary(_, x) => call(number(*x)),
            Node::Binary(_, x, y) => call(format!("{}, {}", number(*x), number(*y))),
            Node::Compare(sign, x, y) => compare(sign, &number(*x), &number(*y), kind.of_operands()),
            Node::Both(x, y) => format!("{} & {}", truth(*x), truth(*y)),
            Node::Either(x, y) => format!("{} | {}", truth(*x), truth(*y)),
            Node::Not(x) => format!("!{}", truth(*x)),
            Node::Select(which, this, other) => {
                format!("select({}, {}, {})", number(*other), number(*this), truth(*which))
            }
            // Refused by `kinds.rs`.
            Node::Foreign => continue,
        };
        writeln!(text, "    let v{place}: {of} = {expression};").expect("a String takes every text");
    }
    text
}

/// The element, or the four, of an input.
fn load(operand: usize, variant: &Variant) -> String {
    let (binding, dtype) = (variant.bindings[operand], variant.dtypes[operand - 1]);
    match variant.form {
        Form::Flat | Form::Strided => opened(format!("b{binding}[p{operand}]"), dtype, variant),
        Form::Rows if variant.is_spread[operand] => {
            let four = opened(format!("b{binding}[p{operand} >> 2u]"), dtype, variant);
            format!("vec4<{dtype}>({four}[p{operand} & 3u])")
        }
        Form::Rows => opened(format!("b{binding}[p{operand} >> 2u]"), dtype, variant),
    }
}

/// What a binding keeps, as elements of its dtype.
fn opened(kept: String, dtype: DType, variant: &Variant) -> String {
    if variant.in_pairs { format!("bitcast<vec4<{dtype}>>(words({kept}))") } else { kept }
}

/// Elements, as a binding keeps them.
fn closed(elements: &str, variant: &Variant) -> String {
    if variant.in_pairs { format!("pairs(bitcast<vec4<u32>>({elements}))") } else { elements.into() }
}

/// A step's value as a number: comparison results are 1 and 0.
fn as_number(place: Place, kinds: &[Kind], form: Form) -> String {
    match kinds[place as usize] {
        Kind::Number(..) => format!("v{place}"),
        Kind::Truth(_) => {
            let of = value(Kind::Number(DType::U32, None), form);
            format!("select({of}(0u), {of}(1u), v{place})")
        }
    }
}

/// A step's value as a number that kernels compute with for another dtype.
fn converted(place: Place, to: DType, kinds: &[Kind], form: Form) -> String {
    let number = as_number(place, kinds, form);
    let (from, to) = (kinds[place as usize].dtype().number(), to.number());
    match (from, to) {
        _ if from == to => number,
        (DType::I32 | DType::U32, DType::I32 | DType::U32) => {
            format!("bitcast<{}>({number})", of_form(to.name(), form))
        }
        _ => format!("{}({number})", of_form(to.name(), form)),
    }
}

/// A step's value as a truth: numbers other than 0 are true, and NaN is.
fn as_truth(place: Place, kinds: &[Kind], form: Form) -> String {
    match kinds[place as usize] {
        Kind::Truth(_) => format!("v{place}"),
        Kind::Number(dtype, _) if dtype.is_floating_point() => format!("is_true(v{place})"),
        kind @ Kind::Number(..) => format!("(v{place} != {}())", value(kind, form)),
    }
}

/// Whether two values compare so; of floating point by `lib/number.wgsl`, since drivers may assume that nothing is NaN.
fn compare(sign: &str, x: &str, y: &str, dtype: DType) -> String {
    if !dtype.is_floating_point() {
        return format!("{x} {sign} {y}");
    }
    match sign {
        "==" => format!("is_equal({x}, {y})"),
        "!=" => format!("!is_equal({x}, {y})"),
        "<" => format!("is_less({x}, {y})"),
        ">" => format!("is_less({y}, {x})"),
        "<=" => format!("is_at_most({x}, {y})"),
        _ => format!("is_at_most({y}, {x})"),
    }
}

fn store(result: Place, kinds: &[Kind], variant: &Variant) -> String {
    let dtype = variant.written;
    let value = as_number(result, kinds, variant.form);
    let value = format!("{}({value})", stored(dtype, variant.form));
    match variant.form {
        Form::Strided => format!("    b0[p0] = {value};"),
        Form::Rows => format!("    b0[p0 >> 2u] = {};", closed(&value, variant)),
        Form::Flat => {
            // Beyond the tail of the last four the output may be another view's.
            let (count, tail) = (word(0), word(1));
            let (there, result) = (opened("b0[p0]".into(), dtype, variant), closed("result", variant));
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
