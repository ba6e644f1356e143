//! What holds when readers sort at the same time.

use super::*;
use crate::command::{Line, Trust, decode};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// A chunk of one line.
fn chunk(seq: u64) -> Chunk {
    let line =
        format!(r#"{{"type":"DELETE","collection":"c","seq":{seq},"prev":1,"key":"a","version":1,"timestamp":1}}"#);
    let Ok(Line::Log(command)) = decode(line.as_bytes(), Trust::Checked) else { panic!("a command") };
    let mut draft = Draft::default();
    draft.touch("c");
    draft.push(&command, 0, 0..0);
    draft.finish(Bytes::from(line.clone() + "\n"), [])
}

fn feed() -> (Feed, RingId) {
    let mut feed = Feed::new(Position { epoch: 1, seq: 1 }, FeedLimits::default());
    let (ring, _) = feed.join(Scope::from_json(r#"{"c":["a"]}"#).unwrap()).unwrap();
    (feed, ring)
}

fn unsorted(feed: &mut Feed, ring: RingId, seq: u64) -> Unsorted {
    match feed.after(ring, seq) {
        Tail::Unsorted(unsorted) => unsorted,
        other => panic!("{other:?}"),
    }
}

/// Seqs and texts that a reader is handed.
fn handed(feed: &mut Feed, ring: RingId, mut seq: u64) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    while let Tail::Lines(lines) = feed.after(ring, seq) {
        seq = lines.through;
        found.push((seq, String::from_utf8(lines.bytes.to_vec()).unwrap()));
    }
    found
}

#[test]
fn what_two_readers_sorted_is_taken_once_and_in_order() {
    let (mut feed, ring) = feed();
    feed.publish(chunk(2));
    feed.publish(chunk(3));
    let (first, late) = (unsorted(&mut feed, ring, 1), unsorted(&mut feed, ring, 1));
    feed.fill(first.sort());
    let second = unsorted(&mut feed, ring, 2);
    feed.fill(second.sort());
    feed.fill(late.sort());
    assert_eq!(handed(&mut feed, ring, 1).iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(feed.lines(ring), (2, 0));
}

#[test]
fn what_was_sorted_of_another_history_is_not_taken() {
    let (mut feed, ring) = feed();
    feed.publish(chunk(2));
    let old = unsorted(&mut feed, ring, 1);
    feed.reset(Position { epoch: 2, seq: 1 });
    feed.fill(old.sort());
    assert!(matches!(feed.after(ring, 1), Tail::Empty));
    assert_eq!(feed.lines(ring).0, 0);
}
