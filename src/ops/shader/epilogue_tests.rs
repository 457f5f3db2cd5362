//! The epilogue of a matrix product, in a kernel of its own: it stores, adds the bias and applies the activation,
//! without the loops of the product. Mesa's software GL compiles it at once, and takes 20 seconds for a matrix product.

use super::*;
use crate::device::{DeviceResources, Gpu, GpuOptions};
use crate::error::TensorError;
use crate::ops::activation::Activation;
use crate::ops::launch::{launch, with_gpu};
use crate::ops::placed::Placed;
use crate::pool::{Pool, PoolOptions};
use crate::tensor::Tensor;
use half::f16;
use std::sync::LazyLock;

const NAME: &str = "epilogue";

/// Replaces the kernel's entry point: each invocation takes an element of the left operand for the accumulator of its row.
const ENTRY: &str = "
@compute @workgroup_size(64)
fn epilogue(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.rows {
        store(0u, id.x, 0u, vec4(Number(left[id.x])));
    }
}
";

/// The files of a product up to its entry point.
fn shader() -> Shader {
    let file = include_str!("../../../shaders/matmul.wgsl");
    let entry = file.find("@compute").expect("the kernel has an entry point");
    let parts = Box::leak(Box::new([&file[..entry], ENTRY, EPILOGUE, ACTIVATION]));
    Shader::new(NAME, parts)
}

static SHADER: LazyLock<Shader> = LazyLock::new(shader);

fn epilogue(x: &Tensor, bias: Option<&Tensor>, activation: Activation) -> Result<Tensor, TensorError> {
    let rows = u32::try_from(x.elements()).expect("few");
    let output = Tensor::zeros(&x.pool(), x.shape(), x.dtype())?;
    let operation = activation.on(NAME, x.dtype())?;
    let variant = Variant { operation, bias: bias.is_some(), ..Variant::plain(x.dtype()) };
    let program = with_gpu(&output, |gpu| SHADER.program(gpu, variant))?;
    // The right operand, which the kernel binds and does not read.
    let right = Tensor::zeros(&x.pool(), [4], x.dtype())?;
    let bound = [Some(&output), Some(x), Some(&right), bias].into_iter().flatten();
    let bound = bound.map(|tensor| Placed::of(tensor).bind_whole(NAME)).collect::<Result<Vec<_>, _>>()?;
    // Rows and columns; all offsets, and the flag for adding to the output, are 0.
    let mut params = [0_u32; 16];
    (params[0], params[1]) = (rows, 1);
    launch(NAME, &program, &bound, bytemuck::bytes_of(&params), [rows.div_ceil(64), 1, 1], 0)?;
    Ok(output)
}

/// Pools on the best adapter and, if that is another, on GL.
fn pools() -> impl Iterator<Item = Pool> {
    let on = |backends| pollster::block_on(Gpu::open(&GpuOptions { backends, ..GpuOptions::default() })).ok();
    let backend = |gpu: &Gpu| gpu.adapter_info().backend;
    let best = on(wgpu::Backends::all());
    let gl = on(wgpu::Backends::GL).filter(|gl| best.as_ref().is_some_and(|best| backend(best) != backend(gl)));
    [best, gl].into_iter().flatten().map(|gpu| Pool::new(gpu, PoolOptions::default()).expect("valid options"))
}

/// Special values, and ordinary ones between them.
fn values() -> Vec<f32> {
    let special = [
        f32::NAN,
        -f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        0.0,
        -0.0,
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE,
        -f32::MIN_POSITIVE,
        65_504.0,
        -65_504.0,
        6.103_515_6e-5,
        -88.8,
        88.8,
        -104.0,
    ];
    special.into_iter().chain((-80_i16..80).map(|step| f32::from(step) * 0.17)).collect()
}

/// Equal within two units in the last place; subnormal numbers may be flushed to 0. Drivers may contract operations of
/// the two kernels differently.
fn is_same(found: f32, wanted: f32, dtype: DType) -> bool {
    let unit = if dtype == DType::F16 { 2.0_f32.powi(-10) } else { f32::EPSILON };
    let least = if dtype == DType::F16 { f16::MIN_POSITIVE.to_f32() } else { f32::MIN_POSITIVE };
    found == wanted
        || (found.is_nan() && wanted.is_nan())
        || (found - wanted).abs() <= (2.0 * unit * wanted.abs()).max(least)
}

#[test]
fn activations_at_the_end_of_a_product_are_the_operations_of_their_names_for_special_values() -> Result<(), TensorError>
{
    let values = values();
    for pool in pools() {
        for dtype in [DType::F32, DType::F16] {
            // Not every device has f16.
            let Ok(x) = Tensor::from_slice(&pool, &values, [values.len()])?.to(dtype) else { continue };
            for bias in [None, Some(-1.5_f32), Some(f32::INFINITY), Some(f32::NAN)] {
                let bias = bias.map(|bias| Tensor::full(&pool, [1], bias)?.to(dtype)).transpose()?;
                let mut sum = x.to(DType::F32)?;
                if let Some(bias) = &bias {
                    sum = sum.add(&bias.to(DType::F32)?)?;
                }
                for activation in Activation::ALL {
                    let wanted = activation.apply(&sum)?.to(dtype)?.to(DType::F32)?.read_blocking::<f32>()?;
                    let found = epilogue(&x, bias.as_ref(), activation)?.to(DType::F32)?.read_blocking::<f32>()?;
                    for ((x, &found), &wanted) in values.iter().zip(&found).zip(&wanted) {
                        let what = format!("{activation:?} of {dtype} and {bias:?} on {}", pool.memory().name());
                        assert!(is_same(found, wanted, dtype), "{what}: of {x} {found}, not {wanted}");
                    }
                }
            }
        }
    }
    Ok(())
}
