//! Comparison of results with the expected results of a case.
//!
//! The tolerance is the accuracy that the crate documents, or, without documented accuracy, that of
//! `torch.testing.assert_close`. Results within the first and beyond the second are marked.

use crate::operands::{Data, R, Spec, e, num, real};
use serde_json::{Value, json};
use wgpu_pool::{DType, Tensor, f16};

fn read(t: &Tensor) -> R<Vec<f64>> {
    Ok(match t.dtype() {
        DType::F32 => e(t.read_blocking::<f32>())?.into_iter().map(f64::from).collect(),
        DType::I32 => e(t.read_blocking::<i32>())?.into_iter().map(f64::from).collect(),
        DType::U32 => e(t.read_blocking::<u32>())?.into_iter().map(f64::from).collect(),
        DType::F16 => e(t.read_blocking::<f16>())?.into_iter().map(f64::from).collect(),
        other => panic!("no reading of {other:?}"),
    })
}

fn show(x: f64) -> Value {
    if x.is_finite() { json!(x) } else { json!(x.to_string()) }
}

fn is_close(got: f64, want: f64, tolerance: f64) -> bool {
    got == want || (got.is_nan() && want.is_nan()) || (got - want).abs() <= tolerance
}

/// Whether the results are those of the case, and if not, how they differ.
pub(crate) fn check(data: &Data, case: &Value, results: &[Tensor]) -> R<Value> {
    let wanted = case["out"].as_array().unwrap();
    if results.len() != wanted.len() {
        return Ok(json!({"status": "wrong", "why": format!("{} results for {}", results.len(), wanted.len())}));
    }
    let mut is_beyond_torch = false;
    for (number, (result, wanted)) in results.iter().zip(wanted).enumerate() {
        if wanted["skip"] == true {
            continue;
        }
        match difference(data, case, result, &Spec(wanted))? {
            Difference::None { beyond_torch } => is_beyond_torch |= beyond_torch,
            Difference::Some(mut found) => {
                (found["status"], found["output"]) = (json!("wrong"), json!(number));
                return Ok(found);
            }
        }
    }
    Ok(json!({"status": "right", "beyond_torch": is_beyond_torch}))
}

/// The difference between a result and the expected one.
enum Difference {
    /// Within the tolerance; with `beyond_torch`, beyond that of PyTorch.
    None {
        beyond_torch: bool,
    },
    Some(Value),
}

fn difference(data: &Data, case: &Value, result: &Tensor, spec: &Spec) -> R<Difference> {
    if result.shape() != spec.shape() {
        return Ok(Difference::Some(json!({"why": "shape", "got": result.shape(), "want": spec.shape()})));
    }
    if result.dtype() != spec.dtype() {
        return Ok(Difference::Some(
            json!({"why": "dtype", "got": result.dtype().name(), "want": spec.dtype().name()}),
        ));
    }
    let (rtol, atol) = (real(&case["rtol"]), real(&case["atol"]));
    let got = read(result)?;
    let array = |dtype: DType, at: &Value| (!at.is_null()).then(|| data.numbers(dtype, num(at), got.len()));
    let want = data.numbers(spec.dtype(), spec.at(), got.len());
    // PyTorch's own result, where it differs from float64's.
    let theirs = array(spec.dtype(), &spec.0["alt"]);
    let documented = array(DType::F32, &spec.0["bound"]);
    let (mut wrong, mut first, mut beyond_torch) = (0, None, false);
    for (n, (&got, &want)) in got.iter().zip(&want).enumerate() {
        let is_near = |tolerance: &dyn Fn(f64) -> f64| {
            let mut accepted = [Some(want), theirs.as_ref().map(|theirs| theirs[n])].into_iter().flatten();
            accepted.any(|want| is_close(got, want, tolerance(want)))
        };
        let is_near_torch = is_near(&|want| atol + rtol * want.abs());
        let is_right = documented.as_ref().map_or(is_near_torch, |bounds| is_near(&|_| bounds[n]));
        beyond_torch |= !is_near_torch;
        if !is_right {
            wrong += 1;
            first.get_or_insert((n, got, want, documented.as_ref().map(|bounds| show(bounds[n]))));
        }
    }
    Ok(match first {
        None => Difference::None { beyond_torch },
        Some((n, is, want, bound)) => Difference::Some(
            json!({"why": "value", "wrong": wrong, "of": got.len(), "at": n, "got": show(is), "want": show(want),
                "documented accuracy": bound}),
        ),
    })
}
