//! Clients that take their time: each is given as much as the settings say, told why it gets no more where it can be told,
//! and gone after it. Those who do nothing wrong go on meanwhile.

use super::{SLACK, Wire, writer};
use headwater_tests::raw;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;
use tokio::time::{Instant, sleep};

const FIRST_BYTE: u64 = 700;
const HEAD: u64 = 900;
const IDLE: u64 = 1_100;
const BODY: u64 = 800;
const WRITE: u64 = 1_000;

const TIMES: [(&str, u64); 5] = [
    ("--first-byte-ms", FIRST_BYTE),
    ("--head-ms", HEAD),
    ("--idle-ms", IDLE),
    ("--body-ms", BODY),
    ("--write-ms", WRITE),
];

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PAIR: &str = "host: localhost\r\napikey: dev\r\nsecret: dev\r\n";

/// What a slow client does, what it is told, and after how many ms its connection is gone.
struct Case {
    what: &'static str,
    first: Vec<u8>,
    drip: Vec<u8>,
    answers: &'static [(u16, &'static str)],
    after: u64,
}

fn cases() -> Vec<Case> {
    let text = |text: String| text.into_bytes();
    let case = |what, first, drip, answers, after| Case { what, first, drip, answers, after };
    let put = |length: usize| {
        text(format!("PUT /v1/collections/c/keys/k HTTP/1.1\r\n{PAIR}content-length: {length}\r\n\r\n"))
    };
    vec![
        case("says nothing", vec![], vec![], &[], FIRST_BYTE),
        case("half a request line", text("GET /liv".into()), vec![], &[(408, "request_timeout")], HEAD),
        case(
            "a head that drips",
            text("GET /livez HTTP/1.1\r\n".into()),
            text("x-a: b\r\n".repeat(60)),
            &[(408, "request_timeout")],
            HEAD,
        ),
        case("a body that never comes", put(12), vec![], &[(408, "request_timeout")], BODY),
        case(
            "a body that came quickly and stops",
            [put(1_000_000), vec![b' '; 900_000]].concat(),
            vec![],
            &[(408, "request_timeout")],
            BODY,
        ),
        case("a body that drips", put(400), vec![b' '; 300], &[(408, "request_timeout")], BODY),
        case(
            "a chunk that drips",
            text(format!("POST /v1/collections HTTP/1.1\r\n{PAIR}transfer-encoding: chunked\r\n\r\n400\r\n")),
            vec![b' '; 300],
            &[(408, "request_timeout")],
            BODY,
        ),
        case("stays after its answer", text(format!("GET /livez HTTP/1.1\r\n{PAIR}\r\n")), vec![], &[(200, "-")], IDLE),
        case(
            "stops in its second request",
            text(format!("GET /livez HTTP/1.1\r\n{PAIR}\r\nGET /")),
            vec![],
            &[(200, "-"), (408, "request_timeout")],
            HEAD,
        ),
        // So begins HTTP/2, too.
        case("a method's first letter", text("P".into()), vec![], &[(408, "request_timeout")], HEAD),
        case("a method's first letters", text("PR".into()), vec![], &[(408, "request_timeout")], HEAD),
        case("half a preface of HTTP/2", PREFACE[..9].to_vec(), vec![], &[], HEAD),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_slow_client_is_told_and_gone_in_time() {
    let times = TIMES.map(|(flag, ms)| (flag, ms.to_string()));
    let options: Vec<_> = times.iter().map(|(flag, ms)| (*flag, &**ms)).collect();
    let (_directory, node, client) = writer(&options).await;
    let before = client.position().await;
    let mut running = Vec::new();
    for Case { what, first, drip, answers, after } in cases() {
        let url = node.url.clone();
        running.push(tokio::spawn(async move {
            let mut wire = Wire::open(&url).await;
            wire.send(&first).await;
            wire.drip(&drip, Duration::from_millis(15)).await;
            let heard = wire.hear(SLACK * 3).await;
            let expected: Vec<_> = answers.iter().map(|(status, code)| (*status, (*code).to_owned())).collect();
            assert_eq!(heard.answers(), expected, "{what}: {}", heard.text);
            let least = Duration::from_millis(after - 20);
            // Who drips finds out when it has sent all of it, or the next byte is refused.
            let most = least.max(Duration::from_millis(15 * drip.len() as u64)) + SLACK;
            assert!((least..most).contains(&heard.lasted), "{what}: gone after {:?}", heard.lasted);
        }));
    }
    for one in running {
        one.await.unwrap();
    }
    assert_eq!(client.position().await, before, "nothing of it was written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preface_of_http_2_and_nothing_behind_it_does_not_keep_a_connection() {
    let idle = IDLE.to_string();
    let (_directory, node, _client) = writer(&[("--idle-ms", &idle)]).await;
    let mut wire = Wire::open(&node.url).await;
    wire.send(PREFACE).await;
    let heard = wire.hear(SLACK * 2).await;
    assert!(heard.lasted >= Duration::from_millis(IDLE - 20), "{:?}", heard.lasted);
    // A block of fields that is begun and never ended: HEADERS without END_HEADERS, then nothing.
    let head = "600";
    let (_directory, node, _client) = writer(&[("--head-ms", head)]).await;
    let mut wire = Wire::open(&node.url).await;
    wire.send(&[PREFACE, b"\0\0\0\x04\0\0\0\0\0", b"\0\0\x01\x01\0\0\0\0\x01\x82"].concat()).await;
    let heard = wire.hear(SLACK * 2).await;
    assert!(heard.lasted >= Duration::from_millis(580), "{:?}", heard.lasted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_take_its_answer_is_given_up_and_others_never_wait() {
    let write = WRITE.to_string();
    let (_directory, node, client) = writer(&[("--write-ms", &write)]).await;
    let value = format!("\"{}\"", "x".repeat(500_000));
    for number in 0..24 {
        client.set("c", &format!("k{number}"), &value).await;
    }
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut deaf = socket.connect(raw::authority(&node.url).parse().unwrap()).await.unwrap();
    let list = raw::request(&node.url, "GET", "/v1/collections/c/keys", &[], b"");
    tokio::io::AsyncWriteExt::write_all(&mut deaf, &list).await.unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(WRITE) + SLACK {
        assert_eq!(client.get("/livez").await.status, 200);
        sleep(Duration::from_millis(100)).await;
    }
    // What the kernels had taken is there, and then the end, long before the twelve megabytes.
    let mut bytes = Vec::new();
    deaf.read_to_end(&mut bytes).await.ok();
    assert!(bytes.len() < 11_000_000, "{} bytes came", bytes.len());
}

/// A client of HTTP/1.1 that asks for a list and takes so many bytes of it every 100 ms; how many came until the connection
/// ended, and how long that took.
async fn take_slowly(url: &str, buffer_bytes: u32, bytes_each: usize) -> (usize, Duration) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(buffer_bytes).expect("a size that it may have");
    let address = raw::authority(url).parse().expect("an address");
    let mut slow = socket.connect(address).await.expect("the node listens");
    let list = raw::request(url, "GET", "/v1/collections/c/keys", &[], b"");
    tokio::io::AsyncWriteExt::write_all(&mut slow, &list).await.expect("it is taken");
    let (begun, mut came, mut piece) = (Instant::now(), 0, vec![0; bytes_each]);
    loop {
        let mut filled = 0;
        while filled < piece.len() {
            match slow.read(&mut piece[filled..]).await {
                Ok(count) if count > 0 => filled += count,
                _ => return (came + filled, begun.elapsed()),
            }
        }
        came += filled;
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_taken_below_the_least_rate_is_given_up_and_one_above_it_is_not() {
    const PATIENCE: Duration = Duration::from_secs(2);
    let (_directory, node, client) = writer(&[("--write-ms", "2000"), ("--write-rate", "3000000")]).await;
    let (_other, lenient, filler) = writer(&[("--write-ms", "2000"), ("--write-rate", "20000")]).await;
    let value = format!("\"{}\"", "x".repeat(500_000));
    for number in 0..24 {
        client.set("c", &format!("k{number}"), &value).await;
    }
    for number in 0..2 {
        filler.set("c", &format!("k{number}"), &value).await;
    }
    // A seventh of the least rate, in bursts that come more often than the patience lasts.
    let (trickle, steady) =
        tokio::join!(take_slowly(&node.url, 128 << 10, 40_000), take_slowly(&lenient.url, 128 << 10, 28_000));
    let (came, took) = trickle;
    assert!(came < 11_000_000, "{came} bytes came");
    // What the system takes at once, it does not wait for; what it had taken then is still there to be read.
    assert!((PATIENCE..PATIENCE * 3 / 2 + SLACK).contains(&took), "gone after {took:?}");
    let (came, took) = steady;
    assert!(came > 1_000_000 && took > PATIENCE, "{came} bytes in {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_little_room_and_takes_its_answer_steadily_gets_all_of_it() {
    let (_directory, node, client) =
        writer(&[("--write-ms", "2000"), ("--write-rate", "8000"), ("--idle-ms", "2000")]).await;
    client.set("c", "k", &format!("\"{}\"", "x".repeat(200_000))).await;
    let (came, took) = take_slowly(&node.url, 4 << 10, 2_000).await;
    // The connection ends when it has been idle.
    assert!(came > 200_000 && took > Duration::from_secs(8), "{came} bytes in {took:?}");
}

#[tokio::test]
async fn a_stream_is_never_idle_and_a_slow_upload_that_moves_is_waited_for() {
    let (_directory, node, client) =
        writer(&[("--idle-ms", "300"), ("--body-ms", "300"), ("--body-rate", "100")]).await;
    let body = br#"{"node":"t","scope":"*"}"#;
    let mut stream = Wire::open(&node.url).await;
    stream.send(&raw::request(&node.url, "POST", "/v1/replicate", &[], body)).await;
    let mut wire = Wire::open(&node.url).await;
    let value = format!("{{\"value\":\"{}\"}}", "y".repeat(600));
    let head = format!(
        "PUT /v1/collections/c/keys/k HTTP/1.1\r\n{PAIR}connection: close\r\ncontent-length: {}\r\n\r\n",
        value.len()
    );
    wire.send(head.as_bytes()).await;
    // 600 bytes in about 1.8 s: slower than the patience alone would last, faster than the least rate.
    wire.drip(value.as_bytes(), Duration::from_millis(3)).await;
    let heard = wire.hear(SLACK * 2).await;
    assert_eq!(heard.answers(), [(200, "-".to_owned())], "{}", heard.text);
    // The stream was silent but for its PINGs, every 500 ms, and has the write.
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(r#""type":"SET""#) {
        let mut piece = [0; 4096];
        let count = tokio::time::timeout(SLACK, stream.socket.read(&mut piece)).await.expect("it goes on").unwrap();
        assert!(count > 0, "the stream ended: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&piece[..count]);
    }
    assert_eq!(client.entry("c", "k").await.status, 200);
}
