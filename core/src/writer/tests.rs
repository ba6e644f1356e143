//! The writer's rules one by one. `batches` has those of several entries at once, `model` all of them under random
//! writes, and what becomes of the lines.

mod batches;
mod model;

use super::*;
use crate::apply::apply;
use crate::command::{Line, Trust, decode, lines};
use crate::scope::Scope;
use crate::store::Progress;
use crate::store::memory::{MemoryOptions, MemoryStore};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

/// A writer whose log is a vector: lines stay pending until they are settled.
struct Desk {
    store: MemoryStore,
    sequencer: Sequencer,
    log: Vec<u8>,
    /// Bytes of `log` that are state.
    settled: usize,
    now_ms: u64,
}

pub(super) fn empty_store() -> MemoryStore {
    MemoryStore::new(Progress::new(Scope::Everything), MemoryOptions::single_threaded(1))
}

impl Desk {
    fn with(limits: Limits) -> Self {
        let store = empty_store();
        let sequencer = Sequencer::new(&store, limits, 0).unwrap();
        let mut desk = Self { store, sequencer, log: Vec::new(), settled: 0, now_ms: 100 };
        desk.sequencer.open(Term { takeover: 0, epoch: 7 }, Id::from_bytes([1; 16]), "w", desk.now_ms, &mut desk.log);
        desk
    }

    /// With the collection `c`, its CREATE at seq 2, and everything settled.
    fn new() -> Self {
        let mut desk = Self::with(Limits::default());
        desk.ok("c", WriteAction::Create);
        desk.settle(u64::MAX);
        desk
    }

    fn ask(&mut self, collection: &str, action: WriteAction<'_>, system: bool) -> Result<Accepted, Refusal> {
        let before = (self.log.len(), self.sequencer.position());
        let write = Write { collection, action, system };
        let answer = self.sequencer.decide(&self.store, &write, self.now_ms, &mut self.log);
        let after = (self.log.len(), self.sequencer.position());
        match &answer {
            Ok(Accepted::Written { seq, .. }) => assert_eq!((*seq, after.1.seq), (before.1.seq + 1, before.1.seq + 1)),
            Ok(Accepted::Unchanged) | Err(_) => assert_eq!(after, before, "nothing was written"),
        }
        answer
    }

    fn ok(&mut self, collection: &str, action: WriteAction<'_>) -> Vec<u64> {
        match self.ask(collection, action, false).unwrap() {
            Accepted::Written { versions, .. } => versions,
            Accepted::Unchanged => Vec::new(),
        }
    }

    fn refused(&mut self, collection: &str, action: WriteAction<'_>) -> Refusal {
        self.ask(collection, action, false).unwrap_err()
    }

    fn set(&mut self, key: &str) -> u64 {
        self.ok("c", set(key, "1"))[0]
    }

    /// Makes everything up to `seq` state.
    fn settle(&mut self, seq: u64) {
        let pending = self.log[self.settled..].to_vec();
        for (start, line) in lines(&pending) {
            let Ok(Line::Log(command)) = decode(line, Trust::Checked) else { panic!("{line:?}") };
            if command.seq > seq {
                self.settled += start;
                self.sequencer.settle(seq);
                return;
            }
            apply(&self.store, &command, &mut Vec::new()).unwrap();
        }
        self.settled = self.log.len();
        self.sequencer.settle(seq);
    }

    fn last_line(&self) -> &str {
        let text = core::str::from_utf8(&self.log).unwrap();
        text.trim_end_matches('\n').rsplit('\n').next().unwrap()
    }
}

fn guarded<'a>(key: &'a str, value: Option<&'a str>, guard: Guard) -> WriteAction<'a> {
    WriteAction::Entry(EntryWrite { key, value, guard })
}

fn set<'a>(key: &'a str, value: &'a str) -> WriteAction<'a> {
    guarded(key, Some(value), Guard::default())
}

fn delete(key: &str) -> WriteAction<'_> {
    guarded(key, None, Guard::default())
}

fn matches(tags: Tags) -> Guard {
    Guard { matches: Some(tags), ..Guard::default() }
}

fn matches_none(tags: Tags) -> Guard {
    Guard { matches_none: Some(tags), ..Guard::default() }
}

fn tag(text: &str) -> Tags {
    Tags::List(vec![text.into()])
}

#[test]
fn an_accepted_write_is_its_line() {
    let mut desk = Desk::new();
    let text = core::str::from_utf8(&desk.log).unwrap();
    assert_eq!(
        text,
        "{\"type\":\"EPOCH\",\"seq\":1,\"timestamp\":100,\"epoch\":7,\"cluster\":\"01010101010101010101010101010101\",\
         \"node\":\"w\",\"requires\":[]}\n\
         {\"type\":\"CREATE\",\"collection\":\"c\",\"seq\":2,\"timestamp\":100}\n"
    );
    desk.now_ms = 101;
    assert_eq!(desk.ok("c", set("é\"", "{\"n\":1.0}")), [1]);
    assert_eq!(
        desk.last_line(),
        r#"{"type":"SET","collection":"c","seq":3,"prev":2,"key":"é\"","version":1,"timestamp":101,"value":{"n":1.0}}"#
    );
    assert_eq!(desk.ok("c", delete("é\"")), [2]);
    assert_eq!(
        desk.last_line(),
        r#"{"type":"DELETE","collection":"c","seq":4,"prev":3,"key":"é\"","version":2,"timestamp":101}"#
    );
    desk.ok("c", WriteAction::Drop);
    assert_eq!(desk.last_line(), r#"{"type":"DROP","collection":"c","seq":5,"prev":4,"timestamp":101}"#);
}

#[test]
fn prev_is_the_last_command_of_the_same_collection() {
    let mut desk = Desk::new();
    desk.ok("d", WriteAction::Create);
    desk.set("a");
    desk.ok("d", set("a", "1"));
    assert!(desk.last_line().contains(r#""seq":5,"prev":3,"#));
    desk.settle(4);
    desk.ok("c", delete("a"));
    assert!(desk.last_line().contains(r#""seq":6,"prev":4,"#));
    desk.ok("c", WriteAction::Drop);
    desk.ok("c", WriteAction::Create);
    assert!(!desk.last_line().contains("prev"));
    desk.set("a");
    assert!(desk.last_line().contains(r#""seq":9,"prev":8,"#));
}

#[test]
fn timestamps_never_go_back() {
    let mut desk = Desk::new();
    desk.now_ms = 5;
    desk.set("a");
    assert!(desk.last_line().contains(r#""timestamp":100,"#));
    desk.sequencer.open(Term { takeover: 0, epoch: 8 }, Id::from_bytes([1; 16]), "w", 6, &mut desk.log);
    assert!(desk.last_line().contains(r#""timestamp":100,"epoch":8"#));
}

#[test]
fn an_opening_is_the_next_command_and_begins_its_epoch() {
    let mut desk = Desk::new();
    desk.settle(u64::MAX);
    assert_eq!(
        desk.sequencer.open(Term { takeover: 0, epoch: 9 }, Id::from_bytes([1; 16]), "w", 100, &mut desk.log),
        3
    );
    assert_eq!(desk.sequencer.position(), Position { epoch: 9, seq: 3 });
    desk.set("a");
    desk.settle(u64::MAX);
    assert_eq!(desk.store.position(), Position { epoch: 9, seq: 4 });
}

#[test]
fn an_opening_carries_on_the_takeover_and_what_the_log_requires() {
    let id = Id::from_bytes([1; 16]);
    let opened = |store: &MemoryStore, takeover| {
        let mut line = Vec::new();
        let mut sequencer = Sequencer::new(store, Limits::default(), 0).unwrap();
        sequencer.open(Term { takeover, epoch: 8 }, id, "w", 6, &mut line);
        sequencer.abandon(store).unwrap();
        sequencer.open(Term { takeover, epoch: 9 }, id, "w", 7, &mut line);
        String::from_utf8(line).unwrap()
    };
    let store = empty_store();
    assert!(!opened(&store, 0).contains("takeover"));
    assert_eq!(opened(&store, 5).matches(r#""requires":[],"takeover":5}"#).count(), 2);
    // As a stored baseline says it, whose EPOCH is trimmed.
    let requires = [String::from("expiry")].into();
    store.set_progress(&Progress { takeover: 7, requires, ..store.progress() }).unwrap();
    assert_eq!(opened(&store, 5).matches(r#""requires":["expiry"],"takeover":7}"#).count(), 2);
    assert_eq!(opened(&store, 9).matches(r#""requires":["expiry"],"takeover":9}"#).count(), 2);
}

#[test]
fn versions_count_the_writes_since_a_key_was_made() {
    for settled in [false, true] {
        let mut desk = Desk::new();
        let version = |desk: &mut Desk, action| {
            if settled {
                desk.settle(u64::MAX);
            }
            desk.ok("c", action).first().copied()
        };
        assert_eq!(version(&mut desk, set("a", "1")), Some(1));
        assert_eq!(version(&mut desk, set("a", "1")), Some(2));
        assert_eq!(version(&mut desk, delete("a")), Some(3));
        assert_eq!(version(&mut desk, set("a", "1")), Some(1));
        assert_eq!(version(&mut desk, set("a", "1")), Some(2));
        version(&mut desk, WriteAction::Drop);
        version(&mut desk, WriteAction::Create);
        assert_eq!(version(&mut desk, set("a", "1")), Some(1));
    }
}

#[test]
fn creating_what_exists_writes_nothing() {
    let mut desk = Desk::new();
    assert_eq!(desk.ask("c", WriteAction::Create, false), Ok(Accepted::Unchanged));
    desk.ok("d", WriteAction::Create);
    assert_eq!(desk.ask("d", WriteAction::Create, false), Ok(Accepted::Unchanged), "though it is still pending");
}

#[test]
fn a_name_has_its_form_and_its_length() {
    let mut desk = Desk::with(Limits { name_bytes_max: 4, ..Limits::default() });
    for name in ["", "-a", "a b", "é", "__a", "a/b"] {
        let refusal = desk.ask(name, WriteAction::Create, true).unwrap_err();
        assert_eq!(refusal, Refusal::InvalidName(name.into()));
    }
    let refusal = desk.refused("abcde", WriteAction::Create);
    assert_eq!(refusal, Refusal::KeyLength { what: "collection name", bytes: 5, limit: 4 });
    desk.ok("abcd", WriteAction::Create);
}

#[test]
fn a_protected_collection_is_not_dropped_and_is_written_as_any_other() {
    let mut desk = Desk::with(Limits { protected: ["a".into()].into(), ..Limits::default() });
    assert_eq!(desk.refused("a", WriteAction::Drop), Refusal::MissingCollection("a".into()));
    desk.ok("a", WriteAction::Create);
    desk.ok("b", WriteAction::Create);
    assert_eq!(desk.refused("a", WriteAction::Drop), Refusal::Protected("a".into()));
    assert_eq!(desk.ok("a", set("k", "1")), [1]);
    desk.ok("b", WriteAction::Drop);
}

#[test]
fn there_are_as_many_collections_as_the_limit_says_and_no_more() {
    let mut desk = Desk::with(Limits { collections_max: 2, ..Limits::default() });
    desk.ok("a", WriteAction::Create);
    desk.ok("b", WriteAction::Create);
    assert_eq!(desk.refused("c", WriteAction::Create), Refusal::TooManyCollections(2));
    assert_eq!(desk.ask("a", WriteAction::Create, false), Ok(Accepted::Unchanged));
    desk.settle(u64::MAX);
    assert_eq!(desk.refused("c", WriteAction::Create), Refusal::TooManyCollections(2));
    desk.ok("a", WriteAction::Drop);
    desk.ok("c", WriteAction::Create);
    assert_eq!(desk.refused("a", WriteAction::Create), Refusal::TooManyCollections(2));
    // Forgotten with the lines that are not written.
    desk.sequencer.abandon(&desk.store).unwrap();
    assert_eq!(desk.refused("c", WriteAction::Create), Refusal::TooManyCollections(2));
    assert_eq!(desk.ask("a", WriteAction::Create, false), Ok(Accepted::Unchanged));
}

#[test]
fn system_collections_are_the_servers_own() {
    let mut desk = Desk::new();
    let refused = Refusal::SystemCollection("_keys".into());
    let batch = || WriteAction::Batch(vec![EntryWrite { key: "a", value: Some("1"), guard: Guard::default() }]);
    assert_eq!(desk.refused("_keys", WriteAction::Create), refused);
    assert!(desk.ask("_keys", WriteAction::Create, true).is_ok());
    assert!(desk.ask("_keys", set("a", "1"), true).is_ok());
    for action in [WriteAction::Create, set("a", "1"), delete("a"), batch(), WriteAction::Drop] {
        assert_eq!(desk.refused("_keys", action), refused);
    }
    assert!(desk.ask("_keys", WriteAction::Drop, true).is_ok());
}

#[test]
fn nothing_is_written_to_a_collection_that_does_not_exist() {
    let mut desk = Desk::new();
    let missing = Refusal::MissingCollection("d".into());
    let batch = || WriteAction::Batch(Vec::new());
    for action in [set("a", "1"), delete("a"), batch(), WriteAction::Drop] {
        assert_eq!(desk.refused("d", action), missing);
    }
    desk.ok("d", WriteAction::Create);
    desk.settle(u64::MAX);
    desk.ok("d", WriteAction::Drop);
    for action in [set("a", "1"), delete("a"), batch(), WriteAction::Drop] {
        assert_eq!(desk.refused("d", action), missing, "its DROP is pending");
    }
}

#[test]
fn only_what_exists_is_deleted() {
    let mut desk = Desk::new();
    assert_eq!(desk.refused("c", delete("a")), Refusal::NotFound("a".into()));
    desk.set("a");
    desk.ok("c", delete("a"));
    assert_eq!(desk.refused("c", delete("a")), Refusal::NotFound("a".into()));
    desk.settle(u64::MAX);
    assert_eq!(desk.refused("c", delete("a")), Refusal::NotFound("a".into()));
}

#[test]
fn keys_and_values_have_their_lengths() {
    let mut desk = Desk::with(Limits { key_bytes_max: 4, value_bytes_max: 4, ..Limits::default() });
    desk.ok("c", WriteAction::Create);
    for action in [set("", "1"), delete("")] {
        assert_eq!(desk.refused("c", action), Refusal::KeyLength { what: "key", bytes: 0, limit: 4 });
    }
    for action in [set("aéé", "1"), delete("aéé")] {
        assert_eq!(desk.refused("c", action), Refusal::KeyLength { what: "key", bytes: 5, limit: 4 });
    }
    assert_eq!(desk.refused("c", set("k", "12345")), Refusal::TooLarge { what: "value", size: 5, limit: 4 });
    desk.ok("c", set("éé", "true"));
}

#[test]
fn a_line_longer_than_every_reader_takes_is_refused() {
    // Only a value beyond the ceiling gets there.
    let mut desk = Desk::with(Limits { value_bytes_max: usize::MAX, ..Limits::default() });
    desk.ok("c", WriteAction::Create);
    desk.ok("c", set("k", "1"));
    let overhead = desk.last_line().len() - 1;
    desk.settle(u64::MAX);
    let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    let limit = LINE_BYTES_MAX;
    let refused = desk.refused("c", set("k", &text(limit - overhead + 1)));
    assert_eq!(refused, Refusal::TooLarge { what: "line", size: limit + 1, limit });
    desk.ok("c", set("k", &text(limit - overhead)));
    assert_eq!(desk.last_line().len(), limit);
}

#[test]
fn numbers_end_at_two_to_the_53_less_one() {
    let store = empty_store();
    let position = Position { epoch: 7, seq: INTEGER_MAX - 1 };
    store.set_progress(&Progress { position, ..store.progress() }).unwrap();
    let mut sequencer = Sequencer::new(&store, Limits::default(), 0).unwrap();
    let mut out = Vec::new();
    let mut create = |name| {
        let write = Write { collection: name, action: WriteAction::Create, system: false };
        sequencer.decide(&store, &write, 1, &mut out)
    };
    assert_eq!(create("a"), Ok(Accepted::Written { seq: INTEGER_MAX, versions: Vec::new() }));
    assert_eq!(create("b"), Err(Refusal::Exhausted));
}

#[test]
fn guards_look_at_the_entry_as_it_is() {
    for settled in [false, true] {
        let mut desk = Desk::new();
        let put = |desk: &mut Desk, guard: Guard| {
            if settled {
                desk.settle(u64::MAX);
            }
            desk.ask("c", guarded("a", Some("1"), guard), false)
        };
        // There is no entry.
        assert_eq!(put(&mut desk, matches(Tags::Any)), Err(Refusal::Precondition(None)));
        assert_eq!(put(&mut desk, matches(tag("3-100"))), Err(Refusal::Precondition(None)));
        assert!(put(&mut desk, matches_none(Tags::Any)).is_ok());
        // It has the tag 3-100 and version 1.
        let current = Err(Refusal::Precondition(Some((1, "3-100".into()))));
        assert_eq!(put(&mut desk, matches_none(Tags::Any)), current);
        assert_eq!(put(&mut desk, matches_none(tag("3-100"))), current);
        assert_eq!(put(&mut desk, matches(tag("4-100"))), current);
        assert_eq!(put(&mut desk, matches(Tags::List(Vec::new()))), current);
        let both = Guard { matches: Some(Tags::Any), matches_none: Some(tag("3-100")) };
        assert_eq!(put(&mut desk, both), current);
        assert!(put(&mut desk, matches(Tags::List(vec!["x".into(), "3-100".into()]))).is_ok());
        assert!(put(&mut desk, matches(Tags::Any)).is_ok());
        assert!(put(&mut desk, matches_none(tag("3-100"))).is_ok());
        let current = Err(Refusal::Precondition(Some((4, "6-100".into()))));
        assert_eq!(desk.ask("c", guarded("a", None, matches(tag("5-100"))), false), current);
        assert!(desk.ask("c", guarded("a", None, matches(tag("6-100"))), false).is_ok());
        // Deleted: a condition is judged before whether there is something to delete.
        assert_eq!(desk.refused("c", guarded("a", None, matches(Tags::Any))), Refusal::Precondition(None));
        assert_eq!(desk.refused("c", guarded("a", None, matches_none(Tags::Any))), Refusal::NotFound("a".into()));
    }
}

#[test]
fn entries_of_a_collection_made_anew_are_not_the_old_ones() {
    let mut desk = Desk::new();
    desk.set("a");
    desk.settle(u64::MAX);
    desk.ok("c", WriteAction::Drop);
    desk.ok("c", WriteAction::Create);
    assert_eq!(desk.refused("c", delete("a")), Refusal::NotFound("a".into()));
    assert_eq!(desk.set("a"), 1);
    assert_eq!(desk.set("a"), 2);
}

#[test]
fn what_is_state_is_seen_while_later_lines_are_pending() {
    let mut desk = Desk::with(Limits::default());
    desk.ok("c", WriteAction::Create);
    desk.set("a");
    desk.set("b");
    desk.settle(3);
    assert_eq!(desk.set("a"), 2, "its first SET and its collection are state, another key is pending");
    desk.settle(4);
    assert_eq!(desk.refused("c", guarded("b", Some("1"), matches_none(Tags::Any))), {
        Refusal::Precondition(Some((1, "4-100".into())))
    });
}

#[test]
fn what_was_abandoned_was_never_written() {
    let mut desk = Desk::new();
    desk.set("a");
    desk.settle(u64::MAX);
    desk.set("a");
    desk.set("b");
    desk.ok("c", WriteAction::Drop);
    desk.now_ms = 0;
    desk.sequencer.abandon(&desk.store).unwrap();
    desk.log.truncate(desk.settled);
    assert_eq!(desk.sequencer.position(), Position { epoch: 7, seq: 3 });
    assert_eq!(desk.set("b"), 1);
    assert_eq!(desk.set("a"), 2);
    assert!(desk.last_line().contains(r#""seq":5,"prev":4,"#));
    assert!(desk.last_line().contains(r#""timestamp":100,"#), "time does not go back either");
}

#[test]
fn a_refusal_tells_the_value_and_the_limit() {
    for (refusal, text) in [
        (Refusal::KeyLength { what: "key", bytes: 0, limit: 4 }, "the key is empty"),
        (Refusal::KeyLength { what: "key", bytes: 5, limit: 4 }, "the key has 5 bytes, the limit is 4"),
        (Refusal::TooLarge { what: "value", size: 5, limit: 4 }, "the value has 5 bytes, the limit is 4"),
        (Refusal::TooLarge { what: "batch", size: 5, limit: 4 }, "the batch has 5 commands, the limit is 4"),
        (
            Refusal::TooLarge { what: "encoded batch", size: 5, limit: 4 },
            "the encoded batch has 5 bytes, the limit is 4",
        ),
        (Refusal::TooManyCollections(2), "there are 2 collections already, the limit"),
    ] {
        assert_eq!(format!("{refusal}"), text);
    }
}
