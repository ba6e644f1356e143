//! The edge worker in workerd.

use crate::client::Client;
use crate::node::said;
use headwater_local::edge;
use headwater_local::program::Program;
use headwater_local::tools::Tools;
use rustix::process::Signal;
use std::path::{Path, PathBuf};

/// An edge worker. Killed when dropped.
pub struct Edge {
    data: PathBuf,
    parent: String,
    program: Option<Program>,
    /// Its base address; another one after each start.
    pub url: String,
}

impl Edge {
    /// Starts one that follows `parent` and keeps its database below `directory`.
    pub async fn start(directory: &Path, parent: &str) -> Self {
        let mut edge = Self { data: directory.join("edge"), parent: parent.into(), program: None, url: String::new() };
        edge.start_again().await;
        edge
    }

    /// Starts it again after [`Edge::kill`], with the same database.
    pub async fn start_again(&mut self) {
        let tools = Tools::load().expect("./dev test writes the tools file");
        let settings = edge::Settings {
            node: "edge",
            parent: &self.parent,
            apikey: "dev",
            secret: "dev",
            dev: true,
            data: &self.data,
            more: &[],
        };
        let (program, url) = edge::start(&tools, &settings).await.unwrap_or_else(|error| panic!("the edge {error}"));
        self.program = Some(program);
        self.url = url;
    }

    /// Kills it (SIGKILL).
    pub async fn kill(&mut self) {
        if let Some(program) = self.program.take() {
            program.kill().await.expect("a child can be killed");
        }
    }

    /// Stalls it (SIGSTOP) with its connections open.
    pub fn stall(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`Edge::stall`].
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let program = self.program.as_ref().expect("the edge runs");
        program.signal(signal).expect("a child can be signalled");
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.join("workerd.log")).expect("workerd's output is in a file")
    }

    /// Waits until it has written this.
    pub async fn says(&self, words: &str) {
        said(words, || self.log()).await;
    }

    /// A client with the development pair.
    pub fn client(&self) -> Client {
        Client::dev(&self.url)
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&self) {
        Client::with_pair(&self.url, None).ready().await;
    }
}
