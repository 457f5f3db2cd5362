//! The text that is learned, as numbers.

use fastrand::Rng;
use std::collections::BTreeSet;

/// A text, and the characters that it has.
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

    /// How many different characters there are.
    pub(crate) fn characters(&self) -> usize {
        self.characters.len()
    }

    /// How long it is, in characters.
    pub(crate) fn length(&self) -> usize {
        self.numbers.len()
    }

    /// The numbers of its characters from one on.
    pub(crate) fn part(&self, start: usize, length: usize) -> &[u32] {
        &self.numbers[start..start + length]
    }

    /// The numbers of some other text's characters; the first one's for those that this text doesn't have.
    pub(crate) fn numbers(&self, text: &str) -> Vec<u32> {
        text.chars().map(|one| number(&self.characters, one)).collect()
    }

    /// The characters of numbers.
    pub(crate) fn decode(&self, numbers: &[u32]) -> String {
        numbers.iter().filter_map(|&number| self.characters.get(number as usize)).collect()
    }

    /// Parts of one length from anywhere, and what follows each of their characters.
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
