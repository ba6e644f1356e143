//! What storing baselines and trimming cost those who write: the same load on a writer that does both in every turn, with a
//! hundred thousand keys to store each time, and on one that does neither.
//!
//! The load has a rate of its own, half of what the server can take or less, so that a stall shows in the answers that were
//! due meanwhile. Its values are long, so that each turn fills a segment and has a baseline stored, which is looked after.

use super::filled::fill;
use super::{order, progress, rates, set_request};
use crate::http::Connection;
use crate::load::Load;
use crate::process::{Place, Server};
use crate::report::{Comparison, Figure, Report, Side, Spread};
use crate::settings::Settings;
use anyhow::ensure;
use bytes::Bytes;
use std::sync::Arc;

const CONNECTIONS: usize = 16;
const WRITES_PER_SECOND: u32 = 2_000;
const VALUE_BYTES: usize = 8_192;
/// A turn is so many times as long as those of other benches.
const TURN_LENGTHS: u32 = 2;
const KEYS: u64 = 100_000;
/// What trimming may do to the slowest hundredth of the writes: so many times as long, or so many ms more.
const ALLOWED: (f64, f64) = (3.0, 5.0);

pub(super) async fn measure(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let directory = settings.directory().join("trim");
    let keys = settings.sized(KEYS, 1_000);
    let kinds: [(&str, &[&str]); 2] = [
        ("trimming", &["--baseline-after-bytes", "4096", "--retain-bytes", "0", "--retain-age", "0s"]),
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
            let set = |key| set_request(&server.endpoint, &format!("k{key:08}"), VALUE_BYTES);
            let requests: Arc<[Bytes]> = (0..1_024).map(set).collect();
            let (rate, warm_up, measure) = (Some(WRITES_PER_SECOND), settings.warm_up, settings.turn * TURN_LENGTHS);
            let before = stored_baseline(server).await?;
            let turn = Load { connections: CONNECTIONS, requests, rate, warm_up, measure }.run(server).await?;
            let stored = stored_baseline(server).await? - before;
            ensure!((stored > 0) == (index == 0) || settings.smoke, "{name}: baselines went on by {stored} records");
            progress(name, round, &turn);
            turns[index].push(turn);
        }
    }
    let p99_ms = |index: usize| turns[index].iter().map(|turn| turn.latency.quantile_us(0.99) / 1e3);
    let share = |(with, without): (f64, f64)| (with / without / ALLOWED.0).min((with - without) / ALLOWED.1);
    let shares: Vec<f64> = p99_ms(0).zip(p99_ms(1)).map(share).collect();
    let allowed = Figure::new("p99 of a write while trimming, share of what is allowed", "", Spread::of(shares));
    report.figures.push(allowed.at_most(1.0));
    for (index, (name, _)) in servers.iter().enumerate() {
        let longest = Spread::of(turns[index].iter().map(|turn| turn.latency.longest_us() / 1e3));
        report.figures.push(Figure::new(format!("longest write of a turn, {name}"), "ms", longest));
    }
    let rates = turns.each_ref().map(|turns| rates(turns));
    let sides = [0, 1].map(|index| Side::of_turns(servers[index].0, &turns[index]));
    let [ours, reference] = sides;
    let case = format!("{WRITES_PER_SECOND} writes/s of {VALUE_BYTES} bytes, {keys} keys more");
    report.comparisons.push(Comparison::new(case, (ours, &rates[0]), (reference, &rates[1]), None));
    for (_, server) in servers {
        server.stop().await?;
    }
    Ok(())
}

/// The seq of the baseline that the server has stored, 0 for none.
async fn stored_baseline(server: &Server) -> anyhow::Result<u64> {
    let mut connection = Connection::open(&server.endpoint).await?;
    let reply = connection.exchange(&server.endpoint.request("GET", "/v1/status", "")).await?;
    reply.ok()?;
    let status: serde_json::Value = serde_json::from_slice(reply.body)?;
    Ok(status["storage"]["baseline"]["seq"].as_u64().unwrap_or(0))
}
