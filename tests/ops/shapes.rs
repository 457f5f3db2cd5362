//! Random shapes, views and axes, against the model; a failure is made as small as it can be.

use crate::common::adapter;
use crate::common::random::Random;
use crate::model::{Array, indices};
use proptest::prelude::{Strategy, any, prop_assert_eq};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use wgpu_pool::{Element, Tensor, TensorError, fuse};

/// As many for each property and pool: a kernel of each kind comes several times.
const CASES: u32 = 60;

/// A view: a shape, an order of its axes, and a part of each.
#[derive(Clone, Debug)]
struct View {
    shape: Vec<usize>,
    order: Vec<usize>,
    /// How much of each axis, in its new order, is cut off at the start and at the end.
    cuts: Vec<(usize, usize)>,
}

impl View {
    fn of_model<T: Copy>(&self, array: &Array<T>) -> Array<T> {
        let turned = array.permute(&self.order);
        self.parts(&turned.shape)
            .into_iter()
            .fold(turned, |view, (axis, start, length)| view.narrow(axis, start, length))
    }

    fn of_tensor(&self, tensor: &Tensor) -> Result<Tensor, TensorError> {
        let turned = tensor.permute(&self.order)?;
        let parts = self.parts(turned.shape());
        parts.into_iter().try_fold(turned, |view, (axis, start, length)| view.narrow(axis, start, length))
    }

    fn parts(&self, shape: &[usize]) -> Vec<(usize, usize, usize)> {
        let cut = |(axis, (&size, &(start, end))): (usize, (&usize, &(usize, usize)))| {
            let start = start.min(size);
            (axis, start, size - start - end.min(size - start))
        };
        shape.iter().zip(&self.cuts).enumerate().map(cut).collect()
    }
}

fn views() -> impl Strategy<Value = View> {
    let shapes = proptest::collection::vec(0..6_usize, 0..=5);
    shapes.prop_flat_map(|shape| {
        let rank = shape.len();
        let order = proptest::strategy::Just((0..rank).collect::<Vec<_>>()).prop_shuffle();
        let cuts = proptest::collection::vec((0..2_usize, 0..2_usize), rank);
        (proptest::strategy::Just(shape), order, cuts).prop_map(|(shape, order, cuts)| View { shape, order, cuts })
    })
}

/// Runs a property over the same cases every time.
fn check<S: Strategy>(strategy: &S, property: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let rng = proptest::test_runner::TestRng::deterministic_rng(config.rng_algorithm);
    let mut runner = TestRunner::new_with_rng(config, rng);
    runner.run(strategy, property).unwrap_or_else(|failure| panic!("{failure}"));
}

fn failed(error: TensorError) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

fn elements<T: Element>(tensor: &Tensor) -> Result<(Vec<usize>, Vec<T>), TestCaseError> {
    Ok((tensor.shape().to_vec(), tensor.read_blocking::<T>().map_err(failed)?))
}

#[test]
fn any_two_views_broadcast_as_in_the_model() {
    for pool in adapter::all_shared() {
        // The second operand: some of the first one's axes from the back, some of them of size 1.
        let pairs = (views(), any::<u64>(), 0..=5_usize, proptest::collection::vec(any::<bool>(), 5));
        check(&pairs, |(view, seed, dropped, lone)| {
            let mut random = Random::new(seed);
            let left = Array::<i32>::any(&view.shape, &mut random);
            let of_left = view.of_model(&left);
            let tail = &of_left.shape[dropped.min(of_left.shape.len())..];
            let shape: Vec<usize> = tail.iter().zip(&lone).map(|(&size, &lone)| if lone { 1 } else { size }).collect();
            let right = Array::<i32>::any(&shape, &mut random);
            let wanted = of_left.zip(&right, i32::wrapping_sub);
            let view_of_left = view.of_tensor(&left.to_device(pool).map_err(failed)?).map_err(failed)?;
            let on_device = right.to_device(pool).map_err(failed)?;
            let found = view_of_left.sub(&on_device).map_err(failed)?;
            prop_assert_eq!(elements::<i32>(&found)?, (wanted.shape.clone(), wanted.elements.clone()));
            let fused = fuse(|[x, y]| x - y).run([&view_of_left, &on_device]).map_err(failed)?;
            prop_assert_eq!(elements::<i32>(&fused)?, (wanted.shape, wanted.elements));
            Ok(())
        });
    }
}

#[test]
fn any_axes_of_any_view_reduce_as_in_the_model() {
    for pool in adapter::all_shared() {
        let cases = (views(), any::<u64>(), proptest::collection::vec(any::<bool>(), 5), any::<bool>());
        check(&cases, |(view, seed, chosen, keep)| {
            let array = Array::<i32>::any(&view.shape, &mut Random::new(seed));
            let model = view.of_model(&array);
            let tensor = view.of_tensor(&array.to_device(pool).map_err(failed)?).map_err(failed)?;
            let axes: Vec<usize> = (0..model.shape.len()).filter(|&axis| chosen[axis]).collect();
            let sums = model.fold(&axes, keep, 0, i32::wrapping_add);
            let found = tensor.sum(&axes, keep).map_err(failed)?;
            prop_assert_eq!(elements::<i32>(&found)?, (sums.shape, sums.elements));
            if !model.elements.is_empty() {
                let most = model.fold(&axes, keep, i32::MIN, i32::max);
                let found = tensor.amax(&axes, keep).map_err(failed)?;
                prop_assert_eq!(elements::<i32>(&found)?, (most.shape, most.elements));
            }
            Ok(())
        });
    }
}

#[test]
fn any_index_gathers_as_in_the_model() {
    for pool in adapter::all_shared() {
        check(&(views(), any::<u64>(), any::<usize>(), 0..6_usize), |(view, seed, axis, length)| {
            let mut random = Random::new(seed);
            let array = Array::<i32>::any(&view.shape, &mut random);
            let model = view.of_model(&array);
            let Some(axis) = axis.checked_rem(model.shape.len()) else { return Ok(()) };
            let mut shape = model.shape.clone();
            shape[axis] = length;
            let size = model.shape[axis];
            let index = Array::new(&shape, || u32::try_from(random.below(size + 1)).expect("small"));
            let tensor = view.of_tensor(&array.to_device(pool).map_err(failed)?).map_err(failed)?;
            let found = tensor.gather(axis, &index.to_device(pool).map_err(failed)?).map_err(failed)?;
            let wanted = indices(&shape).into_iter().map(|mut place| {
                let chosen = index.at(&place) as usize;
                place[axis] = chosen;
                if chosen < size { model.at(&place) } else { 0 }
            });
            prop_assert_eq!(elements::<i32>(&found)?, (shape.clone(), wanted.collect::<Vec<_>>()));
            Ok(())
        });
    }
}
