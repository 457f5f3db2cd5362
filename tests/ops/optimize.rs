//! Steps of optimizers against their definitions in float64, over several steps and several parameters.

use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use crate::model::Array;
use wgpu_pool::{AdamW, AdamWParameter, DType, Pool, Sgd, SgdParameter, Tensor, TensorError};

const SHAPES: [&[usize]; 3] = [&[7], &[33, 9], &[]];

fn wide(array: &Array<f32>) -> Vec<f64> {
    array.elements.iter().map(|x| f64::from(*x)).collect()
}

#[track_caller]
fn assert_near(found: &Tensor, wanted: &[f64]) {
    let found = found.read_blocking::<f32>().expect("it can be read");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((f64::from(*found) - wanted).abs() < 1e-5 * wanted.abs().max(1.0), "{found} {wanted}");
    }
}

fn zeros(pool: &Pool, shape: &[usize]) -> Result<Tensor, TensorError> {
    Tensor::zeros(pool, shape, DType::F32)
}

#[test]
fn gradient_descent_equals_its_definition() -> Outcome {
    let mut random = Random::new(81);
    let plain = Sgd { learning_rate: 0.1, ..Sgd::default() };
    let kinds = [
        plain,
        Sgd { momentum: 0.9, ..plain },
        Sgd { momentum: 0.9, weight_decay: 0.01, ..plain },
        Sgd { momentum: 0.8, weight_decay: 0.02, nesterov: true, ..plain },
    ];
    for pool in adapter::all_shared() {
        for sgd in kinds {
            let starts = SHAPES.map(|shape| Array::real(shape, &mut random));
            let mut models: Vec<(Vec<f64>, Vec<f64>)> =
                starts.iter().map(|x| (wide(x), vec![0.0; x.elements.len()])).collect();
            let xs: Vec<Tensor> = starts.iter().map(|x| x.to_device(pool)).collect::<Result<_, _>>()?;
            let velocities: Vec<Tensor> = SHAPES.iter().map(|shape| zeros(pool, shape)).collect::<Result<_, _>>()?;
            for _ in 0..5 {
                let slopes = SHAPES.map(|shape| Array::real(shape, &mut random));
                let gradients: Vec<Tensor> = slopes.iter().map(|x| x.to_device(pool)).collect::<Result<_, _>>()?;
                let all: Vec<SgdParameter<'_>> = xs
                    .iter()
                    .zip(&gradients)
                    .zip(&velocities)
                    .map(|((x, gradient), velocity)| SgdParameter { x, gradient, velocity })
                    .collect();
                sgd.step(&all)?;
                let [rate, momentum, decay] = [sgd.learning_rate, sgd.momentum, sgd.weight_decay].map(f64::from);
                for ((xs, vs), slopes) in models.iter_mut().zip(&slopes) {
                    for ((x, v), slope) in xs.iter_mut().zip(vs).zip(wide(slopes)) {
                        let slope = slope + decay * *x;
                        *v = momentum * *v + slope;
                        *x -= rate * if sgd.nesterov { slope + momentum * *v } else { *v };
                    }
                }
            }
            for ((x, velocity), (model, moving)) in xs.iter().zip(&velocities).zip(&models) {
                assert_near(x, model);
                assert_near(velocity, moving);
            }
        }
    }
    Ok(())
}

#[test]
fn adamw_equals_its_definition() -> Outcome {
    let mut random = Random::new(82);
    let adamw = AdamW { learning_rate: 0.05, weight_decay: 0.1, ..AdamW::default() };
    for pool in adapter::all_shared() {
        let shape = [65, 3];
        let start = Array::real(&shape, &mut random);
        let (x, mean, mean_square) = (start.to_device(pool)?, zeros(pool, &shape)?, zeros(pool, &shape)?);
        let (mut xs, mut m, mut v) = (wide(&start), vec![0.0; 195], vec![0.0; 195]);
        for number in 1..=6_u32 {
            let slopes = Array::real(&shape, &mut random);
            let gradient = slopes.to_device(pool)?;
            adamw.step(
                number,
                &[AdamWParameter { x: &x, gradient: &gradient, mean: &mean, mean_square: &mean_square }],
            )?;
            let [rate, decay, epsilon] = [adamw.learning_rate, adamw.weight_decay, adamw.epsilon].map(f64::from);
            let [b1, b2] = adamw.betas.map(f64::from);
            for (at, slope) in wide(&slopes).into_iter().enumerate() {
                xs[at] -= rate * decay * xs[at];
                m[at] = b1 * m[at] + (1.0 - b1) * slope;
                v[at] = b2 * v[at] + (1.0 - b2) * slope * slope;
                let power = |beta: f64| 1.0 - beta.powf(f64::from(number));
                xs[at] -= rate * (m[at] / power(b1)) / ((v[at] / power(b2)).sqrt() + epsilon);
            }
        }
        assert_near(&x, &xs);
        assert_near(&mean, &m);
        assert_near(&mean_square, &v);
    }
    Ok(())
}

#[test]
fn tensors_that_cannot_take_a_step_together_are_refused_before_any_is_changed() -> Outcome {
    for pool in adapter::all_shared() {
        let ones = |shape: &[usize]| Tensor::full(pool, shape, 1.0_f32);
        let (x, gradient, velocity) = (ones(&[4, 4])?, ones(&[4, 4])?, ones(&[4, 4])?);
        let good = SgdParameter { x: &x, gradient: &gradient, velocity: &velocity };
        let (short, turned) = (ones(&[4])?, ones(&[4, 4])?.narrow(1, 0, 2)?);
        let step = |bad: SgdParameter<'_>| Sgd::default().step(&[good, bad]);
        assert!(matches!(step(SgdParameter { gradient: &short, ..good }), Err(TensorError::Shape { .. })));
        assert!(matches!(step(SgdParameter { x: &turned, ..good }), Err(TensorError::NotContiguous { .. })));
        assert!(matches!(step(SgdParameter { velocity: &x, ..good }), Err(TensorError::Overlap { .. })));
        let integers = Tensor::zeros(pool, [4, 4], DType::I32)?;
        assert!(matches!(step(SgdParameter { gradient: &integers, ..good }), Err(TensorError::NotDefined { .. })));
        assert_eq!(x.read_blocking::<f32>()?, [1.0; 16]);
    }
    Ok(())
}
