//! The wire vectors said to a real replica, above all those in which the parent does wrong: what it holds, asks for and says then is the
//! outcome beside the vector, and so it is after a crash.

use headwater_tests::disk::copy;
use headwater_tests::wire::place;
use headwater_tests::{
    Client, Node, NodeBuilder, Outcome, Play, Replication, Stub, Vector, Visit, eventually, vectors,
};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How many are played at a time.
const AT_ONCE: usize = 6;
/// Longest wait that is waited for.
const WAIT_MS_MAX: u64 = 5_000;
/// The instance the vectors give to the replica, which draws one of its own here.
const INSTANCE: &str = "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_parent_leaves_behind_outlives_a_crash() {
    let all: VecDeque<Vector> = vectors().into_iter().filter(is_playable).collect();
    let bad = all.iter().filter(|vector| vector.play().is_bad).count();
    assert!(bad > 60 && all.len() > bad + 30, "only {bad} bad vectors of {}", all.len());
    let all = Arc::new(Mutex::new(all));
    let mut players = JoinSet::new();
    for _ in 0..AT_ONCE {
        let all = Arc::clone(&all);
        players.spawn(async move {
            loop {
                let next = all.lock().unwrap().pop_front();
                let Some(vector) = next else { return };
                Stage::set(&vector).await.play().await;
            }
        });
    }
    while let Some(player) = players.join_next().await {
        player.unwrap();
    }
}

/// Whether it is over soon and leaves nothing to the replica but to listen.
fn is_playable(vector: &Vector) -> bool {
    let connections = vector.outcome().field("connections");
    let waits =
        connections.as_array().expect("a list").iter().map(|connection| connection["retry"]["afterMs"].as_u64());
    !vector.play().has_orders && waits.flatten().all(|wait| wait < WAIT_MS_MAX)
}

/// A replica and its scripted parents.
struct Stage {
    directory: tempfile::TempDir,
    play: Play,
    outcome: Outcome,
    stubs: Vec<Stub>,
    near: Node,
}

impl Stage {
    async fn set(vector: &Vector) -> Self {
        let (play, outcome) = (vector.play(), vector.outcome());
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut stubs = Vec::new();
        for _ in 0..play.parents {
            stubs.push(Stub::start().await);
        }
        let parents: Vec<&str> = stubs.iter().map(|stub| &*stub.url).collect();
        let near = NodeBuilder::replica("near", directory.path(), &parents.join(","));
        let near = near.option("--scope", &play.scope.to_string()).start().await;
        Self { directory, play, outcome, stubs, near }
    }

    async fn play(mut self) {
        let name = self.play.name.clone();
        let connections = self.outcome.field("connections");
        let mut parent = 0;
        for (index, said) in self.play.connections.iter().enumerate() {
            let expected = &connections[index];
            assert_eq!(expected["parent"], parent, "{name}: whom it asks");
            let mut visit = self.stubs[parent].visit().await;
            asked(&visit, &expected["request"], &name);
            // Line by line, so that nothing stores what a line did along with what the next one does.
            for line in with_instance(said, &self.near.client()).await.split_inclusive(|byte| *byte == b'\n') {
                visit.send(line).await;
            }
            if expected["offence"].is_null() {
                // Nothing wrong so far: what was said is held when it breaks off.
                drop(visit);
            } else {
                visit.left().await;
            }
            parent = expected["retry"]["parent"].as_u64().expect("a number") as usize;
        }
        let visit = self.stubs[parent].visit().await;
        asked(&visit, &self.outcome.field("next"), &name);
        self.is_held(&self.near).await;
        self.is_told(&connections).await;

        let crashed = self.crashed().await;
        self.is_held(&crashed).await;
        drop(visit);
    }

    /// A replica that goes on from what is on the disk at a moment, as after a crash. Within half a minute that must be
    /// all there is; at first the last of it may still be on its way.
    async fn crashed(&self) -> Node {
        // Only what needs a baseline is known for longer than a process lives; a gap shows again.
        let position = self.outcome.field("position");
        let nothing = self.outcome.field("complete") == false;
        let stored = |found: &Replication| nothing || found.stored == found.position;
        Replication::until(&self.near.client(), &format!("{}: it is stored", self.play.name), stored).await;
        let goes_on = self.outcome.field("baselineDue") == false && place(position.as_str().expect("a position")).1 > 0;
        let next = self.outcome.field("next");
        let cursor = json!({
            "position": position,
            "takeover": next["cursor"]["takeover"],
            "scope": self.outcome.field("scope"),
        });
        let cursor = goes_on.then_some(cursor);
        let expected = json!({"cursor": cursor, "takeover": next["takeover"], "scope": next["scope"]});
        let until = Instant::now() + Duration::from_secs(30);
        for attempt in 0.. {
            let directory = self.directory.path().join(format!("crash-{attempt}"));
            copy(&self.near.data().join("state"), &directory.join("near/state"));
            let mut stub = Stub::start().await;
            let near = NodeBuilder::replica("near", &directory, &stub.url);
            let near = near.option("--scope", &self.play.scope.to_string()).start().await;
            let visit = stub.visit().await;
            if asked_rightly(&visit, &expected) {
                return near;
            }
            let request = visit.request.json();
            assert!(Instant::now() < until, "{}, after a crash: {request} for {expected}", self.play.name);
        }
        unreachable!("the attempts end by time")
    }

    /// What the replica holds is what the outcome says.
    async fn is_held(&self, near: &Node) {
        let (name, client) = (&self.play.name, near.client());
        let status = client.status().await;
        let found = &status["replication"];
        for field in ["position", "complete", "scope"] {
            assert_eq!(found[field], self.outcome.field(field), "{name}: {field}");
        }
        if found["complete"] == false {
            assert_eq!(Client::with_pair(&near.url, None).get("/readyz").await.status, 503, "{name}");
            return;
        }
        for (collection, (is_covered, entries)) in &self.outcome.collections {
            let scope = &found["scope"];
            let prefixes = match &scope[collection] {
                Value::Array(prefixes) => prefixes.clone(),
                _ if *is_covered => vec!["".into()],
                _ => Vec::new(),
            };
            for prefix in prefixes.iter().filter_map(Value::as_str) {
                let mut path = format!("/v1/collections/{collection}/keys?prefix=");
                headwater_core::api::encode(prefix, &mut path);
                let request = client.request(reqwest::Method::GET, &path).header("accept", "application/x-ndjson");
                let listed = client.send(request).await.expect("it answers");
                assert_eq!(listed.status, 200, "{name}: {collection} {prefix:?}: {}", listed.text());
                let mark = format!("{{\"key\":\"{prefix}");
                let right: Vec<&String> = entries.iter().filter(|entry| entry.starts_with(&mark)).collect();
                assert_eq!(listed.text().lines().collect::<Vec<_>>(), right, "{name}: {collection} {prefix:?}");
            }
        }
    }

    /// It says what was wrong, and has counted what the outcome counts.
    async fn is_told(&self, connections: &Value) {
        let (name, client) = (&self.play.name, self.near.client());
        let connections = connections.as_array().expect("a list").iter().rev();
        let offence = connections.map(|connection| &connection["offence"]).find(|offence| !offence.is_null());
        assert_eq!(offence.is_some(), self.play.is_bad, "{name}: a bad parent offends");
        let stats = self.outcome.field("stats");
        eventually(&format!("{name}: it says so"), || async {
            let status = client.status().await;
            let found = &status["replication"];
            let mut counts = stats.as_object().expect("counts").iter();
            let told = offence.is_none_or(|code| found["lastOffence"]["code"] == *code)
                && counts.all(|(count, right)| found[count] == *right);
            if told { Ok(()) } else { Err(found.clone()) }
        })
        .await;
    }
}

fn asked(visit: &Visit, expected: &Value, name: &str) {
    assert!(asked_rightly(visit, expected), "{name}: {} for {expected}", visit.request.json());
}

/// Whether the replica asks for what the outcome says.
fn asked_rightly(visit: &Visit, expected: &Value) -> bool {
    // What was never taken over is not mentioned.
    let takeover = |of: &Value| of["takeover"].as_u64().unwrap_or(0);
    let cursor = match expected["cursor"]["position"].as_str().map(place) {
        Some((epoch, seq)) => {
            let mut cursor = json!({"epoch": epoch, "seq": seq, "scope": expected["cursor"]["scope"]});
            // Nor is one that is the highest accepted too.
            if takeover(&expected["cursor"]) != takeover(expected) {
                cursor["takeover"] = takeover(&expected["cursor"]).into();
            }
            cursor
        }
        None => Value::Null,
    };
    let request = visit.request.json();
    (&request["cursor"], &request["takeover"], &request["scope"])
        == (&cursor, &takeover(expected).into(), &expected["scope"])
}

/// The replica's present instance in place of the vectors' one.
async fn with_instance(said: &[u8], client: &Client) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(said) else { return said.to_vec() };
    if !text.contains(INSTANCE) {
        return said.to_vec();
    }
    let status = client.status().await;
    text.replace(INSTANCE, status["instance"].as_str().expect("a node has an instance")).into_bytes()
}
