//! How a stream begins: with a tail, with a baseline, elsewhere, or not at all.

use crate::parent::{Parent, at, empty_store, field, open, options, request, said, scope, two_epochs};
use headwater_core::credentials::{self, Grant, Rights};
use headwater_core::feed::FeedLimits;
use headwater_core::id::Id;
use headwater_core::limits::{NODE_BYTES_MAX, SCOPE_BYTES_MAX, SCOPE_PREFIXES_MAX};
use headwater_core::node::{Node, NodeOptions, Role};
use headwater_core::position::Term;
use headwater_core::scope::Scope;
use headwater_core::store::{Progress, Store};
use headwater_core::stream::{InvalidRequest, OpenError, Request, Step, Stream};
use headwater_core::writer::{EntryWrite, Guard, WriteAction};
use std::sync::Arc;

#[test]
fn the_first_reason_that_applies_decides_how_a_stream_starts() {
    let parent = two_epochs(options(Role::Primary));
    for (asked, cursor, floor, resume, reason) in [
        ("\"**\"", None, 0, "baseline", "new"),
        ("\"**\"", Some(("20.5", "\"**\"")), 0, "tail", "null"),
        ("\"**\"", Some(("20.4", "\"**\"")), 0, "tail", "null"),
        ("\"**\"", Some(("10.3", "\"**\"")), 0, "tail", "null"),
        ("\"**\"", Some(("10.1", "\"**\"")), 0, "tail", "null"),
        // That seq was written by the next epoch, or not by this one.
        ("\"**\"", Some(("10.4", "\"**\"")), 0, "baseline", "not_on_history"),
        ("\"**\"", Some(("20.3", "\"**\"")), 0, "baseline", "not_on_history"),
        ("\"**\"", Some(("15.3", "\"**\"")), 0, "baseline", "not_on_history"),
        ("\"**\"", Some(("10.0", "\"**\"")), 0, "baseline", "not_on_history"),
        // The writer itself knows that nothing lies beyond its head.
        ("\"**\"", Some(("20.6", "\"**\"")), 0, "baseline", "not_on_history"),
        // An epoch it has never heard of: another writer may be right.
        ("\"**\"", Some(("21.1", "\"**\"")), 0, "none", "null"),
        ("\"*\"", Some(("21.1", "\"**\"")), 0, "none", "null"),
        ("\"*\"", Some(("20.5", "\"**\"")), 0, "baseline", "scope_changed"),
        ("\"**\"", Some(("20.5", "\"*\"")), 0, "baseline", "scope_changed"),
        ("\"*\"", Some(("10.4", "\"**\"")), 0, "baseline", "scope_changed"),
        (r#"{"c":["a","ab"]}"#, Some(("20.5", r#"{"c":["a"]}"#)), 0, "tail", "null"),
        // Only what lies behind the floor is held.
        ("\"**\"", Some(("10.3", "\"**\"")), 3, "tail", "null"),
        ("\"**\"", Some(("10.2", "\"**\"")), 3, "baseline", "trimmed"),
        ("\"**\"", Some(("10.4", "\"**\"")), 9, "baseline", "not_on_history"),
    ] {
        let feed = FeedLimits { bytes_max: 0, ..FeedLimits::default() };
        let trimmed = two_epochs(NodeOptions { feed, ..options(Role::Primary) });
        let node = if floor == 0 { &parent.node } else { &trimmed.node };
        let mut stream = open(node, request(asked, cursor), Some(floor), at(9)).unwrap();
        let text = said(&mut stream, at(9));
        let found = (field(&text, "resume"), field(&text, "reason"));
        assert_eq!(found, (resume.into(), reason.into()), "{asked} with {cursor:?} above {floor}");
        if resume == "none" {
            assert!(text.lines().nth(1).unwrap().contains(r#""reason":"elsewhere","detail":"behind""#), "{text}");
            assert!(matches!(stream.next(at(9)), Step::End));
        }
    }
}

#[test]
fn a_replica_sends_a_child_that_is_ahead_elsewhere() {
    let replica = two_epochs(options(Role::Replica));
    let mut stream = open(&replica.node, request("\"**\"", Some(("20.6", "\"**\""))), None, at(9)).unwrap();
    let text = said(&mut stream, at(9));
    assert_eq!(field(&text, "resume"), "none");
    assert!(text.contains(r#""reason":"elsewhere","detail":"behind""#), "{text}");
}

#[test]
fn an_epoch_counts_within_its_takeover_only() {
    for role in [Role::Primary, Role::Replica] {
        // Another log was put in its place in takeover 7, with the old one's first three records. The old one, started
        // again, has the higher epoch.
        let mut parent = Parent::new(options(role));
        parent.set("c", "a", 1);
        parent.open_in(Term { takeover: 7, epoch: 20 });
        parent.set("c", "a", 2);
        for (cursor, of, highest, start) in [
            (Some("90.9"), Some(0), Some(0), "baseline not_on_history"),
            // It has accepted the new writer before, and no baseline came to its end.
            (Some("90.9"), Some(0), Some(7), "baseline not_on_history"),
            (Some("90.9"), Some(7), Some(7), "none null"),
            // A release that knows of no takeover.
            (Some("90.9"), None, None, "none null"),
            (Some("10.3"), Some(0), Some(0), "tail null"),
            (Some("10.3"), Some(0), Some(7), "tail null"),
            (Some("10.3"), None, None, "tail null"),
            (Some("20.5"), Some(7), Some(7), "tail null"),
            (Some("20.4"), Some(0), Some(0), "tail null"),
            // It has accepted one who took over from this one.
            (Some("20.5"), Some(7), Some(8), "none null"),
            (Some("10.3"), Some(0), Some(8), "none null"),
            (None, None, Some(8), "none null"),
            (None, None, Some(7), "baseline new"),
        ] {
            let mut asked = request("\"**\"", cursor.map(|position| (position, "\"**\"")));
            asked.takeover = highest;
            asked.cursor.iter_mut().for_each(|cursor| cursor.takeover = of);
            let asked = Request::from_body(asked.to_body().as_bytes()).unwrap();
            let text = said(&mut open(&parent.node, asked, None, at(9)).unwrap(), at(9));
            let found = format!("{} {}", field(&text, "resume"), field(&text, "reason"));
            assert_eq!(found, start, "{cursor:?} of {of:?}, accepted {highest:?}");
            assert_eq!(field(&text, "takeover"), "7");
            assert_eq!(start == "none null", text.contains(r#""reason":"elsewhere","detail":"behind""#), "{text}");
        }
    }
}

#[test]
fn a_child_is_sent_elsewhere_for_what_is_not_wholly_held() {
    let store = empty_store(scope(r#"{"c":["eu:"]}"#));
    let progress = Progress {
        complete: true,
        position: "10.3".parse().unwrap(),
        cluster: Some(crate::parent::CLUSTER),
        ..store.progress()
    };
    store.set_progress(&progress).unwrap();
    let node = Arc::new(Node::new(store, options(Role::Replica)));
    for (asked, resume) in [(r#"{"c":["eu:1"]}"#, "baseline"), (r#"{"c":[""]}"#, "none"), (r#"{"d":[""]}"#, "none")] {
        let mut stream = open(&node, request(asked, None), None, at(0)).unwrap();
        assert_eq!(field(&said(&mut stream, at(0)), "resume"), resume, "{asked}");
    }
}

#[test]
fn a_credential_cuts_the_scope_or_refuses() {
    let parent = Parent::new(options(Role::Primary));
    let mut rights = Rights::default();
    let Scope::Only(within) = scope(r#"{"c":["eu:"],"d":[""]}"#) else { panic!("a map") };
    rights.add_within(credentials::Role::Read, within);
    let granted = Grant::local("k", rights);
    let asked = request(r#"{"c":[""]}"#, None);
    let mut stream = Stream::open(&parent.node, asked, &granted, None, at(0)).unwrap();
    assert_eq!(field(&said(&mut stream, at(0)), "scope"), "{c:[eu:]}");
    let refused = Stream::open(&parent.node, request(r#"{"e":[""]}"#, None), &granted, None, at(0));
    assert_eq!(refused.err(), Some(OpenError::Forbidden));
}

#[test]
fn whoever_reads_slowly_does_not_keep_children_from_their_baselines() {
    let parent = Parent::new(NodeOptions { baselines_max: 1, ..options(Role::Primary) });
    let lists: Vec<_> = std::iter::from_fn(|| parent.node.store().snapshot_for_reader(0).ok()).take(1_000).collect();
    assert!(lists.len() < 1_000, "there are only so many lists at one time");
    let mut slow = open(&parent.node, request("\"**\"", None), None, at(0)).unwrap();
    let patience = 15_000;
    let refused = open(&parent.node, request("\"**\"", None), None, at(patience - 1)).err();
    assert_eq!(refused, Some(OpenError::Overloaded("baselines")));
    let mut next = open(&parent.node, request("\"**\"", None), None, at(patience)).unwrap();
    assert!(said(&mut next, at(patience)).contains("\"READY\""));
    let text = said(&mut slow, at(patience));
    assert!(text.lines().nth(1).unwrap().contains(r#""reason":"retry","detail":"baseline_too_slow""#), "{text}");
}

#[test]
fn whoever_takes_a_large_baseline_steadily_keeps_its_place_for_an_hour() {
    let mut parent = Parent::new(NodeOptions { baselines_max: 1, ..options(Role::Primary) });
    // Pieces of 64 KiB, one every two seconds: just the least rate.
    let value = format!("\"{}\"", "v".repeat(100_000));
    for number in 0..60 {
        let entry = EntryWrite { key: &format!("{number:03}"), value: Some(&value), guard: Guard::default() };
        parent.write("c", WriteAction::Entry(entry), 0);
    }
    let mut steady = open(&parent.node, request("\"**\"", None), None, at(0)).unwrap();
    let mut ms = 0;
    for _ in 0..50 {
        assert!(matches!(steady.next(at(ms)), Step::Chunk { .. }));
        ms += 2_000;
        let refused = open(&parent.node, request("\"**\"", None), None, at(ms)).err();
        assert_eq!(refused, Some(OpenError::Overloaded("baselines")), "{ms}");
    }
    assert!(open(&parent.node, request("\"**\"", None), None, at(ms + 200_000)).is_ok(), "it has stopped");
}

#[test]
fn of_the_places_for_baselines_a_quarter_is_for_nodes() {
    let parent = Parent::new(NodeOptions { baselines_max: 8, ..options(Role::Primary) });
    let reader = Grant::local("reader", Rights::of([credentials::Role::Read]));
    let open = |grant: &Grant| Stream::open(&parent.node, request("\"*\"", None), grant, None, at(0));
    let readers: Vec<_> = std::iter::from_fn(|| open(&reader).ok()).take(20).collect();
    assert_eq!(readers.len(), 6);
    let nodes: Vec<_> = std::iter::from_fn(|| open(&Grant::all("node")).ok()).take(20).collect();
    assert_eq!(nodes.len(), 2);
    drop(readers);
    let nodes: Vec<_> =
        nodes.into_iter().chain(std::iter::from_fn(|| open(&Grant::all("node")).ok()).take(20)).collect();
    assert_eq!(nodes.len(), 8, "nodes may have them all");
}

#[test]
fn what_a_parent_would_have_to_hold_for_a_child_is_bounded() {
    let body = |node: &str, asked: &str, cursor: &str| {
        format!(r#"{{"node":"{node}","scope":{asked},"cursor":{{"epoch":1,"seq":1,"scope":{cursor}}}}}"#)
    };
    let prefixes = |count: usize| {
        let prefixes: Vec<_> = (0..count).map(|number| format!("\"{number:04}\"")).collect();
        format!("{{\"c\":[{}]}}", prefixes.join(","))
    };
    let long = |bytes: usize| format!("{{\"c\":[\"{}\"]}}", "x".repeat(bytes - 10));
    let (most, longest) = (prefixes(SCOPE_PREFIXES_MAX), long(SCOPE_BYTES_MAX));
    let (more, longer) = (prefixes(SCOPE_PREFIXES_MAX + 1), long(SCOPE_BYTES_MAX + 1));
    let label = "n".repeat(NODE_BYTES_MAX);
    for scope in [&most, &longest] {
        Request::from_body(body(&label, scope, scope).as_bytes()).unwrap();
    }
    for (field, refused) in [
        ("node", body(&format!("{label}n"), "\"*\"", "\"*\"")),
        ("scope", body("n", &more, "\"*\"")),
        ("scope", body("n", &longer, "\"*\"")),
        ("scope", body("n", "\"*\"", &more)),
        ("scope", body("n", "\"*\"", &longer)),
        ("scope", body("n", &format!("\"{}\"", "*".repeat(60_000)), "\"*\"")),
    ] {
        let error = Request::from_body(refused.as_bytes()).unwrap_err();
        assert!(matches!(error, InvalidRequest::Field(found, _) if found == field), "{field}: {error}");
        assert!(error.to_string().len() < 400, "what is too long is not sent back");
    }
    // A node with a longer label than its parent takes is shortened, not shut out.
    let named = Request { node: format!("{}é", "n".repeat(NODE_BYTES_MAX - 1)), ..request("\"*\"", None) };
    let read = Request::from_body(named.to_body().as_bytes()).unwrap();
    assert_eq!(read.node, "n".repeat(NODE_BYTES_MAX - 1));
}

#[test]
fn a_node_that_is_not_complete_or_full_opens_no_stream() {
    let empty = Arc::new(Node::new(empty_store(Scope::Everything), options(Role::Replica)));
    assert_eq!(open(&empty, request("\"**\"", None), None, at(0)).err(), Some(OpenError::NotReady));
    assert!(empty.children().is_empty(), "who was refused is no child");

    let few = NodeOptions { baselines_max: 1, children_max: 2, ..options(Role::Primary) };
    let parent = Parent::new(few);
    let mut first = open(&parent.node, request("\"**\"", None), None, at(0)).unwrap();
    let refused = open(&parent.node, request("\"**\"", None), None, at(0)).err();
    assert_eq!(refused, Some(OpenError::Overloaded("baselines")));
    said(&mut first, at(0));
    // Its baseline is through: its place is free.
    let second = open(&parent.node, request("\"**\"", None), None, at(0)).unwrap();
    let refused = open(&parent.node, request("\"**\"", None), None, at(0)).err();
    assert_eq!(refused, Some(OpenError::Overloaded("children")));
    drop(second);
    assert_eq!(parent.node.children().len(), 1);

    let feed = FeedLimits { scopes_max: 1, ..FeedLimits::default() };
    let parent = Parent::new(NodeOptions { feed, ..options(Role::Primary) });
    let first = open(&parent.node, request("\"*\"", None), None, at(0)).unwrap();
    let refused = open(&parent.node, request(r#"{"c":[""]}"#, None), None, at(0)).err();
    assert_eq!(refused, Some(OpenError::Overloaded("scopes")));
    drop(first);
    assert!(open(&parent.node, request(r#"{"c":[""]}"#, None), None, at(0)).is_ok());
}

#[test]
fn a_caller_has_so_many_streams_and_others_have_theirs_and_nodes_as_many_as_there_may_be() {
    let parent = Parent::new(NodeOptions { children_per_credential_max: 2, ..options(Role::Primary) });
    let reader = |id: &str| Grant::local(id, Rights::of([credentials::Role::Read]));
    let asked = || request("\"*\"", None);
    let open = |credential: &str| Stream::open(&parent.node, asked(), &reader(credential), None, at(0));
    let (first, _second) = (open("a").unwrap(), open("a").unwrap());
    assert_eq!(open("a").err(), Some(OpenError::BeyondShare(2)));
    let _other = open("b").unwrap();
    drop(first);
    let _third = open("a").unwrap();
    assert_eq!(open("a").err(), Some(OpenError::BeyondShare(2)));
    let from = |caller| Stream::open_for(caller, &parent.node, asked(), &reader("a"), None, at(0));
    let _elsewhere = from("a from elsewhere").unwrap();
    let nodes = (0..5).map(|_| Stream::open(&parent.node, asked(), &Grant::all("a"), None, at(0)));
    assert_eq!(nodes.collect::<Vec<_>>().iter().filter(|stream| stream.is_ok()).count(), 5);
}

#[test]
fn who_is_refused_supersedes_nobody() {
    let mut parent = Parent::new(NodeOptions { baselines_max: 1, ..options(Role::Primary) });
    let named = |scope: &str| Request { instance: Some(Id::from_bytes([1; 16])), ..request(scope, None) };
    let mut healthy = open(&parent.node, named("\"**\""), None, at(0)).unwrap();
    said(&mut healthy, at(0));
    let mut other = open(&parent.node, request("\"**\"", None), None, at(0)).unwrap();
    let refused = open(&parent.node, named("\"**\""), None, at(0)).err();
    assert_eq!(refused, Some(OpenError::Overloaded("baselines")));
    let ahead = Request { cursor: request("\"**\"", Some(("99.1", "\"**\""))).cursor, ..named("\"**\"") };
    let mut elsewhere = open(&parent.node, ahead, None, at(0)).unwrap();
    assert!(said(&mut elsewhere, at(0)).contains(r#""reason":"elsewhere""#));
    parent.set("c", "a", 1);
    assert!(said(&mut healthy, at(1)).starts_with(r#"{"type":"SET""#));
    said(&mut other, at(1));
    drop(open(&parent.node, named("\"**\""), None, at(1)).unwrap());
    assert!(said(&mut healthy, at(2)).contains(r#""reason":"superseded""#));
}
