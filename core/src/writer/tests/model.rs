//! Random writes against a simple model, while lines become state in pieces or are abandoned; and what reading the lines
//! again gives: the same state, however it is reached.

use super::*;
use crate::apply::scope_digest;
use crate::record::Record;
use crate::store::{Collection, Page, Snapshot};
use alloc::collections::{BTreeMap, BTreeSet};
use core::ops::Bound;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// What happens next at the writer.
#[derive(Clone, Debug)]
enum Step {
    Create(&'static str),
    Drop(&'static str),
    Write(&'static str, Entry),
    Batch(&'static str, Vec<Entry>),
    /// A part of what is pending becomes state.
    Settle(Index),
    /// What is pending was not written.
    Abandon,
    /// The writer restarts.
    Reopen,
    /// Time goes on, or back.
    Clock(u64),
}

#[derive(Clone, Debug)]
struct Entry {
    key: &'static str,
    value: Option<&'static str>,
    guard: Option<Condition>,
}

#[derive(Clone, Copy, Debug)]
enum Condition {
    Exists,
    Absent,
    /// Its present tag matches, or must not.
    Current(bool),
    /// A tag that it once may have had matches.
    Some(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    value: &'static str,
    version: u64,
    seq: u64,
    timestamp: u64,
}

/// Collections with their CREATE's seq, last seq and entries.
type Model = BTreeMap<&'static str, (u64, u64, BTreeMap<&'static str, Held>)>;

fn entry() -> impl Strategy<Value = Entry> {
    let key = select(&["a", "b", "b\u{0}", "é", "eu:1", "eu:2"][..]);
    let value = prop_oneof![1 => Just(None), 3 => select(&["1", "{\"a\":[]}", "\"\\u0041\""][..]).prop_map(Some)];
    let condition = prop_oneof![
        Just(Condition::Exists),
        Just(Condition::Absent),
        any::<bool>().prop_map(Condition::Current),
        (1..30u64).prop_map(Condition::Some),
    ];
    let guard = prop_oneof![3 => Just(None), 1 => condition.prop_map(Some)];
    (key, value, guard).prop_map(|(key, value, guard)| Entry { key, value, guard })
}

fn step() -> impl Strategy<Value = Step> {
    let name = || select(&["a", "b", "a.b"][..]);
    prop_oneof![
        3 => name().prop_map(Step::Create),
        1 => name().prop_map(Step::Drop),
        9 => (name(), entry()).prop_map(|(name, entry)| Step::Write(name, entry)),
        3 => (name(), vec(entry(), 0..5)).prop_map(|(name, entries)| Step::Batch(name, entries)),
        5 => any::<Index>().prop_map(Step::Settle),
        1 => Just(Step::Abandon),
        1 => Just(Step::Reopen),
        2 => (0..300u64).prop_map(Step::Clock),
    ]
}

fn guard(condition: Option<Condition>, held: Option<&Held>) -> Guard {
    let tag_of = |held: &Held| format!("{}-{}", held.seq, held.timestamp);
    match condition {
        None => Guard::default(),
        Some(Condition::Exists) => matches(Tags::Any),
        Some(Condition::Absent) => matches_none(Tags::Any),
        Some(Condition::Current(true)) => matches(tag(&held.map_or("none".into(), tag_of))),
        Some(Condition::Current(false)) => matches_none(tag(&held.map_or("none".into(), tag_of))),
        Some(Condition::Some(seq)) => matches(tag(&format!("{seq}-100"))),
    }
}

/// What the rules say to one entry's change: its version, or the kind of refusal.
fn judged(entry: &Entry, held: Option<&Held>) -> Result<u64, &'static str> {
    let holds = match entry.guard {
        None => true,
        Some(Condition::Exists) => held.is_some(),
        Some(Condition::Absent) => held.is_none(),
        Some(Condition::Current(wanted)) => held.is_some() == wanted || (held.is_none() && !wanted),
        Some(Condition::Some(seq)) => held.is_some_and(|held| held.seq == seq && held.timestamp == 100),
    };
    match (holds, held, entry.value) {
        (false, _, _) => Err("precondition"),
        (true, None, None) => Err("not found"),
        (true, None, Some(_)) => Ok(1),
        (true, Some(held), _) => Ok(held.version + 1),
    }
}

fn kind(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::MissingCollection(_) => "missing",
        Refusal::NotFound(_) => "not found",
        Refusal::Precondition(_) => "precondition",
        Refusal::InvalidBatch(_) => "invalid batch",
        Refusal::InBatch { refusal, .. } => kind(refusal),
        other => panic!("{other}"),
    }
}

struct Run {
    desk: Desk,
    model: Model,
    /// The model as of the last line that is state, and as of every pending line.
    settled: Model,
    pending: Vec<(u64, Model)>,
}

impl Run {
    fn timestamp(&self) -> u64 {
        self.desk.sequencer.timestamp
    }

    fn entries(&mut self, name: &'static str, entries: &[Entry], batch: bool) -> Result<(), TestCaseError> {
        let held = self.model.get(name).map(|(_, _, entries)| entries.clone()).unwrap_or_default();
        let writes: Vec<_> = entries
            .iter()
            .map(|entry| EntryWrite {
                key: entry.key,
                value: entry.value,
                guard: guard(entry.guard, held.get(entry.key)),
            })
            .collect();
        let mut keys = BTreeSet::new();
        let mut versions = Vec::new();
        let mut expected = if entries.is_empty() { Err(("invalid batch", None)) } else { Ok(()) };
        for (index, entry) in entries.iter().enumerate() {
            if !keys.insert(entry.key) {
                expected = Err(("invalid batch", Some(index)));
                break;
            }
            match judged(entry, held.get(entry.key)) {
                Ok(version) => versions.push(version),
                Err(kind) => {
                    expected = Err((kind, batch.then_some(index)));
                    break;
                }
            }
        }
        if !self.model.contains_key(name) {
            expected = Err(("missing", None));
        }
        let action = if batch { WriteAction::Batch(writes) } else { WriteAction::Entry(writes[0].clone()) };
        match (self.desk.ask(name, action, false), expected) {
            (Ok(Accepted::Written { seq, versions: found }), Ok(())) => {
                prop_assert_eq!(&found, &versions);
                let timestamp = self.timestamp();
                let collection = self.model.get_mut(name).unwrap();
                collection.1 = seq;
                for (entry, version) in entries.iter().zip(versions) {
                    match entry.value {
                        None => drop(collection.2.remove(entry.key)),
                        Some(value) => {
                            collection.2.insert(entry.key, Held { value, version, seq, timestamp });
                        }
                    }
                }
                self.pending.push((seq, self.model.clone()));
            }
            (Err(refusal), Err((expected, index))) => {
                prop_assert_eq!(kind(&refusal), expected);
                let found = if let Refusal::InBatch { index, .. } = refusal { Some(index) } else { None };
                prop_assert_eq!(found, index);
            }
            (found, expected) => prop_assert!(false, "found {found:?}, expected {expected:?}"),
        }
        Ok(())
    }

    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Create(name) => {
                match (self.desk.ask(name, WriteAction::Create, false).unwrap(), self.model.get(name)) {
                    (Accepted::Unchanged, Some(_)) => {}
                    (Accepted::Written { seq, .. }, None) => {
                        self.model.insert(name, (seq, seq, BTreeMap::new()));
                        self.pending.push((seq, self.model.clone()));
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            Step::Drop(name) => match (self.desk.ask(name, WriteAction::Drop, false), self.model.remove(name)) {
                (Ok(Accepted::Written { seq, .. }), Some(_)) => self.pending.push((seq, self.model.clone())),
                (Err(Refusal::MissingCollection(_)), None) => {}
                other => prop_assert!(false, "{other:?}"),
            },
            Step::Write(name, entry) => self.entries(name, core::slice::from_ref(entry), false)?,
            Step::Batch(name, entries) => self.entries(name, entries, true)?,
            Step::Settle(index) => self.settle(index.index(self.pending.len() + 1)),
            Step::Abandon => {
                self.desk.sequencer.abandon(&self.desk.store).unwrap();
                self.desk.log.truncate(self.desk.settled);
                self.pending.clear();
                self.model = self.settled.clone();
            }
            Step::Reopen => {
                self.settle(self.pending.len());
                let epoch = self.desk.store.position().epoch + 1;
                let timestamp = self.timestamp();
                self.desk.sequencer = Sequencer::new(&self.desk.store, Limits::default(), timestamp).unwrap();
                let now_ms = self.desk.now_ms;
                let seq = self.desk.sequencer.open(
                    Term { takeover: 0, epoch },
                    Id::from_bytes([1; 16]),
                    "w",
                    now_ms,
                    &mut self.desk.log,
                );
                self.pending.push((seq, self.model.clone()));
            }
            Step::Clock(now_ms) => self.desk.now_ms = *now_ms,
        }
        Ok(())
    }

    fn settle(&mut self, count: usize) {
        if let Some((seq, model)) = self.pending.drain(..count).next_back() {
            self.desk.settle(seq);
            self.settled = model;
        }
    }
}

fn all(store: &MemoryStore) -> BTreeMap<String, (Collection, Vec<Record>)> {
    let snapshot = store.snapshot().unwrap();
    let of = |facts: &Collection| {
        let Page { records, next } = snapshot.scan(&facts.name, Bound::Unbounded, usize::MAX).unwrap();
        assert_eq!(next, None);
        (String::from(&*facts.name), (facts.clone(), records))
    };
    snapshot.collections().iter().map(of).collect()
}

/// The digest counted from nothing, as the wire defines it.
fn counted_digest(store: &MemoryStore) -> crate::digest::Digest {
    let mut facts: Vec<Collection> = Vec::new();
    for (held, records) in all(store).into_values() {
        let mut counted = Collection::new(held.name.clone(), held.created);
        for record in &records {
            let mut line = Vec::new();
            record.write_line(&held.name, &mut line);
            counted.digest.add(crate::digest::Digest::of(&line));
            counted.keys += 1;
        }
        assert_eq!((counted.keys, counted.digest), (held.keys, held.digest));
        facts.push(counted);
    }
    scope_digest(&facts)
}

fn replay(store: &MemoryStore, log: &[u8], after: u64) {
    for (_, line) in lines(log) {
        let Ok(Line::Log(command)) = decode(line, Trust::Canonical) else { panic!() };
        if command.seq > after {
            apply(store, &command, &mut Vec::new()).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn writes_follow_the_rules_and_their_lines_give_the_state_however_it_is_reached(
        steps in vec(step(), 1..60),
        middle in any::<Index>(),
    ) {
        let mut desk = Desk::with(Limits::default());
        desk.settle(u64::MAX);
        let mut run = Run { desk, model: Model::new(), settled: Model::new(), pending: Vec::new() };
        for step in &steps {
            run.take(step)?;
        }
        run.settle(run.pending.len());
        let direct = run.desk.store;
        let found = all(&direct);

        // The state is the model.
        prop_assert_eq!(found.keys().collect::<Vec<_>>(), run.model.keys().collect::<Vec<_>>());
        for (name, (facts, records)) in &found {
            let (created, last_seq, entries) = &run.model[name.as_str()];
            prop_assert_eq!((facts.created, facts.last_seq, facts.keys), (*created, *last_seq, entries.len() as u64));
            prop_assert_eq!(records.len(), entries.len());
            for (record, (key, held)) in records.iter().zip(entries) {
                let found = (record.key(), record.value(), record.version(), record.seq(), record.timestamp());
                prop_assert_eq!(found, (*key, held.value, held.version, held.seq, held.timestamp));
            }
        }

        // Reading the log from the start gives the state.
        let replayed = empty_store();
        replay(&replayed, &run.desk.log, 0);
        prop_assert_eq!(&all(&replayed), &found);
        prop_assert_eq!(replayed.progress(), direct.progress());

        // So does a copy of the state as of some seq, and the log behind it.
        let seq = middle.index(direct.position().seq as usize) as u64 + 1;
        let source = empty_store();
        let ends: Vec<usize> = lines(&run.desk.log).map(|(start, line)| start + line.len() + 1).collect();
        replay(&source, &run.desk.log[..ends[seq as usize - 1]], 0);
        let copied = empty_store();
        copied.stage().unwrap();
        let snapshot = source.snapshot().unwrap();
        for facts in snapshot.collections() {
            let page = snapshot.scan(&facts.name, Bound::Unbounded, usize::MAX).unwrap();
            copied.stage_records(&facts.name, &page.records).unwrap();
        }
        copied.swap(snapshot.collections().to_vec(), snapshot.progress()).unwrap();
        replay(&copied, &run.desk.log, seq);
        prop_assert_eq!(&all(&copied), &found);

        for store in [&direct, &replayed, &copied] {
            prop_assert_eq!(counted_digest(store), scope_digest(&store.collections().unwrap()));
            prop_assert_eq!(counted_digest(store), counted_digest(&direct));
        }
    }
}
