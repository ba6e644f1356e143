//! What a baseline changed: the difference between two exact pictures of the state.

use headwater_core::record::Record;
use headwater_core::store::scan::{Scan, Walk};
use headwater_core::store::{Snapshot, SnapshotError};
use std::cmp::Ordering;

/// One thing that differs, in order of collections and keys.
#[derive(Debug, PartialEq)]
pub(super) enum Change<'a> {
    /// The collection is new; its entries follow.
    Created(&'a str),
    /// The collection and everything in it is gone.
    Dropped(&'a str),
    /// The entry is new, or another than before.
    Put(&'a str, &'a Record),
    /// The entry is gone, its collection is not.
    Gone(&'a str, &'a str),
}

/// Tells `each` what lies between `before` (nothing at all, for `None`) and `after`.
///
/// # Errors
/// Those of `each`, and of reading the pictures.
pub(super) fn difference<N: Snapshot, E: From<SnapshotError>>(
    before: Option<&N>,
    after: &N,
    mut each: impl FnMut(Change<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut old_names = before.map_or(&[][..], |before| before.collections()).iter().map(|c| &*c.name).peekable();
    let mut new_names = after.collections().iter().map(|c| &*c.name).peekable();
    loop {
        let order = match (old_names.peek(), new_names.peek()) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.cmp(new),
        };
        let old_name = if order.is_le() { old_names.next() } else { None };
        let new_name = if order.is_ge() { new_names.next() } else { None };
        match (old_name, new_name, before) {
            (Some(name), Some(_), Some(before)) => {
                entries(name, Some(Entries::new(before, name)), Entries::new(after, name), &mut each)?;
            }
            (Some(name), None, _) => each(Change::Dropped(name))?,
            (_, Some(name), _) => {
                each(Change::Created(name))?;
                entries(name, None, Entries::new(after, name), &mut each)?;
            }
            (None, None, _) => return Ok(()),
        }
    }
}

fn entries<N: Snapshot, E: From<SnapshotError>>(
    name: &str,
    mut before: Option<Entries<'_, N>>,
    mut after: Entries<'_, N>,
    each: &mut impl FnMut(Change<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut next_before = || before.as_mut().map_or(Ok(None), Entries::next);
    let (mut old, mut new) = (next_before()?, after.next()?);
    loop {
        let order = match (&old, &new) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.key().cmp(new.key()),
        };
        match (&old, &new) {
            (Some(old), Some(new)) if order.is_eq() => {
                if !is_same(old, new) {
                    each(Change::Put(name, new))?;
                }
            }
            (Some(old), _) if order.is_lt() => each(Change::Gone(name, old.key()))?,
            (_, Some(new)) => each(Change::Put(name, new))?,
            (_, None) => {}
        }
        if order.is_le() {
            old = next_before()?;
        }
        if order.is_ge() {
            new = after.next()?;
        }
    }
}

/// Whether both are the same write. Where histories differ, equal numbers alone do not say so.
fn is_same(a: &Record, b: &Record) -> bool {
    (a.seq(), a.version(), a.timestamp()) == (b.seq(), b.version(), b.timestamp()) && a.value() == b.value()
}

/// A walk through one collection of one snapshot.
struct Entries<'n, N> {
    snapshot: &'n N,
    collection: &'n str,
    walk: Walk,
}

impl<'n, N: Snapshot> Entries<'n, N> {
    fn new(snapshot: &'n N, collection: &'n str) -> Self {
        Self { snapshot, collection, walk: Scan::under("", None).into() }
    }

    fn next(&mut self) -> Result<Option<Record>, SnapshotError> {
        self.walk.next_record(self.snapshot, self.collection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::apply::apply;
    use headwater_core::command::{Line, Trust, decode};
    use headwater_core::scope::Scope;
    use headwater_core::store::memory::{MemoryOptions, MemorySnapshot, MemoryStore};
    use headwater_core::store::{Progress, Store};

    fn state(lines: &[String]) -> MemorySnapshot {
        let store = MemoryStore::new(Progress::new(Scope::Everything), MemoryOptions::single_threaded(1));
        for line in lines {
            let Ok(Line::Log(command)) = decode(line.as_bytes(), Trust::Checked) else { panic!("{line}") };
            apply(&store, &command, &mut Vec::new()).unwrap();
        }
        store.snapshot().unwrap()
    }

    fn create(seq: u64, collection: &str) -> String {
        format!(r#"{{"type":"CREATE","collection":"{collection}","seq":{seq},"timestamp":1}}"#)
    }

    fn set(seq: u64, collection: &str, key: &str, value: &str) -> String {
        format!(
            r#"{{"type":"SET","collection":"{collection}","seq":{seq},"prev":1,"key":"{key}","version":1,"timestamp":1,"value":{value}}}"#
        )
    }

    fn shown(before: Option<&MemorySnapshot>, after: &MemorySnapshot) -> Vec<String> {
        let mut shown = Vec::new();
        let outcome: Result<(), SnapshotError> = difference(before, after, |change| {
            shown.push(match change {
                Change::Created(name) => format!("+{name}"),
                Change::Dropped(name) => format!("-{name}"),
                Change::Put(name, record) => format!("{name}/{}={}", record.key(), record.value()),
                Change::Gone(name, key) => format!("{name}/{key} gone"),
            });
            Ok(())
        });
        outcome.unwrap();
        shown
    }

    #[test]
    fn tells_what_lies_between_two_states() {
        let before = state(&[
            create(1, "a"),
            create(2, "b"),
            create(3, "d"),
            set(4, "b", "changed", "1"),
            set(5, "b", "gone", "1"),
            set(6, "b", "same", "1"),
            set(7, "d", "x", "1"),
        ]);
        let after = state(&[
            create(2, "b"),
            create(3, "c"),
            create(4, "d"),
            set(6, "b", "same", "1"),
            set(7, "d", "x", "1"),
            set(8, "b", "changed", "2"),
            set(9, "b", "new", "1"),
            set(10, "c", "x", "1"),
        ]);
        assert_eq!(shown(Some(&before), &after), ["-a", "b/changed=2", "b/gone gone", "b/new=1", "+c", "c/x=1"]);
        assert_eq!(shown(Some(&before), &before), [""; 0]);
        assert_eq!(shown(None, &after)[..3], ["+b", "b/changed=2", "b/new=1"]);
    }

    #[test]
    fn another_write_under_the_same_number_differs() {
        let (before, after) =
            (state(&[create(1, "a"), set(2, "a", "x", "1")]), state(&[create(1, "a"), set(2, "a", "x", "2")]));
        assert_eq!(shown(Some(&before), &after), ["a/x=2"]);
    }

    #[test]
    fn more_than_a_page_is_walked_to_its_end() {
        let lines = |range: std::ops::Range<u64>| -> Vec<String> {
            std::iter::once(create(1, "a")).chain(range.map(|n| set(n + 2, "a", &format!("{n:05}"), "0"))).collect()
        };
        let (before, after) = (state(&lines(0..1_000)), state(&lines(300..1_200)));
        assert_eq!(shown(Some(&before), &after).len(), 300 + 200);
    }
}
