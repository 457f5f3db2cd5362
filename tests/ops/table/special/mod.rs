//! Special values through the table of all operations: NaN of both signs, infinities, zeros, subnormal numbers, ties, the largest
//! numbers, and the limits of the integers.
//!
//! A cell is an operation in one [`Form`]: the rows that run it. `declared.rs` states, for each form that an operation does not
//! have, why; a cell that has neither rows nor a reason fails, as does a reason for a cell that has rows. The rows of the other
//! files of the table are those of the plain form and in place, in views, of f16 and of integers; `forms.rs` has those of fused
//! expressions and of epilogues. Every cell runs on every backend against the row's model.
//!
//! Other files test the accuracy (`accuracy.rs`), and each pair of special values (`special_values/`).

mod declared;
mod filling;
mod forms;

use super::names::{all_methods, excused, rows};
use super::placing::{Place, Placed, download};
use super::{Model, Of, Row};
use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use crate::model::Array;
use filling::{FLOATING, Filling};
use std::collections::{BTreeMap, BTreeSet};
use wgpu_pool::{DType, Pool, Tensor};

/// In which way an operation runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    /// Contiguous operands of f32, or of the dtype that the operation has instead; a new tensor as the result.
    Plain,
    /// Writes an operand.
    InPlace,
    /// As a step of a fused expression.
    Fused,
    /// At the end of a product or a convolution.
    Epilogue,
    /// Operands that are not contiguous.
    View,
    F16,
    /// i32 and u32.
    Integers,
}

const FORMS: [Form; 7] =
    [Form::Plain, Form::InPlace, Form::Fused, Form::Epilogue, Form::View, Form::F16, Form::Integers];

/// A part of a larger tensor, and reversed axes.
const VIEWS: [Place; 2] = [Place::Gaps(3), Place::Transposed];

/// A row with the dtypes and the places that a cell runs it with.
struct Run<'a> {
    row: &'a Row,
    /// The form that the row has on f32 in contiguous operands.
    of: Form,
    dtypes: Vec<DType>,
    places: Vec<Place>,
}

/// The operation of a method: that in place is a form of the one that returns its result.
fn operation<'a>(method: &'a str, methods: &BTreeSet<String>) -> &'a str {
    method.strip_suffix('_').filter(|plain| methods.contains(*plain)).unwrap_or(method)
}

/// The rows of each cell.
fn cells<'a>(rows: &'a [Row], extra: &'a [(Form, Row)]) -> BTreeMap<(String, Form), Vec<Run<'a>>> {
    let methods: BTreeSet<String> = rows.iter().map(|row| row.name.clone()).collect();
    let mut found: BTreeMap<(String, Form), Vec<Run<'a>>> = BTreeMap::new();
    let own = rows.iter().map(|row| {
        let form = match row.name.as_str() {
            "Fused::run" | "Fused::run_into" => Form::Fused,
            "Tensor::matmul_then" | "Tensor::conv2d_then" => Form::Epilogue,
            _ if row.written.is_empty() => Form::Plain,
            _ => Form::InPlace,
        };
        (form, row)
    });
    // A kernel is generated for each layout, and Mesa takes 0.1 seconds to compile one: other tests have more dimensions.
    let few = |row: &Row| row.operands.iter().all(|operand| operand.shape.len() <= 5);
    for (of, row) in own.chain(extra.iter().map(|(form, row)| (*form, row))).filter(|(_, row)| few(row)) {
        let has = |wanted: &[DType]| -> Vec<DType> {
            row.dtypes.iter().copied().filter(|dtype| wanted.contains(dtype)).collect()
        };
        let integers = has(&[DType::I32, DType::U32]);
        let plain = if row.dtypes.contains(&DType::F32) { vec![DType::F32] } else { row.dtypes[..1].to_vec() };
        let mut add = |form: Form, dtypes: Vec<DType>, places: Vec<Place>| {
            let operation = operation(&row.name, &methods).to_string();
            if !dtypes.is_empty() && !places.is_empty() {
                found.entry((operation, form)).or_default().push(Run { row, of, dtypes, places });
            }
        };
        add(of, plain.clone(), vec![Place::Fresh]);
        let can_be_view = |place: &Place| (0..row.operands.len()).any(|operand| row.suits(operand, *place));
        add(Form::View, plain, VIEWS.into_iter().filter(can_be_view).collect());
        add(Form::F16, has(&[DType::F16]), vec![Place::Fresh]);
        add(Form::Integers, integers, vec![Place::Fresh]);
    }
    found
}

// Case 64.
#[test]
fn every_operation_has_a_cell_or_a_reason_for_each_form() {
    let (rows, extra) = (rows(), forms::rows());
    let cells = cells(&rows, &extra);
    let methods = all_methods();
    let own = methods.iter().filter(|method| !excused(method)).map(|method| operation(method, &methods));
    let operations: BTreeSet<&str> = own.chain(forms::OF_EXPRESSIONS_ALONE).collect();
    assert!(operations.len() > 90, "{}", operations.len());
    let mut faults = Vec::new();
    for (operation, form) in operations.iter().flat_map(|operation| FORMS.map(|form| (*operation, form))) {
        let reasons = declared::reasons(operation, form);
        match (cells.contains_key(&(operation.to_string(), form)), reasons.len()) {
            (true, 0) | (false, 1) => {}
            (true, _) => faults.push(format!("{operation}, {form:?}: has rows, and a reason why it has none")),
            (false, 0) => faults.push(format!("{operation}, {form:?}: has neither rows nor a reason")),
            (false, _) => faults.push(format!("{operation}, {form:?}: has several reasons: {reasons:?}")),
        }
    }
    for (operation, form) in cells.keys().filter(|(operation, _)| !operations.contains(operation.as_str())) {
        faults.push(format!("{operation}, {form:?}: rows of no operation"));
    }
    for operation in declared::operations().filter(|operation| !operations.contains(operation)) {
        faults.push(format!("{operation}: a reason for no operation"));
    }
    assert!(faults.is_empty(), "{} of the cells: {faults:#?}", faults.len());
}

#[test]
fn integers_are_refused_where_an_operation_has_none() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let (all, mut refused) = (rows(), BTreeSet::new());
    let refuses = |row: &&Row| declared::reasons(&row.name, Form::Integers) == [declared::REFUSES_INTEGERS];
    for row in all.iter().filter(refuses) {
        let each = row.operands.iter().enumerate();
        let ones = each.map(|(number, operand)| {
            let ones = Array::new(&operand.shape, || 1.0);
            Placed::new(pool, &ones, row.dtype_of(number, DType::I32), Place::Fresh)
        });
        let ones = ones.collect::<Result<Vec<Placed>, _>>()?;
        let found = (row.run)(&ones.iter().map(|operand| &operand.tensor).collect::<Vec<_>>());
        assert!(found.is_err(), "{}{} of i32", row.name, row.detail);
        refused.insert(row.name.as_str());
    }
    assert!(refused.len() > 20, "{refused:?}");
    Ok(())
}

#[test]
fn every_step_of_an_expression_has_a_row() {
    let known = forms::rows();
    let is_known = |method: &str| {
        let name = format!("Tensor::{method}");
        let on_tensors = method == "select" && known.iter().any(|(_, row)| row.name == "Tensor::where_cond");
        on_tensors || known.iter().any(|(form, row)| *form == Form::Fused && row.name == name)
    };
    let methods = super::names::methods_of("Expression");
    assert!(methods.contains("select") && methods.contains("tanh") && methods.contains("pow"), "{methods:?}");
    let missing: Vec<&String> = methods.iter().filter(|method| !is_known(method)).collect();
    assert!(missing.is_empty(), "steps of expressions without a row: {missing:?}");
}

/// Runs the cells of a form on a pool.
fn check(pool: &Pool, form: Form) -> Outcome {
    let (rows, extra) = (rows(), forms::rows());
    let has = |dtype: DType| dtype != DType::F16 || adapter::has_f16(pool);
    let info = pool.memory().device().adapter_info();
    // Mesa's software GL takes 20 seconds to compile a product.
    let is_slow = info.backend == wgpu_pool::wgpu::Backend::Gl && info.device_type == wgpu_pool::wgpu::DeviceType::Cpu;
    let mut faults = Vec::new();
    for ((operation, _), runs) in cells(&rows, &extra).into_iter().filter(|((_, of), _)| *of == form) {
        let takes_long = is_slow && declared::contains(declared::PRODUCTS, &operation);
        for Run { row, of, dtypes, places } in
            runs.into_iter().filter(|run| !takes_long && run.row.needs.is_none_or(has))
        {
            for (dtype, place) in dtypes
                .into_iter()
                .filter(|&dtype| has(dtype))
                .flat_map(|dtype| places.iter().map(move |&place| (dtype, place)))
            {
                let whole = [declared::integers(&operation, of)];
                let fillings = if dtype.is_floating_point() { &FLOATING[..] } else { &whole };
                let runs = |filling: &&Filling| declared::skipped(&operation, of, **filling).is_none();
                for &filling in fillings.iter().filter(runs) {
                    run(pool, row, (dtype, place), filling, &mut faults)?;
                }
                pool.synchronize_blocking()?;
            }
        }
    }
    let some = &faults[..faults.len().min(4000)];
    assert!(faults.is_empty(), "{form:?} on {}: {} faults, {some:#?}", info.backend, faults.len());
    Ok(())
}

/// Runs a row with operands that are full of special values, and with few of them.
fn run(pool: &Pool, row: &Row, (dtype, place): (DType, Place), filling: Filling, faults: &mut Vec<String>) -> Outcome {
    let elements = row.operands.iter().flat_map(|operand| operand.shape.last().copied()).max().unwrap_or(1);
    for one_in in if elements <= 16 { [2, 8] } else { [8, 64] } {
        let seed = row.name.bytes().fold(one_in as u64, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
        let mut random = Random::new(seed);
        let each = row.operands.iter().enumerate();
        let models: Vec<Array<f64>> = each
            .map(|(number, operand)| {
                let dtype = row.dtype_of(number, dtype);
                let usual = super::elements(operand, dtype, &mut random);
                if matches!(operand.of, Of::Below(_)) {
                    return usual;
                }
                let special = filling::values(filling, dtype, operand.of);
                usual.map_each(
                    |usual| if random.below(one_in) == 0 { special[random.below(special.len())] } else { usual },
                )
            })
            .collect();
        let placed = models.iter().enumerate().map(|(number, model)| {
            let place = if row.suits(number, place) { place } else { Place::Fresh };
            Placed::new(pool, model, row.dtype_of(number, dtype), place)
        });
        let placed = placed.collect::<Result<Vec<Placed>, _>>()?;
        let what = format!("{}{} of {}, {filling:?} 1 in {one_in}, {place:?}", row.name, row.detail, dtype.name());
        let by = |model: &Model, models: &[Array<f64>]| model(&models.iter().collect::<Vec<_>>(), dtype);
        let other = row.other.as_ref().map_or_else(|| by(&row.model, &models), |other| by(other, &models));
        // A driver may take the subnormal numbers of some operands for 0, and not those of others.
        let flushed = |operands: usize| {
            let some = models.iter().enumerate().map(|(number, model)| {
                model.map(|x| if operands >> number & 1 == 1 { filling::flushed(x, dtype) } else { x })
            });
            by(&row.model, &some.collect::<Vec<_>>())
        };
        let subsets = if filling == Filling::Subnormals { 1 << models.len() } else { 1 };
        let alternatives: Vec<Vec<Array<f64>>> = (0..subsets).map(flushed).chain([other]).collect();
        let tensors: Vec<&Tensor> = placed.iter().map(|operand| &operand.tensor).collect();
        let found = (row.run)(&tensors).map_err(|error| format!("{what}: {error}"))?;
        for (result, found) in found.iter().enumerate() {
            let dtype = found.dtype();
            let found = download(found)?;
            assert_eq!(found.shape, alternatives[0][result].shape, "{what}");
            for (at, &found) in found.elements.iter().enumerate() {
                let wanted = || alternatives.iter().map(|all| all[result].elements[at]);
                if !wanted().any(|wanted| filling::is_right(found, wanted, dtype, filling, row.tolerance)) {
                    let same =
                        models.iter().filter(|model| model.shape == models[0].shape && at < model.elements.len());
                    let operands: Vec<f64> = same.map(|model| model.elements[at]).collect();
                    let wanted = alternatives[0][result].elements[at];
                    faults.push(format!("{what}: {result}[{at}] is {found:e}, not {wanted:e}; operands {operands:?}"));
                    break;
                }
            }
        }
    }
    Ok(())
}

macro_rules! forms {
    ($($vulkan:ident, $gl:ident, $form:ident;)*) => {
        $(
            #[test]
            fn $vulkan() -> Outcome {
                adapter::shared().map_or(Ok(()), |pool| check(pool, Form::$form))
            }

            #[test]
            fn $gl() -> Outcome {
                adapter::shared_gl().map_or(Ok(()), |pool| check(pool, Form::$form))
            }
        )*
    };
}

forms! {
    plain, plain_on_gl, Plain;
    in_place, in_place_on_gl, InPlace;
    fused, fused_on_gl, Fused;
    epilogues, epilogues_on_gl, Epilogue;
    views, views_on_gl, View;
    f16, f16_on_gl, F16;
    integers, integers_on_gl, Integers;
}
