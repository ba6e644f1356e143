//! The config file: what it sets, what beats it, and what is refused in it.

use super::{Cli, Done, WITHIN, finish};
use headwater_local::certificates::Authority;
use headwater_tests::Client;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::time::timeout;

fn cli() -> Cli {
    Cli::at("http://127.0.0.1:1")
}

fn write(directory: &Path, text: &str) -> PathBuf {
    let path = directory.join("headwater.toml");
    fs::write(&path, text).expect("the test's directory can be written");
    path
}

/// A node of this file, and its address.
async fn serve(file: &Path, flags: &[&str], variables: &[(&str, &str)]) -> (Child, Client) {
    let mut command = cli().command(&[&["serve", "--config", file.to_str().expect("a plain path")], flags].concat());
    command.envs(variables.iter().copied());
    let mut child = command.spawn().expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
    let line = timeout(WITHIN, lines.next_line()).await.expect("it says where it listens").expect("its output is text");
    let line = line.expect("it starts");
    let (_, url) = line.split_once("listens on ").expect("it says where it listens");
    (child, Client::dev(url))
}

/// The longest value that a node takes, as its refusal tells.
async fn value_bytes_max(client: &Client) -> String {
    client.create("c").await;
    let reply = client.set("c", "a", &format!("\"{}\"", "x".repeat(2_000))).await;
    assert_eq!(reply.status, 413, "{}", reply.text());
    reply.json()["message"].as_str().expect("words").to_owned()
}

#[tokio::test]
async fn a_flag_beats_its_variable_and_a_variable_beats_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let text = format!(
        "listen = \"127.0.0.1:0\"\ndev = true\nnode = \"of the file\"\ndata = {data:?}\n[limits]\nvalue-bytes-max = 1000\n"
    );
    let file = write(directory.path(), &text);
    let variable = [("HEADWATER_VALUE_BYTES_MAX", "1100")];
    for (flags, variables, limit) in [
        (&[][..], &[][..], "1000"),
        (&[], &variable, "1100"),
        (&["--value-bytes-max", "1200"], &variable, "1200"),
        (&["--value-bytes-max=1300"], &[], "1300"),
    ] {
        let (mut node, client) = serve(&file, flags, variables).await;
        let said = value_bytes_max(&client).await;
        assert!(said.contains(limit), "{flags:?} {variables:?}: {said}");
        assert_eq!(client.status().await["node"], "of the file");
        node.kill().await.expect("a child can be killed");
    }
    assert!(data.join("log").is_dir());
}

#[tokio::test]
async fn a_file_that_cannot_be_is_refused_at_the_start_and_by_check_alike() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    for (text, told) in [
        ("dev = true\nping_ms = 5", ":2: there is no setting \"ping_ms\": it is called ping-ms"),
        ("[limits]\nqueue-max = 0", ":2: queue-max = 0: expected a whole number of writes, from 1 to 1000000"),
        ("listen = 4077", ":1: listen = 4077: expected a text in quotation marks"),
        ("dev = ", ":1: it is no TOML"),
        ("dev = true\nlisten = \"0.0.0.0:0\"", ":1: --dev: everybody knows dev / dev"),
        ("[limits]\n\nqueue-bytes-max = 1", ":3: --queue-bytes-max: 1 is less than --value-bytes-max"),
        ("[logging]\nlog = \"headwater=loud\"", ":2: --log: "),
        ("[backups]\nbackup-keep = 3", "--backup-to <DIR>"),
        ("[following]\nparent = \"http://127.0.0.1:1\"", "HEADWATER_PARENT_APIKEY: set it"),
    ] {
        let file = write(directory.path(), text);
        let file = file.to_str().expect("a plain path");
        let start = ["serve", "--config", file, "--data", data.to_str().expect("a plain path")];
        for arguments in [&start[..], &["config", "check", file]] {
            let Done { status, stdout, stderr } = cli().run(arguments).await;
            assert!(status != 0 && stdout.is_empty() && stderr.contains(told), "{arguments:?} {text:?}: {stderr}");
        }
        assert_eq!(cli().run(&["config", "check", file]).await.status, 2, "{text:?}");
    }
    assert!(!data.exists(), "nothing is touched");
    assert_eq!(cli().run(&["serve", "--config", "/nonexistent"]).await.status, 2);
}

#[tokio::test]
async fn a_certificate_of_no_use_is_refused_at_the_start_and_by_check_alike() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let authority = Authority::new(directory.path(), "authority").unwrap();
    let ((certificate, key), (_, other_key)) = (authority.issue("one").unwrap(), authority.issue("other").unwrap());
    let (ca, missing) = (authority.ca(), directory.path().join("missing.pem"));
    let tls = |key: &Path| format!("[connections]\ntls-cert = {certificate:?}\ntls-key = {key:?}\n");
    let following = "[following]\nparent = \"https://127.0.0.1:1\"\nparent-apikey = \"k\"\nparent-secret = \"s\"\n";
    for (text, told) in [
        (tls(&other_key), ":3: --tls-key: "),
        (tls(&missing), ":3: --tls-key: "),
        (format!("{}tls-client-ca = {missing:?}\n", tls(&key)), ":4: --tls-client-ca: "),
        (format!("{}tls-client-ca = {ca:?}\ntls-client-crl = {ca:?}\n", tls(&key)), ":5: --tls-client-crl: "),
        (format!("{following}parent-ca = {missing:?}\n"), ":5: --parent-ca: "),
        (format!("{following}parent-cert = {certificate:?}\nparent-key = {other_key:?}\n"), ":5: --parent-cert: "),
    ] {
        let file = write(directory.path(), &text);
        let file = file.to_str().expect("a plain path");
        let checked = cli().run(&["config", "check", file]).await;
        assert!(checked.status == 2 && checked.stderr.contains(told), "{text}: {checked:?}");
        let (_, setting) = told.split_once(" ").expect("a setting");
        let start = ["serve", "--config", file, "--listen", "127.0.0.1:0", "--data", data.to_str().expect("a path")];
        let started = cli().run(&start).await;
        assert!(started.status != 0 && started.stderr.contains(setting.trim()), "{text}: {started:?}");
    }
    let list = authority.withdraw(&["other"]).unwrap();
    let whole = format!("{}tls-client-ca = {ca:?}\ntls-client-crl = {list:?}\n", tls(&key));
    let file = write(directory.path(), &format!("{whole}{following}parent-ca = {ca:?}\n"));
    let checked = cli().run(&["config", "check", file.to_str().expect("a plain path")]).await;
    assert_eq!(checked.status, 0, "{checked:?}");
}

#[tokio::test]
async fn what_a_node_starts_with_though_it_is_of_little_use_is_warned_of() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new(directory.path(), "authority").unwrap();
    let (own, own_key) = (authority.ca(), authority.directory().join("ca.key"));
    let (certificate, key) = authority.issue("one").unwrap();
    let tls = |certificate: &Path, key: &Path| {
        format!("listen = \"0.0.0.0:1\"\n[connections]\ntls-cert = {certificate:?}\ntls-key = {key:?}\n")
    };
    let pair = "[following]\nparent-apikey = \"k\"\nparent-secret = \"s\"\n";
    for (text, told) in [
        (tls(&certificate, &key), &[][..]),
        (tls(&own, &own_key), &[":3: --tls-cert: ", "CA:TRUE"]),
        (pair.into(), &["no `parent`"]),
        ("listen = \"0.0.0.0:1\"\n".into(), &["beyond loopback without TLS"]),
    ] {
        let file = write(directory.path(), &text);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let checked = cli().json(&["config", "check", file.to_str().expect("a plain path")]).await;
        let warnings = checked["warnings"].as_array().expect("a list");
        assert_eq!(warnings.len(), usize::from(!told.is_empty()), "{text}: {warnings:?}");
        for word in told {
            assert!(warnings[0].as_str().expect("words").contains(word), "{text}: {warnings:?}");
        }
    }
    // Half of what belongs together is refused where the half stands.
    let file = write(directory.path(), &format!("[connections]\ntls-cert = {certificate:?}\n"));
    let half = cli().run(&["config", "check", file.to_str().expect("a plain path")]).await;
    assert!(half.status == 2 && half.stderr.contains(":2: --tls-cert: --tls-key is missing"), "{half:?}");
}

#[tokio::test]
async fn init_writes_a_file_that_check_takes_and_that_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("headwater.toml");
    let file = path.to_str().expect("a plain path");
    assert_eq!(cli().run(&["config", "init", file]).await.status, 0);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let again = cli().run(&["config", "init", file]).await;
    assert!(again.status == 1 && again.stderr.contains("is there already"), "{again:?}");
    assert_eq!(cli().run(&["config", "init"]).await.stdout, fs::read_to_string(&path).unwrap());

    let told = cli().json(&["config", "check", file]).await;
    let settings = told["settings"].as_object().expect("an object");
    assert!(settings.len() > 30 && settings.values().all(|setting| setting["from"] == "default"), "{told}");
    assert_eq!(settings["listen"]["value"], "127.0.0.1:4077");
    assert_eq!(settings["parent"]["value"], serde_json::Value::Null);

    let text = fs::read_to_string(&path).unwrap().replace("#ping-ms = 5000", "ping-ms = 700");
    let text = text.replace("#parent-apikey = \"TEXT\"", "parent-apikey = \"k\"");
    let text = text.replace("#parent-secret = \"TEXT\"", "parent-secret = \"hidden\"");
    fs::write(&path, text).unwrap();
    let mut command = cli().command(&["config", "check", file]);
    command.env("HEADWATER_NODE", "n");
    let done = finish(command, b"").await;
    assert!(done.status == 0 && !done.stdout.contains("hidden"), "{done:?}");
    let told: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    let line = fs::read_to_string(&path).unwrap().lines().position(|line| line == "ping-ms = 700").unwrap() + 1;
    assert_eq!(told["settings"]["ping-ms"], serde_json::json!({"value": "700", "from": "file", "line": line}));
    assert_eq!(told["settings"]["node"]["variable"], "HEADWATER_NODE");
    assert_eq!(told["settings"]["parent-secret"]["from"], "file");
    let warnings = told["warnings"].as_array().expect("a list");
    assert!(warnings.len() == 1 && warnings[0].as_str().is_some_and(|words| words.contains("no `parent`")), "{told}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let told = cli().json(&["config", "check", file]).await;
    assert!(told["warnings"][0].as_str().is_some_and(|words| words.contains("chmod 600")), "{told}");
}

#[tokio::test]
async fn a_replica_follows_with_the_pair_of_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let writer = headwater_tests::NodeBuilder::writer("writer", directory.path()).start().await;
    let data = directory.path().join("near");
    let text = format!(
        "listen = \"127.0.0.1:0\"\ndata = {data:?}\n[following]\nparent = [\"http://127.0.0.1:1\", {:?}]\nscope = \"**\"\n\
         parent-apikey = \"dev\"\nparent-secret = \"dev\"\n",
        writer.url
    );
    let file = write(directory.path(), &text);
    let (_near, client) = serve(&file, &[], &[]).await;
    client.ready().await;
}
