//! A native node that can be killed, stopped, stalled and started again at the same address.

use crate::client::Client;
use crate::eventually::eventually;
use crate::medium::Medium;
use headwater_local::program::{Program, Stopped};
use headwater_local::server;
use headwater_local::tools::Tools;
use rustix::process::Signal;
use std::path::{Path, PathBuf};

/// How a node is started.
#[derive(Clone, Debug)]
pub struct NodeBuilder {
    name: String,
    data: PathBuf,
    options: Vec<String>,
    /// What is started in place of the program; it starts that in turn.
    wrapper: Option<PathBuf>,
}

impl NodeBuilder {
    /// A writer named `name` whose state lies below `directory`, with the development pair and quick pings.
    pub fn writer(name: &str, directory: &Path) -> Self {
        let options = ["--dev", "--ping-ms", "500"].map(String::from).to_vec();
        Self { name: name.into(), data: directory.join(name), options, wrapper: None }
    }

    /// A replica of `parent`.
    pub fn replica(name: &str, directory: &Path, parent: &str) -> Self {
        Self::writer(name, directory).option("--parent", parent)
    }

    /// Has its state on a file system of its own; its output stays where it is.
    #[must_use]
    pub fn on(self, medium: &Medium) -> Self {
        let state = medium.path().join("state");
        std::fs::create_dir(&state).expect("the file system is empty");
        std::fs::create_dir_all(&self.data).expect("the test's directory can be written");
        std::os::unix::fs::symlink(state, self.data.join("state")).expect("the test's directory can be written");
        self
    }

    /// Is started by this program, which becomes the node.
    #[must_use]
    pub fn under(mut self, wrapper: PathBuf) -> Self {
        self.wrapper = Some(wrapper);
        self
    }

    /// The directory that holds its state and its output.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Adds a setting, or changes it.
    #[must_use]
    pub fn option(mut self, flag: &str, value: &str) -> Self {
        self.change(flag, value);
        self
    }

    /// Adds a setting that has no value.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.options.push(flag.into());
        self
    }

    /// Takes away a setting that has no value.
    #[must_use]
    pub fn without(mut self, flag: &str) -> Self {
        self.options.retain(|option| option != flag);
        self
    }

    fn change(&mut self, flag: &str, value: &str) {
        match self.options.iter().position(|option| option == flag) {
            Some(index) => self.options[index + 1] = value.into(),
            None => self.options.extend([flag.into(), value.into()]),
        }
    }

    /// Starts it and waits until it listens.
    pub async fn start(self) -> Node {
        self.try_start().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`NodeBuilder::start`] of a node that may not come up.
    ///
    /// # Errors
    /// What it said.
    pub async fn try_start(self) -> Result<Node, String> {
        let (program, url) = self.launch("127.0.0.1:0").await?;
        Ok(Node { builder: self, program: Some(program), url })
    }

    async fn launch(&self, listen: &str) -> Result<(Program, String), String> {
        let mut tools = Tools::load().expect("./dev test writes the tools file");
        if let Some(wrapper) = &self.wrapper {
            tools.server.clone_from(wrapper);
        }
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        let started = server::start_at(&tools, &self.name, &self.data, listen, &options).await;
        started.map_err(|error| format!("{} {error}", self.name))
    }
}

/// Waits until a log that goes on has these words.
pub async fn said(words: &str, log: impl Fn() -> String) {
    eventually(&format!("{words:?} is logged"), || async {
        let log = log();
        if log.contains(words) { Ok(()) } else { Err(log) }
    })
    .await;
}

/// A native node. Killed when dropped.
pub struct Node {
    builder: NodeBuilder,
    program: Option<Program>,
    /// Its base address, the same after each start.
    pub url: String,
}

impl Node {
    /// A client with the development pair.
    pub fn client(&self) -> Client {
        Client::dev(&self.url)
    }

    /// The directory that holds its state and its output.
    pub fn data(&self) -> &Path {
        &self.builder.data
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.builder.data.join("server.log")).expect("the node's output is in a file")
    }

    /// Waits until it has written this: its words come by a pipe, and later than what it does.
    pub async fn says(&self, words: &str) {
        said(words, || self.log()).await;
    }

    /// Its process id while it runs.
    pub fn id(&self) -> Option<u32> {
        self.program.as_ref().and_then(Program::id)
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&self) {
        Client::with_pair(&self.url, None).ready().await;
    }

    /// Kills it (SIGKILL).
    pub async fn kill(&mut self) {
        if let Some(program) = self.program.take() {
            program.kill().await.expect("a child can be killed");
        }
    }

    /// Asks it to end and waits for that.
    pub async fn stop(&mut self) -> Option<Stopped> {
        let program = self.program.take()?;
        Some(program.stop(server::STOP_GRACE).await.expect("a child can be stopped"))
    }

    /// Starts it again at the same address.
    pub async fn start_again(&mut self) {
        let listen = crate::raw::authority(&self.url).to_owned();
        let started = self.builder.launch(&listen).await;
        let (program, url) = started.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(url, self.url);
        self.program = Some(program);
    }

    /// Is started by itself from the next start on.
    pub fn without_wrapper(&mut self) {
        self.builder.wrapper = None;
    }

    /// Changes a setting for the next start, or adds it.
    pub fn set_option(&mut self, flag: &str, value: &str) {
        self.builder.change(flag, value);
    }

    /// Adds a setting that has no value, for the next start.
    pub fn add_flag(&mut self, flag: &str) {
        self.builder.options.push(flag.into());
    }

    /// Takes a setting away that has no value, for the next start.
    pub fn take_flag(&mut self, flag: &str) {
        self.builder.options.retain(|option| option != flag);
    }

    /// Takes a setting away, with its value, for the next start.
    pub fn clear_option(&mut self, flag: &str) {
        if let Some(index) = self.builder.options.iter().position(|option| option == flag) {
            self.builder.options.drain(index..index + 2);
        }
    }

    /// Stalls it (SIGSTOP): its connections stay open and nothing comes.
    pub fn stall(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`Node::stall`].
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to end (SIGTERM), and does not wait for that.
    pub fn ask_to_end(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        let program = self.program.as_ref().expect("the node runs");
        program.signal(signal).expect("a child can be signalled");
    }
}
