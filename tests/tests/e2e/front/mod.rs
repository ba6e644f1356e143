//! The front door under clients that are slow, malformed, or too many: what each is told, and when its connection is gone.

mod http2;
mod malformed;
mod slow;
mod tls;
mod too_many;

use headwater_tests::{Client, Node, NodeBuilder, raw};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// What a busy machine may add to a time.
const SLACK: Duration = Duration::from_secs(4);

/// A writer with the collection `c`.
async fn writer(options: &[(&str, &str)]) -> (TempDir, Node, Client) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let builder = NodeBuilder::writer("writer", directory.path());
    let node = options.iter().fold(builder, |builder, (flag, value)| builder.option(flag, value)).start().await;
    let client = node.client();
    client.create("c").await;
    (directory, node, client)
}

/// A connection, written to by hand.
struct Wire {
    socket: TcpStream,
    opened: Instant,
}

/// What came on a connection until its end.
struct Heard {
    text: String,
    /// From its beginning until the node had closed it.
    lasted: Duration,
}

impl Wire {
    async fn open(url: &str) -> Self {
        let socket = TcpStream::connect(raw::authority(url)).await.expect("the node listens");
        Self { socket, opened: Instant::now() }
    }

    /// Sends bytes; a node that has closed the connection meanwhile is heard later.
    async fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.ok();
    }

    /// Sends them one by one, with a pause behind each, until the node has had enough or they are all gone.
    async fn drip(&mut self, bytes: &[u8], pause: Duration) {
        for byte in bytes {
            if self.socket.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(pause).await;
        }
    }

    /// Reads until the node closes the connection.
    async fn hear(mut self, within: Duration) -> Heard {
        let mut bytes = Vec::new();
        // A connection that is reset is closed as well; what came before it counts.
        let ended = timeout(within, self.socket.read_to_end(&mut bytes)).await;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(ended.is_ok(), "still open after {within:?}, with {text:?}");
        Heard { text, lasted: self.opened.elapsed() }
    }
}

impl Heard {
    /// Status and error code of each answer, `-` for one without a code.
    fn answers(&self) -> Vec<(u16, String)> {
        let code = |answer: &str| {
            let code = answer.split_once("\"error\":\"").and_then(|(_, rest)| rest.split_once('"'));
            code.map_or("-", |(code, _)| code).to_owned()
        };
        // A message may name a version, too.
        let status = |answer: &str| answer.get(1..5)?.strip_prefix(' ')?.parse().ok();
        self.text.split("HTTP/1.").filter_map(|answer| Some((status(answer)?, code(answer)))).collect()
    }
}
