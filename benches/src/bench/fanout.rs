//! A thousand streams: memory of each, how fast a line reaches them all at a steady rate, and how many deliveries a
//! burst of writes comes to. Every stream decodes every line, and one that lacks a line fails the run.

use super::{create_collection, set_request};
use crate::histogram::Histogram;
use crate::http::Connection;
use crate::process::{Place, Server};
use crate::report::{Figure, Report, Spread};
use crate::settings::Settings;
use crate::stream::Follower;
use anyhow::{Context, bail, ensure};
use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, interval, timeout};

const CHILDREN: u64 = 1_000;
/// Few enough that every stream has a line before the next write, so that this measures delay and not capacity.
const WRITES_PER_SECOND: u32 = 20;
const BURST_CONNECTIONS: usize = 64;
const BURST_WRITES: usize = 2_048;
const GIVE_UP: Duration = Duration::from_secs(60);

pub(super) async fn measure(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let directory = settings.directory().join("fanout");
    let server = Server::writer(settings, Place::Measured, &directory).await?;
    create_collection(&server.endpoint).await?;
    let first = Connection::open(&server.endpoint)
        .await?
        .exchange(&set_request(&server.endpoint, "k0", 100))
        .await?
        .unsigned("seq")?;
    let children = settings.sized(CHILDREN, 20);
    let local = LocalSet::new();
    local.run_until(with_children(settings, report, &server, children, first)).await?;
    drop(local);
    server.stop().await
}

async fn with_children(
    settings: &Settings,
    report: &mut Report,
    server: &Server,
    children: u64,
    seq: u64,
) -> anyhow::Result<()> {
    let alone = server.memory_bytes()?;
    let tally = Rc::new(Tally::new(children, seq));
    let mut streams = JoinSet::new();
    for number in 0..children {
        let mut follower = Follower::open(&server.endpoint, number, None).await?;
        let position = follower.until_ready().await?;
        ensure!(position.seq == seq, "a baseline at {position}, the last write was {seq}");
        let tally = Rc::clone(&tally);
        streams.spawn_local(async move {
            loop {
                follower.receive(|seq| tally.seen(seq)).await?;
            }
        });
    }
    let mut bench = Bench { settings, server, tally, streams };
    report.figures.push(per_child("memory of each stream, idle", server, alone, children)?);
    let rounds = settings.rounds.min(3);
    let mut paced = Vec::new();
    for _ in 0..rounds {
        paced.push(bench.paced(settings.sized(10 * WRITES_PER_SECOND, 5)).await?);
    }
    let mut bursts = Vec::new();
    for _ in 0..rounds {
        bursts.push(bench.burst(settings.sized(BURST_WRITES, BURST_CONNECTIONS)).await?);
    }
    report.figures.push(per_child("memory of each stream, after the bursts", server, alone, children)?);
    let mut figure = |rounds: &[Phase], name: &str, unit, value: fn(&Phase) -> f64| {
        report.figures.push(Figure::new(name, unit, Spread::of(rounds.iter().map(value))));
    };
    figure(&paced, "steady: write acknowledged, p50", "ms", |phase| phase.acknowledged.quantile_us(0.5) / 1e3);
    figure(&paced, "steady: write acknowledged, p99", "ms", |phase| phase.acknowledged.quantile_us(0.99) / 1e3);
    figure(&paced, "steady: sent to seen by a stream, p50", "ms", |phase| phase.seen.quantile_us(0.5) / 1e3);
    figure(&paced, "steady: sent to seen by a stream, p99", "ms", |phase| phase.seen.quantile_us(0.99) / 1e3);
    figure(&paced, "steady: sent to seen by the last stream, p50", "ms", |phase| {
        phase.seen_last.quantile_us(0.5) / 1e3
    });
    figure(&paced, "steady: CPU per delivery", "us", Phase::cpu_us);
    figure(&bursts, "burst: deliveries per second", "", Phase::deliveries_per_second);
    figure(&bursts, "burst: CPU per delivery", "us", Phase::cpu_us);
    figure(&bursts, "burst: write acknowledged, p50", "ms", |phase| phase.acknowledged.quantile_us(0.5) / 1e3);
    figure(&bursts, "burst: write acknowledged, p99", "ms", |phase| phase.acknowledged.quantile_us(0.99) / 1e3);
    let written: u64 = paced.iter().chain(&bursts).map(|phase| phase.writes).sum();
    let lacking = Spread::of([(written * children - bench.tally.deliveries()) as f64]);
    report.figures.push(Figure::new("lines that a stream lacks", "", lacking).at_most(0.0));
    let deliveries = bench.tally.deliveries();
    report.notes.push(format!(
        "{children} streams of scope ** took {written} lines each: {deliveries} deliveries, each decoded and in its place. \
         Steady is {WRITES_PER_SECOND} writes/s; a burst is {} writes by {BURST_CONNECTIONS} connections. \
         Driver: hyper bodies.",
        settings.sized(BURST_WRITES, BURST_CONNECTIONS)
    ));
    Ok(())
}

fn per_child(name: &str, server: &Server, alone: u64, children: u64) -> anyhow::Result<Figure> {
    let more = server.memory_bytes()?.saturating_sub(alone);
    Ok(Figure::new(name, "KiB", Spread::of([more as f64 / children as f64 / 1024.0])))
}

/// The streams, and those who write.
struct Bench<'a> {
    settings: &'a Settings,
    server: &'a Server,
    tally: Rc<Tally>,
    streams: JoinSet<anyhow::Result<()>>,
}

/// What some writes came to.
struct Phase {
    writes: u64,
    deliveries: u64,
    elapsed: Duration,
    cpu: Duration,
    acknowledged: Histogram,
    seen: Histogram,
    seen_last: Histogram,
}

impl Phase {
    fn deliveries_per_second(&self) -> f64 {
        self.deliveries as f64 / self.elapsed.as_secs_f64()
    }

    fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.deliveries as f64
    }
}

impl Bench<'_> {
    /// Writes one after the other at the steady rate.
    async fn paced(&mut self, writes: u32) -> anyhow::Result<Phase> {
        let mut connection = Connection::open(&self.server.endpoint).await?;
        let tally = Rc::clone(&self.tally);
        let endpoint = self.server.endpoint.clone();
        self.phase(u64::from(writes), async move {
            let mut acknowledged = Histogram::default();
            let mut ticks = interval(Duration::from_secs(1) / WRITES_PER_SECOND);
            for number in 0..writes {
                ticks.tick().await;
                let request = set_request(&endpoint, &format!("k{}", number % 1000), 100);
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

    /// Writes as fast as some connections can.
    async fn burst(&mut self, writes: usize) -> anyhow::Result<Phase> {
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
                let request = set_request(&endpoint, &format!("k{number}"), 100);
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
