//! Programs of others.

use crate::node::Target;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// Runs a program against `target`, in its directory, to its end and returns whether it succeeded, and what it said on both
/// its outputs.
pub(crate) async fn run(target: &Target, program: &str, arguments: &[&str], within: Duration) -> (bool, String) {
    let mut command = Command::new(program);
    command.current_dir(target.file("")).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let done = timeout(within, command.output()).await;
    let done = done.unwrap_or_else(|_| panic!("{program} is not done after {within:?}: {arguments:?}"));
    let done = done.unwrap_or_else(|error| panic!("{program}: {error}; ./dev attack installs it"));
    let said = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8_lossy(&said).into_owned())
}
