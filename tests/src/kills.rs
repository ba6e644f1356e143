//! The campaign of kill -9 against a writer under load: what it does, apart from who follows that writer.

use crate::client::Client;
use crate::lines::Lines;
use crate::load::{Load, Record};
use crate::node::Node;
use crate::random::Random;
use crate::replication::converge;
use crate::state::State;
use crate::wire;
use reqwest::Method;
use serde_json::{Value, json};
use std::env;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How many clients write.
const CLIENTS: u64 = 6;
/// Writes between two kills, at most.
const WRITES_MAX: u64 = 120;

/// How many kills a campaign makes: `HEADWATER_KILLS` (set by `./dev campaign kills`), else `in_gate`.
pub fn rounds(in_gate: u64) -> u64 {
    match env::var("HEADWATER_KILLS") {
        Ok(text) => text.parse().expect("HEADWATER_KILLS is a number"),
        Err(_) => in_gate,
    }
}

/// As [`kill_writer_with`], followed by nobody but `replicas`.
pub async fn kill_writer(writer: &mut Node, replicas: &[Client], rounds: u64, random: &mut Random) -> State {
    kill_writer_with(writer, replicas, rounds, random, async |_| {}).await
}

/// Kills and restarts `writer` under load, `rounds` times at moments drawn from `random`, and each time waits until every
/// replica at `replicas` has followed it into the new epoch and `followed` returns for it. At the end the load stops, each
/// replica must hold exactly what the writer holds, and the writer's log all that was ever acknowledged. Returns that
/// state.
pub async fn kill_writer_with(
    writer: &mut Node,
    replicas: &[Client],
    rounds: u64,
    random: &mut Random,
    mut followed: impl AsyncFnMut(u64),
) -> State {
    let client = writer.client();
    // The first epoch's own position: everything after it can be asked for at the end.
    let first = client.position().await;
    let load = Load::start(&client, "load", CLIENTS, random).await;
    let churn = AbortOnDrop(tokio::spawn(churn(client.clone())));
    let watches: Vec<_> = replicas.iter().map(|replica| AbortOnDrop(tokio::spawn(watch(replica.clone())))).collect();
    for round in 0..rounds {
        load.acknowledges(1 + random.below(WRITES_MAX)).await;
        // Not only right after an acknowledgement: anywhere in the next write, too.
        tokio::time::sleep(Duration::from_micros(random.below(5_000))).await;
        writer.kill().await;
        writer.start_again().await;
        let (epoch, _) = wire::place(&client.position().await);
        for replica in replicas {
            crate::eventually(&format!("round {round}: {} follows epoch {epoch}", replica.url), || async {
                let position = replica.position().await;
                let follows = !position.is_empty() && wire::place(&position).0 == epoch;
                if follows { Ok(()) } else { Err(position) }
            })
            .await;
        }
        followed(epoch).await;
    }
    load.acknowledges(1).await;
    let record = load.finish().await;
    churn.ended().await;
    let state = settle(&client, replicas).await;
    for watch in watches {
        watch.ended().await;
    }
    check(&client, &first, &state, &record).await;
    println!(
        "{rounds} kills, {} writes acknowledged, {} outcomes unknown, position {}",
        record.acknowledged.len(),
        record.unknown,
        state.position
    );
    state
}

/// A task that ends with its owner.
struct AbortOnDrop(JoinHandle<()>);

impl AbortOnDrop {
    /// Ends it, and passes on a panic that it has ended with before.
    async fn ended(mut self) {
        self.0.abort();
        if let Err(error) = (&mut self.0).await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Makes, fills and drops a collection, again and again. Nobody counts on the outcome: replicas must agree on it.
async fn churn(client: Client) {
    loop {
        let create = client.request(Method::POST, "/v1/collections").body("{\"name\":\"churn\"}");
        let made = client.send(create).await;
        for number in 0..3 {
            client.try_set("churn", &format!("key-{number}"), "[1,2,3]").await.ok();
        }
        let dropped = client.send(client.request(Method::DELETE, "/v1/collections/churn")).await;
        if made.is_err() || dropped.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Looks at a replica's position all the time: while it runs it must only move forward.
async fn watch(replica: Client) {
    let mut before = (0, 0);
    loop {
        let position = replica.position().await;
        if !position.is_empty() {
            let now = wire::place(&position);
            assert!(now >= before && now.1 >= before.1, "{} went from {before:?} back to {now:?}", replica.url);
            before = now;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until every replica holds what the writer at rest holds.
pub async fn settle(writer: &Client, replicas: &[Client]) -> State {
    let mut state = State::default();
    for replica in replicas {
        state = converge(writer, replica).await;
    }
    if replicas.is_empty() {
        state =
            crate::eventually("the writer is at rest", || async { crate::state_of(writer).await.ok_or("it is not") })
                .await;
    }
    state
}

/// Checks the writer's whole log, and that its state is what the log says, against what the load was promised.
pub async fn check(writer: &Client, first: &str, state: &State, record: &Record) {
    let lines = history(writer, first, &state.position).await;
    record.check_log("load", &lines);
    let mut entries = std::collections::BTreeMap::new();
    for line in lines.iter().filter(|line| line["collection"] == "load") {
        let key = || line["key"].as_str().expect("it has a key").to_owned();
        match line["type"].as_str() {
            Some("SET") => drop(entries.insert(key(), line["value"].clone())),
            Some("DELETE") => drop(entries.remove(&key())),
            _ => {}
        }
    }
    let (_, held) = &state.collections["load"];
    let held: Vec<Value> = held.iter().map(|entry| serde_json::from_str(entry).expect("it is JSON")).collect();
    let held: Vec<_> = held.iter().map(|entry| (entry["key"].as_str().unwrap_or(""), &entry["value"])).collect();
    let right: Vec<_> = entries.iter().map(|(key, value)| (key.as_str(), value)).collect();
    assert_eq!(held, right, "the writer's state is not what its log says");
}

/// Every command of the log after `from` up to `to`.
pub async fn history(writer: &Client, from: &str, to: &str) -> Vec<Value> {
    let (_, last) = wire::place(to);
    let mut stream = Lines::open(writer, &wire::resume(from, &json!("**"))).await.expect("a stream");
    assert_eq!(stream.command().await["resume"], "tail", "the file log keeps everything");
    let mut lines = Vec::new();
    loop {
        let line = stream.command().await;
        let Some(seq) = line["seq"].as_u64() else { continue };
        if line["type"] == "PING" {
            assert!(seq < last, "the log ends before {to}");
            continue;
        }
        lines.push(line);
        if seq >= last {
            return lines;
        }
    }
}
