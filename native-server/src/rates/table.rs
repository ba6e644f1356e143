//! The state of a limit, in a table that has its size from the beginning: however many addresses ask, it grows no further.

use governor::nanos::Nanos;
use governor::state::StateStore;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Places that a key may take. One that is in none of them takes that of whoever has most left.
const WAYS: usize = 8;

/// One key's state; key 0: nobody's.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    key: u64,
    /// When the key has its whole allowance again: the later, the less it has left.
    whole_at: u64,
}

/// Keys are hashes under a seed of this process: nobody outside can choose two that share their places.
#[derive(Debug)]
pub(super) struct Table {
    sets: Box<[Mutex<[Slot; WAYS]>]>,
}

impl Table {
    /// A table for so many keys, a little more where that is needed.
    pub(super) fn new(keys_max: usize) -> Self {
        let sets = keys_max.div_ceil(WAYS).next_power_of_two();
        Self { sets: (0..sets).map(|_| Mutex::default()).collect() }
    }

    fn set(&self, key: u64) -> MutexGuard<'_, [Slot; WAYS]> {
        let index = usize::try_from(key >> 32).unwrap_or(0) & (self.sets.len() - 1);
        // Numbers alone are changed under it.
        self.sets[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for Table {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let key = (*key).max(1);
        let mut set = self.set(key);
        let held = set.iter().position(|slot| slot.key == key);
        let (outcome, whole_at) = measure(held.map(|index| Nanos::from(set[index].whole_at)))?;
        // Whoever has most left loses least by being forgotten: at most it is allowed more than its share.
        let most_left = || (0..WAYS).min_by_key(|&index| set[index].whole_at).unwrap_or(0);
        let index = held.unwrap_or_else(most_left);
        set[index] = Slot { key, whole_at: whole_at.into() };
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(table: &Table, key: u64, whole_at: u64) -> Option<u64> {
        let held = std::cell::Cell::new(None);
        let outcome: Result<(), ()> = table.measure_and_replace(&key, |found| {
            held.set(found.map(u64::from));
            Ok(((), Nanos::from(whole_at)))
        });
        outcome.unwrap();
        held.get()
    }

    #[test]
    fn keys_are_held_until_those_who_have_less_left_need_the_place() {
        let table = Table::new(WAYS);
        for key in 1..=WAYS as u64 {
            assert_eq!(put(&table, key, 100 + key), None);
        }
        assert_eq!(put(&table, 2, 200), Some(102));
        assert_eq!(put(&table, 99, 150), None, "in the place of 1, which had most left");
        assert_eq!(put(&table, 2, 200), Some(200));
        assert_eq!(put(&table, 1, 300), None);
        assert_eq!(put(&table, 99, 150), Some(150));
    }

    #[test]
    fn what_is_refused_is_not_counted() {
        let table = Table::new(1);
        put(&table, 7, 10);
        let refused: Result<(), u64> = table.measure_and_replace(&7, |found| Err(found.map_or(0, u64::from)));
        assert_eq!(refused, Err(10));
        assert_eq!(put(&table, 7, 10), Some(10));
    }
}
