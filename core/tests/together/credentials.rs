//! What becomes of an open stream when the key that it was opened with changes.

use crate::parent::{Parent, START_MS, at, options, request, said, scope};
use headwater_core::api::{ApiError, Shown, authorize};
use headwater_core::clock::Now;
use headwater_core::credentials::{Checks, Grant, PairMemory, Rights, Role, StoredKey, Verifier, anonymous};
use headwater_core::name;
use headwater_core::node::{self, Node, NodeOptions};
use headwater_core::scope::Scope;
use headwater_core::store::memory::MemoryStore;
use headwater_core::store::{Progress, Store};
use headwater_core::stream::{OpenError, Step, Stream, Supply};
use headwater_core::writer::{EntryWrite, Guard, WriteAction};
use std::sync::Arc;

const END: &str = r#""type":"END""#;
const REVOKED: &str = r#"{"type":"END","reason":"revoked","#;

fn reading(text: &str) -> Rights {
    let mut rights = Rights::default();
    match scope(text) {
        Scope::Only(within) => rights.add_within(Role::Read, within),
        _ => rights.add(Role::Read),
    }
    rights
}

fn key(rights: Rights) -> StoredKey {
    StoredKey::new(Some(Verifier::of("s")), rights, 0)
}

/// A parent of this role with the key `k` of the secret `s`.
fn parent(options: NodeOptions, rights: Rights) -> Parent {
    let mut parent = Parent::new(options);
    parent.write(name::KEYS, WriteAction::Create, 0);
    store(&mut parent, "k", Some(&key(rights)));
    parent
}

fn store(parent: &mut Parent, id: &str, key: Option<&StoredKey>) {
    let value = key.map(StoredKey::to_json);
    let entry = EntryWrite { key: id, value: value.as_deref(), guard: Guard::default() };
    parent.write(name::KEYS, WriteAction::Entry(entry), 0);
}

fn verify(node: &Node<MemoryStore>, secret: &str) -> Option<Arc<Grant>> {
    PairMemory::default().verify(node.store(), "k", secret, START_MS).unwrap()
}

fn granted(parent: &Parent, secret: &str) -> Arc<Grant> {
    verify(&parent.node, secret).unwrap()
}

fn judged(
    node: &Node<MemoryStore>,
    dev: Option<&Arc<Grant>>,
    shown: Shown<'_>,
    now: Now,
) -> Result<Arc<Grant>, ApiError> {
    authorize(node, dev, shown, Checks::All, &PairMemory::default(), now)
}

fn open(node: &Arc<Node<MemoryStore>>, asked: &str, grant: &Grant) -> Stream<MemoryStore> {
    let mut stream = Stream::open(node, request(asked, None), grant, None, at(0)).unwrap();
    let text = said(&mut stream, at(0));
    assert!(text.contains(r#""type":"READY""#) && !text.contains(END), "{text}");
    stream
}

/// What it says although its turn may be put off once.
fn says(stream: &mut Stream<MemoryStore>, now: Now) -> String {
    said(stream, now) + &said(stream, now)
}

#[test]
fn a_revoked_key_ends_its_streams_before_anything_that_came_with_it() {
    let mut parent = parent(options(node::Role::Primary), Rights::of([Role::Read]));
    let grant = granted(&parent, "s");
    let mut streams = ["\"*\"", r#"{"c":["a"]}"#].map(|asked| open(&parent.node, asked, &grant));
    let mut node = open(&parent.node, "\"**\"", &Grant::all("dev"));
    parent.set("c", "a", 1);
    store(&mut parent, "k", None);
    parent.set("c", "ab", 1);
    for stream in &mut streams {
        let text = says(stream, at(1));
        assert!(text.starts_with(REVOKED) && text.lines().count() == 1, "{text}");
        assert!(matches!(stream.next(at(2)), Step::End));
    }
    assert_eq!(says(&mut node, at(1)).lines().filter(|line| line.contains("\"SET\"")).count(), 2);
    assert_eq!(verify(&parent.node, "s"), None);
}

#[test]
fn a_key_that_is_narrowed_ends_the_streams_that_go_beyond() {
    let mut parent = parent(options(node::Role::Primary), Rights::of([Role::Read]));
    let grant = granted(&parent, "s");
    let mut streams = ["\"*\"", r#"{"c":[""]}"#, r#"{"c":["eu:","us:"]}"#, r#"{"c":["eu:de:"]}"#]
        .map(|asked| open(&parent.node, asked, &grant));
    store(&mut parent, "k", Some(&key(reading(r#"{"c":["eu:"]}"#))));
    let ended = streams.each_mut().map(|stream| says(stream, at(1)).contains(REVOKED));
    assert_eq!(ended, [true, true, true, false]);
    // Another secret, and the same rights: what was opened with the old one ends as well.
    let again = key(reading(r#"{"c":["eu:"]}"#)).rotated(Verifier::of("t"), 0);
    store(&mut parent, "k", Some(&again));
    assert!(says(&mut streams[3], at(2)).contains(REVOKED));
}

#[test]
fn no_other_change_of_keys_disturbs_a_stream() {
    let mut parent = parent(options(node::Role::Primary), reading(r#"{"c":["eu:"]}"#));
    let mut stream = open(&parent.node, r#"{"c":["eu:"]}"#, &granted(&parent, "s"));
    store(&mut parent, "other", Some(&key(Rights::all())));
    store(&mut parent, "other", None);
    store(&mut parent, "k", Some(&key(Rights::of([Role::Read]))));
    parent.set("c", "eu:1", 1);
    parent.set("c", "us:1", 1);
    let text = says(&mut stream, at(1));
    assert!(text.contains("eu:1") && !text.contains("us:1") && !text.contains(END), "{text}");
}

#[test]
fn a_key_that_changes_while_the_stream_is_opened_is_not_overlooked() {
    let mut parent = parent(options(node::Role::Primary), Rights::of([Role::Read]));
    let grant = granted(&parent, "s");
    store(&mut parent, "k", None);
    let mut stream = Stream::open(&parent.node, request("\"*\"", None), &grant, None, at(0)).unwrap();
    let text = says(&mut stream, at(0));
    assert!(text.lines().nth(1).unwrap().starts_with(REVOKED), "{text}");
}

#[test]
fn lines_from_the_log_are_not_for_whom_they_were_read_before_the_key_went() {
    let mut parent = parent(options(node::Role::Primary), Rights::of([Role::Read]));
    let grant = granted(&parent, "s");
    let mut stream = open(&parent.node, "\"*\"", &grant);
    store(&mut parent, "k", None);
    stream.supply(Supply::Lines { bytes: parent.log.clone().into(), through: 3 });
    let text = says(&mut stream, at(1));
    assert!(text.starts_with(REVOKED) && text.lines().count() == 1, "{text}");
}

#[test]
fn a_secret_that_was_rotated_out_ends_its_streams_when_its_time_is_over() {
    let mut parent = parent(options(node::Role::Primary), Rights::of([Role::Read]));
    let rotated = key(Rights::of([Role::Read])).rotated(Verifier::of("t"), START_MS + 20_000);
    let mut early = open(&parent.node, "\"*\"", &granted(&parent, "s"));
    store(&mut parent, "k", Some(&rotated));
    let mut streams =
        [open(&parent.node, "\"*\"", &granted(&parent, "s")), open(&parent.node, "\"*\"", &granted(&parent, "t"))];
    for ms in [1, 19_999] {
        for stream in [&mut early].into_iter().chain(&mut streams) {
            let text = says(stream, at(ms));
            assert!(!text.contains(END), "{text}");
        }
    }
    let Step::Wait(until) = early.next(at(19_999)) else { panic!("nothing is left to say") };
    assert_eq!(until, 20_000, "nobody wakes it up later than that");
    assert!(says(&mut early, at(20_000)).contains(REVOKED));
    assert!(says(&mut streams[0], at(20_000)).contains(REVOKED));
    assert!(!says(&mut streams[1], at(20_000)).contains(END));
}

#[test]
fn what_everybody_may_follow_ends_when_nobody_may_any_more() {
    let mut parent = parent(options(node::Role::Primary), Rights::of([Role::Read]));
    let nobody = |rights| StoredKey::new(None, rights, 0);
    store(&mut parent, "anonymous", Some(&nobody(reading(r#"{"c":[""]}"#))));
    let grant = anonymous(parent.node.store()).unwrap().unwrap();
    let asked = request("\"*\"", None);
    let mut stream = Stream::open(&parent.node, asked, &grant, None, at(0)).unwrap();
    assert!(says(&mut stream, at(0)).contains(r#""scope":{"c":[""]}"#));
    let outside = Stream::open(&parent.node, request(r#"{"_keys":[""]}"#, None), &grant, None, at(0));
    assert!(matches!(outside.map(|_| ()), Err(OpenError::Forbidden)));
    store(&mut parent, "anonymous", Some(&nobody(reading(r#"{"d":[""]}"#))));
    assert!(says(&mut stream, at(1)).contains(REVOKED));
}

#[test]
fn a_replica_that_is_cut_off_for_too_long_trusts_no_key_it_holds() {
    let dev = Arc::new(Grant::all("dev"));
    let pair = Shown::Pair { apikey: "k", secret: "s" };
    let limited = |role| NodeOptions { auth_staleness_ms_max: Some(2_000), ..options(role) };
    for (options, role_trusts) in [
        (limited(node::Role::Replica), false),
        (options(node::Role::Replica), true),
        (limited(node::Role::Primary), true),
    ] {
        let parent = parent(options, Rights::of([Role::Read]));
        parent.node.update_freshness(|freshness| freshness.prove(START_MS, at(0)));
        let grant = granted(&parent, "s");
        let mut stream = open(&parent.node, "\"*\"", &grant);
        let mut own = open(&parent.node, "\"*\"", &dev);
        for (ms, is_near) in [(1_999, true), (2_001, false)] {
            let trusts = is_near || role_trusts;
            assert_eq!(judged(&parent.node, Some(&dev), pair, at(ms)).is_ok(), trusts, "{ms}");
            let word = judged(&parent.node, None, Shown::Nothing, at(ms)).unwrap_err().code.word();
            assert_eq!(word, if trusts { "forbidden" } else { "not_ready" });
            let shown = Shown::Pair { apikey: "dev", secret: "dev" };
            assert!(judged(&parent.node, Some(&dev), shown, at(ms)).is_ok(), "its own word is not the writer's");
            assert_eq!(says(&mut stream, at(ms)).contains("keys_too_old"), !trusts, "{ms}");
            assert!(!says(&mut own, at(ms)).contains(END));
        }
    }
}

#[test]
fn a_replica_whose_state_does_not_reach_the_keys_any_more_knows_nobody() {
    let parent = parent(options(node::Role::Replica), Rights::of([Role::Read]));
    let pair = Shown::Pair { apikey: "k", secret: "s" };
    assert!(judged(&parent.node, None, pair, at(0)).is_ok());
    let progress = Progress { scope: Scope::Public, ..parent.node.store().progress() };
    parent.node.narrow(&progress).unwrap();
    // They are still in the store, and nobody tells it of their end.
    assert!(verify(&parent.node, "s").is_some());
    for shown in [pair, Shown::Nothing] {
        assert_eq!(judged(&parent.node, None, shown, at(0)).unwrap_err().code.word(), "forbidden");
    }
}
