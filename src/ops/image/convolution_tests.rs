//! Every kernel for convolutions, forced on every size, against the definition in float64.

use super::correlation_kernel::{Kernel, TILE_OF_SOME, forced};
use super::weight_kernel::{Kernel as WeightKernel, forced as forced_weight};
use super::*;
use crate::ops::activation::Activation;
use crate::ops::launch::lowered::with_loop_limit;
use crate::pool::{Pool, PoolOptions};
use crate::tensor::DType;

/// A convolution: channels and outputs are those of a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) batch: usize,
    pub(super) groups: usize,
    pub(super) channels: usize,
    pub(super) outputs: usize,
    pub(super) size: [usize; 2],
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) padding: [[usize; 2]; 2],
    pub(super) dilation: [usize; 2],
}

pub(super) const PLAIN: Case = Case {
    batch: 2,
    groups: 1,
    channels: 3,
    outputs: 5,
    size: [7, 9],
    kernel: [3, 3],
    stride: [1, 1],
    padding: [[1; 2]; 2],
    dilation: [1, 1],
};

/// Odd sizes, sizes around the tiles, and each option alone and with others.
pub(super) const CASES: [Case; 20] = [
    PLAIN,
    // Windows in vec4s, and exactly a tile of outputs and of windows.
    Case { channels: 16, outputs: 64, size: [8, 8], ..PLAIN },
    Case { batch: 1, channels: 8, outputs: 128, size: [8, 16], ..PLAIN },
    // One more than a tile, and one less.
    Case { batch: 1, channels: 9, outputs: 65, size: [13, 10], kernel: [1, 1], padding: [[0; 2]; 2], ..PLAIN },
    Case { batch: 1, channels: 7, outputs: 33, size: [27, 19], ..PLAIN },
    Case { batch: 3, channels: 4, outputs: 8, size: [31, 17], ..PLAIN },
    // Strides that divide the size, and that do not; dilations with and without a common divisor.
    Case { channels: 8, outputs: 12, size: [8, 12], stride: [2, 2], ..PLAIN },
    Case { channels: 5, outputs: 34, size: [11, 14], stride: [2, 3], ..PLAIN },
    Case { channels: 2, outputs: 3, size: [15, 17], stride: [2, 3], dilation: [2, 2], ..PLAIN },
    Case { channels: 1, outputs: 2, size: [16, 13], stride: [4, 3], dilation: [6, 2], kernel: [2, 4], ..PLAIN },
    Case { channels: 3, outputs: 4, size: [12, 12], kernel: [4, 4], stride: [4, 4], padding: [[0; 2]; 2], ..PLAIN },
    // Gaps between windows, and places that no window reads.
    Case {
        channels: 3,
        outputs: 4,
        size: [13, 11],
        kernel: [2, 1],
        stride: [5, 4],
        padding: [[0, 1], [1, 0]],
        ..PLAIN
    },
    Case { channels: 3, outputs: 2, size: [6, 7], kernel: [7, 7], stride: [2, 2], padding: [[3; 2]; 2], ..PLAIN },
    // More padding than the window covers, and a window in the padding alone.
    Case { channels: 2, outputs: 3, size: [3, 4], kernel: [2, 3], padding: [[4, 0], [0, 5]], ..PLAIN },
    Case { channels: 9, outputs: 5, size: [5, 5], dilation: [3, 2], padding: [[3, 2], [1, 2]], ..PLAIN },
    Case { channels: 4, outputs: 4, size: [9, 1], kernel: [5, 1], padding: [[2; 2], [0; 2]], stride: [3, 7], ..PLAIN },
    // Groups, and depthwise with one output or several of a channel.
    Case { groups: 3, channels: 4, outputs: 6, size: [6, 5], ..PLAIN },
    Case { groups: 2, channels: 17, outputs: 33, size: [6, 6], stride: [2, 1], ..PLAIN },
    Case { groups: 7, channels: 1, outputs: 1, size: [10, 35], stride: [1, 2], ..PLAIN },
    Case { groups: 3, channels: 1, outputs: 5, size: [9, 8], dilation: [2, 1], ..PLAIN },
];

/// Weight gradients of rows of vec4s: several parts, one vec4 in a row, strides and dilations of rows, and groups.
const ROWS_IN_VEC4S: [Case; 5] = [
    Case { channels: 33, outputs: 130, size: [3, 12], ..PLAIN },
    Case { batch: 3, channels: 9, outputs: 17, size: [43, 20], ..PLAIN },
    Case { batch: 5, channels: 3, outputs: 9, size: [5, 4], padding: [[4, 0], [1, 1]], ..PLAIN },
    Case { groups: 2, channels: 5, outputs: 11, size: [9, 12], stride: [2, 1], dilation: [3, 1], ..PLAIN },
    Case { channels: 1, outputs: 2, size: [1, 8], padding: [[2, 1], [1, 1]], ..PLAIN },
];

/// [`ROWS_IN_VEC4S`] with 3 × 3 and with 5 × 5 taps, and with 3 × 3 taps that are two apart.
pub(super) fn rows_in_vec4s() -> impl Iterator<Item = Case> {
    ROWS_IN_VEC4S.into_iter().flat_map(|case| [case, case.with_five_taps(), case.with_taps_apart()])
}

impl Case {
    pub(super) fn options(&self) -> Conv2d {
        let [[top, bottom], [left, right]] = self.padding;
        let padding = Padding { top, bottom, left, right };
        Conv2d { stride: self.stride, padding, dilation: self.dilation, groups: self.groups }
    }

    /// The same with 5 × 5 taps, and as many columns of windows as the image has columns.
    pub(super) fn with_five_taps(self) -> Self {
        let [rows, columns] = self.size;
        Self {
            kernel: [5, 5],
            size: [rows + 4 * self.dilation[0], columns],
            padding: [self.padding[0], [2, 2]],
            ..self
        }
    }

    /// The same with taps that are two apart, and as many columns of windows as the image has columns.
    pub(super) fn with_taps_apart(self) -> Self {
        let [rows, columns] = self.size;
        Self { size: [rows + 2, columns], dilation: [2, 2], padding: [self.padding[0], [2, 2]], ..self }
    }

    fn out(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            let extent = (self.kernel[axis] - 1) * self.dilation[axis] + 1;
            (self.size[axis] + self.padding[axis][0] + self.padding[axis][1] - extent) / self.stride[axis] + 1
        })
    }

    pub(super) fn shapes(&self) -> [[usize; 4]; 3] {
        let Self { batch, groups, channels, outputs, size, kernel, .. } = *self;
        let out = self.out();
        [
            [batch, groups * channels, size[0], size[1]],
            [groups * outputs, channels, kernel[0], kernel[1]],
            [batch, groups * outputs, out[0], out[1]],
        ]
    }

    /// Calls the function with the elements of image, weight and result of each product of the definition.
    fn each(&self, mut visit: impl FnMut(usize, usize, usize)) {
        self.each_tap(|from, tap, to| {
            if let Some(from) = from {
                visit(from, tap, to);
            }
        });
    }

    /// Calls the function with the same elements, and for the products of the padding, which have no element of an image, with `None`.
    /// The inner loops are of integers, because tests are compiled without optimization and spend much of their time here.
    pub(super) fn each_tap(&self, mut visit: impl FnMut(Option<usize>, usize, usize)) {
        let [_, weight, [_, _, rows, columns]] = self.shapes();
        let mut to = 0;
        for n in 0..self.batch {
            for o in 0..weight[0] {
                let first = n * self.channels * self.groups + o / self.outputs * self.channels;
                for row in 0..rows {
                    for column in 0..columns {
                        self.each_tap_of_window([first, o], [row, column], |from, tap| visit(from, tap, to));
                        to += 1;
                    }
                }
            }
        }
    }

    /// The element of the images, if it exists, and of the weight: of the channels from number `first` of all images on, output `o`
    /// and one window.
    fn each_tap_of_window(
        &self,
        [first, o]: [usize; 2],
        window: [usize; 2],
        mut visit: impl FnMut(Option<usize>, usize),
    ) {
        let Self { size, kernel, stride, dilation, padding, channels, .. } = *self;
        let before = [padding[0][0], padding[1][0]];
        let starts = [window[0] * stride[0], window[1] * stride[1]];
        let (mut tap, mut c) = (o * channels * kernel[0] * kernel[1], 0);
        while c < channels {
            let (plane, mut y, mut row) = ((first + c) * size[0] * size[1], 0, starts[0]);
            while y < kernel[0] {
                let is_row = row >= before[0] && row - before[0] < size[0];
                let (mut x, mut column) = (0, starts[1]);
                while x < kernel[1] {
                    let is_inside = is_row && column >= before[1] && column - before[1] < size[1];
                    let from = is_inside.then(|| plane + (row - before[0]) * size[1] + column - before[1]);
                    visit(from, tap);
                    (tap, x, column) = (tap + 1, x + 1, column + dilation[1]);
                }
                (y, row) = (y + 1, row + dilation[0]);
            }
            c += 1;
        }
    }
}

/// Sums of products, and of their magnitudes.
struct Sums {
    sums: Vec<f64>,
    magnitudes: Vec<f64>,
    terms: usize,
}

impl Sums {
    fn new(shape: [usize; 4]) -> Self {
        let elements = arithmetic::elements(&shape);
        Self { sums: vec![0.0; elements], magnitudes: vec![0.0; elements], terms: 0 }
    }

    fn add(&mut self, at: usize, product: f64) {
        self.sums[at] += product;
        self.magnitudes[at] += product.abs();
        self.terms += 1;
    }

    /// `unit` is the spacing of the dtype of the result.
    #[track_caller]
    fn check(&self, found: &Tensor, unit: f64, context: &str) {
        let found = found.to(DType::F32).and_then(|found| found.read_blocking::<f32>()).expect("it can be read");
        assert_eq!(found.len(), self.sums.len(), "{context}");
        let terms = (self.terms / self.sums.len() + 2) as f64;
        for (at, &found) in found.iter().enumerate() {
            let (wanted, magnitude) = (self.sums[at], self.magnitudes[at]);
            let bound = terms * f64::from(f32::EPSILON) * magnitude + unit * wanted.abs() + unit * 1e-4;
            assert!((f64::from(found) - wanted).abs() <= bound, "{context}, element {at}: {found} {wanted}");
        }
    }
}

/// A tensor in the middle of a larger one, and its elements.
fn operand(pool: &Pool, dtype: DType, shape: [usize; 4], seed: u64) -> Result<(Tensor, Vec<f64>), TensorError> {
    let [first, others @ ..] = shape;
    let whole = Tensor::randn(pool, [&[first + 2], &others[..]].concat(), seed)?.to(dtype)?;
    let part = whole.narrow(0, 1, first)?;
    let elements = part.to(DType::F32)?.read_blocking::<f32>()?.into_iter().map(f64::from).collect();
    Ok((part, elements))
}

/// Runs `act` with a kernel, if one is given, and a limit of loop iterations.
pub(super) fn with<R>(kernel: Option<Kernel>, limit: u64, act: impl FnOnce() -> R) -> R {
    let act = || with_loop_limit(limit, act);
    match kernel {
        Some(kernel) => forced::with(kernel, act),
        None => act(),
    }
}

/// The convolution and its input gradient by each kernel.
pub(super) fn check(
    pool: &Pool,
    dtype: DType,
    case: Case,
    kernels: &[Option<Kernel>],
    limit: u64,
) -> Result<(), TensorError> {
    let [of_image, of_weight, of_result] = case.shapes();
    let (image, x) = operand(pool, dtype, of_image, 1)?;
    let (weight, w) = operand(pool, dtype, of_weight, 2)?;
    let (gradient, g) = operand(pool, dtype, of_result, 3)?;
    let (bias, b) = operand(pool, dtype, [of_weight[0], 1, 1, 1], 4)?;
    let bias = bias.reshape([of_weight[0]])?;
    let [mut forward, mut by_input] = [of_result, of_image].map(Sums::new);
    case.each(|from, tap, to| {
        forward.add(to, x[from] * w[tap]);
        by_input.add(from, g[to] * w[tap]);
    });
    let plane = of_result[2] * of_result[3];
    for at in 0..forward.sums.len() {
        forward.add(at, b[at / plane % of_result[1]]);
    }
    let options = case.options();
    // A weight whose axes are permuted, as packing takes any strides.
    let permuted = weight.permute([3, 1, 0, 2])?.contiguous()?.permute([2, 1, 3, 0])?;
    for &kernel in kernels {
        let context = format!("{dtype} {case:?} {kernel:?} {limit}");
        let found = with(kernel, limit, || image.conv2d(&weight, Some(&bias), options))?;
        forward.check(&found, spacing(dtype), &format!("forward {context}"));
        let found = with(kernel, limit, || gradient.conv2d_backward_input(of_image, &permuted, options))?;
        by_input.check(&found, spacing(dtype), &format!("by input {context}"));
        if kernel.is_none() && dtype == DType::F32 {
            for rows in [1, 2, of_result[2], 2 * of_result[2], 1000] {
                let run = || gradient.conv2d_backward_input(of_image, &permuted, options);
                let found = folded_gradient::forced::with(rows, run)?;
                by_input.check(&found, spacing(dtype), &format!("by input, folded, {rows} rows, {context}"));
            }
        }
    }
    Ok(())
}

/// The spacing of a dtype to which results are rounded.
fn spacing(dtype: DType) -> f64 {
    if dtype == DType::F16 { 1.0 / 1024.0 } else { 0.0 }
}

pub(super) fn dtypes(pool: &Pool) -> Result<&'static [DType], TensorError> {
    let has_f16 = with_gpu(&Tensor::zeros(pool, [1], DType::F32)?, crate::device::Gpu::has_f16);
    Ok(if has_f16 { &[DType::F32, DType::F16] } else { &[DType::F32] })
}

const KERNELS: [Option<Kernel>; 13] = [
    None,
    Some(Kernel::Single),
    Some(Kernel::Narrow),
    Some(Kernel::Small),
    Some(Kernel::Rows),
    Some(Kernel::RowsTiled(0)),
    Some(Kernel::RowsTiled(1)),
    Some(Kernel::RowsTiled(2)),
    Some(Kernel::Tiled(0)),
    Some(Kernel::Tiled(1)),
    Some(Kernel::Tiled(2)),
    Some(Kernel::Tiled(3)),
    Some(Kernel::Tiled(4)),
];

pub(super) fn weight_kernels() -> Vec<WeightKernel> {
    let few = (0..2).map(WeightKernel::Few);
    let tiled = (0..5).map(WeightKernel::Tiled);
    let tiled = tiled.chain((0..3).map(WeightKernel::RowsTiled));
    [WeightKernel::Direct, WeightKernel::Single, WeightKernel::Rows].into_iter().chain(few).chain(tiled).collect()
}

/// The kernels for a dtype. Software drivers take seconds to compile a tiled kernel; there only one tile has f16.
pub(super) fn kernels(pool: &Pool, dtype: DType) -> Result<Vec<Option<Kernel>>, TensorError> {
    let is_software = with_gpu(&Tensor::zeros(pool, [1], DType::F32)?, crate::device::Gpu::is_software);
    let is_slow = |kernel: &Option<Kernel>| {
        is_software && dtype == DType::F16 && [0, 2, 4].map(|tile| Some(Kernel::Tiled(tile))).contains(kernel)
    };
    Ok(KERNELS.into_iter().filter(|kernel| !is_slow(kernel)).collect())
}

fn kernels_and_dtypes(pool: &Pool) -> Result<Vec<(Option<Kernel>, DType)>, TensorError> {
    let mut all = Vec::new();
    for &dtype in dtypes(pool)? {
        all.extend(kernels(pool, dtype)?.into_iter().map(|kernel| (kernel, dtype)));
    }
    Ok(all)
}

#[test]
fn every_kernel_gives_every_convolution_and_its_gradient_by_the_input() -> Result<(), TensorError> {
    let Ok(pool) = Pool::request_blocking(PoolOptions::default()) else { return Ok(()) };
    for &dtype in dtypes(&pool)? {
        let kernels = kernels(&pool, dtype)?;
        for case in CASES {
            check(&pool, dtype, case, &kernels, 65_535)?;
        }
    }
    Ok(())
}

/// The columns have 3.1 MiB, the operands and the result 1.1.
#[test]
fn without_room_for_columns_the_gradient_by_the_input_is_computed_without_them() -> Result<(), TensorError> {
    let options = PoolOptions { limit: Some(3 << 20), ..PoolOptions::default() };
    let Ok(pool) = Pool::request_blocking(options) else { return Ok(()) };
    let options = Conv2d { padding: 3.into(), ..Conv2d::default() };
    let (gradient, weight) = (Tensor::randn(&pool, [1, 64, 64, 64], 1)?, Tensor::randn(&pool, [64, 4, 7, 7], 2)?);
    let run = || gradient.conv2d_backward_input([1, 4, 64, 64], &weight, options)?.read_blocking::<f32>();
    let wanted = run()?;
    let refused = pool.remedies().out_of_memory;
    let found = folded_gradient::forced::with(1000, run)?;
    assert!(pool.remedies().out_of_memory > refused, "the columns do not fit");
    assert_eq!(found, wanted, "by the same kernel");
    pool.set_limit(None);
    let folded = folded_gradient::forced::with(1000, run)?;
    assert!(folded.iter().zip(&wanted).all(|(one, other)| (one - other).abs() < 1e-2));
    Ok(())
}

/// Kernels round channels up, and multiply what they read there by zeros: it must not be an element of the next group or image.
#[test]
fn no_kernel_reads_elements_of_another_group_or_image() -> Result<(), TensorError> {
    let Ok(pool) = Pool::request_blocking(PoolOptions::default()) else { return Ok(()) };
    let options = Conv2d { padding: 1.into(), groups: 2, ..Conv2d::default() };
    let nan = |shape: [usize; 4]| Tensor::full(&pool, shape, f32::NAN);
    // The second group and the second image are not numbers.
    let image = Tensor::randn(&pool, [2, 6, 6, 7], 1)?;
    image.narrow(1, 3, 3)?.copy_(&nan([2, 3, 6, 7])?)?;
    image.narrow(0, 1, 1)?.copy_(&nan([1, 6, 6, 7])?)?;
    let gradient = Tensor::randn(&pool, [2, 10, 6, 7], 2)?;
    gradient.narrow(1, 5, 5)?.copy_(&nan([2, 5, 6, 7])?)?;
    gradient.narrow(0, 1, 1)?.copy_(&nan([1, 10, 6, 7])?)?;
    let weight = Tensor::randn(&pool, [10, 3, 3, 3], 3)?;
    weight.narrow(0, 5, 5)?.copy_(&nan([5, 3, 3, 3])?)?;
    let is_finite = |tensor: &Tensor, groups: usize| -> Result<bool, TensorError> {
        let first = tensor.narrow(0, 0, 1)?.narrow(1, 0, tensor.shape()[1] / groups)?;
        Ok(first.read_blocking::<f32>()?.iter().all(|value| value.is_finite()))
    };
    for kernel in KERNELS {
        let forward = with(kernel, 65_535, || image.conv2d(&weight, None, options))?;
        assert!(is_finite(&forward, 2)?, "forward {kernel:?}");
        let by_input = with(kernel, 65_535, || gradient.conv2d_backward_input([2, 6, 6, 7], &weight, options))?;
        assert!(is_finite(&by_input, 2)?, "by input {kernel:?}");
    }
    let [image, gradient] = [&image, &gradient].map(|tensor| tensor.narrow(0, 0, 1));
    let (image, gradient) = (image?, gradient?);
    for kernel in weight_kernels() {
        let run = || gradient.conv2d_backward_weight(&image, [10, 3, 3, 3], options);
        let found = forced_weight::with(kernel, run)?.narrow(0, 0, 5)?;
        assert!(found.read_blocking::<f32>()?.iter().all(|value| value.is_finite()), "{kernel:?}");
    }
    Ok(())
}

/// The sums of a long K dimension continue in the next dispatch, and are rounded once.
#[test]
fn convolutions_do_not_depend_on_the_limit_of_loop_iterations() -> Result<(), TensorError> {
    let Ok(pool) = Pool::request_blocking(PoolOptions::default()) else { return Ok(()) };
    for &dtype in dtypes(&pool)? {
        let kernels = [
            Kernel::Single,
            Kernel::Narrow,
            Kernel::Small,
            Kernel::Rows,
            Kernel::Tiled(TILE_OF_SOME),
            Kernel::Tiled(3),
        ]
        .map(Some);
        for case in [CASES[0], CASES[8], CASES[14], CASES[17]] {
            check(&pool, dtype, case, &kernels, 16)?;
        }
    }
    Ok(())
}

/// The sums of parts are added up before the bias and the activation, and are rounded once.
#[test]
fn sums_in_parts_are_those_of_the_whole() -> Result<(), TensorError> {
    let Ok(pool) = Pool::request_blocking(PoolOptions::default()) else { return Ok(()) };
    for &dtype in dtypes(&pool)? {
        for case in [CASES[1], CASES[7], CASES[8], CASES[14], CASES[17]] {
            for parts in [2, 5] {
                let kernels = [Some(Kernel::Tiled(TILE_OF_SOME))];
                forced::with_parts(parts, || check(&pool, dtype, case, &kernels, 65_535))?;
            }
        }
    }
    let image = Tensor::randn(&pool, [1, 64, 4, 4], 1)?;
    let (weight, bias) = (Tensor::randn(&pool, [40, 64, 3, 3], 2)?, Tensor::randn(&pool, [40], 3)?);
    let options = Conv2d { padding: 1.into(), ..Conv2d::default() };
    for activation in Activation::ALL {
        let run = || image.conv2d_then(&weight, Some(&bias), options, Some(activation))?.read_blocking::<f32>();
        let kernel = Kernel::Tiled(TILE_OF_SOME);
        let whole = forced::with(kernel, run)?;
        let parts = forced::with(kernel, || forced::with_parts(3, run))?;
        assert!(whole.iter().zip(&parts).all(|(whole, part)| (whole - part).abs() < 1e-4), "{activation:?}");
    }
    Ok(())
}

#[test]
fn every_kernel_gives_every_gradient_by_the_weight() -> Result<(), TensorError> {
    let Ok(pool) = Pool::request_blocking(PoolOptions::default()) else { return Ok(()) };
    let kernels = weight_kernels();
    // Several parts, and windows that cross rows and images within a slice.
    let long = Case { batch: 3, channels: 10, outputs: 6, groups: 2, size: [30, 21], ..PLAIN };
    let narrow = Case { batch: 70, channels: 3, outputs: 4, size: [3, 2], ..PLAIN };
    for &dtype in dtypes(&pool)? {
        for case in CASES.into_iter().chain([long, narrow]).chain(rows_in_vec4s()) {
            let [of_image, of_weight, of_result] = case.shapes();
            let (image, x) = operand(&pool, dtype, of_image, 1)?;
            let (gradient, g) = operand(&pool, dtype, of_result, 3)?;
            let mut wanted = Sums::new(of_weight);
            case.each(|from, tap, to| wanted.add(tap, g[to] * x[from]));
            for &kernel in &kernels {
                let run = || gradient.conv2d_backward_weight(&image, of_weight, case.options());
                let found = forced_weight::with(kernel, run)?;
                wanted.check(&found, spacing(dtype), &format!("{dtype} {case:?} {kernel:?}"));
            }
        }
    }
    Ok(())
}

/// Both operands in one storage.
#[test]
fn a_gradient_of_the_image_itself_is_possible() -> Result<(), TensorError> {
    let Ok(pool) = Pool::request_blocking(PoolOptions::default()) else { return Ok(()) };
    let x = Tensor::randn(&pool, [2, 4, 6, 6], 1)?;
    let options = Conv2d { padding: 1.into(), ..Conv2d::default() };
    let run = |x: &Tensor, y: &Tensor| -> Result<Vec<f32>, TensorError> {
        let act = || y.conv2d_backward_weight(x, [4, 4, 3, 3], options);
        forced_weight::with(WeightKernel::Tiled(1), act)?.read_blocking()
    };
    assert_eq!(run(&x, &x)?, run(&x, &x.copied()?)?);
    let weight = x.narrow(0, 0, 1)?.reshape([4, 4, 3, 3])?;
    let act = |weight: &Tensor| forced::with(Kernel::Tiled(1), || x.conv2d(weight, None, options));
    assert_eq!(act(&weight)?.read_blocking::<f32>()?, act(&weight.copied()?)?.read_blocking::<f32>()?);
    Ok(())
}

#[test]
fn an_activation_in_the_kernel_is_that_after_it() -> Result<(), TensorError> {
    let Ok(pool) = Pool::request_blocking(PoolOptions::default()) else { return Ok(()) };
    let image = Tensor::randn(&pool, [2, 6, 7, 8], 1)?;
    let (weight, bias) = (Tensor::randn(&pool, [4, 3, 3, 3], 2)?, Tensor::randn(&pool, [4], 3)?);
    let options = Conv2d { padding: 1.into(), groups: 2, ..Conv2d::default() };
    let run = |activation| image.conv2d_then(&weight, Some(&bias), options, activation);
    for kernel in [
        None,
        Some(Kernel::Single),
        Some(Kernel::Narrow),
        Some(Kernel::Small),
        Some(Kernel::Rows),
        Some(Kernel::Tiled(1)),
    ] {
        let fused = with(kernel, 65_535, || run(Some(Activation::Silu)))?.read_blocking::<f32>()?;
        let plain = with(kernel, 65_535, || run(None))?.silu()?.read_blocking::<f32>()?;
        for (fused, plain) in fused.iter().zip(plain) {
            assert!((fused - plain).abs() <= 1e-6 * plain.abs(), "{kernel:?}: {fused} {plain}");
        }
    }
    Ok(())
}

/// As PyTorch's matrix product of unfolded images, which contains the zeros of the padding.
#[test]
fn every_kernel_multiplies_the_weight_by_the_zeros_of_the_padding() -> Result<(), TensorError> {
    let Ok(pool) = Pool::request_blocking(PoolOptions::default()) else { return Ok(()) };
    let size = [6, 11];
    for (kernel, dtype) in kernels_and_dtypes(&pool)? {
        for (groups, stride) in [(1, 1), (1, 2), (3, 1)] {
            let options = Conv2d { padding: 2.into(), stride: [stride; 2], groups, ..Conv2d::default() };
            let image = Tensor::full(&pool, [2, 3, size[0], size[1]], 2.0_f32)?.to(dtype)?;
            // Of the three outputs the first is finite, the second has an infinite tap at the top left, the third NaN.
            let weight = Tensor::full(&pool, [3, 3 / groups, 3, 3], 1.0_f32)?;
            let tap = |output: usize| weight.narrow(0, output, 1)?.narrow(2, 0, 1)?.narrow(3, 0, 1);
            tap(1)?.fill_(f32::INFINITY)?;
            tap(2)?.fill_(f32::NAN)?;
            let weight = weight.to(dtype)?;
            let context = format!("{kernel:?} {dtype} {groups} {stride}");
            let found = with(kernel, 65_535, || image.conv2d(&weight, None, options))?;
            let out = [found.shape()[2], found.shape()[3]];
            let elements = found.to(DType::F32)?.read_blocking::<f32>()?;
            for (at, &element) in elements.iter().enumerate() {
                let (row, column) = (at / out[1] % out[0] * stride, at % out[1] * stride);
                let is_inside = (2..size[0] + 2).contains(&row) && (2..size[1] + 2).contains(&column);
                let is_right = match at / (out[0] * out[1]) % 3 {
                    0 => element.is_finite(),
                    1 if is_inside => element == f32::INFINITY,
                    _ => element.is_nan(),
                };
                assert!(is_right, "{context}: {element} at {row}, {column} of output {}", at / (out[0] * out[1]) % 3);
            }
            // The gradient by the weight: every tap under which the gradient is NaN, also those in the padding.
            let gradient = Tensor::full(&pool, found.shape(), 1.0_f32)?.to(dtype)?;
            gradient.narrow(0, 0, 1)?.narrow(1, 1, 1)?.narrow(2, 0, 1)?.narrow(3, 0, 1)?.fill_(f32::NAN)?;
            let by_weight = gradient.conv2d_backward_weight(&image, weight.shape(), options)?;
            let by_weight = by_weight.to(DType::F32)?.read_blocking::<f32>()?;
            let taps = by_weight.len() / 3;
            for (at, element) in by_weight.iter().enumerate() {
                assert_eq!(element.is_nan(), at / taps == 1, "{context}, by weight: {element} at {at}");
            }
        }
    }
    Ok(())
}

// In integers, so that the results are equal. Software drivers choose another kernel before.
#[test]
fn convolutions_with_one_tap_are_products_of_matrices() -> Result<(), TensorError> {
    let Ok(pool) = Pool::request_blocking(PoolOptions::default()) else { return Ok(()) };
    let numbers = |seed: i32, shape: [usize; 4]| {
        let count = i32::try_from(arithmetic::elements(&shape)).expect("few elements");
        Tensor::from_vec(&pool, (0..count).map(|at| (at * 7 + seed) % 23 - 11).collect::<Vec<i32>>(), shape)
    };
    let images = numbers(1, [3, 18, 5, 7])?.narrow(1, 1, 16)?.contiguous()?;
    for weight in [numbers(5, [19, 16, 1, 1])?, numbers(5, [16, 19, 1, 1])?.transpose(0, 1)?] {
        let kernel = [1, 1];
        let window = KernelWindow { kernel, stride: [1, 1], dilation: [1, 1], padding: [[0, 0]; 2], ceil_mode: false };
        let (size, written) = ([5, 7], [5, 7]);
        let (name, batch, groups, channels, outputs) = ("test", 3, 1, 16, 19);
        for is_gradient in [false, true] {
            let sums = super::correlate::Correlation {
                name,
                batch,
                groups,
                channels,
                outputs,
                size,
                written,
                window,
                is_gradient,
            };
            assert!(sums.is_matrix_product(super::correlate::Finish::NONE));
            let weight = if is_gradient { weight.transpose(0, 1)? } else { weight.clone() };
            let found = sums.multiplied(&images, &weight)?.read_blocking::<i32>()?;
            let wanted = forced::with(Kernel::Narrow, || sums.run(&images, &weight, super::correlate::Finish::NONE))?;
            assert_eq!(found, wanted.read_blocking::<i32>()?, "gradient: {is_gradient}");
        }
    }
    Ok(())
}
