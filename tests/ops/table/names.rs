//! Which operations there are, by the crate's own sources, and whether each has a row.

use super::{Row, elementwise, images, indices, products, reductions, whole};
use crate::source::{Kind, Token, tokens};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The types whose public methods are operations on tensors.
const TYPES: [&str; 4] = ["Tensor", "Fused", "Sgd", "AdamW"];

/// Public methods that compute nothing from elements, with the reason.
const NOT_OPERATIONS: [(&str, &str); 22] = [
    ("Tensor::offload", "moves the memory, not the elements"),
    ("Tensor::prefetch", "moves the memory, not the elements"),
    ("Tensor::keep_on_device", "moves the memory, not the elements"),
    ("Tensor::residence", "tells of the memory"),
    ("Tensor::offset", "tells of the handle"),
    ("Tensor::to_text", "reads, and writes text"),
    ("Tensor::to_text_blocking", "reads, and writes text"),
    ("Tensor::shape", "tells of the handle"),
    ("Tensor::strides", "tells of the handle"),
    ("Tensor::rank", "tells of the handle"),
    ("Tensor::elements", "tells of the handle"),
    ("Tensor::dtype", "tells of the handle"),
    ("Tensor::is_contiguous", "tells of the handle"),
    ("Tensor::storage", "gives a handle"),
    ("Tensor::parts", "gives handles"),
    ("Tensor::pool", "gives a handle"),
    ("Tensor::set_label", "names the memory"),
    ("Tensor::labelled", "names the memory"),
    ("Tensor::downgrade", "gives a handle"),
    ("Tensor::binding", "pins the memory"),
    ("Tensor::into_host", "reads, of a tensor whose memory nothing shares"),
    ("Tensor::into_host_blocking", "reads, of a tensor whose memory nothing shares"),
];

/// Operations that the conformance suites do not run, with the reason.
const WITHOUT_A_CASE: [(&str, &str); 16] = [
    ("Tensor::copy_", "PyTorch's database has no entry for it"),
    ("Tensor::empty", "its elements are not specified"),
    ("Tensor::empty_like", "its elements are not specified"),
    ("Tensor::rand", "random"),
    ("Tensor::rand_like", "random"),
    ("Tensor::randn", "random"),
    ("Tensor::randn_like", "random"),
    ("Tensor::conv2d_then", "PyTorch has no such operation"),
    ("Tensor::matmul_then", "PyTorch has no such operation"),
    ("Tensor::from_slice", "creates all inputs"),
    ("Tensor::read", "the driver waits for results"),
    ("Tensor::item", "a read"),
    ("Tensor::item_blocking", "a read"),
    ("Fused::run_into", "PyTorch has no such operation"),
    ("Tensor::from_vec", "creates inputs"),
    ("Tensor::i", "composed of views that have cases; its index is a tuple of static types"),
];

/// What the generators call operations that they do not call by their name.
const GENERATED_AS: [(&str, &str); 5] = [
    ("add_scaled", "add_alpha"),
    ("where_cond", "where"),
    // The driver compares every result by it.
    ("read_blocking", "value"),
    // Composed of the mode and `_backward`.
    ("upsample_bilinear_backward", "interpolate"),
    ("upsample_nearest_backward", "interpolate"),
];

/// All rows.
pub(super) fn rows() -> Vec<Row> {
    let tables: [fn() -> Vec<Row>; 26] = [
        elementwise::bounds,
        reductions::variances,
        whole::items,
        elementwise::unary,
        elementwise::unary_in_place,
        elementwise::binary,
        elementwise::binary_in_place,
        elementwise::scalars,
        elementwise::comparisons,
        elementwise::choices,
        elementwise::casts,
        reductions::reductions,
        reductions::indices_of_extremes,
        reductions::rows_of_rows,
        reductions::losses,
        products::products,
        products::epilogues,
        images::convolutions,
        images::patches,
        images::pools,
        images::sizes,
        indices::lookups,
        whole::views,
        whole::copies,
        whole::new,
        whole::steps,
    ];
    tables.into_iter().flat_map(|rows| rows()).collect()
}

/// The tokens of every source below a folder, one list for each file.
fn sources(folder: &Path, into: &mut Vec<Vec<Token>>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            into.push(tokens(&text));
        }
    }
}

fn word(token: Option<&Token>) -> Option<&str> {
    match &token?.kind {
        Kind::Word(word) => Some(word),
        _ => None,
    }
}

fn is_symbol(token: Option<&Token>, symbol: char) -> bool {
    token.is_some_and(|token| token.is_symbol(symbol))
}

/// One past the bracket that closes the one at `open`.
fn end_of_group(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Symbol('{' | '(' | '[') => depth += 1,
            Kind::Symbol('}' | ')' | ']') => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// Of a macro that writes methods: the type that it writes them for, and the places among the parts of an entry, which
/// are divided by commas, of the methods' names.
type Macro = (&'static str, Vec<usize>);

/// The public methods of some types, as `Tensor::add`.
///
/// These are `pub fn NAME` within `impl TYPE { … }`. Some of those blocks are written by a macro, whose methods are
/// `pub fn $NAME`; then the names are those that its invocations have in the place of `$NAME:ident`.
fn methods(sources: &[Vec<Token>], types: &[&'static str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for tokens in sources {
        let definitions = definitions(tokens);
        // A macro is used in the file that defines it.
        let mut macros: BTreeMap<&str, Macro> = BTreeMap::new();
        for at in 0..tokens.len() {
            let inside = definitions.iter().find(|(_, range)| range.contains(&at));
            let Some((kind, range)) = block_of_type(tokens, at, types) else { continue };
            for (line, name) in public_functions(&tokens[range]) {
                match (name, inside) {
                    (Name::Written(name), _) => drop(found.insert(format!("{kind}::{name}"))),
                    (Name::Captured(name), Some((definition, whole))) => {
                        let part = captures(&tokens[whole.clone()]).iter().position(|part| *part == name);
                        let part = part.unwrap_or_else(|| panic!("line {line}: {definition}! captures no ${name}"));
                        macros.entry(definition).or_insert_with(|| (kind, Vec::new())).1.push(part);
                    }
                    (Name::Captured(name), None) => panic!("line {line}: pub fn ${name} outside of a macro"),
                }
            }
        }
        for (name, (kind, parts)) in &macros {
            for entry in invocations(tokens, name).into_iter().flatten() {
                let named = parts.iter().map(|&part| word(entry.get(part).and_then(|part| part.first())));
                let named = named.map(|name| name.unwrap_or_else(|| panic!("an entry has no name: {entry:?}")));
                found.extend(named.map(|name| format!("{kind}::{name}")));
            }
        }
    }
    found
}

/// Where each `macro_rules! NAME { … }` is.
fn definitions(tokens: &[Token]) -> Vec<(String, std::ops::Range<usize>)> {
    let starts =
        (0..tokens.len()).filter(|&at| tokens[at].is_word("macro_rules") && is_symbol(tokens.get(at + 1), '!'));
    let named = starts.filter_map(|at| Some((word(tokens.get(at + 2))?.into(), at + 3..end_of_group(tokens, at + 3))));
    named.collect()
}

/// The block `impl TYPE { … }`, with or without generics, that begins here.
fn block_of_type(
    tokens: &[Token],
    at: usize,
    types: &[&'static str],
) -> Option<(&'static str, std::ops::Range<usize>)> {
    if !tokens[at].is_word("impl") {
        return None;
    }
    let open = (at..tokens.len()).find(|&at| tokens[at].is_symbol('{'))?;
    let head = &tokens[at + 1..open];
    if head.iter().any(|token| token.is_word("for")) {
        return None;
    }
    let kind = types.iter().copied().find(|kind| head.iter().any(|token| token.is_word(kind)))?;
    Some((kind, open..end_of_group(tokens, open)))
}

enum Name {
    Written(String),
    Captured(String),
}

/// Each `pub fn`, `pub async fn` or `pub const fn` among the tokens, with its line.
fn public_functions(tokens: &[Token]) -> Vec<(usize, Name)> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if !token.is_word("pub") {
            continue;
        }
        let Some(after) = (at + 1..at + 4).find(|&at| tokens.get(at).is_some_and(|token| token.is_word("fn"))) else {
            continue;
        };
        // `pub(crate) fn` has a bracket in between.
        if tokens[at + 1..after].iter().any(|token| !matches!(token.kind, Kind::Word(_))) {
            continue;
        }
        let captured = is_symbol(tokens.get(after + 1), '$');
        let Some(name) = word(tokens.get(after + 1 + usize::from(captured))) else { continue };
        found.push((token.line, if captured { Name::Captured(name.into()) } else { Name::Written(name.into()) }));
    }
    found
}

/// The names that a macro's first matcher captures, in order: of `$name:ident, $other:expr;`, by commas.
fn captures(definition: &[Token]) -> Vec<String> {
    let end = end_of_group(definition, 1);
    let mut found = Vec::new();
    let mut part: Option<String> = None;
    for (at, token) in definition[..end].iter().enumerate() {
        match token.kind {
            Kind::Symbol(',' | ';') => found.push(part.take().unwrap_or_default()),
            Kind::Symbol('$') if part.is_none() => part = word(definition.get(at + 1)).map(str::to_string),
            _ => {}
        }
    }
    found
}

/// The entries of each `NAME! { … }`, divided by semicolons, and each of them by commas.
fn invocations<'a>(tokens: &'a [Token], name: &str) -> Vec<Vec<Vec<&'a [Token]>>> {
    let starts = (0..tokens.len()).filter(|&at| tokens[at].is_word(name) && is_symbol(tokens.get(at + 1), '!'));
    let bodies = starts.map(|at| &tokens[at + 3..end_of_group(tokens, at + 2) - 1]);
    let entries = bodies.map(|body| {
        let entries = body.split(|token| token.is_symbol(';')).filter(|entry| !entry.is_empty());
        entries.map(|entry| entry.split(|token| token.is_symbol(',')).collect()).collect()
    });
    entries.collect()
}

/// Whether a method is none of an operation.
pub(super) fn excused(name: &str) -> bool {
    NOT_OPERATIONS.iter().any(|(excused, _)| *excused == name)
}

/// The names of a type's public methods.
pub(super) fn methods_of(kind: &'static str) -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ops"), &mut files);
    let prefix = format!("{kind}::");
    methods(&files, &[kind]).iter().filter_map(|name| name.strip_prefix(&prefix)).map(str::to_string).collect()
}

pub(super) fn all_methods() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    ["src/ops", "src/tensor"].into_iter().for_each(|folder| sources(&root.join(folder), &mut files));
    methods(&files, &TYPES)
}

// Case 62: `check` runs each row in every layout.
#[test]
fn every_public_operation_has_a_row() {
    let methods = all_methods();
    // The reader of sources sees those of each kind: by themselves, of macros, of other types, asynchronous.
    for known in
        ["Tensor::matmul", "Tensor::gelu_", "Tensor::add_scaled_", "Tensor::read", "Fused::run_into", "Sgd::step"]
    {
        assert!(methods.contains(known), "{known} was not found in the sources");
    }
    let rows: BTreeSet<String> = rows().into_iter().map(|row| row.name).collect();
    let missing: Vec<&String> = methods.iter().filter(|name| !rows.contains(*name) && !excused(name)).collect();
    assert!(missing.is_empty(), "operations without a row in the table: {missing:?}");
    let unknown: Vec<&String> = rows.iter().filter(|name| !methods.contains(*name)).collect();
    assert!(unknown.is_empty(), "rows of no public operation: {unknown:?}");
}

#[test]
fn every_public_operation_is_run_by_the_conformance_driver() {
    let mut files = Vec::new();
    for file in ["elementwise.rs", "operations.rs", "compare.rs"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/conformance").join(file);
        files.push(tokens(&fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))));
    }
    let words: BTreeSet<&str> = files.iter().flatten().filter_map(|token| word(Some(token))).collect();
    let is_run = |name: &str| name.split("::").last().is_some_and(|method| words.contains(method));
    let excused = |name: &str| NOT_OPERATIONS.iter().chain(&WITHOUT_A_CASE).any(|(excused, _)| *excused == name);
    let methods = all_methods();
    let missing: Vec<&String> = methods.iter().filter(|name| !is_run(name) && !excused(name)).collect();
    assert!(missing.is_empty(), "operations that examples/conformance does not run: {missing:?}");
    let stale: Vec<&str> =
        WITHOUT_A_CASE.iter().map(|(name, _)| *name).filter(|name| !methods.contains(*name)).collect();
    assert!(stale.is_empty(), "excused and no operations: {stale:?}");
}

#[test]
fn every_public_operation_is_named_by_a_generator_of_conformance_cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance");
    let mut words = BTreeSet::new();
    for entry in fs::read_dir(&folder).expect("there are generators").flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
        words.extend(text.split(|character| !is_part(character)).map(str::to_string));
    }
    let is_named = |name: &str| {
        let method = name.split("::").last().unwrap_or_default();
        // The driver runs the forms in place, and those that keep an axis, of the operation's cases.
        let method = method.strip_suffix("_keepdim").or(method.strip_suffix('_')).unwrap_or(method);
        let called = GENERATED_AS.iter().find(|(operation, _)| *operation == method);
        words.contains(called.map_or(method, |(_, called)| called))
    };
    let excused = |name: &str| NOT_OPERATIONS.iter().chain(&WITHOUT_A_CASE).any(|(excused, _)| *excused == name);
    let methods = all_methods();
    let missing: Vec<&String> = methods.iter().filter(|name| !is_named(name) && !excused(name)).collect();
    assert!(missing.is_empty(), "operations that no generator in conformance/ names: {missing:?}");
}

#[test]
fn an_operation_without_a_row_is_noticed_however_it_is_written() {
    let source = |text: &str| vec![tokens(text)];
    let of = |text: &str| methods(&source(text), &TYPES).into_iter().collect::<Vec<_>>();
    assert_eq!(of("impl Tensor { pub fn one(&self) {} fn two() {} pub(crate) fn three() {} }"), ["Tensor::one"]);
    assert_eq!(of("impl<const N: usize> Fused<N> { pub fn run(&self) {} }"), ["Fused::run"]);
    assert_eq!(of("impl Clone for Tensor { pub fn four() {} } impl Other { pub fn five() {} }"), Vec::<String>::new());
    assert_eq!(of("impl Tensor { pub async fn six() {} pub const fn seven() {} }"), ["Tensor::seven", "Tensor::six"]);
    let written = "macro_rules! many { ($($first:ident, $value:literal, $second:ident, |$x:ident| $do:expr;)*) => {
            impl Tensor { $(pub fn $first() {} pub fn $second() {})* } } }
        many! { a, \"x, y; z\", b, |x| x; c, 2, d, |y| y; }";
    assert_eq!(of(written), ["Tensor::a", "Tensor::b", "Tensor::c", "Tensor::d"]);
}
