//! The table of all operations: each operand in every layout, alone and in one storage with another operand, in every dtype,
//! against a model in float64.
//!
//! An operation is a [`Row`]: its operands, a function that runs the operation, and a model of the results. [`check`] runs a row
//! with each operand in each layout while the others are fresh, with all operands in each layout, and with each pair of operands
//! of one dtype in one storage. Every operand is surrounded by other elements, which must not change if the operand is written.
//! `names.rs` compares the table with the sources: a public operation without a row fails.
//!
//! These tests find elements at wrong indices, and tolerate errors of a few units in the last place. Other tests check the
//! numerical accuracy.

mod divided;
mod elementwise;
mod error_names;
mod images;
mod indices;
mod names;
pub(crate) mod placing;
mod products;
mod reductions;
mod special;
mod warm_ups;
mod whole;

use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use crate::model::Array;
use placing::{PLACES, Place, Placed, download};
use std::fmt::Write as _;
use wgpu_pool::{DType, Pool, Tensor, TensorError};

/// The elements of an operand: numbers that every dtype of the operand represents exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Of {
    /// Multiples of 1/8 from -2 to 2; whole numbers from -8 to 8 of i32, and from 0 to 8 of u32.
    Any,
    /// Multiples of 1/8 from 1/8 to 2; whole numbers from 1 to 8.
    Positive,
    /// Whole numbers below this one, of dtype u32.
    Below(usize),
}

/// An operand of a row.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    pub(crate) shape: Vec<usize>,
    pub(crate) of: Of,
}

/// An operand of any numbers.
pub(crate) fn any(shape: &[usize]) -> Operand {
    Operand { shape: shape.to_vec(), of: Of::Any }
}

/// An operand of positive numbers.
pub(crate) fn positive(shape: &[usize]) -> Operand {
    Operand { shape: shape.to_vec(), of: Of::Positive }
}

/// An operand of dtype u32, of numbers below `end`.
pub(crate) fn below(shape: &[usize], end: usize) -> Operand {
    Operand { shape: shape.to_vec(), of: Of::Below(end) }
}

pub(crate) const FLOATS: &[DType] = &[DType::F32, DType::F16];
pub(crate) const ALL: &[DType] = &[DType::F32, DType::F16, DType::I32, DType::U32];

/// Operations that are refused if an operand or the result is in several blocks.
const NEED_ONE_BLOCK: [&str; 0] = [];

type Run = Box<dyn Fn(&[&Tensor]) -> Result<Vec<Tensor>, TensorError>>;
type Model = Box<dyn Fn(&[&Array<f64>], DType) -> Vec<Array<f64>>>;

/// One operation.
pub(crate) struct Row {
    /// The type and the method, as `Tensor::add`.
    pub(crate) name: String,
    /// Further arguments, such as the axis.
    detail: String,
    dtypes: Vec<DType>,
    /// A dtype that the operation needs besides those of its operands.
    needs: Option<DType>,
    operands: Vec<Operand>,
    /// The operands that the operation writes. They have no layouts whose elements overlap.
    written: Vec<usize>,
    /// Whether the operation refuses operands that are not contiguous.
    contiguous: bool,
    /// Whether two operands may be one tensor.
    same: bool,
    /// The tolerance of a result, in addition to the rounding of its dtype, for numbers near 1.
    tolerance: f64,
    run: Run,
    model: Model,
    /// What else an element may be if operands are not finite, by the choice of kernel.
    other: Option<Model>,
}

impl Row {
    pub(crate) fn new(
        name: &str,
        dtypes: &[DType],
        operands: Vec<Operand>,
        run: impl Fn(&[&Tensor]) -> Result<Vec<Tensor>, TensorError> + 'static,
        model: impl Fn(&[&Array<f64>], DType) -> Vec<Array<f64>> + 'static,
    ) -> Self {
        Self {
            name: format!("Tensor::{name}"),
            detail: String::new(),
            dtypes: dtypes.to_vec(),
            needs: None,
            operands,
            written: Vec::new(),
            contiguous: false,
            same: true,
            tolerance: 4e-6,
            run: Box::new(run),
            model: Box::new(model),
            other: None,
        }
    }

    /// A method of another type than `Tensor`.
    pub(crate) fn of_type(self, full_name: &str) -> Self {
        Self { name: full_name.into(), ..self }
    }

    pub(crate) fn detail(self, detail: impl std::fmt::Display) -> Self {
        Self { detail: format!(" {detail}"), ..self }
    }

    /// The operation needs a dtype besides those of its operands.
    pub(crate) fn needs(self, dtype: DType) -> Self {
        Self { needs: Some(dtype), ..self }
    }

    pub(crate) fn writes(self, operands: &[usize]) -> Self {
        Self { written: operands.to_vec(), ..self }
    }

    pub(crate) fn contiguous(self) -> Self {
        Self { contiguous: true, ..self }
    }

    /// Two operands must not be one tensor.
    pub(crate) fn apart(self) -> Self {
        Self { same: false, ..self }
    }

    /// Which results there may be instead if operands are infinite or NaN.
    pub(crate) fn or(self, other: impl Fn(&[&Array<f64>], DType) -> Vec<Array<f64>> + 'static) -> Self {
        Self { other: Some(Box::new(other)), ..self }
    }

    pub(crate) fn within(self, tolerance: f64) -> Self {
        Self { tolerance, ..self }
    }

    fn dtype_of(&self, operand: usize, dtype: DType) -> DType {
        if matches!(self.operands[operand].of, Of::Below(_)) { DType::U32 } else { dtype }
    }

    fn suits(&self, operand: usize, place: Place) -> bool {
        let is_writable = !place.is_expanded() || !self.written.contains(&operand);
        is_writable && (place.is_contiguous() || !self.contiguous)
    }
}

/// A sum or product of integers as its dtype has it.
fn wrapped(x: f64, dtype: DType) -> f64 {
    let modulus = f64::from(u32::MAX) + 1.0;
    match dtype {
        DType::I32 => (x + modulus / 2.0).rem_euclid(modulus) - modulus / 2.0,
        DType::U32 => x.rem_euclid(modulus),
        _ => x,
    }
}

/// max(x, 0), of a sum or product of integers as its dtype has it; NaN stays.
fn rectified(x: f64, dtype: DType) -> f64 {
    let x = wrapped(x, dtype);
    if x < 0.0 { 0.0 } else { x }
}

/// New elements for an operand.
fn elements(operand: &Operand, dtype: DType, random: &mut Random) -> Array<f64> {
    let mut below = |end: usize| f64::from(u32::try_from(random.below(end)).unwrap_or_default());
    Array::new(&operand.shape, || match (operand.of, dtype) {
        (Of::Below(end), _) => below(end),
        (Of::Any, DType::I32) => below(17) - 8.0,
        (Of::Any, DType::U32) => below(9),
        (Of::Any, _) => (below(33) - 16.0) / 8.0,
        (Of::Positive, DType::I32 | DType::U32) => below(8) + 1.0,
        (Of::Positive, _) => (below(16) + 1.0) / 8.0,
    })
}

/// Runs rows in every way.
#[track_caller]
pub(crate) fn check(rows: &[Row]) -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    check_on(pool, rows)
}

/// Runs rows with operands in blocks of at most so many bytes: each gives the same results, or, if it has no rule for them, is refused by name.
#[track_caller]
pub(crate) fn check_divided(bytes: u64, rows: &[Row]) -> Outcome {
    let Some(pool) = adapter::fresh_divided(bytes) else { return Ok(()) };
    check_on(&pool, rows)
}

/// Runs rows once each, in the first dtype that the device has, with fresh operands.
fn check_once(pool: &Pool, rows: &[Row]) -> Outcome {
    let has = |dtype| dtype != DType::F16 || adapter::has_f16(pool);
    for row in rows.iter().filter(|row| row.needs.is_none_or(has)) {
        let Some(&dtype) = row.dtypes.iter().find(|&&dtype| has(dtype)) else { continue };
        let models = models(row, dtype, &mut Random::new(1));
        let fresh = put(pool, row, dtype, &models, &|_| Place::Fresh)?;
        run(row, dtype, fresh, &mut Results::default(), "all fresh")?;
    }
    Ok(())
}

/// New elements for each operand of a row.
fn models(row: &Row, dtype: DType, random: &mut Random) -> Vec<Array<f64>> {
    let each = row.operands.iter().enumerate();
    each.map(|(number, operand)| elements(operand, row.dtype_of(number, dtype), random)).collect()
}

/// Creates the operands of a row.
fn put(
    pool: &Pool,
    row: &Row,
    dtype: DType,
    models: &[Array<f64>],
    place: &dyn Fn(usize) -> Place,
) -> Result<Vec<Placed>, TensorError> {
    let each = models.iter().enumerate();
    each.map(|(number, model)| Placed::new(pool, model, row.dtype_of(number, dtype), place(number))).collect()
}

fn check_on(pool: &Pool, rows: &[Row]) -> Outcome {
    let has = |dtype| dtype != DType::F16 || adapter::has_f16(pool);
    for row in rows.iter().filter(|row| row.needs.is_none_or(has)) {
        for &dtype in row.dtypes.iter().filter(|&&dtype| has(dtype)) {
            check_row(pool, row, dtype)?;
            // In a browser, a program that does not wait is too far ahead of the device after 512 batches.
            pool.synchronize_blocking()?;
        }
    }
    Ok(())
}

fn check_row(pool: &Pool, row: &Row, dtype: DType) -> Outcome {
    let seed = row.name.bytes().fold(dtype.bytes(), |seed: u64, byte| seed.wrapping_mul(31) + u64::from(byte));
    let mut random = Random::new(seed);
    let put = |models: &[Array<f64>], place: &dyn Fn(usize) -> Place| put(pool, row, dtype, models, place);
    let count = row.operands.len();
    let models = models(row, dtype, &mut random);
    let mut known = Results::default();
    let mut run = |operands, how: &str| run(row, dtype, operands, &mut known, how);
    run(put(&models, &|_| Place::Fresh)?, "all fresh")?;
    for place in PLACES.into_iter().filter(|&place| place != Place::Fresh) {
        for operand in (0..count).filter(|&operand| row.suits(operand, place)) {
            let one = |number| if number == operand { place } else { Place::Fresh };
            run(put(&models, &one)?, &format!("operand {operand} {place:?}"))?;
        }
        if count > 1 {
            let all = |number| if row.suits(number, place) { place } else { Place::Fresh };
            run(put(&models, &all)?, &format!("all {place:?}"))?;
        }
    }
    for (first, second) in (0..count).flat_map(|first| (first + 1..count).map(move |second| (first, second))) {
        let [one, other] = [first, second].map(|operand| row.dtype_of(operand, dtype));
        if one != other {
            continue;
        }
        for offset in [0, 3, 8] {
            let mut placed = put(&models, &|_| Place::Fresh)?;
            let pair = Placed::together(pool, &[&models[first], &models[second]], one, offset)?;
            for (operand, pair) in [first, second].into_iter().zip(pair) {
                placed[operand] = pair;
            }
            run(placed, &format!("operands {first} and {second} in one storage from {offset} on"))?;
        }
        let is_one = row.operands[first].shape == row.operands[second].shape && row.same;
        if is_one && row.operands[first].of == row.operands[second].of {
            let mut placed = put(&models, &|_| Place::Fresh)?;
            placed[second] = placed[first].clone();
            run(placed, &format!("operands {first} and {second} the same"))?;
        }
    }
    Ok(())
}

/// The operands of a row's model, and its results.
struct Known {
    operands: Vec<Array<f64>>,
    results: Vec<Array<f64>>,
}

/// What the model of a row has computed: operands are the same in most layouts, and the model takes as long as the operation.
#[derive(Default)]
struct Results(Vec<Known>);

impl Results {
    fn of(&mut self, row: &Row, dtype: DType, operands: &[&Array<f64>]) -> &[Array<f64>] {
        let are_these =
            |known: &Known| known.operands.iter().zip(operands).all(|(known, operand)| known.is_same(operand));
        let at = self.0.iter().position(are_these).unwrap_or_else(|| {
            let results = (row.model)(operands, dtype);
            self.0.push(Known { operands: operands.iter().map(|&operand| operand.clone()).collect(), results });
            self.0.len() - 1
        });
        &self.0[at].results
    }
}

/// Runs a row once.
#[track_caller]
fn run(row: &Row, dtype: DType, operands: Vec<Placed>, known: &mut Results, how: &str) -> Outcome {
    let mut what = String::new();
    write!(what, "{}{} of {}, {how}", row.name, row.detail, dtype.name())?;
    let models: Vec<&Array<f64>> = operands.iter().map(|operand| &operand.model).collect();
    let wanted = known.of(row, dtype, &models);
    let tensors: Vec<&Tensor> = operands.iter().map(|operand| &operand.tensor).collect();
    let found = match (row.run)(&tensors) {
        Err(TensorError::SeveralBlocks { .. }) if NEED_ONE_BLOCK.contains(&&*row.name) => return Ok(()),
        found => found.map_err(|error| format!("{what}: {error}"))?,
    };
    assert_eq!(found.len(), wanted.len(), "{what}: results");
    for (number, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert_near(found, wanted, row.tolerance, &format!("{what}, result {number}"));
    }
    let written: Vec<&Placed> = row.written.iter().map(|&operand| &operands[operand]).collect();
    for operand in &written {
        operand.assert_untouched_around(&written, &what);
    }
    Ok(())
}

#[track_caller]
fn assert_near(found: &Tensor, wanted: &Array<f64>, tolerance: f64, what: &str) {
    let dtype = found.dtype();
    let found = download(found).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(found.shape, wanted.shape, "{what}");
    for (at, (&found, &wanted)) in found.elements.iter().zip(&wanted.elements).enumerate() {
        let wanted = if dtype == DType::U32 { wanted.rem_euclid(f64::from(u32::MAX) + 1.0) } else { wanted };
        let most = match dtype {
            DType::F32 => tolerance * wanted.abs().max(1.0),
            // Rounded once, in either direction.
            DType::F16 => tolerance * wanted.abs().max(1.0) + wanted.abs() / 1024.0 + 1e-7,
            _ => 0.0,
        };
        let is_near = found == wanted || (found - wanted).abs() <= most || (found.is_nan() && wanted.is_nan());
        assert!(is_near, "{what}: element {at} is {found}, not {wanted} within {most:e}");
    }
}
