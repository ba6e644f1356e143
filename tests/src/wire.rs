//! Lines for a parent played by the test, as text: what a writer of the other side would send, right or wrong.

use headwater_core::digest::Digest;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// The cluster of scripted parents.
pub const CLUSTER: &str = "00000000000000000000000000c1a5e1";
/// The instance of scripted parents.
pub const INSTANCE: &str = "000000000000000000000000000000aa";

/// A scripted parent's facts.
#[derive(Clone, Debug)]
pub struct Script {
    /// Its cluster.
    pub cluster: String,
    /// Its epoch.
    pub epoch: u64,
    /// What HELLO promises, in ms.
    pub ping_ms: u64,
    /// What HELLO requires.
    pub requires: Vec<String>,
    /// Its takeover; 0 for none.
    pub takeover: u64,
}

impl Default for Script {
    fn default() -> Self {
        Self { cluster: CLUSTER.into(), epoch: 1_000, ping_ms: 60_000, requires: Vec::new(), takeover: 0 }
    }
}

/// Unix time in ms.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
    since.as_millis() as u64
}

impl Script {
    /// HELLO; `resume` is `tail`, `baseline:<reason>` or `none`.
    pub fn hello(&self, seq: u64, resume: &str) -> String {
        self.hello_at(seq, resume, now_ms())
    }

    /// HELLO with this proof.
    pub fn hello_at(&self, seq: u64, resume: &str, at: u64) -> String {
        let (resume, reason) = match resume.split_once(':') {
            Some((resume, reason)) => (resume, format!(",\"reason\":\"{reason}\"")),
            None => (resume, String::new()),
        };
        let (cluster, epoch, ping_ms, requires) = (&self.cluster, self.epoch, self.ping_ms, json!(self.requires));
        let takeover = if self.takeover > 0 { format!(",\"takeover\":{}", self.takeover) } else { String::new() };
        format!(
            "{{\"type\":\"HELLO\",\"protocol\":1,\"cluster\":\"{cluster}\",\"epoch\":{epoch},\"seq\":{seq},\"at\":{at},\
             \"node\":\"stub\",\"path\":[\"{INSTANCE}\"],\"resume\":\"{resume}\"{reason},\"scope\":\"**\",\
             \"pingMs\":{ping_ms},\"requires\":{requires},\"timestamp\":{}{takeover}}}",
            now_ms()
        )
    }

    /// A whole baseline with one collection `c`, made at seq 2, of these entries (lines without `prev`), and READY.
    pub fn baseline(&self, seq: u64, entries: &[String]) -> Vec<String> {
        let digest = content(entries);
        let mut lines = vec![self.hello(seq, "baseline:new"), begin()];
        lines.extend(entries.iter().cloned());
        let (keys, wire) = (entries.len(), digest.to_wire());
        lines.push(format!(r#"{{"type":"BASELINE_END","collection":"c","keys":{keys},"digest":"{wire}"}}"#));
        lines.push(self.ready(seq, digest));
        lines
    }

    fn ready(&self, seq: u64, content: Digest) -> String {
        let digest = Digest::of_collection("c", 2, content).to_wire();
        let epochs = json!([{"epoch": self.epoch, "first": 1}]);
        format!(r#"{{"type":"READY","seq":{seq},"collections":1,"digest":"{digest}","epochs":{epochs}}}"#)
    }

    /// A full PING that proves a state of these entries.
    pub fn ping(&self, seq: u64, at: u64, entries: &[String]) -> String {
        let digest = Digest::of_collection("c", 2, content(entries)).to_wire();
        format!(r#"{{"type":"PING","seq":{seq},"at":{at},"digest":"{digest}"}}"#)
    }

    /// The EPOCH command that opens this script's epoch.
    pub fn epoch_line(&self, seq: u64) -> String {
        let (cluster, epoch, requires) = (&self.cluster, self.epoch, json!(self.requires));
        format!(
            "{{\"type\":\"EPOCH\",\"seq\":{seq},\"timestamp\":{},\"epoch\":{epoch},\"cluster\":\"{cluster}\",\
             \"node\":\"stub\",\"requires\":{requires}}}",
            now_ms()
        )
    }
}

fn content(entries: &[String]) -> Digest {
    let mut digest = Digest::EMPTY;
    entries.iter().for_each(|entry| digest.add(Digest::of(entry.as_bytes())));
    digest
}

/// The begin of collection `c`, made at seq 2.
fn begin() -> String {
    r#"{"type":"BASELINE_BEGIN","collection":"c","created":2}"#.into()
}

/// An entry of collection `c` as a baseline carries it.
pub fn entry(seq: u64, key: &str, value: &str) -> String {
    let key = Value::from(key);
    format!(
        r#"{{"type":"SET","collection":"c","seq":{seq},"key":{key},"version":1,"timestamp":1700000000000,"value":{value}}}"#
    )
}

/// A SET in collection `c` as the tail carries it.
pub fn set(seq: u64, prev: u64, key: &str, value: &str) -> String {
    let key = Value::from(key);
    format!(
        "{{\"type\":\"SET\",\"collection\":\"c\",\"seq\":{seq},\"prev\":{prev},\"key\":{key},\"version\":1,\
         \"timestamp\":1700000000000,\"value\":{value}}}"
    )
}

/// The body of a child that goes on behind `<epoch>.<seq>` of `scope`.
pub fn resume(position: &str, scope: &Value) -> String {
    let (epoch, seq) = place(position);
    json!({"node": "test", "scope": scope, "cursor": {"epoch": epoch, "seq": seq, "scope": scope}}).to_string()
}

/// Epoch and seq of a position's text.
pub fn place(position: &str) -> (u64, u64) {
    let (epoch, seq) = position.split_once('.').expect("a position has two numbers");
    let number = |text: &str| text.parse().expect("a position has two numbers");
    (number(epoch), number(seq))
}
