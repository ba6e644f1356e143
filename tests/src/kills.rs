//! Campaigns of kill -9 under load: against a writer, and against a replica of any kind.

use crate::client::Client;
use crate::follower::Follower;
use crate::lines::Lines;
use crate::load::{Load, Record};
use crate::node::{Node, NodeBuilder};
use crate::random::Random;
use crate::replication::{Replication, converge};
use crate::scene::build_writer;
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
/// Kills in the gate, of a writer as of each kind of replica.
const KILLS: u64 = 25;

/// How many kills a campaign makes: `HEADWATER_KILLS` (set by `./dev campaign`), else what the gate asks for.
pub fn rounds() -> u64 {
    match env::var("HEADWATER_KILLS") {
        Ok(text) => text.parse().expect("HEADWATER_KILLS is a number"),
        Err(_) => KILLS,
    }
}

/// Makes a test of each campaign here for one kind of replica.
#[macro_export]
macro_rules! kill_tests {
    ($follower:ty) => {
        $crate::follower_tests! { $follower, kills:
            no_acknowledged_write_is_lost_by_killing_the_writer,
            a_killed_replica_goes_on_from_what_it_kept,
        }
    };
}

/// The writer is killed again and again; a replica, and a native replica of that where it may have one, follow it all
/// the time without a new baseline.
pub async fn no_acknowledged_write_is_lost_by_killing_the_writer<F: Follower>() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut random = Random::announced("kill -9 of the writer");
    let mut writer = build_writer(directory.path()).start().await;
    let mut near = F::start(directory.path(), &writer.url).await;
    let mut clients: Vec<Client> = near.client().into_iter().collect();
    let mut far = None;
    if let Some(client) = near.client() {
        let node = NodeBuilder::replica("far", directory.path(), &client.url).start().await;
        node.ready().await;
        clients.push(node.client());
        far = Some(node);
    }
    let rounds = rounds();
    kill_writer(&mut writer, &clients, rounds, &mut random, async |epoch| {
        near.until("it follows the new epoch", |found| wire::place(&found.position).0 == epoch).await;
    })
    .await;
    near.converges(&writer.client()).await;
    let found = near.replication().await.expect("it answers");
    assert_eq!((found.baselines, found.gaps, found.divergences), (1, 0, 0), "{found:?}");
    assert!(found.connections > rounds, "it has lived through all of them: {found:?}");
    if let Some(far) = &far {
        let found = Replication::of(&far.client()).await;
        assert_eq!((found.baselines, found.gaps, found.divergences), (1, 0, 0), "two hops away: {found:?}");
    }
}

/// A replica is killed again and again. One that keeps its state goes on from it, also with nobody to ask.
pub async fn a_killed_replica_goes_on_from_what_it_kept<F: Follower>() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut random = Random::announced("kill -9 of a replica");
    let mut writer = build_writer(directory.path()).start().await;
    let mut near = F::start(directory.path(), &writer.url).await;
    if F::KEEPS_ITS_STATE {
        near.until("its first copy is stored", |found| !found.stored.is_empty()).await;
    }
    let client = writer.client();
    let first = client.position().await;
    let load = Load::start(&client, "load", 4, &mut random).await;
    let rounds = rounds();
    for round in 0..rounds {
        // Now and then so many that one that gathers for long has stored some of them.
        let most = if random.below(5) == 0 { 500 } else { 60 };
        load.acknowledges(1 + random.below(most)).await;
        tokio::time::sleep(Duration::from_micros(random.below(5_000))).await;
        // Every third time both go, and the replica comes back first, with nobody to ask.
        let alone = F::KEEPS_ITS_STATE && round % 3 == 2;
        if alone {
            writer.kill().await;
        }
        near.kill().await;
        near.start_again().await;
        if alone {
            let found = near.replication().await.expect("it answers");
            assert!(!found.connected && found.connections == 0, "{found:?}");
            assert_eq!(near.client().expect("it has an address").get("/v1/collections").await.status, 200);
            writer.start_again().await;
        }
        let found = near.until("it follows again", |found| found.connections == 1).await;
        assert_eq!(found.baselines, u64::from(!F::KEEPS_ITS_STATE), "round {round}: it has what it kept: {found:?}");
    }
    load.acknowledges(1).await;
    let record = load.finish().await;
    let state = near.converges(&client).await;
    check(&client, &first, &state, &record).await;
    let found = near.replication().await.expect("it answers");
    assert_eq!((found.gaps, found.divergences), (0, 0), "{found:?}");
    println!("{rounds} kills, {} writes acknowledged, position {}", record.acknowledged.len(), state.position);
}

/// Kills and restarts `writer` under load, `rounds` times at moments drawn from `random`, and each time waits until every
/// replica at `replicas` has followed it into the new epoch and `followed` returns for it. At the end the load stops, each
/// replica must hold exactly what the writer holds, and the writer's log all that was ever acknowledged. Returns that
/// state.
pub async fn kill_writer(
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
        let ops = line["commands"].as_array().map_or(std::slice::from_ref(line), Vec::as_slice);
        for op in ops {
            let key = || op["key"].as_str().expect("it has a key").to_owned();
            match op["type"].as_str().or(op["op"].as_str()) {
                Some("SET" | "set") => drop(entries.insert(key(), op["value"].clone())),
                Some("DELETE" | "delete") => drop(entries.remove(&key())),
                _ => {}
            }
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
