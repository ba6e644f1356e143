//! Streams of everything that are looked after line by line, and those who write: how long a line takes to reach them all.

use super::{create_collection, set_request};
use crate::histogram::Histogram;
use crate::http::Connection;
use crate::process::Server;
use crate::settings::Settings;
use crate::stream::Follower;
use anyhow::{Context, bail, ensure};
use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

/// Few enough that every stream has a line before the next write, so that this measures delay and not capacity.
pub(super) const WRITES_PER_SECOND: u32 = 20;
pub(super) const BURST_CONNECTIONS: usize = 64;
const VALUE_BYTES: usize = 100;
const GIVE_UP: Duration = Duration::from_secs(60);

/// The streams, and those who write. Lives within a [`tokio::task::LocalSet`].
pub(super) struct Audience<'a> {
    settings: &'a Settings,
    server: &'a Server,
    tally: Rc<Tally>,
    streams: JoinSet<anyhow::Result<()>>,
}

/// What some writes came to.
pub(super) struct Phase {
    pub(super) writes: u64,
    deliveries: u64,
    elapsed: Duration,
    cpu: Duration,
    /// From sending a write to its acknowledgement.
    pub(super) acknowledged: Histogram,
    /// From sending a write until a stream has its line; empty where it is not known when it was sent.
    pub(super) seen: Histogram,
    /// The same, of the last stream.
    pub(super) seen_last: Histogram,
}

impl Phase {
    pub(super) fn deliveries_per_second(&self) -> f64 {
        self.deliveries as f64 / self.elapsed.as_secs_f64()
    }

    /// CPU time of the server per delivery, in us.
    pub(super) fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.deliveries as f64
    }
}

/// Makes the collection and writes one entry; returns the seq of that.
pub(super) async fn first_write(server: &Server) -> anyhow::Result<u64> {
    create_collection(&server.endpoint).await?;
    let mut connection = Connection::open(&server.endpoint).await?;
    let reply = connection.exchange(&set_request(&server.endpoint, "k0", VALUE_BYTES)).await?;
    reply.ok()?;
    reply.unsigned("seq")
}

impl<'a> Audience<'a> {
    /// Opens so many streams of a server whose last write has this seq, each with a baseline.
    pub(super) async fn open(
        settings: &'a Settings,
        server: &'a Server,
        children: u64,
        last: u64,
    ) -> anyhow::Result<Self> {
        let tally = Rc::new(Tally::new(children, last));
        let mut streams = JoinSet::new();
        for number in 0..children {
            let mut follower = Follower::open(&server.endpoint, number, None).await?;
            let position = follower.until_ready().await?;
            ensure!(position.seq == last, "a baseline at {position}, the last write was {last}");
            let tally = Rc::clone(&tally);
            streams.spawn_local(async move {
                loop {
                    follower.receive(|seq| tally.seen(seq)).await?;
                }
            });
        }
        Ok(Self { settings, server, tally, streams })
    }

    /// Lines that all streams have had so far, each decoded and in its place.
    pub(super) fn deliveries(&self) -> u64 {
        self.tally.deliveries()
    }

    /// Writes one after the other at the steady rate.
    pub(super) async fn paced(&mut self, writes: u32) -> anyhow::Result<Phase> {
        let mut connection = Connection::open(&self.server.endpoint).await?;
        let tally = Rc::clone(&self.tally);
        let endpoint = self.server.endpoint.clone();
        self.phase(u64::from(writes), async move {
            let mut acknowledged = Histogram::default();
            let mut ticks = interval(Duration::from_secs(1) / WRITES_PER_SECOND);
            for number in 0..writes {
                ticks.tick().await;
                let request = set_request(&endpoint, &format!("k{}", number % 1000), VALUE_BYTES);
                let sent = Instant::now();
                let expected = tally.send(sent);
                let reply = connection.exchange(&request).await?;
                acknowledged.add(sent.elapsed());
                reply.ok()?;
                ensure!(reply.unsigned("seq")? == expected, "somebody else writes");
            }
            Ok(acknowledged)
        })
        .await
    }

    /// Writes values of so many bytes as fast as some connections can.
    pub(super) async fn burst(&mut self, writes: usize, value_bytes: usize) -> anyhow::Result<Phase> {
        let endpoint = self.server.endpoint.clone();
        let mut connections = Vec::new();
        for _ in 0..BURST_CONNECTIONS {
            connections.push(Connection::open(&endpoint).await?);
        }
        let each = writes / BURST_CONNECTIONS;
        self.tally.expect(writes as u64);
        self.phase(writes as u64, async move {
            let mut writers = JoinSet::new();
            for (number, mut connection) in connections.into_iter().enumerate() {
                let request = set_request(&endpoint, &format!("k{number}"), value_bytes);
                writers.spawn_local(async move {
                    let mut acknowledged = Histogram::default();
                    for _ in 0..each {
                        let sent = Instant::now();
                        connection.exchange(&request).await?.ok()?;
                        acknowledged.add(sent.elapsed());
                    }
                    anyhow::Ok(acknowledged)
                });
            }
            let mut acknowledged = Histogram::default();
            while let Some(joined) = writers.join_next().await {
                acknowledged.merge(&joined??);
            }
            Ok(acknowledged)
        })
        .await
    }

    /// Does `work`, which writes so many lines, and waits until every stream has them all.
    async fn phase(
        &mut self,
        writes: u64,
        work: impl Future<Output = anyhow::Result<Histogram>>,
    ) -> anyhow::Result<Phase> {
        let deliveries_before = self.tally.deliveries();
        let (cpu_before, begun) = (self.server.cpu()?, Instant::now());
        let all = async {
            let acknowledged = work.await?;
            self.tally.all_seen().await;
            anyhow::Ok(acknowledged)
        };
        let acknowledged = tokio::select! {
            biased;
            ended = self.streams.join_next() => match ended {
                Some(outcome) => return Err(outcome?.err().context("a stream ended")?.context("a stream")),
                None => bail!("there are no streams"),
            },
            done = timeout(GIVE_UP, all) => done.context("not every stream has every line")??,
        };
        let elapsed = begun.elapsed();
        let cpu = self.server.cpu()? - cpu_before;
        let deliveries = self.tally.deliveries() - deliveries_before;
        let (seen, seen_last) = self.tally.take_delays();
        let phase = Phase { writes, deliveries, elapsed, cpu, acknowledged, seen, seen_last };
        let (rate, cpu) = (phase.deliveries_per_second(), phase.cpu_us());
        eprintln!("  {writes} writes: {rate:.0} deliveries/s, CPU {cpu:.1} us each");
        if self.settings.smoke {
            ensure!(deliveries == writes * self.tally.children, "{deliveries} deliveries of {writes} writes");
        }
        Ok(phase)
    }
}

/// What all streams have seen.
struct Tally {
    children: u64,
    /// Seq of the first write.
    first: u64,
    inner: RefCell<Inner>,
    progress: Notify,
}

#[derive(Default)]
struct Inner {
    /// By write, from the first: when it was sent, if that is known, and how many streams have it.
    writes: Vec<(Option<Instant>, u64)>,
    /// Writes that every stream has.
    complete: usize,
    deliveries: u64,
    seen: Histogram,
    seen_last: Histogram,
}

impl Tally {
    fn new(children: u64, last: u64) -> Self {
        Self { children, first: last + 1, inner: RefCell::default(), progress: Notify::new() }
    }

    /// One write is sent now; returns the seq it must get.
    fn send(&self, now: Instant) -> u64 {
        let writes = &mut self.inner.borrow_mut().writes;
        writes.push((Some(now), 0));
        self.first + writes.len() as u64 - 1
    }

    /// So many writes will be sent, in no known order.
    fn expect(&self, writes: u64) {
        self.inner.borrow_mut().writes.extend((0..writes).map(|_| (None, 0)));
    }

    /// A stream has the line of `seq`.
    fn seen(&self, seq: u64) {
        let inner = &mut *self.inner.borrow_mut();
        inner.deliveries += 1;
        let Some((sent, count)) = inner.writes.get_mut((seq - self.first) as usize) else { return };
        *count += 1;
        let delay = sent.map(|sent| sent.elapsed());
        inner.seen.extend(delay);
        if *count == self.children {
            inner.complete += 1;
            inner.seen_last.extend(delay);
            self.progress.notify_one();
        }
    }

    async fn all_seen(&self) {
        while !self.is_complete() {
            self.progress.notified().await;
        }
    }

    fn is_complete(&self) -> bool {
        let inner = self.inner.borrow();
        inner.complete == inner.writes.len()
    }

    fn deliveries(&self) -> u64 {
        self.inner.borrow().deliveries
    }

    fn take_delays(&self) -> (Histogram, Histogram) {
        let inner = &mut *self.inner.borrow_mut();
        (std::mem::take(&mut inner.seen), std::mem::take(&mut inner.seen_last))
    }
}
