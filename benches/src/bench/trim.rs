//! What storing baselines and trimming cost those who write: the same load on a writer that does both all the time, with a
//! hundred thousand keys to store each time, and on one that does neither.

use super::filled::fill;
use super::{order, progress, rates, set_request};
use crate::load::Load;
use crate::process::{Place, Server};
use crate::report::{Comparison, Figure, Report, Side, Spread};
use crate::settings::Settings;
use bytes::Bytes;
use std::sync::Arc;

const CONNECTIONS: usize = 16;
const KEYS: u64 = 100_000;
/// What trimming may do to the slowest hundredth of the writes: so many times as long, or so many ms more.
const ALLOWED: (f64, f64) = (3.0, 5.0);

pub(super) async fn measure(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let directory = settings.directory().join("trim");
    let keys = settings.sized(KEYS, 1_000);
    let kinds: [(&str, &[&str]); 2] = [
        (
            "trimming",
            &[
                "--segment-bytes",
                "1048576",
                "--baseline-after-bytes",
                "4096",
                "--retain-bytes",
                "0",
                "--retain-age",
                "0s",
            ],
        ),
        ("not trimming", &["--baseline-after-bytes", "1099511627776"]),
    ];
    let mut servers = Vec::new();
    for (name, options) in kinds {
        let directory = directory.join(name.replace(' ', "-"));
        fill(&directory, keys).await?;
        servers.push((name, Server::writer_with(settings, Place::Measured, &directory, options, None).await?));
    }
    let mut turns = [const { Vec::new() }; 2];
    for round in 0..settings.rounds {
        for index in order(round, servers.len()) {
            let (name, server) = &servers[index];
            let requests: Arc<[Bytes]> =
                (0..1_024).map(|key| set_request(&server.endpoint, &format!("k{key:08}"), 100)).collect();
            let (warm_up, measure) = (settings.warm_up, settings.turn);
            let turn = Load { connections: CONNECTIONS, requests, warm_up, measure }.run(server).await?;
            progress(name, round, &turn);
            turns[index].push(turn);
        }
    }
    let p99_ms = |index: usize| turns[index].iter().map(|turn| turn.latency.quantile_us(0.99) / 1e3);
    let share = |(with, without): (f64, f64)| (with / without / ALLOWED.0).min((with - without) / ALLOWED.1);
    let shares: Vec<f64> = p99_ms(0).zip(p99_ms(1)).map(share).collect();
    let allowed = Figure::new("p99 of a write while trimming, share of what is allowed", "", Spread::of(shares));
    report.figures.push(allowed.at_most(1.0));
    let rates = turns.each_ref().map(|turns| rates(turns));
    let sides = [0, 1].map(|index| Side::of_turns(servers[index].0, &turns[index]));
    let [ours, reference] = sides;
    let case = format!("{CONNECTIONS} connections, {keys} keys");
    report.comparisons.push(Comparison::new(case, (ours, &rates[0]), (reference, &rates[1]), None));
    for (_, server) in servers {
        server.stop().await?;
    }
    Ok(())
}
