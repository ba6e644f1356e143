//! A crowd of children, as a process of its own: many that are idle, as nothing they follow changes, and some that have
//! stalled, who ask for everything and never read again.
//!
//! Apart from the process that measures, so that what the crowd itself takes to read its PINGs does not count as delay:
//! on the core they share it gives way.

use crate::http::{Begun, Connection, Endpoint, Pair};
use crate::socket::Socket;
use crate::stream::request;
use anyhow::{Context, bail};
use clap::Args;
use headwater_core::scope::Scope;
use headwater_local::program::Program;
use memchr::memmem;
use std::net::SocketAddr;
use std::path::Path;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::task::JoinSet;

/// What it says when all are there.
const ALL_THERE: &str = "all there";
/// Number of its first child: others count from 0.
const FIRST: u64 = 1_000_000;
/// How far it gives way.
const NICENESS: i32 = 19;

/// Who belongs to it, and whom they follow.
#[derive(Args)]
pub(crate) struct Crowd {
    address: SocketAddr,
    apikey: String,
    secret: String,
    /// Children that follow `scope` and read what comes.
    #[arg(long)]
    idle: u64,
    /// Children that ask for everything and read nothing behind the answer's head.
    #[arg(long)]
    stalled: u64,
    /// JSON.
    #[arg(long)]
    scope: String,
}

impl Crowd {
    /// Starts one that follows `endpoint`, its output in `log`, and waits until all are there.
    pub(crate) async fn start(
        endpoint: &Endpoint,
        idle: u64,
        stalled: u64,
        scope: &str,
        log: &Path,
    ) -> anyhow::Result<Program> {
        let mut command = Command::new(std::env::current_exe()?);
        let Endpoint { address, pair: Pair { apikey, secret }, .. } = endpoint;
        command.arg("crowd").args([&address.to_string(), apikey, secret, "--scope", scope]);
        command.args(["--idle", &idle.to_string(), "--stalled", &stalled.to_string()]);
        let (program, ()) =
            Program::start("crowd", command, log, |line| line.contains(ALL_THERE).then_some(())).await?;
        Ok(program)
    }

    /// Is one, until it is ended; fails when an idle stream ends.
    pub(crate) fn be(self) -> anyhow::Result<()> {
        rustix::process::nice(NICENESS)?;
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(self.follow())
    }

    async fn follow(self) -> anyhow::Result<()> {
        let Self { address, apikey, secret, idle, stalled, scope } = self;
        let endpoint = Endpoint { address, pair: Pair { apikey, secret }, tls: None };
        let scope = Scope::from_json(&scope).map_err(|error| anyhow::anyhow!("{error}"))?;
        let mut held = Vec::new();
        for number in 0..stalled {
            held.push(open(&endpoint, FIRST + number, Scope::Everything).await?);
        }
        let mut reading = JoinSet::new();
        for number in 0..idle {
            let (mut socket, mut seen) = open(&endpoint, FIRST + stalled + number, scope.clone()).await?;
            while memmem::find(&seen, b"\n{\"type\":\"READY\"").is_none() {
                let read = socket.read_buf(&mut seen).await?;
                anyhow::ensure!(read > 0, "the server ended a stream before READY");
            }
            drop(seen);
            reading.spawn(async move {
                let mut buffer = [0; 1 << 10];
                while socket.read(&mut buffer).await? > 0 {}
                anyhow::Ok(())
            });
        }
        println!("{ALL_THERE}");
        match reading.join_next().await {
            Some(ended) => ended?.context("an idle stream broke off").and_then(|()| bail!("an idle stream was ended")),
            None => std::future::pending().await,
        }
    }
}

/// A stream, and what came of it with the answer's head.
async fn open(endpoint: &Endpoint, number: u64, scope: Scope) -> anyhow::Result<(Socket, Vec<u8>)> {
    let request = request(endpoint, number, scope, None);
    match Connection::open(endpoint).await?.begin_stream(&request).await? {
        Begun::Stream(socket, begun) => Ok((socket, begun)),
        Begun::Refused { status, why, .. } => bail!("a stream was refused with {status}: {why}"),
    }
}
