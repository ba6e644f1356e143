//! What ours is compared with: the least programs that do the same work over the same HTTP, as processes of their own.
//!
//! They are bounds, not products: no credentials, no versions, no replication, and no error handling beyond ending.

mod answer;
mod durable;

use anyhow::Context;
use clap::Subcommand;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use tokio::net::TcpListener;

#[derive(Subcommand)]
pub(crate) enum Competitor {
    /// One axum handler that answers every request with the bytes of a file
    Axum { answer: PathBuf },
    /// The same bytes by plain socket calls on the runtime: no HTTP beyond finding the end of a request
    Raw { answer: PathBuf },
    /// An axum handler that appends each request's body to a file and answers when a group of them is durable
    Durable { log: PathBuf },
}

pub(crate) use answer::Answer;

impl Competitor {
    /// Serves until it is killed.
    pub(crate) fn serve(self) -> anyhow::Result<()> {
        // As many workers as cores that it may use, like ours.
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            match self {
                Self::Axum { answer } => answer::serve_axum(Answer::read(&answer)?, listen().await?).await,
                Self::Raw { answer } => answer::serve_raw(Answer::read(&answer)?, listen().await?).await,
                Self::Durable { log } => durable::serve(&log, listen().await?).await,
            }
        })
    }
}

/// Listens at a free port and says so in the way the harness waits for.
async fn listen() -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.context("listening")?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(listener)
}

/// Serves a router as `axum::serve` does, without delaying small answers.
async fn serve_router(router: axum::Router, listener: TcpListener) -> anyhow::Result<()> {
    use axum::serve::ListenerExt;
    let listener = listener.tap_io(|socket| {
        if let Err(error) = socket.set_nodelay(true) {
            eprintln!("a connection is slower than it should be: {error}");
        }
    });
    Ok(axum::serve(listener, router).await?)
}
