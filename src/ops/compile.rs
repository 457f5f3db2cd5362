//! Compilation of user WGSL with bounds, so that neither deep nesting nor a panic of the compiler ends the program.
//!
//! naga, wgpu's backends and drivers process a shader recursively. The text is first checked against bounds on nesting.
//! Then it is compiled on a thread with a large stack, and a panic becomes an error. On the web there are no threads,
//! and a panic ends the program; the bounds are lower there.

mod expansion;

use crate::error::KernelError;

/// The longest WGSL text of a user's kernel, in bytes.
const MOST_BYTES: usize = if SMALL { 128 << 10 } else { 1 << 20 };
/// The largest depth of nested brackets and of `else if` branches, each of which is nested in the previous branch.
const MOST_NESTING: usize = if SMALL { 100 } else { 1000 };
/// The largest number of operators in one expression. Each operator nests the expression to its left, and compiling
/// takes quadratic time.
const MOST_OPERATORS: usize = if SMALL { 250 } else { 1000 };
/// The largest number of declarations in a module. Each may refer to the next, and compiling takes quadratic time.
const MOST_DECLARATIONS: usize = if SMALL { 1000 } else { 4000 };
/// The largest number of statements of a function: its semicolons, its blocks, and the commas of its `case` clauses. naga takes
/// quadratic time for them, in debug builds 4 s for as many assignments to a buffer as this, 20 s for 40,000.
const MOST_STATEMENTS: usize = if SMALL { 1 << 12 } else { 1 << 14 };
/// The largest number of words of a declaration with all names replaced by their declarations: more than any text has without this.
const MOST_WORDS: usize = if SMALL { 1 << 19 } else { 1 << 22 };
/// The largest value of a `@size` or `@align` attribute in bytes: naga 30 adds these without checking for overflow. More than any
/// tensor has.
const MOST_ATTRIBUTE: u64 = 1 << 30;

/// Whether the stack is that of the caller, or addresses have 32 bits.
const SMALL: bool = cfg!(any(target_arch = "wasm32", target_pointer_width = "32"));

/// Bytes of the compiling thread's stack. Only those that are used take memory.
#[cfg(not(target_arch = "wasm32"))]
const STACK_BYTES: usize = if SMALL { 32 << 20 } else { 256 << 20 };

/// Runs a compiler on a thread with a large stack, and catches its panic.
///
/// # Errors
/// The errors of `compile`; [`KernelError::Compile`] if it panics, or if no thread can be created.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn guarded<R: Send>(compile: impl FnOnce() -> Result<R, KernelError> + Send) -> Result<R, KernelError> {
    let failed = |message: String| Err(KernelError::Compile { message });
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("wgpu-pool compiler".into()).stack_size(STACK_BYTES);
        match builder.spawn_scoped(scope, compile).map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => failed(format!("the compiler panicked: {}", message_of(&*panic))),
            Err(error) => failed(format!("there is no thread with a stack of {STACK_BYTES} B: {error}")),
        }
    })
}

/// Runs a compiler on this thread, which is the only one.
#[cfg(target_arch = "wasm32")]
pub(super) fn guarded<R>(compile: impl FnOnce() -> Result<R, KernelError>) -> Result<R, KernelError> {
    compile()
}

#[cfg(not(target_arch = "wasm32"))]
fn message_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

/// Checks a text against the bounds, before it is parsed.
///
/// # Errors
/// [`KernelError::Compile`], with the bound.
pub(super) fn check_text(wgsl: &str) -> Result<(), KernelError> {
    let above = |what: &str, limit: usize| {
        Err(KernelError::Compile { message: format!("{what} above the limit of {limit} for kernels of the program") })
    };
    if wgsl.len() > MOST_BYTES {
        return above(&format!("{} bytes of text are", wgsl.len()), MOST_BYTES);
    }
    let found = Scan::of(wgsl);
    if found.nesting > MOST_NESTING {
        return above(&format!("{} nested brackets and `else` branches are", found.nesting), MOST_NESTING);
    }
    if found.operators > MOST_OPERATORS {
        return above(&format!("{} operators of one expression are", found.operators), MOST_OPERATORS);
    }
    if found.declarations > MOST_DECLARATIONS {
        return above(&format!("{} declarations are", found.declarations), MOST_DECLARATIONS);
    }
    if found.statements > MOST_STATEMENTS {
        return above(&format!("{} statements of one function are", found.statements), MOST_STATEMENTS);
    }
    let words = expansion::words(wgsl);
    if words > MOST_WORDS {
        return above(
            &format!("{words} words of a declaration with the structures and functions that it uses are"),
            MOST_WORDS,
        );
    }
    if found.attribute > MOST_ATTRIBUTE {
        let limit = usize::try_from(MOST_ATTRIBUTE).unwrap_or(usize::MAX);
        return above(&format!("{} bytes of a @size or @align are", found.attribute), limit);
    }
    Ok(())
}

/// The largest depth of nested conditions and loops on a software driver. Mesa's driver (22.3) has 80 masks of active lanes and
/// executes deeper branches with a wrong mask, without an error.
const MOST_MASKS: usize = 64;

/// Checks the depth of nested conditions and loops.
///
/// # Errors
/// [`KernelError::Compile`], with the bound.
pub(super) fn check_nesting(nesting: usize, is_software: bool) -> Result<(), KernelError> {
    if nesting <= MOST_MASKS || !is_software {
        return Ok(());
    }
    let message =
        format!("{nesting} nested conditions and loops are above the limit of {MOST_MASKS} of software drivers");
    Err(KernelError::Compile { message })
}

/// An upper bound of the recursion depth of compilers for a text.
#[derive(Debug, Default, PartialEq, Eq)]
struct Scan {
    nesting: usize,
    operators: usize,
    declarations: usize,
    statements: usize,
    attribute: u64,
}

/// A word or a character of the text, without comments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Symbol(char),
}

impl Scan {
    fn of(wgsl: &str) -> Self {
        let mut scan = Self::default();
        // The number of `else` branches in the current chain, for each open bracket.
        let mut chains = vec![0_usize];
        let (mut depth, mut operators, mut statements) = (0, 0, 0);
        // Open round and square brackets: their commas separate no values of `case` clauses.
        let mut lists = 0_usize;
        let mut last = [Token::Symbol(' '); 3];
        for token in tokens(wgsl) {
            let after_block = last[2] == Token::Symbol('}');
            match token {
                Token::Word("else") if after_block => {
                    if let Some(chain) = chains.last_mut() {
                        *chain += 1;
                        depth += 1;
                    }
                }
                _ if after_block => {
                    // The chain of `else` branches has ended.
                    depth -= chains.last_mut().map(std::mem::take).unwrap_or_default();
                }
                _ => {}
            }
            match token {
                Token::Symbol('(' | '[' | '{') => {
                    chains.push(0);
                    depth += 1;
                }
                Token::Symbol(')' | ']' | '}') if chains.len() > 1 => {
                    depth -= 1 + chains.pop().unwrap_or_default();
                }
                _ => {}
            }
            match token {
                Token::Symbol(';' | '{' | '}' | ',') => operators = 0,
                Token::Symbol(character) if !"()[]@".contains(character) => operators += 1,
                // Each index or call is an operand of the next one: `a[0][0]`, `f()()`.
                Token::Symbol('(' | '[') => operators += 1,
                Token::Word(word)
                    if matches!(last, [Token::Symbol('@'), Token::Word("size" | "align"), Token::Symbol('(')]) =>
                {
                    scan.attribute = scan.attribute.max(integer(word));
                }
                _ => {}
            }
            match token {
                Token::Symbol('(' | '[') => lists += 1,
                Token::Symbol(')' | ']') => lists = lists.saturating_sub(1),
                Token::Symbol(';' | '{') => statements += 1,
                Token::Symbol(',') if lists == 0 => statements += 1,
                _ => {}
            }
            scan.statements = scan.statements.max(statements);
            if chains.len() == 1 && matches!(token, Token::Symbol(';' | '}')) {
                scan.declarations += 1;
                statements = 0;
            }
            scan.nesting = scan.nesting.max(depth);
            scan.operators = scan.operators.max(operators);
            last = [last[1], last[2], token];
        }
        scan
    }
}

/// Returns the value of an integer literal: 0 for any other word, and the largest number on overflow.
fn integer(word: &str) -> u64 {
    let digits = word.trim_end_matches(['u', 'i']);
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (digits, 10),
    };
    match u64::from_str_radix(digits, radix) {
        Ok(value) => value,
        Err(error) if *error.kind() == std::num::IntErrorKind::PosOverflow => u64::MAX,
        Err(_) => 0,
    }
}

fn tokens(wgsl: &str) -> impl Iterator<Item = Token<'_>> {
    let mut rest = wgsl;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_start();
            if let Some(comment) = rest.strip_prefix("//") {
                rest = &comment[comment.find(is_line_break).unwrap_or(comment.len())..];
            } else if rest.starts_with("/*") {
                rest = after_block_comment(rest);
            } else {
                break;
            }
        }
        let first = rest.chars().next()?;
        let is_word = |character: char| character.is_alphanumeric() || character == '_';
        let length = if is_word(first) { rest.find(|c| !is_word(c)).unwrap_or(rest.len()) } else { first.len_utf8() };
        let (token, after) = rest.split_at(length);
        rest = after;
        Some(if is_word(first) { Token::Word(token) } else { Token::Symbol(first) })
    })
}

/// Returns whether a character ends a line comment, by the WGSL specification.
fn is_line_break(character: char) -> bool {
    matches!(character, '\n' | '\u{b}' | '\u{c}' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Returns the text after a block comment. Block comments nest.
fn after_block_comment(wgsl: &str) -> &str {
    let mut depth = 0_usize;
    let mut rest = wgsl;
    loop {
        let Some(place) = rest.find(['/', '*']) else { return "" };
        rest = &rest[place..];
        if let Some(inner) = rest.strip_prefix("/*") {
            (depth, rest) = (depth + 1, inner);
        } else if let Some(outer) = rest.strip_prefix("*/") {
            (depth, rest) = (depth - 1, outer);
            if depth == 0 {
                return rest;
            }
        } else {
            rest = &rest[1..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(wgsl: &str, wanted: &str) {
        let Err(KernelError::Compile { message }) = check_text(wgsl) else { panic!("{wanted}: accepted") };
        assert!(message.contains(wanted), "{message}");
    }

    #[test]
    fn a_scan_counts_nesting_chains_operators_and_declarations() {
        let found =
            Scan::of("fn f() { if a { g(h(1)); } else if b { } else { } } const x = 1 + 2 * /* ((( */ 3; // {{{\n");
        // f's block, two branches, and the last one's own block.
        assert_eq!((found.nesting, found.declarations), (4, 2));
        assert_eq!(Scan::of("{ { } if a {} else if b {} if c {} else {} }").nesting, 3);
        assert_eq!(Scan::of("a + b - c; d").operators, 2);
        assert_eq!(Scan::of("/* /* ( */ ( */ (").nesting, 1);
        assert_eq!(Scan::of("/* never ends ((((").nesting, 0);
        assert_eq!(Scan::of(")))}}}((").nesting, 2);
        assert_eq!(Scan::of("// \u{2028} ((").nesting, 2);
        assert_eq!(Scan::of("struct S { @size(0x10u) a: u32, @align ( 64 ) b: u32 }").attribute, 64);
        assert_eq!(integer("99999999999999999999u"), u64::MAX);
    }

    #[test]
    fn texts_beyond_the_bounds_are_refused_and_those_within_are_not() {
        check_text(&" ".repeat(MOST_BYTES)).expect("within");
        refused(&" ".repeat(MOST_BYTES + 1), "bytes of text are above the limit");
        check_text(&"(".repeat(MOST_NESTING)).expect("within");
        refused(&"(".repeat(MOST_NESTING + 1), "nested brackets and `else` branches are above the limit");
        refused(&format!("{{ if a {{}} {}", "else if a {} ".repeat(MOST_NESTING)), "`else` branches");
        check_text(&format!("{{ {}", "if a {} else {} ".repeat(MOST_NESTING))).expect("one after the other");
        refused(&format!("x{}", "+1".repeat(MOST_OPERATORS + 1)), "operators of one expression");
        refused(&format!("x{}", ".y".repeat(MOST_OPERATORS + 1)), "operators of one expression");
        check_text(&"array(1, 2), x = 1; ".repeat(MOST_DECLARATIONS / 2)).expect("within");
        refused(&"const a = b;".repeat(MOST_DECLARATIONS + 1), "declarations");
        let body = |statement: &str, count: usize| format!("fn f() {{ {} }} ", statement.repeat(count));
        for (statement, counted) in [("x = 1;", 1), ("if x { x = f(1, 2); }", 2), ("case 1, 2, 3: { y[a, b] = 1; }", 4)]
        {
            // The block of the function is counted, too.
            let most = (MOST_STATEMENTS - 1) / counted;
            check_text(&body(statement, most).repeat(2)).expect("within, in each function");
            refused(&body(statement, most + 1), "statements of one function are above the limit");
        }
        let twice = |levels: usize| {
            let structs = (0..levels).map(|level| format!("struct S{} {{ a: S{level}, b: S{level} }} ", level + 1));
            let functions = (0..levels).map(|level| format!("fn f{}() {{ f{level}(); f{level}(); }} ", level + 1));
            [structs.collect::<String>(), functions.collect()]
        };
        for text in twice(10) {
            check_text(&text).expect("within");
        }
        for text in twice(27) {
            refused(&text, "words of a declaration with the structures and functions that it uses are above the limit");
        }
        refused("struct S { @size(4294967292) a: u32 }", "4294967292 bytes of a @size or @align");
    }

    #[cfg(not(target_arch = "wasm32"))]
    #[test]
    fn a_panic_of_the_compiler_is_an_error_and_the_stack_is_large() {
        fn deep(levels: u32) -> u64 {
            let own = std::hint::black_box([u64::from(levels); 512]);
            if levels == 0 { own[0] } else { deep(levels - 1) + std::hint::black_box(own)[5] }
        }
        // 40 MB at the least.
        assert_eq!(guarded(|| Ok(deep(10_000))), Ok(50_005_000));
        let panicked = guarded::<()>(|| panic!("number {}", 5));
        assert_eq!(panicked, Err(KernelError::Compile { message: "the compiler panicked: number 5".into() }));
        let panicked = guarded::<()>(|| std::panic::panic_any(5));
        assert_eq!(panicked, Err(KernelError::Compile { message: "the compiler panicked: no message".into() }));
    }
}
