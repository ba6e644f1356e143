//! The commands on a terminal, by a pseudo-terminal: for people, in colours, with a question before a drop.

use super::{Cli, WITHIN};
use headwater_tests::{Node, NodeBuilder, eventually};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// What every step of making a pseudo-terminal relies on.
const PTY: &str = "the system has pseudo-terminals";

/// A command whose stdin, stdout and stderr are one terminal of 80 columns.
struct Terminal {
    child: Child,
    keyboard: File,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn start(mut command: Command) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect(PTY);
        grantpt(&ours).expect(PTY);
        unlockpt(&ours).expect(PTY);
        let name = ptsname(&ours, Vec::new()).expect(PTY);
        let theirs = File::from(rustix::fs::open(&*name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect(PTY));
        tcsetwinsize(&theirs, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).expect(PTY);
        let stdio = || Stdio::from(theirs.try_clone().expect(PTY));
        let child = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().expect("the program starts");

        let keyboard = File::from(ours);
        let mut screen = keyboard.try_clone().expect(PTY);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let collected = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Reading fails when the last one who has the terminal open has ended.
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                collected.lock().expect("nobody panics with it").extend_from_slice(&bytes[..count]);
            }
        });
        Self { child, keyboard, shown }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().expect("nobody panics with it")).replace("\r\n", "\n")
    }

    async fn until(&self, text: &str) {
        eventually(text, async || {
            let shown = self.shown();
            if shown.contains(text) { Ok(()) } else { Err(shown) }
        })
        .await;
    }

    fn type_line(&mut self, text: &str) {
        self.keyboard.write_all(format!("{text}\n").as_bytes()).expect("the terminal is open");
    }

    async fn status(&mut self) -> i32 {
        timeout(WITHIN, self.child.wait())
            .await
            .expect("it ends")
            .expect("a child can be waited for")
            .code()
            .expect("it ended by itself")
    }
}

async fn writer(directory: &std::path::Path) -> (Node, Cli) {
    let writer = NodeBuilder::writer("writer", directory).start().await;
    let cli = Cli::of(&writer);
    cli.json(&["set", "flags", "checkout", r#"{"on":true,"to":["a"]}"#, "--create"]).await;
    (writer, cli)
}

/// Runs a command on a terminal; what is shown must end with `last` once it has ended.
pub(super) async fn shown(command: Command, last: &str) -> String {
    let mut terminal = Terminal::start(command);
    terminal.until(last).await;
    assert_eq!(terminal.status().await, 0);
    terminal.shown()
}

#[tokio::test]
async fn a_person_sees_the_value_laid_out_and_a_script_may_ask_for_json() {
    let directory = tempfile::tempdir().unwrap();
    let (_writer, cli) = writer(directory.path()).await;
    let coloured = shown(cli.command(&["get", "flags", "checkout"]), "ETag").await;
    assert!(coloured.contains("\x1b[34m\"on\"\x1b[0m: \x1b[33mtrue\x1b[0m"), "{coloured:?}");

    let mut plain = cli.command(&["get", "flags", "checkout"]);
    plain.env("NO_COLOR", "1");
    let plain = shown(plain, "ETag").await;
    assert!(plain.starts_with("{\n  \"on\": true,\n  \"to\": [\n    \"a\"\n  ]\n}\nversion 1 · seq "), "{plain:?}");
    assert!(!plain.contains('\x1b'), "{plain:?}");

    let json = shown(cli.command(&["get", "flags", "checkout", "--json"]), "position").await;
    assert!(json.starts_with("{\"key\":\"checkout\",\"value\":{\"on\":true,\"to\":[\"a\"]},"), "{json:?}");
}

#[tokio::test]
async fn lists_are_tables_that_fit_and_keys_cannot_play_tricks() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, cli) = writer(directory.path()).await;
    writer.client().set("flags", "long", &format!("\"{}\"", "x".repeat(300))).await;
    writer.client().set("flags", "trick\u{1b}[2J", "1").await;
    let mut command = cli.command(&["list", "flags"]);
    command.env("NO_COLOR", "1");
    let table = shown(command, "trick").await;
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("KEY ") && lines[0].ends_with("VALUE"), "{table}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{table}");
    assert!(lines[2].starts_with("long ") && lines[2].ends_with('…'), "{table}");
    assert!(lines[3].starts_with("trick\\u001b[2J ") && !table.contains('\x1b'), "{table:?}");

    let status = shown(cli.command(&["status"]), "flags").await;
    assert!(!status.contains("(primary)") && status.contains("COLLECTION"), "{status}");
}

#[tokio::test]
async fn a_hundred_entries_are_shown_and_the_rest_on_demand() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, cli) = writer(directory.path()).await;
    for n in 0..100 {
        writer.client().set("flags", &format!("a{n:02}"), "0").await;
    }
    let some = shown(cli.command(&["list", "flags"]), "--all").await;
    assert!(some.contains("100 shown; more follow: headwater list flags --after a99"), "{some}");
    assert!(!some.contains("checkout"), "{some}");
    let all = shown(cli.command(&["list", "flags", "--all"]), "checkout").await;
    assert!(!all.contains("more follow"), "{all}");
}

#[tokio::test]
async fn a_drop_wants_the_name_typed() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, cli) = writer(directory.path()).await;
    let mut terminal = Terminal::start(cli.command(&["collections", "drop", "flags"]));
    terminal.until("Type its name to confirm: ").await;
    terminal.type_line("y");
    assert_eq!(terminal.status().await, 1);
    assert_eq!(writer.client().entry("flags", "checkout").await.status, 200);

    let mut terminal = Terminal::start(cli.command(&["collections", "drop", "flags"]));
    terminal.until("Type its name to confirm: ").await;
    terminal.type_line("flags");
    terminal.until("dropped flags").await;
    assert_eq!(terminal.status().await, 0);
    assert_eq!(writer.client().entry("flags", "checkout").await.code(), "missing_collection");
}

#[tokio::test]
async fn a_watch_says_how_things_stand_and_leaves_a_clean_line() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, cli) = writer(directory.path()).await;
    let mut command = cli.command(&["watch", "flags"]);
    command.env("NO_COLOR", "1");
    let mut terminal = Terminal::start(command);
    terminal.until("following writer · position").await;
    writer.client().set("flags", "checkout", "false").await;
    terminal.until("  set     checkout  v2    false\n").await;
    terminal.until("lag ").await;
    terminal.until(" · 1 change").await;

    let id = terminal.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).unwrap();
    kill_process(id, Signal::INT).unwrap();
    assert_eq!(terminal.status().await, 130);
    eventually("the last line is taken away", async || {
        let shown = terminal.shown();
        if shown.ends_with("\r\x1b[2K") { Ok(()) } else { Err(shown) }
    })
    .await;
}

#[tokio::test]
async fn a_log_on_disk_is_laid_out_for_people() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, cli) = writer(directory.path()).await;
    writer.client().set("flags", "t\u{1b}[", &format!("\"{}\"", "x".repeat(300))).await;
    writer.stop().await;
    let state = writer.data().join("state");
    let log = |action: &'static str| {
        let mut command = cli.command(&["log", action, state.to_str().expect("temporary paths are UTF-8")]);
        command.env("NO_COLOR", "1");
        command
    };
    let stat = shown(log("stat"), "OPENED").await;
    assert!(stat.contains("FILE ") && stat.contains("0000000001.wal  segment  1-"), "{stat}");
    let verify = shown(log("verify"), "digest").await;
    assert!(verify.starts_with("whole  ") && verify.contains("2 entries at "), "{verify}");
    let cat = shown(log("cat"), "t\\u001b[").await;
    assert!(cat.starts_with("SEQ  TIME (UTC) ") && cat.contains("SET     flags       checkout"), "{cat}");
    assert!(cat.lines().all(|line| line.chars().count() <= 80) && !cat.contains('\x1b'), "{cat:?}");
    let repair = shown(log("repair"), "log verify").await;
    assert!(repair.contains("nothing to repair"), "{repair}");
}

#[tokio::test]
async fn keys_are_a_table_in_words_and_a_secret_is_ready_to_be_taken() {
    let directory = tempfile::tempdir().unwrap();
    let (_writer, cli) = writer(directory.path()).await;
    let command = |arguments: &[&str]| {
        let mut command = cli.command(arguments);
        command.env("NO_COLOR", "1");
        command
    };
    let prefixes: Vec<_> = (0..20).map(|n| format!("prices/region-{n:02}:")).collect();
    let places = prefixes.iter().flat_map(|place| ["--collection", place]);
    let arguments: Vec<_> = ["keys", "create", "app", "--role", "read"].into_iter().chain(places).collect();
    let made = shown(command(&arguments), "HEADWATER_SECRET=").await;
    let secret = made.lines().find_map(|line| line.strip_prefix("HEADWATER_SECRET=")).expect("a line of its own");
    assert!(secret.len() == 64 && made.contains("HEADWATER_APIKEY=app\n") && made.contains("only this once"), "{made}");
    shown(command(&["keys", "rotate", "app", "--grace", "24h"]), "HEADWATER_SECRET=").await;
    let list = shown(command(&["keys", "list"]), "region-19").await;
    let lines: Vec<_> = list.lines().collect();
    assert!(lines[0].starts_with("ID   CREATED  OLD SECRET") && lines[0].ends_with("MAY"), "{list}");
    assert!(lines[1].starts_with("app  now      for ") && lines[1].contains("read in prices/region-00:, "), "{list}");
    let revoked = shown(command(&["keys", "revoke", "app"]), "revoked").await;
    assert_eq!(revoked, "revoked app\n");
}
