//! The load: connections that each send the next request as soon as the last one is answered, all on one thread.
//!
//! A closed loop measures capacity and the latency at capacity, not the latency at a chosen rate; benches that need the
//! latter pace their requests themselves.

use crate::histogram::Histogram;
use crate::http::Connection;
use crate::process::Server;
use anyhow::Context;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// A stall longer than this fails the run.
const STALL: Duration = Duration::from_secs(20);

const WARM_UP: u8 = 0;
const MEASURE: u8 = 1;
const OVER: u8 = 2;

/// What to send, over how many connections, for how long.
#[derive(Clone)]
pub(crate) struct Load {
    /// Connections, each with one request on its way.
    pub(crate) connections: usize,
    /// Sent in turn; each connection begins at another place.
    pub(crate) requests: Arc<[Bytes]>,
    /// Time before anything is counted.
    pub(crate) warm_up: Duration,
    /// Time that is counted.
    pub(crate) measure: Duration,
}

/// What one turn of a server showed.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    /// Operations answered.
    pub(crate) operations: u64,
    /// In this time.
    pub(crate) elapsed: Duration,
    /// Their latencies as the load saw them.
    pub(crate) latency: Histogram,
    /// What the server's process used of its core meanwhile, in user and kernel.
    pub(crate) cpu: Duration,
}

impl Turn {
    /// Operations per second.
    pub(crate) fn rate(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64()
    }

    /// CPU time of the server per operation, in us.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.operations.max(1) as f64
    }

    /// Share of one core that the server used. Well below 1 under a closed loop of many connections, the load or a disk
    /// was the limit and the rate says little about the server.
    pub(crate) fn busy(&self) -> f64 {
        self.cpu.as_secs_f64() / self.elapsed.as_secs_f64()
    }
}

impl Load {
    /// Runs once against `server`. Any answer but 200 is an error.
    pub(crate) async fn run(&self, server: &Server) -> anyhow::Result<Turn> {
        let stage = Arc::new(AtomicU8::new(WARM_UP));
        let mut connections = JoinSet::new();
        for index in 0..self.connections {
            let connection = Connection::open(&server.endpoint).await?;
            let first = index * self.requests.len() / self.connections;
            connections.spawn(closed_loop(connection, Arc::clone(&self.requests), first, Arc::clone(&stage)));
        }
        // The stage changes where the clocks are read, so that on a busy machine, where the time to sleep is passed by
        // far, operations, time and CPU still are of the same interval.
        sleep(self.warm_up).await;
        let (cpu_before, begun) = (server.cpu()?, Instant::now());
        stage.store(MEASURE, Ordering::Relaxed);
        sleep(self.measure).await;
        let (cpu, elapsed) = (server.cpu()? - cpu_before, begun.elapsed());
        stage.store(OVER, Ordering::Relaxed);
        let mut latency = Histogram::default();
        while let Some(joined) = timeout(STALL, connections.join_next()).await.context("a connection stalled")? {
            latency.merge(&joined??);
        }
        Ok(Turn { operations: latency.count(), elapsed, latency, cpu })
    }
}

/// Counts what is answered while the stage is [`MEASURE`].
async fn closed_loop(
    mut connection: Connection,
    requests: Arc<[Bytes]>,
    first: usize,
    stage: Arc<AtomicU8>,
) -> anyhow::Result<Histogram> {
    let mut latency = Histogram::default();
    let mut sent = Instant::now();
    for request in requests.iter().cycle().skip(first) {
        connection.exchange(request).await?.ok()?;
        let answered = Instant::now();
        match stage.load(Ordering::Relaxed) {
            WARM_UP => {}
            MEASURE => latency.add(answered - sent),
            _ => break,
        }
        sent = answered;
    }
    Ok(latency)
}
