//! Clients that write without pause and know exactly what they were promised.
//!
//! Every value says which write it was, so what a node holds afterwards can be held against what was acknowledged.

use crate::client::Client;
use crate::random::Random;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Keys each client writes to, in turn at random: few, so that most writes replace something.
const KEYS: u64 = 12;
/// Writes the clients may be ahead of what was asked for with [`Load::acknowledges`]: enough to be in the middle of some
/// whenever a test strikes, and few enough that a long campaign does not grow the log beyond what restarts can read.
const AHEAD: u64 = 400;
/// Longest padding of a value, so that records span disk sectors and chunks of the stream.
const PAD_BYTES_MAX: u64 = 900;

/// A write that was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The key.
    pub key: String,
    /// Number of the write, unique in its load; `None` for a deletion.
    pub number: Option<u64>,
    /// The version it was told.
    pub version: u64,
}

/// What happened so far.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// By seq.
    pub acknowledged: BTreeMap<u64, Acknowledged>,
    /// Numbers of writes that were sent, whatever became of them.
    pub sent: BTreeSet<u64>,
    /// Writes whose outcome was never told.
    pub unknown: u64,
}

/// A load on one collection of one node, which is made if missing.
pub struct Load {
    collection: String,
    record: Arc<Mutex<Record>>,
    done: Arc<AtomicU64>,
    /// How many writes may be acknowledged in all; 0 ends the clients.
    allowed: watch::Sender<u64>,
    clients: JoinSet<()>,
}

impl Load {
    /// Starts `clients` clients. While the node is away they try again until it is back.
    pub async fn start(client: &Client, collection: &str, clients: u64, random: &mut Random) -> Self {
        client.create(collection).await;
        let mut load = Self {
            collection: collection.to_owned(),
            record: Arc::default(),
            done: Arc::default(),
            allowed: watch::Sender::new(AHEAD),
            clients: JoinSet::new(),
        };
        for index in 0..clients {
            let one = One {
                client: client.clone(),
                collection: collection.to_owned(),
                record: Arc::clone(&load.record),
                done: Arc::clone(&load.done),
                random: random.split(),
                index,
            };
            load.clients.spawn(one.run(load.allowed.subscribe()));
        }
        load
    }

    /// Waits until `more` further writes were acknowledged.
    pub async fn acknowledges(&self, more: u64) {
        let aim = self.acknowledged() + more;
        self.allowed.send_replace(aim + AHEAD);
        crate::eventually(&format!("{more} more writes are acknowledged"), || async {
            let now = self.acknowledged();
            if now >= aim { Ok(()) } else { Err(format!("{now} of {aim}")) }
        })
        .await;
    }

    /// How many writes were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Ends the clients, each after the write it is at, and returns what happened.
    pub async fn finish(mut self) -> Record {
        self.allowed.send_replace(0);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client of the load does not panic");
        }
        lock(&self.record).clone()
    }

    /// The collection written to.
    pub fn collection(&self) -> &str {
        &self.collection
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct One {
    client: Client,
    collection: String,
    record: Arc<Mutex<Record>>,
    done: Arc<AtomicU64>,
    random: Random,
    index: u64,
}

impl One {
    async fn run(mut self, mut allowed: watch::Receiver<u64>) {
        let mut count = 0;
        loop {
            let done = Arc::clone(&self.done);
            let goes_on = |allowed: &u64| *allowed == 0 || done.load(Ordering::Relaxed) < *allowed;
            if allowed.wait_for(goes_on).await.is_ok_and(|allowed| *allowed == 0) {
                return;
            }
            count += 1;
            let number = self.index + count * 1_000;
            let known = self.write(number).await;
            if !known {
                lock(&self.record).unknown += 1;
                // The node is away or about to go: the next attempt says more, but not a thousand times a second.
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    }

    /// Makes one write; whether its outcome is known.
    async fn write(&mut self, number: u64) -> bool {
        let key = format!("client-{}:{}", self.index, self.random.below(KEYS));
        let deletes = self.random.below(8) == 0;
        let path = Client::entry_path(&self.collection, &key);
        let request = if deletes {
            self.client.request(reqwest::Method::DELETE, &path)
        } else {
            lock(&self.record).sent.insert(number);
            let value = value(number, self.random.below(PAD_BYTES_MAX));
            self.client.request(reqwest::Method::POST, &path).body(format!("{{\"value\":{value}}}"))
        };
        let Ok(reply) = self.client.send(request).await else { return false };
        match reply.status {
            200 => {}
            404 if deletes => return true,
            502 | 503 => return false,
            status => panic!("{status}: {}", reply.text()),
        }
        let answer = reply.json();
        let seq = answer["seq"].as_u64().expect("an acknowledgement has a seq");
        let version = answer["version"].as_u64().expect("an acknowledgement has a version");
        let acknowledged = Acknowledged { key, number: (!deletes).then_some(number), version };
        let before = lock(&self.record).acknowledged.insert(seq, acknowledged.clone());
        assert_eq!(before, None, "seq {seq} was acknowledged twice, now for {acknowledged:?}");
        self.done.fetch_add(1, Ordering::Relaxed);
        true
    }
}

/// The value of a write: its number, and padding that follows from it, so that half a value cannot pass for a whole one.
fn value(number: u64, pad: u64) -> String {
    let pad: String = (0..pad).map(|at| char::from(b'a' + ((number + at) % 26) as u8)).collect();
    format!("{{\"number\":{number},\"bytes\":{},\"pad\":\"{pad}\"}}", pad.len())
}

/// The number of a value that is whole; panics at one that is not.
pub fn number_of(value: &Value) -> u64 {
    let number = value["number"].as_u64().expect("a value of the load has a number");
    let pad = value["pad"].as_str().expect("a value of the load is padded").len() as u64;
    assert_eq!(value["bytes"].as_u64(), Some(pad), "a value is not whole: {value}");
    assert_eq!(value, &serde_json::from_str::<Value>(&self::value(number, pad)).expect("it is JSON"), "half a value");
    number
}

impl Record {
    /// Checks `lines`, every command of the log from its first on, against what was promised: each acknowledged write is
    /// there at its seq, nothing is there that was not sent, numbers follow one another. The load must have been the
    /// only one on `collection`.
    pub fn check_log(&self, collection: &str, lines: &[Value]) {
        let mut found = BTreeSet::new();
        let mut by_seq = BTreeMap::new();
        for pair in lines.windows(2) {
            let seq = |line: &Value| line["seq"].as_u64().expect("a command of the log has a seq");
            assert_eq!(seq(&pair[1]), seq(&pair[0]) + 1, "the log's numbers follow one another");
        }
        for line in lines.iter().filter(|line| line["collection"] == collection) {
            if line["type"] == "SET" {
                let number = number_of(&line["value"]);
                assert!(self.sent.contains(&number), "nobody sent {line}");
                assert!(found.insert(number), "a write is in the log twice: {line}");
            }
            by_seq.insert(line["seq"].as_u64().expect("checked above"), line);
        }
        for (seq, acknowledged) in &self.acknowledged {
            let Some(line) = by_seq.get(seq) else { panic!("acknowledged and lost: {seq} {acknowledged:?}") };
            let number = (line["type"] == "SET").then(|| number_of(&line["value"]));
            let told = (line["key"].as_str(), number, line["version"].as_u64());
            let promised = (Some(&*acknowledged.key), acknowledged.number, Some(acknowledged.version));
            assert_eq!(told, promised, "at seq {seq}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_value_does_not_pass() {
        let whole: Value = serde_json::from_str(&value(7_003, 100)).unwrap();
        assert_eq!(number_of(&whole), 7_003);
        let mut half = whole.clone();
        half["pad"] = half["pad"].as_str().unwrap()[..50].into();
        assert!(std::panic::catch_unwind(|| number_of(&half)).is_err());
    }
}
