//! User kernels.

use super::compile::{check_nesting, check_text, guarded};
use super::reflect::{Interface, TensorSlot, reflect};
use crate::device::gpu::{Program, ProgramDescriptor};
use crate::device::{COPY_UNIT, DeviceStatus, Memory};
use crate::error::{Argument, DeviceError, KernelError, TensorError};
use crate::pool::{Pool, Storage, record};
use crate::tensor::{DType, Element, Tensor};

/// A scalar parameter of a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scalar {
    dtype: DType,
    /// The bytes, of which the dtype uses the first.
    bytes: [u8; 4],
}

impl<T: Element> From<T> for Scalar {
    fn from(value: T) -> Self {
        let mut bytes = [0; 4];
        let own = bytemuck::bytes_of(&value);
        bytes[..own.len()].copy_from_slice(own);
        Self { dtype: T::DTYPE, bytes }
    }
}

/// A user kernel, compiled for a pool. Created by [`Pool::kernel`].
///
/// The kernel can only access the range of each tensor: on no backend can it write to another block, or to elements
/// outside a view.
///
/// The size of a binding is a multiple of four bytes. Therefore `arrayLength` of an f16 tensor with an odd number of
/// elements is one larger; pass the number as a scalar if this matters. The additional element is padding at the end of
/// the tensor's memory. In the middle of a tensor it is the element after the view: the kernel may read it, and a
/// kernel that writes to the binding cannot be dispatched on such a view.
#[derive(Debug)]
pub struct Kernel {
    pool: Pool,
    program: Program,
    interface: Interface,
}

impl Pool {
    /// Compiles a compute shader.
    ///
    /// Tensors are the storage variables of group 0, from binding 0 on, all declared `var<storage, read_write>`. Scalar
    /// parameters are the members of one `var<uniform>` at group 1, binding 0.
    ///
    /// Limits of the text: 1 MiB, 1,000 nested brackets and `else` branches, 1,000 operators in an expression,
    /// 4,000 declarations, and 16,384 statements in a function; on the web and 32-bit targets 128 KiB, 100, 250, 1,000 and
    /// 4,096. A declaration with the structures and functions that it uses, each as often as it is used, has at most 4 Mi words
    /// (512 Ki). On a software driver, conditions and loops may be nested up to 64 deep. The shader is compiled on a separate
    /// thread with a large stack, for which this call waits; a panic of the compiler is returned as an error.
    ///
    /// # Errors
    /// [`KernelError::Compile`] with naga's message and the source line, or the limit that the text exceeds;
    /// [`KernelError::EntryPoint`], [`KernelError::Declaration`], [`KernelError::Device`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use wgpu_pool::{DType, Pool, PoolOptions, Tensor};
    ///
    /// let pool = Pool::request_blocking(PoolOptions::default())?;
    /// let scale = pool.kernel(
    ///     "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
    ///      @group(1) @binding(0) var<uniform> factor: f32;
    ///      @compute @workgroup_size(64)
    ///      fn scale(@builtin(global_invocation_id) id: vec3<u32>) {
    ///          if id.x < arrayLength(&x) { x[id.x] *= factor; }
    ///      }",
    ///     "scale",
    /// )?;
    /// let x = Tensor::full(&pool, [1000], 2.0_f32)?;
    /// scale.dispatch(&[&x], &[3.0_f32.into()], [1000_u32.div_ceil(64), 1, 1])?;
    /// assert_eq!(x.read_blocking::<f32>()?, vec![6.0; 1000]);
    /// # Ok::<(), wgpu_pool::Error>(())
    /// ```
    pub fn kernel(&self, wgsl: &str, entry: &str) -> Result<Kernel, KernelError> {
        check_text(wgsl)?;
        // The text is parsed twice: here by naga, and by the device.
        let compile = || {
            let interface = reflect(wgsl, entry)?;
            check_nesting(interface.nesting, self.memory().is_software())?;
            let program = self.memory().program(&ProgramDescriptor {
                label: entry,
                source: wgsl,
                entry,
                tensors: interface.tensors.len(),
                parameter_bytes: interface.scalar_bytes,
                // wgpu's feature for immediates does not include f16.
                immediates: interface.scalars.iter().all(|scalar| scalar.dtype != DType::F16),
                zeroes_workgroup_memory: true,
            })?;
            Ok((interface, program))
        };
        let (interface, program) = self.memory().wait_for_thread(|| guarded(compile))?;
        Ok(Kernel { pool: self.clone(), program, interface })
    }

    /// Compiles a WGSL entry point, and returns the kernel when the device has accepted it, for which it waits asynchronously.
    ///
    /// On native targets this is [`Pool::kernel`], which returns the answer. Browsers compile the shader later and by stricter rules than naga:
    /// a kernel that only the browser refuses is an error here, and a [`Fault`](crate::Fault) of the pool after
    /// [`Pool::kernel`].
    ///
    /// # Errors
    /// As [`Pool::kernel`]; [`DeviceError::Validation`] with the browser's message.
    pub async fn kernel_accepted(&self, wgsl: &str, entry: &str) -> Result<Kernel, KernelError> {
        let (kernel, answer) = self.memory().defer_refusals(|| self.kernel(wgsl, entry));
        let kernel = kernel?;
        answer.await.map_err(TensorError::from)?;
        Ok(kernel)
    }
}

/// The range of a tensor in its storage, in bytes.
#[derive(Clone, Copy, Debug)]
struct Bound<'a> {
    storage: &'a Storage,
    offset: u64,
    size: u64,
}

impl Bound<'_> {
    fn overlaps(&self, other: &Self) -> bool {
        self.storage.is_same(other.storage)
            && self.offset < other.offset + other.size
            && other.offset < self.offset + self.size
    }
}

impl Kernel {
    /// Returns the workgroup size that the shader declares, in each dimension.
    #[must_use]
    pub fn workgroup_size(&self) -> [u32; 3] {
        self.interface.workgroup_size
    }

    /// Records a dispatch of `workgroups` workgroups, with a tensor for each binding and a scalar for each member of
    /// the uniform, in order. Tensors must be contiguous. Waits as [`Storage::write`](crate::Storage::write), and for no
    /// execution.
    ///
    /// # Errors
    /// [`KernelError`], with the binding or parameter that does not match its declaration. Then no command is recorded.
    pub fn dispatch(&self, tensors: &[&Tensor], scalars: &[Scalar], workgroups: [u32; 3]) -> Result<(), KernelError> {
        let bound = self.bind(tensors)?;
        self.check_overlaps(&bound)?;
        let parameters = self.parameters(scalars)?;
        let limit = self.pool.memory().device().limits().max_compute_workgroups_per_dimension;
        if workgroups.iter().any(|&count| count > limit) {
            return Err(KernelError::Workgroups { given: workgroups, limit });
        }
        if workgroups.contains(&0) {
            return Ok(());
        }
        let storages: Vec<_> = bound.iter().map(|tensor| tensor.storage).collect();
        record(&storages, |commands, places| {
            let parts: Result<Vec<_>, DeviceError> =
                places.iter().zip(&bound).map(|(place, tensor)| place.part(tensor.offset, tensor.size)).collect();
            commands.dispatch(&self.program, &parts?, &parameters, workgroups)
        })?;
        Ok(())
    }

    fn bind<'a>(&self, tensors: &[&'a Tensor]) -> Result<Vec<Bound<'a>>, KernelError> {
        let slots = &self.interface.tensors;
        if tensors.len() != slots.len() {
            return Err(KernelError::TensorCount { wanted: slots.len(), given: tensors.len() });
        }
        let numbered = slots.iter().zip(tensors).enumerate();
        numbered.map(|(binding, (slot, tensor))| self.bind_one(binding, slot, tensor)).collect()
    }

    fn bind_one<'a>(&self, binding: usize, slot: &TensorSlot, tensor: &'a Tensor) -> Result<Bound<'a>, KernelError> {
        let name = || slot.name.clone();
        let argument = Argument::Nth { name: "tensor", index: binding };
        if !tensor.any_storage().is_of(&self.pool) {
            return Err(TensorError::Pools { operation: "dispatch", argument, by: "kernel".into() }.into());
        }
        if let Some(dtype) = slot.dtype.filter(|&dtype| dtype != tensor.dtype()) {
            let (wanted, given) = (dtype.to_string(), tensor.dtype().name());
            return Err(KernelError::Kind { binding, name: name(), wanted, given });
        }
        if !tensor.is_contiguous() {
            let (shape, strides) = (tensor.shape().to_vec(), tensor.strides().to_vec());
            return Err(TensorError::NotContiguous { operation: "dispatch", argument, shape, strides }.into());
        }
        let storage = tensor.in_one_block("dispatch", argument)?;
        let element = tensor.dtype().bytes();
        let size = tensor.elements() as u64 * element;
        if size < slot.least_bytes {
            return Err(KernelError::TooShort { binding, name: name(), wanted: slot.least_bytes, given: size });
        }
        let offset = tensor.layout().offset as u64 * element;
        let alignment = self.pool.memory().limits().alignment;
        if !offset.is_multiple_of(alignment) {
            return Err(KernelError::Unaligned { binding, name: name(), offset, alignment });
        }
        // A binding is a multiple of four bytes: an odd number of f16 is followed by another element of the storage, or
        // by padding.
        let whole = size.next_multiple_of(COPY_UNIT);
        if slot.is_written && whole > size && offset + size < storage.bytes() {
            let elements = tensor.elements();
            return Err(KernelError::HalfUnit { binding, name: name(), elements, bytes: size, unit: COPY_UNIT });
        }
        Ok(Bound { storage, offset, size: whole })
    }

    /// Checks that no written tensor is bound twice, because the order of accesses through two bindings is not defined.
    /// In a browser no tensor may be bound twice: every binding is declared for writing, and WebGPU would discard the
    /// whole batch.
    fn check_overlaps(&self, bound: &[Bound<'_>]) -> Result<(), KernelError> {
        let is_web = cfg!(target_arch = "wasm32")
            && self.pool.memory().device().adapter_info().backend == wgpu::Backend::BrowserWebGpu;
        let slots = &self.interface.tensors;
        for (binding, (slot, tensor)) in slots.iter().zip(bound).enumerate() {
            let meets =
                |(other, against): (usize, &Bound<'_>)| (other != binding && tensor.overlaps(against)).then_some(other);
            if let (true, Some(other)) = (slot.is_written || is_web, bound.iter().enumerate().find_map(meets)) {
                let (name, other_name) = (slot.name.clone(), slots[other].name.clone());
                return Err(KernelError::Overlap { binding, name, other, other_name });
            }
        }
        Ok(())
    }

    fn parameters(&self, scalars: &[Scalar]) -> Result<Vec<u8>, KernelError> {
        let slots = &self.interface.scalars;
        if scalars.len() != slots.len() {
            return Err(KernelError::ParameterCount { wanted: slots.len(), given: scalars.len() });
        }
        let mut bytes = vec![0; self.interface.scalar_bytes as usize];
        for (index, (slot, scalar)) in slots.iter().zip(scalars).enumerate() {
            if slot.dtype != scalar.dtype {
                let (wanted, given) = (slot.dtype.name(), scalar.dtype.name());
                return Err(KernelError::ParameterKind { index, name: slot.name.clone(), wanted, given });
            }
            let own = if slot.dtype == DType::F16 { &scalar.bytes[..2] } else { &scalar.bytes[..] };
            bytes[slot.offset..slot.offset + own.len()].copy_from_slice(own);
        }
        Ok(bytes)
    }
}
