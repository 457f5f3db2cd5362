//! What Microsoft's older shader compiler (FXC) refuses or mistreats. wgpu uses it on DX12 where it finds no DXC, and `cargo xtask test
//! --target windows` can run it, but these tests run everywhere.
//!
//! Each rule was found by giving every kernel of the crate to FXC 10.1 as wgpu does.

use naga::valid::{FunctionInfo, ModuleInfo};
use naga::{AddressSpace, Block, Expression, Function, Handle, Module, ScalarKind, Statement, TypeInner};
use std::collections::HashSet;

/// Checks a kernel and its HLSL.
///
/// # Errors
/// What FXC would refuse, with its error's number.
pub(super) fn check(module: &Module, info: &ModuleInfo, hlsl: &str) -> Result<(), String> {
    let functions = module.functions.iter().map(|(handle, function)| (function, &info[handle]));
    let entries = module.entry_points.iter().enumerate().map(|(at, entry)| (&entry.function, info.get_entry_point(at)));
    let mut has_barrier = false;
    for (function, info) in functions.chain(entries) {
        check_components(module, function, info)?;
        has_barrier |= any(&function.body, &|part| matches!(part, Statement::ControlBarrier(_)));
    }
    if has_barrier {
        module.functions.iter().try_for_each(|(_, function)| check_returns(function))?;
    }
    check_definitions(hlsl)?;
    check_ends(hlsl)
}

/// A component of a local vector whose index is no constant. X3511: a loop with a store to one is unrolled, and so is each loop around
/// it, for up to minutes. A load of a float is a sum of all components times 0 or 1, and therefore NaN next to an infinity.
fn check_components(module: &Module, function: &Function, info: &FunctionInfo) -> Result<(), String> {
    let is_refused = |handle: Handle<Expression>| {
        let Expression::Access { base, .. } = function.expressions[handle] else { return false };
        let is_stored =
            any(&function.body, &|part| matches!(*part, Statement::Store { pointer, .. } if pointer == handle));
        is_component(info[base].ty.inner_with(&module.types), module, is_stored)
    };
    if !function.expressions.iter().any(|(handle, _)| is_refused(handle)) {
        return Ok(());
    }
    let why = "unrolls loops around a store to it (X3511), and loads NaN next to an infinity";
    Err(format!("{}: a component of a vector with an index that is no constant: FXC {why}", name(function)))
}

/// Whether `base` is a local vector or matrix, or a pointer to one, and FXC mistreats its components: all stores, and loads of floats.
fn is_component(base: &TypeInner, module: &Module, is_stored: bool) -> bool {
    let (inner, space) = match *base {
        TypeInner::Pointer { base, space } => (&module.types[base].inner, space),
        TypeInner::ValuePointer { size: Some(_), scalar, space } => {
            return is_local(space) && (is_stored || scalar.kind == ScalarKind::Float);
        }
        ref inner => (inner, AddressSpace::Function),
    };
    match *inner {
        TypeInner::Vector { scalar, .. } | TypeInner::Matrix { scalar, .. } => {
            is_local(space) && (is_stored || scalar.kind == ScalarKind::Float)
        }
        _ => false,
    }
}

/// Whether FXC selects a component of a variable of this address space by arithmetic. In the others it computes an address.
const fn is_local(space: AddressSpace) -> bool {
    matches!(space, AddressSpace::Function | AddressSpace::Private | AddressSpace::Uniform)
}

/// X4026: FXC takes the result of a function with an early return for uninitialized, and refuses a barrier that depends on it.
fn check_returns(function: &Function) -> Result<(), String> {
    if function.result.is_none() {
        return Ok(());
    }
    let is_constant = |condition: Handle<Expression>| {
        matches!(
            function.expressions[condition],
            Expression::Constant(_) | Expression::Literal(_) | Expression::Override(_)
        )
    };
    // A constant condition is no branch.
    let is_straight = |part: &Statement| matches!(*part, Statement::If { condition, .. } if is_constant(condition));
    let returns = |part: &Statement| matches!(part, Statement::Return { .. });
    let mut branches = function.body.iter().filter(|part| !returns(part) && !is_straight(part));
    if !branches.any(|part| any(&Block::from_vec(vec![part.clone()]), &returns)) {
        return Ok(());
    }
    Err(format!(
        "{}: FXC refuses barriers that depend on the result of a function with an early return (X4026)",
        name(function)
    ))
}

/// X3003: naga writes the function for a zero value once for each of its types, and an alias is a type of its own.
fn check_definitions(hlsl: &str) -> Result<(), String> {
    let mut seen = HashSet::new();
    let repeated = hlsl.lines().find(|line| line.contains("ZeroValue") && line.ends_with(" {") && !seen.insert(*line));
    let Some(line) = repeated else { return Ok(()) };
    Err(format!(
        "{line}: FXC refuses this second definition (X3003); zero values of one type need one name of the type"
    ))
}

/// X3507: naga writes a switch with nothing but a default as a loop of one iteration, and FXC sees no end with a value after it.
fn check_ends(hlsl: &str) -> Result<(), String> {
    let ends = hlsl.match_indices("\n    } while(false);\n}\n");
    let mut starts = ends.map(|(end, _)| {
        hlsl[..end].rfind("\n{\n").map_or("", |start| hlsl[..start].lines().last().unwrap_or_default())
    });
    let Some(start) = starts.find(|start| !start.starts_with("void ")) else { return Ok(()) };
    Err(format!("{start}: FXC refuses a function that ends with a switch of one case (X3507)"))
}

/// Whether a statement of a block, or of a block in it, is one that `is_wanted` accepts.
fn any(block: &Block, is_wanted: &dyn Fn(&Statement) -> bool) -> bool {
    block.iter().any(|part| {
        is_wanted(part)
            || match part {
                Statement::Block(block) => any(block, is_wanted),
                Statement::If { accept, reject, .. } => any(accept, is_wanted) || any(reject, is_wanted),
                Statement::Switch { cases, .. } => cases.iter().any(|case| any(&case.body, is_wanted)),
                Statement::Loop { body, continuing, .. } => any(body, is_wanted) || any(continuing, is_wanted),
                _ => false,
            }
    })
}

fn name(function: &Function) -> &str {
    function.name.as_deref().unwrap_or("the entry point")
}

/// What a kernel is refused for; empty if it is not.
fn problem(wgsl: &str) -> String {
    let text = format!("@group(0) @binding(0) var<storage, read_write> data: array<f32>;\n{wgsl}");
    let outcome = std::panic::catch_unwind(|| super::translate::check_without_collecting("test", &text));
    outcome.err().map_or(String::new(), |panic| panic.downcast_ref::<String>().expect("a message").clone())
}

#[test]
fn components_of_local_vectors_have_constant_indices() {
    let kernel =
        |body: &str| problem(&format!("@compute @workgroup_size(1) fn main() {{ let at = u32(data[0]); {body} }}"));
    for body in [
        "var v = vec4<f32>(); v[at] = 1.0; data[1] = v.x;",
        "var v = vec4<u32>(); v[at] = 1u; data[1] = f32(v.x);",
        "var v = vec4(data[1]); data[2] = v[at];",
        "let v = vec4(data[1]); data[2] = v[at];",
    ] {
        assert!(
            kernel(body).contains("a component of a vector with an index that is no constant"),
            "{body}: {}",
            kernel(body)
        );
    }
    for body in [
        "var v = vec4<f32>(); v[2] = 1.0; data[1] = v.x;",
        "var v = vec4(at); data[1] = f32(v[at]);",
        "var v: array<f32, 4>; v[at] = 1.0; data[1] = v[at + 1u];",
        "data[at] = data[at + 1u];",
    ] {
        assert_eq!(kernel(body), "", "{body}");
    }
}

#[test]
fn functions_of_kernels_with_barriers_return_at_their_end() {
    let kernel = |body: &str, rest: &str| {
        problem(&format!(
            "var<workgroup> shared_sum: f32;\nconst YES: bool = true;\nfn found(x: f32) -> f32 {{ {body} }}
             @compute @workgroup_size(1) fn main() {{ shared_sum = found(data[0]); {rest} data[1] = shared_sum; }}"
        ))
    };
    let in_loop = "for (var i = 0.0; i < 3.0; i += 1.0) { if x > i { return i; } } return x;";
    let early = "if x > 0.0 { return 1.0; } return x;";
    assert!(
        kernel(early, "workgroupBarrier();").contains("found: FXC refuses barriers"),
        "{}",
        kernel(early, "workgroupBarrier();")
    );
    assert!(kernel(in_loop, "workgroupBarrier();").contains("(X4026)"));
    let in_function = problem(&format!(
        "fn found(x: f32) -> f32 {{ {early} }}\nfn wait() {{ workgroupBarrier(); }}
         @compute @workgroup_size(1) fn main() {{ data[0] = found(data[0]); wait(); }}"
    ));
    assert!(in_function.contains("(X4026)"), "{in_function}");
    assert_eq!(kernel(early, ""), "");
    assert_eq!(kernel("var y = x; if x > 0.0 { y = 1.0; } return y;", "workgroupBarrier();"), "");
    assert_eq!(kernel("if YES { return 1.0; } return x;", "workgroupBarrier();"), "");
}

#[test]
fn zero_values_of_a_type_have_one_name() {
    let kernel = |zero: &str| {
        problem(&format!(
            "alias Four = vec4<f32>;
             @compute @workgroup_size(1) fn main() {{ var x = vec4<f32>(); var y = {zero}; data[0] = x.x + y.x; }}"
        ))
    };
    assert!(kernel("Four()").contains("second definition (X3003)"), "{}", kernel("Four()"));
    assert_eq!(kernel("vec4<f32>()"), "");
}

#[test]
fn functions_do_not_end_with_a_switch_of_one_case() {
    let kernel = |body: &str| {
        problem(&format!(
            "fn found(x: u32) -> f32 {{ {body} }} @compute @workgroup_size(1) fn main() {{ data[0] = found(1u); }}"
        ))
    };
    let one = "switch x { default: { return 1.0; } }";
    assert!(kernel(one).contains("(X3507)"), "{}", kernel(one));
    let second = problem(
        "fn first(x: u32) { switch x { default: { data[1] = 1.0; return; } } }
         fn found(x: u32) -> f32 { switch x { default: { return 1.0; } } }
         @compute @workgroup_size(1) fn main() { first(1u); data[0] = found(1u); }",
    );
    assert!(second.starts_with("test: float found(uint x"), "{second}");
    assert_eq!(kernel("switch x { case 1u: { return 2.0; } default: { return 1.0; } }"), "");
}
