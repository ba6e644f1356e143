//! How long a start takes that reads everything, from the log alone and from a stored baseline: from the start of the
//! process until it listens.

use super::filled::fill;
use crate::http::Connection;
use crate::process::{Place, Server};
use crate::report::{Figure, Report, Spread};
use crate::settings::Settings;
use anyhow::ensure;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const KEYS: u64 = 1_000_000;
/// How long storing a baseline may take.
const STORED_WITHIN: Duration = Duration::from_secs(120);

pub(super) async fn measure(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    settings.cores.take_all()?;
    let outcome = measure_anywhere(settings, report).await;
    settings.cores.take_load_core()?;
    outcome
}

async fn measure_anywhere(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let directory = settings.directory().join("restart");
    let keys = settings.sized(KEYS, 10_000);
    fill(&directory, keys).await?;
    let rounds = settings.rounds.min(3);
    let none_stored = ["--baseline-after-bytes", "1099511627776"];
    // The first start makes the credentials that all are asked with.
    let first = Server::writer_with(settings, Place::Anywhere, &directory, &none_stored, None).await?;
    let pair = first.endpoint.pair.clone();
    first.stop().await?;
    let per_million = |took: Duration| took.as_secs_f64() * 1e6 / keys as f64;
    for (name, stored) in [("from the log alone", false), ("from a stored baseline", true)] {
        if stored {
            store_baseline(settings, &directory, pair.clone()).await?;
        }
        let mut times = Vec::new();
        for round in 0..rounds {
            let begun = Instant::now();
            let server =
                Server::writer_with(settings, Place::Anywhere, &directory, &none_stored, Some(pair.clone())).await?;
            times.push(per_million(begun.elapsed()));
            eprintln!("  {name}, round {}: {:.2} s per million keys", round + 1, times[times.len() - 1]);
            server.stop().await?;
        }
        report.figures.push(Figure::new(format!("start {name}, per million keys"), "s", Spread::of(times)));
    }
    Ok(())
}

/// Lets a server store a baseline of everything, and ends it.
async fn store_baseline(
    settings: &Settings,
    directory: &std::path::Path,
    pair: crate::http::Pair,
) -> anyhow::Result<()> {
    let at_once = ["--baseline-after-bytes", "4096", "--retain-bytes", "0", "--retain-age", "0s"];
    let server = Server::writer_with(settings, Place::Anywhere, directory, &at_once, Some(pair)).await?;
    let status = server.endpoint.request("GET", "/v1/status", "");
    let mut connection = Connection::open(&server.endpoint).await?;
    let deadline = Instant::now() + STORED_WITHIN;
    loop {
        let reply = connection.exchange(&status).await?;
        reply.ok()?;
        let found: serde_json::Value = serde_json::from_slice(reply.body)?;
        if found["storage"]["baseline"].is_object() {
            break;
        }
        ensure!(Instant::now() < deadline, "no baseline was stored within {STORED_WITHIN:?}: {found}");
        sleep(Duration::from_millis(50)).await;
    }
    server.stop().await
}
