//! What really happened: every history that a writer wrote, record by record, and the state after each.

use headwater_core::command::{Action, Line, Logged, Trust, decode};
use headwater_core::position::{Position, Term};
use headwater_core::scope::Scope;
use headwater_core::store::{Snapshot, Store};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;

/// An entry as everyone must hold it: value text, version, seq, timestamp.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Entry(Rc<str>, u64, u64, u64);

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value: String = self.0.chars().take(20).collect();
        write!(f, "{value} version {} seq {} at {}", self.1, self.2, self.3)
    }
}

/// A whole state: collections with the seq of their CREATE and their entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Picture(BTreeMap<String, (u64, BTreeMap<String, Entry>)>);

impl Picture {
    /// What a store holds of `scope`.
    pub(crate) fn of<S: Store>(store: &S, scope: &Scope) -> Self {
        let snapshot = store.snapshot().unwrap();
        let mut collections = BTreeMap::new();
        for facts in snapshot.collections().iter().filter(|facts| scope.touches(&facts.name)) {
            let page = snapshot.scan(&facts.name, Bound::Unbounded, usize::MAX).unwrap();
            let covered = page.records.iter().filter(|record| scope.covers_key(&facts.name, record.key()));
            let entries = covered.map(|record| {
                let entry = Entry(record.value().into(), record.version(), record.seq(), record.timestamp());
                (record.key().into(), entry)
            });
            collections.insert(facts.name.to_string(), (facts.created, entries.collect()));
        }
        Self(collections)
    }

    /// The part that `scope` covers.
    pub(crate) fn within(&self, scope: &Scope) -> Self {
        let collections = self.0.iter().filter(|(name, _)| scope.touches(name));
        Self(
            collections
                .map(|(name, (created, entries))| {
                    let covered = entries.iter().filter(|(key, _)| scope.covers_key(name, key));
                    (name.clone(), (*created, covered.map(|(key, entry)| (key.clone(), entry.clone())).collect()))
                })
                .collect(),
        )
    }

    fn apply(&mut self, command: &Logged<'_>) {
        let Some(name) = command.collection.as_deref() else { return };
        let entry = |version, value: &str| Entry(value.into(), version, command.seq, command.timestamp);
        let mut held = self.0.get_mut(name).map(|(_, entries)| entries);
        let mut held = || held.take().expect("a command finds its collection");
        match &command.action {
            Action::Create => drop(self.0.insert(name.into(), (command.seq, BTreeMap::new()))),
            Action::Drop => drop(self.0.remove(name)),
            Action::Set { key, version, value } => drop(held().insert((**key).into(), entry(*version, value))),
            Action::Delete { key, .. } => drop(held().remove(&**key)),
            Action::Batch(ops) => {
                let entries = held();
                for op in ops {
                    match op.value {
                        Some(value) => entries.insert((*op.key).into(), entry(op.version, value)),
                        None => entries.remove(&*op.key),
                    };
                }
            }
            Action::Epoch { .. } | Action::Unknown { .. } => {}
        }
    }

    /// Names the first difference, so that a failure can be read.
    pub(crate) fn difference(&self, other: &Self) -> String {
        for name in self.0.keys().chain(other.0.keys()) {
            let (Some((created, entries)), Some((other_created, others))) = (self.0.get(name), other.0.get(name))
            else {
                return format!("{name}: {} and {}", self.0.contains_key(name), other.0.contains_key(name));
            };
            if created != other_created {
                return format!("{name}: created {created} and {other_created}");
            }
            for key in entries.keys().chain(others.keys()) {
                if entries.get(key) != others.get(key) {
                    return format!("{name} {key:?}: {:?} and {:?}", entries.get(key), others.get(key));
                }
            }
        }
        "none".into()
    }
}

/// One record of a log.
#[derive(Clone)]
pub(crate) struct Written {
    pub(crate) line: Rc<[u8]>,
    pub(crate) epoch: u64,
    /// When it was published, in virtual ms.
    pub(crate) at: u64,
    collection: Option<Rc<str>>,
    keys: Rc<[String]>,
    state: Rc<Picture>,
}

impl Written {
    fn concerns(&self, scope: &Scope) -> bool {
        let Some(name) = &self.collection else { return false };
        scope.touches(name) && (self.keys.is_empty() || self.keys.iter().any(|key| scope.covers_key(name, key)))
    }
}

/// The log as each epoch has it: what it found and what it wrote. Seq n is element n - 1.
#[derive(Default)]
pub(crate) struct Truth {
    logs: BTreeMap<u64, Vec<Written>>,
    newest: Term,
}

impl Truth {
    /// An epoch begins behind `found`.
    pub(crate) fn open(&mut self, term: Term, found: Vec<Written>) {
        assert!(self.latest() < Some(term.epoch), "an epoch never repeats");
        self.logs.insert(term.epoch, found);
        self.newest = self.newest.max(term);
    }

    pub(crate) fn log(&self, epoch: u64) -> &[Written] {
        &self.logs[&epoch]
    }

    /// The epoch that began last, whoever's it is.
    pub(crate) fn latest(&self) -> Option<u64> {
        self.logs.keys().next_back().copied()
    }

    /// The opening that everybody is to follow.
    pub(crate) fn newest(&self) -> Term {
        self.newest
    }

    pub(crate) fn write(&mut self, epoch: u64, line: &[u8], at: u64) {
        let log = self.logs.get_mut(&epoch).expect("opened");
        let Ok(Line::Log(command)) = decode(line, Trust::Checked) else { panic!("no command") };
        assert_eq!(command.seq, log.len() as u64 + 1);
        let mut state = log.last().map_or_else(Picture::default, |last| (*last.state).clone());
        state.apply(&command);
        let keys: Vec<String> = match &command.action {
            Action::Set { key, .. } | Action::Delete { key, .. } => vec![key.to_string()],
            Action::Batch(ops) => ops.iter().map(|op| op.key.to_string()).collect(),
            _ => Vec::new(),
        };
        log.push(Written {
            line: [line, b"\n"].concat().into(),
            epoch,
            at,
            collection: command.collection.as_deref().map(Rc::from),
            keys: keys.into(),
            state: Rc::new(state),
        });
    }

    /// The state at a position; `None` when no history has it.
    pub(crate) fn state(&self, position: Position) -> Option<&Picture> {
        let written = self.logs.get(&position.epoch)?.get(usize::try_from(position.seq).ok()?.checked_sub(1)?)?;
        (written.epoch == position.epoch).then_some(&*written.state)
    }

    /// When the state at `position` stopped being the newest of the log of `epoch`, as far as `scope` goes; `None`
    /// while it is.
    pub(crate) fn stale_since(&self, position: Position, epoch: u64, scope: &Scope) -> Option<u64> {
        let (held, newest) = (self.logs.get(&position.epoch)?, self.logs.get(&epoch)?);
        let held = &held[..position.seq as usize];
        let common = held.iter().zip(newest).take_while(|(a, b)| Rc::ptr_eq(&a.line, &b.line)).count();
        let missing = newest[common..].iter().find(|written| written.concerns(scope)).map(|written| written.at);
        // What is held and was never part of the log is stale since the log went another way.
        let invented = held[common..].iter().any(|written| written.concerns(scope));
        let turned = newest.get(common).filter(|_| invented).map(|written| written.at);
        missing.into_iter().chain(turned).min()
    }
}
