//! f16.
//!
//! Operations on f16 are computed in f32 and rounded once: each result must be one of the two f16 numbers adjacent to the f32
//! result, which other tests compare with the float64 model. Which of the two depends on the device.

mod arithmetic;
mod cooperative;

use crate::common::adapter::has_f16;
use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use wgpu_pool::{DType, KernelError, Pool, Tensor, TensorError, f16};

pub(crate) fn pools() -> impl Iterator<Item = &'static Pool> {
    adapter::all_shared().filter(|pool| has_f16(pool))
}

/// Numbers of a few units, which f16 has.
fn some(pool: &Pool, shape: &[usize], random: &mut Random) -> Result<Tensor, TensorError> {
    let elements: Vec<f16> = (0..shape.iter().product()).map(|_| f16::from_f32(random.real() * 4.0)).collect();
    Tensor::from_slice(pool, &elements, shape)
}

/// Returns every f16 number.
fn every(pool: &Pool, shape: &[usize]) -> Result<Tensor, TensorError> {
    Tensor::from_slice(pool, &every_element(), shape)
}

fn every_element() -> Vec<f16> {
    (0..=u16::MAX).map(f16::from_bits).collect()
}

/// The numbers of f16 below and above, itself if it is one.
pub(crate) fn neighbours(number: f32) -> [f32; 2] {
    let nearest = f16::from_f32(number);
    let towards = |up: bool| {
        let bits = nearest.to_bits();
        let grows = up != nearest.is_sign_negative();
        match (bits & 0x7fff, grows) {
            (0x7c00, true) => nearest,
            (0, false) => f16::from_bits(0x0001 | if up { 0 } else { 0x8000 }),
            (_, true) => f16::from_bits(bits + 1),
            (_, false) => f16::from_bits(bits - 1),
        }
    };
    let nearest = nearest.to_f32();
    if nearest < number {
        [nearest, towards(true).to_f32()]
    } else if nearest > number {
        [towards(false).to_f32(), nearest]
    } else {
        [nearest; 2]
    }
}

/// Compares a result with the result of the same operation on f32, within `roundings` f16 numbers.
#[track_caller]
fn assert_rounded(found: &Tensor, wanted: &Tensor, roundings: usize, what: &str) {
    assert_eq!(found.shape(), wanted.shape(), "{what}");
    assert_eq!((found.dtype(), wanted.dtype()), (DType::F16, DType::F32), "{what}");
    let (found, wanted) = (found.read_blocking::<f16>(), wanted.read_blocking::<f32>());
    let (found, wanted) = (found.expect("it can be read"), wanted.expect("it can be read"));
    for (at, (found, &wanted)) in found.iter().zip(&wanted).enumerate() {
        let [mut low, mut high] = neighbours(wanted);
        for _ in 1..roundings {
            let step = (wanted.abs() * 0.001).max(6e-8);
            (low, high) = (low - step, high + step);
        }
        let found = found.to_f32();
        let is_right = (found.is_nan() && wanted.is_nan()) || (low..=high).contains(&found);
        assert!(is_right, "{what}: {found} at {at}, of {wanted}, between {low} and {high}");
    }
}

/// Runs an operation on tensors of f16 and on the same numbers as f32.
#[track_caller]
fn on_both(
    what: &str,
    operands: &[&Tensor],
    roundings: usize,
    operation: impl Fn(&[&Tensor]) -> Result<Tensor, TensorError>,
) -> Outcome {
    let wide: Result<Vec<Tensor>, TensorError> = operands
        .iter()
        .map(|operand| if operand.dtype() == DType::F16 { operand.to(DType::F32) } else { Ok((*operand).clone()) })
        .collect();
    let wide = wide?;
    let wide: Vec<&Tensor> = wide.iter().collect();
    assert_rounded(&operation(operands)?, &operation(&wide)?, roundings, what);
    Ok(())
}

#[test]
fn every_number_goes_into_f32_as_it_is_and_comes_back() -> Outcome {
    for pool in pools() {
        let halves = every(pool, &[1 << 16])?;
        let wide = halves.to(DType::F32)?;
        for (bits, &found) in (0..=u16::MAX).zip(&wide.read_blocking::<f32>()?) {
            let wanted = f16::from_bits(bits).to_f32();
            assert!(found.to_bits() == wanted.to_bits() || (found.is_nan() && wanted.is_nan()), "{bits:#x}: {found}");
        }
        let back = wide.to(DType::F16)?.read_blocking::<f16>()?;
        for (bits, found) in (0..=u16::MAX).zip(back) {
            let is_nan = f16::from_bits(bits).is_nan();
            assert!(found.to_bits() == bits || (is_nan && found.is_nan()), "{bits:#x} came back as {found:?}");
        }
    }
    Ok(())
}

#[test]
fn casts_round_to_a_neighbour_and_cut_integers_off() -> Outcome {
    let mut random = Random::new(161);
    for pool in pools() {
        let wide = Tensor::randn(pool, [10_000], 7)?.mul(300.0_f32)?;
        assert_rounded(&wide.to(DType::F16)?, &wide, 1, "from f32");
        let beyond = [65_504.0_f32, 1e6, -1e6, f32::INFINITY, f32::NEG_INFINITY, 1e-9, -1e-9];
        let found = Tensor::from_slice(pool, &beyond, [7])?.to(DType::F16)?.read_blocking::<f16>()?;
        let least = f16::from_bits(1).to_f32();
        assert_eq!(found[0].to_f32(), 65_504.0);
        assert!(found[1].to_f32() >= 65_504.0 && found[2].to_f32() <= -65_504.0, "{found:?}");
        assert_eq!([found[3], found[4]], [f16::INFINITY, f16::NEG_INFINITY]);
        assert!(found[5].to_f32().abs() <= least && found[6].to_f32().abs() <= least, "{found:?}");

        let whole: Vec<f16> = (0..1000).map(|_| f16::from_f32(random.real() * 2000.0)).collect();
        let halves = Tensor::from_slice(pool, &whole, [1000])?;
        #[expect(clippy::cast_possible_truncation, reason = "cut off towards zero, as the device does")]
        let wanted: Vec<i32> = whole.iter().map(|x| x.to_f32() as i32).collect();
        assert_eq!(halves.to(DType::I32)?.read_blocking::<i32>()?, wanted);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut off, as the device does")]
        let wanted: Vec<u32> = whole.iter().map(|x| x.to_f32() as u32).collect();
        assert_eq!(halves.to(DType::U32)?.read_blocking::<u32>()?, wanted);
        let integers = Tensor::arange(pool, 2049, -1024_i32, 1_i32)?;
        let back = integers.to(DType::F16)?.to(DType::I32)?.read_blocking::<i32>()?;
        assert_eq!(back, (-1024..=1024).collect::<Vec<_>>());
        let found = Tensor::from_slice(pool, &[0_u32, 7, 2048, 60_000], [4])?.to(DType::F16)?.read_blocking::<f16>()?;
        assert_eq!(found, [0.0, 7.0, 2048.0, 60_000.0].map(f16::from_f32));
    }
    Ok(())
}

#[test]
fn moving_elements_changes_none_of_their_bits() -> Outcome {
    let bits = |tensor: &Tensor| -> Result<Vec<u16>, TensorError> {
        Ok(tensor.read_blocking::<f16>()?.into_iter().map(f16::to_bits).collect())
    };
    for pool in pools() {
        let all = every(pool, &[256, 256])?;
        let wanted: Vec<u16> = (0..=u16::MAX).collect();
        assert_eq!(bits(&all.copied()?)?, wanted, "flat");
        assert_eq!(bits(&all.t()?.contiguous()?.t()?.contiguous()?)?, wanted, "in tiles");
        // Rows of an odd number, at odd places: no two of them lie alike in their words.
        for start in 0..3 {
            let part = all.narrow(1, start, 251)?;
            let cut: Vec<u16> = wanted.chunks(256).flat_map(|row| row[start..start + 251].iter().copied()).collect();
            assert_eq!(bits(&part)?, cut, "read from {start}");
            assert_eq!(bits(&part.contiguous()?)?, cut, "copied from {start}");
            let whole = Tensor::full(pool, [256, 257], f16::ONE)?;
            whole.narrow(1, start, 251)?.copy_(&part)?;
            let written = bits(&whole)?;
            for (row, cut) in written.chunks(257).zip(cut.chunks(251)) {
                assert_eq!(&row[start..start + 251], cut);
                assert!(row[..start].iter().chain(&row[start + 251..]).all(|&one| one == f16::ONE.to_bits()));
            }
        }
        assert_eq!(bits(&Tensor::cat(&[&all.narrow(0, 0, 7)?, &all.narrow(0, 7, 249)?], 0)?)?, wanted, "cat");
        let odd = Tensor::from_slice(pool, &every_element()[..7], [7])?;
        assert_eq!(bits(&odd)?, wanted[..7]);
        assert_eq!(bits(&odd.narrow(0, 3, 3)?)?, wanted[3..6]);
        assert_eq!(bits(&odd.narrow(0, 6, 1)?)?, wanted[6..7]);
        assert_eq!(bits(&Tensor::zeros(pool, [5], DType::F16)?)?, [0; 5]);
        assert_eq!(odd.into_host_blocking::<f16>()?.elements.len(), 7);
    }
    Ok(())
}

#[test]
fn lookups_move_halves_and_add_to_one_of_a_word() -> Outcome {
    let mut random = Random::new(168);
    for pool in pools() {
        let table = every(pool, &[256, 256])?;
        let index: Vec<u32> = (0..500).map(|_| u32::try_from(random.below(256)).expect("below 256")).collect();
        let index = Tensor::from_slice(pool, &index, [500])?;
        let found = table.index_select(1, &index)?.read_blocking::<f16>()?;
        let (columns, all) = (index.read_blocking::<u32>()?, every_element());
        for (row, found) in found.chunks(500).enumerate() {
            for (found, &column) in found.iter().zip(&columns) {
                assert_eq!(found.to_bits(), all[row * 256 + column as usize].to_bits());
            }
        }
        // Halves of one word are added to by many invocations at once; the sums are whole, so that they are exact in any order.
        let source = Tensor::full(pool, [3, 500], f16::ONE)?;
        let sums = Tensor::full(pool, [3, 257], f16::from_f32(0.5))?;
        sums.index_add_(1, &index, &source)?;
        let mut wanted = vec![0.5_f32; 257];
        columns.iter().for_each(|&column| wanted[column as usize] += 1.0);
        for row in sums.read_blocking::<f16>()?.chunks(257) {
            assert_eq!(row, wanted.iter().map(|&sum| f16::from_f32(sum)).collect::<Vec<_>>());
        }
    }
    Ok(())
}

#[test]
fn tensors_are_made_of_halves_from_nothing() -> Outcome {
    for pool in pools() {
        let steps = Tensor::arange(pool, 1001, f16::from_f32(-3.0), f16::from_f32(0.25))?;
        let wanted: Vec<f16> = (0..1001_u16).map(|step| f16::from_f32(f32::from(step) * 0.25 - 3.0)).collect();
        assert_eq!(steps.read_blocking::<f16>()?, wanted);
        let filled = Tensor::full(pool, [3, 5], f16::MAX)?;
        filled.narrow(1, 1, 3)?.fill_(1.5_f32)?;
        let row = [f16::MAX, f16::from_f32(1.5), f16::from_f32(1.5), f16::from_f32(1.5), f16::MAX];
        assert_eq!(filled.read_blocking::<f16>()?, row.repeat(3));
    }
    Ok(())
}

#[test]
fn users_kernels_take_halves_as_tensors_and_as_scalars() -> Outcome {
    for pool in pools() {
        let scale = pool.kernel(
            "enable f16;
             @group(0) @binding(0) var<storage, read_write> x: array<f16>;
             struct Factors { before: f16, after: f16, more: f32 }
             @group(1) @binding(0) var<uniform> factors: Factors;
             @compute @workgroup_size(64)
             fn scale(@builtin(global_invocation_id) id: vec3<u32>) {
                 if id.x < 7u { x[id.x] = x[id.x] * factors.before + factors.after + f16(factors.more); }
             }",
            "scale",
        )?;
        let x = Tensor::full(pool, [7], f16::from_f32(3.0))?;
        let wanted = f16::from_f32(3.0 * 0.5 + 0.25 + 2.0);
        scale.dispatch(&[&x], &[f16::from_f32(0.5).into(), f16::from_f32(0.25).into(), 2.0_f32.into()], [1; 3])?;
        assert_eq!(x.read_blocking::<f16>()?, [wanted; 7]);
        let wide = Tensor::zeros(pool, [7], DType::F32)?;
        let refused = scale.dispatch(&[&wide], &[f16::ONE.into(), f16::ONE.into(), 2.0_f32.into()], [1; 3]);
        assert!(matches!(refused, Err(KernelError::Kind { .. })), "{refused:?}");
        let refused = scale.dispatch(&[&x], &[1.0_f32.into(), f16::ONE.into(), 2.0_f32.into()], [1; 3]);
        assert!(matches!(refused, Err(KernelError::ParameterKind { .. })), "{refused:?}");
    }
    Ok(())
}

#[test]
fn a_device_without_halves_refuses_them_by_name() {
    // New pools: other tests change the counters of shared ones.
    for pool in
        &adapter::fresh().into_iter().chain(adapter::fresh_gl()).filter(|pool| !has_f16(pool)).collect::<Vec<_>>()
    {
        let before = pool.stats().blocks.current;
        let refused = [
            Tensor::zeros(pool, [3], DType::F16),
            Tensor::full(pool, [3], f16::ONE),
            Tensor::full(pool, [3], 1.0_f32).and_then(|wide| wide.to(DType::F16)),
        ];
        for refused in refused {
            assert!(matches!(refused, Err(TensorError::Unsupported { dtype: "f16", .. })), "{refused:?}");
        }
        assert_eq!(pool.stats().blocks.current, before);
    }
}

#[test]
fn other_dtypes_are_refused_where_nothing_promotes_them() -> Outcome {
    for pool in pools() {
        let (half, whole) = (Tensor::full(pool, [3], f16::ONE)?, Tensor::full(pool, [3], 1.0_f32)?);
        assert!(matches!(half.matmul(&whole), Err(TensorError::DType { dtype: "f32", by_dtype: "f16", .. })));
        assert!(matches!(half.read_blocking::<f32>(), Err(TensorError::DType { .. })));
    }
    Ok(())
}

/// A binding is a multiple of four bytes: a kernel that fills it to its `arrayLength` would write one element behind such a view.
#[test]
fn a_kernel_that_writes_a_view_of_an_odd_number_of_halves_never_writes_behind_it() -> Outcome {
    let descriptor =
        wgpu::DeviceDescriptor { required_features: wgpu::Features::SHADER_F16, ..wgpu::DeviceDescriptor::default() };
    let (device, queue) = wgpu::Device::noop(&descriptor);
    let without_driver = Pool::from_device(device, queue, crate::common::options())?;
    for pool in &pools().cloned().chain([without_driver]).collect::<Vec<_>>() {
        let kernel = |body: &str| {
            let head = "enable f16;
                @group(0) @binding(0) var<storage, read_write> x: array<f16>;
                @group(0) @binding(1) var<storage, read_write> y: array<f16>;
                @compute @workgroup_size(64) fn run(@builtin(local_invocation_index) i: u32)";
            pool.kernel(&format!("{head} {{ {body} }}"), "run")
        };
        let fill = kernel("if i < arrayLength(&x) { x[i] = y[0]; }")?;
        let all = Tensor::full(pool, [31], f16::ONE)?;
        let value = Tensor::full(pool, [1], f16::from_f32(2.0))?;
        let refused = fill.dispatch(&[&all.narrow(0, 0, 7)?, &value], &[], [1; 3]);
        assert!(
            matches!(&refused, Err(KernelError::HalfUnit { binding: 0, name, elements: 7, bytes: 14, unit: 4 }) if name == "x"),
            "{refused:?}"
        );
        // What is only read, an even number, and a view that ends with its memory are all right.
        fill.dispatch(&[&all.narrow(0, 0, 6)?, &value], &[], [1; 3])?;
        fill.dispatch(&[&Tensor::full(pool, [7], f16::ONE)?, &all.narrow(0, 0, 1)?], &[], [1; 3])?;
        if pool.memory().adapter_info().backend != wgpu::Backend::Noop {
            let wanted: Vec<f16> = (0..31).map(|i| f16::from_f32(if i < 6 { 2.0 } else { 1.0 })).collect();
            assert_eq!(all.read_blocking::<f16>()?, wanted);
        }
    }
    Ok(())
}
