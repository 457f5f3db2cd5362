//! Seeded random tensors.

use super::launch::{check_floating_point, grid, index, iterations, launch, with_gpu, workgroup_size};
use super::placed::Placed;
use super::shader::{NORMAL, Shader, UNIFORM, Variant};
use crate::error::TensorError;
use crate::pool::Pool;
use crate::tensor::{DType, Part, Tensor};
use bytemuck::{Pod, Zeroable};

/// The parameters of `random.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Params {
    seed: [u32; 2],
    stream: [u32; 2],
    count: u32,
    offset: u32,
    first: [u32; 2],
    lead: u32,
    padding: u32,
}

impl Tensor {
    /// Creates a tensor of uniform numbers in [0, 1), of dtype f32: Philox4x32-10 of the element's index, with the seed
    /// as the key. The same seed gives bitwise the same numbers on every backend. Corresponds to `torch.rand` with a
    /// generator.
    ///
    /// # Errors
    /// As [`Tensor::empty`].
    #[track_caller]
    pub fn rand(pool: &Pool, shape: impl AsRef<[usize]>, seed: u64) -> Result<Self, TensorError> {
        random("rand", &UNIFORM, pool, shape.as_ref(), seed)
    }

    /// Creates a tensor of normal numbers with mean 0 and variance 1, of dtype f32, by the method of Box and Muller.
    /// The same seed gives bitwise the same numbers on every backend, because they are computed with integers.
    /// Corresponds to `torch.randn` with a generator.
    ///
    /// # Errors
    /// As [`Tensor::empty`].
    #[track_caller]
    pub fn randn(pool: &Pool, shape: impl AsRef<[usize]>, seed: u64) -> Result<Self, TensorError> {
        random("randn", &NORMAL, pool, shape.as_ref(), seed)
    }
}

impl Tensor {
    /// Creates a tensor of uniform numbers in [0, 1), as [`Tensor::rand`], with the shape, dtype and pool of this
    /// tensor. For f16 the f32 numbers are rounded, which may give 1. Equals `torch.rand_like`.
    ///
    /// # Errors
    /// [`TensorError::NotDefined`] of integers; as [`Tensor::empty`].
    #[track_caller]
    pub fn rand_like(&self, seed: u64) -> Result<Self, TensorError> {
        self.check_random("rand_like")?;
        random("rand_like", &UNIFORM, &self.pool(), self.shape(), seed)?.to(self.dtype())
    }

    /// Creates a tensor of normal numbers, as [`Tensor::randn`], with the shape, dtype and pool of this tensor. For f16
    /// the f32 numbers are rounded. Equals `torch.randn_like`.
    ///
    /// # Errors
    /// [`TensorError::NotDefined`] of integers; as [`Tensor::empty`].
    #[track_caller]
    pub fn randn_like(&self, seed: u64) -> Result<Self, TensorError> {
        self.check_random("randn_like")?;
        random("randn_like", &NORMAL, &self.pool(), self.shape(), seed)?.to(self.dtype())
    }

    fn check_random(&self, name: &'static str) -> Result<(), TensorError> {
        check_floating_point(name, ("input", self))
    }
}

#[track_caller]
fn random(name: &'static str, shader: &Shader, pool: &Pool, shape: &[usize], seed: u64) -> Result<Tensor, TensorError> {
    /// Elements that one invocation makes.
    const GROUP: u32 = 4;
    /// Ten rounds of Philox, and two roots of sixteen digits.
    const LOOPS: u64 = iterations(10, 0) + 2 * iterations(16, 0);
    let output = Tensor::empty(pool, shape, DType::F32)?;
    if output.elements() == 0 {
        return Ok(output);
    }
    let program = with_gpu(&output, |gpu| shader.program(gpu, Variant::plain(DType::F32)))?;
    // The number of an element depends on its index in the whole tensor.
    for Part { start, tensor: block } in output.reshape([output.elements()])?.parts() {
        let (next, elements) = (start[0] as u64, block.elements());
        let count = index(name, elements)?;
        let lead = u32::try_from(next % u64::from(GROUP)).expect("below four");
        let first = halves(next / u64::from(GROUP));
        let params = Params { seed: halves(seed), stream: [0; 2], count, offset: 0, first, lead, padding: 0 };
        let workgroups = grid(index(name, elements + lead as usize)?.div_ceil(GROUP).div_ceil(workgroup_size(&block)));
        let written = Placed::of(&block).bind_whole(name)?;
        launch(name, &program, &[written], bytemuck::bytes_of(&params), workgroups, LOOPS)?;
    }
    Ok(output)
}

/// The low and the high word.
fn halves(value: u64) -> [u32; 2] {
    bytemuck::cast(value.to_le_bytes())
}
