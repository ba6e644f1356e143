//! The load: connections that each send the next request as soon as the last one is answered, or at a chosen rate, all on
//! one thread.
//!
//! A closed loop measures capacity and the latency at capacity. It cannot see a stall: whoever waits sends nothing, so a
//! second in which nothing is answered counts as one slow answer for each connection. At a chosen rate an answer is as late
//! as it is behind the time its request was due, also when that could not be sent because the one before was not answered.

use crate::histogram::Histogram;
use crate::http::Connection;
use crate::process::{Server, cpu_of};
use anyhow::Context;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

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
    /// Requests per second of all connections together; `None`: as fast as they are answered.
    pub(crate) rate: Option<u32>,
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
    /// What this process, the load, used of its own.
    pub(crate) load_cpu: Duration,
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

    /// Share of its one core that the load used. Near 1, it was the limit and not the server.
    pub(crate) fn load_busy(&self) -> f64 {
        self.load_cpu.as_secs_f64() / self.elapsed.as_secs_f64()
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
            let pace = self.rate.map(|rate| Pace::new(rate, self.connections, index));
            connections.spawn(send(connection, Arc::clone(&self.requests), first, pace, Arc::clone(&stage)));
        }
        // The stage changes where the clocks are read, so that on a busy machine, where the time to sleep is passed by
        // far, operations, time and CPU still are of the same interval.
        sleep(self.warm_up).await;
        let (cpu_before, load_before, begun) = (server.cpu()?, cpu_of("self")?, Instant::now());
        stage.store(MEASURE, Ordering::Relaxed);
        sleep(self.measure).await;
        let (cpu, load_cpu, elapsed) = (server.cpu()? - cpu_before, cpu_of("self")? - load_before, begun.elapsed());
        stage.store(OVER, Ordering::Relaxed);
        let mut latency = Histogram::default();
        while let Some(joined) = timeout(STALL, connections.join_next()).await.context("a connection stalled")? {
            latency.merge(&joined??);
        }
        Ok(Turn { operations: latency.count(), elapsed, latency, cpu, load_cpu })
    }
}

/// When a connection's requests are due.
struct Pace {
    due: Instant,
    every: Duration,
}

impl Pace {
    /// Of one of `connections` that send `rate` requests a second together, in turn.
    fn new(rate: u32, connections: usize, index: usize) -> Self {
        let between = Duration::from_secs(1) / rate;
        Self { due: Instant::now() + between * index as u32, every: between * connections as u32 }
    }

    /// When the next request is due.
    fn take(&mut self) -> Instant {
        let due = self.due;
        self.due += self.every;
        due
    }

    /// Waits until the next request is due, and returns from when on its answer is waited for.
    async fn next(&mut self) -> Instant {
        let due = self.take();
        if due <= Instant::now() {
            return due;
        }
        sleep_until(due).await;
        // That this program was woken late is no fault of the server.
        Instant::now()
    }
}

/// Counts what is answered while the stage is [`MEASURE`].
async fn send(
    mut connection: Connection,
    requests: Arc<[Bytes]>,
    first: usize,
    mut pace: Option<Pace>,
    stage: Arc<AtomicU8>,
) -> anyhow::Result<Histogram> {
    let mut latency = Histogram::default();
    let mut sent = Instant::now();
    for request in requests.iter().cycle().skip(first) {
        if let Some(pace) = &mut pace {
            sent = pace.next().await;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_take_turns_at_the_rate_whatever_the_answers_take() {
        let mut paces: Vec<_> = (0..3).map(|index| Pace::new(300, 3, index)).collect();
        let begun = paces[0].due;
        for round in 0..4 {
            for (index, pace) in paces.iter_mut().enumerate() {
                let due = pace.take().saturating_duration_since(begun).as_secs_f64() * 1e3;
                let expected = f64::from(round) * 10.0 + index as f64 * 10.0 / 3.0;
                assert!((due - expected).abs() < 1.0, "{due} ms, not {expected}");
            }
        }
    }

    #[tokio::test]
    async fn a_request_that_could_not_be_sent_in_time_is_late_from_when_it_was_due() {
        let mut pace = Pace::new(1_000, 1, 0);
        let due = pace.due;
        sleep(Duration::from_millis(20)).await;
        assert_eq!(pace.next().await, due);
        pace.due += Duration::from_millis(50);
        let due = pace.due;
        assert!(pace.next().await >= due);
    }
}
