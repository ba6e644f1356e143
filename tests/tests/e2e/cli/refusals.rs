//! What goes wrong, and what a script and a person learn of it.

use super::{Cli, finish};
use headwater_tests::NodeBuilder;
use tokio::net::TcpListener;

/// An address where nobody listens.
async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    format!("http://{}", listener.local_addr().expect("it is bound"))
}

#[tokio::test]
async fn a_wrong_command_line_sends_nothing() {
    let cli = Cli::at(&nowhere().await);
    for arguments in [
        &["get", "flags"][..],
        &["get", "flags/../x", "a"],
        &["get", "..", "a"],
        &["get", "flags", ""],
        &["set", "flags", "a", "hello"],
        &["set", "flags", "a", "{on:true}"],
        &["set", "flags", "a", "@/nonexistent"],
        &["set", "flags", "a", "1", "--if-match", "x", "--if-absent"],
        &["set", "flags", "a", "1", "--secret", "hidden"],
        &["list", "flags", "--limit", "0"],
        &["list", "flags", "--limit", "1", "--all"],
        &["watch", "--prefix", "eu:"],
        &["status", "--url", "ftp://127.0.0.1:1"],
        &["status", "--url", "http://10.0.0.1", "--dev"],
        &["status", "--secret-file", "/nonexistent"],
    ] {
        let done = cli.run(arguments).await;
        assert_eq!((done.status, &*done.stdout), (2, ""), "{arguments:?}: {done:?}");
        assert!(done.stderr.starts_with("error: "), "{done:?}");
    }
}

#[tokio::test]
async fn a_variable_does_not_make_its_flag_look_required() {
    // The address comes from HEADWATER_URL in all of these.
    let cli = Cli::at(&nowhere().await);
    for (arguments, usage) in [
        (&["get", "flags"][..], "Usage: headwater get [OPTIONS] <COLLECTION> <KEY>\n"),
        (&["set", "flags"], "Usage: headwater set [OPTIONS] <COLLECTION> <KEY> <VALUE>\n"),
        (&["list"], "Usage: headwater list [OPTIONS] <COLLECTION>\n"),
        (&["status", "--nonsense"], "Usage: headwater status [OPTIONS]\n"),
        (&["collections", "drop"], "Usage: headwater collections drop [OPTIONS] <NAME>\n"),
    ] {
        let done = cli.run(arguments).await;
        assert!(done.stderr.contains(usage), "{arguments:?}: {done:?}");
        let help = cli.run(&[&arguments[..1], &["--help"]].concat()).await;
        assert!(help.stdout.contains("\nUsage: headwater "), "{help:?}");
    }
}

#[tokio::test]
async fn a_value_that_is_no_json_is_shown_quoted() {
    let cli = Cli::at(&nowhere().await);
    let done = cli.run(&["set", "flags", "greeting", "it's on"]).await;
    assert!(done.stderr.contains(r#"headwater set flags greeting '"it'\''s on"'"#), "{done:?}");
}

#[tokio::test]
async fn a_node_that_is_not_there_is_not_a_refusal() {
    let cli = Cli::at(&nowhere().await);
    for arguments in
        [&["get", "flags", "a"][..], &["set", "flags", "a", "1"], &["list", "flags"], &["watch"], &["status"]]
    {
        let done = cli.run(arguments).await;
        assert_eq!((done.status, &*done.stdout), (3, ""), "{arguments:?}: {done:?}");
        assert!(done.stderr.contains("cannot reach http://127.0.0.1:"), "{done:?}");
    }
}

#[tokio::test]
async fn a_write_whose_answer_never_came_is_in_doubt() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cli = Cli::at(&format!("http://{}", listener.local_addr().unwrap()));
    let hang_up = async {
        for _ in 0..2 {
            let (connection, _) = listener.accept().await.unwrap();
            // The request is there before the connection goes: it may have been carried out.
            connection.readable().await.unwrap();
        }
    };
    let commands = async { (cli.run(&["set", "flags", "a", "1"]).await, cli.run(&["get", "flags", "a"]).await) };
    let (_, (written, read)) = tokio::join!(hang_up, commands);
    assert_eq!(written.status, 4, "{written:?}");
    assert!(written.stderr.contains("may or may not have happened"), "{written:?}");
    assert_eq!(read.status, 3, "a read leaves no doubt: {read:?}");
}

#[tokio::test]
async fn a_pair_is_needed_and_must_be_right() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let cli = Cli::of(&writer);
    let without = |arguments: &[&str]| {
        let mut command = cli.command(arguments);
        command.env_remove("HEADWATER_APIKEY").env_remove("HEADWATER_SECRET");
        command
    };
    let missing = finish(without(&["status"]), b"").await;
    assert_eq!(missing.status, 1, "{missing:?}");
    assert!(missing.stderr.contains("[forbidden]") && missing.stderr.contains("HEADWATER_SECRET"), "{missing:?}");

    let secret = directory.path().join("secret");
    for (text, status, words) in [("wrong\n", 1, "the node does not know this pair"), ("dev\n", 0, "")] {
        std::fs::write(&secret, text).unwrap();
        let arguments = ["status", "--apikey", "dev", "--secret-file", secret.to_str().unwrap()];
        let done = finish(without(&arguments), b"").await;
        assert_eq!(done.status, status, "{done:?}");
        assert!(done.stderr.contains(words), "{done:?}");
    }
    assert_eq!(finish(without(&["status", "--dev"]), b"").await.status, 0);
    let half = finish(without(&["status", "--apikey", "dev"]), b"").await;
    assert_eq!(half.status, 2, "{half:?}");

    let watch = finish(without(&["watch"]), b"").await;
    assert_eq!(watch.status, 1, "a refusal does not become another try: {watch:?}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let data = directory.path().join("data");
    let arguments = ["serve", "--dev", "--listen", &address, "--data", data.to_str().unwrap()];
    let done = Cli::at("http://unused").run(&arguments).await;
    assert_eq!(done.status, 1, "{done:?}");
    for words in [&*format!("another process listens on {address}"), "--listen 127.0.0.1:0"] {
        assert!(done.stderr.contains(words), "{done:?}");
    }
}
