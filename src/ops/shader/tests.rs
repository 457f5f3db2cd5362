use super::*;
use crate::ops::activation::Activation;
use crate::ops::{image, indexed, reduce, rows};

/// Everything that the crate can ask a device to compile.
fn variants() -> Vec<(Shader, Variant)> {
    let mut all = Vec::new();
    let tiled = TILED_MANY.iter().chain(&TILED_FEW).chain(&TILED_FEW_ROWS).flatten().flatten().copied();
    let plain: Vec<_> = [MATMUL].into_iter().chain(tiled).collect();
    all.extend(COOPERATIVE.iter().flatten().map(|&shader| (shader, Variant::plain(DType::F16))));
    all.extend(CONV2D_COOPERATIVE.iter().flatten().map(|&shader| (shader, Variant::plain(DType::F16))));
    for dtype in DType::ALL {
        all.extend(plain.iter().map(|&shader| (shader, Variant::plain(dtype))));
        all.push((MATMUL_PARTS, Variant::plain(dtype)));
    }
    // The parts of a product of f16 are not rounded.
    let of_parts = COOPERATIVE.iter().flatten().chain(&plain).copied().chain([MATMUL_PARTS]);
    all.extend(of_parts.map(|shader| (shader, Variant { output: DType::F32, ..Variant::plain(DType::F16) })));
    let by_index = |dtype| [GATHER, ARANGE].map(|shader| (shader, Variant::plain(dtype)));
    all.extend(DType::ALL.into_iter().flat_map(by_index));
    all.extend([DType::F32, DType::I32, DType::U32].map(|dtype| {
        (SCATTER_ADD, Variant { operation: indexed::operation(&SCATTER_ADD, dtype), ..Variant::plain(dtype) })
    }));
    all.extend(
        [CONV2D_WEIGHT, FOLD, MAX_POOL_BACK, AVERAGE_POOL, AVERAGE_POOL_BACK]
            .map(|shader| (shader, Variant { output: DType::F32, ..Variant::plain(DType::F16) })),
    );
    all.extend(
        DType::ALL
            .into_iter()
            .flat_map(|dtype| [UNFOLD, FOLD, CONV2D, CONV2D_WEIGHT].map(|shader| (shader, Variant::plain(dtype)))),
    );
    let tiled = CONV2D_TILED.iter().flat_map(|tile| tile.shaders.into_iter().flatten());
    let convolutions: Vec<_> = [CONV2D_NARROW, CONV2D_ROWS, CONV2D_SINGLE, CONV2D_SMALL]
        .into_iter()
        .chain(CONV2D_ROWS_TILED)
        .chain(tiled)
        .collect();
    for dtype in DType::ALL {
        all.push((CONV2D_PACK, Variant::plain(dtype)));
        let tiles = || CONV2D_WEIGHT_TILED.iter().chain(&CONV2D_WEIGHT_FEW);
        let weights = tiles().map(|tile| tile.shader).chain(tiles().filter_map(|tile| tile.in_units));
        let weights = weights.chain(CONV2D_WEIGHT_ROWS_TILED).chain([CONV2D_WEIGHT_SINGLE, CONV2D_WEIGHT_ROWS]);
        all.extend(weights.map(|shader| (shader, Variant { output: dtype.number(), ..Variant::plain(dtype) })));
        let sum = Variant { output: dtype, ..Variant::plain(dtype.number()) };
        all.extend(CONV2D_WEIGHT_SUM.map(|shader| (shader, sum)));
        let outputs = if dtype == DType::F16 { vec![dtype, DType::F32] } else { vec![dtype] };
        for output in outputs {
            all.extend(convolutions.iter().map(|&shader| (shader, Variant { output, ..Variant::plain(dtype) })));
        }
    }
    for dtype in [DType::F32, DType::F16] {
        all.extend(SGD.iter().chain(&ADAMW).map(|&shader| (shader, Variant::plain(dtype))));
        let pools = [MAX_POOL, MAX_POOL_BACK, AVERAGE_POOL, AVERAGE_POOL_BACK];
        all.extend(pools.map(|shader| (shader, Variant::plain(dtype))));
        for operation in image::RESAMPLING {
            let variant = Variant { operation, ..Variant::plain(dtype) };
            all.extend([UPSAMPLE, UPSAMPLE_BACK].map(|shader| (shader, variant)));
            if dtype == DType::F16 {
                all.push((UPSAMPLE_BACK, Variant { output: DType::F32, ..variant }));
            }
        }
        for operation in [AS_IT_IS, rows::LOG] {
            let variant = Variant { operation, ..Variant::plain(dtype) };
            all.extend([SOFTMAX, SOFTMAX_LONG].map(|shader| (shader, variant)));
        }
        for operation in [AS_IT_IS, rows::ROOT_MEAN_SQUARE] {
            let variant = Variant { operation, ..Variant::plain(dtype) };
            all.extend([NORMALIZE, NORMALIZE_LONG].map(|shader| (shader, variant)));
        }
    }
    let kernels = [REDUCE_PART, REDUCE_FEW, REDUCE_ROW, REDUCE_SHORT_ROW, REDUCE_COLUMNS];
    for (dtype, shader) in DType::ALL.into_iter().flat_map(|dtype| kernels.map(|shader| (dtype, shader))) {
        let operations = reduce::operations(dtype).into_iter();
        for operation in operations {
            all.push((shader, Variant { operation, ..Variant::plain(dtype) }));
            if dtype == DType::F16 {
                all.push((shader, Variant { operation, output: DType::F32, ..Variant::plain(dtype) }));
                all.push((shader, Variant { operation, output: dtype, ..Variant::plain(DType::F32) }));
            }
        }
    }
    all.extend([UNIFORM, NORMAL].map(|shader| (shader, Variant::plain(DType::F32))));
    all.extend([DType::U32, DType::F16].map(|dtype| (COPY_TRANSPOSED, Variant::plain(dtype))));
    let has_epilogue = |shader: &Shader| shader.parts.iter().any(|part| part.contains("biases: array"));
    let matrices: Vec<_> = all.iter().copied().filter(|(shader, _)| has_epilogue(shader)).collect();
    // An activation is compiled with the first kernel of each epilogue and dtype, or, for the browser's compiler, with every kernel: its
    // function depends on no other file.
    let of_epilogue = |shader: &Shader| shader.parts.iter().find(|part| part.contains("biases: array"));
    let mut seen = std::collections::BTreeSet::new();
    for (shader, variant) in matrices {
        all.push((shader, Variant { bias: true, ..variant }));
        let is_first = seen.insert((of_epilogue(&shader), variant.dtype.name(), variant.output.name()));
        let count = if is_first || translate::is_collecting() { Activation::ALL.len() } else { 1 };
        let activations = Activation::ALL.into_iter().filter_map(|one| one.on("", variant.dtype).ok());
        for operation in activations.take(count) {
            all.extend([false, true].map(|bias| (shader, Variant { operation, bias, ..variant })));
        }
    }
    let shared_too = |(shader, variant): (Shader, Variant)| {
        let ways =
            if shader.parts.iter().any(|part| part.contains("fn right_at(")) { &[false, true][..] } else { &[false] };
        ways.iter().map(move |&shared| (shader, Variant { shared, ..variant }))
    };
    let mut all: Vec<_> = all.into_iter().flat_map(shared_too).collect();
    let loads_output = |shader: &Shader| shader.parts.iter().any(|part| part.contains("const LOADS_OUTPUT"));
    let without: Vec<_> = all.iter().filter(|(shader, _)| loads_output(shader)).copied().collect();
    all.extend(without.into_iter().map(|(shader, variant)| (shader, Variant { loads_output: false, ..variant })));
    all
}

/// The files of all kernels.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn parts() -> std::collections::BTreeSet<&'static str> {
    variants().iter().flat_map(|(shader, _)| shader.parts).copied().collect()
}

// One test for each input dtype, so that they run in parallel.

#[test]
fn every_shader_of_f32_compiles_for_every_operation() {
    assert!(compile_all(DType::F32) > 5);
}

#[test]
fn every_shader_of_f16_compiles_for_every_operation() {
    compile_all(DType::F16);
}

#[test]
fn every_shader_of_i32_compiles_for_every_operation() {
    assert!(compile_all(DType::I32) > 5);
}

#[test]
fn every_shader_of_u32_compiles_for_every_operation() {
    assert!(compile_all(DType::U32) > 5);
}

/// Compiles every shader whose input has `dtype`. Returns how many of them have a form with pairs of 64-bit numbers,
/// which is validated too.
fn compile_all(dtype: DType) -> usize {
    let required_features = wgpu::Features::SHADER_F16;
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor { required_features, ..Default::default() });
    let gpu = Gpu::from_device(device, queue);
    let variants = variants().into_iter().filter(|(_, variant)| variant.dtype == dtype);
    let (mut compiled_any, mut paired) = (false, 0);
    let mut small = std::collections::BTreeSet::new();
    for (shader, variant) in variants {
        compiled_any = true;
        if [variant.dtype, variant.output].iter().all(|dtype| dtype.bytes() == 4) {
            let wgsl = |in_pairs| {
                shader.wgsl(variant, Target { in_pairs, ..Target::USUAL }).expect("every changed declaration is there")
            };
            if wgsl(true) != wgsl(false) {
                super::translate::check_grammar(shader.name, &wgsl(true));
                validate(&wgsl(true));
                paired += 1;
            }
        }
        if shader.name.contains("_cooperative") {
            let wgsl = shader.wgsl(variant, Target::USUAL).expect("every changed declaration is there");
            super::translate::check_grammar(shader.name, &wgsl);
            let (module, info) = validate(&wgsl);
            let options = naga::back::spv::Options { lang_version: (1, 5), ..Default::default() };
            naga::back::spv::write_vec(&module, &info, &options, None).expect("it can be written as SPIR-V");
            continue;
        }
        let wgsl = shader.wgsl(variant, Target::USUAL).expect("every changed declaration is there");
        let what = format!("{} {variant:?}", shader.name);
        super::translate::check(&what, &wgsl);
        // That the texts of a kernel differ in no other way is another test.
        if small.insert((shader.name, variant.output.name(), variant.shared)) {
            let target = Target { workgroup_size: 128, ..Target::USUAL };
            let wgsl = shader.wgsl(variant, target).expect("every changed declaration is there");
            super::translate::check_without_collecting(&format!("{what} in small workgroups"), &wgsl);
        }
        let compiled = shader.program(&gpu, variant);
        compiled.unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    assert!(compiled_any, "no shader of {dtype}");
    paired
}

/// Validates what the device has no leave for: wgpu's experimental features, numbers of 64 bits.
fn validate(wgsl: &str) -> (naga::Module, naga::valid::ModuleInfo) {
    let module = naga::front::wgsl::parse_str(wgsl).unwrap_or_else(|error| panic!("{}", error.emit_to_string(wgsl)));
    let capabilities = naga::valid::Capabilities::all();
    let mut validator = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities);
    let info = validator.validate(&module).unwrap_or_else(|error| panic!("{}", error.emit_to_string(wgsl)));
    (module, info)
}

#[test]
fn every_change_takes_place() {
    for (shader, variant) in variants() {
        let wgsl = shader.wgsl(variant, Target::USUAL).expect("every changed declaration is there");
        let Variant { operation, dtype, output, shared, bias, loads_output } = variant;
        if let Some(expression) = operation.expression {
            assert!(wgsl.contains(&format!("return {expression};")), "{} {variant:?}", shader.name);
        }
        assert!(operation.functions.iter().all(|called| wgsl.contains(called)), "{}", shader.name);
        for (alias, dtype) in [("Element", dtype), ("Output", output)] {
            assert!(wgsl.contains(&format!("alias {alias} = {dtype};")), "{}", shader.name);
        }
        for [name, value] in shader.edits.iter().chain(operation.edits) {
            assert!(wgsl.contains(value), "{} {name}", shader.name);
        }
        assert!(!shared || !wgsl.contains("return right[at];"), "{}", shader.name);
        assert_eq!(wgsl.contains("biases["), bias, "{}", shader.name);
        assert_eq!(wgsl.contains("const LOADS_OUTPUT: bool = false;"), !loads_output, "{}", shader.name);
        let small = Target { workgroup_size: 128, ..Target::USUAL };
        let small = shader.wgsl(variant, small).expect("every changed declaration is there");
        assert_eq!(
            small,
            wgsl.replace("const WORKGROUP: u32 = 256u;", "const WORKGROUP: u32 = 128u;"),
            "{}",
            shader.name
        );
    }
}

#[test]
fn a_change_of_what_a_shader_does_not_have_is_an_error() {
    let plain = Variant::plain(DType::F32);
    let activation = Activation::Relu.on("", DType::F32).expect("it is defined");
    let changes = [
        (Variant { operation: rows::ROOT_MEAN_SQUARE, ..plain }, "doesn't declare `CENTERED`"),
        (Variant { operation: activation, ..plain }, "doesn't declare `apply`"),
        (Variant { shared: true, ..plain }, "doesn't declare `right`"),
    ];
    for (variant, problem) in changes {
        let message = format!("the shader gather {problem}");
        assert_eq!(GATHER.wgsl(variant, Target::USUAL), Err(DeviceError::Validation { message }));
    }
}

#[test]
fn every_pool_binding_is_read_write_and_bindings_are_numbered_without_gaps() {
    // No other part of a variant changes the bindings of a kernel.
    let mut seen = std::collections::BTreeSet::new();
    let of_bindings = |(shader, variant): &(Shader, Variant)| {
        let Variant { dtype, bias, shared, loads_output, .. } = *variant;
        seen.insert((shader.name, dtype.name(), bias, shared, loads_output))
    };
    for (shader, variant) in variants().into_iter().filter(of_bindings) {
        let wgsl = shader.wgsl(variant, Target::USUAL).expect("every changed declaration is there");
        let tensors = shader.interface(&wgsl).expect("it is valid").tensors;
        assert_eq!(wgsl.matches("var<storage").count(), tensors, "{}", shader.name);
        for binding in 0..tensors {
            let declaration = format!("@group(0) @binding({binding}) var<storage, read_write> ");
            assert_eq!(wgsl.matches(&declaration).count(), 1, "{} {binding}", shader.name);
        }
    }
}

#[test]
fn every_shader_of_the_catalog_is_compiled() {
    let compiled: std::collections::BTreeSet<&str> = variants().iter().map(|(shader, _)| shader.name).collect();
    for shader in ROWS {
        assert!(compiled.contains(shader.name), "{}", shader.name);
    }
}

#[test]
fn kernels_of_rows_in_tiles_take_the_workgroup_memory_that_their_choice_assumes() {
    let of_weights = CONV2D_WEIGHT_ROWS_TILED.into_iter().zip(image::BYTES_OF_WEIGHT_ROWS);
    let of_rows = CONV2D_ROWS_TILED.into_iter().zip(image::ROWS_KERNELS.map(|kernel| kernel.bytes));
    for (shader, assumed) in of_weights.chain(of_rows) {
        let wgsl = shader.wgsl(Variant::plain(DType::F32), Target::USUAL).expect("every changed declaration is there");
        let module = naga::front::wgsl::parse_str(&wgsl).expect("it is parsed");
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).expect("the types have sizes");
        let variables = module.global_variables.iter().map(|(_, variable)| variable);
        let variables = variables.filter(|variable| variable.space == naga::AddressSpace::WorkGroup);
        let bytes: u32 = variables.map(|variable| layouter[variable.ty].size).sum();
        assert_eq!(bytes, assumed, "{}", shader.name);
    }
}
