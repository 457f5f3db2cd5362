//! The training text as tokens.

use fastrand::Rng;
use std::collections::BTreeSet;

/// A text and its character set.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    characters: Vec<char>,
    numbers: Vec<u32>,
}

impl Text {
    pub(crate) fn new(text: &str) -> Self {
        let characters: Vec<char> = text.chars().collect::<BTreeSet<_>>().into_iter().collect();
        let numbers = text.chars().map(|one| number(&characters, one)).collect();
        Self { characters, numbers }
    }

    /// The number of different characters.
    pub(crate) fn characters(&self) -> usize {
        self.characters.len()
    }

    /// The length in characters.
    pub(crate) fn length(&self) -> usize {
        self.numbers.len()
    }

    /// Returns the tokens of a part.
    pub(crate) fn part(&self, start: usize, length: usize) -> &[u32] {
        &self.numbers[start..start + length]
    }

    /// Returns the tokens of another text; unknown characters map to the first token.
    pub(crate) fn numbers(&self, text: &str) -> Vec<u32> {
        text.chars().map(|one| number(&self.characters, one)).collect()
    }

    /// Returns the characters of tokens.
    pub(crate) fn decode(&self, numbers: &[u32]) -> String {
        numbers.iter().filter_map(|&number| self.characters.get(number as usize)).collect()
    }

    /// Returns random parts of equal length, and the character after each of their characters.
    pub(crate) fn batch(&self, count: usize, length: usize, random: &mut Rng) -> [Vec<u32>; 2] {
        let starts: Vec<usize> = (0..count).map(|_| random.usize(0..self.length() - length)).collect();
        let parts = |shift: usize| starts.iter().flat_map(|start| self.part(start + shift, length)).copied().collect();
        [parts(0), parts(1)]
    }
}

fn number(characters: &[char], one: char) -> u32 {
    let place = characters.binary_search(&one).unwrap_or_default();
    u32::try_from(place).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_decode_to_their_text_and_targets_are_shifted_by_one_character() {
        let text = Text::new("a pool of tensors");
        assert_eq!(text.decode(text.part(0, text.length())), "a pool of tensors");
        let [from, to] = text.batch(5, 4, &mut Rng::with_seed(2));
        for (from, to) in from.chunks(4).zip(to.chunks(4)) {
            assert_eq!(from[1..], to[..3]);
        }
    }
}
