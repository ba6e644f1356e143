//! Those who do nothing wrong, beside an attack: each of them must be answered all the time.

use crate::node::Target;
use headwater_tests::{Client, raw};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How long an answer may take, and how long a stream that PINGs every 500 ms may be silent, on a machine that attacks
/// itself.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// What those beside an attack saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Answers with 200.
    pub(crate) answered: u64,
    /// Connections that were one too many.
    pub(crate) refused: u64,
    /// The slowest answer.
    pub(crate) slowest: Duration,
    /// Lines of the stream.
    pub(crate) lines: u64,
}

/// Who asks beside an attack: one on a connection that stays, one on a new connection each time, and one who follows.
pub(crate) struct Probe {
    staying: Client,
    stream: TcpStream,
    authority: String,
    /// Whether new connections may be one too many.
    may_be_refused: bool,
    seen: Seen,
}

impl Probe {
    /// Those who stay are there before the attack.
    pub(crate) async fn begin(target: &Target, may_be_refused: bool) -> Self {
        let staying = target.node.client();
        assert_eq!(staying.entry("c", "k").await.status, 200);
        let mut stream = TcpStream::connect(target.authority()).await.expect("the node listens");
        // From the present on, without a baseline: nobody writes, so PINGs are all that comes.
        let follow = raw::request(&target.node.url, "POST", "/v1/replicate", &[], br#"{"scope":{"none":[""]}}"#);
        stream.write_all(&follow).await.expect("the node listens");
        let authority = target.authority().to_owned();
        Self { staying, stream, authority, may_be_refused, seen: Seen::default() }
    }

    /// Asks beside `work` until it is done. Panics when anybody is not answered as they should be.
    pub(crate) async fn beside<T>(self, work: impl Future<Output = T>) -> (T, Seen) {
        let Self { staying, mut stream, authority, may_be_refused, mut seen } = self;
        let Seen { answered, refused, slowest, lines } = &mut seen;
        let asking = async {
            loop {
                let begun = Instant::now();
                assert_eq!(staying.entry("c", "k").await.status, 200);
                *slowest = (*slowest).max(begun.elapsed());
                let begun = Instant::now();
                let asked = timeout(PATIENCE, fresh(&authority)).await;
                match asked.unwrap_or_else(|_| panic!("no answer within {PATIENCE:?}")) {
                    Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => *answered += 2,
                    // What is said to one too many may get lost behind what it sends.
                    Ok(answer) if may_be_refused && (answer.is_empty() || answer.contains("\"overloaded\"")) => {
                        *refused += 1
                    }
                    Err(_) if may_be_refused => *refused += 1,
                    other => panic!("a new connection was answered {other:?}"),
                }
                *slowest = (*slowest).max(begun.elapsed());
                assert!(*slowest < PATIENCE, "an answer took {slowest:?}");
                sleep(PAUSE).await;
            }
        };
        let following = async {
            let mut piece = vec![0; 64 << 10];
            loop {
                let read = timeout(PATIENCE, stream.read(&mut piece)).await;
                let count = read.unwrap_or_else(|_| panic!("the stream was silent for {PATIENCE:?}"));
                let count = count.expect("the stream goes on");
                assert!(count > 0, "the stream goes on");
                *lines += piece[..count].iter().filter(|byte| **byte == b'\n').count() as u64;
            }
        };
        let done = tokio::select! {
            done = work => done,
            () = asking => unreachable!("they ask for ever"),
            () = following => unreachable!("the stream has no end"),
        };
        (done, seen)
    }
}

/// The answer to a request on a connection of its own.
async fn fresh(authority: &str) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(authority).await?;
    let request = format!("GET /v1/collections/c/keys/k HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    Ok(answer)
}

impl Seen {
    /// In words.
    pub(crate) fn words(&self) -> String {
        let Self { answered, refused, slowest, lines } = self;
        let ms = slowest.as_millis();
        format!(
            "beside it {answered} answers, the slowest in {ms} ms, {refused} connections refused, {lines} lines of a stream"
        )
    }
}
