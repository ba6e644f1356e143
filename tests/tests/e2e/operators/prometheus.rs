//! `GET /metrics`: that it can be read, that it counts what happens, and that rules and dashboard use what is there.

use headwater_local::certificates::Authority;
use headwater_tests::prometheus::Numbers;
use headwater_tests::{Client, Lines, Node, NodeBuilder, eventually, raw};
use reqwest::Method;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn numbers(client: &Client) -> Numbers {
    let reply = client.get("/metrics").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(reply.header("headwater-position").is_some());
    Numbers::read(reply.text())
}

/// A writer that archives and makes backups, and a replica of it.
async fn pair(directory: &Path) -> (Node, Node) {
    let path = |name: &str| directory.join(name).to_str().expect("a plain path").to_owned();
    let writer = NodeBuilder::writer("writer", directory).option("--archive", &path("archive"));
    let writer = writer.option("--backup-to", &path("backups")).option("--backup-schedule", "0 0 1 1 *");
    let writer = writer.start().await;
    let near = NodeBuilder::replica("near \"1\"\\", directory, &writer.url).start().await;
    near.ready().await;
    (writer, near)
}

#[tokio::test]
async fn what_happens_is_counted_under_the_names_of_the_json_and_in_base_units() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, near) = pair(directory.path()).await;
    let client = writer.client();
    client.create("c").await;
    for number in 0..5 {
        assert_eq!(client.set("c", &format!("k{number}"), "1").await.status, 200);
    }
    assert_eq!(client.entry("c", "missing").await.status, 404);
    assert_eq!(client.set("c", "k", "1e400").await.status, 400);
    let seq = client.status().await["replication"]["seq"].as_f64().expect("a number");
    eventually("the replica is there", || async {
        let found = numbers(&near.client()).await.number("headwater_position_seq", &[]);
        if found == Some(seq) { Ok(()) } else { Err(found) }
    })
    .await;

    let of_writer = numbers(&client).await;
    let json = client.get("/v1/metrics").await.json();
    for (name, value) in json.as_object().expect("an object") {
        let base = name.strip_suffix("_ms").map_or_else(|| name.clone(), |name| format!("{name}_seconds"));
        let found = of_writer.families.contains_key(&format!("headwater_{base}"));
        assert!(found || value.is_null() || name.starts_with("replication_baselines_"), "{name} is missing");
    }
    assert!(of_writer.number("headwater_writes_total", &[]) >= Some(6.0));
    let refused = |code, status| of_writer.number("headwater_refusals_total", &[("code", code), ("status", status)]);
    assert_eq!((refused("not_found", "404"), refused("invalid_json", "400")), (Some(1.0), Some(1.0)));
    assert_eq!(refused("overloaded", "503"), Some(0.0));
    for name in ["headwater_commit_duration_seconds_count", "headwater_sync_duration_seconds_count"] {
        assert!(of_writer.number(name, &[]) >= Some(6.0), "{name}: {:?}", of_writer.number(name, &[]));
    }
    assert!(of_writer.number("headwater_commit_duration_seconds_sum", &[]) > Some(0.0));
    assert_eq!(of_writer.number("headwater_replication_baselines_sent_total", &[]), Some(1.0));
    let of_child = |name| of_writer.number(name, &[("child", "near \"1\"\\")]);
    assert_eq!((of_child("headwater_child_streams"), of_child("headwater_child_lag_records")), (Some(1.0), Some(0.0)));
    let sent = of_child("headwater_child_sent_bytes").expect("the child is shown");
    assert!(sent > 500.0 && of_writer.number("headwater_replication_bytes_sent_total", &[]) >= Some(sent));

    // This client's own, the replica's stream, and those of it that are kept open for more.
    let open = of_writer.number("headwater_connections_open", &[]).expect("it is counted");
    assert!((2.0..20.0).contains(&open), "{open}");

    let of_near = numbers(&near.client()).await;
    let info = of_near.all("headwater_info").next().expect("what runs").0.to_vec();
    assert_eq!(info[1..], [("role", "replica"), ("node", "near \"1\"\\")].map(|(l, v)| (l.to_owned(), v.to_owned())));
    assert_eq!(of_near.number("headwater_replication_baselines_total", &[("reason", "new")]), Some(1.0));
    let lag_s = of_near.number("headwater_lag_seconds", &[]).expect("it follows");
    assert!((0.0..30.0).contains(&lag_s), "{lag_s}");
    for name in ["process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"] {
        assert!(of_near.number(name, &[]) > Some(1.0), "{name}");
    }
}

#[tokio::test]
async fn a_connection_that_has_ended_is_open_no_longer() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let client = writer.client();
    let open = async || numbers(&client).await.number("headwater_connections_open", &[]).expect("it is counted");
    let address = writer.url.trim_start_matches("http://").to_owned();
    let mut silent = Vec::new();
    for _ in 0..7 {
        silent.push(TcpStream::connect(&address).await.expect("it listens"));
    }
    eventually("they are counted", async || if open().await >= 8.0 { Ok(()) } else { Err(open().await) }).await;
    drop(silent);
    eventually("they are gone", async || if open().await <= 2.0 { Ok(()) } else { Err(open().await) }).await;
}

#[tokio::test]
async fn many_children_are_few_series() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).option("--baselines-max", "100").start().await;
    let client = writer.client();
    let mut streams = Vec::new();
    for number in 0..60 {
        let body = format!("{{\"node\":\"child-{number}\"}}");
        streams.push(Lines::open(&client, &body).await.expect("a stream"));
    }
    let numbers = numbers(&client).await;
    assert_eq!(numbers.all("headwater_child_streams").count(), 51);
    let streams_told: f64 = numbers.all("headwater_child_streams").map(|(_, count)| count).sum();
    assert_eq!((streams_told, numbers.number("headwater_children_connected", &[])), (60.0, Some(60.0)));
}

#[tokio::test]
async fn the_pair_comes_in_headers_or_as_basic_authorization_and_here_alone() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let nobody = Client::with_pair(&writer.url, None);
    let basic = |path: &str, value: &'static str| {
        let request = nobody.request(Method::GET, path).header("authorization", value);
        let nobody = nobody.clone();
        async move { nobody.send(request).await.expect("an answer").status }
    };
    assert_eq!(nobody.get("/metrics").await.status, 403);
    assert_eq!(basic("/metrics", "Basic ZGV2OmRldg==").await, 200);
    for wrong in ["Basic ZGV2Ondyb25n", "Basic ZGV2", "Basic", "Bearer ZGV2OmRldg==", "Basic %%%"] {
        assert_eq!(basic("/metrics", wrong).await, 403, "{wrong}");
    }
    for path in ["/v1/metrics", "/v1/status", "/v1/collections"] {
        assert_eq!(basic(path, "Basic ZGV2OmRldg==").await, 403, "{path}");
    }
    assert_eq!(nobody.call(Method::POST, "/metrics", "").await.status, 405);
}

/// What a node answers that speaks TLS.
async fn numbers_over_tls(directory: &Path) -> Numbers {
    let authority = Authority::new(directory, "authority").expect("an authority can be made");
    let (certificate, key) = authority.issue("secured").expect("a certificate can be made");
    let path = |path: &Path| path.to_str().expect("a plain path").to_owned();
    let node = NodeBuilder::writer("secured", directory).option("--tls-cert", &path(&certificate));
    let node = node.option("--tls-key", &path(&key)).start().await;
    let socket = TcpStream::connect(raw::authority(&node.url)).await.expect("it listens");
    let client = authority.client("http/1.1").expect("its certificate is there");
    let mut socket = client.connect(socket).await.expect("TLS comes about");
    let request = raw::request(&node.url, "GET", "/metrics", &[], b"");
    socket.write_all(&request).await.expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("it answers");
    Numbers::read(answer.split_once("\r\n\r\n").expect("a head").1)
}

/// Names of numbers in a text.
fn names_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = |word: &&str| word.starts_with("headwater_") || word.starts_with("process_");
    words.filter(ours).map(str::to_owned).collect()
}

#[tokio::test]
async fn rules_and_dashboard_use_names_that_nodes_answer() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, near) = pair(directory.path()).await;
    let mut answered = BTreeSet::new();
    eventually("a backup is made", || async {
        let found = numbers(&writer.client()).await.number("headwater_backup_last_timestamp_seconds", &[]);
        found.map(|_| ()).ok_or("none yet")
    })
    .await;
    for node in [&writer, &near] {
        answered.extend(numbers(&node.client()).await.names().into_iter().map(str::to_owned));
    }
    let over_tls = numbers_over_tls(directory.path()).await;
    // The year 4096: the test's certificates do not end in our time.
    assert_eq!(over_tls.number("headwater_tls_not_after_timestamp_seconds", &[]), Some(67_090_118_400.0));
    answered.extend(over_tls.names().into_iter().map(str::to_owned));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let rules = fs::read_to_string(root.join("deploy/prometheus/headwater.rules.yml")).unwrap();
    let dashboard = fs::read_to_string(root.join("deploy/grafana/headwater.json")).unwrap();
    let parsed: Value = serde_json::from_str(&dashboard).unwrap();
    assert!(parsed["panels"].as_array().is_some_and(|panels| panels.len() > 10));
    for (file, text) in [("rules", &rules), ("dashboard", &dashboard)] {
        let used = names_in(text);
        let unknown: Vec<_> = used.difference(&answered).collect();
        assert!(used.len() > 10 && unknown.is_empty(), "{file}: {unknown:?} is in no answer");
    }
}

#[test]
fn each_alert_has_its_section_which_says_what_to_do() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let rules = fs::read_to_string(root.join("deploy/prometheus/headwater.rules.yml")).unwrap();
    let page = fs::read_to_string(root.join("docs/alerts.md")).unwrap();
    let alerts: BTreeSet<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let sections: Vec<_> = page.split("\n## ").skip(1).filter_map(|section| section.split_once('\n')).collect();
    assert!(alerts.len() > 10);
    assert_eq!(sections.iter().map(|(name, _)| *name).collect::<BTreeSet<_>>(), alerts);
    for (name, text) in sections {
        assert!(text.trim().len() > 100, "{name} says too little");
    }
}
