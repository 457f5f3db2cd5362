//! Tests of wgpu-pool in a browser, run by `cargo xtask test --target web`. The tests are in `tests/`.
