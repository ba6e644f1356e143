//! `X-Glue-Authentication`: who asks, as a proxy says that is listed and knows the secret; from everybody else it is
//! nothing.

use super::{NARROW, assert_refused, made};
use headwater_core::api::Code;
use headwater_tests::{Client, Lines, NodeBuilder, Reply, raw};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const IDENTITY: (&str, &str) = ("x-glue-authentication", r#"{"apikey":"app","name":"A. Person"}"#);
const VOUCHED: [(&str, &str); 2] = [IDENTITY, ("x-glue-proxy-secret", SECRET)];

fn secret_file(directory: &Path) -> PathBuf {
    let path = directory.join("proxy-secret");
    fs::write(&path, format!("{SECRET}\n")).expect("the test's directory can be written");
    path
}

async fn ask(url: &str, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", raw::authority(url));
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    raw::send(url, format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await
}

#[tokio::test]
async fn a_trusted_proxy_says_which_key_asks() {
    let directory = tempfile::tempdir().unwrap();
    let secret_file = secret_file(directory.path());
    let trusting = |builder: NodeBuilder| {
        builder.option("--trusted-proxy", "127.0.0.1").option("--proxy-secret-file", secret_file.to_str().unwrap())
    };
    let writer = trusting(NodeBuilder::writer("writer", directory.path())).start().await;
    let replica = trusting(NodeBuilder::replica("replica", directory.path(), &writer.url)).start().await;
    let admin = writer.client();
    for collection in ["flags", "prices", "made"] {
        admin.create(collection).await;
        assert_eq!(admin.set(collection, "a", "1").await.status, 200);
    }
    made(&admin, &format!(r#"{{"id":"app","roles":["admin"],"grants":{NARROW}}}"#)).await;
    made(&admin, r#"{"id":"boss","roles":["admin"]}"#).await;
    replica.ready().await;
    let status = async |url: &str, headers: &[(&str, &str)], collection: &str| {
        ask(url, "GET", &Client::entry_path(collection, "a"), headers, "").await.status
    };
    headwater_tests::eventually("the replica has the keys", || async {
        let found = status(&replica.url, &VOUCHED, "flags").await;
        if found == 200 { Ok(()) } else { Err(found) }
    })
    .await;
    for url in [&writer.url, &replica.url] {
        // What the key may do with entries, and nothing of its other roles.
        assert_eq!([status(url, &VOUCHED, "flags").await, status(url, &VOUCHED, "prices").await], [200, 403]);
        for target in ["/v1/keys", "/v1/status", "/v1/collections/_keys/keys"] {
            assert_refused(&ask(url, "GET", target, &VOUCHED, "").await, Code::Forbidden);
        }
        assert_refused(&ask(url, "DELETE", "/v1/collections/made", &VOUCHED, "").await, Code::Forbidden);
        let identified = |identity| [("x-glue-authentication", identity), VOUCHED[1]];
        for identity in [
            "",
            "app",
            "{}",
            "[]",
            r#"{"apikey":1}"#,
            r#"{"apikey":""}"#,
            r#"{"apikey":"never"}"#,
            r#"{"apikey":"boss"}"#,
        ] {
            assert_eq!(status(url, &identified(identity), "flags").await, 403, "{identity}");
        }
        for headers in [
            &[IDENTITY][..],
            &[VOUCHED[1]],
            &[IDENTITY, ("x-glue-proxy-secret", "")],
            &[IDENTITY, ("x-glue-proxy-secret", &SECRET[1..])],
            &[IDENTITY, VOUCHED[1], VOUCHED[1]],
            &[IDENTITY, IDENTITY, VOUCHED[1]],
            // Two ways of saying who one is.
            &[IDENTITY, VOUCHED[1], ("apikey", "dev"), ("secret", "dev")],
            &[IDENTITY, VOUCHED[1], ("authorization", "Bearer x")],
        ] {
            assert_eq!(status(url, headers, "flags").await, 403, "{headers:?}");
        }
        // Stripped, it is no harm beside a pair.
        assert_eq!(status(url, &[IDENTITY, ("apikey", "dev"), ("secret", "dev")], "prices").await, 200);
    }
    let written = ask(&writer.url, "PUT", &Client::entry_path("made", "a"), &VOUCHED, r#"{"value":2}"#).await;
    assert_eq!(written.status, 200, "{}", written.text());
    // The replica's word is not the proxy's: it hands nothing on that it cannot show.
    let forwarded = ask(&replica.url, "PUT", &Client::entry_path("made", "a"), &VOUCHED, r#"{"value":3}"#).await;
    assert_refused(&forwarded, Code::Forbidden);

    let nobody = Client::with_pair(&writer.url, None);
    let request = nobody.request(reqwest::Method::POST, "/v1/replicate");
    let request = VOUCHED.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(admin.call(reqwest::Method::DELETE, "/v1/keys/app", "").await.status, 200);
    let mut text = String::new();
    while let Some(bytes) = response.chunk().await.unwrap() {
        text += std::str::from_utf8(&bytes).unwrap();
    }
    assert!(text.contains(r#""reason":"revoked""#), "{text}");
    assert_eq!(status(&writer.url, &VOUCHED, "flags").await, 403);
    assert!(![writer.log(), replica.log()].iter().any(|log| log.contains(SECRET)));
}

#[tokio::test]
async fn from_everybody_else_it_is_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = secret_file(directory.path());
    let off = NodeBuilder::writer("off", directory.path()).start().await;
    let builder = NodeBuilder::writer("elsewhere", directory.path()).option("--trusted-proxy", "10.0.0.7,127.0.0.2");
    let elsewhere = builder.option("--proxy-secret-file", file.to_str().unwrap()).start().await;
    for node in [&off, &elsewhere] {
        let admin = node.client();
        admin.create("flags").await;
        assert_eq!(admin.set("flags", "a", "1").await.status, 200);
        made(&admin, r#"{"id":"app","roles":["read"]}"#).await;
        let path = Client::entry_path("flags", "a");
        assert_refused(&ask(&node.url, "GET", &path, &VOUCHED, "").await, Code::Forbidden);
        let more = [VOUCHED[0], VOUCHED[1], ("x-forwarded-for", "127.0.0.2"), ("forwarded", "for=127.0.0.2")];
        assert_refused(&ask(&node.url, "GET", &path, &more, "").await, Code::Forbidden);
        let refused = Lines::open(&Client::with_pair(&node.url, None), "").await.unwrap_err();
        assert_refused(&refused, Code::Forbidden);
    }
    // The same request from the address that is listed.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let address: SocketAddr = raw::authority(&elsewhere.url).parse().unwrap();
    let mut connection = socket.connect(address).await.unwrap();
    let mut head =
        format!("GET {} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n", Client::entry_path("flags", "a"));
    for (name, value) in VOUCHED {
        head += &format!("{name}: {value}\r\n");
    }
    connection.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
