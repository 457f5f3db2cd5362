//! The names of operations in errors: each public method that refuses its operands names itself, not an operation inside.
//!
//! A row of each method runs with operands that do not fit: each operand, and all of them, of another dtype, of other shapes, of
//! another pool, and with elements that overlap. What the row's other arguments make of these operands does not matter: every
//! error that has the name of an operation must have the name of the method. Methods without such an error are listed below.
//!
//! Errors about a tensor other than its shape also name the argument: one name is in all of them that a wrong operand causes, and it
//! is not that of another operand.

use super::{Row, names};
use crate::common::{Outcome, adapter};
use std::collections::BTreeSet;
use wgpu_pool::{DType, Pool, Tensor, TensorError};

/// Public methods whose operands cannot make them return an error with a name.
const NEVER_NAMED: [(&str, &str); 30] = [
    ("Tensor::abs", DEFINED),
    ("Tensor::arange", NEW),
    ("Tensor::ceil", DEFINED),
    ("Tensor::contiguous", COPY),
    ("Tensor::copied", COPY),
    ("Tensor::cos", DEFINED),
    ("Tensor::empty", NEW),
    ("Tensor::empty_like", LIKE),
    ("Tensor::exp", DEFINED),
    ("Tensor::floor", DEFINED),
    ("Tensor::from_slice", NEW),
    ("Tensor::from_vec", NEW),
    ("Tensor::full", NEW),
    ("Tensor::log", DEFINED),
    ("Tensor::ones", NEW),
    ("Tensor::ones_like", LIKE),
    ("Tensor::rand", NEW),
    ("Tensor::randn", NEW),
    ("Tensor::reciprocal", DEFINED),
    ("Tensor::relu", DEFINED),
    ("Tensor::round", DEFINED),
    ("Tensor::rsqrt", DEFINED),
    ("Tensor::sigmoid", DEFINED),
    ("Tensor::sin", DEFINED),
    ("Tensor::sqrt", DEFINED),
    ("Tensor::square", DEFINED),
    ("Tensor::tanh", DEFINED),
    ("Tensor::to", DEFINED),
    ("Tensor::zeros", NEW),
    ("Tensor::zeros_like", LIKE),
];
const DEFINED: &str = "defined for every dtype and shape";
const NEW: &str = "has no tensor among its arguments, and no other that can be outside of a range";
const LIKE: &str = "takes any tensor";
const COPY: &str = "takes any tensor; one with too many elements needs more memory than there is";

/// Errors by arguments that rows do not have.
fn by_arguments(pool: &Pool) -> Result<Vec<(&'static str, Option<TensorError>)>, TensorError> {
    let (x, one) = (Tensor::ones(pool, [2, 3], DType::F32)?, Tensor::ones(pool, [1], DType::F32)?);
    let alone = || Tensor::ones(pool, [1], DType::F32);
    let (host, host_blocking) = (alone()?.into_host::<i32>(), alone()?.into_host_blocking::<i32>());
    Ok(vec![
        ("Tensor::read", pollster::block_on(x.read::<i32>()).err()),
        ("Tensor::read_blocking", x.read_blocking::<i32>().err()),
        ("Tensor::item", pollster::block_on(one.item::<i32>()).err()),
        ("Tensor::item_blocking", one.item_blocking::<i32>().err()),
        ("Tensor::into_host", pollster::block_on(host).err().map(|error| error.error)),
        ("Tensor::into_host_blocking", host_blocking.err().map(|error| error.error)),
        ("Tensor::unsqueeze", x.unsqueeze(4).err()),
        ("Tensor::flatten", x.flatten(1..4).err()),
        ("Tensor::full_like", one.to(DType::U32)?.full_like(1_i64 << 32).err()),
    ])
}

/// The name of the operation in an error's message: the text before the colon.
fn named(error: &TensorError) -> Option<String> {
    match error {
        // These are about a shape or the device.
        TensorError::Allocate(_)
        | TensorError::Device(_)
        | TensorError::Unsupported { .. }
        | TensorError::Overflow { .. }
        | TensorError::Length { .. }
        | TensorError::Rank { .. } => None,
        error => {
            let text = error.to_string();
            Some(text.find(": ").map_or(text.clone(), |end| text[..end].to_string()))
        }
    }
}

/// The arguments in an error about a tensor, except those about shapes, which may be about either argument.
fn arguments(error: &TensorError) -> Option<BTreeSet<String>> {
    let arguments = match error {
        TensorError::DType { argument, by, .. } | TensorError::Pools { argument, by, .. } => vec![argument, by],
        TensorError::Overlap { argument, other, .. } => std::iter::once(argument).chain(other).collect(),
        TensorError::IndexDType { argument, .. }
        | TensorError::NotDefined { argument, .. }
        | TensorError::NotContiguous { argument, .. }
        | TensorError::SeveralBlocks { argument, .. } => vec![argument],
        _ => return None,
    };
    Some(arguments.into_iter().map(ToString::to_string).collect())
}

/// Tensors in place of an operand of this shape and dtype.
fn unfit(pools: [&Pool; 2], shape: &[usize], dtype: DType, dtypes: &[DType]) -> Result<Vec<Tensor>, TensorError> {
    let [pool, other_pool] = pools;
    let mut longer = shape.to_vec();
    if let Some(last) = longer.last_mut() {
        *last += 1;
    }
    let shapes: [&[usize]; 7] = [&[], &[1], &[0], &[7, 9], &[3, 2, 5, 5, 3], &[1; 8], &longer];
    let mut tensors = Vec::new();
    for &dtype in dtypes {
        tensors.push(Tensor::ones(pool, shape, dtype)?);
    }
    for shape in shapes {
        tensors.push(Tensor::ones(pool, shape, dtype)?);
    }
    tensors.push(Tensor::ones(other_pool, shape, dtype)?);
    tensors.push(Tensor::ones(pool, vec![1; shape.len()], dtype)?.expand(shape)?);
    Ok(tensors)
}

/// The names in the errors of a row.
#[derive(Default)]
struct Found {
    /// Of the operation.
    operations: BTreeSet<String>,
    /// Of arguments: for each operand, those in each error that it causes alone.
    arguments: Vec<Option<BTreeSet<String>>>,
}

/// Runs a row with operands that do not fit, and returns the names in its errors.
fn names_of(pools: [&Pool; 2], row: &Row, dtypes: &[DType]) -> Result<Found, TensorError> {
    let mut found = Found { arguments: vec![None; row.operands.len()], ..Found::default() };
    for &dtype in row.dtypes.iter().filter(|dtype| dtypes.contains(dtype)).take(1) {
        let of = |operand: usize| (&row.operands[operand].shape[..], row.dtype_of(operand, dtype));
        let fit = |operand: usize| Tensor::ones(pools[0], of(operand).0, of(operand).1);
        let fit: Vec<Tensor> = (0..row.operands.len()).map(fit).collect::<Result<_, _>>()?;
        for operand in 0..fit.len() {
            for tensor in unfit(pools, of(operand).0, of(operand).1, dtypes)? {
                let one: Vec<&Tensor> =
                    fit.iter().enumerate().map(|(at, fit)| if at == operand { &tensor } else { fit }).collect();
                let all = vec![&tensor; fit.len()];
                let of_one = (row.run)(&one).err();
                if let Some(arguments) = of_one.as_ref().and_then(arguments) {
                    let before = &mut found.arguments[operand];
                    *before = Some(before.take().map_or(arguments.clone(), |before| &before & &arguments));
                }
                let errors = [of_one, (row.run)(&all).err()];
                found.operations.extend(errors.iter().flatten().filter_map(named));
            }
        }
    }
    Ok(found)
}

#[test]
fn every_method_that_refuses_its_operands_names_itself() -> Outcome {
    let (Some(pool), Some(other)) = (adapter::shared(), adapter::fresh()) else { return Ok(()) };
    let dtypes: Vec<DType> =
        super::ALL.iter().copied().filter(|&d| d != DType::F16 || adapter::has_f16(pool)).collect();
    let (mut wrong, mut refusing) = (BTreeSet::new(), BTreeSet::new());
    let mut note = |method: &str, name: &str| {
        refusing.insert(method.to_string());
        // Of methods of other types, the name has the type.
        if method.strip_prefix("Tensor::").unwrap_or(method) != name {
            wrong.insert(format!("{method} is named {name}"));
        }
    };
    let rows = names::rows();
    // Each method has a row; a test of `names` finds those without one in the sources.
    let methods: BTreeSet<String> = rows.iter().map(|row| row.name.clone()).collect();
    let (mut seen, mut unclear, mut checked) = (BTreeSet::new(), Vec::new(), 0);
    // Rows of one method differ in shapes and options, which do not matter here.
    for row in rows.into_iter().filter(|row| seen.insert((row.name.clone(), row.operands.len()))) {
        // Operands that fit after all are not computed with.
        let (names, _) = pool.dry_run(|| names_of([pool, &other], &row, &dtypes))?;
        let Found { operations, arguments } = names.map_err(|error| format!("{}: {error}", row.name))?;
        operations.iter().for_each(|name| note(&row.name, name));
        for (operand, names) in arguments.iter().enumerate().filter_map(|(at, names)| Some((at, names.as_ref()?))) {
            checked += 1;
            let others = || arguments.iter().enumerate().filter(|&(other, _)| other != operand);
            let is_only = |name: &String| !others().any(|(_, names)| names == &Some(BTreeSet::from([name.clone()])));
            // The operands of the steps of a fused expression are not its inputs.
            if !row.name.starts_with("Fused::") && !names.iter().any(is_only) {
                unclear.push(format!("{}: operand {operand} is named {names:?}, all: {arguments:?}", row.name));
            }
        }
    }
    for (method, error) in by_arguments(pool)? {
        let error = error.ok_or_else(|| format!("{method} accepts the arguments"))?;
        note(method, &named(&error).unwrap_or_default());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(unclear.is_empty() && checked > 100, "{checked}: {unclear:#?}");
    let is_listed = |method: &String| NEVER_NAMED.iter().any(|(name, _)| name == method);
    let missing: Vec<&String> =
        methods.iter().filter(|method| !refusing.contains(*method) && !is_listed(method)).collect();
    assert!(missing.is_empty(), "methods whose errors no row shows: {missing:#?}");
    let stale: Vec<&&str> = NEVER_NAMED.iter().map(|(name, _)| name).filter(|name| refusing.contains(**name)).collect();
    assert!(stale.is_empty(), "listed, and named in an error: {stale:?}");
    Ok(())
}
