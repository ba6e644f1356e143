//! The three nodes of `./dev run`, started in order and stopped in the opposite one.

use std::{future, io, path::Path, process::ExitStatus, time::Duration};

use headwater_local::{
    edge,
    program::{Program, StartError, Stopped},
    server,
    tools::Tools,
};

use crate::Failure;

/// The pair that `--dev` accepts on loopback.
pub(crate) const APIKEY: &str = "dev";
/// Its secret half.
pub(crate) const SECRET: &str = "dev";

/// One running node.
pub(crate) struct Node {
    pub(crate) role: &'static str,
    pub(crate) url: String,
    program: Program,
    /// How to start it again where it was; the edge worker has no such line.
    again: Option<String>,
    ended: bool,
}

impl Node {
    /// Returns its process id, `None` once it has ended.
    pub(crate) fn id(&self) -> Option<u32> {
        self.program.id()
    }

    /// Waits until it ends; says so once.
    async fn end(&mut self) -> io::Result<ExitStatus> {
        if self.ended {
            return future::pending().await;
        }
        let status = self.program.wait().await;
        self.ended = true;
        status
    }

    fn obituary(&self, status: io::Result<ExitStatus>) -> String {
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        let mut text = format!("the {} ended ({status}); its log: {}", self.role, self.program.log().display());
        if let Some(again) = &self.again {
            text.push_str("\n  To start it again: ");
            text.push_str(again);
        }
        text
    }
}

/// A writer with two replicas, one native and one at the edge.
pub(crate) struct Cluster {
    pub(crate) writer: Node,
    pub(crate) replica: Node,
    pub(crate) edge: Node,
}

impl Cluster {
    /// Starts all three, each with a directory of its own in `data`.
    pub(crate) async fn start(tools: &Tools, data: &Path) -> Result<Self, Failure> {
        let writer = native(tools, data, "writer", &["--dev"]).await?;
        let replica = native(tools, data, "replica", &["--dev", "--parent", &writer.url]).await?;
        let settings = edge::Settings {
            node: "edge",
            parent: &writer.url,
            apikey: APIKEY,
            secret: SECRET,
            dev: true,
            data: &data.join("edge"),
            more: &[],
        };
        let edge = node("edge", edge::start(tools, &settings).await)?;
        Ok(Self { writer, replica, edge })
    }

    /// Returns the nodes in the order in which they are shown.
    pub(crate) fn nodes(&self) -> [&Node; 3] {
        [&self.writer, &self.replica, &self.edge]
    }

    /// Waits until the next of the three ends, and says which, how, where its log is and how to start it again.
    pub(crate) async fn next_end(&mut self) -> String {
        tokio::select! {
            status = self.writer.end() => self.writer.obituary(status),
            status = self.replica.end() => self.replica.obituary(status),
            status = self.edge.end() => self.edge.obituary(status),
        }
    }

    /// Tells whether none of the three runs any more.
    pub(crate) fn all_ended(&self) -> bool {
        self.nodes().iter().all(|node| node.ended)
    }

    /// Stops children before parents, so that nobody reports a lost parent.
    pub(crate) async fn stop(self) -> io::Result<()> {
        // workerd does not end while a stream is open, so that it had to be killed says nothing.
        self.edge.program.stop(edge::STOP_GRACE).await?;
        let replica = self.replica.program.stop(server::STOP_GRACE).await?;
        let writer = self.writer.program.stop(server::STOP_GRACE).await?;
        for (role, stopped) in [("replica", replica), ("writer", writer)] {
            if stopped == Stopped::Killed {
                eprintln!("the {role} did not end within {} s and was killed", Duration::as_secs(&server::STOP_GRACE));
            }
        }
        Ok(())
    }
}

async fn native(tools: &Tools, data: &Path, role: &'static str, options: &[&str]) -> Result<Node, Failure> {
    let data = data.join(role);
    let mut node = node(role, server::start(tools, role, &data, options).await)?;
    let listen = node.url.trim_start_matches("http://");
    node.again = Some(server::command_line(tools, role, &data, listen, options));
    Ok(node)
}

fn node(role: &'static str, started: Result<(Program, String), StartError>) -> Result<Node, Failure> {
    let (program, url) = started.map_err(|error| format!("the {role} {error}"))?;
    Ok(Node { role, url, program, again: None, ended: false })
}
