//! The three nodes of `./dev run`, started in order and stopped in the opposite one.

use std::{io, path::Path, time::Duration};

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
        let writer = node("writer", server::start(tools, "writer", &data.join("writer"), &["--dev"]).await)?;
        let follow = ["--dev", "--parent", &writer.url];
        let replica = node("replica", server::start(tools, "replica", &data.join("replica"), &follow).await)?;
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

    /// Waits until one of the three ends, which none should; says which and where its log is.
    pub(crate) async fn any_ended(&mut self) -> String {
        let (role, log, status) = tokio::select! {
            status = self.writer.program.wait() => ("writer", self.writer.program.log(), status),
            status = self.replica.program.wait() => ("replica", self.replica.program.log(), status),
            status = self.edge.program.wait() => ("edge", self.edge.program.log(), status),
        };
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        format!("the {role} ended by itself ({status}); its log: {}", log.display())
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

fn node(role: &'static str, started: Result<(Program, String), StartError>) -> Result<Node, Failure> {
    let (program, url) = started.map_err(|error| format!("the {role} {error}"))?;
    Ok(Node { role, url, program })
}
