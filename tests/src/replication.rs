//! What a node says of its own replication in `/v1/status`.

use crate::client::Client;
use crate::eventually::{DEADLINE, eventually_within};
use crate::state::{State, state_of};
use serde_json::Value;
use std::time::{Duration, Instant};

/// A replica's view of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    /// Whether the parent's stream is open.
    pub connected: bool,
    /// The applied position.
    pub position: String,
    /// What a restart would find; empty for nothing.
    pub stored: String,
    /// The lag in ms; `None` before the first proof.
    pub lag_ms: Option<u64>,
    /// Commands applied since the start.
    pub commands: u64,
    /// Commands passed over because they were held.
    pub repeated: u64,
    /// Baselines taken in.
    pub baselines: u64,
    /// Gaps noticed.
    pub gaps: u64,
    /// Differing digests noticed.
    pub divergences: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Connections that stopped without END.
    pub faults: u64,
    /// Code of the last offence, empty for none.
    pub offence: String,
}

impl Replication {
    /// Asks a node, which must answer.
    pub async fn of(client: &Client) -> Self {
        Self::from_status(&client.status().await)
    }

    /// Reads it out of `/v1/status`.
    pub fn from_status(status: &Value) -> Self {
        let replication = &status["replication"];
        let offence = replication["lastOffence"]["code"].as_str().unwrap_or_default();
        Self::read(replication, &replication["parent_connected"], offence)
    }

    /// Reads it out of a page's `window.headwater.status()`.
    pub fn from_page(status: &Value) -> Self {
        Self::read(status, &status["connected"], status["lastOffence"].as_str().unwrap_or_default())
    }

    fn read(found: &Value, connected: &Value, offence: &str) -> Self {
        let count = |name: &str| found[name].as_u64().unwrap_or_else(|| panic!("no {name} in {found}"));
        Self {
            connected: connected.as_bool().expect("status says whether a parent is connected"),
            position: found["position"].as_str().unwrap_or("0.0").to_owned(),
            stored: found["storedPosition"].as_str().unwrap_or_default().to_owned(),
            lag_ms: found["lagMs"].as_u64(),
            commands: count("commands"),
            repeated: count("repeated"),
            baselines: count("baselines"),
            gaps: count("gaps"),
            divergences: count("divergences"),
            connections: count("connections"),
            faults: count("faults"),
            offence: offence.to_owned(),
        }
    }

    /// Asks a node.
    ///
    /// # Errors
    /// It does not answer, or not that; says what it does.
    pub async fn try_of(client: &Client) -> Result<Self, String> {
        let reply = client.try_get("/v1/status").await.map_err(|error| format!("{error:?}"))?;
        if reply.status == 200 { Ok(Self::from_status(&reply.json())) } else { Err(reply.text().to_owned()) }
    }

    /// Waits until `holds` does of it.
    pub async fn until(client: &Client, what: &str, holds: impl Fn(&Self) -> bool) -> Self {
        Self::until_within(DEADLINE, client, what, holds).await
    }

    /// As [`Replication::until`] with a deadline of its own.
    pub async fn until_within(deadline: Duration, client: &Client, what: &str, holds: impl Fn(&Self) -> bool) -> Self {
        eventually_within(deadline, what, || async {
            let found = Self::try_of(client).await?;
            if holds(&found) { Ok(found) } else { Err(format!("{found:?}")) }
        })
        .await
    }
}

/// Waits until the node at rest at `writer` and the one at `reader` hold the same, entry by entry and by digest, at the
/// same position; returns that state.
pub async fn converge(writer: &Client, reader: &Client) -> State {
    // One that has just seen something wrong may wait for half a minute before it comes back.
    eventually_within(4 * DEADLINE, &format!("{} equals {}", reader.url, writer.url), || async {
        let right = state_of(writer).await.ok_or_else(|| String::from("the writer is not at rest"))?;
        let found = state_of(reader).await.ok_or_else(|| String::from("the replica is not at rest"))?;
        match right.difference(&found) {
            None => Ok(right),
            Some(difference) => Err(difference),
        }
    })
    .await
}

/// By how much a lag may seem to fall short: the way a line takes, which no clock difference tells apart.
pub const LAG_PRECISION_MS: u64 = 100;

/// Checks over `span` that each node's lag is at least the time since `cut`, from when on it can have had nothing newer,
/// and that it goes on answering `path`.
pub async fn lags_truly(nodes: &[&Client], path: &str, cut: Instant, span: Duration) {
    let until = Instant::now() + span;
    while Instant::now() < until {
        for node in nodes {
            let least = cut.elapsed().as_millis() as u64;
            let reply = node.get(path).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            let lag: u64 = reply.header("headwater-lag-ms").expect("a replica tells its lag").parse().expect("in ms");
            assert!(lag + LAG_PRECISION_MS >= least, "{}: {lag} ms, but cut off {least} ms ago", node.url);
        }
    }
}
