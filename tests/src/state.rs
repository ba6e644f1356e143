//! The whole visible state of a node, to be compared entry by entry.

use crate::client::Client;
use serde_json::Value;
use std::collections::BTreeMap;

/// Collections with their digests, and their entries as the API's own text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The position all of it is as of.
    pub position: String,
    /// Per collection its digest and its entries, one line each.
    pub collections: BTreeMap<String, (String, Vec<String>)>,
}

/// Reads the whole state through the API. The node must be at rest, or the parts are of different positions: then, and
/// when it does not answer, `None`.
pub async fn state_of(client: &Client) -> Option<State> {
    let position = client.position().await;
    if position.is_empty() {
        return None;
    }
    let names = client.try_get("/v1/collections").await.ok()?.json();
    let mut collections = BTreeMap::new();
    for name in names["collections"].as_array()?.iter().filter_map(Value::as_str) {
        let path = format!("/v1/collections/{name}/keys");
        let request = client.request(reqwest::Method::GET, &path).header("accept", "application/x-ndjson");
        let reply = client.send(request).await.ok()?;
        let digest = reply.header("etag")?.to_owned();
        let entries = reply.text().lines().map(str::to_owned).collect();
        collections.insert(name.to_owned(), (digest, entries));
    }
    (client.position().await == position).then_some(State { position, collections })
}

impl State {
    /// What differs between two states, in a few words; `None` when nothing does.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if self.position != other.position {
            return Some(format!("positions {} and {}", self.position, other.position));
        }
        let names: Vec<_> = self.collections.keys().collect();
        let others: Vec<_> = other.collections.keys().collect();
        if names != others {
            return Some(format!("collections {names:?} and {others:?}"));
        }
        self.collections.iter().find_map(|(name, (digest, entries))| {
            let (other_digest, other_entries) = &other.collections[name];
            if let Some((a, b)) = entries.iter().zip(other_entries).find(|(a, b)| a != b) {
                return Some(format!("in {name}: {a} and {b}"));
            }
            if entries.len() != other_entries.len() {
                return Some(format!("{name} has {} and {} entries", entries.len(), other_entries.len()));
            }
            (digest != other_digest).then(|| format!("digests of {name}: {digest} and {other_digest}"))
        })
    }
}
