//! Elements as text, by the rules of `torch/_tensor_str.py`.

use super::arithmetic;
use super::dtype::{DType, Element};
use crate::error::Count;

/// Up to this many elements all are shown; of more, this many at each end of an axis.
const THRESHOLD: usize = 1000;
const EDGE: usize = 3;
/// Digits behind the point, and characters of a line.
const PRECISION: usize = 4;
const LINE: usize = 80;
const PREFIX: &str = "tensor(";

/// The sizes of the part of a shape that is shown: where an axis has fewer indices than the shape, its first and last three.
pub(crate) fn shown_sizes(shape: &[usize]) -> Vec<usize> {
    let is_whole = arithmetic::product(shape).is_some_and(|elements| elements <= THRESHOLD);
    shape.iter().map(|&size| if is_whole { size } else { size.min(2 * EDGE) }).collect()
}

/// The text of a tensor of this shape. The elements are those of the sizes `held`: all, or those that are shown.
pub(crate) fn text<T: Element>(shape: &[usize], elements: &[T], held: &[usize]) -> String {
    if arithmetic::product(held) != Some(elements.len()) {
        return format!("{PREFIX}{} for shape {shape:?})", Count(elements.len(), "element"));
    }
    let mut suffixes = Vec::new();
    if elements.is_empty() && shape.len() != 1 {
        suffixes.push(format!("size={shape:?}"));
    }
    if T::DTYPE != DType::F32 {
        suffixes.push(format!("dtype={}", T::DTYPE));
    }
    let body = if elements.is_empty() {
        "[]".into()
    } else {
        let values = Values { shape, shown: &shown_sizes(shape), held, elements };
        let mut all = Vec::new();
        values.each(0, 0, &mut |value| all.push(value));
        body(&values, &Style::of::<T>(&all), 0, 0)
    };
    let mut text = format!("{PREFIX}{body}");
    let mut column = text.chars().rev().take_while(|&character| character != '\n').count();
    for suffix in suffixes {
        if column + suffix.len() + 2 > LINE {
            text += &format!(",\n{}{suffix}", " ".repeat(PREFIX.len()));
            column = PREFIX.len() + suffix.len();
        } else {
            text += &format!(", {suffix}");
            column += suffix.len() + 2;
        }
    }
    text + ")"
}

/// The elements that are shown.
struct Values<'a, T> {
    shape: &'a [usize],
    shown: &'a [usize],
    held: &'a [usize],
    elements: &'a [T],
}

impl<T: Element> Values<'_, T> {
    /// The places along an axis, among those that are held, of the indices that are shown.
    fn places(&self, axis: usize) -> impl Iterator<Item = usize> + use<T> {
        let (shown, held) = (self.shown[axis], self.held[axis]);
        let head = if shown < self.shape[axis] { EDGE } else { shown };
        (0..head).chain(held - (shown - head)..held)
    }

    /// Passes on the elements from an axis on, below the place of the axes before it.
    fn each(&self, axis: usize, place: usize, visit: &mut impl FnMut(f64)) {
        if axis == self.shape.len() {
            visit(self.elements[place].value());
            return;
        }
        for index in self.places(axis) {
            self.each(axis + 1, place * self.held[axis] + index, visit);
        }
    }
}

/// The format of all elements.
struct Style {
    kind: Kind,
    width: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer,
    /// Whole numbers of floating point, with a point behind them.
    Whole,
    Fixed,
    Scientific,
}

impl Style {
    fn of<T: Element>(values: &[f64]) -> Self {
        if !T::DTYPE.is_floating_point() {
            return Self::fitting(Kind::Integer, values.iter().copied());
        }
        let numbers = || values.iter().copied().filter(|value| value.is_finite() && *value != 0.0);
        let (least, most) = numbers()
            .fold((f64::INFINITY, 0.0_f64), |(least, most), value| (least.min(value.abs()), most.max(value.abs())));
        let kind = if numbers().next().is_none() {
            Kind::Whole
        } else if most / least > 1000.0 || most > 1e8 || least < 1e-4 {
            Kind::Scientific
        } else if numbers().all(|value| value.fract() == 0.0) {
            Kind::Whole
        } else {
            Kind::Fixed
        };
        Self::fitting(kind, numbers())
    }

    /// As wide as the widest of some numbers. Zeros, NaN and infinities widen nothing, as in PyTorch.
    fn fitting(kind: Kind, values: impl Iterator<Item = f64>) -> Self {
        Self { kind, width: values.map(|value| written(kind, value).len()).max().unwrap_or(1) }
    }

    fn write(&self, value: f64) -> String {
        format!("{:>1$}", written(self.kind, value), self.width)
    }
}

fn written(kind: Kind, value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    match kind {
        Kind::Integer => format!("{value:.0}"),
        Kind::Whole => format!("{value:.0}."),
        Kind::Fixed => format!("{value:.PRECISION$}"),
        Kind::Scientific => {
            let text = format!("{value:.PRECISION$e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
            format!("{digits}e{sign}{exponent:0>2}")
        }
    }
}

/// The elements from an axis on, in brackets. `indent` brackets are open before.
fn body<T: Element>(values: &Values<'_, T>, style: &Style, axis: usize, place: usize) -> String {
    let rank = values.shape.len();
    let Some(&size) = values.shape.get(axis) else { return style.write(values.elements[place].value()) };
    let below = |index: usize| place * values.held[axis] + index;
    let is_cut = values.shown[axis] < size;
    let indent = PREFIX.len() + axis;
    if axis + 1 == rank {
        let mut all: Vec<String> =
            values.places(axis).map(|index| style.write(values.elements[below(index)].value())).collect();
        if is_cut {
            all.insert(EDGE, " ...".into());
        }
        let in_line = ((LINE - indent.min(LINE)) / (style.width + 2)).max(1);
        let lines: Vec<String> = all.chunks(in_line).map(|line| line.join(", ")).collect();
        return format!("[{}]", lines.join(&format!(",\n{}", " ".repeat(indent + 1))));
    }
    let mut all: Vec<String> = values.places(axis).map(|index| body(values, style, axis + 1, below(index))).collect();
    if is_cut {
        all.insert(EDGE, "...".into());
    }
    let between = format!(",{}{}", "\n".repeat(rank - axis - 1), " ".repeat(indent + 1));
    format!("[{}]", all.join(&between))
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
