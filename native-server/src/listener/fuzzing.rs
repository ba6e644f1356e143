//! What the fuzz target `framing` calls. Only with the feature `fuzzing`.

use super::framing::{Framing, HeadLimits, Step, Violation};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

/// Small enough for a fuzzer to go beyond each.
const LIMITS: HeadLimits = HeadLimits { line_bytes_max: 64, bytes_max: 256, fields_max: 8 };

/// A request that stands behind what is fuzzed: who sees it as one has found the same end of the body before it.
const PROBE: &[u8] = b"GET /probe HTTP/1.1\r\nhost: h\r\n\r\n";

/// More than any connection of so few bytes takes.
const POLLS_MAX: usize = 100_000;

/// What was seen of a connection's bytes.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// Where each head begins and ends.
    heads: Vec<(usize, usize)>,
    /// What was wrong behind them; `None` where nothing was.
    refused: Option<Violation>,
    /// What is handed on.
    passed: Vec<u8>,
}

/// Reads `data` in pieces of `piece` bytes.
fn seen(data: &[u8], piece: usize) -> Seen {
    let mut framing = Framing::new(LIMITS);
    let (mut at, mut there) = (0, 0);
    let (mut heads, mut passed) = (Vec::new(), Vec::new());
    loop {
        let step = match framing.next(&data[at..there]) {
            Ok(step) => step,
            Err(violation) => return Seen { heads, refused: Some(violation), passed },
        };
        at += match step {
            Step::Head(count) => {
                heads.push((at, at + count));
                passed.extend_from_slice(&data[at..at + count]);
                count
            }
            Step::Body(count) => {
                passed.extend_from_slice(&data[at..at + count]);
                count
            }
            Step::Skip(count) => count,
            Step::More if there == data.len() => return Seen { heads, refused: None, passed },
            Step::More => {
                there = (there + piece).min(data.len());
                0
            }
        };
        assert!(at <= there, "no more is handed on than there is");
    }
}

fn is_length(violation: Violation) -> bool {
    matches!(violation, Violation::LineTooLong(_) | Violation::HeadTooLong(_) | Violation::TooManyFields(_))
}

/// A request as the library sees it that stands behind the framing.
#[derive(Debug)]
struct Theirs {
    method: String,
    target: String,
    fields: usize,
    /// Its body came to an end.
    is_whole: bool,
    /// It is the last one on its connection, by what it says.
    is_last: bool,
}

/// A connection on which these bytes come, then their end, and on which everything is taken.
struct Tape<'d>(&'d [u8]);

impl Read for Tape<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let (now, rest) = self.0.split_at(buffer.remaining().min(self.0.len()));
        buffer.put_slice(now);
        self.0 = rest;
        Poll::Ready(Ok(()))
    }
}

impl Write for Tape<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The requests that the library sees in `data`, each of which it reads to its end.
fn theirs(data: &[u8]) -> Vec<Theirs> {
    let seen = RefCell::new(Vec::new());
    let service = service_fn(|request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        let says = |name: &str, word: &str| {
            let values = head.headers.get_all(name).iter();
            values
                .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
                .any(|item| item.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
        };
        let is_last = says("connection", "close")
            || says("connection", "upgrade")
            || head.method == "CONNECT"
            || (head.version == Version::HTTP_10 && !says("connection", "keep-alive"));
        let (method, target, fields) = (head.method.to_string(), head.uri.to_string(), head.headers.len());
        let at = seen.borrow().len();
        seen.borrow_mut().push(Theirs { method, target, fields, is_whole: false, is_last });
        let seen = &seen;
        async move {
            let is_whole = body.collect().await.is_ok();
            seen.borrow_mut()[at].is_whole = is_whole;
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    {
        let mut connection = pin!(
            http1::Builder::new().half_close(true).header_read_timeout(None).serve_connection(Tape(data), service)
        );
        let mut context = Context::from_waker(Waker::noop());
        // Nothing is ever waited for: what is pending goes on at once. How it ends is what was seen.
        let polls = (0..POLLS_MAX).take_while(|_| connection.as_mut().poll(&mut context).is_pending()).count();
        assert!(polls < POLLS_MAX, "the connection ends");
    }
    seen.into_inner()
}

/// Reads `data` with a request behind it as we do and as the library does. Both must find each body's end in the same place,
/// or one would take for a request what is the other's body.
fn agree(data: &[u8]) {
    let data = [data, PROBE].concat();
    let ours = seen(&data, data.len());
    let theirs = theirs(&ours.passed);
    for (index, (&(start, end), their)) in ours.heads.iter().zip(&theirs).enumerate() {
        let mut fields = [httparse::EMPTY_HEADER; LIMITS.fields_max];
        let mut request = httparse::Request::new(&mut fields);
        request.parse(&data[start..end]).expect("what is passed on is a head");
        let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
        assert_eq!((method, request.headers.len()), (&*their.method, their.fields), "request {index}");
        assert!(!target.starts_with('/') || target == their.target, "request {index}: {target} is {}", their.target);
    }
    // Nor in what was passed of a body before it was refused.
    assert!(theirs.len() <= ours.heads.len(), "a request is seen within a body: {ours:?} {theirs:?}");
    // It gives up a connection sooner where it may; but not because it reads on in a body whose end we saw.
    if let Some(last) = theirs.last().filter(|_| theirs.len() < ours.heads.len()) {
        assert!(last.is_whole || last.is_last, "the end of a body is not seen: {ours:?} {theirs:?}");
    }
}

/// Reads any bytes as a connection's. They must be read alike in whatever pieces they come, and what is taken for a head
/// another reader of HTTP must take for the same, and see the body behind it end where we do. The first byte says in what
/// pieces.
///
/// # Panics
/// When something does not hold.
pub fn framing(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else { return };
    let whole = seen(data, data.len().max(1));
    let pieces = seen(data, usize::from(first).max(1));
    assert_eq!(pieces.heads, whole.heads);
    match (pieces.refused, whole.refused) {
        // Of a head that is too long and wrong in another way too, what is there first decides.
        (Some(one), Some(other)) if is_length(one) || is_length(other) => {}
        (one, other) => assert_eq!(one, other),
    }
    for (start, end) in whole.heads {
        let mut fields = [httparse::EMPTY_HEADER; LIMITS.fields_max];
        let mut request = httparse::Request::new(&mut fields);
        let parsed = request.parse(&data[start..end]);
        assert_eq!(parsed, Ok(httparse::Status::Complete(end - start)), "another reader sees another head");
        let named = |name: &str| request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).count();
        // Only since 1.1 a request has to have one; the service wants one of 1.0 too.
        assert!(named("host") == 1 || (named("host") == 0 && request.version == Some(0)));
        assert!(named("content-length") + named("transfer-encoding") <= 1);
    }
    agree(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_see_is_the_same_and_what_they_would_not_is_found() {
        for data in [
            &b"POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc"[..],
            b"POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            b"POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n00A\r\nGET / HTTP\r\n0\r\n\r\n",
            b"GET /a HTTP/1.1\r\nhost: h\r\n\r\n\r\nGET /b HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
            b"POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 300\r\n\r\nabc",
            b"POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1f\r\nGET /b HTTP/1.1\r\nhost: h\r\n\r\n\r\n\r\nZ\r\n",
            b"GET /a HTTP/1.0\r\n\r\n",
            b"",
        ] {
            framing(&[&[1], data].concat());
            framing(&[&[255], data].concat());
        }
        let data = [&b"POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc"[..], PROBE].concat();
        let targets: Vec<_> = theirs(&data).into_iter().map(|their| (their.target, their.is_whole)).collect();
        assert_eq!(targets, [("/a".into(), true), ("/probe".into(), true)]);
        let short = [&b"POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 99\r\n\r\nabc"[..], PROBE].concat();
        let targets: Vec<_> = theirs(&short).into_iter().map(|their| (their.target, their.is_whole)).collect();
        assert_eq!(targets, [("/a".into(), false)]);
    }
}
