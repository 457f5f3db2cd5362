//! Operations on f16, compared with the same operations on f32.

use super::{every, on_both, pools, some};
use crate::common::Outcome;
use crate::common::random::Random;
use crate::window::Window;
use wgpu_pool::{
    Activation, AdamW, AdamWParameter, Corners, CrossEntropy, DType, Reduction, Sgd, SgdParameter, Tensor, TensorError,
    f16, fuse,
};

type Unary = (&'static str, fn(&Tensor) -> Result<Tensor, TensorError>);

const UNARY: [Unary; 19] = [
    ("neg", Tensor::neg),
    ("abs", Tensor::abs),
    ("exp", Tensor::exp),
    ("log", Tensor::log),
    ("sqrt", Tensor::sqrt),
    ("rsqrt", Tensor::rsqrt),
    ("reciprocal", Tensor::reciprocal),
    ("square", Tensor::square),
    ("sin", Tensor::sin),
    ("cos", Tensor::cos),
    ("tanh", Tensor::tanh),
    ("sigmoid", Tensor::sigmoid),
    ("relu", Tensor::relu),
    ("silu", Tensor::silu),
    ("gelu", Tensor::gelu),
    ("gelu_tanh", Tensor::gelu_tanh),
    ("floor", Tensor::floor),
    ("ceil", Tensor::ceil),
    ("round", Tensor::round),
];

#[test]
fn elementwise_operations_round_what_they_give_on_f32() -> Outcome {
    let mut random = Random::new(162);
    for pool in pools() {
        for (what, operation) in UNARY {
            on_both(what, &[&every(pool, &[1 << 16])?], 1, |x| operation(x[0]))?;
            on_both(what, &[&some(pool, &[5, 7], &mut random)?.t()?], 1, |x| operation(x[0]))?;
        }
        let (x, y) = (every(pool, &[256, 256])?, some(pool, &[256, 256], &mut random)?);
        let row = some(pool, &[256], &mut random)?;
        for operands in [
            [x.clone(), y.clone()],
            [x.t()?, y.clone()],
            [y.clone(), row.clone()],
            [y.narrow(1, 1, 255)?, y.narrow(1, 0, 255)?],
        ] {
            on_both("add", &operands.each_ref(), 1, |x| x[0].add(x[1]))?;
            on_both("sub", &operands.each_ref(), 1, |x| x[0].sub(x[1]))?;
            on_both("mul", &operands.each_ref(), 1, |x| x[0].mul(x[1]))?;
            on_both("div", &operands.each_ref(), 1, |x| x[0].div(x[1]))?;
            on_both("maximum", &operands.each_ref(), 1, |x| x[0].maximum(x[1]))?;
            on_both("minimum", &operands.each_ref(), 1, |x| x[0].minimum(x[1]))?;
            on_both("pow", &operands.each_ref(), 1, |x| x[0].abs()?.pow(x[1]))?;
        }
        // A number of f32 goes with f16, and is not rounded to it: 1/3 of 3 is 1.
        on_both("mul_scalar", &[&x], 1, |x| x[0].mul(1.0_f32 / 3.0))?;
        on_both("add_scalar", &[&y.t()?], 1, |x| x[0].add(1e-3_f32))?;
        on_both("fused", &[&x, &y, &row], 1, |x| {
            fuse(|[a, b, c]| (a * b + c).relu() * 0.5_f32 + a.lt(0.25_f32).select(1.0_f32, b)).run([x[0], x[1], x[2]])
        })?;
        on_both("in place", &[&y], 4, |x| {
            let copy = x[0].copied()?;
            copy.mul_(0.7_f32)?;
            copy.add_scaled_(x[0], 0.1_f32)?;
            copy.exp_()?;
            Ok(copy)
        })?;
    }
    Ok(())
}

#[test]
fn comparisons_and_choices_are_those_of_f32() -> Outcome {
    let mut random = Random::new(163);
    for pool in pools() {
        let (x, y) = (every(pool, &[256, 256])?, some(pool, &[256, 256], &mut random)?);
        let (wide_x, wide_y) = (x.to(DType::F32)?, y.to(DType::F32)?);
        let read = |tensor: Tensor| tensor.read_blocking::<u32>();
        assert_eq!(read(x.lt(&y)?)?, read(wide_x.lt(&wide_y)?)?);
        assert_eq!(read(x.ne(&x)?)?, read(wide_x.ne(&wide_x)?)?);
        assert_eq!(read(x.ge(f16::from_f32(0.5))?)?, read(wide_x.ge(0.5_f32)?)?);
        assert_eq!(read(y.argmax(1)?)?, read(wide_y.argmax(1)?)?);
        let results = y.gt(0.0_f32)?;
        on_both("where", &[&results, &y, &y.neg()?], 1, |x| x[0].where_cond(x[1], x[2]))?;
    }
    Ok(())
}

#[test]
fn reductions_hold_sums_in_f32() -> Outcome {
    let mut random = Random::new(164);
    for pool in pools() {
        // 100,000 times 1: a sum in f16 stays at 2,048.
        let ones = Tensor::full(pool, [100_000], f16::ONE)?.mul(0.5_f32)?;
        assert_eq!(ones.sum(..)?.read_blocking::<f16>()?, [f16::from_f32(50_000.0)]);
        for shape in [&[3_usize, 5001][..], &[70, 33], &[4, 1024], &[5000, 8], &[3, 4, 5, 6], &[300_001]] {
            let x = some(pool, shape, &mut random)?;
            for axes in [vec![], vec![0], vec![shape.len() - 1]] {
                on_both("sum", &[&x], 1, |x| x[0].sum_keepdim(&axes))?;
                on_both("mean", &[&x], 1, |x| x[0].mean(&axes))?;
                on_both("amax", &[&x], 1, |x| x[0].amax(&axes))?;
                on_both("amin", &[&x], 1, |x| x[0].amin_keepdim(&axes))?;
            }
        }
        assert!(Tensor::zeros(pool, [0], DType::F16)?.mean(..)?.read_blocking::<f16>()?[0].is_nan());
        on_both("amax of all", &[&every(pool, &[256, 256])?], 1, |x| x[0].amax([1]))?;
    }
    Ok(())
}

#[test]
fn rows_are_normalized_in_f32() -> Outcome {
    let mut random = Random::new(165);
    for pool in pools() {
        for columns in [1_usize, 7, 64, 1000, 4096, 5001] {
            let x = some(pool, &[3, columns], &mut random)?;
            let (weight, bias) = (some(pool, &[columns], &mut random)?, some(pool, &[columns], &mut random)?);
            on_both("softmax", &[&x], 1, |x| x[0].softmax(1))?;
            on_both("log_softmax", &[&x], 1, |x| x[0].log_softmax(1))?;
            on_both("softmax along another axis", &[&x], 1, |x| x[0].softmax(0))?;
            on_both("layer_norm", &[&x, &weight, &bias], 1, |x| x[0].layer_norm(Some(x[1]), Some(x[2]), 1e-5))?;
            on_both("rms_norm", &[&x], 1, |x| x[0].rms_norm(None, 1e-5))?;
        }
    }
    Ok(())
}

#[test]
fn products_hold_sums_in_f32() -> Outcome {
    let mut random = Random::new(166);
    for pool in pools() {
        let shapes: [(&[usize], &[usize]); 8] = [
            (&[5, 7], &[7, 3]),
            (&[64, 80], &[80, 96]),
            (&[65, 81], &[81, 97]),
            (&[130, 128], &[128, 70]),
            (&[3, 9, 70], &[3, 70, 5]),
            (&[3, 40_001], &[40_001, 4]),
            (&[2, 33, 200], &[200, 40]),
            (&[9], &[9]),
        ];
        for (left, right) in shapes {
            let what = format!("{left:?} by {right:?}");
            let sides = [some(pool, left, &mut random)?, some(pool, right, &mut random)?];
            on_both(&what, &sides.each_ref(), 1, |x| x[0].matmul(x[1]))?;
        }
        let sides =
            [some(pool, &[65, 80], &mut random)?, some(pool, &[96, 80], &mut random)?, some(pool, &[96], &mut random)?];
        on_both("linear", &sides.each_ref(), 1, |x| x[0].linear(x[1], Some(x[2])))?;
        on_both("epilogue", &sides.each_ref(), 1, |x| {
            x[0].matmul_then(&x[1].t()?, Some(x[2]), Some(Activation::Gelu))
        })?;
        let left = [some(pool, &[80, 64], &mut random)?.t()?, some(pool, &[80, 64], &mut random)?];
        on_both("transposed left", &left.each_ref(), 1, |x| x[0].matmul(x[1]))?;
        let both = some(pool, &[72, 72], &mut random)?;
        on_both("of one storage", &[&both], 1, |x| x[0].matmul(&x[0].t()?))?;
    }
    Ok(())
}

#[test]
fn images_are_computed_in_f32() -> Outcome {
    let mut random = Random::new(167);
    let windows = [Window::new([3, 3], [1, 1], [1, 1]), Window::new([3, 2], [2, 1], [1, 1])];
    for pool in pools() {
        for window in windows {
            let (image, weight) = (
                some(pool, &[2, 3, 9, 11], &mut random)?,
                some(pool, &[5, 3, window.kernel[0], window.kernel[1]], &mut random)?,
            );
            let bias = some(pool, &[5], &mut random)?;
            let all = [image.clone(), weight.clone(), bias];
            on_both("conv2d", &all.each_ref(), 1, |x| x[0].conv2d(x[1], Some(x[2]), window.conv()))?;
            let gradient = some(pool, image.conv2d(&weight, None, window.conv())?.shape(), &mut random)?;
            on_both("conv2d_backward_input", &[&gradient, &weight], 1, |x| {
                x[0].conv2d_backward_input([2, 3, 9, 11], x[1], window.conv())
            })?;
            let shape = [5, 3, window.kernel[0], window.kernel[1]];
            on_both("conv2d_backward_weight", &[&gradient, &image], 1, |x| {
                x[0].conv2d_backward_weight(x[1], shape, window.conv())
            })?;
            let window = Window::new(window.kernel, window.stride, [1, 0]);
            on_both("avg_pool2d", &[&image], 1, |x| x[0].avg_pool2d(window.avg()))?;
            on_both("max_pool2d", &[&image], 1, |x| x[0].max_pool2d(window.max()))?;
            let pooled = some(pool, image.avg_pool2d(window.avg())?.shape(), &mut random)?;
            on_both("avg_pool2d_backward", &[&pooled], 1, |x| x[0].avg_pool2d_backward([2, 3, 9, 11], window.avg()))?;
            let places = image.max_pool2d_with_indices(window.max())?.1;
            on_both("max_pool2d_backward", &[&pooled, &places], 1, |x| {
                x[0].max_pool2d_backward(x[1], [2, 3, 9, 11], window.max())
            })?;
            on_both("unfold", &[&image], 1, |x| x[0].unfold(window.unfold()))?;
            on_both("fold", &[&image.unfold(window.unfold())?], 1, |x| x[0].fold([9, 11], window.unfold()))?;
            on_both("bilinear", &[&image], 1, |x| x[0].upsample_bilinear([20, 17], Corners::Outer))?;
            on_both("nearest", &[&image], 1, |x| x[0].upsample_nearest([20, 17]))?;
            on_both("bilinear_backward", &[&image], 1, |x| x[0].upsample_bilinear_backward([5, 4], Corners::Outer))?;
        }
    }
    Ok(())
}

#[test]
fn losses_and_their_gradients_are_near_those_of_f32() -> Outcome {
    let mut random = Random::new(169);
    for pool in pools() {
        let (x, y) = (some(pool, &[40, 10], &mut random)?, some(pool, &[40, 10], &mut random)?);
        on_both("mse_loss", &[&x, &y], 3, |x| x[0].mse_loss(x[1], Reduction::Mean))?;
        on_both("mse_loss_backward", &[&x, &y], 1, |x| x[0].mse_loss_backward(x[1], Reduction::Mean))?;
        let targets: Vec<u32> = (0..40).map(|target| target % 10).collect();
        let targets = Tensor::from_slice(pool, &targets, [40])?;
        on_both("cross_entropy", &[&x, &targets], 4, |x| x[0].cross_entropy(x[1], CrossEntropy::default()))?;
        // A gradient near 0 is a difference of numbers up to 1, by 40: rounded before.
        let found = x.cross_entropy_backward(&targets, CrossEntropy::default())?.read_blocking::<f16>()?;
        let wanted =
            x.to(DType::F32)?.cross_entropy_backward(&targets, CrossEntropy::default())?.read_blocking::<f32>()?;
        for (found, wanted) in found.iter().zip(&wanted) {
            assert!((found.to_f32() - wanted).abs() < 0.001 / 40.0, "{found} {wanted}");
        }
    }
    Ok(())
}

#[test]
fn optimizers_step_in_f32() -> Outcome {
    let mut random = Random::new(170);
    for pool in pools() {
        let four: Result<Vec<Tensor>, TensorError> = (0..4).map(|_| some(pool, &[1001], &mut random)).collect();
        let four = four?;
        let sgd = Sgd { learning_rate: 0.1, momentum: 0.9, weight_decay: 0.01, nesterov: true };
        on_both("sgd", &four.iter().collect::<Vec<_>>(), 1, |x| {
            let (x, gradient, velocity) = (&x[0].copied()?, x[1], &x[2].copied()?);
            sgd.step(&[SgdParameter { value: x, gradient, velocity }])?;
            Tensor::cat(&[x, velocity], 0)
        })?;
        let adamw = AdamW { learning_rate: 0.1, ..AdamW::default() };
        on_both("adamw", &four.iter().collect::<Vec<_>>(), 1, |x| {
            let (x, gradient, mean, mean_square) = (&x[0].copied()?, x[1], &x[2].copied()?, &x[3].abs()?);
            adamw.step(3, &[AdamWParameter { value: x, gradient, mean, mean_square }])?;
            Tensor::cat(&[x, mean, mean_square], 0)
        })?;
    }
    Ok(())
}
