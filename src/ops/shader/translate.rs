//! Translation of the crate's kernels for the platforms that this machine does not have.

use super::{fxc, grammar};
use crate::device::lock::Lock;
use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{back, proc};
use std::io::Write;

/// The variable with the file to which `cargo xtask test --target web` collects the kernels for the browser's compiler.
const FILE: &str = "WGPU_POOL_KERNELS";

/// Checks that a kernel follows WGSL's grammar where naga does not check it, and can be written in the languages of Vulkan (SPIR-V
/// 1.3), Metal (MSL 2.4), DX12 (HLSL, shader model 5.1 by the rules of [`fxc`], and 6.2 for f16) and GL ES 3.1, which has no f16.
/// Appends the kernel to the file for the browser's compiler, if there is one.
///
/// # Panics
/// If the kernel breaks the grammar or cannot be written.
pub(in crate::ops) fn check(name: &str, wgsl: &str) {
    collect(name, wgsl);
    check_without_collecting(name, wgsl);
}

/// Checks a kernel as [`check`] does, and does not append it to the file: for a text that tells the browser's compiler nothing new.
///
/// # Panics
/// If the kernel breaks the grammar or cannot be written.
pub(in crate::ops) fn check_without_collecting(name: &str, wgsl: &str) {
    check_grammar(name, wgsl);
    let module = naga::front::wgsl::parse_str(wgsl).unwrap_or_else(|error| panic!("{}", error.emit_to_string(wgsl)));
    let has_f16 = wgsl.contains("enable f16");
    let validate = |language: &str, capabilities: Capabilities| {
        // The writers panic on capabilities that they lack.
        let info = Validator::new(ValidationFlags::all(), capabilities).validate(&module);
        info.unwrap_or_else(|error| panic!("{name} in {language}: {}", error.emit_to_string(wgsl)))
    };
    let info = validate("MSL", back::msl::supported_capabilities());
    let options = back::msl::Options { lang_version: (2, 4), fake_missing_bindings: true, ..Default::default() };
    let written = back::msl::write_string(&module, &info, &options, &Default::default());
    written.unwrap_or_else(|error| panic!("{name} in MSL: {error}"));

    validate("HLSL", back::hlsl::supported_capabilities());
    let shader_model = if has_f16 { back::hlsl::ShaderModel::V6_2 } else { back::hlsl::ShaderModel::V5_1 };
    let options = back::hlsl::Options { shader_model, fake_missing_bindings: true, ..Default::default() };
    let (mut text, pipeline) = (String::new(), back::hlsl::PipelineOptions::default());
    let written = back::hlsl::Writer::new(&mut text, &options, &pipeline).write(&module, &info, None);
    written.unwrap_or_else(|error| panic!("{name} in HLSL: {error}"));
    fxc::check(&module, &info, &text).unwrap_or_else(|problem| panic!("{name}: {problem}"));

    let capabilities = Capabilities::SHADER_FLOAT16 | Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    let info_of_vulkan = validate("SPIR-V", capabilities);
    let options = back::spv::Options { lang_version: (1, 3), fake_missing_bindings: true, ..Default::default() };
    let written = back::spv::write_vec(&module, &info_of_vulkan, &options, None);
    written.unwrap_or_else(|error| panic!("{name} in SPIR-V: {error}"));

    if !has_f16 {
        validate("GLSL", back::glsl::supported_capabilities());
        let options = back::glsl::Options { version: back::glsl::Version::new_gles(310), ..Default::default() };
        let entry_point = module.entry_points[0].name.clone();
        let pipeline =
            back::glsl::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point, multiview: None };
        let (mut text, bounds) = (String::new(), proc::BoundsCheckPolicies::default());
        let written = back::glsl::Writer::new(&mut text, &module, &info, &options, &pipeline, bounds)
            .and_then(|mut writer| writer.write().map(drop));
        written.unwrap_or_else(|error| panic!("{name} in GLSL: {error}"));
    }
}

/// Checks the part of the grammar that naga does not check.
///
/// # Panics
/// If the kernel breaks it.
pub(in crate::ops) fn check_grammar(name: &str, wgsl: &str) {
    grammar::check(wgsl).unwrap_or_else(|problem| panic!("{name}: {problem}"));
}

/// Whether kernels are collected for the browser's compiler.
pub(super) fn is_collecting() -> bool {
    std::env::var_os(FILE).is_some()
}

/// Appends a kernel to the file, as one line of JSON.
fn collect(name: &str, wgsl: &str) {
    static LOCK: Lock<()> = Lock::new(());
    let Some(file) = std::env::var_os(FILE) else { return };
    let line = format!("{}\n", serde_json::json!({ "name": name, "wgsl": wgsl }));
    let _lock = LOCK.lock();
    let file = std::fs::OpenOptions::new().create(true).append(true).open(file);
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file can be written");
}

#[test]
#[should_panic(expected = "mixed: line 1: WGSL needs parentheses")]
fn operators_that_browsers_do_not_mix_are_found() {
    check("mixed", "@compute @workgroup_size(1) fn main() { let x = 1u | 2u & 3u; }");
}

#[test]
fn the_kernels_of_the_device_layer_compile_on_every_platform() {
    for (name, wgsl) in crate::device::gpu::kernel_texts() {
        check(name, &wgsl);
    }
}

#[test]
#[should_panic(expected = "HLSL")]
fn what_a_language_lacks_is_found() {
    // Among these languages, only MSL has atomic additions of f32.
    check(
        "atomic",
        "@group(0) @binding(0) var<storage, read_write> x: atomic<f32>;
         @compute @workgroup_size(1) fn main() { atomicAdd(&x, 1.0); }",
    );
}
