//! `./dev run` itself: a writer, a replica and an edge worker, and what is left when the writer is stopped.

use std::{fs, path::Path, time::Duration};

use headwater_local::{
    program::{Program, Stopped},
    tools::Tools,
};
use headwater_tests::{client::Client, eventually::eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::Command;

async fn start(directory: &Path) -> (Program, u32) {
    let tools = Tools::load().expect("./dev build wrote where the programs are");
    let mut command = Command::new(&tools.local);
    command.arg("--data").arg(directory.join("data")).arg("--run-file").arg(directory.join("run.json"));
    Program::start("run", command, &directory.join("run.log"), |line| {
        let ids = line.strip_prefix("Stop one with kill and the others read on: writer ")?;
        ids.split(',').next()?.parse().ok()
    })
    .await
    .expect("it starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_others_read_on_without_the_writer_and_all_end_together() {
    let directory = tempfile::tempdir().unwrap();
    let (run, writer) = start(directory.path()).await;
    let addresses: Value = serde_json::from_slice(&fs::read(directory.path().join("run.json")).unwrap()).unwrap();

    kill_process(Pid::from_raw(writer.cast_signed()).unwrap(), Signal::TERM).unwrap();
    let log = run.log().to_owned();
    let said = eventually("the end of the writer is told", || async {
        let said = fs::read_to_string(&log).unwrap();
        if said.contains("To start it again") { Ok(said) } else { Err(said) }
    })
    .await;
    assert!(said.contains("the writer ended (exit status: 0)"), "{said}");
    for node in ["replica", "edge"] {
        let client = Client::dev(addresses[node].as_str().unwrap());
        let read = client.entry("flags", "banner").await;
        assert_eq!(read.status, 200, "the {node}: {}", read.text());
        assert!(read.header("headwater-lag-ms").is_some(), "the {node} tells no lag");
    }

    // The command that was told brings it back where it was, with what it had.
    let again = said.lines().find_map(|line| line.trim().strip_prefix("To start it again: ")).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {again}")]);
    let writer_log = directory.path().join("writer.log");
    let (writer, ()) =
        Program::start("writer", command, &writer_log, |line| line.contains("listening").then_some(())).await.unwrap();
    let client = Client::dev(addresses["writer"].as_str().unwrap());
    assert_eq!(client.entry("flags", "banner").await.status, 200);
    writer.stop(Duration::from_secs(10)).await.unwrap();

    run.signal(Signal::INT).unwrap();
    match run.stop(Duration::from_secs(30)).await.unwrap() {
        Stopped::Ended(status) => assert!(status.success(), "{status}"),
        Stopped::Killed => panic!("it did not end"),
    }
    assert!(!directory.path().join("run.json").exists(), "the addresses are of no use any more");
}
