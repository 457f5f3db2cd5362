//! The text of a kernel, whose module-scope declarations the host changes by name. An undeclared name is an error.

use crate::error::DeviceError;
use std::ops::Range;

/// The WGSL of a kernel while it is put together.
#[derive(Debug)]
pub(super) struct Source {
    /// In errors.
    shader: &'static str,
    text: String,
}

impl Source {
    pub(super) fn new(shader: &'static str, text: String) -> Self {
        Self { shader, text }
    }

    /// Sets the body of a function, or the value of a constant or an alias.
    ///
    /// # Errors
    /// [`DeviceError::Validation`] unless the name is declared as one of these.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), DeviceError> {
        let declaration = self.declaration(name)?;
        let own = &self.text[declaration.clone()];
        let changed = match (own.split_once(" {\n"), own.split_once(" = ")) {
            (Some((head, _)), _) if own.starts_with("fn ") => format!("{head} {{\n    {value}\n}}\n"),
            (_, Some((head, _))) => format!("{head} = {value};\n"),
            _ => return Err(self.invalid(&format!("declares `{name}` without a body or a value"))),
        };
        self.text.replace_range(declaration, &changed);
        Ok(())
    }

    /// Removes a binding; those after it move up.
    ///
    /// # Errors
    /// [`DeviceError::Validation`] unless the name is declared as a binding.
    pub(super) fn unbind(&mut self, name: &str) -> Result<(), DeviceError> {
        let binding = |number: usize| format!("@group(0) @binding({number})");
        let declaration = self.declaration(name)?;
        let own = &self.text[declaration.clone()];
        let number = (0..).take(8).find(|&number| own.starts_with(&binding(number)));
        let number = number.ok_or_else(|| self.invalid(&format!("declares `{name}`, but not as a binding")))?;
        self.text.replace_range(declaration, "");
        for later in number + 1..8 {
            self.text = self.text.replace(&binding(later), &binding(later - 1));
        }
        Ok(())
    }

    /// Whether the name is declared.
    pub(super) fn declares(&self, name: &str) -> bool {
        self.declaration(name).is_ok()
    }

    pub(super) fn text(self) -> String {
        self.text
    }

    /// Returns the range of the declaration of a name. A declaration starts at the start of a line; a function ends
    /// with a brace at the start of a line.
    fn declaration(&self, name: &str) -> Result<Range<usize>, DeviceError> {
        let mut start = 0;
        for line in self.text.split_inclusive('\n') {
            if declared_name(line) == Some(name) {
                let rest = &self.text[start..];
                let end = if line.starts_with("fn ") { "\n}\n" } else { ";\n" };
                let length = rest.find(end).map(|place| place + end.len());
                return length.map(|length| start..start + length).ok_or_else(|| self.invalid("ends in a declaration"));
            }
            start += line.len();
        }
        Err(self.invalid(&format!("doesn't declare `{name}`")))
    }

    fn invalid(&self, problem: &str) -> DeviceError {
        DeviceError::Validation { message: format!("the shader {} {problem}", self.shader) }
    }
}

/// The name that a line of WGSL declares, if it begins a declaration.
fn declared_name(line: &str) -> Option<&str> {
    let mut rest = line;
    while rest.starts_with('@') {
        rest = rest.split_once(' ')?.1;
    }
    let (keyword, after) = rest.split_once(' ')?;
    let name = match keyword {
        "alias" | "const" | "fn" => after,
        keyword if keyword.starts_with("var<") => rest.split_once("> ")?.1,
        _ => return None,
    };
    name.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "// a: it.
@group(0) @binding(0) var<storage, read_write> output: array<f32>;
@group(0) @binding(1) var<storage, read_write> left: array<f32>;
@group(0) @binding(2) var<storage, read_write> right: array<f32>;
const TILE: u32 = 4u;
alias Sum = f32;

// Returns left.
fn left_at(at: u32) -> f32 {
    let right = 1;
    return left[at];
}
";

    fn source() -> Source {
        Source::new("a", TEXT.into())
    }

    #[test]
    fn bodies_values_and_bindings_are_changed_by_name() -> Result<(), DeviceError> {
        let mut source = source();
        source.set("left_at", "return 1.0;")?;
        source.set("TILE", "8u")?;
        source.set("Sum", "i32")?;
        source.unbind("left")?;
        let wanted = "// a: it.
@group(0) @binding(0) var<storage, read_write> output: array<f32>;
@group(0) @binding(1) var<storage, read_write> right: array<f32>;
const TILE: u32 = 8u;
alias Sum = i32;

// Returns left.
fn left_at(at: u32) -> f32 {
    return 1.0;
}
";
        assert_eq!(source.text(), wanted);
        Ok(())
    }

    #[test]
    fn what_is_not_declared_is_an_error_and_never_passed_over() {
        let refused = |found: Result<(), DeviceError>, wanted: &str| {
            assert_eq!(found, Err(DeviceError::Validation { message: format!("the shader a {wanted}") }));
        };
        for name in ["tile", "TIL", "TILES", "left_a", "at", "it", "read_write", ""] {
            refused(source().set(name, "1"), &format!("doesn't declare `{name}`"));
        }
        refused(source().unbind("biases"), "doesn't declare `biases`");
        refused(source().unbind("TILE"), "declares `TILE`, but not as a binding");
        refused(source().set("output", "1"), "declares `output` without a body or a value");
    }
}
