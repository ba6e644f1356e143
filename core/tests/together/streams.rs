//! The parent's side of a stream, rule by rule: how it starts, when it speaks, how it ends.

use crate::parent::{Parent, at, empty_store, open, options, request, said, scope};
use bytes::Bytes;
use headwater_core::apply::scope_digest;
use headwater_core::command::{End, EndReason};
use headwater_core::credentials::{self, Grant, Rights};
use headwater_core::feed::FeedLimits;
use headwater_core::id::Id;
use headwater_core::limits::{NODE_BYTES_MAX, SCOPE_BYTES_MAX, SCOPE_PREFIXES_MAX};
use headwater_core::node::{Child, Node, NodeOptions, Role};
use headwater_core::position::Term;
use headwater_core::scope::Scope;
use headwater_core::store::{Progress, Store};
use headwater_core::stream::{InvalidRequest, OpenError, Request, Step, Stream, Supply};
use headwater_core::writer::WriteAction;
use std::sync::Arc;

/// `"field":value` of the first line.
fn field(text: &str, name: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    value[name].to_string().replace('"', "")
}

/// 1 EPOCH 10, 2 CREATE c, 3 SET, 4 EPOCH 20, 5 SET.
fn two_epochs(options: NodeOptions) -> Parent {
    let mut parent = Parent::new(options);
    parent.set("c", "a", 1);
    parent.open(20);
    parent.set("c", "a", 2);
    parent
}

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
    let hour = 3_600_000;
    let refused = open(&parent.node, request("\"**\"", None), None, at(hour - 1)).err();
    assert_eq!(refused, Some(OpenError::Overloaded("baselines")));
    let mut next = open(&parent.node, request("\"**\"", None), None, at(hour)).unwrap();
    assert!(said(&mut next, at(hour)).contains("\"READY\""));
    let text = said(&mut slow, at(hour));
    assert!(text.lines().nth(1).unwrap().contains(r#""reason":"retry","detail":"baseline_too_slow""#), "{text}");
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
fn a_credential_has_so_many_streams_and_others_have_theirs() {
    let parent = Parent::new(NodeOptions { children_per_credential_max: 2, ..options(Role::Primary) });
    let open =
        |credential: &str| Stream::open(&parent.node, request("\"**\"", None), &Grant::all(credential), None, at(0));
    let (first, _second) = (open("a").unwrap(), open("a").unwrap());
    assert_eq!(open("a").err(), Some(OpenError::Overloaded("streams with this credential")));
    let _other = open("b").unwrap();
    drop(first);
    let _third = open("a").unwrap();
    assert_eq!(open("a").err(), Some(OpenError::Overloaded("streams with this credential")));
}

#[test]
fn the_newer_connection_of_an_instance_supersedes_the_older() {
    let parent = Parent::new(options(Role::Primary));
    let named = |credential: &str, instance| {
        let request = Request { instance: Some(Id::from_bytes([instance; 16])), ..request("\"**\"", None) };
        let mut stream = Stream::open(&parent.node, request, &Grant::all(credential), None, at(0)).unwrap();
        said(&mut stream, at(0));
        stream
    };
    let mut older = named("a", 1);
    let mut other_credential = named("b", 1);
    let mut other_instance = named("a", 2);
    let mut newer = named("a", 1);
    let said_later = |stream: &mut Stream<_>| said(stream, at(100));
    assert!(said_later(&mut older).contains(r#""reason":"superseded""#));
    assert!(matches!(older.next(at(100)), Step::End));
    for stream in [&mut other_credential, &mut other_instance, &mut newer] {
        assert_eq!(said_later(stream), "");
    }
}

#[test]
fn a_state_replaced_as_a_whole_ends_the_streams() {
    let parent = two_epochs(options(Role::Replica));
    let mut stream = open(&parent.node, request("\"**\"", None), None, at(0)).unwrap();
    said(&mut stream, at(0));
    let store = parent.node.store();
    store.stage().unwrap();
    let progress = Progress { position: "30.9".parse().unwrap(), ..store.progress() };
    parent.node.rebase(Vec::new(), &progress, parent.node.freshness()).unwrap();
    let text = said(&mut stream, at(1));
    assert!(text.contains(r#""reason":"retry","detail":"rebaselined""#), "{text}");
    assert!(matches!(stream.next(at(1)), Step::End));
}

#[test]
fn a_closing_node_says_how_it_ends() {
    let parent = Parent::new(options(Role::Primary));
    let mut stream = open(&parent.node, request("\"**\"", None), None, at(0)).unwrap();
    said(&mut stream, at(0));
    let end =
        End { reason: EndReason::Retry, detail: "shutdown".into(), retry_ms: 70, parents: vec!["http://b".into()] };
    parent.node.close(end);
    let text = said(&mut stream, at(1));
    assert_eq!(
        text,
        "{\"type\":\"END\",\"reason\":\"retry\",\"detail\":\"shutdown\",\"retryMs\":70,\"parents\":[\"http://b\"]}\n"
    );
}

#[test]
fn one_child_can_be_ended_and_the_first_reason_stands() {
    let parent = Parent::new(options(Role::Primary));
    let mut streams = ["a", "b"].map(|credential| {
        let request = request("\"**\"", None);
        let mut stream = Stream::open(&parent.node, request, &Grant::all(credential), None, at(0)).unwrap();
        said(&mut stream, at(0));
        stream
    });
    let revoked = |reason| End { reason, detail: String::new(), retry_ms: 7, parents: Vec::new() };
    let how = |reason| move |child: &Child| (child.credential == "a").then(|| revoked(reason));
    parent.node.end(how(EndReason::Revoked));
    parent.node.end(how(EndReason::TokenExpired));
    assert!(said(&mut streams[0], at(1)).starts_with(r#"{"type":"END","reason":"revoked","retryMs":7"#));
    assert!(matches!(streams[0].next(at(1)), Step::End));
    assert_eq!(said(&mut streams[1], at(1)), "");
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

fn waits_until(stream: &mut Stream<impl Store>, ms: u64) -> u64 {
    match stream.next(at(ms)) {
        Step::Wait(until) => until,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_ping_comes_when_the_child_has_caught_up_and_then_regularly() {
    let mut parent = Parent::new(options(Role::Primary));
    let mut stream = open(&parent.node, request("\"**\"", None), None, at(0)).unwrap();
    let text = said(&mut stream, at(0));
    assert!(text.lines().last().unwrap().starts_with(r#"{"type":"PING","seq":2,"#), "{text}");
    assert_eq!(waits_until(&mut stream, 10), 500);
    assert_eq!(waits_until(&mut stream, 499), 500);
    let text = said(&mut stream, at(500));
    assert!(text.starts_with(r#"{"type":"PING","seq":2,"at":1763650000500,"#), "{text}");
    parent.set("c", "a", 600);
    let text = said(&mut stream, at(600));
    assert!(text.starts_with(r#"{"type":"SET""#) && text.lines().count() == 1, "{text}");
    assert_eq!(waits_until(&mut stream, 700), 1_000);
}

#[test]
fn commands_left_out_are_told_by_a_ping_within_a_second() {
    let mut parent = Parent::new(NodeOptions { ping_ms: 60_000, ..options(Role::Primary) });
    let mut stream = open(&parent.node, request(r#"{"d":[""]}"#, None), None, at(0)).unwrap();
    said(&mut stream, at(0));
    assert_eq!(waits_until(&mut stream, 100), 60_000);
    parent.set("c", "a", 2_000);
    assert_eq!(waits_until(&mut stream, 2_000), 3_000);
    parent.set("c", "a", 2_500);
    assert_eq!(waits_until(&mut stream, 2_500), 3_000, "more of them put nothing off");
    let text = said(&mut stream, at(3_000));
    assert!(text.starts_with(r#"{"type":"PING","seq":4,"#), "{text}");
    assert_eq!(waits_until(&mut stream, 3_100), 63_000);
}

#[test]
fn a_child_that_fell_off_the_feed_is_served_from_the_log() {
    let feed = FeedLimits { bytes_max: 0, scope_bytes_max: 0, ..FeedLimits::default() };
    let mut parent = Parent::new(NodeOptions { feed, ..options(Role::Primary) });
    for scope in ["\"**\"", "\"*\"", r#"{"c":["a"]}"#] {
        let mut stream = open(&parent.node, request(scope, None), Some(0), at(0)).unwrap();
        let text = said(&mut stream, at(0));
        let position = parent.node.store().position().seq;
        assert!(text.contains(&format!(r#""type":"READY","seq":{position}"#)), "{text}");
        let from = parent.log.len();
        parent.set("c", "a", 5);
        parent.set("c", "b", 6);
        let Step::History(after) = stream.next(at(10)) else { panic!("they are not in memory") };
        assert_eq!(after, position);
        stream.supply(Supply::Lines { bytes: Bytes::copy_from_slice(&parent.log[from..]), through: position + 2 });
        let text = said(&mut stream, at(10));
        let sets = text.lines().filter(|line| line.starts_with(r#"{"type":"SET""#)).count();
        assert_eq!(sets, if scope.contains('a') { 1 } else { 2 }, "{text}");
        assert!(said(&mut stream, at(600)).contains(r#""type":"PING""#));
        // Gone from the log too.
        parent.set("c", "a", 7);
        assert!(matches!(stream.next(at(610)), Step::History(_)));
        stream.supply(Supply::Gone);
        assert!(said(&mut stream, at(610)).contains(r#""reason":"retry","detail":"trimmed""#));
        assert!(matches!(stream.next(at(610)), Step::End));
    }
}

#[test]
fn a_log_that_lags_behind_the_feed_is_asked_again_and_the_child_hears_that_it_lives() {
    let feed = FeedLimits { bytes_max: 0, ..FeedLimits::default() };
    let mut parent = Parent::new(NodeOptions { feed, ..options(Role::Primary) });
    let mut stream = open(&parent.node, request("\"**\"", None), Some(0), at(0)).unwrap();
    said(&mut stream, at(0));
    parent.set("c", "a", 5);
    let mut pings = 0;
    let mut ms = 10;
    let mut not_yet = |stream: &mut Stream<_>| {
        assert!(matches!(stream.next(at(ms)), Step::History(2)));
        stream.supply(Supply::NotYet);
        loop {
            match stream.next(at(ms)) {
                Step::Wait(until) => {
                    assert!(until > ms);
                    ms = until;
                }
                Step::Chunk { bytes, commands: 0 } => {
                    assert_eq!(bytes, "{\"type\":\"PING\"}\n");
                    pings += 1;
                }
                Step::History(2) => return (ms, pings),
                other => panic!("{other:?}"),
            }
            if ms > 2_000 {
                return (ms, pings);
            }
        }
    };
    let mut asked = 0;
    let (mut ms, pings) = loop {
        let (ms, pings) = not_yet(&mut stream);
        asked += 1;
        assert!(asked < 100, "it is asked all the time");
        if ms > 2_000 {
            break (ms, pings);
        }
    };
    assert!((10..=30).contains(&asked) && (3..=4).contains(&pings), "asked {asked} times, {pings} PINGs in {ms} ms");
    ms += 100;
    said(&mut stream, at(ms));
    let line = parent.log[parent.log.iter().rposition(|&byte| byte == b'{').unwrap()..].to_vec();
    stream.supply(Supply::Lines { bytes: line.into(), through: 3 });
    assert!(said(&mut stream, at(ms)).contains(r#"{"type":"SET","collection":"c","seq":3"#));
    // A log that never gets there is given up.
    parent.set("c", "a", 3_000);
    let mut ms = 3_000;
    let end = loop {
        match stream.next(at(ms)) {
            Step::History(_) => stream.supply(Supply::NotYet),
            Step::Wait(until) => ms = until,
            Step::Chunk { bytes, .. } if bytes.starts_with(b"{\"type\":\"END\"") => break bytes,
            Step::Chunk { .. } => {}
            Step::End => panic!("it says END first"),
        }
        assert!(ms < 100_000, "it is never given up");
    };
    assert!(String::from_utf8(end.to_vec()).unwrap().contains("trimmed"));
    assert!((30_000..40_000).contains(&ms), "{ms}");
}

#[test]
fn a_log_without_lines_for_the_scope_leads_on_to_the_feed() {
    let feed = FeedLimits { bytes_max: 0, ..FeedLimits::default() };
    let mut parent = Parent::new(NodeOptions { feed, ..options(Role::Primary) });
    parent.set("c", "a", 1);
    let mut stream =
        open(&parent.node, request(r#"{"d":[""]}"#, Some(("10.2", r#"{"d":[""]}"#))), Some(0), at(2)).unwrap();
    assert_eq!(field(&said(&mut stream, at(2)), "resume"), "tail");
    parent.set("c", "a", 3);
    stream.supply(Supply::Lines { bytes: Bytes::new(), through: 3 });
    // The log takes long, and has nothing for this child so far.
    assert_eq!(said(&mut stream, at(600)), "{\"type\":\"PING\"}\n");
    assert!(matches!(stream.next(at(600)), Step::History(3)));
    stream.supply(Supply::Lines { bytes: Bytes::new(), through: 4 });
    let text = said(&mut stream, at(601));
    assert!(text.starts_with(r#"{"type":"PING","seq":4,"#), "{text}");
}

#[test]
fn the_first_ping_on_a_connection_tells_how_many_commands_were_sent_by_it() {
    let mut parent = Parent::new(NodeOptions {
        feed: FeedLimits { bytes_max: 700, ..FeedLimits::default() },
        ..options(Role::Primary)
    });
    let narrow = r#"{"c":["eu:"]}"#;
    let mut first = open(&parent.node, request(narrow, None), Some(0), at(0)).unwrap();
    let counts = |text: &str| {
        let ping = text.lines().last().filter(|line| line.contains("\"PING\"")).unwrap();
        (field(ping, "lines"), field(ping, "sent"))
    };
    assert_eq!(counts(&said(&mut first, at(0))), ("0".into(), "0".into()));
    parent.set("c", "us:1", 1);
    parent.set("c", "eu:1", 1);
    assert_eq!(said(&mut first, at(1)).lines().count(), 1);
    assert_eq!(counts(&said(&mut first, at(600))), ("1".into(), "null".into()));
    // Another connection counts by itself, with the same running count.
    let mut second = open(&parent.node, request(narrow, Some(("10.3", narrow))), Some(0), at(700)).unwrap();
    assert_eq!(counts(&said(&mut second, at(700))), ("1".into(), "1".into()));
    parent.set("c", "eu:2", 701);
    said(&mut second, at(701));
    assert_eq!(counts(&said(&mut second, at(1_300))), ("2".into(), "null".into()));
    // Neither reads until more went by than the feed holds: the running count begins anew, and `sent` with it.
    let (from, after) = (parent.log.len(), parent.node.store().position().seq);
    (0..20).for_each(|_| parent.set("c", "eu:3", 1_400));
    let Step::History(asked) = second.next(at(1_400)) else { panic!("they are not in memory") };
    assert_eq!(asked, after);
    let through = parent.node.store().position().seq;
    second.supply(Supply::Lines { bytes: Bytes::copy_from_slice(&parent.log[from..]), through });
    assert_eq!(said(&mut second, at(1_400)).lines().count(), 20);
    let (lines, sent) = counts(&said(&mut second, at(2_000)));
    assert!(lines.parse::<u64>().unwrap() < 20, "{lines}");
    assert_eq!(sent, "22");
}

#[test]
fn a_chunk_says_how_many_commands_it_holds() {
    let mut parent = Parent::new(options(Role::Primary));
    parent.set("c", "a", 1);
    parent.set("c", "b", 1);
    let mut stream = open(&parent.node, request(r#"{"c":["a","x"]}"#, None), None, at(2)).unwrap();
    let mut counted = |ms| {
        let mut counted = Vec::new();
        while let Step::Chunk { commands, .. } = stream.next(at(ms)) {
            counted.push(commands);
        }
        counted
    };
    assert_eq!(counted(2), [0, 1, 0], "HELLO, the baseline with one entry, PING");
    parent.set("c", "x\"y", 3);
    parent.set("c", "b", 3);
    assert_eq!(counted(3), [1]);
}

#[test]
fn a_pings_digest_is_that_of_the_scope_whatever_was_written() {
    let mut parent = Parent::new(options(Role::Primary));
    let scopes = ["\"**\"", "\"*\"", r#"{"c":[""],"e":[""]}"#, r#"{"_keys":[""],"d":[""]}"#];
    let mut streams = scopes.map(|asked| open(&parent.node, request(asked, None), None, at(0)).unwrap());
    let mut check = |parent: &Parent, ms| {
        for stream in &mut streams {
            let text = said(stream, at(ms));
            let ping = text.lines().last().filter(|line| line.contains("\"PING\"")).unwrap();
            let collections = parent.node.store().collections().unwrap();
            let covered = collections.iter().filter(|facts| stream.scope().touches(&facts.name));
            assert_eq!(field(ping, "digest"), scope_digest(covered).to_wire(), "{} at {ms}", stream.scope());
        }
    };
    check(&parent, 0);
    for name in ["_keys", "d", "e", "f"] {
        parent.write(name, WriteAction::Create, 600);
        parent.set(name, "k", 600);
    }
    parent.set("c", "a", 600);
    parent.set("c", "b", 600);
    check(&parent, 700);
    parent.write("e", WriteAction::Drop, 1_300);
    parent.write("c", WriteAction::Drop, 1_300);
    parent.write("c", WriteAction::Create, 1_300);
    parent.open(20);
    check(&parent, 1_400);
    assert_eq!(parent.node.digest().unwrap(), scope_digest(&parent.node.store().collections().unwrap()));
}

#[test]
fn a_batch_is_narrowed_to_what_the_prefixes_cover() {
    let mut parent = Parent::new(options(Role::Primary));
    let mut narrow = open(&parent.node, request(r#"{"c":["eu:"]}"#, None), None, at(0)).unwrap();
    said(&mut narrow, at(0));
    let put = |key| headwater_core::writer::EntryWrite { key, value: Some("[1.0]"), guard: Default::default() };
    parent.write("c", WriteAction::Batch(vec![put("us:1"), put("eu:1"), put("x")]), 5);
    parent.write("c", WriteAction::Batch(vec![put("us:1")]), 6);
    let text = said(&mut narrow, at(10));
    assert_eq!(
        text,
        "{\"type\":\"BATCH\",\"collection\":\"c\",\"seq\":3,\"prev\":2,\"timestamp\":1763650000005,\
         \"commands\":[{\"op\":\"set\",\"key\":\"eu:1\",\"version\":1,\"value\":[1.0]}]}\n"
    );
    let text = said(&mut narrow, at(600));
    assert!(text.contains(r#""seq":4"#) && text.contains(r#""lines":1}"#), "{text}");
}

#[test]
fn a_baseline_is_exact_while_the_writer_goes_on() {
    let mut parent = Parent::new(options(Role::Primary));
    let long = format!("\"{}\"", "x".repeat(40_000));
    for key in ["a", "b", "c", "d", "e"] {
        let entry = headwater_core::writer::EntryWrite { key, value: Some(&long), guard: Default::default() };
        parent.write("c", WriteAction::Entry(entry), 1);
    }
    let mut stream = open(&parent.node, request("\"**\"", None), None, at(2)).unwrap();
    let mut text = String::new();
    let mut pieces = 0;
    while let Step::Chunk { bytes: chunk, .. } = stream.next(at(3)) {
        text += core::str::from_utf8(&chunk).unwrap();
        pieces += 1;
        if pieces < 5 {
            parent.set("c", ["e", "a", "f", "d"][pieces - 1], 3);
        }
    }
    let ready = text.find(r#"{"type":"READY","seq":7"#).expect("as of the beginning");
    assert!(text[..ready].matches(r#""value":1}"#).count() == 0, "nothing newer is in it");
    assert_eq!(text[..ready].matches(&long).count(), 5);
    assert_eq!(text[ready..].matches(r#""value":1}"#).count(), 4, "and all of it follows");
    assert_eq!(field(&text, "at"), (crate::parent::START_MS + 2).to_string());
}

#[test]
fn who_shares_a_snapshot_is_told_how_fresh_that_is_and_not_the_clock() {
    let mut parent = Parent::new(options(Role::Primary));
    let mut first = open(&parent.node, request("\"**\"", None), None, at(2)).unwrap();
    parent.set("c", "a", 30);
    let mut second = open(&parent.node, request("\"**\"", None), None, at(50)).unwrap();
    for stream in [&mut first, &mut second] {
        let text = said(stream, at(60));
        assert_eq!((field(&text, "seq"), field(&text, "at")), ("2".into(), (crate::parent::START_MS + 2).to_string()));
        assert!(text.contains(r#""type":"SET","collection":"c","seq":3"#), "{text}");
    }
    // Nobody holds it any more: the next is a new one.
    let mut third = open(&parent.node, request("\"**\"", None), None, at(70)).unwrap();
    let text = said(&mut third, at(70));
    assert_eq!((field(&text, "seq"), field(&text, "at")), ("3".into(), (crate::parent::START_MS + 70).to_string()));
}
