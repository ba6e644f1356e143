//! Clients of HTTP/2 that are slow or hostile, frame by frame: what each is told, and when its stream or connection is gone.
//!
//! Frames are written by hand (RFC 9113): a library would not let a client do what is done here.

mod hostile;
mod slow;

use super::{SLACK, Wire};
use headwater_tests::Client;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{sleep, timeout};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const INITIAL_WINDOW_SIZE: u8 = 4;

const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

/// The largest frame that is taken, and sent.
const FRAME_BYTES_MAX: usize = 16 << 10;

/// What a connection may be told before it is closed because nothing is asked on it: the node waits a second for an answer.
const FAREWELL: Duration = Duration::from_secs(1);

const PAIR: [(&str, &str); 2] = [("apikey", "dev"), ("secret", "dev")];

/// A frame as it came.
#[derive(Clone, Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    content: Vec<u8>,
}

impl Frame {
    /// The error code of RST_STREAM and GOAWAY.
    fn code(&self) -> u32 {
        let from = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.content[from..from + 4].try_into().expect("there are four bytes"))
    }
}

fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    [&length[length.len() - 3..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

/// A number behind a prefix of 7 bits, of which the first is 0 (RFC 7541, section 5.1).
fn number(mut rest: usize) -> Vec<u8> {
    if rest < 127 {
        return vec![rest as u8];
    }
    let mut out = vec![127];
    rest -= 127;
    while rest >= 128 {
        out.push((rest % 128 + 128) as u8);
        rest /= 128;
    }
    out.push(rest as u8);
    out
}

/// A field with a name and a value of its own; `first` says whether it goes into the table (RFC 7541, section 6.2).
fn field(first: u8, name: &str, value: &str) -> Vec<u8> {
    [&[first], &*number(name.len()), name.as_bytes(), &*number(value.len()), value.as_bytes()].concat()
}

/// The fields of a request with the development pair.
fn block(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let own = [(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", path)];
    own.iter().chain(&PAIR).chain(more).flat_map(|(name, value)| field(0, name, value)).collect()
}

/// A request in as many frames as it needs.
fn request(stream: u32, is_whole: bool, block: &[u8]) -> Vec<u8> {
    let mut pieces = block.chunks(FRAME_BYTES_MAX).peekable();
    let mut out = Vec::new();
    let mut kind = HEADERS;
    while let Some(piece) = pieces.next() {
        let last = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        let whole = if kind == HEADERS && is_whole { END_STREAM } else { 0 };
        out.extend(frame(kind, last | whole, stream, piece));
        kind = CONTINUATION;
    }
    out
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    request(stream, true, &block("GET", path, &[]))
}

/// The status that the first answer on a connection begins with. It is one of the seven that HPACK knows, or three digits,
/// Huffman-coded (RFC 7541, appendices A and B).
fn status(content: &[u8]) -> u16 {
    const KNOWN: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match content {
        [first @ 0x88..=0x8e, ..] => KNOWN[usize::from(first - 0x88)],
        [0x08 | 0x48, length, rest @ ..] if length & 0x80 != 0 => {
            let mut bits =
                rest[..usize::from(length & 0x7f)].iter().flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1));
            let mut take = |count: usize| bits.by_ref().take(count).fold(0_u16, |sum, bit| sum << 1 | u16::from(bit));
            (0..3).fold(0, |sum, _| {
                let digit = match take(5) {
                    digit @ 0..=2 => digit,
                    digit => (digit << 1 | take(1)) - 0b011001 + 3,
                };
                sum * 10 + digit
            })
        }
        _ => panic!("no status at the beginning of {content:02x?}"),
    }
}

/// A connection that speaks frames.
struct Http2 {
    received: Received,
    writer: OwnedWriteHalf,
}

/// What comes on it.
struct Received {
    reader: OwnedReadHalf,
    bytes: Vec<u8>,
    opened: Instant,
}

/// What came until the node had closed it.
struct Ended {
    /// The code of the last GOAWAY.
    goaway: Option<u32>,
    /// HEADERS, DATA and RST_STREAM.
    frames: Vec<Frame>,
    /// From its beginning.
    lasted: Duration,
}

impl Received {
    /// The next frame; `None` when the connection is closed.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let [high, middle, low, kind, flags, rest @ ..] = &*self.bytes
                && let Some((stream, rest)) = rest.split_first_chunk()
                && let Some(content) = rest.get(..u32::from_be_bytes([0, *high, *middle, *low]) as usize)
            {
                let stream = u32::from_be_bytes(*stream);
                let frame = Frame { kind: *kind, flags: *flags, stream, content: content.to_vec() };
                self.bytes.drain(..9 + frame.content.len());
                return Some(frame);
            }
            let read = timeout(SLACK * 3, self.reader.read_buf(&mut self.bytes)).await;
            // A connection that is reset is closed as well.
            if read.expect("nothing comes, and it is not closed").unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// The next frame of one of these kinds. The connection must not end before.
    async fn next_of(&mut self, kinds: &[u8]) -> Frame {
        loop {
            let next = self.next().await.unwrap_or_else(|| panic!("closed before a frame of {kinds:?}"));
            if kinds.contains(&next.kind) {
                return next;
            }
            assert!(next.kind != GOAWAY, "the connection ends: {}", next.code());
        }
    }

    /// Status and body of the answer that comes next: the first on this connection with a status of its own.
    async fn answer(&mut self, stream: u32) -> (u16, String) {
        let head = self.next_of(&[HEADERS]).await;
        assert_eq!(head.stream, stream);
        let mut body = Vec::new();
        let mut last = head.flags;
        while last & END_STREAM == 0 {
            let data = self.next_of(&[DATA]).await;
            assert_eq!(data.stream, stream);
            body.extend(data.content);
            last = data.flags;
        }
        (status(&head.content), String::from_utf8(body).expect("answers are UTF-8"))
    }
}

impl Http2 {
    /// Opens one, sends the preface and these settings.
    async fn open(url: &str, settings: &[(u8, u32)]) -> Self {
        let Wire { socket, opened } = Wire::open(url).await;
        let (reader, writer) = socket.into_split();
        let mut wire = Self { received: Received { reader, bytes: Vec::new(), opened }, writer };
        let settings: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&[0, *id], &value.to_be_bytes()[..]].concat()).collect();
        wire.send(&[PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat()).await;
        wire
    }

    /// Sends bytes; a node that has closed the connection meanwhile is heard later.
    async fn send(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).await.ok();
    }

    /// Reads until the node closes the connection, while `busy` is sent again and again, with a pause behind each.
    async fn hear(self, busy: &[u8], pause: Duration) -> Ended {
        let Self { mut received, mut writer } = self;
        let busy = busy.to_vec();
        let sending = tokio::spawn(async move {
            while !busy.is_empty() && writer.write_all(&busy).await.is_ok() {
                sleep(pause).await;
            }
            // It stays open, or the node would hear that nothing comes any more.
            std::future::pending::<()>().await;
        });
        let (mut goaway, mut frames) = (None, Vec::new());
        let ended = timeout(SLACK * 3, async {
            while let Some(frame) = received.next().await {
                match frame.kind {
                    GOAWAY => goaway = Some(frame.code()),
                    HEADERS | DATA | RST_STREAM => frames.push(frame),
                    _ => {}
                }
            }
        });
        assert!(ended.await.is_ok(), "still open after {:?}, with {frames:?}", SLACK * 3);
        sending.abort();
        Ended { goaway, frames, lasted: received.opened.elapsed() }
    }
}

/// Does `work` while others ask the node, each of whom is answered, and soon.
async fn beside_others<T>(client: &Client, work: impl Future<Output = T>) -> T {
    let others = async {
        loop {
            let asked = Instant::now();
            assert_eq!(client.entry("c", "k").await.status, 200);
            assert!(asked.elapsed() < SLACK, "another was answered after {:?}", asked.elapsed());
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        done = work => done,
        () = others => unreachable!("they ask for ever"),
        () = sleep(SLACK * 15) => panic!("it is not over after {:?}", SLACK * 15),
    }
}
