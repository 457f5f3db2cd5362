//! Spilling with tensors and kernels: results are bit-identical to those of a pool without a limit.

use crate::common::{Outcome, adapter};
use crate::spill::AdapterMapped;
use crate::subjects::{Subject, assert_consistent, options};
use wgpu_pool::{
    AdamW, AdamWParameter, Conv2d, Corners, DType, DeviceError, Gpu, KernelError, MaxPool2d, Padding, Pool,
    PoolOptions, RepeatOptions, Residence, Tensor, Unfold,
};

const SIZE: usize = 64;
/// The bytes of a matrix of the tests.
const BYTES: u64 = (SIZE * SIZE * 4) as u64;

/// The devices, with recorded copies and with read-backs, and GL.
fn devices() -> Vec<Gpu> {
    [AdapterMapped::memory(), adapter::gpu(), adapter::gl()].into_iter().flatten().collect()
}

fn spilling(gpu: Gpu, matrices: u64) -> Result<Pool, wgpu_pool::OptionsError> {
    let limit = Some(matrices * BYTES);
    Pool::new(gpu, PoolOptions { limit, smallest_segment: Some(BYTES), spill: Some(u64::MAX), ..options() })
}

/// Some steps of a program with matrix products, reductions, fused and in-place kernels over more matrices than fit.
fn program(pool: &Pool) -> Result<Vec<u32>, Box<dyn std::error::Error>> {
    let weights = (0..6).map(|seed| Tensor::randn(pool, [SIZE, SIZE], seed)).collect::<Result<Vec<_>, _>>()?;
    let mut bits = Vec::new();
    for _ in 0..3 {
        let mut x = Tensor::randn(pool, [SIZE, SIZE], 100)?;
        for weight in &weights {
            x = x.matmul(weight)?.mul(0.1)?;
            weight.mul_(1.0001)?;
            weight.narrow(0, 3, 5)?.add_(&x.narrow(0, 7, 5)?)?;
        }
        let row = x.sum(0)?.add(&weights[0].t()?.narrow(1, 1, 1)?.reshape([SIZE])?)?;
        bits.extend(row.read_blocking::<f32>()?.into_iter().map(f32::to_bits));
    }
    for weight in &weights {
        bits.extend(weight.read_blocking::<f32>()?.into_iter().map(f32::to_bits));
    }
    Ok(bits)
}

#[test]
fn a_program_over_more_than_fits_computes_the_same_bits() -> Outcome {
    for (gpu, reference) in devices().into_iter().zip(devices()) {
        let name = wgpu_pool::DeviceResources::name(&gpu);
        let wanted = program(&Pool::new(reference, options())?)?;
        let pool = spilling(gpu, 5)?;
        let found = program(&pool)?;
        assert!(found == wanted, "{name}: spilling changed bits");
        let stats = pool.spill_stats();
        assert!(stats.blocks_out > 6 && stats.blocks_in > 6 && stats.stalls > 6, "{name}: {stats:?}");
        assert_consistent(&pool);
    }
    Ok(())
}

/// A step on images of which each plane exceeds a block of 4 KiB.
fn step(pool: &Pool, seed: u64) -> Result<Vec<u32>, Box<dyn std::error::Error>> {
    let x = Tensor::randn(pool, [2, 2, 65, 41], seed)?;
    let resized = x.upsample_bilinear([101, 33], Corners::Outer)?;
    let window = MaxPool2d { kernel_size: [3, 3], stride: [2, 2], padding: 1.into(), ..MaxPool2d::new(3) };
    let (largest, places) = resized.max_pool2d_with_indices(window)?;
    let gradient = largest.max_pool2d_backward(&places, resized.shape(), window)?;
    let folded = x.unfold(Unfold::new(2))?.fold([65, 41], Unfold::new(2))?;
    let sums = gradient.upsample_bilinear_backward([65, 41], Corners::Outer)?.add(&folded)?.softmax(3)?;
    let weight = Tensor::randn(pool, [3, 2, 3, 3], seed + 1)?;
    let convolved = x.conv2d(&weight, None, Conv2d { padding: Padding::all(1), ..Conv2d::default() })?.amax([1])?;
    let mut found = sums.read_blocking::<f32>()?;
    found.extend(convolved.read_blocking::<f32>()?);
    Ok(found.into_iter().map(f32::to_bits).collect())
}

#[test]
fn operations_in_bands_compute_the_same_bits_in_less_memory_and_in_planned_steps() -> Outcome {
    let divided = PoolOptions { largest_block: Some(4 << 10), smallest_segment: Some(16 << 10), ..options() };
    let Some(gpu) = adapter::gpu() else { return Ok(()) };
    let pool = Pool::new(gpu, divided.clone())?;
    let (_, predicted) = pool.dry_run(|| step(&pool, 0).map(drop))?;
    let wanted = (0..4).map(|seed| step(&pool, seed)).collect::<Result<Vec<_>, _>>()?;
    assert_eq!(predicted.requested_peak().bytes, pool.stats().requested.peak);
    let limit = Some(pool.stats().reserved.peak / 3);
    for gpu in devices() {
        let name = wgpu_pool::DeviceResources::name(&gpu);
        let pool = Pool::new(gpu, PoolOptions { limit, spill: Some(u64::MAX), ..divided.clone() })?;
        let planned = pool.repeat(RepeatOptions::default());
        for (seed, wanted) in (0..).zip(&wanted) {
            let found = if seed == 0 { step(&pool, seed) } else { planned.run(|| step(&pool, seed))? };
            assert!(&found? == wanted, "{name}: step {seed} has other bits");
            assert_consistent(&pool);
        }
        assert!(pool.spill_stats().blocks_out > 20, "{name}: {:?}", pool.spill_stats());
        drop(planned);
        pool.trim();
        assert_eq!((pool.stats().requested.current, pool.spill_stats().host), (0, 0), "{name}");
    }
    Ok(())
}

#[test]
fn views_share_the_place_of_their_storage() -> Outcome {
    for gpu in devices() {
        let pool = spilling(gpu, 8)?;
        let matrix = Tensor::arange(&pool, SIZE * SIZE, 0.0_f32, 1.0)?.reshape([SIZE, SIZE])?;
        let view = matrix.narrow(1, 2, 3)?;
        matrix.keep_on_device()?;
        view.offload()?;
        assert_eq!((matrix.residence(), view.residence()), (Residence::Host, Residence::Host));
        let column = view.select(1, 0)?.read_blocking::<f32>()?;
        assert_eq!(column[..3], [2.0, 66.0, 130.0]);
        assert_eq!((matrix.residence(), view.residence()), (Residence::Device, Residence::Device));
        let weak = matrix.downgrade();
        matrix.offload()?;
        assert!(weak.upgrade().is_some_and(|tensor| tensor.residence() == Residence::Host));
        // In place, on the first use after the move.
        view.mul_(0.0)?;
        assert_eq!(matrix.read_blocking::<f32>()?[..6], [0.0, 1.0, 0.0, 0.0, 0.0, 5.0]);
    }
    Ok(())
}

/// A user's kernel over three tensors.
const SUM: &str = "
    @group(0) @binding(0) var<storage, read_write> a: array<f32>;
    @group(0) @binding(1) var<storage, read_write> b: array<f32>;
    @group(0) @binding(2) var<storage, read_write> sum: array<f32>;

    @compute @workgroup_size(64)
    fn add(@builtin(global_invocation_id) id: vec3<u32>) {
        if id.x < arrayLength(&sum) { sum[id.x] = a[id.x] + b[id.x]; }
    }";

#[test]
fn a_kernel_whose_tensors_exceed_the_limit_is_refused_with_the_numbers() -> Outcome {
    for gpu in devices() {
        let pool = spilling(gpu, 2)?;
        let kernel = pool.kernel(SUM, "add")?;
        let tensors = (0..3).map(|seed| Tensor::rand(&pool, [SIZE, SIZE], seed)).collect::<Result<Vec<_>, _>>()?;
        let [a, b, sum] = &tensors[..] else { return Err("three tensors".into()) };
        let before = tensors.iter().map(Tensor::read_blocking::<f32>).collect::<Result<Vec<_>, _>>()?;
        let dispatch = || kernel.dispatch(&[a, b, sum], &[], [64, 1, 1]);
        let Err(KernelError::Device(DeviceError::WorkingSet(set))) = dispatch() else {
            return Err("there is room for two tensors".into());
        };
        assert_eq!((set.bytes, set.missing, set.limit), (3 * BYTES, BYTES, Some(2 * BYTES)), "{set}");
        assert!(set.to_string().ends_with("; raise the limit, or divide the command"), "{set}");
        for (tensor, before) in tensors.iter().zip(&before) {
            assert_eq!(&tensor.read_blocking::<f32>()?, before);
        }
        pool.set_limit(Some(3 * BYTES));
        dispatch()?;
        let wanted: Vec<f32> = before[0].iter().zip(&before[1]).map(|(a, b)| a + b).collect();
        assert_eq!(sum.read_blocking::<f32>()?, wanted);
        assert_consistent(&pool);
    }
    Ok(())
}

#[test]
fn a_tensor_without_elements_has_a_place() -> Outcome {
    for gpu in devices() {
        let pool = spilling(gpu, 2)?;
        let empty = Tensor::zeros(&pool, [0, 3], DType::F32)?;
        empty.offload()?;
        empty.prefetch()?;
        assert_eq!(empty.residence(), Residence::Device);
    }
    Ok(())
}

/// One call of an optimizer takes all parameters of a model. Those of one parameter have to fit.
#[test]
fn an_optimizer_steps_over_more_parameters_than_fit() -> Outcome {
    let train = |pool: &Pool| -> Result<Vec<Vec<f32>>, Box<dyn std::error::Error>> {
        // Every parameter: the value, the gradient and two averages.
        let random = |seed| Tensor::randn(pool, [SIZE, SIZE], seed);
        let zeros = || Tensor::zeros(pool, [SIZE, SIZE], DType::F32);
        let models = (0..7).map(|seed| Ok([random(seed)?, random(seed + 10)?, zeros()?, zeros()?]));
        let models = models.collect::<Result<Vec<_>, wgpu_pool::TensorError>>()?;
        let parameters = models.iter().map(|[x, gradient, mean, mean_square]| AdamWParameter {
            value: x,
            gradient,
            mean,
            mean_square,
        });
        let parameters: Vec<_> = parameters.collect();
        for step in 1..4 {
            AdamW::default().step(step, &parameters)?;
        }
        Ok(models.iter().flatten().map(Tensor::read_blocking::<f32>).collect::<Result<_, _>>()?)
    };
    for matrices in [4, 5, 9, 13] {
        for (gpu, reference) in devices().into_iter().zip(devices()) {
            let wanted = train(&Pool::new(reference, options())?)?;
            let pool = spilling(gpu, matrices)?;
            assert!(train(&pool)? == wanted, "{matrices} matrices fit: spilling changed bits");
            assert_consistent(&pool);
        }
    }
    for gpu in devices() {
        // One parameter alone does not fit.
        let refused = train(&spilling(gpu, 3)?).expect_err("a parameter has four tensors");
        assert!(refused.to_string().contains("the tensors of one command take 64.0 KiB"), "{refused}");
    }
    Ok(())
}

/// A dry run of a step that is served in parts fits, and one of a parameter that cannot be divided does not.
#[test]
fn a_dry_run_of_an_optimizer_fits_if_the_tensors_of_each_parameter_do() -> Outcome {
    for (matrices, fits) in [(3, false), (4, true), (9, true)] {
        let (device, queue) = adapter::noop();
        let limit = Some(matrices * BYTES);
        let limited = PoolOptions { limit, smallest_segment: Some(BYTES), spill: Some(u64::MAX), ..options() };
        let pool = Pool::from_device(device, queue, limited)?;
        let (done, dry_run) = pool.dry_run(|| {
            let zeros = || Tensor::zeros(&pool, [SIZE, SIZE], DType::F32);
            let models = (0..7).map(|_| Ok([zeros()?, zeros()?, zeros()?, zeros()?]));
            let models = models.collect::<Result<Vec<_>, wgpu_pool::TensorError>>()?;
            let parameters = models.iter().map(|[x, gradient, mean, mean_square]| AdamWParameter {
                value: x,
                gradient,
                mean,
                mean_square,
            });
            AdamW::default().step(1, &parameters.collect::<Vec<_>>())
        })?;
        assert_eq!((done.is_ok(), dry_run.fits()), (fits, fits), "{matrices} matrices fit: {done:?}");
        // A command after the optimizer is not divided.
        let copied = || -> Result<(), wgpu_pool::Error> {
            let (from, to) = (pool.allocate(6 * BYTES)?, pool.allocate(6 * BYTES)?);
            Ok(from.copy_to(&to)?)
        };
        let (copied, dry_run) = pool.dry_run(copied)?;
        assert!(copied.is_err() && !dry_run.fits(), "{copied:?}");
    }
    Ok(())
}

/// A tensor that is refused before the pool is asked.
#[test]
fn a_tensor_above_the_largest_number_of_blocks_does_not_fit() -> Outcome {
    let (device, queue) = adapter::noop();
    let pool = Pool::from_device(device, queue, PoolOptions { largest_block: Some(4096), ..options() })?;
    let found = pool.max_batch(1..=1 << 20, |n| Tensor::empty(&pool, [n, 1 << 20], DType::F32))?;
    assert_eq!(found.largest, Some(3), "4,096 blocks of 4 KiB are 16 MiB, and are refused");
    let (refused, dry_run) = pool.dry_run(|| Tensor::empty(&pool, [4, 1 << 20], DType::F32))?;
    let refusal = dry_run.refusal().ok_or("the tensor is refused")?;
    assert_eq!(refused.err().map(|error| error.to_string()), Some(refusal.error.to_string()));
    assert!(refusal.site.as_ref().is_some_and(|site| site.file.ends_with("spill_tensors.rs")), "{refusal:?}");
    Ok(())
}
