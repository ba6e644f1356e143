//! Keys at work: made, limited, rotated and revoked through the API, and obeyed by every native node on every route and
//! stream. What edge objects make of them is in `../../edge`.

mod admin;
mod anonymous;
mod cut_off;
mod narrow;
mod revoked;
mod tokens;
mod tricks;
mod vouched;

use headwater_core::api::Code;
use headwater_tests::{Client, Lines, Node, NodeBuilder, Reply, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A writer and a replica of it, with entries inside and outside of what [`Pair::narrow`] may touch.
struct Pair {
    directory: TempDir,
    writer: Node,
    replica: Node,
}

/// What a narrow key may read and write: its `grants`.
const NARROW: &str = r#"[{"roles":["read"],"scope":{"flags":[""],"prices":["eu:"]}},{"roles":["write"],"scope":{"prices":["eu:"],"made":[""]}}]"#;

impl Pair {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// `options` are the replica's.
    async fn start_with(options: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let writer = NodeBuilder::writer("writer", directory.path()).start().await;
        let builder = NodeBuilder::replica("replica", directory.path(), &writer.url);
        let replica = options.iter().fold(builder, |builder, (flag, value)| builder.option(flag, value)).start().await;
        replica.ready().await;
        let client = writer.client();
        for (collection, keys) in [("flags", &["a"][..]), ("prices", &["eu:1", "eu:2", "us:1"]), ("hidden", &["a"])] {
            client.create(collection).await;
            for key in keys {
                assert_eq!(client.set(collection, key, "1").await.status, 200);
            }
        }
        let pair = Self { directory, writer, replica };
        pair.together().await;
        pair
    }

    /// Waits until the replica holds what the writer does.
    async fn together(&self) {
        let (writer, replica) = (self.writer.client(), self.replica.client());
        eventually("the replica holds what the writer does", || async {
            let (there, here) = (writer.position().await, replica.position().await);
            if there == here { Ok(()) } else { Err(format!("{here} of {there}")) }
        })
        .await;
    }

    /// Makes a key and gives back its secret.
    async fn key(&self, body: &str) -> (String, String) {
        let made = made(&self.writer.client(), body).await;
        self.together().await;
        made
    }

    /// A key of [`NARROW`], at each node.
    async fn narrow(&self) -> [Client; 2] {
        let (id, secret) = self.key(&format!(r#"{{"id":"narrow","grants":{NARROW}}}"#)).await;
        self.with(&id, &secret)
    }

    /// Clients of writer and replica with this pair.
    fn with(&self, id: &str, secret: &str) -> [Client; 2] {
        [&self.writer.url, &self.replica.url].map(|url| Client::with_pair(url, Some((id, secret))))
    }

    /// Clients of writer and replica without any.
    fn as_nobody(&self) -> [Client; 2] {
        [&self.writer.url, &self.replica.url].map(|url| Client::with_pair(url, None))
    }
}

/// Makes a key, which must succeed, and gives back its id and secret.
async fn made(client: &Client, body: &str) -> (String, String) {
    let reply = client.call(Method::POST, "/v1/keys", body.to_owned()).await;
    assert_eq!(reply.status, 200, "{body}: {}", reply.text());
    let reply = reply.json();
    let text = |name: &str| reply[name].as_str().unwrap_or_default().to_owned();
    (text("id"), text("secret"))
}

fn assert_refused(reply: &Reply, code: Code) {
    assert_eq!((reply.status, &*reply.code()), (code.status(), code.word()), "{}", reply.text());
}

/// The keys as a node lists them, by id.
async fn listed(client: &Client) -> Value {
    let reply = client.get("/v1/keys").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let keys = reply.json()["keys"].as_array().expect("a list").clone();
    Value::Object(keys.into_iter().map(|key| (key["id"].as_str().expect("an id").to_owned(), key)).collect())
}

/// The reason by which a stream ends, which it must within five seconds.
async fn end_of(lines: &mut Lines) -> Value {
    let ended = tokio::time::timeout(std::time::Duration::from_secs(5), lines.until("END")).await;
    let end = ended.expect("the stream ends within 5 s").pop().expect("END is a line");
    assert_eq!(lines.line().await, None);
    json!([end["reason"], end["detail"].as_str().unwrap_or_default()])
}
