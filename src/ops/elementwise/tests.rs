//! Every single operation is compiled for every dtype, form and binding.

use super::*;
use crate::device::gpu::LARGEST_WORKGROUP;
use crate::ops::{binary, cast, compare, copy, fill, unary};

/// A single operation and the dtypes that it reads and writes, with as many numbers as it may take.
fn computations() -> Vec<(Single, [DType; 2], usize)> {
    let mut all = Vec::new();
    for dtype in DType::ALL {
        let single = |operation: &'static Operation| Some(Single::of(operation, operation.on(dtype)?));
        all.extend(unary::ALL.iter().filter_map(|row| single(row)).map(|single| (single, dtype, 0)));
        for single in binary::ALL.iter().chain(compare::ALL).filter_map(|row| single(row)) {
            all.extend([0, 1].map(|numbers| (single, dtype, numbers)));
            all.push((Single { is_reversed: true, ..single }, dtype, 1));
        }
        all.extend(single(&binary::ADD_SCALED).map(|single| (single, dtype, 1)));
        all.push((Single::of(&fill::FILL, Typed::number(dtype)), dtype, 1));
    }
    let mut all: Vec<_> =
        all.into_iter().map(|(single, dtype, numbers)| (single, [dtype, single.typed.dtype()], numbers)).collect();
    for (from, to) in DType::ALL.into_iter().flat_map(|from| DType::ALL.map(|to| (from, to))) {
        let (single, dtypes) = cast::conversion(from, to).expect("every dtype converts to every other one");
        all.push((single, dtypes, 0));
    }
    all
}

/// Every form with each operand broadcast or not, operands in one storage or in their own, at some ranks.
fn variants([read, written]: [DType; 2], inputs: usize) -> Vec<Variant> {
    let mut all = Vec::new();
    for (form, rank) in [(Form::Flat, 0), (Form::Rows, 1), (Form::Rows, 3), (Form::Strided, 0), (Form::Strided, 6)] {
        for (bound, is_broadcast) in
            (1..=inputs + 1).flat_map(|bound| [false, true].map(|broadcast| (bound, broadcast)))
        {
            if (is_broadcast && form != Form::Rows) || (bound == 1 && inputs > 0 && read != written) {
                continue;
            }
            let mut variant = Variant::of_form(form, rank, inputs, written);
            variant.dtypes = [read; MOST_INPUTS];
            variant.bound = u8::try_from(bound).expect("few");
            for operand in 1..=inputs {
                variant.bindings[operand] = variant.bound.min(u8::try_from(operand + 1).expect("few")) - 1;
                variant.is_broadcast[operand] = is_broadcast;
            }
            all.push(variant);
        }
    }
    all
}

/// Checks the kernels of a computation on inputs of some dtypes, in every form, also in small workgroups and in pairs. Each operand is
/// in its own storage: the tests of single operations share them.
pub(in crate::ops) fn check_texts(
    name: &str,
    computation: Computation<'_>,
    read: &[DType],
    written: DType,
    numbers: usize,
) {
    let of_first = variants([read[0], written], read.len()).into_iter();
    for mut variant in of_first.filter(|variant| usize::from(variant.bound) > read.len()) {
        variant.dtypes[..read.len()].copy_from_slice(read);
        let parameters = Parameters::new(&variant, numbers);
        let text =
            |variant: &Variant, size| wgsl::kernel(&computation.steps(variant, numbers), variant, &parameters, size);
        let what = format!("{name} {variant:?}");
        // The browser's compiler gets one form of each.
        if variant.form == Form::Flat {
            crate::ops::shader::translate::check(&what, &text(&variant, LARGEST_WORKGROUP));
            crate::ops::shader::translate::check_without_collecting(&what, &text(&variant, 128));
        } else {
            crate::ops::shader::translate::check_without_collecting(&what, &text(&variant, LARGEST_WORKGROUP));
        }
        if variant.form != Form::Strided && read.iter().chain([&written]).all(|dtype| dtype.bytes() == 4) {
            validate(&text(&Variant { in_pairs: true, ..variant }, LARGEST_WORKGROUP));
        }
    }
}

#[test]
fn every_operation_compiles_for_every_dtype_form_and_binding() {
    let required_features = wgpu::Features::SHADER_F16;
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor { required_features, ..Default::default() });
    let gpu = Gpu::from_device(device, queue);
    let (mut compiled, mut in_pairs) = (0, 0);
    for (single, dtypes, numbers) in computations() {
        let computation = Computation::Single(single);
        for variant in variants(dtypes, single.operation.arity - numbers) {
            let parameters = Parameters::new(&variant, numbers);
            let what = format!("{computation:?} {variant:?}");
            computation.program(&gpu, &variant, &parameters, numbers).unwrap_or_else(|error| panic!("{what}: {error}"));
            compiled += 1;
            let wgsl = wgsl::kernel(&computation.steps(&variant, numbers), &variant, &parameters, LARGEST_WORKGROUP);
            crate::ops::shader::translate::check(&what, &wgsl);
            assert_eq!(wgsl.matches("var<storage, read_write>").count(), usize::from(variant.bound), "{what}");
            assert_eq!(wgsl.matches("var<storage").count(), usize::from(variant.bound), "{what}");
            if variant.form != Form::Strided && dtypes.iter().all(|dtype| dtype.bytes() == 4) {
                let variant = Variant { in_pairs: true, ..variant };
                validate(&wgsl::kernel(
                    &computation.steps(&variant, numbers),
                    &variant,
                    &parameters,
                    LARGEST_WORKGROUP,
                ));
                in_pairs += 1;
            }
        }
    }
    assert!(compiled > 1000 && in_pairs > 500, "{compiled} {in_pairs}");
}

/// Validates numbers of 64 bits, which the device doesn't have.
fn validate(wgsl: &str) {
    crate::ops::shader::translate::check_grammar("in pairs", wgsl);
    let module = naga::front::wgsl::parse_str(wgsl).unwrap_or_else(|error| panic!("{}", error.emit_to_string(wgsl)));
    let capabilities = naga::valid::Capabilities::all();
    let validated = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities).validate(&module);
    validated.unwrap_or_else(|error| panic!("{}", error.emit_to_string(wgsl)));
}

/// Two variants of one key would share a program.
#[test]
fn every_variant_has_a_key_of_its_own() {
    let mut variants: Vec<Variant> = Vec::new();
    for (single, dtypes, numbers) in computations() {
        variants.extend(self::variants(dtypes, single.operation.arity - numbers));
    }
    let mut keys = std::collections::HashMap::new();
    for variant in variants {
        let known = *keys.entry(variant.key()).or_insert(variant);
        let used = |variant: Variant| {
            let Variant { form, rank, inputs, written, bound, .. } = variant;
            let operands = ..=inputs;
            let inputs = &variant.dtypes[..inputs];
            let broadcast = variant.is_broadcast[operands].to_vec();
            (form, rank, written, inputs.to_vec(), variant.bindings[operands].to_vec(), bound, broadcast)
        };
        assert_eq!(used(known), used(variant));
    }
    assert!(keys.len() > 100);
}

#[test]
fn a_copy_moves_bits_whatever_the_dtype() {
    for dtype in DType::ALL {
        let (single, dtypes) = cast::conversion(dtype, dtype).expect("a copy");
        assert!(std::ptr::eq(single.operation, &copy::COPY));
        for variant in variants(dtypes, 1) {
            let parameters = Parameters::new(&variant, 0);
            let wgsl =
                wgsl::kernel(&Computation::Single(single).steps(&variant, 0), &variant, &parameters, LARGEST_WORKGROUP);
            assert!(!wgsl.contains("f32(") && !wgsl.contains("vec4<f32>("), "{wgsl}");
        }
    }
}
