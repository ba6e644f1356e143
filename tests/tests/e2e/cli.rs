//! The client commands as a script and as a person meet them: the real program against real nodes.

mod archives;
mod backups;
mod config;
mod entries;
mod keys;
mod lists;
mod log;
mod profiles;
mod promote;
mod refusals;
mod terminal;
mod times;
mod transfer;
mod watch;

use headwater_local::tools::Tools;
use headwater_tests::Node;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// Longest time a command may take.
const WITHIN: Duration = Duration::from_secs(40);

/// The program, told where a node is and given the development pair by variables.
pub(crate) struct Cli {
    program: PathBuf,
    url: String,
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Cli {
    pub(crate) fn at(url: &str) -> Self {
        let tools = Tools::load().expect("./dev test writes the tools file");
        Self { program: tools.server, url: url.into() }
    }

    pub(crate) fn of(node: &Node) -> Self {
        Self::at(&node.url)
    }

    /// The command, with nothing of the environment that could change what it does.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HEADWATER_") {
                command.env_remove(name);
            }
        }
        command.env_remove("NO_COLOR").env("TERM", "xterm").env("HEADWATER_URL", &self.url);
        command.env("HEADWATER_APIKEY", "dev").env("HEADWATER_SECRET", "dev");
        command.args(arguments).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Done {
        finish(self.command(arguments), b"").await
    }

    /// Runs it with something on stdin.
    async fn run_with(&self, arguments: &[&str], input: &[u8]) -> Done {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped());
        finish(command, input).await
    }

    /// Runs what must succeed and gives its stdout as JSON.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        let done = self.run(arguments).await;
        assert_eq!((done.status, &*done.stderr), (0, ""), "{arguments:?}: {done:?}");
        serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"))
    }
}

pub(crate) async fn finish(mut command: Command, input: &[u8]) -> Done {
    let ended = timeout(WITHIN, async {
        let mut child = command.spawn().expect("the program starts");
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input).await.expect("it reads its stdin");
        }
        child.wait_with_output().await.expect("a child can be waited for")
    });
    let output = ended.await.unwrap_or_else(|_| panic!("{command:?} did not end within {WITHIN:?}"));
    let text = |bytes| String::from_utf8(bytes).expect("the output is UTF-8");
    Done {
        status: output.status.code().expect("it ended by itself"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}
