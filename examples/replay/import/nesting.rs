//! The nesting of a pickle, which is bounded before the pickle is read: the reader and the release of its values call themselves once a level.
//!
//! A pickle is a program for a stack machine. It is executed here with depths in place of values.

use std::collections::HashMap;

/// The most levels. Snapshots of PyTorch have about ten.
pub(super) const MOST: u32 = 128;

/// A value: its depth, or a reference to a numbered value.
#[derive(Clone, Copy, Debug)]
enum Item {
    Depth(u32),
    Reference(u32),
}

/// A numbered value.
#[derive(Clone, Copy, Debug)]
struct Numbered {
    depth: u32,
    /// Whether it is part of another value, whose depth does not change any more if this one grows.
    is_part: bool,
}

/// The machine. `None` as a result ends the execution, where the reader ends as well: with an error, or at the end of the pickle.
struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Item>,
    /// The lengths of the stack at the marks.
    marks: Vec<usize>,
    numbered: HashMap<u32, Numbered>,
    /// The greatest depth so far.
    deepest: u32,
    /// The levels that numbered values have grown by after they became part of another: no path to a value has more of these in addition.
    grown: u32,
}

/// Returns whether the values of a pickle have at most [`MOST`] levels.
pub(super) fn is_bounded(pickle: &[u8]) -> bool {
    let mut machine =
        Machine { rest: pickle, stack: Vec::new(), marks: Vec::new(), numbered: HashMap::new(), deepest: 0, grown: 0 };
    let is_bounded = |machine: &Machine<'_>| machine.deepest.saturating_add(machine.grown) <= MOST;
    while is_bounded(&machine) && machine.step().is_some() {}
    is_bounded(&machine)
}

impl<'a> Machine<'a> {
    fn step(&mut self) -> Option<()> {
        match self.byte()? {
            b'\x80' => drop(self.bytes(1)?),
            b'\x95' => drop(self.bytes(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.above_mark()?),
            b'2' => self.stack.push(*self.stack.last()?),
            b'p' => self.number_from_line().and_then(|number| self.memoize(number))?,
            b'q' => self.little(1).and_then(|number| self.memoize(number))?,
            b'r' => self.little(4).and_then(|number| self.memoize(number))?,
            b'\x94' => self.memoize(self.numbered.len() as u64)?,
            b'g' => self.number_from_line().and_then(|number| self.refer(number))?,
            b'h' => self.little(1).and_then(|number| self.refer(number))?,
            b'j' => self.little(4).and_then(|number| self.refer(number))?,
            // Values without parts: constants, lines, numbers of fixed length, and bytes behind their length.
            b'N' | b'\x88' | b'\x89' | b')' | b']' | b'}' | b'\x8f' => self.push(1),
            b'I' | b'L' | b'F' | b'S' | b'V' => self.line().map(|_| self.push(1))?,
            b'K' => self.skip(1)?,
            b'M' => self.skip(2)?,
            b'J' => self.skip(4)?,
            b'G' => self.skip(8)?,
            b'\x8a' | b'C' | b'U' | b'\x8c' => self.little(1).and_then(|length| self.skip(length))?,
            b'\x8b' | b'B' | b'T' | b'X' => self.little(4).and_then(|length| self.skip(length))?,
            b'\x8e' | b'\x8d' | b'\x96' => self.little(8).and_then(|length| self.skip(length))?,
            // Values of the values before.
            b'\x85' => self.collect(1)?,
            b'\x86' => self.collect(2)?,
            b'\x87' => self.collect(3)?,
            b't' | b'l' | b'd' | b'\x91' => self.above_mark().map(|depth| self.push(depth + 1))?,
            b'a' => {
                let item = self.pop()?;
                let depth = self.depth(item)?;
                self.extend(depth)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                let depth = self.depth(value)?.max(self.depth(key)?);
                self.extend(depth)?;
            }
            b'e' | b'u' | b'\x90' => self.above_mark().and_then(|depth| self.extend(depth))?,
            // Objects.
            b'c' => {
                let _ = (self.line()?, self.line()?);
                self.push(1);
            }
            b'\x93' | b'R' => self.collect(2)?,
            b'i' => {
                let _ = (self.line()?, self.line()?, self.above_mark()?);
                self.push(1);
            }
            b'o' => {
                let _ = (self.above_mark()?, self.pop()?);
                self.push(1);
            }
            b'\x81' => self.collect(2)?,
            b'\x92' => self.collect(3)?,
            b'b' => {
                let (state, _) = (self.pop()?, self.pop()?);
                self.stack.push(state);
            }
            // The end, or a code that the reader refuses.
            _ => return None,
        }
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    fn bytes(&mut self, length: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(bytes)
    }

    /// Reads a number of this many bytes, the least significant first.
    fn little(&mut self, length: u64) -> Option<u64> {
        let bytes = self.bytes(length)?;
        Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn line(&mut self) -> Option<&'a [u8]> {
        let length = self.rest.iter().position(|&byte| byte == b'\n')?;
        let line = self.bytes(length as u64 + 1)?;
        Some(line[..length].strip_suffix(b"\r").unwrap_or(&line[..length]))
    }

    fn number_from_line(&mut self) -> Option<u64> {
        std::str::from_utf8(self.line()?).ok()?.parse::<u32>().ok().map(u64::from)
    }

    fn push(&mut self, depth: u32) {
        self.deepest = self.deepest.max(depth);
        self.stack.push(Item::Depth(depth));
    }

    /// Pushes a value without parts, of this many bytes.
    fn skip(&mut self, length: u64) -> Option<()> {
        self.bytes(length)?;
        self.push(1);
        Some(())
    }

    fn pop(&mut self) -> Option<Item> {
        let is_empty = self.marks.last().is_some_and(|&mark| self.stack.len() <= mark);
        if is_empty { None } else { self.stack.pop() }
    }

    /// The depth of a value that becomes part of another.
    fn depth(&mut self, item: Item) -> Option<u32> {
        match item {
            Item::Depth(depth) => Some(depth),
            Item::Reference(number) => {
                let numbered = self.numbered.get_mut(&number)?;
                numbered.is_part = true;
                Some(numbered.depth)
            }
        }
    }

    /// Removes the values above the last mark. Returns the greatest depth.
    fn above_mark(&mut self) -> Option<u32> {
        let mark = self.marks.pop()?;
        let mut deepest = 0;
        for item in self.stack.split_off(mark) {
            deepest = deepest.max(self.depth(item)?);
        }
        Some(deepest)
    }

    /// Makes a value of the last ones.
    fn collect(&mut self, count: u32) -> Option<()> {
        let mut deepest = 0;
        for _ in 0..count {
            let item = self.pop()?;
            deepest = deepest.max(self.depth(item)?);
        }
        self.push(deepest + 1);
        Some(())
    }

    /// Adds values of at most this depth to the last one.
    fn extend(&mut self, depth: u32) -> Option<()> {
        let deeper = match self.stack.last_mut()? {
            Item::Depth(container) => {
                *container = (*container).max(depth + 1);
                *container
            }
            Item::Reference(number) => {
                let numbered = *self.numbered.get(number)?;
                let number = *number;
                let deeper = Numbered { depth: numbered.depth.max(depth + 1), ..numbered };
                self.replace(number, deeper);
                deeper.depth
            }
        };
        self.deepest = self.deepest.max(deeper);
        Some(())
    }

    fn memoize(&mut self, number: u64) -> Option<()> {
        let number = u32::try_from(number).ok()?;
        let depth = match self.pop()? {
            Item::Depth(depth) => depth,
            Item::Reference(of) => self.numbered.get(&of)?.depth,
        };
        self.replace(number, Numbered { depth, is_part: false });
        self.stack.push(Item::Reference(number));
        Some(())
    }

    fn replace(&mut self, number: u32, by: Numbered) {
        let before = self.numbered.insert(number, by);
        if let Some(Numbered { depth, is_part: true }) = before {
            self.grown = self.grown.saturating_add(by.depth.saturating_sub(depth));
            self.numbered.entry(number).and_modify(|numbered| numbered.is_part = true);
        }
    }

    fn refer(&mut self, number: u64) -> Option<()> {
        self.stack.push(Item::Reference(u32::try_from(number).ok()?));
        Some(())
    }
}
