//! One rule for the names of asynchronous calls: the plain verb is asynchronous, and its blocking form ends in `_blocking`.

/// Asynchronous calls without a blocking form, and why.
const ALONE: [(&str, &str); 3] = [
    ("Gpu::open", "`Pool::request_blocking` opens the device of a pool"),
    ("Pool::allocate_accepted", "a device whose answers can be waited for has answered when `Pool::allocate` returns"),
    ("Pool::kernel_accepted", "as `Pool::allocate_accepted`, for `Pool::kernel`"),
];

/// Returns the path and whether the call is asynchronous, for each function of a record of the public API. Type parameters
/// are left out of the path.
fn functions(record: &str) -> Vec<(String, bool)> {
    let of_line = |line: &str| {
        let declaration = line.split_once("fn wgpu_pool::")?.1;
        let path = declaration.split_once('(')?.0;
        let is_async =
            line.starts_with("pub async fn ") || declaration.contains("-> impl core::future::future::Future<");
        let (mut plain, mut depth) = (String::new(), 0_u32);
        for letter in path.chars() {
            match letter {
                '<' => depth += 1,
                '>' => depth -= 1,
                _ if depth == 0 => plain.push(letter),
                _ => {}
            }
        }
        Some((plain, is_async))
    };
    record.lines().filter_map(of_line).collect()
}

/// Returns a complaint for each name that breaks the rule, and for each exception that is no such call.
pub(crate) fn complaints(record: &str) -> Vec<String> {
    let functions = functions(record);
    let exists = |wanted: &str, is_wanted_async: bool| {
        functions.iter().any(|(path, is_async)| path == wanted && *is_async == is_wanted_async)
    };
    let is_alone =
        |path: &str| ALONE.iter().any(|(listed, _)| path.ends_with(&format!("::{listed}")) || path == *listed);
    let mut found = Vec::new();
    for (path, is_async) in &functions {
        if path.ends_with("_async") {
            found.push(format!("{path}: the asynchronous form has the plain name"));
        }
        if let Some(plain) = path.strip_suffix("_blocking").filter(|plain| !exists(plain, true)) {
            found.push(format!("{path}: there is no asynchronous {plain}"));
        }
        if *is_async && !exists(&format!("{path}_blocking"), false) && !is_alone(path) {
            found.push(format!("{path}: there is no blocking form"));
        }
    }
    let is_stale = |listed: &str| !functions.iter().any(|(path, is_async)| *is_async && path.ends_with(listed));
    found.extend(
        ALONE.iter().filter(|(listed, _)| is_stale(listed)).map(|(listed, _)| format!("{listed}: no such call")),
    );
    found
}

#[test]
fn a_name_that_runs_the_other_way_is_refused() {
    let alone = "pub async fn wgpu_pool::Gpu::open()\npub async fn wgpu_pool::Pool::kernel_accepted()\n\
        pub fn wgpu_pool::Pool<M>::allocate_accepted(&self) -> impl core::future::future::Future<Output = ()>\n";
    let of = |line: &str| complaints(&format!("{alone}{line}"));
    assert!(
        of("pub async fn wgpu_pool::T<M>::read<E: F>(&self)\npub fn wgpu_pool::T<M>::read_blocking(&self)").is_empty()
    );
    assert_eq!(of("pub fn wgpu_pool::T::read_blocking(&self)").len(), 1);
    assert_eq!(of("pub async fn wgpu_pool::T::read(&self)").len(), 1);
    assert_eq!(of("pub async fn wgpu_pool::T::read_async(&self)\npub fn wgpu_pool::T::read(&self)").len(), 2);
    assert_eq!(complaints("").len(), ALONE.len());
}
