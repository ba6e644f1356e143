//! Just enough HTTP/1.1, by hand, for a parent that misbehaves below the level any library would let it.

use serde_json::Value;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Longest request head that is read.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null when it is empty.
    pub fn json(&self) -> Value {
        if self.body.is_empty() { Value::Null } else { serde_json::from_slice(&self.body).expect("the body is JSON") }
    }
}

/// Reads one request. `None` when the peer closes before it has sent one.
///
/// # Errors
/// The connection's own, and what is no request.
pub async fn read_request(reader: &mut OwnedReadHalf) -> io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = find(&bytes, b"\r\n\r\n") {
            break end;
        }
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(io::Error::other("the request's head does not end"));
        }
        if reader.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut body = bytes.split_off(head_end + 4);
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default().to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let header = |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    if header("transfer-encoding").is_some() {
        body = read_chunked(reader, body).await?;
    } else {
        let length = header("content-length").map_or(0, |text| text.parse().unwrap_or(0));
        while body.len() < length {
            if reader.read_buf(&mut body).await? == 0 {
                return Ok(None);
            }
        }
    }
    Ok(Some(Request { method, target, headers, body }))
}

async fn read_chunked(reader: &mut OwnedReadHalf, mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let Some(end) = find(&bytes, b"\r\n") else {
            if reader.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            continue;
        };
        let size = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16);
        let size = size.map_err(io::Error::other)?;
        while bytes.len() < end + 2 + size + 2 {
            if reader.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        body.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes.drain(..end + 2 + size + 2);
        if size == 0 {
            return Ok(body);
        }
    }
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

/// The answering half of a connection: a chunked body, said piece by piece.
#[derive(Debug)]
pub struct Answer {
    writer: OwnedWriteHalf,
}

impl Answer {
    /// Splits a connection and reads its one request; further ones on it are not answered.
    ///
    /// # Errors
    /// As [`read_request`].
    pub async fn to(connection: TcpStream) -> io::Result<Option<(Request, Self, OwnedReadHalf)>> {
        connection.set_nodelay(true)?;
        let (mut reader, writer) = connection.into_split();
        Ok(read_request(&mut reader).await?.map(|request| (request, Self { writer }, reader)))
    }

    /// Begins a stream.
    ///
    /// # Errors
    /// The peer is gone.
    pub async fn begin_stream(&mut self) -> io::Result<()> {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ncache-control: no-store\r\n\
                    transfer-encoding: chunked\r\nconnection: close\r\n\r\n";
        self.writer.write_all(head.as_bytes()).await
    }

    /// Sends one piece of the body, exactly these bytes in a chunk of their own.
    ///
    /// # Errors
    /// The peer is gone.
    pub async fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
        framed.extend_from_slice(bytes);
        framed.extend_from_slice(b"\r\n");
        self.writer.write_all(&framed).await
    }

    /// Ends the body in good order.
    ///
    /// # Errors
    /// The peer is gone.
    pub async fn end(mut self) -> io::Result<()> {
        self.writer.write_all(b"0\r\n\r\n").await?;
        self.writer.shutdown().await
    }

    /// Answers whole.
    ///
    /// # Errors
    /// The peer is gone.
    pub async fn whole(mut self, status: u16, headers: &[(String, String)], body: &[u8]) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {status} status\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.writer.write_all(head.as_bytes()).await?;
        self.writer.write_all(body).await?;
        self.writer.shutdown().await
    }
}
