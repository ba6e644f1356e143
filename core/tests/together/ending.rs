//! How a stream ends, and what it says then.

use crate::parent::{Parent, at, open, options, request, said, two_epochs};
use headwater_core::command::{End, EndReason};
use headwater_core::credentials::Grant;
use headwater_core::id::Id;
use headwater_core::node::Role;
use headwater_core::store::{Progress, Store};
use headwater_core::stream::{Request, Step, Stream};

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
fn the_first_reason_to_end_stands() {
    let parent = Parent::new(options(Role::Primary));
    let named = || Request { instance: Some(Id::from_bytes([1; 16])), ..request("\"**\"", None) };
    let mut streams = [named(), named()].map(|request| {
        let mut stream = open(&parent.node, request, None, at(0)).unwrap();
        said(&mut stream, at(0));
        stream
    });
    parent.node.close(End { reason: EndReason::Retry, detail: "shutdown".into(), retry_ms: 7, parents: Vec::new() });
    assert!(said(&mut streams[0], at(1)).starts_with(r#"{"type":"END","reason":"superseded""#));
    assert!(matches!(streams[0].next(at(1)), Step::End));
    assert!(said(&mut streams[1], at(1)).starts_with(r#"{"type":"END","reason":"retry","detail":"shutdown""#));
}
