//! Random programs of views and operations over sizes near the limits of the integer types, on a device without a
//! driver: a tensor or an error, never a panic, a hang or a size that wrapped.

use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use crate::window::Window;
use wgpu_pool::{Corners, DType, Pool, PoolOptions, Tensor, TensorError};

const PROGRAMS: u64 = 1000;
const STEPS: usize = 14;

/// Returns mostly small numbers, otherwise numbers near the limit of an integer type, or any number.
fn number(random: &mut Random) -> usize {
    let near = [15, 16, 24, 30, 31, 32, 33, 40, 61, 62, 63][random.below(11)];
    match random.below(16) {
        0..=9 => random.below(6),
        10 => usize::MAX - random.below(4),
        11..=14 => 1_usize.checked_shl(near).unwrap_or(usize::MAX).wrapping_add(random.below(5)).wrapping_sub(2),
        _ => usize::try_from(random.next() >> random.below(64)).unwrap_or(usize::MAX),
    }
}

fn numbers<const N: usize>(random: &mut Random) -> [usize; N] {
    std::array::from_fn(|_| number(random))
}

fn shape(random: &mut Random) -> Vec<usize> {
    (0..random.below(8)).map(|_| number(random)).collect()
}

fn window(random: &mut Random) -> Window {
    let window = Window::new(numbers(random), numbers(random), numbers(random));
    // Most often one group, and neighbouring taps, so that some of the windows fit.
    let rare = |random: &mut Random| if random.below(4) == 0 { number(random) } else { 1 };
    Window {
        dilation: [rare(random), rare(random)],
        groups: rare(random),
        ceil_mode: random.below(2) == 0,
        count_include_pad: random.below(2) == 0,
        ..window
    }
}

/// One step from a tensor to another.
fn step(pool: &Pool, x: &Tensor, random: &mut Random) -> Result<Tensor, TensorError> {
    let axis = |random: &mut Random| if random.below(8) == 0 { number(random) } else { random.below(x.rank().max(1)) };
    match random.below(34) {
        0 | 1 => x.reshape(shape(random)),
        2 => x.narrow(axis(random), number(random), number(random)),
        3 => {
            // The end of an axis, as often as not without an element.
            let axis = axis(random);
            let size = x.shape().get(axis).copied().unwrap_or(0);
            let start = size - random.below(3).min(size);
            x.narrow(axis, start, size - start)
        }
        4 => x.transpose(axis(random), axis(random)),
        5 => x.permute((0..x.rank()).map(|_| axis(random)).collect::<Vec<_>>()),
        6 | 7 => x.expand(shape(random)),
        8 => {
            // Sizes of one, expanded.
            let wide: Vec<usize> =
                x.shape().iter().map(|&size| if size == 1 { number(random) } else { size }).collect();
            x.expand(wide)
        }
        9 => x.contiguous(),
        10 => x.copied(),
        11 => {
            let axis = axis(random);
            reduced!(x.sum(axis), random.below(2) == 0)
        }
        12 => x.amax(..),
        13 => x.add(x),
        14 => x.add(&Tensor::empty(pool, shape(random), x.dtype())?),
        15 => Tensor::cat(&[x, x, x], axis(random)),
        16 => x.matmul(&x.transpose(0, x.rank().saturating_sub(1))?),
        17 => x.softmax(axis(random)),
        18 => x.layer_norm(None, None, 1e-5),
        19 => x.unfold(window(random).unfold()),
        20 => x.fold(numbers(random), window(random).unfold()),
        21 => x.max_pool2d_with_indices(window(random).max()).map(|(largest, _)| largest),
        22 => x.avg_pool2d(window(random).avg()),
        23 => x.avg_pool2d_backward(numbers::<4>(random), window(random).avg()),
        24 => x.upsample_nearest(numbers(random)),
        25 => x.upsample_bilinear(numbers(random), Corners::Outer),
        26 => x.upsample_nearest_backward(numbers(random)),
        27 => x.upsample_bilinear_backward(numbers(random), Corners::Outer),
        28 => x.conv2d(x, None, window(random).conv()),
        29 => x.conv2d_backward_input(numbers::<4>(random), x, window(random).conv()),
        30 => x.conv2d_backward_weight(x, numbers::<4>(random), window(random).conv()),
        31 => x.gather(axis(random), &Tensor::zeros(pool, shape(random), DType::U32)?),
        32 => x.index_select(axis(random), &Tensor::zeros(pool, [1], DType::U32)?.expand([number(random)])?),
        _ => Tensor::arange(pool, number(random), 0.0_f32, 1.0),
    }
}

#[test]
fn programs_over_extreme_sizes_give_tensors_or_errors() -> Outcome {
    let (device, queue) = adapter::noop();
    let options = PoolOptions { limit: Some(16 << 20), ..crate::common::options() };
    let pool = Pool::from_device(device, queue, options)?;
    let mut made = 0;
    for seed in 0..PROGRAMS {
        let mut random = Random::new(seed);
        // Every other program begins with images, which most operations take.
        let images = [(); 4].map(|()| 1 + random.below(5)).to_vec();
        let first = if seed % 2 == 0 { images } else { shape(&mut random) };
        let Ok(mut x) = Tensor::empty(&pool, first, DType::F32) else { continue };
        for _ in 0..STEPS {
            match step(&pool, &x, &mut random) {
                Ok(next) => {
                    x = next;
                    made += 1;
                }
                Err(error) => assert!(!error.to_string().is_empty()),
            }
            let exact = x.shape().iter().try_fold(1_u128, |product, &size| product.checked_mul(size as u128));
            assert_eq!(Some(x.elements() as u128), exact, "{x:?} of seed {seed}");
            let _ = (x.is_contiguous(), x.relu_());
            if x.elements() <= 1 << 12 && x.dtype() == DType::F32 {
                assert_eq!(x.read_blocking::<f32>()?.len(), x.elements(), "{x:?} of seed {seed}");
            }
        }
        pool.check()?;
    }
    assert!(made > PROGRAMS, "{made} steps gave a tensor");
    Ok(())
}
