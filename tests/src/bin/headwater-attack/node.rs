//! The node that is attacked.

use headwater_tests::{Client, Node, NodeBuilder, raw};
use std::path::PathBuf;
use tempfile::TempDir;

/// A writer with the collection `c`: the small entry `k`, and 2,000 of 12 kB. Whoever shows no credentials may read
/// it, for some of the tools can show none.
pub(crate) struct Target {
    pub(crate) node: Node,
    pub(crate) client: Client,
    directory: TempDir,
}

impl Target {
    /// Starts it with these settings.
    pub(crate) async fn start(options: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let builder = NodeBuilder::writer("attacked", directory.path());
        let node = options.iter().fold(builder, |builder, (flag, value)| builder.option(flag, value)).start().await;
        let client = node.client();
        Self { node, client, directory }
    }

    /// Fills it.
    pub(crate) async fn filled(self) -> Self {
        self.client.create("c").await;
        let value = "x".repeat(12_000);
        for hundred in 0..20 {
            let ops: Vec<String> = (0..100)
                .map(|number| format!(r#"{{"op":"set","key":"large-{}","value":"{value}"}}"#, hundred * 100 + number))
                .collect();
            let reply = self.client.batch("c", &ops.join(",")).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        assert_eq!(self.client.set("c", "k", "{\"n\":1}").await.status, 200);
        let anonymous = r#"{"id":"anonymous","roles":["read"]}"#;
        let reply = self.client.call(reqwest::Method::POST, "/v1/keys", anonymous).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        self
    }

    /// Makes a key that may read and write, and returns its secret.
    pub(crate) async fn key(&self, id: &str) -> String {
        let body = format!("{{\"id\":\"{id}\",\"roles\":[\"read\",\"write\"]}}");
        let made = self.client.call(reqwest::Method::POST, "/v1/keys", body).await;
        assert_eq!(made.status, 200, "{}", made.text());
        made.json()["secret"].as_str().expect("a new key has a secret").to_owned()
    }

    /// What it holds of memory that is nobody else's (RssAnon), in KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        let id = self.node.id().expect("the node runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("the system tells of its processes");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("it tells of their memory");
        line.trim().trim_end_matches(" kB").parse().expect("memory is a number of kB")
    }

    /// What it says of its connections.
    pub(crate) async fn connections(&self) -> Connections {
        let metrics = self.client.get("/v1/metrics").await.json();
        let count = |name: &str| metrics[name].as_u64().unwrap_or_else(|| panic!("no {name} in {metrics}"));
        Connections {
            opened: count("connections_opened_total"),
            closed: count("connections_closed_total"),
            refused: count("connections_refused_total"),
        }
    }

    /// Its `host:port`.
    pub(crate) fn authority(&self) -> &str {
        raw::authority(&self.node.url)
    }

    /// A file for what a tool writes.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Connections since the node's start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connections {
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    /// Those that were one too many.
    pub(crate) refused: u64,
}

impl Connections {
    pub(crate) fn open(&self) -> u64 {
        self.opened - self.closed
    }
}
