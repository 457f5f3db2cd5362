//! Reflection of user WGSL: the tensors that a kernel binds, and its scalar parameters.

use crate::error::KernelError;
use crate::tensor::DType;
use naga::{AddressSpace, Handle, ShaderStage, StorageAccess, TypeInner};

/// The interface of one compute entry point.
#[derive(Debug)]
pub(super) struct Interface {
    /// The tensors, by binding.
    pub(super) tensors: Vec<TensorSlot>,
    /// The scalars, in the order of their declaration.
    pub(super) scalars: Vec<ScalarSlot>,
    /// The size of the uniform with the scalars in bytes; 0 without scalars.
    pub(super) scalar_bytes: u32,
    pub(super) workgroup_size: [u32; 3],
    /// The largest depth of nested conditions and loops, including those of called functions.
    pub(super) nesting: usize,
}

/// One storage binding.
#[derive(Debug)]
pub(super) struct TensorSlot {
    pub(super) name: String,
    /// The dtype of the elements. `None` if the shader declares another type, such as an array of structures.
    pub(super) dtype: Option<DType>,
    /// The minimum size of the declared type in bytes.
    pub(super) least_bytes: u64,
    /// Whether the entry point writes it.
    pub(super) is_written: bool,
}

/// One scalar parameter, or one component of a vector.
#[derive(Debug)]
pub(super) struct ScalarSlot {
    pub(super) name: String,
    pub(super) dtype: DType,
    pub(super) offset: usize,
}

/// Reads the interface of `entry`.
///
/// # Errors
/// [`KernelError::Compile`], [`KernelError::EntryPoint`], [`KernelError::Declaration`].
pub(super) fn reflect(wgsl: &str, entry: &str) -> Result<Interface, KernelError> {
    let compile = |message: String| KernelError::Compile { message };
    let module = naga::front::wgsl::parse_str(wgsl).map_err(|error| compile(error.emit_to_string(wgsl)))?;
    // All capabilities are accepted here; the device refuses those that it lacks when the pipeline is created.
    let mut validator =
        naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::all());
    let info = validator.validate(&module).map_err(|error| compile(error.emit_to_string(wgsl)))?;
    let computes = |point: &&naga::EntryPoint| point.stage == ShaderStage::Compute;
    let found = module.entry_points.iter().position(|point| computes(&point) && point.name == entry);
    let index = found.ok_or_else(|| KernelError::EntryPoint {
        entry: entry.into(),
        available: module.entry_points.iter().filter(computes).map(|point| point.name.clone()).collect(),
    })?;
    let reader = Reader { module: &module, uses: info.get_entry_point(index) };
    let nesting = nesting(&module, index);
    Ok(Interface { nesting, ..reader.interface(workgroup_size(&module, &info, index)?)? })
}

/// Returns the depth of nested conditions and loops in an entry point.
fn nesting(module: &naga::Module, index: usize) -> usize {
    // In naga's modules, a function calls only functions that are declared before it.
    let mut functions = Vec::with_capacity(module.functions.len());
    for (_, function) in module.functions.iter() {
        functions.push(nesting_of(&function.body, &functions));
    }
    nesting_of(&module.entry_points[index].function.body, &functions)
}

fn nesting_of(block: &naga::Block, functions: &[usize]) -> usize {
    let of = |block: &naga::Block| nesting_of(block, functions);
    let statements = block.iter().map(|statement| match statement {
        naga::Statement::Block(block) => of(block),
        naga::Statement::If { accept, reject, .. } => 1 + of(accept).max(of(reject)),
        // A switch is compiled to a loop of one iteration with a condition for each case.
        naga::Statement::Switch { cases, .. } => 2 + cases.iter().map(|case| of(&case.body)).max().unwrap_or(0),
        // One level for the loop, one for the condition that ends it.
        naga::Statement::Loop { body, continuing, .. } => 2 + of(body).max(of(continuing)),
        naga::Statement::Call { function, .. } => functions.get(function.index()).copied().unwrap_or(0),
        _ => 0,
    });
    statements.max().unwrap_or(0)
}

/// Returns the workgroup size, with the default values of `override` constants.
fn workgroup_size(
    module: &naga::Module,
    info: &naga::valid::ModuleInfo,
    index: usize,
) -> Result<[u32; 3], KernelError> {
    let point = &module.entry_points[index];
    if point.workgroup_size_overrides.is_none() {
        return Ok(point.workgroup_size);
    }
    let processed = naga::back::pipeline_constants::process_overrides(
        module,
        info,
        Some((ShaderStage::Compute, &point.name)),
        &naga::back::PipelineConstants::default(),
    );
    let (module, _) = processed.map_err(|error| KernelError::Compile { message: error.to_string() })?;
    let mut points = module.entry_points.iter().filter(|processed| processed.name == point.name);
    Ok(points.next().map_or(point.workgroup_size, |processed| processed.workgroup_size))
}

struct Reader<'a> {
    module: &'a naga::Module,
    uses: &'a naga::valid::FunctionInfo,
}

impl Reader<'_> {
    fn interface(&self, workgroup_size: [u32; 3]) -> Result<Interface, KernelError> {
        let mut tensors: Vec<(u32, TensorSlot)> = Vec::new();
        let (mut scalars, mut scalar_bytes) = (Vec::new(), 0);
        for (handle, variable) in self.module.global_variables.iter() {
            match variable.space {
                AddressSpace::Private | AddressSpace::WorkGroup => {}
                AddressSpace::Storage { access } => {
                    tensors.push((binding_of(variable, 0)?, self.tensor(handle, variable, access)?));
                }
                AddressSpace::Uniform => {
                    if binding_of(variable, 1)? != 0 {
                        return Err(declaration(variable, "scalars are one uniform, at binding 0 of group 1"));
                    }
                    scalar_bytes = self.size(variable.ty).next_multiple_of(4);
                    scalars = self.scalars(variable)?;
                }
                _ => {
                    let problem = "a kernel binds tensors (`var<storage, read_write>` in group 0) and scalars \
                                   (`var<uniform>` in group 1, binding 0), nothing else";
                    return Err(declaration(variable, problem));
                }
            }
        }
        tensors.sort_by_key(|&(binding, _)| binding);
        for (position, (binding, tensor)) in (0..).zip(&tensors) {
            if *binding != position {
                return Err(KernelError::Declaration {
                    name: tensor.name.clone(),
                    group: 0,
                    binding: *binding,
                    problem: format!("tensors take the bindings from 0 on without a gap; {position} is free"),
                });
            }
        }
        let tensors = tensors.into_iter().map(|(_, tensor)| tensor).collect();
        Ok(Interface { tensors, scalars, scalar_bytes, workgroup_size, nesting: 0 })
    }

    fn tensor(
        &self,
        handle: Handle<naga::GlobalVariable>,
        variable: &naga::GlobalVariable,
        access: StorageAccess,
    ) -> Result<TensorSlot, KernelError> {
        if !access.contains(StorageAccess::LOAD | StorageAccess::STORE) {
            let problem = "declare it `var<storage, read_write>`: many tensors lie in one wgpu buffer, which can't be bound \
                           for reading and for writing at once";
            return Err(declaration(variable, problem));
        }
        let inner = &self.module.types[variable.ty].inner;
        let dtype = match *inner {
            TypeInner::Array { base, .. } => self.element_dtype(base),
            _ => self.element_dtype(variable.ty),
        };
        Ok(TensorSlot {
            name: name_of(variable),
            dtype,
            least_bytes: u64::from(self.size(variable.ty)),
            is_written: self.uses[handle].contains(naga::valid::GlobalUse::WRITE),
        })
    }

    fn element_dtype(&self, ty: Handle<naga::Type>) -> Option<DType> {
        match self.module.types[ty].inner {
            TypeInner::Scalar(scalar) | TypeInner::Atomic(scalar) => dtype_of(scalar),
            TypeInner::Vector { scalar, .. } | TypeInner::Matrix { scalar, .. } => dtype_of(scalar),
            _ => None,
        }
    }

    fn scalars(&self, variable: &naga::GlobalVariable) -> Result<Vec<ScalarSlot>, KernelError> {
        let mut slots = Vec::new();
        let name = name_of(variable);
        match &self.module.types[variable.ty].inner {
            TypeInner::Struct { members, .. } => {
                for member in members {
                    let name = member.name.clone().unwrap_or_default();
                    self.push_scalars(variable, name, member.ty, member.offset, &mut slots)?;
                }
            }
            _ => self.push_scalars(variable, name, variable.ty, 0, &mut slots)?,
        }
        Ok(slots)
    }

    fn push_scalars(
        &self,
        variable: &naga::GlobalVariable,
        name: String,
        ty: Handle<naga::Type>,
        offset: u32,
        slots: &mut Vec<ScalarSlot>,
    ) -> Result<(), KernelError> {
        let problem = "scalars are f32, i32, u32, f16, and vectors of them";
        let (scalar, components) = match self.module.types[ty].inner {
            TypeInner::Scalar(scalar) => (scalar, 1),
            TypeInner::Vector { size, scalar } => (scalar, size as usize),
            _ => return Err(declaration(variable, problem)),
        };
        let dtype = dtype_of(scalar).ok_or_else(|| declaration(variable, problem))?;
        for component in 0..components {
            let suffix = if components == 1 { String::new() } else { format!(".{}", ["x", "y", "z", "w"][component]) };
            slots.push(ScalarSlot {
                name: name.clone() + &suffix,
                dtype,
                offset: offset as usize + scalar.width as usize * component,
            });
        }
        Ok(())
    }

    /// Returns the size of a type in bytes; of one element for a runtime-sized array.
    fn size(&self, ty: Handle<naga::Type>) -> u32 {
        self.module.types[ty].inner.size(self.module.to_ctx())
    }
}

fn dtype_of(scalar: naga::Scalar) -> Option<DType> {
    match (scalar.kind, scalar.width) {
        (naga::ScalarKind::Float, 4) => Some(DType::F32),
        (naga::ScalarKind::Float, 2) => Some(DType::F16),
        (naga::ScalarKind::Sint, 4) => Some(DType::I32),
        (naga::ScalarKind::Uint, 4) => Some(DType::U32),
        _ => None,
    }
}

fn name_of(variable: &naga::GlobalVariable) -> String {
    variable.name.clone().unwrap_or_default()
}

/// Returns the binding of a variable, if the variable is in the expected group.
fn binding_of(variable: &naga::GlobalVariable, group: u32) -> Result<u32, KernelError> {
    match &variable.binding {
        Some(resource) if resource.group == group => Ok(resource.binding),
        _ => Err(declaration(variable, &format!("belongs in group {group}"))),
    }
}

fn declaration(variable: &naga::GlobalVariable, problem: &str) -> KernelError {
    let (group, binding) = variable.binding.as_ref().map_or((0, 0), |resource| (resource.group, resource.binding));
    KernelError::Declaration { name: name_of(variable), group, binding, problem: problem.into() }
}
