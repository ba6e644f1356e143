//! `slowhttptest`: clients that send or take as little as they can.

use crate::node::Target;
use crate::probe::Probe;
use crate::table::{Done, Table};
use crate::tool;
use headwater_tests::eventually_within;
use std::time::{Duration, Instant};

/// Connections of each attack, and how many a second.
const CONNECTIONS: u32 = 400;
const PER_SECOND: u32 = 200;
/// What the node is told to wait for anything.
const WAIT_MS: u64 = 3_000;
/// When the tool gives up, in seconds.
const TOOL_ENDS: u64 = 40;
/// What a machine that attacks itself may add.
const SLACK: Duration = Duration::from_secs(8);

const WAITS: [&str; 5] = ["--first-byte-ms", "--head-ms", "--body-ms", "--idle-ms", "--write-ms"];
const HELD: &str = "gone when the settings say, others answered, no memory kept";

pub(crate) async fn attack(table: &mut Table) {
    let wait = WAIT_MS.to_string();
    let options = WAITS.map(|flag| (flag, &*wait));
    let target = Target::start(&options).await.filled().await;
    let url = |path: &str| format!("{}{path}", target.node.url);
    let (entry, follow, list) = (url("/v1/collections/c/keys/k"), url("/v1/replicate"), url("/v1/collections/c/keys"));
    let headers = ["-H", "-i", "1", "-x", "10", "-u", &entry];
    let body = ["-B", "-i", "1", "-x", "10", "-s", "8192", "-t", "POST", "-u", &follow];
    let read = ["-X", "-n", "1", "-z", "16", "-w", "512", "-y", "1024", "-u", &list];
    one(table, "slowhttptest, slow headers", HELD, &target, &headers, false).await;
    one(table, "slowhttptest, slow body", HELD, &target, &body, false).await;
    one(table, "slowhttptest, slow read", HELD, &target, &read, false).await;
    drop(target);

    let options = [&options[..], &[("--connections-per-address-max", "200")]].concat();
    let target = Target::start(&options).await.filled().await;
    let entry = format!("{}/v1/collections/c/keys/k", target.node.url);
    let headers = ["-H", "-i", "1", "-x", "10", "-u", &entry];
    let held = "those beyond the cap refused, those who are there answered, the cap free again after it";
    one(table, "slowhttptest, twice the cap", held, &target, &headers, true).await;
}

async fn one(
    table: &mut Table,
    attack: &'static str,
    held: &'static str,
    target: &Target,
    arguments: &[&str],
    is_beyond_cap: bool,
) {
    let probe = Probe::begin(target, is_beyond_cap).await;
    let work = async {
        let before = target.connections().await;
        let (begun, ends) = (Instant::now(), TOOL_ENDS.to_string());
        let (count, rate) = (CONNECTIONS.to_string(), PER_SECOND.to_string());
        let common = ["-c", &count, "-r", &rate, "-l", &ends, "-p", "5"];
        let arguments = [&common[..], arguments].concat();
        let tool = async {
            let (_, said) = tool::run(target, "slowhttptest", &arguments, Duration::from_secs(TOOL_ENDS) + SLACK).await;
            // Who reads slowly has enough in its system's buffer to read long after the node has closed the connection.
            if !said.contains("No open connections left") {
                assert!(arguments.contains(&"-X"), "{attack}: {said}");
            }
        };
        // The last one is waited for no longer than the first.
        let most = Duration::from_secs(u64::from(CONNECTIONS / PER_SECOND)) + Duration::from_millis(WAIT_MS) + SLACK;
        let gone = eventually_within(most, "their connections are gone", || async {
            let now = target.connections().await;
            let came = now.opened + now.refused - before.opened - before.refused;
            // Those of the probes come and go.
            let is_over = came >= u64::from(CONNECTIONS) && now.open() <= before.open() + 3;
            if is_over { Ok(begun.elapsed()) } else { Err(now) }
        });
        let work = async {
            tokio::select! {
                gone = gone => gone,
                () = async { tool.await; std::future::pending().await } => unreachable!("it is waited for"),
            }
        };
        let (took, seen) = probe.beside(work).await;
        assert_eq!(seen.refused > 0, is_beyond_cap, "{attack}: {seen:?}");
        assert_eq!(target.node.client().entry("c", "k").await.status, 200, "{attack}: a new connection after it");
        let gone = format!("all gone {:.1} s after the first began", took.as_secs_f64());
        Done { requests: u64::from(CONNECTIONS), notes: vec![gone, seen.words()] }
    };
    table.add(attack, held, target, work).await;
}
