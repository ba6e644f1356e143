//! `watch` in a pipe: every change once, whatever becomes of the connection.

use super::{Cli, WITHIN};
use headwater_tests::{NodeBuilder, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Child;
use tokio::time::timeout;

/// A `watch` that runs, and all it has said so far.
struct Watching {
    child: Child,
    changes: Arc<Mutex<Vec<String>>>,
    notices: Arc<Mutex<Vec<String>>>,
}

impl Watching {
    /// Starts it and waits until it follows.
    async fn start(cli: &Cli, arguments: &[&str]) -> Self {
        let mut child = cli.command(&[&["watch"], arguments].concat()).spawn().expect("the program starts");
        let changes = collect(child.stdout.take().expect("it is a pipe"));
        let notices = collect(child.stderr.take().expect("it is a pipe"));
        let watching = Self { child, changes, notices };
        watching.notice("following from position").await;
        watching
    }

    async fn notice(&self, text: &str) {
        self.notices_of(text, 1).await;
    }

    async fn notices_of(&self, text: &str, count: usize) {
        eventually(text, async || {
            let notices = self.notices.lock().expect("nobody panics with it").clone();
            if notices.iter().filter(|line| line.contains(text)).count() >= count { Ok(()) } else { Err(notices) }
        })
        .await;
    }

    /// Waits until so many changes were shown, and gives all of them.
    async fn changes(&self, count: usize) -> Vec<Value> {
        let lines = eventually("the changes are shown", async || {
            let lines = self.changes.lock().expect("nobody panics with it").clone();
            if lines.len() >= count {
                Ok(lines)
            } else {
                Err((lines, self.notices.lock().expect("nobody panics with it").clone()))
            }
        })
        .await;
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }

    /// Ctrl-C.
    async fn interrupt(mut self) -> Option<i32> {
        let id = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("it runs");
        kill_process(id, Signal::INT).expect("a child can be signalled");
        timeout(WITHIN, self.child.wait()).await.expect("it ends").expect("a child can be waited for").code()
    }
}

fn collect(output: impl AsyncRead + Send + Unpin + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let collected = Arc::clone(&lines);
    tokio::spawn(async move {
        let mut reader = BufReader::new(output).lines();
        while let Ok(Some(line)) = reader.next_line().await {
            collected.lock().expect("nobody panics with it").push(line);
        }
    });
    lines
}

fn facts(change: &Value) -> (&str, &str, &Value) {
    let text = |name: &str| change[name].as_str().unwrap_or_default();
    (text("type"), text("key"), &change["value"])
}

#[tokio::test]
async fn changes_are_the_lines_of_the_log_within_the_scope() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let client = writer.client();
    for collection in ["flags", "prices"] {
        client.create(collection).await;
    }
    client.set("prices", "eu:before", "0").await;
    let cli = Cli::of(&writer);
    let narrow = Watching::start(&cli, &["prices", "--prefix", "eu:"]).await;
    let wide = Watching::start(&cli, &[]).await;

    client.set("flags", "a", "1").await;
    client.set("prices", "us:x", "2").await;
    let written = client.set("prices", "eu:x", r#"{"n":1.50}"#).await;
    client.delete("prices", "eu:x").await;

    let changes = wide.changes(4).await;
    assert_eq!(changes.iter().map(|change| facts(change).1).collect::<Vec<_>>(), ["a", "us:x", "eu:x", "eu:x"]);
    let changes = narrow.changes(2).await;
    assert_eq!(facts(&changes[1]), ("DELETE", "eu:x", &Value::Null));
    let line = narrow.changes.lock().unwrap()[0].clone();
    let expected = format!(r#"{{"type":"SET","collection":"prices","seq":{},"#, written.json()["seq"]);
    assert!(line.starts_with(&expected) && line.ends_with(r#""value":{"n":1.50}}"#), "{line}");
    assert_eq!(narrow.interrupt().await, Some(130));
}

#[tokio::test]
async fn it_goes_on_behind_the_last_change_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = NodeBuilder::writer("writer", directory.path()).start().await;
    writer.client().create("c").await;
    let watching = Watching::start(&Cli::of(&writer), &["c"]).await;
    writer.client().set("c", "before", "1").await;
    watching.changes(1).await;

    writer.kill().await;
    watching.notice("the connection is lost; again in").await;
    watching.notice("Connection refused").await;
    writer.start_again().await;
    writer.client().set("c", "after", "2").await;

    let changes = watching.changes(3).await;
    let shown: Vec<_> = changes.iter().map(facts).collect();
    assert_eq!(shown[0], ("SET", "before", &json!(1)));
    assert_eq!(shown[1].0, "EPOCH");
    assert_eq!(shown[2], ("SET", "after", &json!(2)));
    watching.notice("going on from position").await;
}

#[tokio::test]
async fn what_cannot_be_resumed_is_shown_as_the_difference() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = NodeBuilder::writer("writer", directory.path()).option("--wal", "memory:").start().await;
    writer.client().create("c").await;
    for (key, value) in [("gone", "1"), ("other", "1")] {
        writer.client().set("c", key, value).await;
    }
    let watching = Watching::start(&Cli::of(&writer), &[]).await;
    writer.kill().await;
    writer.start_again().await;
    // Nothing of the old state is left, and what is written now may come before the watcher does.
    writer.client().create("c").await;
    writer.client().set("c", "other", "2").await;

    watching.notices_of("following from position", 2).await;
    let changes = eventually("both keys are told of", async || {
        let changes = watching.changes(2).await;
        let tells =
            |kind: &str, key: &str| changes.iter().any(|change| (facts(change).0, facts(change).1) == (kind, key));
        let is_gone = tells("GONE", "gone") || changes[0]["collections"] == json!([]);
        if is_gone && tells("SET", "other") { Ok(changes) } else { Err(changes) }
    })
    .await;
    assert_eq!((&changes[0]["type"], &changes[0]["reason"]), (&json!("REBASED"), &json!("not_on_history")));
}

#[tokio::test]
async fn the_state_comes_first_where_it_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    writer.client().create("c").await;
    writer.client().set("c", "b", "1").await;
    writer.client().set("c", "a", "1").await;
    let watching = Watching::start(&Cli::of(&writer), &["c", "--initial"]).await;
    let changes = watching.changes(3).await;
    assert_eq!(changes[0]["collections"], json!(["c"]));
    assert_eq!([facts(&changes[1]).1, facts(&changes[2]).1], ["a", "b"]);
    writer.client().set("c", "b", "2").await;
    let changes = watching.changes(4).await;
    assert_eq!(facts(&changes[3]), ("SET", "b", &json!(2)));
}

#[tokio::test]
async fn a_collection_that_is_not_there_yet_is_said_to_be_and_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    writer.client().create("other").await;
    let cli = Cli::of(&writer);
    let early = Watching::start(&cli, &["flags"]).await;
    early.notice("the collection flags does not exist yet: waiting for it").await;
    writer.client().create("flags").await;
    let changes = early.changes(1).await;
    assert_eq!((&changes[0]["type"], &changes[0]["collection"]), (&json!("CREATE"), &json!("flags")));

    let late = Watching::start(&cli, &["flags"]).await;
    writer.client().set("flags", "a", "1").await;
    late.changes(1).await;
    let notices = late.notices.lock().unwrap().clone();
    assert!(notices.iter().all(|notice| !notice.contains("does not exist")), "{notices:?}");
}
