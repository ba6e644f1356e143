//! Durable SETs beside two limits: an axum handler that syncs whatever waits as one group, and the medium alone, syncing
//! groups of the same bytes in the sizes that the server came to in the same round. And what its audit log costs it.

use super::{COLLECTION, create_collection, order, progress, rates, set_request, value};
use crate::http::Connection;
use crate::load::Load;
use crate::process::{Place, Server};
use crate::report::{Comparison, Figure, Report, Side, Spread};
use crate::settings::Settings;
use bytes::Bytes;
use headwater_core::command::{Action, Logged};
use std::borrow::Cow;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CONNECTIONS: [usize; 3] = [1, 64, 256];
/// Where the server takes turns with one that keeps no audit log, too.
const CONNECTIONS_AUDITED: usize = 64;
const KEYS: usize = 4096;
const VALUE_BYTES: usize = 100;

pub(super) async fn measure(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let directory = settings.directory().join("set");
    let ours = Server::writer(settings, Place::Measured, &directory).await?;
    create_collection(&ours.endpoint).await?;
    let durable = Server::competitor(settings, "durable", &directory, &directory.join("durable"), &ours).await?;
    let unaudited = directory.join("unaudited");
    let unaudited = Server::writer_with(settings, Place::Measured, &unaudited, &["--audit", "off"], None).await?;
    create_collection(&unaudited.endpoint).await?;
    let all = [("headwater", &ours), ("axum + group fdatasync", &durable), ("headwater without audit log", &unaudited)];
    let requests: [Arc<[Bytes]>; 3] = all
        .map(|(_, server)| (0..KEYS).map(|key| set_request(&server.endpoint, &key_name(key), VALUE_BYTES)).collect());
    for connections in CONNECTIONS {
        let servers = if connections == CONNECTIONS_AUDITED { &all[..] } else { &all[..2] };
        let mut turns = [const { Vec::new() }; 3];
        let (mut group_sizes, mut medium) = (Vec::new(), Vec::new());
        for round in 0..settings.rounds {
            for index in order(round, servers.len()) {
                let (name, server) = servers[index];
                let (warm_up, measure) = (settings.warm_up, settings.turn);
                let load = Load { connections, requests: Arc::clone(&requests[index]), rate: None, warm_up, measure };
                let before = if index == 0 { Some(groups(server).await?) } else { None };
                let turn = load.run(server).await?;
                if let Some((writes, groups_before)) = before {
                    let (writes_after, groups_after) = groups(server).await?;
                    group_sizes.push((writes_after - writes) as f64 / (groups_after - groups_before).max(1) as f64);
                }
                progress(&format!("{name}, {connections} connections"), round, &turn);
                turns[index].push(turn);
            }
            let records = group_sizes.last().map_or(1, |size| size.round().max(1.0) as u64);
            medium.push(raw_rate(settings, directory.join("raw"), records, settings.turn / 2).await?);
        }
        let rates = turns.each_ref().map(|turns| rates(turns));
        let side = |index: usize| (Side::of_turns(all[index].0, &turns[index]), &rates[index][..]);
        let case = format!("{connections} connection{}", if connections == 1 { "" } else { "s" });
        let group = Spread::of(group_sizes);
        let name = format!("medium, groups of {:.0}", group.median);
        let raw = (Side::of_rates(name, &medium), &medium[..]);
        report.comparisons.push(Comparison::new(&case, side(0), side(1), None));
        report.comparisons.push(Comparison::new(&case, side(0), raw, None));
        if servers.len() > 2 {
            report.comparisons.push(Comparison::new(&case, side(0), side(2), None));
        }
        report.figures.push(Figure::new(format!("writes in one group, {case}"), "", group));
    }
    unaudited.stop().await?;
    ours.stop().await?;
    durable.stop().await
}

fn key_name(number: usize) -> String {
    format!("k{number:05}")
}

/// Writes acknowledged and groups synced since the server started.
async fn groups(server: &Server) -> anyhow::Result<(u64, u64)> {
    let mut connection = Connection::open(&server.endpoint).await?;
    let reply = connection.exchange(&server.endpoint.request("GET", "/v1/metrics", "")).await?;
    reply.ok()?;
    Ok((reply.unsigned("writes_total")?, reply.unsigned("log_groups_total")?))
}

/// Records per second of `write` and `fdatasync` alone, on the measured core while the servers are idle.
async fn raw_rate(settings: &Settings, path: PathBuf, records: u64, time: Duration) -> anyhow::Result<f64> {
    settings
        .cores
        .measured(move || {
            let mut bytes = Vec::new();
            for seq in 0..records {
                line(1_000_000 + seq, &mut bytes);
            }
            let file = File::create(path)?;
            let (begun, mut groups) = (Instant::now(), 0);
            while begun.elapsed() < time {
                file.write_all_at(&bytes, groups * bytes.len() as u64)?;
                file.sync_data()?;
                groups += 1;
            }
            Ok((groups * records) as f64 / begun.elapsed().as_secs_f64())
        })
        .await
}

/// The line that the server's log gets for one of the SETs.
fn line(seq: u64, out: &mut Vec<u8>) {
    let key = key_name(seq as usize % KEYS);
    let value = value(VALUE_BYTES);
    let action = Action::Set { key: key.into(), version: 1_000, value: &value };
    let collection = Some(Cow::Borrowed(COLLECTION));
    let timestamp = 1_763_650_000_000;
    Logged { seq, prev: Some(seq - 1), collection, timestamp, extra: "".into(), action }.write_line(out);
    out.push(b'\n');
}
