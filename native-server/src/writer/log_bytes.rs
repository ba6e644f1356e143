//! How many bytes of lines the log holds of each collection that exists, behind its stored baseline: for status, and to
//! know when the next baseline pays.

use headwater_core::command::{Action, Logged};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// See the module.
#[derive(Clone, Default)]
pub(super) struct LogBytes {
    total: u64,
    collections: HashMap<Arc<str>, Sum>,
    /// The lines counted, oldest first, where the log lets go of them one day.
    lines: Option<VecDeque<Counted>>,
}

/// One life of a collection: what an earlier one of its name left in the log is not its own.
#[derive(Clone, Copy)]
struct Sum {
    created: u64,
    bytes: u64,
}

#[derive(Clone)]
struct Counted {
    seq: u64,
    collection: Arc<str>,
    bytes: u64,
}

impl LogBytes {
    /// From here on lines are forgotten with [`LogBytes::forget_before`].
    pub(super) fn forgets(&mut self) {
        self.lines = Some(VecDeque::new());
    }

    /// Counts the line of a command that was applied, its newline included.
    pub(super) fn add(&mut self, command: &Logged<'_>, bytes: usize) {
        self.total += bytes as u64;
        let (Some(name), seq, bytes) = (command.collection.as_deref(), command.seq, bytes as u64) else { return };
        match &command.action {
            Action::Drop => drop(self.collections.remove(name)),
            Action::Create => drop(self.collections.insert(name.into(), Sum { created: seq, bytes })),
            _ => {
                if let Some(sum) = self.collections.get_mut(name) {
                    sum.bytes += bytes;
                }
            }
        }
        if let (Some(lines), Some((collection, _))) = (&mut self.lines, self.collections.get_key_value(name)) {
            lines.push_back(Counted { seq, collection: Arc::clone(collection), bytes });
        }
    }

    /// The log holds nothing below `floor` any more.
    pub(super) fn forget_before(&mut self, floor: u64) {
        let Some(lines) = &mut self.lines else { return };
        while let Some(line) = lines.pop_front_if(|line| line.seq < floor) {
            if let Some(sum) = self.collections.get_mut(&line.collection).filter(|sum| sum.created <= line.seq) {
                sum.bytes -= line.bytes;
            }
        }
    }

    /// A baseline covers what was counted by then.
    pub(super) fn subtract(&mut self, covered: &Self) {
        self.total = self.total.saturating_sub(covered.total);
        for (name, covered) in &covered.collections {
            if let Some(sum) = self.collections.get_mut(name).filter(|sum| sum.created == covered.created) {
                sum.bytes = sum.bytes.saturating_sub(covered.bytes);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn count_for_tests(&mut self, bytes: u64) {
        self.total += bytes;
    }

    /// Bytes of all lines counted.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Bytes held of `collection`; 0 when it does not exist.
    pub(super) fn of(&self, collection: &str) -> u64 {
        self.collections.get(collection).map_or(0, |sum| sum.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::command::{Line, Trust, decode};

    fn add(bytes: &mut LogBytes, seq: u64, kind: &str, collection: &str, rest: &str) -> u64 {
        let line = format!(
            r#"{{"type":"{kind}","collection":"{collection}","seq":{seq},"prev":1,{rest}"timestamp":1,"value":1}}"#
        );
        let Ok(Line::Log(command)) = decode(line.as_bytes(), Trust::Checked) else { panic!("{line}") };
        bytes.add(&command, line.len());
        line.len() as u64
    }

    const ENTRY: &str = r#""key":"k","version":1,"#;

    #[test]
    fn a_collection_does_not_inherit_from_one_of_its_name() {
        let mut bytes = LogBytes::default();
        add(&mut bytes, 2, "CREATE", "a", "");
        add(&mut bytes, 3, "SET", "a", ENTRY);
        let other = add(&mut bytes, 4, "CREATE", "b", "");
        add(&mut bytes, 5, "DROP", "a", "");
        assert_eq!((bytes.of("a"), bytes.of("b")), (0, other));
        assert_eq!(bytes.collections.len(), 1, "names that are gone are not kept");
        let own = add(&mut bytes, 6, "CREATE", "a", "") + add(&mut bytes, 7, "SET", "a", ENTRY);
        assert_eq!(bytes.of("a"), own);
    }

    #[test]
    fn what_a_baseline_covers_is_subtracted() {
        let mut bytes = LogBytes::default();
        add(&mut bytes, 2, "CREATE", "a", "");
        add(&mut bytes, 3, "CREATE", "b", "");
        let covered = bytes.clone();
        let set = add(&mut bytes, 4, "SET", "a", ENTRY);
        let drop = add(&mut bytes, 5, "DROP", "b", "");
        let created = add(&mut bytes, 6, "CREATE", "b", "");
        bytes.subtract(&covered);
        assert_eq!((bytes.of("a"), bytes.of("b")), (set, created), "the new b is none of what is covered");
        assert_eq!(bytes.total(), set + drop + created);
    }

    #[test]
    fn what_the_log_forgets_is_not_counted() {
        let mut bytes = LogBytes::default();
        bytes.forgets();
        add(&mut bytes, 2, "CREATE", "a", "");
        add(&mut bytes, 3, "SET", "a", ENTRY);
        add(&mut bytes, 4, "DROP", "a", "");
        let created = add(&mut bytes, 5, "CREATE", "a", "");
        let set = add(&mut bytes, 6, "SET", "a", ENTRY);
        bytes.forget_before(5);
        assert_eq!(bytes.of("a"), created + set, "lines of its earlier life were not counted for it");
        bytes.forget_before(6);
        assert_eq!(bytes.of("a"), set);
        bytes.forget_before(7);
        assert_eq!((bytes.of("a"), bytes.lines.map(|lines| lines.len())), (0, Some(0)));
    }
}
