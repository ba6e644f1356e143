//! Clients that take their time: with a request, with an answer, or with nothing at all.

use super::*;
use crate::front::writer;
use headwater_local::program::Stopped;
use headwater_tests::eventually;
use headwater_tests::prometheus::Numbers;

const HEAD: u64 = 900;
const IDLE: u64 = 1_300;
const BODY: u64 = 800;
const WRITE: u64 = 1_000;

const PAUSE: Duration = Duration::from_millis(30);

const TIMES: [(&str, &str); 4] =
    [("--head-ms", "900"), ("--idle-ms", "1300"), ("--body-ms", "800"), ("--write-ms", "1000")];

/// What is not a request, however often it is sent, and does not keep a connection.
fn pastimes() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("nothing", vec![]),
        ("PING", frame(PING, 0, 0, b"12345678")),
        ("hundreds of PINGs at once", frame(PING, 0, 0, b"12345678").repeat(300)),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[0, INITIAL_WINDOW_SIZE, 0, 0, 255, 255])),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9])),
        ("a frame of a kind that nobody knows", frame(0x7f, 0, 0, b"padding")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_nothing_is_told_and_gone_in_time_however_busy() {
    let (_directory, node, client) = writer(&TIMES).await;
    client.set("c", "k", "1").await;
    let least = Duration::from_millis(IDLE - 20);
    let ended = |what: &str, ended: &Ended, since: Duration| {
        assert_eq!(ended.goaway, Some(NO_ERROR), "{what}");
        let lasted = ended.lasted - since;
        assert!((least..least + FAREWELL + SLACK).contains(&lasted), "{what}: gone after {lasted:?}");
    };
    beside_others(&client, async {
        let mut running = Vec::new();
        for (what, busy) in pastimes() {
            let url = node.url.clone();
            running.push(tokio::spawn(async move {
                let never = Http2::open(&url, &[]).await.hear(&busy, PAUSE).await;
                // Who has asked once has as long from the answer on.
                let mut once = Http2::open(&url, &[]).await;
                sleep(Duration::from_millis(IDLE / 2)).await;
                once.send(&get(1, "/livez")).await;
                assert_eq!(once.received.answer(1).await.0, 200, "{what}");
                let answered = once.received.opened.elapsed();
                (what, never, once.hear(&busy, PAUSE).await, answered)
            }));
        }
        for one in running {
            let (what, never, once, answered) = one.await.unwrap();
            ended(what, &never, Duration::ZERO);
            // The answer was ready a little before it was here.
            ended(what, &once, answered - Duration::from_millis(20));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_begun_and_not_whole_is_waited_for_no_longer_than_a_head() {
    let (_directory, node, client) = writer(&TIMES).await;
    client.set("c", "k", "1").await;
    let head = get(1, "/livez");
    // PINGs may not come between HEADERS and CONTINUATION; within a frame whatever comes is its content.
    let cases = [
        ("half the head of a frame", head[..5].to_vec(), vec![]),
        ("half a HEADERS frame", head[..20].to_vec(), vec![]),
        ("a HEADERS frame that drips", frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0; 8_000])[..9].to_vec(), vec![0]),
        ("fields without an end", frame(HEADERS, END_STREAM, 1, &head[9..]), vec![]),
        ("half a PING", frame(PING, 0, 0, b"12345678")[..12].to_vec(), vec![]),
    ];
    beside_others(&client, async {
        let mut running = Vec::new();
        for (what, begun, drip) in cases {
            let url = node.url.clone();
            running.push(tokio::spawn(async move {
                let mut wire = Http2::open(&url, &[]).await;
                wire.send(&begun).await;
                (what, wire.hear(&drip, PAUSE).await)
            }));
        }
        for one in running {
            let (what, ended) = one.await.unwrap();
            assert_eq!((ended.goaway, ended.frames.len()), (Some(NO_ERROR), 0), "{what}");
            let least = Duration::from_millis(HEAD - 20);
            assert!((least..least + FAREWELL + SLACK).contains(&ended.lasted), "{what}: gone after {:?}", ended.lasted);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_or_drips_is_told_so_and_the_connection_goes_on() {
    let (_directory, node, client) = writer(&TIMES).await;
    client.set("c", "k", "1").await;
    let before = client.position().await;
    let put = request(1, false, &block("PUT", "/v1/collections/c/keys/slow", &[]));
    for (what, drip) in [("never comes", vec![]), ("drips", frame(DATA, 0, 1, b" "))] {
        let mut wire = Http2::open(&node.url, &[]).await;
        wire.send(&put).await;
        let begun = Instant::now();
        beside_others(&client, async {
            let (mut received, mut writer) = (wire.received, wire.writer);
            let dripping = async {
                while !drip.is_empty() {
                    writer.write_all(&drip).await.expect("the connection is there");
                    sleep(PAUSE).await;
                }
                std::future::pending::<()>().await;
            };
            let (status, body) = tokio::select! {
                answer = received.answer(1) => answer,
                () = dripping => unreachable!("it drips for ever"),
            };
            assert_eq!(status, 408, "{what}: {body}");
            assert!(body.contains("request_timeout"), "{what}: {body}");
            let took = begun.elapsed();
            let least = Duration::from_millis(BODY - 20);
            assert!((least..least + SLACK).contains(&took), "{what}: told after {took:?}");
            // It need not send the rest (RFC 9113, section 8.1), and may ask for something else.
            let reset = received.next_of(&[RST_STREAM]).await;
            assert_eq!((reset.stream, reset.code()), (1, NO_ERROR), "{what}");
            writer.write_all(&get(3, "/livez")).await.unwrap();
            assert_eq!(received.answer(3).await.0, 200, "{what}");
        })
        .await;
    }
    assert_eq!(client.position().await, before, "nothing of it was written");
}

/// Answers of every kind, of which the client takes this many bytes and then no more.
fn untaken() -> Vec<(&'static str, u32, Vec<u8>)> {
    let list = "/v1/collections/c/keys";
    vec![
        ("an entry, nothing", 0, get(1, "/v1/collections/c/keys/large-0")),
        ("an entry, some", 300, get(1, "/v1/collections/c/keys/large-0")),
        ("a list, nothing", 0, get(1, list)),
        ("a list, some", 100_000, get(1, list)),
        ("an error", 0, get(1, "/v1/collections/c/keys/none")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_not_taken_is_given_up_and_others_on_the_connection_are_not() {
    let (_directory, node, client) = writer(&TIMES).await;
    client.set("c", "k", "1").await;
    let value = format!("\"{}\"", "x".repeat(500_000));
    for number in 0..12 {
        client.set("c", &format!("large-{number}"), &value).await;
    }
    beside_others(&client, async {
        for (what, taken, asked) in untaken() {
            let mut wire = Http2::open(&node.url, &[(INITIAL_WINDOW_SIZE, taken)]).await;
            wire.send(&asked).await;
            let begun = Instant::now();
            // A PING now and then: it is no dead connection.
            let (mut received, mut writer) = (wire.received, wire.writer);
            let pinging = async {
                loop {
                    writer.write_all(&frame(PING, 0, 0, b"12345678")).await.expect("the connection is there");
                    sleep(PAUSE).await;
                }
            };
            let reset = tokio::select! {
                reset = received.next_of(&[RST_STREAM]) => reset,
                () = pinging => unreachable!("it goes on for ever"),
            };
            assert_eq!((reset.stream, reset.code()), (1, CANCEL), "{what}");
            let took = begun.elapsed();
            let least = Duration::from_millis(WRITE - 20);
            assert!((least..least + SLACK).contains(&took), "{what}: given up after {took:?}");
            // One who takes its answer gets it all, on the same connection.
            writer.write_all(&get(3, "/v1/collections/c/keys/large-1")).await.unwrap();
            writer.write_all(&frame(WINDOW_UPDATE, 0, 3, &[0, 0x10, 0, 0])).await.unwrap();
            writer.write_all(&frame(WINDOW_UPDATE, 0, 0, &[0, 0x10, 0, 0])).await.unwrap();
            let mut came = 0;
            loop {
                let data = received.next_of(&[DATA]).await;
                assert_eq!(data.stream, 3, "{what}");
                came += data.content.len();
                if data.flags & END_STREAM != 0 {
                    break;
                }
            }
            assert!(came > 500_000, "{what}: {came} bytes came");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_takes_nothing_of_its_stream_is_cut_off_after_three_pings() {
    let (_directory, node, client) = writer(&[]).await;
    client.set("c", "k", "1").await;
    let mut wire = Http2::open(&node.url, &[(INITIAL_WINDOW_SIZE, 200)]).await;
    let begun = Instant::now();
    wire.send(&request(1, true, &block("POST", "/v1/replicate", &[]))).await;
    beside_others(&client, async {
        assert_eq!(status(&wire.received.next_of(&[HEADERS]).await.content), 200);
        let reset = wire.received.next_of(&[RST_STREAM]).await;
        assert_eq!((reset.stream, reset.code()), (1, CANCEL));
    })
    .await;
    // The node's PINGs are 500 ms apart at most.
    let least = Duration::from_millis(1_480);
    assert!((least..least + SLACK).contains(&begun.elapsed()), "cut off after {:?}", begun.elapsed());
    eventually("it is no child any more", || async {
        let status = client.status().await;
        if status["children"].as_array().is_some_and(Vec::is_empty) { Ok(()) } else { Err(status) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_trickles_is_given_up_and_a_stream_of_lines_beside_it_is_not() {
    const PATIENCE: Duration = Duration::from_secs(2);
    const EACH: u32 = 14_000;
    let (_directory, node, client) = writer(&[("--write-ms", "2000"), ("--write-rate", "1000000")]).await;
    client.set("c", "k", "1").await;
    client.set("c", "large", &format!("\"{}\"", "x".repeat(900_000))).await;
    let mut wire = Http2::open(&node.url, &[(INITIAL_WINDOW_SIZE, EACH)]).await;
    // Lines that no window holds up: of `c`, and so next to nothing but PINGs.
    let follow = br#"{"scope":{"c":["k"]}}"#;
    let lines = request(1, false, &block("POST", "/v1/replicate", &[]));
    wire.send(&[&lines[..], &frame(DATA, END_STREAM, 1, follow)].concat()).await;
    wire.send(&get(3, "/v1/collections/c/keys/large")).await;
    let begun = Instant::now();
    let (mut received, mut writer) = (wire.received, wire.writer);
    let mut came = 0;
    beside_others(&client, async {
        let taking = async {
            loop {
                sleep(Duration::from_millis(100)).await;
                for stream in [0, 1, 3] {
                    let grant = frame(WINDOW_UPDATE, 0, stream, &EACH.to_be_bytes());
                    writer.write_all(&grant).await.expect("the connection is there");
                }
            }
        };
        let reset = async {
            loop {
                let next = received.next_of(&[DATA, RST_STREAM]).await;
                if next.kind == RST_STREAM {
                    return next;
                }
                came += if next.stream == 3 { next.content.len() } else { 0 };
            }
        };
        let reset = tokio::select! {
            reset = reset => reset,
            () = taking => unreachable!("it goes on for ever"),
        };
        assert_eq!((reset.stream, reset.code()), (3, CANCEL));
    })
    .await;
    let took = begun.elapsed();
    assert!((PATIENCE..PATIENCE * 3 / 2 + SLACK).contains(&took), "given up after {took:?}");
    assert!((100_000..900_000).contains(&came), "{came} bytes came");
    assert_eq!(client.set("c", "k", "2").await.status, 200);
    loop {
        let data = received.next_of(&[DATA]).await;
        if data.stream == 1 && String::from_utf8_lossy(&data.content).contains(r#""value":2"#) {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_nobody_reads_is_not_kept_while_its_request_waits() {
    const WINDOW: usize = 256 << 10;
    let (_directory, node, client) = writer(&[]).await;
    let at = client.position().await;
    let (epoch, seq) = at.split_once('.').unwrap();
    let later = format!("{epoch}.{}", seq.parse::<u64>().unwrap() + 1);
    let mut wire = Http2::open(&node.url, &[]).await;
    let waits = [("headwater-min-position", &*later), ("headwater-wait-ms", "30000")];
    let streams: Vec<u32> = (0..4).map(|number| number * 2 + 1).collect();
    for stream in &streams {
        wire.send(&request(*stream, false, &block("GET", "/v1/collections/c/keys/k", &waits))).await;
    }
    eventually("they all wait", || async {
        let waiting = Numbers::read(client.get("/metrics").await.text()).number("headwater_reads_waiting", &[]);
        if waiting == Some(4.0) { Ok(()) } else { Err(waiting) }
    })
    .await;
    // The first is of the connection itself, before anything was sent on it.
    assert_eq!(wire.received.next_of(&[WINDOW_UPDATE]).await.stream, 0);
    // Four such bodies are all that the connection takes while nobody reads any of them.
    for stream in streams {
        wire.send(&frame(DATA, 0, stream, &[b' '; FRAME_BYTES_MAX]).repeat(WINDOW / FRAME_BYTES_MAX)).await;
    }
    let mut given_back = 0;
    while given_back < WINDOW {
        let update = wire.received.next_of(&[WINDOW_UPDATE, HEADERS]).await;
        assert_eq!((update.kind, update.stream), (WINDOW_UPDATE, 0), "nobody is answered yet");
        given_back += u32::from_be_bytes(update.content.try_into().unwrap()) as usize;
    }
    client.set("c", "k", "1").await;
    assert_eq!(status(&wire.received.next_of(&[HEADERS]).await.content), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_any_more_does_not_hold_a_node_that_ends() {
    let (_directory, mut node, client) = writer(&[("--shutdown-ms", "20000")]).await;
    client.set("c", "k", &format!("\"{}\"", "x".repeat(40_000))).await;
    let mute = Http2::open(&node.url, &[]).await;
    let mut once = Http2::open(&node.url, &[]).await;
    once.send(&get(1, "/livez")).await;
    assert_eq!(once.received.answer(1).await.0, 200);
    // One that takes its answer meanwhile gets all of it, though it answers no PING either.
    let mut busy = Http2::open(&node.url, &[(INITIAL_WINDOW_SIZE, 30_000)]).await;
    busy.send(&get(1, "/v1/collections/c/keys/k")).await;
    let mut came = 0;
    while came < 30_000 {
        came += busy.received.next_of(&[DATA]).await.content.len();
    }
    let asked = Instant::now();
    let taking = async {
        sleep(FAREWELL * 2).await;
        busy.send(&frame(WINDOW_UPDATE, 0, 1, &30_000_u32.to_be_bytes())).await;
        let mut last = 0;
        while last & END_STREAM == 0 {
            let next = busy.received.next().await.expect("all of it comes");
            if next.kind == DATA {
                (came, last) = (came + next.content.len(), next.flags);
            }
        }
        came
    };
    let (stopped, came) = tokio::join!(node.stop(), taking);
    let took = asked.elapsed();
    assert!(matches!(stopped, Some(Stopped::Ended(status)) if status.success()), "{stopped:?}");
    assert!(came > 40_000, "{came} bytes came");
    assert!((FAREWELL * 2..FAREWELL * 4 + SLACK).contains(&took), "it took {took:?}");
    drop((mute, once));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_streams_hold_of_small_answers_is_counted() {
    const STREAMS: u32 = 50;
    let (_directory, node, client) = writer(&[("--write-ms", "60000")]).await;
    client.set("c", "k", &format!("\"{}\"", "x".repeat(1_000))).await;
    let mut wire = Http2::open(&node.url, &[(INITIAL_WINDOW_SIZE, 0)]).await;
    for number in 0..STREAMS {
        wire.send(&get(2 * number + 1, "/v1/collections/c/keys/k")).await;
        assert_eq!(status(&wire.received.next_of(&[HEADERS]).await.content), 200);
    }
    let held = async || Numbers::read(client.get("/metrics").await.text()).number("headwater_answers_bytes", &[]);
    // Beside its thousand bytes each takes what a stream does.
    let all = f64::from(STREAMS) * (1_000.0 + 2_048.0);
    assert!(held().await.is_some_and(|held| (all..all * 1.1).contains(&held)), "{:?} of {all}", held().await);
    drop(wire);
    eventually("nothing is held", || async {
        let held = held().await;
        if held == Some(0.0) { Ok(()) } else { Err(held) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_is_there_before_its_small_body_ends_no_stream_by_a_reset() {
    let (_directory, node, _) = writer(&[]).await;
    let mut wire = Http2::open(&node.url, &[]).await;
    let wrong = [("apikey", "nobody"), ("secret", "wrong")];
    for (stream, path, pair, refused) in [
        (1, "/v1/nothing", &PAIR, 404),
        (3, "/v1/collections", &wrong, 403),
        (5, "/v1/collections/none/batch", &PAIR, 404),
    ] {
        let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", path)];
        let block: Vec<u8> = fields.iter().chain(pair).flat_map(|(name, value)| field(0, name, value)).collect();
        wire.send(&request(stream, false, &block)).await;
        // A round trip, so that the head is read by itself.
        wire.send(&frame(PING, 0, 0, b"12345678")).await;
        wire.received.next_of(&[PING]).await;
        wire.send(&frame(DATA, END_STREAM, stream, b"{\"ops\":[]}")).await;
        let head = wire.received.next_of(&[HEADERS, RST_STREAM]).await;
        assert_eq!((head.kind, head.stream), (HEADERS, stream), "{path}");
        assert_eq!(status(&head.content), refused, "{path}");
        wire.send(&frame(PING, 0, 0, b"12345678")).await;
        let behind = wire.received.next_of(&[PING, RST_STREAM]).await;
        assert_eq!(behind.kind, PING, "{path}: reset with {}", behind.code());
    }
}
