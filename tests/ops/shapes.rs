//! Random shapes, views and axes, compared with the model; failing cases are minimized.

use crate::common::adapter;
use crate::common::random::Random;
use crate::model::{Array, indices};
use crate::window::Window;
use proptest::prelude::{Strategy, any, prop_assert_eq};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use wgpu_pool::{DType, Element, Pool, Tensor, TensorError, f16, fuse};

/// The number of cases for each property and pool: every kind of kernel occurs several times.
const CASES: u32 = 60;

/// A view: a shape, an order of its axes, and a part of each.
#[derive(Clone, Debug)]
struct View {
    shape: Vec<usize>,
    order: Vec<usize>,
    /// The number of indices of each axis, in its new order, that are removed at the start and at the end.
    cuts: Vec<(usize, usize)>,
}

impl View {
    fn of_model<T: Copy>(&self, array: &Array<T>) -> Array<T> {
        let transposed = array.permute(&self.order);
        self.parts(&transposed.shape)
            .into_iter()
            .fold(transposed, |view, (axis, start, length)| view.narrow(axis, start, length))
    }

    fn of_tensor(&self, tensor: &Tensor) -> Result<Tensor, TensorError> {
        let transposed = tensor.permute(&self.order)?;
        let parts = self.parts(transposed.shape());
        parts.into_iter().try_fold(transposed, |view, (axis, start, length)| view.narrow(axis, start, length))
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
            let found = reduced!(tensor.sum(&axes), keep).map_err(failed)?;
            prop_assert_eq!(elements::<i32>(&found)?, (sums.shape, sums.elements));
            if !model.elements.is_empty() {
                let most = model.fold(&axes, keep, i32::MIN, i32::max);
                let found = reduced!(tensor.amax(&axes), keep).map_err(failed)?;
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

fn is_gl(pool: &Pool) -> bool {
    pool.memory().adapter_info().backend == wgpu::Backend::Gl
}

/// Whole numbers: their sums are exact in every dtype that they go into, in any order.
#[test]
fn any_two_matrices_multiply_as_in_the_model() {
    // Mesa's software GL takes 20 seconds to compile each kind of product.
    for pool in adapter::all_shared().filter(|pool| !is_gl(pool)) {
        let sizes = proptest::collection::vec(1..90_usize, 3);
        let cases = (sizes, 1..3_usize, any::<u64>(), any::<[bool; 4]>());
        check(&cases, |(sizes, batches, seed, [left_transposed, right_transposed, is_cut, is_half])| {
            let [rows, depth, columns] = [sizes[0], sizes[1], sizes[2]];
            let mut random = Random::new(seed);
            let extra = usize::from(is_cut);
            let mut side = |rows: usize, columns: usize, is_transposed: bool| -> Result<_, TestCaseError> {
                let shape =
                    if is_transposed { [batches, columns, rows + extra] } else { [batches, rows, columns + extra] };
                let whole = Array::<f32>::whole(&shape, &mut random);
                let device = whole.to_device(pool).map_err(failed)?;
                let model = whole.narrow(2, extra, shape[2] - extra);
                let device = device.narrow(2, extra, shape[2] - extra).map_err(failed)?;
                if !is_transposed {
                    return Ok((model, device));
                }
                Ok((model.permute(&[0, 2, 1]), device.permute([0, 2, 1]).map_err(failed)?))
            };
            let (left, device_left) = side(rows, depth, left_transposed)?;
            let (right, device_right) = side(depth, columns, right_transposed)?;
            let mut wanted = Vec::new();
            for place in indices(&[batches, rows, columns]) {
                let [batch, row, column] = [place[0], place[1], place[2]];
                wanted.push((0..depth).map(|k| left.at(&[batch, row, k]) * right.at(&[batch, k, column])).sum::<f32>());
            }
            let shape = vec![batches, rows, columns];
            let has_f16 = adapter::has_f16(pool);
            if is_half && has_f16 {
                let half = |tensor: &Tensor| tensor.to(DType::F16).map_err(failed);
                let found = half(&device_left)?.matmul(&half(&device_right)?).map_err(failed)?;
                // Up to 2,048 every whole number is one of f16; above, the device may round either way.
                let (found_shape, found) = elements::<f16>(&found)?;
                let is_near = |(found, wanted): (&f16, &f32)| {
                    (found.to_f32() - wanted).abs() <= (wanted.abs() - 2048.0).max(0.0) / 512.0
                };
                prop_assert_eq!(found_shape, shape);
                prop_assert_eq!(found.iter().zip(&wanted).position(|pair| !is_near(pair)), None);
                return Ok(());
            }
            let found = device_left.matmul(&device_right).map_err(failed)?;
            prop_assert_eq!(elements::<f32>(&found)?, (shape, wanted));
            Ok(())
        });
    }
}

#[test]
fn any_window_convolves_as_its_definition_says() {
    for pool in adapter::all_shared() {
        let pairs = || proptest::collection::vec(1..5_usize, 2);
        let cases = (
            proptest::collection::vec(1..4_usize, 4),
            proptest::collection::vec(1..12_usize, 2),
            pairs(),
            pairs(),
            proptest::collection::vec(0..4_usize, 4),
            proptest::collection::vec(1..4_usize, 2),
            any::<u64>(),
        );
        check(&cases, |(counts, size, kernel, stride, padding, dilation, seed)| {
            let groups = counts[3];
            let [batch, channels, outputs] = [counts[0], counts[1] * groups, counts[2] * groups];
            let pair = |sizes: &[usize]| [sizes[0], sizes[1]];
            let window = Window {
                padding: [pair(&padding), pair(&padding[2..])],
                dilation: pair(&dilation),
                groups,
                ..Window::new(pair(&kernel), pair(&stride), [0, 0])
            };
            let mut random = Random::new(seed);
            let image = Array::<f32>::whole(&[batch, channels, size[0], size[1]], &mut random);
            let weight = Array::<f32>::whole(&[outputs, counts[1], kernel[0], kernel[1]], &mut random);
            let on_device = [image.to_device(pool).map_err(failed)?, weight.to_device(pool).map_err(failed)?];
            let found = on_device[0].conv2d(&on_device[1], None, window.conv());
            let [rows, columns] = window.positions(pair(&size));
            if rows == 0 || columns == 0 {
                prop_assert_eq!(found.err().map(|error| matches!(error, TensorError::KernelWindow { .. })), Some(true));
                return Ok(());
            }
            let shape = vec![batch, outputs, rows, columns];
            let wanted = indices(&shape).into_iter().map(|place| {
                let first = place[1] / counts[2] * counts[1];
                let under = indices(&[counts[1], kernel[0], kernel[1]]).into_iter().map(|within| {
                    let [stop, tap] = [pair(&place[2..]), pair(&within[1..])];
                    window.under(pair(&size), stop, tap).map_or(0.0, |[row, column]| {
                        let factor = weight.at(&[place[1], within[0], within[1], within[2]]);
                        image.at(&[place[0], first + within[0], row, column]) * factor
                    })
                });
                under.sum::<f32>()
            });
            prop_assert_eq!(elements::<f32>(&found.map_err(failed)?)?, (shape.clone(), wanted.collect::<Vec<_>>()));
            Ok(())
        });
    }
}

/// Two f16 elements share a word: a view must not read or write the other element.
#[test]
fn any_view_of_halves_is_read_copied_and_added_up() {
    for pool in adapter::all_shared() {
        if !adapter::has_f16(pool) {
            continue;
        }
        check(&(views(), any::<u64>(), any::<usize>()), |(view, seed, axis)| {
            let array = Array::<f32>::whole(&view.shape, &mut Random::new(seed));
            let model = view.of_model(&array);
            let halves = array.to_device(pool).map_err(failed)?.to(DType::F16).map_err(failed)?;
            let tensor = view.of_tensor(&halves).map_err(failed)?;
            let wanted = model.map(f16::from_f32);
            prop_assert_eq!(elements::<f16>(&tensor)?, (wanted.shape.clone(), wanted.elements.clone()));
            let copy = tensor.copied().map_err(failed)?;
            prop_assert_eq!(elements::<f16>(&copy)?, (wanted.shape.clone(), wanted.elements));
            let doubled = model.map(|x| f16::from_f32(x + x));
            let found = tensor.add(&copy).map_err(failed)?;
            prop_assert_eq!(elements::<f16>(&found)?, (doubled.shape, doubled.elements));
            let Some(axis) = axis.checked_rem(model.shape.len()) else { return Ok(()) };
            let sums = model.fold(&[axis], false, 0.0, |sum, x| sum + x).map(f16::from_f32);
            let found = tensor.sum([axis]).map_err(failed)?;
            prop_assert_eq!(elements::<f16>(&found)?, (sums.shape, sums.elements));
            Ok(())
        });
    }
}
