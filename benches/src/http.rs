//! As much of an HTTP/1.1 client as a load needs: prepared requests out, answers with a length in, nothing allocated.

use crate::socket::Socket;
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use headwater_local::certificates::Client;
use memchr::memmem;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest answer, head included, that [`Connection::exchange`] takes.
const REPLY_BYTES_MAX: usize = 16 << 10;

/// A pair of credentials.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) apikey: String,
    pub(crate) secret: String,
}

/// Whom to ask, and as whom. Competitors, who look at no credentials, are sent them all the same: equal requests.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) pair: Pair,
    /// How TLS is spoken; `None` for plaintext.
    pub(crate) tls: Option<Client>,
}

impl Endpoint {
    /// Writes a request once, to be sent many times.
    pub(crate) fn request(&self, method: &str, target: &str, body: &str) -> Bytes {
        let Self { address, pair: Pair { apikey, secret }, .. } = self;
        let mut text =
            format!("{method} {target} HTTP/1.1\r\nhost: {address}\r\napikey: {apikey}\r\nsecret: {secret}\r\n");
        if method != "GET" {
            text.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        text.push_str(body);
        text.into()
    }
}

/// One kept-alive connection with at most one request on its way.
pub(crate) struct Connection {
    stream: Socket,
    buffer: Box<[u8]>,
}

/// An answer, in the connection's buffer.
pub(crate) struct Reply<'a> {
    /// The status.
    pub(crate) status: u16,
    /// Status line and headers.
    pub(crate) head: &'a [u8],
    /// The body.
    pub(crate) body: &'a [u8],
}

impl Reply<'_> {
    /// Insists on 200.
    pub(crate) fn ok(&self) -> anyhow::Result<()> {
        ensure!(self.status == 200, "answered {}: {}", self.status, String::from_utf8_lossy(self.body));
        Ok(())
    }

    /// Reads an unsigned member of a JSON body.
    pub(crate) fn unsigned(&self, member: &str) -> anyhow::Result<u64> {
        let value: serde_json::Value = serde_json::from_slice(self.body)?;
        value[member].as_u64().with_context(|| format!("no number {member:?} in {value}"))
    }

    /// The headers, names and values.
    pub(crate) fn headers(&self) -> anyhow::Result<Vec<(String, String)>> {
        let lines = std::str::from_utf8(self.head)?.trim_end().lines().skip(1);
        let split = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        lines.map(|line| split(line).with_context(|| format!("no header: {line:?}"))).collect()
    }
}

impl Connection {
    /// Connects, and shakes hands where TLS is spoken.
    pub(crate) async fn open(endpoint: &Endpoint) -> anyhow::Result<Self> {
        let address = endpoint.address;
        let socket = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        socket.set_nodelay(true)?;
        let stream = match &endpoint.tls {
            None => Socket::Plain(socket),
            Some(tls) => {
                let secured = tls.connect(socket).await.with_context(|| format!("TLS with {address}"))?;
                Socket::Secured(Box::new(secured))
            }
        };
        Ok(Self { stream, buffer: vec![0; REPLY_BYTES_MAX].into() })
    }

    /// Sends one request and waits for its whole answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Reply<'_>> {
        self.send(request).await?;
        let (head, filled) = self.read_head().await?;
        self.rest(head, filled).await
    }

    /// Sends a request whose answer is a stream.
    pub(crate) async fn begin_stream(mut self, request: &[u8]) -> anyhow::Result<Begun> {
        self.send(request).await?;
        let (head, filled) = self.read_head().await?;
        if status(&self.buffer)? != 200 {
            let reply = self.rest(head, filled).await?;
            let seconds = reply.headers()?.into_iter().find(|(name, _)| name == "retry-after");
            let retry_after = seconds.map(|(_, seconds)| seconds.parse().map(Duration::from_secs)).transpose()?;
            let (status, why) = (reply.status, String::from_utf8_lossy(reply.body).into_owned());
            return Ok(Begun::Refused { connection: self, status, retry_after, why });
        }
        let chunked = memmem::find(&self.buffer[..head], b"transfer-encoding: chunked").is_some();
        ensure!(chunked, "a stream without transfer-encoding: chunked");
        let begun = self.buffer[head..filled].to_vec();
        Ok(Begun::Stream(self.stream, begun))
    }

    async fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(request).await?;
        // Over TLS it may be written and not yet sent.
        Ok(self.stream.flush().await?)
    }

    /// Reads an answer's head; returns where it ends, and how much was read.
    async fn read_head(&mut self) -> anyhow::Result<(usize, usize)> {
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            ensure!(read > 0, "the server closed the connection, or its answer is over {REPLY_BYTES_MAX} bytes");
            filled += read;
            if let Some(head) = head_end(&self.buffer[..filled]) {
                return Ok((head, filled));
            }
        }
    }

    /// Reads the rest of an answer that has a length.
    async fn rest(&mut self, head: usize, filled: usize) -> anyhow::Result<Reply<'_>> {
        let end = head + content_length(&self.buffer[..head])?;
        ensure!(end <= self.buffer.len(), "an answer of {end} bytes is over the limit of {REPLY_BYTES_MAX}");
        if filled < end {
            self.stream.read_exact(&mut self.buffer[filled..end]).await?;
        }
        ensure!(filled <= end, "{} bytes behind the answer", filled - end);
        let status = status(&self.buffer)?;
        Ok(Reply { status, head: &self.buffer[..head], body: &self.buffer[head..end] })
    }
}

/// What came of asking for a stream.
pub(crate) enum Begun {
    /// The socket, with what came behind the answer's head.
    Stream(Socket, Vec<u8>),
    /// Another answer than 200, over a connection that may be used again.
    Refused {
        connection: Connection,
        status: u16,
        /// When to come back, where it says so.
        retry_after: Option<Duration>,
        /// Its body.
        why: String,
    },
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

fn status(bytes: &[u8]) -> anyhow::Result<u16> {
    let digits = bytes.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3)).context("no HTTP/1.1 answer")?;
    Ok(std::str::from_utf8(digits)?.parse()?)
}

/// Every server measured writes header names in lower case, as hyper does.
fn content_length(head: &[u8]) -> anyhow::Result<usize> {
    const NAME: &[u8] = b"\r\ncontent-length: ";
    let start = memmem::find(head, NAME).context("an answer without content-length")? + NAME.len();
    let digits = head[start..].iter().take_while(|byte| byte.is_ascii_digit());
    Ok(digits.fold(0, |number: usize, digit| number.saturating_mul(10).saturating_add(usize::from(digit - b'0'))))
}

/// Takes the chunks of `transfer-encoding: chunked` apart, in any split.
#[derive(Debug, Default)]
pub(crate) struct Chunked {
    state: ChunkState,
}

#[derive(Clone, Copy, Debug, Default)]
enum ChunkState {
    /// Within the line that says the size.
    #[default]
    SizeStart,
    Size(usize),
    /// Behind the size, up to the line's end.
    SizeRest(usize),
    Data(usize),
    /// Bytes of the line end behind the data still to come.
    DataEnd(u8),
    /// The last chunk was empty; trailers are not looked at.
    Over,
}

impl Chunked {
    /// Hands the body's bytes within `bytes` to `body`, piece by piece.
    pub(crate) fn push<'a>(&mut self, mut bytes: &'a [u8], mut body: impl FnMut(&'a [u8])) -> anyhow::Result<()> {
        while let Some((&first, rest)) = bytes.split_first() {
            self.state = match self.state {
                ChunkState::SizeStart => ChunkState::Size(hex(first).context("a chunk without size")?),
                ChunkState::Size(size) => match hex(first) {
                    Some(digit) => ChunkState::Size((size << 4) | digit),
                    None => {
                        self.state = ChunkState::SizeRest(size);
                        continue;
                    }
                },
                ChunkState::SizeRest(size) if first != b'\n' => ChunkState::SizeRest(size),
                ChunkState::SizeRest(0) => ChunkState::Over,
                ChunkState::SizeRest(size) => ChunkState::Data(size),
                ChunkState::Data(left) => {
                    let (data, behind) = bytes.split_at(left.min(bytes.len()));
                    body(data);
                    bytes = behind;
                    self.state =
                        if data.len() == left { ChunkState::DataEnd(2) } else { ChunkState::Data(left - data.len()) };
                    continue;
                }
                ChunkState::DataEnd(1) => ChunkState::SizeStart,
                ChunkState::DataEnd(left) => ChunkState::DataEnd(left - 1),
                ChunkState::Over => bail!("the server ended the stream"),
            };
            bytes = rest;
        }
        Ok(())
    }
}

fn hex(digit: u8) -> Option<usize> {
    char::from(digit).to_digit(16).map(|value| value as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_gives_the_same_body() {
        let wire = b"5\r\nhello\r\n1a;x=y\r\nabcdefghijklmnopqrstuvwxyz\r\n3\r\n!\r\n\r\n";
        let expected = b"helloabcdefghijklmnopqrstuvwxyz!\r\n";
        for first in 0..wire.len() {
            for second in first..wire.len() {
                let (mut chunked, mut body) = (Chunked::default(), Vec::new());
                for piece in [&wire[..first], &wire[first..second], &wire[second..]] {
                    chunked.push(piece, |data| body.extend_from_slice(data)).unwrap();
                }
                assert_eq!(body, expected, "{first} {second}");
            }
        }
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        assert!(Chunked::default().push(b"hello", |_| {}).is_err());
        assert!(Chunked::default().push(b"0\r\n\r\n", |_| {}).is_err());
    }

    #[test]
    fn reads_status_length_and_headers() {
        let head = b"HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\ncontent-length: 120\r\n\r\n";
        assert_eq!((status(head).unwrap(), content_length(head).unwrap()), (404, 120));
        let reply = Reply { status: 404, head, body: b"" };
        assert_eq!(reply.headers().unwrap()[1], ("content-length".to_owned(), "120".to_owned()));
        assert!(reply.ok().is_err());
    }
}
