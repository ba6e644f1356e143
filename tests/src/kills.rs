//! Campaigns under load of nodes that die: a writer, and a replica of any kind; by kill -9, or however else the caller has
//! them end.

use crate::client::Client;
use crate::follower::Follower;
use crate::lines::Lines;
use crate::load::{Load, Record};
use crate::node::{Node, NodeBuilder};
use crate::random::Random;
use crate::replication::{Replication, converge};
use crate::scene::build_writer;
use crate::state::State;
use crate::tape::Tape;
use crate::task::AbortOnDrop;
use crate::wire;
use reqwest::Method;
use serde_json::{Value, json};
use std::env;
use std::path::Path;
use std::time::Duration;

/// How many clients write.
const CLIENTS: u64 = 6;
/// Writes between two kills, at most.
const WRITES_MAX: u64 = 120;
/// Kills in the gate, of a writer as of each kind of replica.
const KILLS: u64 = 25;

/// Kills of one campaign at most. Every start begins a segment, of which a log keeps 1,000, and takes longer the more there
/// is to read.
const KILLS_OF_ONE: u64 = 250;

/// How many kills each of some campaigns makes, one after the other, all of them on their own directories: in sum
/// `HEADWATER_KILLS` (set by `./dev campaign`), else what the gate asks for.
pub fn campaigns() -> impl Iterator<Item = u64> {
    let mut left = number("HEADWATER_KILLS", KILLS);
    std::iter::from_fn(move || {
        let next = left.min(KILLS_OF_ONE);
        left -= next;
        (next > 0).then_some(next)
    })
}

/// The number that a variable of this name gives, else `otherwise`.
pub fn number(variable: &str, otherwise: u64) -> u64 {
    match env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is a number")),
        Err(_) => otherwise,
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
    let mut random = Random::announced("kill -9 of the writer");
    for rounds in campaigns() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut writer = build_writer(directory.path()).start().await;
        let campaign = Campaign { rounds, trims: false };
        let end = async |writer: &mut Node| writer.kill().await;
        followed_while_it_dies::<F>(directory.path(), &mut writer, campaign, &mut random, end).await;
    }
}

/// A replica is killed again and again. One that keeps its state goes on from it, also with nobody to ask.
pub async fn a_killed_replica_goes_on_from_what_it_kept<F: Follower>() {
    let mut random = Random::announced("kill -9 of a replica");
    for rounds in campaigns() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut writer = build_writer(directory.path()).start().await;
        let mut near = F::start(directory.path(), &writer.url).await;
        let end = async |near: &mut F| near.kill().await;
        goes_on_from_what_it_kept(&mut writer, &mut near, rounds, &mut random, end).await;
    }
}

/// What a campaign against a writer is.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// How often the node ends and starts again.
    pub rounds: u64,
    /// Whether its settings make it let go of older log, so that what it acknowledged must be taken down all the time.
    pub trims: bool,
}

/// Ends and restarts `writer` again and again under load; a replica below `directory`, and a native replica of that where
/// it may have one, follow it all the time without a new baseline.
pub async fn followed_while_it_dies<F: Follower>(
    directory: &Path,
    writer: &mut Node,
    campaign: Campaign,
    random: &mut Random,
    end: impl AsyncFnMut(&mut Node),
) {
    let mut near = F::start(directory, &writer.url).await;
    let mut clients: Vec<Client> = near.client().into_iter().collect();
    let mut far = None;
    if let Some(client) = near.client() {
        let node = NodeBuilder::replica("far", directory, &client.url).start().await;
        node.ready().await;
        clients.push(node.client());
        far = Some(node);
    }
    end_writer(writer, &clients, campaign, random, end, async |epoch| {
        near.until("it follows the new epoch", |found| wire::place(&found.position).0 == epoch).await;
    })
    .await;
    near.converges(&writer.client()).await;
    let found = near.replication().await.expect("it answers");
    assert_eq!((found.baselines, found.gaps, found.divergences), (1, 0, 0), "{found:?}");
    assert!(found.connections > campaign.rounds, "it has lived through all of them: {found:?}");
    if let Some(far) = &far {
        let found = Replication::of(&far.client()).await;
        assert_eq!((found.baselines, found.gaps, found.divergences), (1, 0, 0), "two hops away: {found:?}");
    }
}

/// Ends and restarts the replica `near` again and again while `writer` is written to. One that keeps its state goes on
/// from it, also with nobody to ask.
pub async fn goes_on_from_what_it_kept<F: Follower>(
    writer: &mut Node,
    near: &mut F,
    rounds: u64,
    random: &mut Random,
    mut end: impl AsyncFnMut(&mut F),
) {
    if F::KEEPS_ITS_STATE {
        near.until("its first copy is stored", |found| !found.stored.is_empty()).await;
    }
    let client = writer.client();
    let first = client.position().await;
    let load = Load::start(&client, "load", 4, random).await;
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
        end(near).await;
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
    println!("{rounds} ends, {} writes acknowledged, position {}", record.acknowledged.len(), state.position);
}

/// Ends and restarts `writer` under load, at moments drawn from `random`, and each time waits until every replica at
/// `replicas` has followed it into the new epoch and `followed` returns for it. `end` leaves it dead and ready to be
/// started again. Afterwards the load stops, each replica must hold exactly what the writer holds, and the writer's log
/// and, after one more end, its state all that was ever acknowledged. Returns that state.
pub async fn end_writer(
    writer: &mut Node,
    replicas: &[Client],
    campaign: Campaign,
    random: &mut Random,
    mut end: impl AsyncFnMut(&mut Node),
    mut followed: impl AsyncFnMut(u64),
) -> State {
    let Campaign { rounds, trims } = campaign;
    let client = writer.client();
    // The first epoch's own position: everything after it can be asked for at the end.
    let first = client.position().await;
    let tape = trims.then(|| Tape::start(&client, &first));
    let load = Load::start(&client, "load", CLIENTS, random).await;
    let churn = AbortOnDrop::spawn(churn(client.clone()));
    let watches: Vec<_> = replicas.iter().map(|replica| AbortOnDrop::spawn(watch(replica.clone()))).collect();
    for round in 0..rounds {
        load.acknowledges(1 + random.below(WRITES_MAX)).await;
        // Not only right after an acknowledgement: anywhere in the next write, too.
        tokio::time::sleep(Duration::from_micros(random.below(5_000))).await;
        end(writer).await;
        writer.start_again().await;
        let (epoch, seq) = wire::place(&client.position().await);
        for replica in replicas {
            crate::eventually(&format!("round {round}: {} follows epoch {epoch}", replica.url), || async {
                let position = replica.position().await;
                let follows = !position.is_empty() && wire::place(&position).0 == epoch;
                if follows { Ok(()) } else { Err(position) }
            })
            .await;
        }
        followed(epoch).await;
        if let Some(tape) = &tape {
            tape.reaches(seq).await;
        }
    }
    load.acknowledges(1).await;
    let record = load.finish().await;
    churn.ended().await;
    settle(&client, replicas).await;
    // What is held now was read back or has just been written: after this, all of it was read back.
    end(writer).await;
    writer.start_again().await;
    let state = settle(&client, replicas).await;
    for watch in watches {
        watch.ended().await;
    }
    match tape {
        None => check(&client, &first, &state, &record).await,
        Some(tape) => {
            let (_, last) = wire::place(&state.position);
            check_lines(&tape.up_to(last).await, &state, &record);
            let stream = Lines::open(&client, &wire::resume(&first, &json!("**"))).await;
            let hello = stream.expect("a stream").command().await;
            assert_eq!(
                hello["resume"], "baseline",
                "the settings were to make it let go of what is long read: {hello}"
            );
        }
    }
    println!(
        "{rounds} ends, {} writes acknowledged, {} outcomes unknown, position {}",
        record.acknowledged.len(),
        record.unknown,
        state.position
    );
    state
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
    check_lines(&history(writer, first, &state.position).await, state, record);
}

/// Checks `lines`, every command of a writer's log from the load's first on, and that its state is what they say, against
/// what the load was promised.
pub fn check_lines(lines: &[Value], state: &State, record: &Record) {
    record.check_log("load", lines);
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
