//! `#[test]` in a browser: exports the test. A suite imports it with `#[macro_use] extern crate`, which takes precedence over the
//! compiler's own attribute in every module.

use proc_macro::{TokenStream, TokenTree};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Exports a test as `wgpu_pool_test_N`: called with false it returns the test's name, called with true it runs the test.
#[proc_macro_attribute]
pub fn test(_: TokenStream, item: TokenStream) -> TokenStream {
    static COUNT: AtomicUsize = AtomicUsize::new(0);

    let mut words = item.clone().into_iter().filter_map(|token| match token {
        TokenTree::Ident(word) => Some(word.to_string()),
        _ => None,
    });
    let name = words.by_ref().skip_while(|word| word != "fn").nth(1).expect("a test is a function");
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let export = format!(
        "#[allow(deprecated, reason = \"wasm-bindgen marks its support of promise integration as experimental so\")]
        const _: () = {{
            #[::pollster::bindgen::prelude::wasm_bindgen(jspi, wasm_bindgen = ::pollster::bindgen)]
            pub fn wgpu_pool_test_{number}(act: bool) -> ::std::string::String {{
                ::pollster::test(concat!(module_path!(), \"::{name}\"), act, {name})
            }}
        }};"
    );
    let export: TokenStream = export.parse().expect("the text is Rust");
    item.into_iter().chain(export).collect()
}
