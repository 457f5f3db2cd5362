//! Steps of optimizers against their definitions in float64, over several steps and several parameters.

use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use crate::model::Array;
use wgpu_pool::{AdamW, AdamWParameter, DType, Pool, PoolOptions, Sgd, SgdParameter, Tensor, TensorError};

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
                    .map(|((x, gradient), velocity)| SgdParameter { value: x, gradient, velocity })
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
                &[AdamWParameter { value: &x, gradient: &gradient, mean: &mean, mean_square: &mean_square }],
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
        let good = SgdParameter { value: &x, gradient: &gradient, velocity: &velocity };
        let (short, transposed) = (ones(&[4])?, ones(&[4, 4])?.narrow(1, 0, 2)?);
        let step = |bad: SgdParameter<'_>| Sgd::default().step(&[good, bad]);
        let text = step(SgdParameter { gradient: &short, ..good }).map_err(|error| error.to_string());
        let wanted = "Sgd::step: the gradient of the 2nd parameter [4] must have the shape of the value of the 2nd parameter, [4, 4]";
        assert_eq!(text, Err(wanted.into()));
        assert!(matches!(step(SgdParameter { value: &transposed, ..good }), Err(TensorError::NotContiguous { .. })));
        assert!(matches!(step(SgdParameter { velocity: &x, ..good }), Err(TensorError::Overlap { .. })));
        let adamw = AdamWParameter { value: &x, gradient: &gradient, mean: &velocity, mean_square: &ones(&[4, 4])? };
        let text = AdamW::default().step(0, &[adamw]).map_err(|error| error.to_string());
        assert_eq!(text, Err("AdamW::step: the number of the step is 0; it has to be 1 or more".into()));
        let integers = Tensor::zeros(pool, [4, 4], DType::I32)?;
        assert!(matches!(step(SgdParameter { gradient: &integers, ..good }), Err(TensorError::NotDefined { .. })));
        assert_eq!(x.read_blocking::<f32>()?, [1.0; 16]);
    }
    Ok(())
}

/// Of each entry of a list: x, gradient, mean and mean of squares.
type Four = [Tensor; 4];

fn bits(tensor: &Tensor) -> Result<Vec<u32>, TensorError> {
    Ok(tensor.read_blocking::<f32>()?.into_iter().map(f32::to_bits).collect())
}

fn quadruples(pool: &Pool, sizes: &[usize]) -> Result<Vec<Four>, TensorError> {
    let four = |(seed, &size): (u64, &usize)| -> Result<Four, TensorError> {
        let random = |more: u64| Tensor::randn(pool, [size], 4 * seed + more);
        Ok([random(0)?, random(1)?, random(2)?, random(3)?.abs()?])
    };
    (0..).zip(sizes).map(four).collect()
}

fn adamw_of(four: &Four) -> AdamWParameter<'_> {
    let [x, gradient, mean, mean_square] = four.each_ref();
    AdamWParameter { value: x, gradient, mean, mean_square }
}

/// A pool with small segments, so that the tensors of a list are in more segments than a kernel binds.
fn in_many_segments() -> Option<Pool> {
    adapter::open(PoolOptions {
        smallest_segment: Some(256 << 10),
        small_limit: 64 << 10,
        compaction_share: 0.0,
        ..crate::common::options()
    })
}

/// A pool whose segments are above the largest binding.
fn in_narrow_windows() -> Option<Pool> {
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 1 << 20, ..wgpu::Limits::default() };
    let (device, queue) = adapter::foreign_with(limits)?;
    Pool::from_device(device, queue, PoolOptions { smallest_segment: Some(8 << 20), ..crate::common::options() }).ok()
}

#[test]
fn a_step_with_a_list_is_that_with_each_of_it() -> Outcome {
    let sizes = [7, 0, 1, 1023, 1024, 1025, 5000, 100_000, 3, 70_001, 20_000, 33, 90_000, 2, 64, 40_000, 11];
    for pool in adapter::all_shared() {
        check_list(pool, &sizes)?;
    }
    for pool in [in_many_segments(), in_narrow_windows()].into_iter().flatten() {
        check_list(&pool, &sizes)?;
    }
    Ok(())
}

fn check_list(pool: &Pool, sizes: &[usize]) -> Outcome {
    let adamw = AdamW { learning_rate: 0.05, weight_decay: 0.1, ..AdamW::default() };
    let (together, apart) = (quadruples(pool, sizes)?, quadruples(pool, sizes)?);
    for number in 1..=3 {
        adamw.step(number, &together.iter().map(adamw_of).collect::<Vec<_>>())?;
        for four in &apart {
            adamw.step(number, &[adamw_of(four)])?;
        }
    }
    for (together, apart) in together.iter().zip(&apart) {
        for (together, apart) in together.iter().zip(apart) {
            assert!(bits(together)? == bits(apart)?, "{:?} of {:?}", together.shape(), pool.memory());
        }
    }
    Ok(())
}

#[test]
fn a_list_is_one_kernel_and_parts_of_one_memory_may_be_in_it() -> Outcome {
    let sgd = Sgd { learning_rate: 0.5, momentum: 0.9, ..Sgd::default() };
    // Not the shared pool: a profile has the launches of all threads, and so those of other tests.
    let Some(pool) = &adapter::fresh() else { return Ok(()) };
    let [all, moving, slopes] = [1, 2, 3].map(|seed| Tensor::randn(pool, [14, 100], seed));
    let (all, moving, slopes) = (all?, moving?, slopes?);
    let (whole, whole_moving) = (all.copied()?, moving.copied()?);
    let rows = |tensor: &Tensor| (0..14).map(|row| tensor.narrow(0, row, 1)).collect::<Result<Vec<_>, _>>();
    let (xs, velocities, gradients) = (rows(&all)?, rows(&moving)?, rows(&slopes)?);
    let list: Vec<SgdParameter<'_>> = (0..14)
        .map(|row| SgdParameter { value: &xs[row], gradient: &gradients[row], velocity: &velocities[row] })
        .collect();
    if let Ok((outcome, profile)) = pool.profile_blocking(|| sgd.step(&list)) {
        outcome?;
        assert_eq!(profile.dispatches.len(), 1, "{profile}");
        assert!(profile.dispatches[0].kernel.starts_with("sgd"));
    } else {
        sgd.step(&list)?;
    }
    sgd.step(&[SgdParameter { value: &whole, gradient: &slopes, velocity: &whole_moving }])?;
    assert_eq!((bits(&all)?, bits(&moving)?), (bits(&whole)?, bits(&whole_moving)?));

    // The same parameter twice takes two steps, one after the other.
    let once = SgdParameter { value: &whole, gradient: &slopes, velocity: &whole_moving };
    sgd.step(&[once, once])?;
    sgd.step(&list)?;
    sgd.step(&list)?;
    assert_eq!(bits(&all)?, bits(&whole)?);
    Ok(())
}

#[test]
fn a_parameter_above_the_largest_binding_is_stepped_in_parts() -> Outcome {
    let Some(pool) = in_narrow_windows() else { return Ok(()) };
    check_list(&pool, &[8, (1 << 18) + 5, 700_001])?;
    let sgd = Sgd { learning_rate: 0.25, ..Sgd::default() };
    let [x, gradient, velocity] = [(); 3].map(|()| Tensor::ones(&pool, [700_001], DType::F32));
    let (x, gradient, velocity) = (x?, gradient?, velocity?);
    sgd.step(&[SgdParameter { value: &x, gradient: &gradient, velocity: &velocity }])?;
    assert!(x.parts().len() == 3 && x.read_blocking::<f32>()?.iter().all(|&x| x == 0.75));
    // Nothing is changed where one of a list is refused.
    let before = bits(&x)?;
    let integers = Tensor::ones(&pool, [700_001], DType::I32)?;
    let list = [[&x, &gradient, &velocity], [&integers, &gradient, &velocity]];
    let list = list.map(|[x, gradient, velocity]| SgdParameter { value: x, gradient, velocity });
    sgd.step(&list).expect_err("integers have no gradient");
    assert_eq!(bits(&x)?, before);
    Ok(())
}
