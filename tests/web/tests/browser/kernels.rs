//! Every kernel of the crate through the browser's own compiler, whose rules are stricter than naga's.
//! `cargo xtask test --target web` collects the kernels into the file `kernels.jsonl` next to this package's manifest.

use crate::common::{Outcome, pool};
use js_sys::{JSON, JsString, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{console_log, wasm_bindgen_test};
use wgpu_pool::wgpu;

/// The lines of the file.
async fn lines() -> Vec<String> {
    let fetch: js_sys::Function =
        Reflect::get(&js_sys::global(), &"fetch".into()).expect("every page can fetch").unchecked_into();
    let promise = fetch.call1(&JsValue::NULL, &"/kernels.jsonl".into()).expect("a request");
    let response = JsFuture::from(promise.unchecked_into::<js_sys::Promise>()).await.expect("the server answers");
    let text: js_sys::Function = Reflect::get(&response, &"text".into()).expect("a response").unchecked_into();
    let promise = text.call0(&response).expect("a response has a text");
    let text = JsFuture::from(promise.unchecked_into::<js_sys::Promise>()).await.expect("the text arrives");
    let text = text.as_string().expect("a text");
    assert!(text.starts_with('{'), "kernels.jsonl is missing: run `cargo xtask test --target web`");
    text.lines().map(str::to_string).collect()
}

#[wasm_bindgen_test]
async fn the_browser_compiles_every_kernel() -> Outcome {
    let pool = pool().await;
    let device = pool.memory().device();
    let has_f16 = device.features().contains(wgpu::Features::SHADER_F16);
    let (mut compiled, mut left_out, mut refused) = (0, 0, Vec::new());
    let mut asked = Vec::new();
    for line in lines().await {
        let entry = JSON::parse(&line).expect("a line of JSON");
        let field = |name: &str| -> String {
            Reflect::get(&entry, &name.into()).expect("a field").unchecked_into::<JsString>().into()
        };
        let (name, wgsl) = (field("name"), field("wgsl"));
        // Cooperative matrices exist in wgpu alone.
        if wgsl.contains("enable wgpu_") || (wgsl.contains("enable f16") && !has_f16) {
            left_out += 1;
            continue;
        }
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let descriptor =
            wgpu::ShaderModuleDescriptor { label: Some(&name), source: wgpu::ShaderSource::Wgsl(wgsl.into()) };
        let module = device.create_shader_module(descriptor);
        asked.push((name, module, scope.pop()));
    }
    // Awaited together: one by one, thousands of answers of another process would take most of the time.
    for (name, _module, verdict) in asked {
        match verdict.await {
            None => compiled += 1,
            Some(error) => refused.push(format!("{name}: {error}")),
        }
    }
    console_log!(
        "{compiled} kernels compiled, {left_out} need a feature that the browser lacks, {} refused",
        refused.len()
    );
    assert!(refused.is_empty(), "{}", refused[..refused.len().min(5)].join("\n"));
    assert!(compiled > 1000, "{compiled}");
    Ok(())
}
