//! A log that is bounded: stored baselines, trimming, and what both mean for those who were away.

use headwater_tests::client::Client;
use headwater_tests::eventually::eventually;
use headwater_tests::lines::Lines;
use headwater_tests::node::NodeBuilder;
use headwater_tests::raw;
use headwater_tests::replication::{Replication, converge};
use headwater_tests::scene::build_writer;
use headwater_tests::state_of;
use headwater_tests::wire::place;
use reqwest::Method;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Short segments, a baseline after every few, and nothing kept that it covers.
const EAGER: [(&str, &str); 5] = [
    ("--segment-bytes", "8192"),
    ("--baseline-after-bytes", "16384"),
    ("--retain-bytes", "0"),
    ("--retain-age", "0s"),
    ("--retain-bytes-max", "0"),
];

fn eager(builder: NodeBuilder) -> NodeBuilder {
    EAGER.iter().fold(builder, |builder, (flag, value)| builder.option(flag, value))
}

/// Writes `count` values of about 100 bytes to ten keys, then deletes one of them.
async fn overwrite(client: &Client, count: usize) {
    for number in 0..count {
        let value = format!("\"{number}-{}\"", "x".repeat(90));
        assert_eq!(client.set("c", &format!("key-{}", number % 10), &value).await.status, 200);
    }
    assert_eq!(client.delete("c", "key-0").await.status, 200);
}

async fn storage(client: &Client) -> Value {
    client.status().await["storage"].clone()
}

/// Waits until the log is short, and returns what the node says it keeps.
async fn shortened(client: &Client) -> Value {
    eventually("the log is shortened", || async {
        let storage = storage(client).await;
        let is_short = storage["logBytes"].as_u64().is_some_and(|bytes| bytes < 60_000);
        if is_short && storage["baseline"].is_object() { Ok(storage) } else { Err(storage) }
    })
    .await
}

fn bytes_on_disk(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).expect("the directory is there");
    files.map(|file| file.and_then(|file| file.metadata()).map_or(0, |found| found.len())).sum()
}

#[tokio::test]
async fn a_writer_keeps_its_log_short_and_starts_again_with_exactly_what_it_had() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = eager(build_writer(directory.path())).start().await;
    let client = writer.client();
    client.create("c").await;
    client.create("dropped").await;
    overwrite(&client, 1_500).await;
    assert_eq!(client.call(Method::DELETE, "/v1/collections/dropped", "").await.status, 200);
    let storage = shortened(&client).await;
    assert_eq!(storage["failures"], json!(0), "{storage}");
    let disk = bytes_on_disk(&writer.data().join("state/log"));
    // Two segments in use, the room ahead of the newest, and the baseline.
    assert!(disk < 60_000 + (1 << 20) + 16_384, "{disk} bytes on disk");
    let status = client.status().await;
    assert!(status["collections"]["c"]["walSizeBytes"].as_u64().unwrap() < 60_000, "{status}");

    let before = (state_of(&client).await, client.entry("c", "key-3").await, status["collections"].clone());
    for end in ["killed", "stopped"] {
        if end == "killed" {
            writer.kill().await;
        } else {
            writer.stop().await;
        }
        writer.start_again().await;
        let (state, entry) = (state_of(&client).await.unwrap(), client.entry("c", "key-3").await);
        assert_eq!(state.collections, before.0.as_ref().unwrap().collections, "{end}");
        assert_eq!((entry.text(), entry.header("etag")), (before.1.text(), before.1.header("etag")), "{end}");
        let last_seq = |collections: &Value| collections["c"]["lastSeq"].clone();
        assert_eq!(last_seq(&client.status().await["collections"]), last_seq(&before.2), "the DELETE counts: {end}");
    }
    // The log goes on where it was: the next command names the DELETE as the one before it.
    let (epoch, seq) = place(&client.position().await);
    let body = json!({"node": "t", "cursor": {"epoch": epoch, "seq": seq, "scope": "**"}, "scope": "**"});
    let mut stream = Lines::open(&client, &body.to_string()).await.unwrap();
    assert_eq!(stream.command().await["resume"], json!("tail"));
    client.set("c", "key-0", "1").await;
    let set = stream.until("SET").await.pop().unwrap();
    assert_eq!((&set["prev"], &set["version"]), (&before.2["c"]["lastSeq"], &json!(1)));
}

#[tokio::test]
async fn who_was_away_for_too_long_gets_a_baseline_and_is_told_why() {
    let directory = tempfile::tempdir().unwrap();
    let writer = eager(build_writer(directory.path())).option("--feed-bytes", "4096").start().await;
    let client = writer.client();
    client.create("c").await;
    let mut near = NodeBuilder::replica("near", directory.path(), &writer.url).start().await;
    near.ready().await;
    converge(&client, &near.client()).await;
    near.stop().await;
    overwrite(&client, 1_000).await;
    shortened(&client).await;
    near.start_again().await;
    converge(&client, &near.client()).await;
    let by_reason = near.client().status().await["replication"]["baselinesByReason"].clone();
    assert_eq!(by_reason, json!({"new": 0, "scope_changed": 0, "not_on_history": 0, "trimmed": 1}));
}

#[tokio::test]
async fn a_replica_keeps_its_own_disk_short_and_restarts_ready_from_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = build_writer(directory.path()).start().await;
    let client = writer.client();
    client.create("c").await;
    let mut near = eager(NodeBuilder::replica("near", directory.path(), &writer.url)).start().await;
    near.ready().await;
    overwrite(&client, 1_500).await;
    let state = converge(&client, &near.client()).await;
    shortened(&near.client()).await;
    eventually("everything is stored", || async {
        let found = Replication::of(&near.client()).await;
        if found.stored == state.position { Ok(()) } else { Err(found) }
    })
    .await;
    writer.stop().await;
    for end in ["killed", "stopped"] {
        if end == "killed" {
            near.kill().await;
        } else {
            near.stop().await;
        }
        near.start_again().await;
        let found = state_of(&near.client()).await.unwrap();
        assert_eq!(found.difference(&state), None, "{end}");
    }
}

#[tokio::test]
async fn writes_that_are_synced_at_intervals_survive_the_kill_of_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = eager(build_writer(directory.path())).option("--sync", "interval:60000").start().await;
    let client = writer.client();
    client.create("c").await;
    for round in 0..5 {
        overwrite(&client, 200 + round).await;
        client.set("c", "key-0", &round.to_string()).await;
        let before = state_of(&client).await.unwrap();
        writer.kill().await;
        writer.start_again().await;
        assert_eq!(state_of(&client).await.unwrap().collections, before.collections, "round {round}");
    }
}

/// A child that takes so little that it falls behind for good, and never so little that it is given up.
struct Slow {
    hurry: oneshot::Sender<()>,
    read: JoinHandle<Vec<u8>>,
}

impl Slow {
    async fn follow(url: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4 << 10).expect("a small window");
        let mut child =
            socket.connect(raw::authority(url).parse().expect("an address")).await.expect("the node listens");
        let body = br#"{"node":"slow","scope":"**"}"#;
        child.write_all(&raw::request(url, "POST", "/v1/replicate", &[], body)).await.expect("it reads");
        let (hurry, mut hurried) = oneshot::channel();
        let read = tokio::spawn(async move {
            // The node waits for it until half of what the system holds is gone: longer than this test lasts.
            let (mut all, mut piece) = (Vec::new(), [0; 32]);
            while hurried.try_recv().is_err() {
                let count = child.read(&mut piece).await.expect("the child is kept");
                assert!(count > 0, "the child was given up");
                all.extend_from_slice(&piece[..count]);
                sleep(Duration::from_millis(20)).await;
            }
            timeout(Duration::from_secs(20), child.read_to_end(&mut all)).await.expect("its stream ends").ok();
            all
        });
        Self { hurry, read }
    }

    /// Reads on as fast as there is something, up to the end of the stream, and returns all of it.
    async fn hurry(self) -> String {
        self.hurry.send(()).expect("it reads");
        String::from_utf8(self.read.await.expect("it has read")).expect("lines are text")
    }
}

#[tokio::test]
async fn a_child_that_hardly_reads_keeps_the_log_as_long_as_the_hard_cap_and_no_longer() {
    const CAP: u64 = 2_000_000;
    let directory = tempfile::tempdir().unwrap();
    let builder = eager(build_writer(directory.path())).option("--feed-bytes", "4096").option("--ping-ms", "20000");
    let writer = builder.option("--retain-bytes-max", &CAP.to_string()).start().await;
    let client = writer.client();
    client.create("c").await;
    let slow = Slow::follow(&writer.url).await;
    let value = format!("\"{}\"", "x".repeat(20_000));
    let write = async |count: usize| {
        for number in 0..count {
            assert_eq!(client.set("c", &format!("key-{}", number % 5), &value).await.status, 200);
        }
    };
    let sent = async || client.status().await["children"][0]["sentSeq"].as_u64();
    // The kernels' buffers take some megabytes before it shows.
    let mut before = None;
    let mut rounds = 0;
    while before.is_none() || before != sent().await {
        before = sent().await;
        write(40).await;
        rounds += 1;
        assert!(rounds < 60, "the child keeps up");
    }
    write(50).await;
    let kept = eventually("all of it is in a baseline", || async {
        client.set("c", "small", "1").await;
        let storage = storage(&client).await;
        let is_covered = storage["baseline"]["seq"].as_u64() > before.map(|seq| seq + 50);
        if is_covered { Ok(storage) } else { Err(storage) }
    })
    .await;
    assert!(kept["logBytes"].as_u64().unwrap() > 50 * 20_000, "what the child has yet to read is kept: {kept}");

    write(300).await;
    let kept = eventually("the log is as short as the cap", || async {
        let storage = storage(&client).await;
        if storage["logBytes"].as_u64() <= Some(CAP) { Ok(storage) } else { Err(storage) }
    })
    .await;
    assert!(kept["logBytes"].as_u64().unwrap() > CAP / 2, "no shorter than need be: {kept}");
    let disk = bytes_on_disk(&writer.data().join("state/log"));
    assert!(disk < CAP + (1 << 20) + 400_000, "{disk} bytes on disk");
    assert_eq!(client.status().await["children"][0]["node"], json!("slow"), "it is still there");

    // What it missed is gone: it is told so when it comes to the place.
    let seen = slow.hurry().await;
    let end = seen.lines().rfind(|line| line.starts_with(r#"{"type":"END""#)).expect("an orderly end");
    assert_eq!(serde_json::from_str::<Value>(end).unwrap()["reason"], json!("retry"), "{end}");
}
