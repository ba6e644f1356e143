//! From the acknowledgement of a write until a native replica has applied it, on one clock: this process's.
//!
//! The process writes to the writer at a steady rate and is at the same time a child of the replica. A line reaches the
//! replica's child only after the replica has applied it, so the arrival of the line here is an upper end for the time
//! at which it was applied; it includes the replica's hand-over to its stream and one loopback hop, for which the
//! acknowledgement's own hop is not taken off. The time from sending the write to the arrival of its line includes
//! everything and is an upper end without any reservation.

use super::{create_collection, set_request};
use crate::histogram::Histogram;
use crate::http::Connection;
use crate::process::{Place, Server};
use crate::report::{Figure, Report, Spread};
use crate::settings::Settings;
use crate::stream::Follower;
use anyhow::{Context, ensure};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

const WRITES_PER_SECOND: u32 = 100;
/// Which quantile has a bound: from the acknowledgement to the line, p99.
const REQUIRED: usize = 1;
const MOST_MS: f64 = 5.0;
/// No line may take longer.
const GIVE_UP: Duration = Duration::from_secs(10);

pub(super) async fn measure(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    // Two servers and this process at a small load, as on one machine of a user's: nobody is confined.
    settings.cores.take_all()?;
    let outcome = measure_anywhere(settings, report).await;
    settings.cores.take_load_core()?;
    outcome
}

async fn measure_anywhere(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let directory = settings.directory().join("visible");
    let writer = Server::writer(settings, Place::Anywhere, &directory.join("writer")).await?;
    create_collection(&writer.endpoint).await?;
    let replica = Server::replica(settings, Place::Anywhere, &directory.join("replica"), &writer).await?;
    replica.until_ready().await?;
    let mut follower = Follower::open(&replica.endpoint, 1, None).await?;
    let position = follower.until_ready().await?;
    let mut connection = Connection::open(&writer.endpoint).await?;
    // The writer's first lines may still be on their way to the replica.
    let mut seq = connection.exchange(&set_request(&writer.endpoint, "k0", 100)).await?.unsigned("seq")?;
    ensure!(seq > position.seq, "a write got seq {seq}, the replica was at {position} before");
    while follower.seq() < seq {
        timeout(GIVE_UP, follower.receive(|_| {})).await.context("the replica does not follow")??;
    }

    let rounds = settings.rounds.min(3);
    let writes = settings.sized(20 * WRITES_PER_SECOND, 20);
    let mut delays = Delays::default();
    for round in 0..rounds {
        let mut times = Times::default();
        let mut ticks = interval(Duration::from_secs(1) / WRITES_PER_SECOND);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for write in 0..writes {
            let tick = ticks.tick();
            tokio::pin!(tick);
            // Lines may come late: they are read whenever there are any, also while waiting for the next write.
            loop {
                tokio::select! {
                    biased;
                    received = follower.receive(|seq| times.seen(seq)) => received?,
                    _ = &mut tick => break,
                }
            }
            let request = set_request(&writer.endpoint, &format!("k{}", write % 1000), 100);
            let sent = Instant::now();
            let exchange = connection.exchange(&request);
            tokio::pin!(exchange);
            let reply = loop {
                tokio::select! {
                    biased;
                    reply = &mut exchange => break reply?,
                    received = follower.receive(|seq| times.seen(seq)) => received?,
                }
            };
            let acknowledged = Instant::now();
            let written = reply.unsigned("seq")?;
            reply.ok()?;
            ensure!(written == seq + 1, "seq {written} after {seq}: somebody else writes");
            seq = written;
            times.sent.insert(seq, (sent, acknowledged));
        }
        while follower.seq() < seq {
            timeout(GIVE_UP, follower.receive(|seq| times.seen(seq))).await.context("a line is missing")??;
        }
        delays.add(&times)?;
        eprintln!("  round {}: {} writes", round + 1, writes);
    }
    delays.report(report, writes);
    drop(follower);
    replica.stop().await?;
    writer.stop().await
}

/// When each write was sent and acknowledged, and when its line came.
#[derive(Default)]
struct Times {
    sent: HashMap<u64, (Instant, Instant)>,
    seen: HashMap<u64, Instant>,
}

impl Times {
    fn seen(&mut self, seq: u64) {
        self.seen.insert(seq, Instant::now());
    }
}

/// Quantiles of each round, in ms.
#[derive(Default)]
struct Delays {
    rounds: Vec<[f64; 7]>,
    early: u64,
}

impl Delays {
    fn add(&mut self, times: &Times) -> anyhow::Result<()> {
        let [mut after_ack, mut after_send, mut ack] = [const { None }; 3].map(Option::<Histogram>::unwrap_or_default);
        for (seq, (sent, acknowledged)) in &times.sent {
            let seen = times.seen.get(seq).with_context(|| format!("the line of seq {seq} never came"))?;
            self.early += u64::from(seen < acknowledged);
            after_ack.add(seen.saturating_duration_since(*acknowledged));
            after_send.add(*seen - *sent);
            ack.add(*acknowledged - *sent);
        }
        let ms = |histogram: &Histogram, quantile| histogram.quantile_us(quantile) / 1e3;
        self.rounds.push([
            ms(&after_ack, 0.5),
            ms(&after_ack, 0.99),
            after_ack.longest_us() / 1e3,
            ms(&after_send, 0.5),
            ms(&after_send, 0.99),
            ms(&ack, 0.5),
            ms(&ack, 0.99),
        ]);
        Ok(())
    }

    fn report(self, report: &mut Report, writes: u32) {
        let names = [
            "acknowledged to seen behind the replica, p50",
            "acknowledged to seen behind the replica, p99",
            "acknowledged to seen behind the replica, longest",
            "sent to seen behind the replica, p50",
            "sent to seen behind the replica, p99",
            "sent to acknowledged (durable), p50",
            "sent to acknowledged (durable), p99",
        ];
        for (index, name) in names.into_iter().enumerate() {
            let value = Spread::of(self.rounds.iter().map(|round| round[index]));
            let figure = Figure::new(name, "ms", value);
            report.figures.push(if index == REQUIRED { figure.at_most(MOST_MS) } else { figure });
        }
        let rounds = self.rounds.len();
        let note = "lines were here before their acknowledgement and count as 0.";
        report.notes.push(format!("{rounds} rounds of {writes} writes; {} {note}", self.early));
    }
}
