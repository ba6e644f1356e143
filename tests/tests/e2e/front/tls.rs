//! TLS: what is shown to clients, what is asked of them, and files that are replaced.

use super::{SLACK, Wire};
use bytes::Bytes;
use headwater_local::certificates::Authority;
use headwater_local::tools::Tools;
use headwater_tests::client::DEV;
use headwater_tests::{Node, NodeBuilder, eventually, raw};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

/// A connection to `url` by one who trusts `authority` alone and speaks one version of HTTP.
///
/// # Errors
/// When no TLS comes about.
async fn connect(authority: &Authority, url: &str, protocol: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let client = authority.client(protocol).expect("its certificate is there");
    client.connect(TcpStream::connect(raw::authority(url)).await?).await
}

/// The answer to GET `path`, by HTTP/1.1.
///
/// # Errors
/// When no TLS comes about, or it breaks off.
async fn whole(authority: &Authority, url: &str, path: &str) -> std::io::Result<String> {
    let mut socket = connect(authority, url, "http/1.1").await?;
    let (host, (apikey, secret)) = (raw::authority(url), DEV);
    let pair = format!("apikey: {apikey}\r\nsecret: {secret}\r\n");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{pair}connection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Its first line.
///
/// # Errors
/// As [`whole`].
async fn get(authority: &Authority, url: &str, path: &str) -> std::io::Result<String> {
    Ok(whole(authority, url, path).await?.lines().next().unwrap_or_default().to_owned())
}

/// A stream of everything, by HTTP/2.
async fn follow(authority: &Authority, url: &str) -> Following {
    let socket = connect(authority, url, "h2").await.expect("TLS comes about");
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await;
    let (mut requests, connection) = handshake.expect("HTTP/2 is spoken");
    tokio::spawn(connection);
    let request = Request::post(format!("{url}/v1/replicate")).header("apikey", "dev").header("secret", "dev");
    let request = request.body(Full::<Bytes>::default()).expect("every part is valid");
    let answer = requests.send_request(request).await.expect("it is answered");
    assert_eq!(answer.status(), 200);
    Following { body: answer.into_body(), text: String::new(), _requests: requests }
}

/// An authority in a directory of its own.
fn new_authority(directory: &Path, name: &str) -> Authority {
    Authority::new(directory, name).expect("an authority can be made")
}

/// A certificate of it and its key.
fn issue(authority: &Authority, name: &str) -> (PathBuf, PathBuf) {
    authority.issue(name).expect("a certificate can be made")
}

/// A stream by HTTP/2.
struct Following {
    body: Incoming,
    text: String,
    /// Without it the connection ends.
    _requests: http2::SendRequest<Full<Bytes>>,
}

impl Following {
    /// Reads until this has come.
    async fn until(&mut self, words: &str) {
        let reading = async {
            while !self.text.contains(words) {
                let frame = self.body.frame().await.expect("the stream goes on").expect("the stream goes on");
                self.text.push_str(&String::from_utf8_lossy(&frame.into_data().unwrap_or_default()));
            }
        };
        let read = timeout(SLACK * 2, reading).await;
        assert!(read.is_ok(), "no {words} in {}", self.text);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}

/// A writer that shows a certificate of a new authority.
async fn writer(options: &[(&str, &Path)]) -> (TempDir, Authority, Node) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let authority = new_authority(directory.path(), "authority");
    let (certificate, key) = issue(&authority, "writer");
    let builder = NodeBuilder::writer("writer", directory.path());
    let builder = builder.option("--tls-cert", text(&certificate)).option("--tls-key", text(&key));
    let builder = options.iter().fold(builder, |builder, (flag, path)| builder.option(flag, text(path)));
    let node = builder.start().await;
    (directory, authority, node)
}

/// Runs a client command with the development pair; its status and what it said.
async fn run(url: &str, arguments: &[&str]) -> (i32, String) {
    let program = Tools::load().expect("./dev test writes the tools file").server;
    let mut command = Command::new(program);
    command.args(arguments).args(["--url", url, "--dev"]).kill_on_drop(true);
    let done = command.output().await.expect("the program can be started");
    let said = [done.stdout, done.stderr].concat();
    (done.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
}

/// That a command told what is wrong and what helps, and did not take a node that answered for one that is not there.
fn told(said: &str, words: &[&str]) {
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
    assert!(!said.contains("Is a node running there") && !said.contains("Error("), "{said}");
}

#[tokio::test]
async fn a_command_that_meets_other_tls_says_what_is_wrong_and_which_setting_helps() {
    let (directory, authority, writer) = writer(&[("--connections-per-address-max", Path::new("1"))]).await;
    let ca = authority.ca();
    let (status, said) = run(&writer.url, &["collections"]).await;
    assert_eq!(status, 3, "{said}");
    told(&said, &["issuer that is not trusted here", "--ca FILE"]);
    let open = NodeBuilder::writer("open", directory.path()).start().await;
    let (status, said) = run(&open.url.replace("http:", "https:"), &["collections", "--ca", text(&ca)]).await;
    assert_eq!(status, 3, "{said}");
    told(&said, &["does not speak TLS", "http://"]);
    let far = NodeBuilder::replica("far", directory.path(), &writer.url).start().await;
    far.says("issuer that is not trusted here").await;
    far.says("--parent-ca").await;
    // The one place is taken.
    let _held = TcpStream::connect(writer.url.trim_start_matches("https://")).await.expect("it listens");
    eventually("the connection is one too many", || async {
        let (status, said) = run(&writer.url, &["collections", "--ca", text(&ca)]).await;
        let is_told = said.contains("ended before TLS") && said.contains("--connections-per-address-max");
        if status == 3 && is_told { Ok(()) } else { Err(said) }
    })
    .await;
}

#[tokio::test]
async fn clients_replicas_and_commands_are_served_over_tls() {
    let (directory, authority, writer) = writer(&[]).await;
    assert!(writer.url.starts_with("https://"), "{}", writer.url);
    let ca = authority.ca();
    let (status, said) = run(&writer.url, &["set", "c", "k", "1", "--create", "--ca", text(&ca)]).await;
    assert_eq!(status, 0, "{said}");

    let replica = NodeBuilder::replica("replica", directory.path(), &writer.url).option("--parent-ca", text(&ca));
    let replica = replica.start().await;
    replica.ready().await;
    eventually("what is written over TLS is read at the replica", || async {
        let reply = replica.client().entry("c", "k").await;
        if reply.status == 200 { Ok(()) } else { Err(reply) }
    })
    .await;
    // Through the replica, which speaks TLS to the writer.
    assert_eq!(replica.client().set("c", "k2", "2").await.status, 200);

    let (status, said) = run(&writer.url, &["get", "c", "k2", "--ca", text(&ca)]).await;
    assert_eq!(status, 0, "{said}");
    assert!(said.contains('2'), "{said}");
    let (status, said) = run(&writer.url, &["get", "c", "k2"]).await;
    assert_eq!(status, 3, "nobody in this system trusts the authority: {said}");
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_and_carry_streams() {
    let (_directory, authority, writer) = writer(&[]).await;
    assert_eq!(get(&authority, &writer.url, "/livez").await.unwrap(), "HTTP/1.1 200 OK");
    let mut following = follow(&authority, &writer.url).await;
    following.until("READY").await;
    let ca = authority.ca();
    let (status, said) = run(&writer.url, &["set", "c", "k", "1", "--create", "--ca", text(&ca)]).await;
    assert_eq!(status, 0, "{said}");
    following.until("\"type\":\"SET\",\"collection\":\"c\"").await;
}

#[tokio::test]
async fn one_who_does_not_speak_tls_is_told_that_it_is_spoken() {
    let (_directory, authority, writer) = writer(&[]).await;
    let mut wire = Wire::open(&writer.url).await;
    wire.send(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let heard = wire.hear(SLACK).await;
    assert_eq!(heard.answers(), [(400, "invalid_request".to_owned())], "{}", heard.text);
    assert!(heard.text.contains("https://"), "{}", heard.text);
    let metrics = whole(&authority, &writer.url, "/metrics").await.unwrap();
    assert!(metrics.contains("headwater_tls_failed_total 1\n"), "{metrics}");
}

#[tokio::test]
async fn clients_must_show_a_certificate_where_one_is_asked_for() {
    let elsewhere = tempfile::tempdir().unwrap();
    let clients = new_authority(elsewhere.path(), "clients");
    let (directory, authority, writer) = writer(&[("--tls-client-ca", &clients.ca())]).await;
    let ca = authority.ca();
    let (certificate, key) = issue(&clients, "client");
    let shown = ["--ca", text(&ca), "--cert", text(&certificate), "--key-file", text(&key)];
    let (status, said) = run(&writer.url, &[&["collections", "create", "c"][..], &shown[..]].concat()).await;
    assert_eq!(status, 0, "{said}");
    let (status, said) = run(&writer.url, &["collections", "--ca", text(&ca)]).await;
    assert_eq!(status, 3, "none was shown: {said}");
    told(&said, &["wants a certificate", "--cert FILE --key-file FILE"]);
    let (certificate, key) = issue(&authority, "stranger");
    let stranger = ["collections", "--ca", text(&ca), "--cert", text(&certificate), "--key-file", text(&key)];
    let (status, said) = run(&writer.url, &stranger).await;
    assert_eq!(status, 3, "one of somebody else was shown: {said}");
    told(&said, &["none of the issuers", "--cert FILE --key-file FILE"]);

    let (certificate, key) = issue(&clients, "replica");
    let replica = NodeBuilder::replica("replica", directory.path(), &writer.url).option("--parent-ca", text(&ca));
    let replica = replica.option("--parent-cert", text(&certificate)).option("--parent-key", text(&key)).start().await;
    replica.ready().await;
}

#[tokio::test]
async fn who_shows_a_certificate_that_was_withdrawn_is_kept_out_as_soon_as_the_list_says_so() {
    let elsewhere = tempfile::tempdir().unwrap();
    let clients = new_authority(elsewhere.path(), "clients");
    let list = clients.withdraw(&[]).expect("a list can be made");
    let (_directory, authority, writer) =
        writer(&[("--tls-client-ca", &clients.ca()), ("--tls-client-crl", &list)]).await;
    let ca = authority.ca();
    let pairs = ["good", "bad"].map(|name| issue(&clients, name));
    let asked = async |(certificate, key): &(PathBuf, PathBuf)| {
        let shown = ["--ca", text(&ca), "--cert", text(certificate), "--key-file", text(key)];
        run(&writer.url, &[&["collections"][..], &shown[..]].concat()).await
    };
    for pair in &pairs {
        let (status, said) = asked(pair).await;
        assert_eq!(status, 0, "{said}");
    }
    clients.withdraw(&["bad", "other"]).expect("a list can be made");
    eventually("the list is in force", || async {
        let (status, said) = asked(&pairs[1]).await;
        if status == 3 && said.contains("it was withdrawn") { Ok(()) } else { Err(said) }
    })
    .await;
    let (status, said) = asked(&pairs[0]).await;
    assert_eq!(status, 0, "{said}");
    writer.says(&format!("new files of TLS files={:?}", list.display().to_string())).await;
    // A list of somebody else's says nothing of these.
    let others = new_authority(elsewhere.path(), "others").withdraw(&[]).expect("a list can be made");
    std::fs::rename(others, &list).unwrap();
    eventually("nobody knows whether it was withdrawn", || async {
        let (status, said) = asked(&pairs[0]).await;
        if status == 3 { Ok(()) } else { Err(said) }
    })
    .await;
}

#[tokio::test]
async fn a_new_certificate_is_taken_and_nothing_breaks_off() {
    let (directory, authority, writer) = writer(&[]).await;
    let mut following = follow(&authority, &writer.url).await;
    following.until("READY").await;

    // A file of no use changes nothing.
    let (certificate, key) = (authority.directory().join("writer.pem"), authority.directory().join("writer.key"));
    std::fs::write(&certificate, "no certificate").unwrap();
    writer.says("new connections are judged by those before").await;
    assert_eq!(get(&authority, &writer.url, "/livez").await.unwrap(), "HTTP/1.1 200 OK");

    let newer = new_authority(directory.path(), "newer");
    let (new_certificate, new_key) = issue(&newer, "writer");
    std::fs::rename(new_certificate, &certificate).unwrap();
    std::fs::rename(new_key, &key).unwrap();
    eventually("the new certificate is shown", || async { get(&newer, &writer.url, "/livez").await }).await;
    get(&authority, &writer.url, "/livez").await.expect_err("the old one is not shown any more");
    // Whoever was there goes on.
    let ca = newer.ca();
    let (status, said) = run(&writer.url, &["collections", "create", "c", "--ca", text(&ca)]).await;
    assert_eq!(status, 0, "{said}");
    following.until("CREATE").await;
}

#[tokio::test]
async fn files_that_are_of_no_use_are_refused_at_start_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let authority = new_authority(directory.path(), "authority");
    let (certificate, key) = issue(&authority, "one");
    let (_, other_key) = issue(&authority, "other");
    let (missing, empty) = (directory.path().join("missing.pem"), directory.path().join("empty.pem"));
    std::fs::write(&empty, "").unwrap();
    let refused = async |options: &[(&str, &Path)], setting: &str, file: &Path| {
        let builder = NodeBuilder::writer("refused", directory.path());
        let builder = options.iter().fold(builder, |builder, (flag, path)| builder.option(flag, text(path)));
        let said = builder.try_start().await.err().expect("it does not start");
        assert!(said.contains(setting) && said.contains(text(file)), "{setting} of {}: {said}", file.display());
    };
    let none = Path::new("");
    refused(&[("--tls-cert", &certificate)], "--tls-key", none).await;
    refused(&[("--tls-key", &key)], "--tls-cert", none).await;
    refused(&[("--tls-client-ca", &certificate)], "--tls-client-ca", none).await;
    refused(&[("--tls-cert", &missing), ("--tls-key", &key)], "--tls-cert", &missing).await;
    refused(&[("--tls-cert", &empty), ("--tls-key", &key)], "--tls-cert", &empty).await;
    refused(&[("--tls-cert", &certificate), ("--tls-key", &certificate)], "--tls-key", &certificate).await;
    refused(&[("--tls-cert", &certificate), ("--tls-key", &other_key)], "--tls-key", &other_key).await;
    let both = [("--tls-cert", &*certificate), ("--tls-key", &*key)];
    let (ca, list) = (authority.ca(), authority.withdraw(&[]).unwrap());
    refused(&[&both[..], &[("--tls-client-crl", &*list)]].concat(), "--tls-client-crl", none).await;
    let asked = [&both[..], &[("--tls-client-ca", &*ca)]].concat();
    refused(&[&asked[..], &[("--tls-client-crl", &*empty)]].concat(), "--tls-client-crl", &empty).await;
    refused(&[&asked[..], &[("--tls-client-crl", &*certificate)]].concat(), "--tls-client-crl", &certificate).await;
    refused(&[&both[..], &[("--tls-client-ca", &*empty)]].concat(), "--tls-client-ca", &empty).await;
}
