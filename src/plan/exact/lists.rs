//! Lists of numbers in one allocation.

use super::super::narrow;

/// A list of piece indices for each of several keys.
#[derive(Debug)]
pub(super) struct Lists {
    /// By key: where its list begins in `items`; one more for the end of the last.
    begins: Vec<u32>,
    items: Vec<u32>,
}

impl Lists {
    /// Collects lists from pairs of a key and an item; pairs with the same key keep their order.
    pub(super) fn new(keys: u32, pairs: impl Iterator<Item = (u32, u32)> + Clone) -> Self {
        let mut begins = vec![0_u32; keys as usize + 1];
        for (key, _) in pairs.clone() {
            begins[key as usize + 1] += 1;
        }
        for key in 0..keys as usize {
            begins[key + 1] += begins[key];
        }
        let mut next = begins.clone();
        let mut items = vec![0; begins[keys as usize] as usize];
        for (key, item) in pairs {
            let place = &mut next[key as usize];
            items[*place as usize] = item;
            *place += 1;
        }
        debug_assert_eq!(narrow(items.len()), begins[keys as usize]);
        Self { begins, items }
    }

    /// The positions of a key's items, for loops that change other parts of the owner.
    pub(super) fn range(&self, key: usize) -> std::ops::Range<usize> {
        self.begins[key] as usize..self.begins[key + 1] as usize
    }

    pub(super) fn item(&self, position: usize) -> usize {
        self.items[position] as usize
    }

    pub(super) fn of(&self, key: usize) -> impl Iterator<Item = usize> {
        self.items[self.range(key)].iter().map(|item| *item as usize)
    }
}
