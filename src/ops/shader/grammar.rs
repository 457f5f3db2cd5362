//! Rules of WGSL that naga does not enforce, and browsers do: which binary operators may stand together without parentheses, and
//! which numbers there are.
//!
//! - The operands of `|`, `&`, `^`, `<<` and `>>` are unary expressions. Only an operator of the first three may be repeated.
//! - `&&` and `||` are not mixed.
//! - Comparisons have no comparisons as operands.
//! - No number with a decimal point or exponent is above the largest of f32 (of f16, with the suffix `h`), not even one that would be
//!   rounded to it. A number without a suffix may be larger if it is not converted to f32, which no kernel needs.

/// Checks that no text between two delimiters mixes operators that WGSL does not mix, and that no number is too large.
///
/// # Errors
/// The operators, and the line that they end on; or the number, and its line.
pub(super) fn check(wgsl: &str) -> Result<(), String> {
    let mut levels: Vec<Vec<&str>> = vec![Vec::new()];
    let mut ends_operand = false;
    for Token { text, kind, line } in tokens(wgsl) {
        let check = |operators: &[&str]| rule(operators).map_err(|problem| format!("line {line}: {problem}"));
        match kind {
            Kind::Operand => {
                magnitude(text).map_err(|problem| format!("line {line}: {problem}"))?;
                ends_operand = true;
            }
            // An operator without an operand before it has one operand.
            Kind::Operator if ends_operand => {
                levels.last_mut().expect("the outermost level is never removed").push(text);
                ends_operand = false;
            }
            Kind::Operator => {}
            Kind::Open => {
                levels.push(Vec::new());
                ends_operand = false;
            }
            Kind::Close => {
                check(&levels.pop().unwrap_or_default())?;
                if levels.is_empty() {
                    return Err(format!("line {line}: `{text}` closes nothing"));
                }
                ends_operand = true;
            }
            Kind::Separator => {
                let level = levels.last_mut().expect("the outermost level is never removed");
                check(&std::mem::take(level))?;
                ends_operand = false;
            }
        }
    }
    Ok(())
}

/// Checks that an operand is not a decimal number above the largest of its type. naga rounds first and compares afterwards.
fn magnitude(operand: &str) -> Result<(), String> {
    let is_hexadecimal = operand.starts_with("0x") || operand.starts_with("0X");
    // Whole numbers with the suffix `i` or `u` are none of f64's, and names neither.
    let digits = operand.strip_suffix(['f', 'h']).unwrap_or(operand);
    let Some(number) = digits.parse::<f64>().ok().filter(|_| starts_number(operand) && !is_hexadecimal) else {
        return Ok(());
    };
    let (dtype, largest) = if operand.ends_with('h') { ("f16", 65504.0) } else { ("f32", f64::from(f32::MAX)) };
    if number <= largest { Ok(()) } else { Err(format!("{operand} exceeds {largest:e}, the largest {dtype}")) }
}

/// Checks the operators of one level between two delimiters.
fn rule(operators: &[&str]) -> Result<(), String> {
    let wrong = || Err(format!("WGSL needs parentheses between {operators:?}"));
    let has = |list: &[&str]| operators.iter().any(|operator| list.contains(operator));
    let is_bitwise = ["|", "&", "^"].into_iter().any(|operator| has(&[operator]));
    if is_bitwise {
        return if operators.iter().all(|operator| *operator == operators[0]) { Ok(()) } else { wrong() };
    }
    if has(&["&&"]) && has(&["||"]) {
        return wrong();
    }
    for relation in operators.split(|operator| ["&&", "||"].contains(operator)) {
        let is_comparison = |operator: &&str| ["<", ">", "<=", ">=", "==", "!="].contains(operator);
        if relation.iter().filter(|operator| is_comparison(operator)).count() > 1 {
            return wrong();
        }
        for sum in relation.split(is_comparison) {
            if sum.len() > 1 && sum.iter().any(|operator| ["<<", ">>"].contains(operator)) {
                return wrong();
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A name or a number.
    Operand,
    Operator,
    Open,
    Close,
    /// The symbols that end an expression, and the words before one.
    Separator,
}

#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    text: &'a str,
    kind: Kind,
    line: usize,
}

/// Returns the length and the kind of the longest operator or delimiter at the start of a text. Other characters have no meaning here.
fn symbol(rest: &str) -> (usize, Kind) {
    match rest.as_bytes() {
        [b'<', b'<', b'=', ..] | [b'>', b'>', b'=', ..] => (3, Kind::Separator),
        [b'<', b'<', ..] | [b'>', b'>', ..] | [b'&', b'&', ..] | [b'|', b'|', ..] => (2, Kind::Operator),
        [b'<' | b'>' | b'=' | b'!', b'=', ..] => (2, Kind::Operator),
        [b'-', b'>', ..] | [b'+', b'+', ..] | [b'-', b'-', ..] => (2, Kind::Separator),
        [b'+' | b'-' | b'*' | b'/' | b'%' | b'&' | b'|' | b'^', b'=', ..] => (2, Kind::Separator),
        [b'(' | b'[', ..] => (1, Kind::Open),
        [b')' | b']', ..] => (1, Kind::Close),
        [b'<' | b'>' | b'+' | b'-' | b'*' | b'/' | b'%' | b'&' | b'|' | b'^' | b'!' | b'~', ..] => (1, Kind::Operator),
        _ => (rest.chars().next().map_or(0, char::len_utf8), Kind::Separator),
    }
}

/// Words that stand before an expression.
const BEFORE: [&str; 9] = ["return", "if", "while", "switch", "case", "else", "break", "const_assert", "in"];

/// Splits a text into tokens. A list of template arguments is one level, as what stands between parentheses.
fn tokens(wgsl: &str) -> Vec<Token<'_>> {
    let mut tokens: Vec<Token<'_>> = Vec::new();
    // The tokens `<` after a name that may begin a list, each with the depth of parentheses around it.
    let (mut begins, mut depth) = (Vec::<(usize, usize)>::new(), 0_usize);
    let (mut at, mut line) = (0, 1);
    while let Some(first) = wgsl[at..].chars().next() {
        let rest = &wgsl[at..];
        let skipped = match rest.as_bytes() {
            [b'/', b'/', ..] => rest.find('\n').unwrap_or(rest.len()),
            [b'/', b'*', ..] => rest.find("*/").map_or(rest.len(), |end| end + 2),
            [b'.', ..] if !starts_number(rest) => 1,
            [byte, ..] if byte.is_ascii_whitespace() => run_of(rest, u8::is_ascii_whitespace),
            _ if first.is_whitespace() || first == '@' => first.len_utf8(),
            _ => 0,
        };
        if skipped > 0 {
            for byte in &rest.as_bytes()[..skipped] {
                line += usize::from(*byte == b'\n');
            }
            at += skipped;
            continue;
        }
        let (length, kind) = if starts_number(rest) {
            (number(rest), Kind::Operand)
        } else if first.is_alphabetic() || first == '_' {
            let length = name(rest);
            (length, if BEFORE.contains(&&rest[..length]) { Kind::Separator } else { Kind::Operand })
        } else {
            symbol(rest)
        };
        let (mut text, mut kind) = (&rest[..length], kind);
        let after_name = tokens.last().is_some_and(|last| {
            last.kind == Kind::Operand && last.text.starts_with(|letter: char| letter.is_alphabetic() || letter == '_')
        });
        match text {
            "<" if after_name => begins.push((tokens.len(), depth)),
            ">" | ">>" | ">=" | ">>=" if begins.last().is_some_and(|(_, outer)| *outer == depth) => {
                let (begin, _) = begins.pop().unwrap_or_default();
                tokens[begin].kind = Kind::Open;
                (text, kind) = (&rest[..1], Kind::Close);
            }
            "(" | "[" => depth += 1,
            ")" | "]" => {
                begins.retain(|(_, outer)| *outer < depth);
                depth = depth.saturating_sub(1);
            }
            "&&" | "||" => begins.retain(|(_, outer)| *outer < depth),
            ";" | "{" | ":" | "=" => begins.clear(),
            _ => {}
        }
        tokens.push(Token { text, kind, line });
        at += text.len();
    }
    tokens
}

fn starts_number(rest: &str) -> bool {
    matches!(rest.as_bytes(), [b'0'..=b'9', ..] | [b'.', b'0'..=b'9', ..])
}

/// The number of bytes at the beginning of a text of which each is one of these. A plain loop: the texts of all shaders come here, in
/// builds without optimization.
fn run_of(rest: &str, is_one: fn(&u8) -> bool) -> usize {
    let bytes = rest.as_bytes();
    let mut length = 0;
    while length < bytes.len() && is_one(&bytes[length]) {
        length += 1;
    }
    length
}

/// Returns the length of a name.
fn name(rest: &str) -> usize {
    let ascii = run_of(rest, |byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    if rest[ascii..].starts_with(|letter: char| !letter.is_ascii()) {
        return rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
    }
    ascii
}

/// Returns the length of a number, with the sign of its exponent.
fn number(rest: &str) -> usize {
    let exponents = if rest.starts_with("0x") || rest.starts_with("0X") { ['p', 'P'] } else { ['e', 'E'] };
    let mut before = ' ';
    let end = rest.find(|letter: char| {
        let belongs = letter.is_ascii_alphanumeric()
            || letter == '.'
            || ['+', '-'].contains(&letter) && exponents.contains(&before);
        before = letter;
        !belongs
    });
    end.unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_that_wgsl_does_not_mix_are_found() {
        for wrong in [
            "a | b & c",
            "a & b ^ c",
            "a + b & c",
            "a & b == c",
            "a == b & c",
            "a | b << c",
            "a << b | c",
            "a << b << c",
            "a + b << c",
            "a << b + c",
            "a >> b * c",
            "a && b || c",
            "a < b == c",
            "a == b == c",
            "a & b && c",
            "f(a & b + c)",
            "d[a >> 1u + b]",
            "f(a, b | c | d + e)",
            "-a & -b - c",
            "vec4<u32>(a)[0] & b + c",
            "array<u32, 4 & 2 + 1>()",
            "(a & b) | c + d",
            "a * 0x1p-3 & b",
        ] {
            let text = format!("fn f() {{\n    let x = {wrong};\n}}\n");
            assert!(check(&text).is_err_and(|problem| problem.contains("line 2: WGSL needs parentheses")), "{wrong}");
        }
        for wrong in
            ["if a & b == 0u { }", "return a | b & c;", "for (var i = 0u; i & 1u == 0u; i++) { }", "x |= a & b + c;"]
        {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn operators_that_wgsl_mixes_are_accepted() {
        for right in [
            "a | b | c",
            "a & b & -c",
            "(a | b) & c",
            "a + b * c - d % e",
            "a + b < c << d",
            "a << b < c && d >= e >> f && g",
            "a == b || c != d || !e",
            "(a && b) || c",
            "&a",
            "*p & 1u",
            "f(a & b, c + d)",
            "d[a >> 1u] + d[(a & b) + c]",
            "vec4<u32>(a) & vec4<u32>(b)",
            "array<vec2<u32>, 4>()[1].x >> 1u",
            "bitcast<u32>(a) & 1u",
            "select(a, b, c < d) | e",
            "f(a < b, c > d)",
            "1e-5 + 0x1e - 5 * .5e+3f",
            "a - b // | & ^ <<\n + /* & */ c",
        ] {
            assert_eq!(check(&format!("fn f() -> u32 {{\n    let x = {right};\n}}\n")), Ok(()), "{right}");
        }
        let text = "@group(0) @binding(0) var<storage, read_write> x: array<atomic<u32>>;\nvar<workgroup> y: array<u32, 256>;\n\
                    @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) {\n    x[i] |= y[i] & 1u;\n    \
                    for (var j = 0u; j < 4u && j > 1u; j += 1u) { if i >> 1u == j { break; } }\n}";
        assert_eq!(check(text), Ok(()));
    }

    #[test]
    fn numbers_that_are_rounded_to_the_largest_are_found() {
        for wrong in ["3.40282347e+38", "3.4028235e38", "3.4028235e38f", "-3.41e38", "65519.0h", "7e4h", "1e400"] {
            let text = format!("fn f() {{\n    let x = {wrong};\n}}\n");
            assert!(check(&text).is_err_and(|problem| problem.contains("line 2: ")), "{wrong}");
        }
        for right in [
            "3.4028234e38",
            "-3.4028234e38f",
            "65504.0h",
            "65519.0",
            "0x1.fffffep+127",
            "0x7fffffff",
            "4294967295u",
            "inf",
        ] {
            assert_eq!(check(&format!("fn f() {{ let x = {right}; }}")), Ok(()), "{right}");
        }
        assert_eq!("3.4028234e38".parse(), Ok(f32::MAX));
    }

    /// The reason for this file.
    #[test]
    fn naga_accepts_what_the_grammar_does_not() {
        let text = "const MOST: f32 = 3.40282347e+38;";
        assert!(naga::front::wgsl::parse_str(text).is_ok());
        assert!(check(text).is_err());
        let text = "fn f(a: u32, b: u32, c: u32) -> u32 { return a | b & c + b << c; }";
        assert!(naga::front::wgsl::parse_str(text).is_ok());
        assert!(check(text).is_err());
    }
}
