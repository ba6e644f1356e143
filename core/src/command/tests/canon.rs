//! The bytes of each line. Logs and streams of every release hold them, so these texts never change.

use super::lines::encode;
use crate::command::{
    Action, BaselineReason, End, EndReason, Hello, Line, Logged, Op, Ping, Proof, Ready, Resume, Steer, Trust, decode,
};
use crate::digest::Digest;
use crate::id::Id;
use crate::position::{EpochStart, EpochTable};
use crate::scope::Scope;
use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;

const CLUSTER: Id = Id::from_bytes(*b"0123456789abcdef");

#[track_caller]
fn spelled(line: &Line<'_>, text: &str) {
    assert_eq!(encode(line), text);
    assert_eq!(decode(text.as_bytes(), Trust::Checked).as_ref(), Ok(line));
}

fn logged<'a>(seq: u64, prev: Option<u64>, action: Action<'a>) -> Logged<'a> {
    let collection = (!matches!(action, Action::Epoch { .. })).then_some(Cow::Borrowed("flags"));
    Logged { seq, prev, collection, timestamp: 9, extra: Cow::Borrowed(""), action }
}

#[test]
fn commands_that_change_state() {
    let node = Cow::Borrowed("node-1");
    spelled(
        &Line::Log(logged(
            1,
            None,
            Action::Epoch {
                epoch: 7,
                cluster: CLUSTER,
                node: node.clone(),
                requires: vec![Cow::Borrowed("merge")],
                takeover: 0,
            },
        )),
        r#"{"type":"EPOCH","seq":1,"timestamp":9,"epoch":7,"cluster":"30313233343536373839616263646566","node":"node-1","requires":["merge"]}"#,
    );
    let taken_over = Action::Epoch { epoch: 7, cluster: CLUSTER, node, requires: vec![], takeover: 5 };
    spelled(
        &Line::Log(logged(1, None, taken_over)),
        r#"{"type":"EPOCH","seq":1,"timestamp":9,"epoch":7,"cluster":"30313233343536373839616263646566","node":"node-1","requires":[],"takeover":5}"#,
    );
    spelled(
        &Line::Log(logged(2, None, Action::Create)),
        r#"{"type":"CREATE","collection":"flags","seq":2,"timestamp":9}"#,
    );
    let key = || Cow::Borrowed("checkout:\u{1}\"é");
    let set = Action::Set { key: key(), version: 1, value: r#"{"on":1.0}"# };
    spelled(
        &Line::Log(logged(3, Some(2), set.clone())),
        r#"{"type":"SET","collection":"flags","seq":3,"prev":2,"key":"checkout:\u0001\"é","version":1,"timestamp":9,"value":{"on":1.0}}"#,
    );
    spelled(
        &Line::Entry(logged(3, None, set)),
        r#"{"type":"SET","collection":"flags","seq":3,"key":"checkout:\u0001\"é","version":1,"timestamp":9,"value":{"on":1.0}}"#,
    );
    spelled(
        &Line::Log(logged(4, Some(3), Action::Delete { key: key(), version: 2 })),
        r#"{"type":"DELETE","collection":"flags","seq":4,"prev":3,"key":"checkout:\u0001\"é","version":2,"timestamp":9}"#,
    );
    spelled(
        &Line::Log(logged(5, Some(4), Action::Drop)),
        r#"{"type":"DROP","collection":"flags","seq":5,"prev":4,"timestamp":9}"#,
    );
    let op = |key, value, extra| Op { key: Cow::Borrowed(key), version: 1, value, extra: Cow::Borrowed(extra) };
    let ops = vec![op("b", Some("[]"), r#","expiresAt":5"#), op("a", None, "")];
    spelled(
        &Line::Log(logged(6, Some(5), Action::Batch(ops))),
        r#"{"type":"BATCH","collection":"flags","seq":6,"prev":5,"timestamp":9,"commands":[{"op":"set","key":"b","version":1,"expiresAt":5,"value":[]},{"op":"delete","key":"a","version":1}]}"#,
    );
}

#[test]
fn optional_fields_stand_before_the_value() {
    let action = Action::Set { key: Cow::Borrowed("k"), version: 1, value: "1" };
    spelled(
        &Line::Log(Logged { extra: Cow::Borrowed(r#","expiresAt":5,"x":{}"#), ..logged(3, Some(2), action) }),
        r#"{"type":"SET","collection":"flags","seq":3,"prev":2,"key":"k","version":1,"timestamp":9,"expiresAt":5,"x":{},"value":1}"#,
    );
    spelled(
        &Line::Log(Logged { extra: Cow::Borrowed(r#","reason":"expired""#), ..logged(3, Some(2), Action::Drop) }),
        r#"{"type":"DROP","collection":"flags","seq":3,"prev":2,"timestamp":9,"reason":"expired"}"#,
    );
}

#[test]
fn commands_that_steer_a_stream() {
    let hello = Hello {
        protocol: 1,
        cluster: CLUSTER,
        epoch: 7,
        seq: 812,
        at: 0,
        node: Cow::Borrowed("node-1"),
        path: vec![CLUSTER],
        resume: Resume::Baseline(BaselineReason::NotOnHistory),
        scope: Scope::from_json(r#"{"prices":["us:","eu:"],"flags":[""]}"#).unwrap(),
        ping_ms: 5000,
        requires: Vec::new(),
        timestamp: 9,
        clock: None,
        takeover: 0,
    };
    spelled(
        &Line::Steer(Steer::Hello(hello.clone())),
        r#"{"type":"HELLO","protocol":1,"cluster":"30313233343536373839616263646566","epoch":7,"seq":812,"at":0,"node":"node-1","path":["30313233343536373839616263646566"],"resume":"baseline","reason":"not_on_history","scope":{"flags":[""],"prices":["eu:","us:"]},"pingMs":5000,"requires":[],"timestamp":9}"#,
    );
    spelled(
        &Line::Steer(Steer::Hello(Hello {
            resume: Resume::Tail,
            scope: Scope::Everything,
            path: vec![],
            clock: Some(8),
            takeover: 6,
            ..hello
        })),
        r#"{"type":"HELLO","protocol":1,"cluster":"30313233343536373839616263646566","epoch":7,"seq":812,"at":0,"node":"node-1","path":[],"resume":"tail","scope":"**","pingMs":5000,"requires":[],"timestamp":9,"clock":8,"takeover":6}"#,
    );
    let collection = || Cow::Borrowed("flags");
    spelled(
        &Line::Steer(Steer::BaselineBegin { collection: collection(), created: 2 }),
        r#"{"type":"BASELINE_BEGIN","collection":"flags","created":2}"#,
    );
    // XXH3-128 of nothing, from the reference implementation's test vectors.
    let digest = Digest::of(b"");
    spelled(
        &Line::Steer(Steer::BaselineEnd { collection: collection(), keys: 0, digest }),
        r#"{"type":"BASELINE_END","collection":"flags","keys":0,"digest":"xxh3:99aa06d3014798d86001c324468d497f"}"#,
    );
    let epochs = EpochTable::new(vec![EpochStart { epoch: 5, first: 1 }, EpochStart { epoch: 7, first: 790 }]).unwrap();
    spelled(
        &Line::Steer(Steer::Ready(Ready { seq: 812, collections: 1, digest, epochs, timestamp: Some(9) })),
        r#"{"type":"READY","seq":812,"collections":1,"digest":"xxh3:99aa06d3014798d86001c324468d497f","epochs":[{"epoch":5,"first":1},{"epoch":7,"first":790}],"timestamp":9}"#,
    );
    spelled(&Line::Steer(Steer::Ping(None)), r#"{"type":"PING"}"#);
    spelled(
        &Line::Steer(Steer::Ping(Some(Ping { seq: 830, at: 123, clock: None, proof: Proof::Digest(digest) }))),
        r#"{"type":"PING","seq":830,"at":123,"digest":"xxh3:99aa06d3014798d86001c324468d497f"}"#,
    );
    spelled(
        &Line::Steer(Steer::Ping(Some(Ping {
            seq: 830,
            at: 123,
            clock: None,
            proof: Proof::Lines { lines: 0, sent: None },
        }))),
        r#"{"type":"PING","seq":830,"at":123,"lines":0}"#,
    );
    let proof = Proof::Lines { lines: 7, sent: Some(2) };
    spelled(
        &Line::Steer(Steer::Ping(Some(Ping { seq: 830, at: 123, clock: Some(124), proof }))),
        r#"{"type":"PING","seq":830,"at":123,"clock":124,"lines":7,"sent":2}"#,
    );
    spelled(
        &Line::Steer(Steer::Path(vec![Id::from_bytes([0xa1; 16])])),
        r#"{"type":"PATH","path":["a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"]}"#,
    );
    let end =
        End { reason: EndReason::Retry, detail: "shutdown".into(), retry_ms: 500, parents: vec!["http://b".into()] };
    spelled(
        &Line::Steer(Steer::End(end)),
        r#"{"type":"END","reason":"retry","detail":"shutdown","retryMs":500,"parents":["http://b"]}"#,
    );
}

#[test]
fn a_line_of_unknown_type_is_relayed_as_it_came() {
    let text = r#" {"value" : 1,"seq":4,"type":"MERGE"}"#;
    let Line::Log(command) = decode(text.as_bytes(), Trust::Checked).unwrap() else { panic!() };
    assert_eq!(encode(&Line::Log(command)), text);
    assert_eq!(decode(br#"{"type":"NOTE","text":"x"}"#, Trust::Checked), Ok(Line::Ignored));
}
