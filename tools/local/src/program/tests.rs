//! Programs that behave and misbehave, played by the shell.

use std::{fs, time::Duration};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::Command;

use super::{Program, StartError, Stopped};

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

async fn start(directory: &TempDir, script: &str) -> Result<(Program, u32), StartError> {
    Program::start("sh", shell(script), &directory.path().join("log"), |line| {
        line.strip_prefix("port ").and_then(|port| port.parse().ok())
    })
    .await
}

#[tokio::test]
async fn is_ready_once_a_line_of_either_output_says_so() {
    let directory = tempfile::tempdir().unwrap();
    for script in ["echo hello; echo port 7; exec sleep 60", "echo hello; echo port 7 >&2; exec sleep 60"] {
        let (program, port) = start(&directory, script).await.unwrap();
        assert_eq!(port, 7);
        program.kill().await.unwrap();
    }
}

#[tokio::test]
async fn ending_before_ready_is_an_error_that_quotes_the_output() {
    let directory = tempfile::tempdir().unwrap();
    match start(&directory, "echo no port free; exit 3").await.map(drop) {
        Err(StartError::Ended(status, said)) => assert_eq!((status.code(), said.as_str()), (Some(3), "no port free\n")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn keeps_what_a_ready_program_says_in_its_log() {
    let directory = tempfile::tempdir().unwrap();
    let (program, _) =
        start(&directory, "trap 'echo bye; exit 0' TERM; echo port 7; while :; do sleep 0.01; done").await.unwrap();
    let log = program.log().to_owned();
    assert!(matches!(program.stop(Duration::from_secs(10)).await.unwrap(), Stopped::Ended(status) if status.success()));
    // The copying task may still hold the last line when the process is gone.
    while !fs::read_to_string(&log).unwrap().ends_with("bye\n") {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_program_that_ignores_the_request_is_killed_after_the_grace() {
    let directory = tempfile::tempdir().unwrap();
    let (program, _) = start(&directory, "trap '' TERM; echo port 7; while :; do sleep 0.01; done").await.unwrap();
    assert_eq!(program.stop(Duration::from_millis(50)).await.unwrap(), Stopped::Killed);
}

#[tokio::test]
async fn signalling_a_program_that_has_ended_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    let (mut program, _) = start(&directory, "echo port 7").await.unwrap();
    program.wait().await.unwrap();
    program.signal(Signal::TERM).unwrap();
    assert_eq!(program.id(), None);
}

#[tokio::test]
async fn dropping_kills() {
    let directory = tempfile::tempdir().unwrap();
    let (program, port) = start(&directory, "echo port $$; exec sleep 60").await.unwrap();
    drop(program);
    // Gone, or a zombie that the runtime has yet to collect: either way it runs no more.
    let state = loop {
        match fs::read_to_string(format!("/proc/{port}/stat")) {
            Err(_) => break "gone",
            Ok(stat) if stat.contains(") Z ") => break "zombie",
            Ok(_) => tokio::task::yield_now().await,
        }
    };
    assert!(["gone", "zombie"].contains(&state));
}
