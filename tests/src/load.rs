//! Clients that write without pause and know exactly what they were promised.
//!
//! Every value says which write it was, so what a node holds afterwards can be held against what was acknowledged. Some
//! writes are batches of several keys, which must be in the log whole or not at all.

use crate::client::Client;
use crate::random::Random;
use reqwest::Method;
use serde_json::{Value, json};
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

/// Keys in a batch, at most.
const BATCH_KEYS_MAX: u64 = 5;

/// One change of an entry that was acknowledged.
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
    /// By seq; several where a batch was.
    pub acknowledged: BTreeMap<u64, Vec<Acknowledged>>,
    /// The numbers of each write that was sent, whatever became of it, by the first: a batch has several.
    pub sent: BTreeMap<u64, Vec<u64>>,
    /// Writes whose outcome was never told.
    pub unknown: u64,
    /// First numbers of writes of which was told that they did not happen.
    pub refused: BTreeSet<u64>,
    /// How often each error code was told.
    pub codes: BTreeMap<String, u64>,
}

/// A load on one collection of one node, which is made if missing.
pub struct Load {
    collection: String,
    record: Arc<Mutex<Record>>,
    done: Arc<AtomicU64>,
    /// How many writes may be acknowledged in all; 0 ends the clients.
    allowed: watch::Sender<u64>,
    ahead: u64,
    clients: JoinSet<()>,
}

impl Load {
    /// Starts `clients` clients. While the node is away they try again until it is back.
    pub async fn start(client: &Client, collection: &str, clients: u64, random: &mut Random) -> Self {
        Self::start_ahead(AHEAD, client, collection, clients, random).await
    }

    /// As [`Load::start`], with clients that are at most about `ahead` writes ahead of what is asked for.
    pub async fn start_ahead(ahead: u64, client: &Client, collection: &str, clients: u64, random: &mut Random) -> Self {
        crate::eventually(&format!("{collection} is there"), || async {
            let create = client.request(Method::POST, "/v1/collections");
            let reply = client.send(create.body(format!("{{\"name\":\"{collection}\"}}"))).await;
            match reply {
                Ok(reply) if reply.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        let mut load = Self {
            collection: collection.to_owned(),
            record: Arc::default(),
            done: Arc::default(),
            allowed: watch::Sender::new(ahead),
            ahead,
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
        self.allowed.send_replace(aim + self.ahead);
        crate::eventually(&format!("{more} more writes are acknowledged"), || async {
            let now = self.acknowledged();
            if now >= aim { Ok(()) } else { Err(format!("{now} of {aim}")) }
        })
        .await;
    }

    /// Goes on until `more` further writes were told this error code.
    pub async fn is_told(&self, code: &str, more: u64) {
        let told = || lock(&self.record).codes.get(code).copied().unwrap_or_default();
        let aim = told() + more;
        self.allowed.send_replace(u64::MAX);
        crate::eventually(&format!("{more} writes are told {code}"), || async {
            if told() >= aim { Ok(()) } else { Err(lock(&self.record).codes.clone()) }
        })
        .await;
        self.allowed.send_replace(self.acknowledged() + self.ahead);
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
            let known = if self.random.below(4) == 0 {
                count += BATCH_KEYS_MAX;
                self.write_batch(count).await
            } else {
                count += 1;
                self.write(count).await
            };
            if !known {
                lock(&self.record).unknown += 1;
                // The node is away or about to go: the next attempt says more, but not a thousand times a second.
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    }

    /// The number of this client's `count`th value, which no other client uses.
    fn number(&self, count: u64) -> u64 {
        self.index + count * 1_000
    }

    fn value(&mut self, number: u64) -> String {
        value(number, self.random.below(PAD_BYTES_MAX))
    }

    /// Makes one write; whether its outcome is known.
    async fn write(&mut self, count: u64) -> bool {
        let key = format!("client-{}:{}", self.index, self.random.below(KEYS));
        let deletes = self.random.below(8) == 0;
        let number = (!deletes).then(|| self.number(count));
        let path = Client::entry_path(&self.collection, &key);
        let request = match number {
            None => self.client.request(Method::DELETE, &path),
            Some(number) => {
                lock(&self.record).sent.insert(number, vec![number]);
                let value = self.value(number);
                self.client.request(Method::POST, &path).body(format!("{{\"value\":{value}}}"))
            }
        };
        self.send(request, deletes, vec![(key, number)], |answer| vec![answer["version"].clone()]).await
    }

    /// Makes one write of several keys, with values up to that of `last`; whether its outcome is known.
    async fn write_batch(&mut self, last: u64) -> bool {
        let (first_key, size) = (self.random.below(KEYS), 2 + self.random.below(BATCH_KEYS_MAX - 1));
        let mut deletes = false;
        let mut changes = Vec::new();
        let mut ops = Vec::new();
        for at in 0..size {
            let key = format!("client-{}:{}", self.index, (first_key + at) % KEYS);
            // The first is a value, by which the batch is known.
            if at > 0 && self.random.below(12) == 0 {
                deletes = true;
                ops.push(json!({"op": "delete", "key": key}).to_string());
                changes.push((key, None));
            } else {
                let number = self.number(last - at);
                let value = self.value(number);
                ops.push(format!("{{\"op\":\"set\",\"key\":\"{key}\",\"value\":{value}}}"));
                changes.push((key, Some(number)));
            }
        }
        let numbers: Vec<u64> = changes.iter().filter_map(|(_, number)| *number).collect();
        lock(&self.record).sent.insert(numbers[0], numbers);
        let path = format!("/v1/collections/{}/batch", self.collection);
        let request = self.client.request(Method::POST, &path).body(format!("{{\"ops\":[{}]}}", ops.join(",")));
        let versions = |answer: &Value| {
            let results = answer["results"].as_array().expect("a batch has results");
            results.iter().map(|result| result["version"].clone()).collect()
        };
        self.send(request, deletes, changes, versions).await
    }

    /// Sends a write of `changes`, keys with the numbers of their values, and takes down what was promised; whether its
    /// outcome is known.
    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        deletes: bool,
        changes: Vec<(String, Option<u64>)>,
        versions: impl FnOnce(&Value) -> Vec<Value>,
    ) -> bool {
        let Ok(reply) = self.client.send(request).await else { return false };
        match reply.status {
            200 => {}
            404 if deletes => return true,
            502 | 503 | 507 => {
                let code = reply.code();
                let mut record = lock(&self.record);
                if matches!(&*code, "not_ready" | "overloaded" | "storage_full") {
                    record.refused.extend(changes.iter().find_map(|(_, number)| *number));
                }
                *record.codes.entry(code).or_default() += 1;
                return false;
            }
            status => panic!("{status}: {}", reply.text()),
        }
        let answer = reply.json();
        let seq = answer["seq"].as_u64().expect("an acknowledgement has a seq");
        let versions = versions(&answer);
        assert_eq!(versions.len(), changes.len(), "{answer}");
        let promised = |((key, number), version): ((String, Option<u64>), Value)| {
            let version = version.as_u64().expect("an acknowledgement has a version");
            Acknowledged { key, number, version }
        };
        let promised: Vec<_> = changes.into_iter().zip(versions).map(promised).collect();
        let before = lock(&self.record).acknowledged.insert(seq, promised);
        assert_eq!(before, None, "seq {seq} was acknowledged twice, now with {answer}");
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

/// The changes of entries in a line of the log, in order: what a client was promised if the line is its write.
fn changes(line: &Value) -> Vec<Acknowledged> {
    let change = |op: &Value, sets: bool| Acknowledged {
        key: op["key"].as_str().expect("a change has a key").to_owned(),
        number: sets.then(|| number_of(&op["value"])),
        version: op["version"].as_u64().expect("a change has a version"),
    };
    match line["type"].as_str() {
        Some("SET") => vec![change(line, true)],
        Some("DELETE") => vec![change(line, false)],
        Some("BATCH") => {
            let ops = line["commands"].as_array().expect("a batch has commands");
            ops.iter().map(|op| change(op, op["op"] == "set")).collect()
        }
        _ => Vec::new(),
    }
}

impl Record {
    /// Checks `lines`, every command of the log from its first on, against what was promised: each acknowledged write is
    /// there at its seq, nothing is there that was not sent, batches are there whole, numbers follow one another. The
    /// load must have been the only one on `collection`.
    pub fn check_log(&self, collection: &str, lines: &[Value]) {
        let mut found = BTreeSet::new();
        let mut by_seq = BTreeMap::new();
        for pair in lines.windows(2) {
            let seq = |line: &Value| line["seq"].as_u64().expect("a command of the log has a seq");
            assert_eq!(seq(&pair[1]), seq(&pair[0]) + 1, "the log's numbers follow one another: {pair:?}");
        }
        for line in lines.iter().filter(|line| line["collection"] == collection) {
            let changes = changes(line);
            let numbers: Vec<u64> = changes.iter().filter_map(|change| change.number).collect();
            if let Some(first) = numbers.first() {
                assert_eq!(self.sent.get(first), Some(&numbers), "nobody sent this, or more: {line}");
                assert!(!self.refused.contains(first), "it was told that this did not happen: {line}");
                assert!(found.insert(*first), "a write is in the log twice: {line}");
            }
            by_seq.insert(line["seq"].as_u64().expect("checked above"), changes);
        }
        for (seq, promised) in &self.acknowledged {
            assert_eq!(by_seq.get(seq), Some(promised), "acknowledged at seq {seq}, and lost or another");
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
