//! A bounded cache: when it is full, the least recently used half is evicted.
//!
//! No method drops a value: the methods that remove values return them, so that the caller drops them without a lock. On GL
//! the drop of a pipeline waits for the thread that has the context, and a callback on that thread may need the lock.
//!
//! Evicting half at once costs O(1) per entry on average and needs no linked list. An evicted value is created again at
//! its next use; current users hold their own reference.

use crate::device::CacheUse;
use rustc_hash::FxHashMap;
use std::borrow::Borrow;
use std::hash::Hash;

#[derive(Debug)]
struct Entry<V> {
    /// `None` only while the entry is removed.
    value: Option<V>,
    last_use: u64,
}

/// A map of at most `capacity` entries.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    entries: FxHashMap<K, Entry<V>>,
    capacity: usize,
    /// Look-ups and insertions so far, which serve as the clock of `last_use`.
    uses: u64,
    made: u64,
}

impl<K: Hash + Eq, V> Cache<K, V> {
    /// Creates an empty cache for `capacity` entries, but at least two.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: FxHashMap::default(), capacity: capacity.max(2), uses: 0, made: 0 }
    }

    /// Returns the value of a key and marks it as the most recently used.
    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.uses += 1;
        let entry = self.entries.get_mut(key)?;
        entry.last_use = self.uses;
        entry.value.as_ref()
    }

    /// Returns whether there is an entry for a key. Does not mark it as used.
    pub(crate) fn contains<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.entries.contains_key(key)
    }

    /// Inserts or replaces an entry. Returns the evicted values and the replaced one.
    #[must_use = "removed values may be dropped under no lock"]
    pub(crate) fn insert(&mut self, key: K, value: V) -> Vec<V> {
        let mut removed =
            if self.entries.len() >= self.capacity { self.take_least_recently_used_half() } else { Vec::new() };
        self.uses += 1;
        self.made += 1;
        let replaced = self.entries.insert(key, Entry { value: Some(value), last_use: self.uses });
        removed.extend(replaced.and_then(|entry| entry.value));
        removed
    }

    /// Removes the entries whose keys satisfy `should_remove`, and returns their values.
    #[must_use = "removed values may be dropped under no lock"]
    pub(crate) fn take_if(&mut self, should_remove: impl Fn(&K) -> bool) -> Vec<V> {
        self.take_entries(|key, _| should_remove(key))
    }

    /// Removes and returns all values.
    #[must_use = "removed values may be dropped under no lock"]
    pub(crate) fn take_all(&mut self) -> Vec<V> {
        std::mem::take(&mut self.entries).into_values().filter_map(|entry| entry.value).collect()
    }

    /// Returns the cache's usage, for reports.
    pub(crate) fn usage(&self, name: &'static str) -> CacheUse {
        let [entries, capacity] = [self.entries.len(), self.capacity].map(|count| count as u64);
        CacheUse { entries, most_entries: Some(capacity), made: self.made, ..CacheUse::named(name) }
    }

    /// Takes the entries that were used before the median. All values of `last_use` differ, so this takes at least half
    /// of the entries and leaves at least one.
    fn take_least_recently_used_half(&mut self) -> Vec<V> {
        let mut ages: Vec<u64> = self.entries.values().map(|entry| entry.last_use).collect();
        let middle = ages.len() / 2;
        let (_, &mut median, _) = ages.select_nth_unstable(middle);
        self.take_entries(|_, last_use| last_use < median)
    }

    /// Removes the entries for whose keys and last uses `should_remove` returns true, and returns their values.
    fn take_entries(&mut self, should_remove: impl Fn(&K, u64) -> bool) -> Vec<V> {
        let mut removed = Vec::new();
        self.entries.retain(|key, entry| {
            let is_removed = should_remove(key, entry.last_use);
            if is_removed {
                removed.extend(entry.value.take());
            }
            !is_removed
        });
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn the_least_recently_used_entries_are_evicted_first() {
        let mut cache = Cache::new(8);
        for key in 0..8 {
            assert!(cache.insert(key, key).is_empty());
        }
        for key in [0, 1] {
            assert_eq!(cache.get(&key), Some(&key));
        }
        let mut evicted = cache.insert(8, 8);
        evicted.sort_unstable();
        assert_eq!(evicted, [2, 3, 4, 5]);
        assert_eq!([2, 0, 8].map(|key| cache.get(&key).copied()), [None, Some(0), Some(8)]);
        assert_eq!(cache.usage("numbers").entries, 5);
    }

    /// A number, and whether the cache may not drop it.
    struct Value<'a>(u32, &'a Cell<bool>);

    impl Drop for Value<'_> {
        fn drop(&mut self) {
            assert!(!self.1.get(), "value {} is dropped inside", self.0);
        }
    }

    /// Two threads may build the same value at the same time.
    #[test]
    fn no_value_is_dropped_inside() {
        fn inside<'a>(is_inside: &Cell<bool>, act: impl FnOnce() -> Vec<Value<'a>>) -> Vec<u32> {
            is_inside.set(true);
            let removed = act();
            is_inside.set(false);
            removed.iter().map(|value| value.0).collect()
        }
        let is_inside = Cell::new(false);
        let mut cache = Cache::new(4);
        let mut removed = Vec::new();
        for (key, number) in [(1, 10), (1, 11), (2, 20), (3, 30), (3, 31), (4, 40), (5, 50)] {
            removed.extend(inside(&is_inside, || cache.insert(key, Value(number, &is_inside))));
        }
        removed.extend(inside(&is_inside, || cache.take_if(|&key| key == 5)));
        removed.extend(inside(&is_inside, || cache.take_if(|&key| key == 6)));
        removed.extend(inside(&is_inside, || cache.take_all()));
        removed.sort_unstable();
        assert_eq!(removed, [10, 11, 20, 30, 31, 40, 50]);
    }

    #[test]
    fn a_cache_never_exceeds_its_capacity() {
        for capacity in [2, 3, 7, 64] {
            let mut cache = Cache::new(capacity);
            let mut evicted = 0;
            for key in 0..1000_u64 {
                evicted += cache.insert(key, ()).len();
                let usage = cache.usage("units");
                assert!(usage.entries <= capacity as u64);
                assert_eq!((usage.entries + evicted as u64, usage.made), (key + 1, key + 1));
            }
            assert_eq!(cache.take_all().len() + evicted, 1000);
            assert_eq!(cache.usage("units").entries, 0);
        }
    }
}
