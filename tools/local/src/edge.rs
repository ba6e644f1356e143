//! The edge worker in plain workerd.

use std::{fs, path::Path, time::Duration};

use serde::Deserialize;
use tokio::process::Command;

use crate::{
    program::{Program, StartError},
    tools::Tools,
};

/// How long workerd gets to end. With a stream open it never does, so waiting longer is in vain.
pub const STOP_GRACE: Duration = Duration::from_millis(500);

/// What an edge worker is told at its start.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    /// Its label.
    pub node: &'a str,
    /// The parent's base address, such as `http://127.0.0.1:7070`.
    pub parent: &'a str,
    /// The pair it shows to the parent.
    pub apikey: &'a str,
    /// The pair's secret half.
    pub secret: &'a str,
    /// Whether it accepts the pair `dev` / `dev` itself.
    pub dev: bool,
    /// Where its object keeps its database, and workerd's output goes (`workerd.log`); made if missing.
    pub data: &'a Path,
    /// Further bindings from the environment, by the names in `workerd.capnp`.
    pub more: &'a [(&'a str, &'a str)],
}

/// Starts workerd with the built worker; returns it and the worker's base address.
///
/// # Errors
/// [`StartError`], or the data directory cannot be made.
pub async fn start(tools: &Tools, settings: &Settings<'_>) -> Result<(Program, String), StartError> {
    let storage = settings.data.join("objects");
    fs::create_dir_all(&storage).map_err(StartError::Spawn)?;
    let mut command = Command::new(&tools.workerd);
    command
        .arg("serve")
        .arg(tools.edge.join("workerd.capnp"))
        .args(["--control-fd=1", "--socket-addr=http=127.0.0.1:0"])
        .arg(format!("--directory-path=storage={}", storage.display()))
        .env("NODE", settings.node)
        .env("PARENT_URL", settings.parent)
        .env("PARENT_APIKEY", settings.apikey)
        .env("PARENT_SECRET", settings.secret)
        .env_remove("DEV")
        .envs(settings.dev.then_some(("DEV", "1")))
        .envs(settings.more.iter().copied());
    let (program, port) = Program::start(settings.node, command, &settings.data.join("workerd.log"), port_in).await?;
    Ok((program, format!("http://127.0.0.1:{port}")))
}

/// Reads workerd's word that its socket listens.
fn port_in(line: &str) -> Option<u16> {
    #[derive(Deserialize)]
    struct Event {
        event: String,
        port: u16,
    }
    let event: Event = serde_json::from_str(line).ok()?;
    (event.event == "listen").then_some(event.port)
}
