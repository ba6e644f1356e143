//! A thousand streams: memory of each, how fast a line reaches them all at a steady rate, and how many deliveries a
//! burst of writes comes to. Every stream decodes every line, and one that lacks a line fails the run.

use super::audience::{Audience, BURST_CONNECTIONS, Phase, WRITES_PER_SECOND, first_write};
use crate::process::{Memory, Place, Server};
use crate::report::{Figure, Report, Spread};
use crate::settings::Settings;
use tokio::task::LocalSet;

const CHILDREN: u64 = 1_000;
const BURST_WRITES: usize = 2_048;
const VALUE_BYTES: usize = 100;

pub(super) async fn measure(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let directory = settings.directory().join("fanout");
    let server = Server::writer(settings, Place::Measured, &directory).await?;
    let first = first_write(&server).await?;
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
    let alone = server.memory_bytes(Memory::Own)?;
    let mut audience = Audience::open(settings, server, children, seq).await?;
    report.figures.push(per_child("memory of each stream, idle", server, alone, children)?);
    let rounds = settings.rounds.min(3);
    let mut paced = Vec::new();
    for _ in 0..rounds {
        paced.push(audience.paced(settings.sized(10 * WRITES_PER_SECOND, 5)).await?);
    }
    let mut bursts = Vec::new();
    for _ in 0..rounds {
        bursts.push(audience.burst(settings.sized(BURST_WRITES, BURST_CONNECTIONS), VALUE_BYTES).await?);
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
    let lacking = Spread::of([(written * children - audience.deliveries()) as f64]);
    report.figures.push(Figure::new("lines that a stream lacks", "", lacking).at_most(0.0));
    let deliveries = audience.deliveries();
    report.notes.push(format!(
        "{children} streams of scope ** took {written} lines each: {deliveries} deliveries, each decoded and in its place. \
         Steady is {WRITES_PER_SECOND} writes/s; a burst is {} writes by {BURST_CONNECTIONS} connections. \
         Driver: hyper bodies.",
        settings.sized(BURST_WRITES, BURST_CONNECTIONS)
    ));
    Ok(())
}

fn per_child(name: &str, server: &Server, alone: u64, children: u64) -> anyhow::Result<Figure> {
    let more = server.memory_bytes(Memory::Own)?.saturating_sub(alone);
    Ok(Figure::new(name, "KiB", Spread::of([more as f64 / children as f64 / 1024.0])))
}
