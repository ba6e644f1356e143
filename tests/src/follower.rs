//! A node that keeps a replica, whatever it runs in: what the tests of faults, kills and large baselines need of it.

use crate::client::Client;
use crate::edge::Edge;
use crate::eventually::eventually;
use crate::node::{Node, NodeBuilder};
use crate::page::Page;
use crate::replication::{LAG_PRECISION_MS, Replication};
use crate::state::{State, state_of};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How often nodes under these tests ping. Short, so that three of them are over soon; long enough for a busy machine.
pub const PING_MS: u64 = 300;
/// In what time a silent parent is to be noticed. Three PINGs are the promise, which core's own tests hold to the
/// millisecond; the rest is for a busy machine, and far less than what a connection takes to break by itself.
pub const NOTICED_WITHIN: Duration = Duration::from_millis(3 * PING_MS + 2_500);

/// A native replica, an edge worker, or a page.
#[expect(async_fn_in_trait, reason = "a test runs on one thread and asks for no Send")]
pub trait Follower: Sized {
    /// Whether it finds its state again after a kill.
    const KEEPS_ITS_STATE: bool;

    /// Starts one below `directory` that follows `parent`, and waits until it has a complete copy.
    async fn start(directory: &Path, parent: &str) -> Self;

    /// Kills it, without a chance to end in order.
    async fn kill(&mut self);

    /// Starts it again after [`Follower::kill`], and waits until it has a complete copy.
    async fn start_again(&mut self);

    /// A client of it; `None` where it answers nobody but itself.
    fn client(&self) -> Option<Client>;

    /// Waits until it has written this to its log, where it has one.
    async fn says(&self, words: &str);

    /// What it says of its replication; `Err` when it says nothing.
    async fn replication(&mut self) -> Result<Replication, String>;

    /// All that it holds; `None` while that cannot be read as of one position.
    async fn state(&mut self) -> Option<State>;

    /// Status and lag of its answer to a read of this key of collection `c`.
    async fn read(&mut self, key: &str) -> (u16, Option<u64>);

    /// Waits until `holds` does of its replication.
    async fn until(&mut self, what: &str, holds: impl Fn(&Replication) -> bool) -> Replication {
        let (follower, holds) = (&Mutex::new(self), &holds);
        eventually(what, || async move {
            let found = follower.lock().await.replication().await?;
            if holds(&found) { Ok(found) } else { Err(format!("{found:?}")) }
        })
        .await
    }

    /// Waits until it holds what the writer at rest holds, entry by entry and by digest, at the same position.
    async fn converges(&mut self, writer: &Client) -> State {
        let follower = &Mutex::new(self);
        eventually(&format!("it equals {}", writer.url), || async move {
            let right = state_of(writer).await.ok_or_else(|| String::from("the writer is not at rest"))?;
            let found = follower.lock().await.state().await;
            let found = found.ok_or_else(|| String::from("the replica is not at rest"))?;
            right.difference(&found).map_or(Ok(right), Err)
        })
        .await
    }

    /// Checks over `span` that it answers reads, and that its lag is at least the time since `cut`, from when on it can
    /// have had nothing newer.
    async fn lags_truly(&mut self, cut: Instant, span: Duration) {
        let until = Instant::now() + span;
        while Instant::now() < until {
            let least = cut.elapsed().as_millis() as u64;
            let (status, lag) = self.read("key-0").await;
            assert_eq!(status, 200, "it serves on");
            assert!(lag.is_some_and(|lag| lag + LAG_PRECISION_MS >= least), "{lag:?} ms, but cut off {least} ms ago");
        }
    }
}

async fn read_by(client: &Client, key: &str) -> (u16, Option<u64>) {
    let reply = client.entry("c", key).await;
    (reply.status, reply.header("headwater-lag-ms").and_then(|lag| lag.parse().ok()))
}

impl Follower for Node {
    const KEEPS_ITS_STATE: bool = true;

    async fn start(directory: &Path, parent: &str) -> Self {
        let near = NodeBuilder::replica("near", directory, parent).option("--ping-ms", &PING_MS.to_string());
        let near = near.start().await;
        near.ready().await;
        near
    }

    async fn kill(&mut self) {
        Self::kill(self).await;
    }

    async fn start_again(&mut self) {
        Self::start_again(self).await;
        self.ready().await;
    }

    fn client(&self) -> Option<Client> {
        Some(Self::client(self))
    }

    async fn says(&self, words: &str) {
        Self::says(self, words).await;
    }

    async fn replication(&mut self) -> Result<Replication, String> {
        Replication::try_of(&Self::client(self)).await
    }

    async fn state(&mut self) -> Option<State> {
        state_of(&Self::client(self)).await
    }

    async fn read(&mut self, key: &str) -> (u16, Option<u64>) {
        read_by(&Self::client(self), key).await
    }
}

impl Follower for Edge {
    const KEEPS_ITS_STATE: bool = true;

    async fn start(directory: &Path, parent: &str) -> Self {
        let edge = Self::start(directory, parent).await;
        edge.ready().await;
        edge
    }

    async fn kill(&mut self) {
        Self::kill(self).await;
    }

    async fn start_again(&mut self) {
        Self::start_again(self).await;
        self.ready().await;
    }

    fn client(&self) -> Option<Client> {
        Some(Self::client(self))
    }

    async fn says(&self, words: &str) {
        Self::says(self, words).await;
    }

    async fn replication(&mut self) -> Result<Replication, String> {
        Replication::try_of(&Self::client(self)).await
    }

    async fn state(&mut self) -> Option<State> {
        state_of(&Self::client(self)).await
    }

    async fn read(&mut self, key: &str) -> (u16, Option<u64>) {
        read_by(&Self::client(self), key).await
    }
}

impl Follower for Page {
    /// A page begins with nothing each time it is opened.
    const KEEPS_ITS_STATE: bool = false;

    async fn start(_directory: &Path, parent: &str) -> Self {
        let mut page = Self::open(parent).await;
        page.sign_in().await;
        page
    }

    async fn kill(&mut self) {
        Self::kill(self).await;
    }

    async fn start_again(&mut self) {
        self.open_again().await;
        self.sign_in().await;
    }

    fn client(&self) -> Option<Client> {
        None
    }

    async fn says(&self, _words: &str) {}

    async fn replication(&mut self) -> Result<Replication, String> {
        Ok(Replication::from_page(&self.status().await))
    }

    async fn state(&mut self) -> Option<State> {
        Some(Self::state(self).await)
    }

    async fn read(&mut self, key: &str) -> (u16, Option<u64>) {
        let key = json!(key);
        let found = self.evaluate(&format!("[headwater.get('c', {key}).status, headwater.status().lagMs]")).await;
        (found[0].as_u64().map_or(0, |status| status as u16), found[1].as_u64())
    }
}
