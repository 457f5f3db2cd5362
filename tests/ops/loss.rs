//! Losses and their gradients, against float64 and against differences.

use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use crate::model::Array;
use wgpu_pool::{CrossEntropy, DType, Reduction, Tensor, TensorError};

fn assert_near(found: &[f32], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((f64::from(*found) - wanted).abs() <= tolerance * wanted.abs().max(1e-3), "{found} {wanted}");
    }
}

#[test]
fn the_squared_error_and_its_gradient_equal_the_model() -> Outcome {
    let mut random = Random::new(61);
    for pool in adapter::all_shared() {
        let (x, y) = (Array::real(&[7, 13], &mut random), Array::real(&[7, 13], &mut random));
        let (input, target) = (x.to_device(pool)?, y.to_device(pool)?);
        let pairs = || x.elements.iter().zip(&y.elements).map(|(x, y)| (f64::from(*x), f64::from(*y)));
        let loss = pairs().map(|(x, y)| (x - y).powi(2)).sum::<f64>() / 91.0;
        assert_near(&input.mse_loss(&target, Reduction::Mean)?.read_blocking::<f32>()?, &[loss], 1e-5);
        let gradient: Vec<f64> = pairs().map(|(x, y)| 2.0 * (x - y) / 91.0).collect();
        assert_near(&input.mse_loss_backward(&target, Reduction::Mean)?.read_blocking::<f32>()?, &gradient, 1e-5);
        let shorter = target.narrow(0, 0, 1)?;
        let text = input.mse_loss(&shorter, Reduction::Mean).map_err(|error| error.to_string()).err();
        let (given, wanted) = (shorter.shape(), input.shape());
        let wanted = format!("mse_loss: the target {given:?} must have the shape of the input, {wanted:?}");
        assert_eq!(text, Some(wanted));
        let integers = Tensor::zeros(pool, [3], DType::I32)?;
        assert!(matches!(integers.mse_loss(&integers, Reduction::Mean), Err(TensorError::NotDefined { .. })));
    }
    Ok(())
}

#[test]
fn the_cross_entropy_and_its_gradient_equal_the_model() -> Outcome {
    let mut random = Random::new(62);
    for pool in adapter::all_shared() {
        for (rows, classes) in [(1, 2), (9, 5), (33, 100)] {
            let logits = Array::real(&[rows, classes], &mut random).map(|x| x * 8.0);
            let chosen: Vec<u32> = (0..rows).map(|_| u32::try_from(random.below(classes)).expect("small")).collect();
            let (input, targets) = (logits.to_device(pool)?, Tensor::from_slice(pool, &chosen, [rows])?);
            let (mut loss, mut gradient) = (0.0, Vec::new());
            for (row, &target) in logits.elements.chunks(classes).zip(&chosen) {
                let total: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
                let likely: Vec<f64> = row.iter().map(|x| f64::from(*x).exp() / total).collect();
                loss -= likely[target as usize].ln() / rows as f64;
                for (class, likely) in likely.iter().enumerate() {
                    let hit = if class == target as usize { 1.0 } else { 0.0 };
                    gradient.push((likely - hit) / rows as f64);
                }
            }
            assert_near(
                &input.cross_entropy(&targets, CrossEntropy::default())?.read_blocking::<f32>()?,
                &[loss],
                1e-4,
            );
            assert_near(
                &input.cross_entropy_backward(&targets, CrossEntropy::default())?.read_blocking::<f32>()?,
                &gradient,
                2e-3,
            );
        }
        // Of an image: the same as with the classes last, pixel by pixel.
        let (pixels, classes) = (5 * 7 * 3, 4);
        let logits = Array::real(&[5, classes, 7, 3], &mut random).map(|x| x * 8.0).to_device(pool)?;
        let chosen: Vec<u32> = (0..pixels).map(|_| u32::try_from(random.below(classes)).expect("small")).collect();
        let targets = Tensor::from_slice(pool, &chosen, [5, 7, 3])?;
        let rows = logits.permute([0, 2, 3, 1])?.contiguous()?.reshape([pixels, classes])?;
        let flat = targets.reshape([pixels])?;
        let wanted: Vec<f64> = rows
            .cross_entropy(&flat, CrossEntropy::default())?
            .read_blocking::<f32>()?
            .into_iter()
            .map(f64::from)
            .collect();
        assert_near(&logits.cross_entropy(&targets, CrossEntropy::default())?.read_blocking::<f32>()?, &wanted, 1e-5);
        let gradient = rows
            .cross_entropy_backward(&flat, CrossEntropy::default())?
            .reshape([5, 7, 3, classes])?
            .permute([0, 3, 1, 2])?;
        let wanted: Vec<f64> = gradient.read_blocking::<f32>()?.into_iter().map(f64::from).collect();
        assert_near(
            &logits.cross_entropy_backward(&targets, CrossEntropy::default())?.read_blocking::<f32>()?,
            &wanted,
            2e-3,
        );
        assert!(matches!(logits.cross_entropy(&flat, CrossEntropy::default()), Err(TensorError::Shape { .. })));

        let logits = Tensor::zeros(pool, [3, 4], DType::F32)?;
        let short = Tensor::zeros(pool, [2], DType::U32)?;
        let text = logits.cross_entropy(&short, CrossEntropy::default()).err().map(|error| error.to_string());
        let wanted = "cross_entropy: the target [2] must have shape [3] for the logits [3, 4]";
        assert_eq!(text.as_deref(), Some(wanted));
        let scalar = Tensor::zeros(pool, [], DType::F32)?.cross_entropy(&short, CrossEntropy::default());
        let wanted = "cross_entropy: the logits [] has 0 dimensions, and 1 or more are needed";
        assert_eq!(scalar.err().map(|error| error.to_string()).as_deref(), Some(wanted));
        let floats = Tensor::zeros(pool, [3], DType::F32)?;
        let text = logits.cross_entropy(&floats, CrossEntropy::default()).err().map(|error| error.to_string());
        let wanted = "cross_entropy: the target has dtype f32, and u32 or i32 is needed: convert with `to`";
        assert_eq!(text.as_deref(), Some(wanted));
        assert!(matches!(
            logits.cross_entropy_backward(&floats, CrossEntropy::default()),
            Err(TensorError::IndexDType { operation: "cross_entropy_backward", .. })
        ));
    }
    Ok(())
}

#[test]
fn ignored_targets_count_nowhere_and_bad_options_are_refused() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let logits = Tensor::from_slice(pool, &[3.0_f32, 1.0, 0.0, 2.0, 0.0, 0.0], [3, 2])?;
    let one = |options| -> Result<Vec<f32>, TensorError> {
        let targets = Tensor::from_slice(pool, &[-100_i32, 1, -100], [3])?;
        logits.cross_entropy(&targets, options)?.read_blocking()
    };
    let loss = (1.0 + 2.0_f64.exp()).ln() - 2.0;
    let default = CrossEntropy::default();
    assert_near(&one(default)?, &[loss], 1e-6);
    assert_near(&one(CrossEntropy { reduction: Reduction::Sum, ..default })?, &[loss], 1e-6);
    assert_near(&one(CrossEntropy { reduction: Reduction::None, ..default })?, &[0.0, loss, 0.0], 1e-6);
    // Nothing is left to take the mean of, whose gradient is 0 all the same.
    let none = Tensor::from_slice(pool, &[-100_i32; 3], [3])?;
    assert!(logits.cross_entropy(&none, default)?.item_blocking::<f32>()?.is_nan());
    let sum = CrossEntropy { reduction: Reduction::Sum, ..default };
    assert_eq!(logits.cross_entropy(&none, sum)?.item_blocking::<f32>()?, 0.0);
    assert_eq!(logits.cross_entropy_backward(&none, default)?.read_blocking::<f32>()?, [0.0; 6]);
    // The same class as u32, and a target beyond the classes, whose loss is 0.
    let targets = Tensor::from_slice(pool, &[4_294_967_196_u32, 1, 7], [3])?;
    assert_near(&logits.cross_entropy(&targets, default)?.read_blocking::<f32>()?, &[loss / 2.0], 1e-6);

    let targets = Tensor::zeros(pool, [3], DType::U32)?;
    let refused = |options| logits.cross_entropy(&targets, options).map(drop).expect_err("it has to be refused");
    for smoothing in [-0.1, 1.5, f32::NAN] {
        let error = refused(CrossEntropy { label_smoothing: smoothing, ..default });
        let wanted = format!("cross_entropy: label_smoothing is {smoothing}, which is not from 0 to 1");
        assert_eq!(error.to_string(), wanted);
    }
    let weights = [Tensor::ones(pool, [3], DType::F32)?, Tensor::ones(pool, [2], DType::I32)?];
    let [long, integers] = weights.each_ref().map(|weight| refused(CrossEntropy { weight: Some(weight), ..default }));
    assert_eq!(long.to_string(), "cross_entropy: the weight [3] must have shape [2] for the logits [3, 2]");
    assert!(matches!(integers, TensorError::NotDefined { .. }), "{integers}");
    Ok(())
}
