//! What a stream says while it lasts: from the feed, from the log, in PINGs and baselines.

use crate::parent::{Parent, at, field, open, options, request, said};
use bytes::Bytes;
use headwater_core::apply::scope_digest;
use headwater_core::command::{End, EndReason};
use headwater_core::feed::FeedLimits;
use headwater_core::node::{NodeOptions, Role, Stirred, Told};
use headwater_core::store::Store;
use headwater_core::stream::{Step, Stream, Supply};
use headwater_core::writer::WriteAction;

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
    let text = said(&mut stream, at(2_000));
    assert!(text.starts_with(r#"{"type":"PING","seq":3,"#), "at once after a long silence: {text}");
    parent.set("c", "a", 2_100);
    assert_eq!(waits_until(&mut stream, 2_100), 2_900);
    parent.set("c", "a", 2_500);
    assert_eq!(waits_until(&mut stream, 2_500), 2_900, "more of them put nothing off");
    let text = said(&mut stream, at(2_900));
    assert!(text.starts_with(r#"{"type":"PING","seq":5,"#) && text.lines().count() == 1, "{text}");
    assert_eq!(waits_until(&mut stream, 3_100), 62_900);
}

#[test]
fn those_alone_are_stirred_whom_what_was_published_may_concern() {
    let mut parent = Parent::new(options(Role::Primary));
    let scopes = ["\"**\"", "\"*\"", r#"{"c":["a"]}"#, r#"{"d":[""]}"#];
    let mut streams = scopes.map(|scope| open(&parent.node, request(scope, None), None, at(0)).unwrap());
    streams.iter_mut().for_each(|stream| drop(said(stream, at(0))));
    let [all, public, prefix, other] = streams.each_ref().map(Stream::ring);
    assert_eq!(all, None, "it is concerned by everything");
    let rings = |rings: [Option<_>; 2]| Stirred::Rings(rings.into_iter().flatten().collect());
    let mut told = Told::default();
    assert_eq!(parent.node.stirred(&mut told), Stirred::All, "who was told nothing yet");
    assert_eq!(parent.node.stirred(&mut told), rings([None, None]));
    // Of keys nothing is looked at.
    parent.set("c", "b", 10);
    assert_eq!(parent.node.stirred(&mut told), rings([public, prefix]));
    assert_eq!(parent.node.stirred(&mut told), rings([None, None]), "once is enough, whoever has read it");
    // That one of its readers was quicker helps the others nothing.
    parent.set("c", "a", 20);
    assert!(said(&mut streams[2], at(20)).contains(r#""key":"a""#));
    assert_eq!(parent.node.stirred(&mut told), rings([public, prefix]));
    parent.write("d", WriteAction::Create, 30);
    assert_eq!(parent.node.stirred(&mut told), rings([public, other]));
    assert!(said(&mut streams[3], at(30)).starts_with(r#"{"type":"CREATE","collection":"d""#));
    // What names no collection is for all.
    parent.open(11);
    let Stirred::Rings(found) = parent.node.stirred(&mut told) else { panic!("nobody is to end") };
    assert_eq!(found.len(), 3);
    parent.node.close(end());
    assert_eq!(parent.node.stirred(&mut told), Stirred::All);
}

fn end() -> End {
    End { reason: EndReason::Retry, detail: "test".into(), retry_ms: 1, parents: Vec::new() }
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
