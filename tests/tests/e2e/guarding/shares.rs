//! A greedy caller beside a modest one: whoever takes as much as there is gets a share of it, and the others have theirs.

use crate::api::{Writer, ahead, call, refused};
use headwater_core::api::Code;
use headwater_tests::prometheus::Numbers;
use headwater_tests::{Client, Lines, eventually, raw};
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// A key that reads and writes, under this id.
async fn caller(writer: &Writer, id: &str) -> Client {
    caller_with(writer, id, r#"["read","write"]"#).await
}

/// The same with these roles.
async fn caller_with(writer: &Writer, id: &str, roles: &str) -> Client {
    let body = format!(r#"{{"id":"{id}","roles":{roles}}}"#);
    let made = writer.client.call(Method::POST, "/v1/keys", body).await;
    assert_eq!(made.status, 200, "{}", made.text());
    Client::with_pair(writer.url(), Some((id, made.json()["secret"].as_str().expect("a secret"))))
}

/// Waits until a number of `/metrics` is this one.
async fn counts(writer: &Writer, name: &str, number: f64) {
    eventually(name, || async {
        let found = Numbers::read(writer.client.get("/metrics").await.text()).number(name, &[]);
        if found == Some(number) { Ok(()) } else { Err(found) }
    })
    .await;
}

/// Reads that wait until they are given up, as many as are asked for.
async fn wait(client: &Client, later: &str, count: usize) -> Vec<tokio::task::JoinHandle<()>> {
    let one = || {
        let (client, later) = (client.clone(), later.to_owned());
        tokio::spawn(async move {
            let headers = [("headwater-min-position", &*later), ("headwater-wait-ms", "30000")];
            let reply = call(&client, "GET", &Client::entry_path("flags", "a"), &headers, "").await;
            assert_eq!(reply.status, 200, "{}", reply.text());
        })
    };
    (0..count).map(|_| one()).collect()
}

#[tokio::test]
async fn who_waits_for_positions_leaves_others_room_to_wait() {
    let writer = Writer::start_with(&[("--waiters-max", "8")]).await;
    let (greedy, modest) = (caller(&writer, "greedy").await, caller(&writer, "modest").await);
    let later = ahead(writer.write("a", "1").await, 1);
    let mut waiting = wait(&greedy, &later, 2).await;
    counts(&writer, "headwater_reads_waiting", 2.0).await;
    let headers = [("headwater-min-position", &*later)];
    let refusal = call(&greedy, "GET", &Client::entry_path("flags", "a"), &headers, "").await;
    refused(&refusal, Code::Overloaded, &["waiting", "with this credential", "limit is 2", "--waiters-max"]);
    // Nodes have no share: their pair has all that is left.
    waiting.extend(wait(&writer.client, &later, 4).await);
    waiting.extend(wait(&modest, &later, 1).await);
    counts(&writer, "headwater_reads_waiting", 7.0).await;
    writer.write("a", "2").await;
    for reading in waiting {
        reading.await.expect("it is answered");
    }
    counts(&writer, "headwater_reads_waiting", 0.0).await;
    assert_eq!(call(&greedy, "GET", &Client::entry_path("flags", "a"), &headers, "").await.status, 200);
}

#[tokio::test]
async fn who_has_its_share_of_requests_under_way_is_told_and_others_are_answered() {
    let writer = Writer::start_with(&[("--requests-max", "20"), ("--share-per-credential", "10")]).await;
    let (greedy, modest) = (caller(&writer, "greedy").await, caller(&writer, "modest").await);
    let later = ahead(writer.write("a", "1").await, 1);
    let waiting = wait(&greedy, &later, 2).await;
    counts(&writer, "headwater_reads_waiting", 2.0).await;
    let words = ["requests being answered with this credential", "limit is 2", "--requests-max"];
    refused(&greedy.get("/v1/collections").await, Code::Overloaded, &words);
    assert_eq!(greedy.entry("flags", "a").await.status, 200, "what takes no time is not counted");
    assert_eq!(modest.get("/v1/collections").await.status, 200);
    writer.write("a", "2").await;
    for reading in waiting {
        reading.await.expect("it is answered");
    }
    assert_eq!(greedy.get("/v1/collections").await.status, 200);
}

/// A stream that somebody opens who shows no credentials, from this address; the status of the answer.
async fn nobodys_stream(writer: &Writer, from: &str) -> (TcpStream, String) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(from.parse().expect("an address")).expect("it is this machine's");
    let to = raw::authority(writer.url());
    let mut connection = socket.connect(to.parse().expect("an address")).await.expect("the node listens");
    let request = format!("POST /v1/replicate HTTP/1.1\r\nhost: {to}\r\ncontent-length: 0\r\n\r\n");
    connection.write_all(request.as_bytes()).await.expect("it is taken");
    let mut answer = [0; 4096];
    let count = connection.read(&mut answer).await.expect("an answer");
    (connection, String::from_utf8_lossy(&answer[9..count]).into_owned())
}

#[tokio::test]
async fn who_opens_streams_leaves_others_theirs_and_nodes_theirs_most_of_all() {
    let writer = Writer::start_with(&[("--children-max", "12")]).await;
    let (greedy, modest) = (caller(&writer, "greedy").await, caller(&writer, "modest").await);
    let made = writer.client.call(Method::POST, "/v1/keys", r#"{"id":"anonymous","roles":["read"]}"#).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let mut open = Vec::new();
    for client in [&greedy, &greedy, &greedy, &modest] {
        open.push(Lines::open(client, "").await.expect("a stream"));
    }
    let refusal = Lines::open(&greedy, "").await.expect_err("no fourth one");
    let words = ["streams with this credential", "limit is 3", "--children-per-credential-max"];
    refused(&refusal, Code::Overloaded, &words);
    let mut strangers = Vec::new();
    for _ in 0..3 {
        let (stream, answer) = nobodys_stream(&writer, "127.0.0.2:0").await;
        assert!(answer.starts_with("200"), "{answer}");
        strangers.push(stream);
    }
    let (_, answer) = nobodys_stream(&writer, "127.0.0.2:0").await;
    assert!(answer.starts_with("503") && answer.contains("without a pair from this address"), "{answer}");
    let (_stranger, answer) = nobodys_stream(&writer, "127.0.0.3:0").await;
    assert!(answer.starts_with("200"), "{answer}");
    for _ in 0..4 {
        open.push(Lines::open(&writer.client, "").await.expect("a node's stream"));
    }
    for stream in &mut open {
        stream.until("READY").await;
    }
    drop(open.remove(0));
    eventually("its place is free", || async { Lines::open(&greedy, "").await.map(drop) }).await;
}

/// Asks for an entry and reads nothing of the answer but its status.
async fn ask_and_leave(client: &Client, key: &str) -> (reqwest::Response, u16) {
    let response = client.request(Method::GET, &Client::entry_path("flags", key)).send().await.expect("an answer");
    let status = response.status().as_u16();
    (response, status)
}

#[tokio::test]
async fn who_asks_for_large_answers_and_does_not_take_them_holds_half_of_what_there_is_for_all() {
    // Two of them and what stands around them leave less than the answer to a batch takes.
    const VALUE_BYTES: usize = (8 << 20) - 1_000;
    let options = [("--answers-bytes-max", "32MiB"), ("--value-bytes-max", "8MiB"), ("--write-ms", "60000")];
    let writer = Writer::start_with(&options).await;
    let (greedy, modest) =
        (caller_with(&writer, "greedy", r#"["read","write","admin"]"#).await, caller(&writer, "modest").await);
    writer.write("small", "1").await;
    writer.write("large", &format!("\"{}\"", "v".repeat(VALUE_BYTES - 2))).await;
    let mut untaken = Vec::new();
    for _ in 0..2 {
        let (response, status) = ask_and_leave(&greedy, "large").await;
        assert_eq!(status, 200);
        untaken.push(response);
    }
    let words = ["bytes of answers", "with this credential", "16777216", "half of --answers-bytes-max"];
    refused(&greedy.entry("flags", "large").await, Code::Overloaded, &words);
    refused(&greedy.get("/v1/collections/flags/keys").await, Code::Overloaded, &words[..1]);
    assert_eq!(greedy.entry("flags", "small").await.status, 200, "small ones are not counted");
    let told = greedy.get("/metrics").await;
    assert_eq!((told.status, told.body.len() > 4_096), (200, true), "what is wrong can be seen: {}", told.text());
    let ops: Vec<_> = (0..400).map(|number| json!({"op": "set", "key": format!("k{number}"), "value": 1})).collect();
    let path = "/v1/collections/flags/batch";
    let reply = greedy.call(Method::POST, path, json!({"ops": ops}).to_string()).await;
    assert_eq!((reply.status, reply.body.len() > 5_000), (200, true), "what was done is told: {}", reply.text());
    let reply = modest.entry("flags", "large").await;
    assert!(reply.status == 200 && reply.body.len() > VALUE_BYTES, "another has its half");
    assert_eq!(modest.get("/v1/collections/flags/keys").await.status, 200);
    let taken = untaken.pop().expect("two of them").bytes().await.expect("it is all there");
    assert!(taken.len() > VALUE_BYTES);
    eventually("what was taken is held no more", || async {
        let (_, status) = ask_and_leave(&greedy, "large").await;
        if status == 200 { Ok(()) } else { Err(status) }
    })
    .await;
    drop(untaken);
    counts(&writer, "headwater_answers_bytes", 0.0).await;
}

#[tokio::test]
async fn who_opens_lists_and_does_not_read_them_leaves_others_theirs() {
    let writer = Writer::start_with(&[("--share-per-credential", "1"), ("--write-ms", "60000")]).await;
    let (greedy, modest) = (caller(&writer, "greedy").await, caller(&writer, "modest").await);
    // So much that no system takes it for a client.
    for number in 0..24 {
        writer.write(&format!("k{number}"), &format!("\"{}\"", "v".repeat(500_000))).await;
    }
    let open = async |client: &Client| client.request(Method::GET, LIST).send().await.expect("an answer");
    let lists = [open(&greedy).await, open(&greedy).await];
    assert!(lists.iter().all(|list| list.status() == 200));
    refused(&greedy.get(LIST).await, Code::Overloaded, &["lists", "with this credential", "limit is 2"]);
    assert_eq!(modest.get(LIST).await.status, 200);
    drop(lists);
    eventually("its place is free", || async {
        let status = greedy.get(LIST).await.status;
        if status == 200 { Ok(()) } else { Err(status) }
    })
    .await;
}

const LIST: &str = "/v1/collections/flags/keys";
