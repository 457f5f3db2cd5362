//! The size of a module whose names are replaced by their declarations.
//!
//! naga 30 visits each member of a nested structure for each variable of its type, and drivers replace each call by the body of the function:
//! both take time exponential in the number of declarations if each uses the one before twice.

use super::{Token, tokens};
use rustc_hash::FxHashMap;

/// The words of a declaration that are its names. Others, such as `var`, have no name that other declarations expand.
const NAMED: [&str; 5] = ["alias", "const", "fn", "override", "struct"];

/// Returns the number of words of the largest declaration after each name of a declaration was replaced by its words, recursively. An upper
/// bound, because local names that equal a declaration's name are replaced too. A declaration that contains itself counts once; the compiler
/// refuses it.
pub(super) fn words(wgsl: &str) -> usize {
    let declarations = declarations(wgsl);
    let mut sizes: FxHashMap<&str, usize> = FxHashMap::default();
    // The declarations being expanded: the next word, and the size so far. No recursion, whose depth the text would choose.
    let mut open: Vec<(&str, usize, usize)> = Vec::new();
    for &name in declarations.keys() {
        if !sizes.contains_key(name) {
            sizes.insert(name, 1);
            open.push((name, 0, 0));
        }
        while let Some((name, next, size)) = open.last_mut() {
            let Some(&word) = declarations[*name].get(*next) else {
                sizes.insert(*name, (*size).max(1));
                open.pop();
                continue;
            };
            if !sizes.contains_key(word) && declarations.contains_key(word) {
                sizes.insert(word, 1);
                open.push((word, 0, 0));
            } else {
                *size = size.saturating_add(sizes.get(word).copied().unwrap_or(1));
                *next += 1;
            }
        }
    }
    sizes.into_values().max().unwrap_or(0)
}

/// Returns the words of each declaration by its name. Words before the first declaration and of those without a name belong to the name "".
fn declarations(wgsl: &str) -> FxHashMap<&str, Vec<&str>> {
    let mut found: FxHashMap<&str, Vec<&str>> = FxHashMap::default();
    let (mut current, mut depth, mut names) = ("", 0_usize, false);
    for token in tokens(wgsl) {
        match token {
            Token::Symbol('(' | '[' | '{') => depth += 1,
            Token::Symbol(')' | ']' | '}') => depth = depth.saturating_sub(1),
            Token::Symbol(_) => {}
            Token::Word(word) if names => (current, names) = (word, false),
            Token::Word(word) if depth == 0 && NAMED.contains(&word) => names = true,
            Token::Word("var") if depth == 0 => current = "",
            Token::Word(word) => found.entry(current).or_default().push(word),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_by_their_words_in_any_order() {
        assert_eq!(words(""), 0);
        assert_eq!(words("struct S { a: f32, b: f32 }"), 4);
        assert_eq!(words("struct T { a: S, b: S } struct S { a: f32, b: f32 }"), 10);
        assert_eq!(words("fn f() -> i32 { return g() + g(); } const c = 1; fn g() -> i32 { return c; }"), 8);
        assert_eq!(words("fn f() { f(); g(); } fn g() { f(); }"), 2, "recursion ends");
        assert_eq!(words("struct S { a: f32 } var<private> s: S; @compute fn main() { s.a = 1; }"), 5);
    }

    #[test]
    fn a_size_beyond_the_largest_number_stops_there() {
        let twice = |level: usize| format!("struct S{} {{ a: S{level}, b: S{level} }} ", level + 1);
        let text: String = (0..100).map(twice).collect();
        assert_eq!(words(&text), usize::MAX);
        let chain = |level: usize| format!("const c{level} = c{}; ", level + 1);
        let text: String = (0..4000).map(chain).collect();
        assert_eq!(words(&text), 1);
    }
}
