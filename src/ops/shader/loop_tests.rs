//! Every kernel with loops at a limit of loop iterations that just suffices, by what the host states for the kernel. The loops of
//! the kernel then end at this limit, as on Mesa's software drivers: a kernel that has more iterations than stated computes something
//! else.

use crate::error::TensorError;
use crate::ops::image::{CorrelationKernel, WeightKernel, forced_correlation, forced_weight, sum_of_parts};
use crate::ops::launch::lowered::{used, with_loop_limit, with_loops_ended_at};
use crate::ops::matmul::{FEW, Tiling, forced};
use crate::ops::optimize::{AdamW, AdamWParameter, Sgd, SgdParameter};
use crate::ops::{AvgPool2d, Conv2d, Corners, MaxPool2d, Unfold};
use crate::pool::{Pool, PoolOptions};
use crate::tensor::{DType, Element, Tensor, arithmetic};
use std::collections::BTreeSet;
use std::fs::{read_dir, read_to_string};
use std::path::Path;

type Found = Result<Vec<f32>, TensorError>;

/// A file of `shaders/`, without its extension, and a run of its kernel.
type Row = (&'static str, fn(&Pool) -> Found);

fn real(at: usize) -> f32 {
    (at * 37 % 125) as f32 / 20.0 - 3.1
}

fn numbers(pool: &Pool, shape: &[usize]) -> Result<Tensor, TensorError> {
    let elements: Vec<f32> = (0..arithmetic::elements(shape)).map(real).collect();
    Tensor::from_slice(pool, &elements, shape)
}

/// A view whose dimensions lie in memory in the reverse order, so that none can be merged.
fn reversed<T: Element>(pool: &Pool, shape: &[usize], element: fn(usize) -> T) -> Result<Tensor, TensorError> {
    let elements: Vec<T> = (0..arithmetic::elements(shape)).map(element).collect();
    let (swapped, axes): (Vec<usize>, Vec<usize>) =
        (shape.iter().rev().copied().collect(), (0..shape.len()).rev().collect());
    Tensor::from_slice(pool, &elements, swapped)?.permute(axes)
}

/// The first five dimensions lie in memory in the reverse order.
fn rows_of(pool: &Pool, length: usize) -> Result<Tensor, TensorError> {
    numbers(pool, &[2, 2, 2, 2, 2, length])?.permute([4, 3, 2, 1, 0, 5])
}

const SIX: [usize; 6] = [3, 4, 2, 5, 3, 2];

fn scattered<T: Element>(pool: &Pool, real: fn(usize) -> T) -> Found {
    let table = Tensor::zeros(pool, SIX, T::DTYPE)?;
    // All to the same elements, at the same time.
    let index = reversed(pool, &SIX, |_| 1_u32)?;
    table.scatter_add_(1, &index, &reversed(pool, &SIX, real)?)?;
    table.to(DType::F32)?.read_blocking()
}

fn scatter_add(pool: &Pool) -> Found {
    // Other drivers do not limit loops, and there the host does not limit concurrent additions.
    if pool.memory().is_software() { scattered(pool, real) } else { scattered(pool, |at| i32::from(at % 7 == 0)) }
}

fn product(pool: &Pool, tiling: Option<Tiling>, parts: usize) -> Found {
    let (left, right) = (numbers(pool, &[68, 304])?, numbers(pool, &[304, 64])?);
    forced::with(tiling, parts, || left.matmul(&right))?.read_blocking()
}

const IMAGE: [usize; 4] = [2, 6, 9, 8];
/// Products with an index exceed 32 bits.
const WIDE: [usize; 4] = [1, 1, 3, 70_001];
const WEIGHT: [usize; 4] = [9, 6, 3, 2];

fn conv2d_options() -> Conv2d {
    Conv2d { stride: [2, 1], padding: [1, 2].into(), dilation: [1, 2], groups: 1 }
}

/// A convolution and its input gradient, which has more loops.
fn convolution(pool: &Pool, kernel: Option<CorrelationKernel>) -> Found {
    let (image, weight) = (numbers(pool, &IMAGE)?, numbers(pool, &WEIGHT)?);
    let Some(kernel) = kernel else { return image.conv2d(&weight, None, conv2d_options())?.read_blocking() };
    forced_correlation::with(kernel, || {
        let result = image.conv2d(&weight, None, conv2d_options())?;
        let gradient = result.conv2d_backward_input(IMAGE, &weight, conv2d_options())?;
        Ok([result.read_blocking::<f32>()?, gradient.read_blocking()?].concat())
    })
}

/// A gradient with as many windows, rows of 32, as the kernel sums in one part.
fn by_weight(pool: &Pool, kernel: WeightKernel, rows: usize) -> Found {
    let image = numbers(pool, &[1, 6, 2 * rows, 30])?;
    let result = numbers(pool, &[1, 9, rows, 32])?;
    forced_weight::with(kernel, || result.conv2d_backward_weight(&image, WEIGHT, conv2d_options()))?.read_blocking()
}

fn max_pool() -> MaxPool2d {
    MaxPool2d { kernel_size: [5, 4], stride: [2, 1], padding: [2, 1].into(), ..MaxPool2d::new(1) }
}

fn average_pool() -> AvgPool2d {
    AvgPool2d { kernel_size: [5, 4], stride: [2, 1], padding: [2, 1].into(), count_include_pad: false, ceil_mode: true }
}

fn max_pool_back(pool: &Pool) -> Found {
    let (largest, places) = numbers(pool, &IMAGE)?.max_pool2d_with_indices(max_pool())?;
    largest.max_pool2d_backward(&places, IMAGE, max_pool())?.read_blocking()
}

fn average_pool_back(pool: &Pool) -> Found {
    let averages = numbers(pool, &IMAGE)?.avg_pool2d(average_pool())?;
    averages.avg_pool2d_backward(IMAGE, average_pool())?.read_blocking()
}

fn fold(pool: &Pool) -> Found {
    let options = Unfold { kernel_size: [5, 4], stride: [2, 1], padding: [2, 1].into(), ..Unfold::new(1) };
    numbers(pool, &IMAGE)?.unfold(options)?.fold([9, 8], options)?.read_blocking()
}

fn sgd(pool: &Pool) -> Found {
    let of = || -> Result<Vec<Tensor>, TensorError> { (1..15).map(|size| numbers(pool, &[99 * size])).collect() };
    let (x, gradient, velocity) = (of()?, of()?, of()?);
    let parameters: Vec<_> =
        (0..14).map(|at| SgdParameter { value: &x[at], gradient: &gradient[at], velocity: &velocity[at] }).collect();
    Sgd { momentum: 0.5, ..Sgd::default() }.step(&parameters)?;
    Ok(x.iter().map(Tensor::read_blocking::<f32>).collect::<Result<Vec<_>, _>>()?.concat())
}

fn adamw(pool: &Pool) -> Found {
    let of = || -> Result<Vec<Tensor>, TensorError> { (1..12).map(|size| numbers(pool, &[99 * size])).collect() };
    let (x, gradient, mean, mean_square) = (of()?, of()?, of()?, of()?);
    let squares = mean_square.iter().map(|one| one.mul(one)).collect::<Result<Vec<_>, _>>()?;
    let parameters: Vec<_> = (0..11)
        .map(|at| AdamWParameter { value: &x[at], gradient: &gradient[at], mean: &mean[at], mean_square: &squares[at] })
        .collect();
    AdamW::default().step(1, &parameters)?;
    Ok(x.iter().map(Tensor::read_blocking::<f32>).collect::<Result<Vec<_>, _>>()?.concat())
}

/// Kernels that need a device with cooperative matrices.
const COOPERATIVE_ROWS: [Row; 2] = [
    ("matmul_cooperative", |pool| {
        let (left, right) = (numbers(pool, &[128, 320])?.to(DType::F16)?, numbers(pool, &[320, 128])?.to(DType::F16)?);
        left.matmul(&right)?.to(DType::F32)?.read_blocking()
    }),
    ("conv2d_cooperative", |pool| {
        let image = numbers(pool, &[1, 64, 16, 16])?.to(DType::F16)?;
        let weight = numbers(pool, &[64, 64, 3, 3])?.to(DType::F16)?;
        let act = || image.conv2d(&weight, None, Conv2d::default());
        forced_correlation::with(CorrelationKernel::Cooperative, act)?.to(DType::F32)?.read_blocking()
    }),
];

const PRODUCTS: [Row; 3] = [
    ("matmul", |pool| product(pool, None, 1)),
    ("matmul_tiled", |pool| product(pool, Some(FEW), 1)),
    ("matmul_parts", |pool| product(pool, Some(FEW), 11)),
];

const CONVOLUTIONS: [Row; 16] = [
    ("conv2d", |pool| convolution(pool, None)),
    ("conv2d_narrow", |pool| convolution(pool, Some(CorrelationKernel::Narrow))),
    ("conv2d_rows", |pool| by_rows(pool, CorrelationKernel::Rows)),
    ("conv2d_rows_tiled", |pool| by_rows(pool, CorrelationKernel::RowsTiled(0))),
    ("conv2d_small", |pool| {
        // Three chunks of lines.
        let (image, weight) = (numbers(pool, &[1, 70, 5, 6])?, numbers(pool, &[9, 70, 3, 3])?);
        let act = || image.conv2d(&weight, None, Conv2d { padding: 1.into(), ..Conv2d::default() });
        forced_correlation::with(CorrelationKernel::Small, act)?.read_blocking()
    }),
    ("conv2d_single", |pool| convolution(pool, Some(CorrelationKernel::Single))),
    ("conv2d_tiled", |pool| convolution(pool, Some(CorrelationKernel::Tiled(1)))),
    ("conv2d_weight", |pool| by_weight(pool, WeightKernel::Direct, 32)),
    ("conv2d_weight_single", |pool| by_weight(pool, WeightKernel::Single, 32)),
    ("conv2d_weight_rows", |pool| by_weight_of_rows(pool, WeightKernel::Rows)),
    ("conv2d_weight_rows_tiled", |pool| by_weight_of_rows(pool, WeightKernel::RowsTiled(1))),
    ("conv2d_weight_few", |pool| by_weight(pool, WeightKernel::Few(0), 128)),
    ("conv2d_weight_tiled", |pool| by_weight(pool, WeightKernel::Tiled(1), 8)),
    ("conv2d_weight_sum", |pool| sum_of_parts(&numbers(pool, &[700, 2, 72])?)?.read_blocking()),
    ("lib/lines", |pool| {
        // 225 lines, so that the last of those that an invocation prepares matter.
        let (image, weight) = (numbers(pool, &[1, 1, 15, 18])?, numbers(pool, &[9, 1, 15, 15])?);
        let act = || image.conv2d(&weight, None, Conv2d::default());
        forced_correlation::with(CorrelationKernel::Tiled(3), act)?.read_blocking()
    }),
    ("lib/lines", |pool| by_weight(pool, WeightKernel::Tiled(4), 4)),
];

fn by_rows(pool: &Pool, kernel: CorrelationKernel) -> Result<Vec<f32>, TensorError> {
    let (image, weight) = (numbers(pool, &[1, 70, 5, 8])?, numbers(pool, &[9, 70, 3, 3])?);
    let options = Conv2d { padding: 1.into(), ..Conv2d::default() };
    forced_correlation::with(kernel, || image.conv2d(&weight, None, options))?.read_blocking()
}

fn by_weight_of_rows(pool: &Pool, kernel: WeightKernel) -> Result<Vec<f32>, TensorError> {
    let (image, gradient) = (numbers(pool, &[1, 6, 256, 64])?, numbers(pool, &[1, 9, 256, 64])?);
    let options = Conv2d { padding: 1.into(), ..Conv2d::default() };
    forced_weight::with(kernel, || gradient.conv2d_backward_weight(&image, [9, 6, 3, 3], options))?.read_blocking()
}

const OF_IMAGES: [Row; 7] = [
    ("fold", fold),
    ("max_pool", |pool| numbers(pool, &IMAGE)?.max_pool2d(max_pool())?.read_blocking()),
    ("max_pool_back", max_pool_back),
    ("average_pool", |pool| numbers(pool, &IMAGE)?.avg_pool2d(average_pool())?.read_blocking()),
    ("average_pool_back", average_pool_back),
    ("upsample", |pool| numbers(pool, &WIDE)?.upsample_bilinear([WIDE[2], 40_009], Corners::Outer)?.read_blocking()),
    ("upsample_back", |pool| {
        numbers(pool, &WIDE)?.upsample_bilinear_backward([2, 60_013], Corners::Outer)?.read_blocking()
    }),
];

const OTHERS: [Row; 17] = [
    ("copy_transposed", |pool| reversed(pool, &[33, 3, 2, 3, 2, 34], real)?.contiguous()?.read_blocking()),
    ("gather", |pool| {
        let index = reversed(pool, &SIX, |at| u32::from(at % 3 == 0))?;
        reversed(pool, &SIX, real)?.gather(1, &index)?.read_blocking()
    }),
    ("scatter_add", scatter_add),
    ("reduce_part", |pool| reversed(pool, &[4; 6], real)?.sum(..)?.read_blocking()),
    ("reduce_few", |pool| reversed(pool, &[3, 2, 2, 2, 2, 2], real)?.sum([1, 2, 3, 4, 5])?.read_blocking()),
    ("reduce_row", |pool| rows_of(pool, 1 << 14)?.sum(5)?.read_blocking()),
    ("reduce_short_row", |pool| rows_of(pool, 1024)?.sum(5)?.read_blocking()),
    ("reduce_columns", |pool| rows_of(pool, 8)?.sum([0, 1, 2, 3, 4])?.read_blocking()),
    ("softmax", |pool| numbers(pool, &[3, 1000])?.softmax(1)?.read_blocking()),
    ("softmax_long", |pool| numbers(pool, &[3, 9000])?.softmax(1)?.read_blocking()),
    ("normalize", |pool| numbers(pool, &[3, 1000])?.layer_norm(None, None, 1e-5)?.read_blocking()),
    ("normalize_long", |pool| numbers(pool, &[3, 9000])?.layer_norm(None, None, 1e-5)?.read_blocking()),
    ("random", |pool| Tensor::randn(pool, [1000], 1)?.read_blocking()),
    ("sgd", sgd),
    ("adamw", adamw),
    ("lib/modulo", |pool| {
        // 252 digits of a quotient, of which an iteration finds eight.
        let quotients = Tensor::from_slice(pool, &[3e38_f32, -3e38, 7.5, 1e9], [4])?;
        let rests = quotients.fmod(&Tensor::from_slice(pool, &[4e-38_f32, 5e-38, 4e-38, 3e-38], [4])?)?;
        rests.mul(1e38_f32)?.read_blocking()
    }),
    ("lib/integer", |pool| {
        let exponents = Tensor::from_slice(pool, &[i32::MAX, i32::MAX - 1], [2])?;
        Tensor::from_slice(pool, &[3_i32, 5], [2])?.pow(&exponents)?.to(DType::F32)?.read_blocking()
    }),
];

/// Kernels that only software drivers use.
const OF_SOFTWARE: [&str; 1] = ["conv2d"];

fn text(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders").join(format!("{file}.wgsl"));
    read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn has_loop(text: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with("for (") || line.trim() == "loop {")
}

/// A pool on a device whose compiler permits barriers behind a count of iterations. FXC, of DX12, does not.
fn fresh() -> Option<Pool> {
    let pool = Pool::request_blocking(PoolOptions::default()).ok()?;
    (pool.memory().device().adapter_info().backend != wgpu::Backend::Dx12).then_some(pool)
}

/// Finds the lowest limit at which the host accepts a run that uses the file. Runs the kernel with loops that end at this limit, and at
/// limits that are higher by these numbers.
fn check(rows: &[Row], more: &[u64]) -> Result<(), TensorError> {
    for &(file, run) in rows {
        let Some(pool) = fresh() else { return Ok(()) };
        let wgsl = text(file);
        let whole = run(&pool)?;
        let suffices = |limit: u64| {
            let (result, files) = used(|| with_loop_limit(limit, || run(&pool)));
            result.is_ok() && (file.starts_with("lib/") || files.contains(&&*wgsl))
        };
        let is_gpu = pool.memory().device().adapter_info().device_type != wgpu::DeviceType::Cpu;
        if is_gpu && OF_SOFTWARE.contains(&file) {
            continue;
        }
        assert!(suffices(65_535), "{file} is not used");
        let (mut refused, mut accepted) = (0_u64, 65_535_u64);
        while accepted - refused > 1 {
            let middle = refused.midpoint(accepted);
            if suffices(middle) { accepted = middle } else { refused = middle }
        }
        let ended_at = |stated: u64, end: u64| -> Result<Option<String>, TensorError> {
            let Some(limited) = fresh() else { return Ok(None) };
            let act = || with_loop_limit(stated, || with_loops_ended_at(end, || run(&limited)));
            let (found, files) = used(act);
            assert!(files.contains(&&*wgsl), "{file} is not used at the limit of {stated}");
            let found = found?;
            let differs = |(found, whole): (&f32, &f32)| (found - whole).abs() > 1e-4 * whole.abs().max(1.0);
            let place = found.iter().zip(&whole).position(differs);
            Ok(place.map(|at| format!("element {at} is {}, not {}", found[at], whole[at])))
        };
        for limit in more.iter().chain([&0]).map(|more| accepted + more) {
            let wrong = ended_at(limit, limit)?;
            assert!(wrong.is_none(), "{file} has more than {limit} iterations: {}", wrong.unwrap_or_default());
        }
        assert!(ended_at(accepted, accepted / 3)?.is_some(), "this run of {file} has few of {accepted} iterations");
    }
    Ok(())
}

#[test]
fn products_have_no_more_iterations_than_stated() -> Result<(), TensorError> {
    check(&PRODUCTS, &[])
}

#[test]
fn convolutions_have_no_more_iterations_than_stated() -> Result<(), TensorError> {
    check(&CONVOLUTIONS, &[])
}

#[test]
fn operations_on_images_have_no_more_iterations_than_stated() -> Result<(), TensorError> {
    // Wider tiles of a window.
    check(&OF_IMAGES, &[1, 2, 9, 12])
}

#[test]
fn all_other_kernels_have_no_more_iterations_than_stated() -> Result<(), TensorError> {
    check(&OTHERS, &[])
}

#[test]
fn cooperative_kernels_have_no_more_iterations_than_stated() -> Result<(), TensorError> {
    let has_them = fresh().is_some_and(|pool| pool.memory().has_cooperative_matrices());
    if has_them { check(&COOPERATIVE_ROWS, &[]) } else { Ok(()) }
}

#[test]
fn every_file_with_a_loop_has_a_row_or_belongs_to_kernels_that_have_one() {
    let rows = [&COOPERATIVE_ROWS[..], &PRODUCTS, &CONVOLUTIONS, &OF_IMAGES, &OTHERS].concat();
    let rows: BTreeSet<&str> = rows.iter().map(|&(file, _)| file).collect();
    let of_kernels: BTreeSet<&str> = super::tests::parts();
    let mut files = 0;
    for folder in ["", "lib/"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders").join(folder);
        for entry in read_dir(path).expect("the folder exists") {
            let name = entry.expect("the folder can be read").file_name().into_string().expect("a name in ASCII");
            let Some(file) = name.strip_suffix(".wgsl").map(|name| format!("{folder}{name}")) else { continue };
            let wgsl = text(&file);
            if has_loop(&wgsl) {
                files += 1;
                let is_part = !folder.is_empty() && of_kernels.contains(&*wgsl);
                assert!(rows.contains(&*file) || is_part, "shaders/{file}.wgsl has a loop, and no row of this table");
            }
        }
    }
    assert!(files > rows.len(), "{files}");
}
