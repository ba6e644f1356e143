//! Several entries at once: all or none, and which one was the reason.

use super::*;
use alloc::boxed::Box;

fn put<'a>(key: &'a str, value: &'a str) -> EntryWrite<'a> {
    EntryWrite { key, value: Some(value), guard: Guard::default() }
}

fn gone(key: &str) -> EntryWrite<'_> {
    EntryWrite { key, value: None, guard: Guard::default() }
}

fn in_batch(index: usize, refusal: Refusal) -> Refusal {
    Refusal::InBatch { index, refusal: Box::new(refusal) }
}

#[test]
fn a_batch_is_one_line_and_one_seq() {
    let mut desk = Desk::new();
    desk.set("b");
    desk.set("c");
    let versions = desk.ok("c", WriteAction::Batch(vec![put("b", "[2]"), gone("c"), put("a", "3")]));
    assert_eq!(versions, [2, 2, 1]);
    assert_eq!(
        desk.last_line(),
        r#"{"type":"BATCH","collection":"c","seq":5,"prev":4,"timestamp":100,"commands":[{"op":"set","key":"b","version":2,"value":[2]},{"op":"delete","key":"c","version":2},{"op":"set","key":"a","version":1,"value":3}]}"#
    );
    let guard = matches(Tags::List(vec!["5-100".into()]));
    desk.ok("c", guarded("a", Some("4"), guard.clone()));
    assert_eq!(desk.refused("c", delete("c")), Refusal::NotFound("c".into()));
    desk.settle(5);
    desk.ok("c", guarded("b", Some("4"), guard));
}

#[test]
fn the_first_command_that_fails_decides_and_nothing_is_written() {
    let mut desk = Desk::new();
    desk.set("a");
    let batch = |last| WriteAction::Batch(vec![put("a", "2"), gone("x"), last]);
    let missing = in_batch(1, Refusal::NotFound("x".into()));
    assert_eq!(desk.refused("c", batch(put("", "1"))), missing);
    assert_eq!(desk.refused("c", batch(gone("y"))), missing);
    let held = EntryWrite { key: "a", value: Some("2"), guard: matches_none(Tags::Any) };
    let refused = desk.refused("c", WriteAction::Batch(vec![put("b", "1"), put("d", "1"), held]));
    assert_eq!(refused, in_batch(2, Refusal::Precondition(Some((1, "3-100".into())))));
    let long = "x".repeat(1025);
    let refused = desk.refused("c", WriteAction::Batch(vec![put(&long, "1")]));
    assert_eq!(refused, in_batch(0, Refusal::KeyLength { what: "key", bytes: 1025, limit: 1024 }));
    assert_eq!(desk.refused("c", delete("b")), Refusal::NotFound("b".into()), "no part of it was written");
    assert_eq!(desk.set("a"), 2);
}

#[test]
fn a_batch_names_each_key_once_and_at_least_one() {
    let mut desk = Desk::new();
    assert!(matches!(desk.refused("c", WriteAction::Batch(Vec::new())), Refusal::InvalidBatch(_)));
    let twice = vec![put("a", "1"), put("b", "1"), put("a", "2")];
    let Refusal::InBatch { index: 2, refusal } = desk.refused("c", WriteAction::Batch(twice)) else { panic!() };
    assert!(matches!(&*refusal, Refusal::InvalidBatch(why) if why.contains("\"a\"")), "{refusal}");
}

#[test]
fn a_batch_has_as_many_commands_as_the_limit_says_and_no_more() {
    let mut desk = Desk::with(Limits { batch_commands_max: 2, ..Limits::default() });
    desk.ok("c", WriteAction::Create);
    let three = vec![put("a", "1"), put("b", "1"), put("c", "1")];
    assert_eq!(
        desk.refused("c", WriteAction::Batch(three.clone())),
        Refusal::TooLarge { what: "batch", size: 3, limit: 2 }
    );
    desk.ok("c", WriteAction::Batch(three[..2].to_vec()));
}

#[test]
fn a_batch_is_as_long_as_the_limit_says_and_no_longer() {
    let batch = |value| WriteAction::Batch(vec![put("a", value), put("b", "1")]);
    let mut desk = Desk::new();
    desk.ok("c", batch("12"));
    let limit = desk.last_line().len();
    let mut desk = Desk::with(Limits { batch_bytes_max: limit, ..Limits::default() });
    desk.ok("c", WriteAction::Create);
    let refused = desk.refused("c", batch("123"));
    assert_eq!(refused, Refusal::TooLarge { what: "encoded batch", size: limit + 1, limit });
    desk.ok("c", batch("12"));
    assert_eq!(desk.last_line().len(), limit);
    assert_eq!(desk.set("a"), 2);
}
