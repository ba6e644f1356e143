//! Clients that do what no client needs to: floods, frames that HTTP/2 forbids, and more of everything than is allowed.

use super::*;
use crate::front::writer;

/// What one client sends, and what it is told.
struct Case {
    what: &'static str,
    sent: Vec<u8>,
    told: Told,
}

#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// Nothing, and the connection closed.
    Nothing,
    /// GOAWAY with this code, and the connection closed.
    Goaway(u32),
    /// RST_STREAM of the first stream with this code; the connection goes on.
    Reset(u32),
    /// An answer with this status and this error code; the connection goes on.
    Answer(u16, String),
}

use Told::{Answer, Goaway, Nothing, Reset};

/// Streams opened and given up at once.
fn resets(count: u32) -> Vec<u8> {
    let one = |number: u32| {
        let stream = number * 2 + 1;
        [get(stream, "/livez"), frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())].concat()
    };
    (0..count).flat_map(one).collect()
}

/// Requests whose bodies do not come, from this stream on.
fn waiting(first: u32, count: u32) -> Vec<u8> {
    let block = block("PUT", "/v1/collections/c/keys/waiting", &[]);
    (0..count).flat_map(|number| request(first + number * 2, false, &block)).collect()
}

fn floods() -> Vec<Case> {
    let case = |what, sent, told| Case { what, sent, told };
    let begun = frame(HEADERS, END_STREAM, 1, &block("GET", "/livez", &[]));
    let empty = frame(CONTINUATION, 0, 1, b"");
    // A field of 4,000 bytes that goes into the table, and then a byte for each time it is meant again.
    let bomb = [&block("GET", "/livez", &[])[..], &field(0x40, "x", &"y".repeat(4_000)), &[0xbe; 12_000]].concat();
    vec![
        case("resets", resets(200), Goaway(ENHANCE_YOUR_CALM)),
        case("fields that go on and on", [&begun[..], &empty.repeat(1_000)].concat(), Goaway(ENHANCE_YOUR_CALM)),
        case("fields that grow out of a few bytes", request(1, true, &bomb), Goaway(ENHANCE_YOUR_CALM)),
        case("streams beyond those allowed", waiting(1, 128 + 40), Goaway(ENHANCE_YOUR_CALM)),
        case(
            "empty pieces of a body",
            [waiting(1, 1), frame(DATA, 0, 1, b"").repeat(20_000)].concat(),
            Goaway(ENHANCE_YOUR_CALM),
        ),
        case("a stream given up that never was", frame(RST_STREAM, 0, 1, &[0; 4]), Goaway(PROTOCOL_ERROR)),
    ]
}

fn malformed() -> Vec<Case> {
    let case = |what, sent, told| Case { what, sent, told };
    let answer = |status, code: &str| Answer(status, code.to_owned());
    let with = |fields: &[(&str, &str)]| request(1, true, &block("GET", "/livez", fields));
    let many: Vec<_> = (0..120).map(|_| ("x", "a")).collect();
    let wide = "a".repeat(12_000);
    let far = format!("/{}", "a".repeat(20_000));
    let without_path: Vec<u8> = [(":method", "GET"), (":scheme", "http"), (":authority", "localhost")]
        .iter()
        .flat_map(|(name, value)| field(0, name, value))
        .collect();
    let elsewhere: Vec<u8> =
        [(":method", "GET"), (":scheme", "http"), (":path", "/livez"), (":authority", "evil.example")]
            .iter()
            .flat_map(|(name, value)| field(0, name, value))
            .collect();
    let longer = request(1, false, &block("PUT", "/v1/collections/c/keys/k", &[("content-length", "3")]));
    vec![
        case("more fields than are allowed", with(&many), answer(431, "headers_too_large")),
        case("fields larger than is allowed", with(&[("x", &wide), ("y", &wide), ("z", &wide)]), answer(431, "")),
        case("a longer target than is allowed", get(1, &far), answer(414, "uri_too_long")),
        case("another host", request(1, true, &elsewhere), answer(421, "misdirected")),
        case("two hosts", with(&[("host", "localhost"), ("host", "localhost")]), answer(400, "invalid_request")),
        case("a host beside the authority", with(&[("host", "evil.example")]), answer(421, "misdirected")),
        case("dot segments", get(1, "/v1/collections/c/keys/../../x"), answer(400, "invalid_key")),
        case("no path", request(1, true, &without_path), Reset(PROTOCOL_ERROR)),
        case("a field of HTTP/1.1", with(&[("transfer-encoding", "chunked")]), Reset(PROTOCOL_ERROR)),
        case("a connection's field", with(&[("connection", "close")]), Reset(PROTOCOL_ERROR)),
        case("an upper-case field", with(&[("X-A", "b")]), Goaway(PROTOCOL_ERROR)),
        case("a line's end in a field", with(&[("x", "a\r\nb: c")]), Goaway(PROTOCOL_ERROR)),
        case("two paths", with(&[(":path", "/readyz")]), Reset(PROTOCOL_ERROR)),
        case(
            "more of a body than was announced",
            [&longer[..], &frame(DATA, END_STREAM, 1, b"{\"value\":1}")].concat(),
            Reset(PROTOCOL_ERROR),
        ),
        case("a frame that is too large", frame(DATA, 0, 1, &[0; FRAME_BYTES_MAX + 1]), Goaway(FRAME_SIZE_ERROR)),
        case("a PING that is too small", frame(PING, 0, 0, b"1"), Goaway(PROTOCOL_ERROR)),
        case("a body of no request", frame(DATA, 0, 1, b"x"), Goaway(PROTOCOL_ERROR)),
        case("an even stream", get(2, "/livez"), Goaway(PROTOCOL_ERROR)),
        case("a request on stream 0", get(0, "/livez"), Goaway(PROTOCOL_ERROR)),
        case(
            "something within a block of fields",
            frame(HEADERS, 0, 1, b"").into_iter().chain(frame(PING, 0, 0, b"12345678")).collect(),
            Goaway(PROTOCOL_ERROR),
        ),
        case("the end of no block of fields", frame(CONTINUATION, END_HEADERS, 1, b""), Goaway(PROTOCOL_ERROR)),
        case("a field that is not in the table", request(1, true, &[0xff, 0x7f]), Goaway(PROTOCOL_ERROR)),
        case("no window at all", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), Goaway(PROTOCOL_ERROR)),
        case(
            "a window that overflows",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            Goaway(FLOW_CONTROL_ERROR),
        ),
        case("no preface", b"nothing of the kind".to_vec(), Goaway(FRAME_SIZE_ERROR)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_and_what_is_no_http_2_are_told_so_and_others_never_wait() {
    let (_directory, node, client) = writer(&[("--head-ms", "60000"), ("--body-ms", "60000")]).await;
    client.set("c", "k", "1").await;
    let before = client.position().await;
    let wrong = beside_others(&client, async {
        let mut wrong = Vec::new();
        for Case { what, sent, told } in floods().into_iter().chain(malformed()) {
            let mut wire = Http2::open(&node.url, &[]).await;
            let begun = Instant::now();
            wire.send(&sent).await;
            let was_told = hears(wire).await;
            if was_told != told || begun.elapsed() > SLACK {
                wrong.push(format!("{what}: {was_told:?} after {:?}, and not {told:?}", begun.elapsed()));
            }
        }
        wrong
    })
    .await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(client.position().await, before, "nothing of it was written");
}

/// What a client is told in the end. Where the connection goes on, it can be asked for something else.
async fn hears(mut wire: Http2) -> Told {
    let mut told = None;
    loop {
        let patience = if told.is_none() { SLACK * 3 } else { Duration::from_millis(300) };
        let Ok(next) = timeout(patience, wire.received.next()).await else { break };
        // What is closed without a word is told nothing.
        let Some(next) = next else { return told.unwrap_or(Nothing) };
        match (next.kind, &mut told) {
            (GOAWAY, _) => {
                assert!(
                    timeout(SLACK, async { while wire.received.next().await.is_some() {} }).await.is_ok(),
                    "closed"
                );
                return Goaway(next.code());
            }
            (HEADERS, None) => told = Some(Answer(status(&next.content), String::new())),
            (DATA, Some(Answer(_, code))) if code.is_empty() => *code = code_in(&next.content),
            (RST_STREAM, None) => told = Some(Reset(next.code())),
            _ => {}
        }
    }
    goes_on(&mut wire).await;
    told.expect("it was told something, or nothing came for long")
}

/// The error code in a body.
fn code_in(body: &[u8]) -> String {
    let body = String::from_utf8_lossy(body);
    let code = body.split_once("\"error\":\"").and_then(|(_, rest)| rest.split_once('"'));
    code.map_or("", |(code, _)| code).to_owned()
}

/// Asks for something else on the same connection.
async fn goes_on(wire: &mut Http2) {
    wire.send(&get(301, "/livez")).await;
    while wire.received.next_of(&[DATA]).await.stream != 301 {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_stream_too_many_is_refused_and_may_come_when_another_has_gone() {
    let (_directory, node, client) = writer(&[("--body-ms", "60000")]).await;
    client.set("c", "k", "1").await;
    let mut wire = Http2::open(&node.url, &[]).await;
    beside_others(&client, async {
        wire.send(&waiting(1, 129)).await;
        let reset = wire.received.next_of(&[RST_STREAM, HEADERS]).await;
        assert_eq!((reset.kind, reset.stream), (RST_STREAM, 257));
        assert_eq!(reset.code(), REFUSED_STREAM);
        // Those that are there go on.
        wire.send(&frame(DATA, END_STREAM, 1, b"{\"value\":1}")).await;
        assert_eq!(wire.received.answer(1).await.0, 200);
        wire.send(&get(259, "/livez")).await;
        assert_eq!(wire.received.next_of(&[RST_STREAM, HEADERS]).await.stream, 259);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_without_pause_and_reads_nothing_is_given_up() {
    let (_directory, node, client) = writer(&[("--write-ms", "1000")]).await;
    client.set("c", "k", "1").await;
    for (what, flood) in
        [("PING", frame(PING, 0, 0, b"12345678").repeat(500)), ("SETTINGS", frame(SETTINGS, 0, 0, &[]).repeat(500))]
    {
        let mut wire = Http2::open(&node.url, &[]).await;
        beside_others(&client, async {
            let sending = async { while wire.writer.write_all(&flood).await.is_ok() {} };
            assert!(timeout(SLACK * 3, sending).await.is_ok(), "{what}: it is still there after {:?}", SLACK * 3);
        })
        .await;
    }
}
