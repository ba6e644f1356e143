//! A crowd on one writer, ten thousand idle streams and a thousand that have stalled, and what it costs: the writer's memory,
//! and a hundred other children, who follow everything, in time.
//!
//! The idle ones follow a collection that nobody writes to. The stalled ones take in what fits the system's buffers, so a
//! burst of writes comes first; from then on the writer waits for each of them. `--ping-ms` is so long that it does not give
//! them up while they are looked at. The others are measured before the crowd is there, with it, and once it has gone.

use super::audience::{Audience, BURST_CONNECTIONS, Phase, WRITES_PER_SECOND, first_write};
use super::create;
use crate::crowd::Crowd;
use crate::process::{Memory, Place, Server};
use crate::report::{Figure, Report, Spread};
use crate::settings::Settings;
use anyhow::{Context, ensure};
use headwater_local::server::STOP_GRACE;
use std::time::Duration;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

const IDLE: u64 = 10_000;
const STALLED: u64 = 1_000;
const OTHERS: u64 = 100;
const QUIET: &str = "quiet";
const BURST_WRITES: usize = 8_192;
const BURST_VALUE_BYTES: usize = 1 << 10;
/// For how many seconds each round writes.
const STEADY_S: u32 = 10;
const PING_MS: u64 = 60_000;
/// What the crowd may do to the slowest hundredth of the deliveries to others.
const TIMES_MOST: f64 = 2.0;
/// Sockets of a server beside its streams, and of this process.
const SOCKETS_MORE: u64 = 256;
/// How long the writer may take to notice that a crowd has gone.
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// Settings of the writer that bound its memory.
const FEED_BYTES: u64 = 16 << 20;
const FEED_SCOPE_BYTES: u64 = 1 << 20;
const QUEUE_BYTES: u64 = 64 << 20;
/// What docs/running.md says that a stream takes at the most while it is read, and how much more while it is not.
const STREAM_BYTES: (u64, u64) = (32 << 10, 64 << 10);

pub(super) async fn measure(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let (idle, stalled) = settings.sized((IDLE, STALLED), (40, 5));
    let others = settings.sized(OTHERS, 10);
    let streams = idle + stalled + others;
    settings.needs_open_files(streams + SOCKETS_MORE)?;
    let directory = settings.directory().join("crowd");
    let options = [
        ("--children-max", streams),
        ("--connections-max", streams + SOCKETS_MORE),
        ("--connections-per-address-max", streams + SOCKETS_MORE),
        ("--feed-bytes", FEED_BYTES),
        ("--feed-scope-bytes", FEED_SCOPE_BYTES),
        ("--queue-bytes-max", QUEUE_BYTES),
        ("--ping-ms", PING_MS),
    ];
    let options: Vec<String> = options.iter().flat_map(|(flag, value)| [(*flag).into(), value.to_string()]).collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let server = Server::writer_with(settings, Place::Measured, &directory, &options, None).await?;
    create(&server.endpoint, QUIET).await?;
    let bench = Bench { settings, server: &server, idle, stalled, others };
    let local = LocalSet::new();
    local.run_until(bench.run(report)).await?;
    drop(local);
    server.stop().await
}

struct Bench<'a> {
    settings: &'a Settings,
    server: &'a Server,
    idle: u64,
    stalled: u64,
    others: u64,
}

impl Bench<'_> {
    async fn run(self, report: &mut Report) -> anyhow::Result<()> {
        let Self { settings, server, idle, stalled, others } = self;
        let alone = server.memory_bytes(Memory::Resident)?;
        let last = first_write(server).await?;
        let mut audience = Audience::open(settings, server, others, last).await?;
        eprintln!("  before the crowd:");
        let before = self.steady(&mut audience).await?;

        let begun = Instant::now();
        let log = settings.directory().join("crowd.log");
        let scope = format!("{{\"{QUIET}\":[\"\"]}}");
        let crowd = Crowd::start(&server.endpoint, idle, stalled, &scope, &log).await.context("the crowd")?;
        eprintln!("  with the crowd, there after {:.1} s:", begun.elapsed().as_secs_f64());
        let there = server.memory_bytes(Memory::Resident)?;
        let in_kernel = sockets_bytes()?;
        let writes = settings.sized(BURST_WRITES, BURST_CONNECTIONS);
        audience.burst(writes, BURST_VALUE_BYTES).await?;
        let after_burst = server.memory_bytes(Memory::Resident)?;
        let in_kernel_after_burst = sockets_bytes()?;
        let with = self.steady(&mut audience).await?;
        let peak = server.memory_bytes(Memory::Peak)?;
        let connected = server.metric("children_connected").await?;
        ensure!(connected == idle + stalled + others, "{connected} streams are left of all that were opened");

        crowd.stop(STOP_GRACE).await?;
        self.gone().await?;
        eprintln!("  without the crowd:");
        let after = self.steady(&mut audience).await?;

        let cap = alone + FEED_BYTES + FEED_SCOPE_BYTES + QUEUE_BYTES + (idle + stalled + others) * STREAM_BYTES.0;
        let cap = cap + stalled * STREAM_BYTES.1;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let mut memory = |name: &str, bytes: u64| {
            let figure = Figure::new(format!("memory of the writer, {name}"), "MiB", Spread::of([mib(bytes)]));
            report.figures.push(if bytes == alone { figure } else { figure.at_most(mib(cap)) });
        };
        memory("alone", alone);
        memory("with all streams there", there);
        memory("after the burst", after_burst);
        memory("at its peak", peak);
        for (name, bytes) in [("with all streams there", in_kernel), ("after the burst", in_kernel_after_burst)] {
            let name = format!("memory of all sockets in the kernel, {name}");
            report.figures.push(Figure::new(name, "MiB", Spread::of([mib(bytes)])));
        }
        let ms = |phase: &Phase, quantile| phase.seen.quantile_us(quantile) / 1e3;
        let mut delay = |name: &str, phases: &[Phase]| {
            for (word, quantile) in [("p50", 0.5), ("p99", 0.99)] {
                let spread = Spread::of(phases.iter().map(|phase| ms(phase, quantile)));
                report.figures.push(Figure::new(format!("sent to seen by the others, {name}, {word}"), "ms", spread));
            }
        };
        delay("before the crowd", &before);
        delay("with the crowd", &with);
        delay("once it has gone", &after);
        let p99 = |phases: &[Phase]| -> Vec<f64> { phases.iter().map(|phase| ms(phase, 0.99)).collect() };
        let (before, with, after) = (p99(&before), p99(&with), p99(&after));
        let times =
            with.iter().zip(before.iter().zip(&after)).map(|(with, (before, after))| with / ((before + after) / 2.0));
        let times = Figure::new("p99 with the crowd, by that without", "", Spread::of(times));
        // What few writes to few children take says nothing.
        report.figures.push(if settings.smoke { times } else { times.at_most(TIMES_MOST) });
        report.notes.push(format!(
            "{idle} idle streams, {stalled} stalled, {others} others; {WRITES_PER_SECOND} writes/s; the burst is {writes} \
             writes of {BURST_VALUE_BYTES} bytes. The bound of memory is {:.0} MiB alone, {} MiB of --feed-bytes, {} MiB of \
             --feed-scope-bytes, {} MiB of --queue-bytes-max, {} KiB for each stream and {} KiB more for each stalled one.",
            mib(alone),
            FEED_BYTES >> 20,
            FEED_SCOPE_BYTES >> 20,
            QUEUE_BYTES >> 20,
            STREAM_BYTES.0 >> 10,
            STREAM_BYTES.1 >> 10,
        ));
        Ok(())
    }

    async fn steady(&self, audience: &mut Audience<'_>) -> anyhow::Result<Vec<Phase>> {
        let mut phases = Vec::new();
        for _ in 0..self.settings.rounds.min(3) {
            phases.push(audience.paced(self.settings.sized(STEADY_S * WRITES_PER_SECOND, 5)).await?);
        }
        Ok(phases)
    }

    /// Waits until the crowd is noticed to have gone.
    async fn gone(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + GONE_WITHIN;
        loop {
            let connected = self.server.metric("children_connected").await?;
            if connected == self.others {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{connected} streams are still there after {GONE_WITHIN:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Memory that the kernel has given to all TCP sockets of this machine.
fn sockets_bytes() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/net/sockstat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("TCP: ")).context("no TCP in sockstat")?;
    let mut words = line.split(' ').skip_while(|word| *word != "mem");
    let pages: u64 = words.nth(1).context("no memory in sockstat")?.parse()?;
    Ok(pages * rustix::param::page_size() as u64)
}
