//! A parent played by the test: it takes a replica's connections and says what the test wants, byte for byte.

use crate::http::{Answer, Request};
use serde_json::Value;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a replica may take to come, or to leave.
const PATIENCE: Duration = Duration::from_secs(30);

/// Listens like a node. Requests other than `POST /v1/replicate` are answered 404.
#[derive(Debug)]
pub struct Stub {
    /// Its base address.
    pub url: String,
    visits: mpsc::UnboundedReceiver<Visit>,
    task: JoinHandle<()>,
}

/// A replica that has come and waits to be spoken to. Dropping it cuts the connection without an end.
#[derive(Debug)]
pub struct Visit {
    /// What it asked for.
    pub request: Request,
    answer: Answer,
    reader: OwnedReadHalf,
}

impl Stub {
    /// Starts to listen.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let url = format!("http://{}", listener.local_addr().expect("a bound socket has an address"));
        let (sender, visits) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let sender = sender.clone();
                tokio::spawn(async move {
                    let Ok(Some((request, mut answer, reader))) = Answer::to(connection).await else { return };
                    if request.target != "/v1/replicate" {
                        let headers = [("content-type", "application/json"), ("headwater-position", "0.0")];
                        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
                        let body = br#"{"ok":false,"error":"not_found","message":"the stub has only a stream"}"#;
                        answer.whole(404, &headers, body).await.ok();
                        return;
                    }
                    if answer.begin_stream().await.is_ok() {
                        sender.send(Visit { request, answer, reader }).ok();
                    }
                });
            }
        });
        Self { url, visits, task }
    }

    /// The next replica that comes.
    pub async fn visit(&mut self) -> Visit {
        let visit = timeout(PATIENCE, self.visits.recv()).await.expect("a replica comes in time");
        visit.expect("the stub listens as long as it lives")
    }

    /// Whether a replica has come that was not taken by [`Stub::visit`] yet.
    pub fn has_visit(&self) -> bool {
        !self.visits.is_empty()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Visit {
    /// The cursor the replica offered; null for none.
    pub fn cursor(&self) -> Value {
        self.request.json()["cursor"].clone()
    }

    /// Says one line.
    pub async fn say(&mut self, line: &str) {
        self.send(format!("{line}\n").as_bytes()).await;
    }

    /// Says lines, each a piece of its own.
    pub async fn say_all<L: AsRef<str>>(&mut self, lines: impl IntoIterator<Item = L>) {
        for line in lines {
            self.say(line.as_ref()).await;
        }
    }

    /// Sends these very bytes as one piece. A replica that has left in anger takes no more of them.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.answer.piece(bytes).await.ok();
    }

    /// Ends the stream in good order as far as HTTP is concerned.
    pub async fn end(self) {
        self.answer.end().await.ok();
    }

    /// Waits until the replica drops the connection.
    pub async fn left(mut self) {
        let mut rest = Vec::new();
        let left = timeout(PATIENCE, self.reader.read_to_end(&mut rest)).await;
        assert!(left.is_ok(), "the replica does not drop the connection");
    }
}
