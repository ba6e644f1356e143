//! GET of one entry beside a bare axum handler, and beside plain socket calls, that answer with the same bytes; and over TLS
//! beside the same without.

use super::{COLLECTION, create_collection, order, progress, rates, set_request};
use crate::competitor::Answer;
use crate::http::{Connection, Endpoint};
use crate::load::{Load, Turn};
use crate::process::{Place, Server};
use crate::report::{Comparison, Report, Side, Spread};
use crate::settings::Settings;
use anyhow::{Context, ensure};
use bytes::Bytes;
use std::path::Path;

const TARGET: &str = "/v1/collections/bench/keys/greeting";
const ROUTE: &str = "/v1/collections/{collection}/keys/{*key}";
const BODY_BYTES: usize = 120;
const OURS: &str = "headwater";
const OVER_TLS: &str = "headwater over TLS";

/// Connections, the least ratio to the axum handler, and the least over TLS to that without.
const CASES: [(usize, Option<f64>, Option<f64>); 2] = [(64, Some(0.8), Some(0.7)), (1, None, None)];

/// The least ratio to an earlier release.
const BEFORE: Option<f64> = Some(0.95);

pub(super) async fn measure(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let directory = settings.directory().join("get");
    let ours = Server::writer(settings, Place::Measured, &directory).await?;
    let answer = prepare(&ours.endpoint).await?;
    let file = directory.join("answer.json");
    answer.write(&file)?;
    let axum = competitor(settings, "axum", &directory, &file, &ours).await?;
    let raw = competitor(settings, "raw", &directory, &file, &ours).await?;
    let before = match &settings.before {
        None => None,
        Some(program) => {
            let before = Server::writer_of(program, settings, Place::Measured, &directory.join("before")).await?;
            prepare(&before.endpoint).await?;
            Some(before)
        }
    };
    let secured = Server::writer_over_tls(settings, Place::Measured, &directory.join("tls")).await?;
    prepare(&secured.endpoint).await?;
    let mut servers = vec![(OURS, &ours), (OVER_TLS, &secured), ("axum handler", &axum), ("plain sockets", &raw)];
    servers.extend(before.iter().map(|before| ("headwater before", before)));
    for (connections, required, required_over_tls) in CASES {
        let mut turns = vec![Vec::new(); servers.len()];
        for round in 0..settings.rounds {
            for index in order(round, servers.len()) {
                let (name, server) = servers[index];
                let requests: [Bytes; 1] = [server.endpoint.request("GET", TARGET, "")];
                let (warm_up, measure) = (settings.warm_up, settings.turn);
                let turn =
                    Load { connections, requests: requests.into(), rate: None, warm_up, measure }.run(server).await?;
                progress(&format!("{name}, {connections} connections"), round, &turn);
                turns[index].push(turn);
            }
        }
        let rates: Vec<_> = turns.iter().map(|turns| rates(turns)).collect();
        let side = |index: usize| (Side::of_turns(servers[index].0, &turns[index]), &rates[index][..]);
        let case = format!("{connections} connection{}", if connections == 1 { "" } else { "s" });
        for (index, required) in [(2, required), (3, None), (4, BEFORE)].into_iter().take(servers.len() - 2) {
            report.comparisons.push(Comparison::new(&case, side(0), side(index), required));
        }
        let case_over_tls = format!("{case}, TLS");
        report.comparisons.push(Comparison::new(case_over_tls, side(1), side(0), required_over_tls));
        let busy = |index: usize| Spread::of(turns[index].iter().map(Turn::load_busy)).median * 100.0;
        report.notes.push(format!(
            "{case}: the load used {:.0} % of its core over TLS and {:.0} % without.",
            busy(1),
            busy(0)
        ));
    }
    for server in [ours, secured, axum, raw].into_iter().chain(before) {
        server.stop().await?;
    }
    Ok(())
}

async fn competitor(
    settings: &Settings,
    name: &str,
    directory: &Path,
    answer: &Path,
    ours: &Server,
) -> anyhow::Result<Server> {
    let server = Server::competitor(settings, name, directory, answer, ours).await?;
    let mut connection = Connection::open(&server.endpoint).await?;
    let reply = connection.exchange(&server.endpoint.request("GET", TARGET, "")).await?;
    reply.ok()?;
    ensure!(reply.body.len() == BODY_BYTES, "{name} answers with {} bytes", reply.body.len());
    Ok(server)
}

/// Writes an entry whose answer has the wanted length, and returns that answer.
async fn prepare(endpoint: &Endpoint) -> anyhow::Result<Answer> {
    create_collection(endpoint).await?;
    let mut connection = Connection::open(endpoint).await?;
    let mut value_bytes = 2;
    // A second write may need one digit more for its seq.
    for _ in 0..3 {
        connection.exchange(&set_request(endpoint, "greeting", value_bytes)).await?.ok()?;
        let reply = connection.exchange(&endpoint.request("GET", TARGET, "")).await?;
        reply.ok()?;
        if reply.body.len() == BODY_BYTES {
            let mut headers = reply.headers()?;
            headers.retain(|(name, _)| name != "content-length" && name != "date");
            let body = String::from_utf8(reply.body.to_vec())?;
            return Ok(Answer { route: ROUTE.into(), headers, body });
        }
        value_bytes =
            (value_bytes + BODY_BYTES).checked_sub(reply.body.len()).context("the shortest answer is longer")?;
    }
    anyhow::bail!("no entry of {COLLECTION} has an answer of {BODY_BYTES} bytes")
}
