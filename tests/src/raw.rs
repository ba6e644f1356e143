//! Requests as bytes, for what an HTTP client would mend or refuse to send: odd paths, hosts, headers and bodies.

use crate::client::{DEV, Reply};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::cell::OnceCell;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take. No test asks a node to think for longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// The same for one to a part of a request: the node may wait for the rest of it first.
const PART_WITHIN: Duration = Duration::from_secs(60);

/// The `host:port` of a base address.
pub fn authority(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, authority)| authority)
}

/// A request with the development pair, the node's own `Host`, `Connection: close` and the body's length. `target` and
/// `headers` go out exactly as they are.
pub fn request(url: &str, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", authority(url));
    head.push_str(&format!("apikey: {}\r\nsecret: {}\r\n", DEV.0, DEV.1));
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    [head.as_bytes(), body].concat()
}

/// Sends bytes on a connection of their own and reads the one answer, until the node closes the connection.
pub async fn send(url: &str, bytes: &[u8]) -> Reply {
    let mut connection = TcpStream::connect(authority(url)).await.expect("the node listens");
    let answer = timeout(ANSWER_WITHIN, async {
        // A node that refuses before it has read everything may close: what it said is what counts.
        let written = connection.write_all(bytes).await;
        let mut answer = Vec::new();
        let read = connection.read_to_end(&mut answer).await;
        assert!(!answer.is_empty(), "no answer: written {written:?}, read {read:?}");
        answer
    })
    .await;
    parse(&answer.unwrap_or_else(|_| panic!("no answer within {ANSWER_WITHIN:?} to {}", shown(bytes))))
}

/// Sends what need not be a whole request, goes on holding the connection, and reads the one answer by its own length: who
/// still expects something does not close.
pub async fn send_part(url: &str, bytes: &[u8]) -> Reply {
    let mut connection = TcpStream::connect(authority(url)).await.expect("the node listens");
    let (mut from, mut to) = connection.split();
    let written = OnceCell::new();
    // A node that refuses before it has read everything may close: what it said is what counts.
    let sending = async { written.set(to.write_all(bytes).await).expect("it is written once") };
    let reading = async {
        let mut answer = Vec::new();
        while !is_whole(&answer) {
            let read = from.read_buf(&mut answer).await;
            let is_read = !matches!(read, Ok(0) | Err(_));
            assert!(is_read, "no whole answer: written {written:?}, read {read:?}: {}", shown(&answer));
        }
        parse(&answer)
    };
    let answer = timeout(PART_WITHIN, async {
        let (mut sending, mut reading) = (pin!(sending), pin!(reading));
        tokio::select! {
            reply = &mut reading => reply,
            () = &mut sending => reading.await,
        }
    });
    answer.await.unwrap_or_else(|_| panic!("no answer within {PART_WITHIN:?} to {}", shown(bytes)))
}

/// Whether a whole answer is there, whose body has a length or comes in chunks.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    match length.and_then(|length| length.trim().parse::<usize>().ok()) {
        Some(length) => answer.len() >= end + 4 + length,
        None => answer.ends_with(b"0\r\n\r\n"),
    }
}

/// [`request`] and [`send`] in one.
pub async fn ask(url: &str, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    send(url, &request(url, method, target, headers, body)).await
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned()
}

fn parse(answer: &[u8]) -> Reply {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no whole head: {}", shown(answer)));
    let head = std::str::from_utf8(&answer[..end]).expect("an answer's head is text");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let mut headers = HeaderMap::new();
    for (name, value) in lines.map(|line| line.split_once(':').expect("a header has a colon")) {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header has a name");
        headers.append(name, HeaderValue::from_str(value.trim()).expect("headers are text"));
    }
    let rest = &answer[end + 4..];
    let chunked = headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked");
    let body = if chunked { joined(rest) } else { rest.to_vec() };
    Reply { status: status.expect("an answer begins with its status"), headers, body }
}

/// Takes the chunked transfer coding away (RFC 9112, section 7.1).
fn joined(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n").expect("a chunk begins with its size");
        let size = std::str::from_utf8(&rest[..line]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let (size, from) = (size.expect("a chunk's size is a hex number"), line + 2);
        body.extend_from_slice(&rest[from..from + size]);
        if size == 0 {
            return body;
        }
        rest = &rest[from + size + 2..];
    }
}
