//! Every call by which a writer's log works on its files fails once, with EIO and with ENOSPC, at every place where it is
//! made: while the log is opened, appended to, continued in a new segment, shortened by a baseline, and reopened.

use super::build_writer;
use headwater_local::tools::Tools;
use headwater_tests::injection::{CALLS, Failure, Traced};
use headwater_tests::kills::{check_lines, settle};
use headwater_tests::machine::Need;
use headwater_tests::tape::Tape;
use headwater_tests::task::AbortOnDrop;
use headwater_tests::wire::place;
use headwater_tests::{Client, Load, NodeBuilder, Random, eventually};
use std::collections::BTreeMap;
use std::env;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Places at which each call is made to fail with each error in the gate, drawn. In the campaign: all.
const PLACES: u64 = 2;
/// Nodes at one time.
const AT_ONCE: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_by_a_failed_call_of_the_log() {
    if !Need::Strace.is_met("failing calls of the log") {
        return;
    }
    Need::Strace.run("strace", ["-V"]);
    let mut random = Random::announced("failing calls");
    let Outcome { counts, .. } = live_through(None, random.split()).await;
    let all = env::var("HEADWATER_FAILURES").is_ok_and(|which| which == "all");
    let mut failures = Vec::new();
    for (call, error) in CALLS.into_iter().flat_map(|call| [(call, "EIO"), (call, "ENOSPC")]) {
        let count = *counts.get(call).unwrap_or_else(|| panic!("the log never calls {call}: {counts:?}"));
        let places: Vec<u64> = match all {
            true => (1..=count).collect(),
            // From the first to the last, so that each part of a node's life has its share.
            false => (0..PLACES).map(|part| 1 + (part * count + random.below(count)) / PLACES).collect(),
        };
        failures.extend(places.into_iter().map(|when| Failure { call, error, when }));
    }
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for failure in failures {
        let (slots, random) = (slots.clone(), random.split());
        running.spawn(async move {
            let _slot = slots.acquire_owned().await.expect("it is never closed");
            live_through(Some(failure), random).await
        });
    }
    let (mut tried, mut failed, mut refused, mut codes) = (0, 0, 0, BTreeMap::<String, u64>::new());
    while let Some(outcome) = running.join_next().await {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        tried += 1;
        failed += u64::from(outcome.failed > 0);
        refused += u64::from(!outcome.started);
        outcome.codes.into_iter().for_each(|(code, count)| *codes.entry(code).or_default() += count);
    }
    println!(
        "calls {counts:?}; {tried} lives, a call failed in {failed}, {refused} of them at the start; told {codes:?}"
    );
    // How often each is called depends on the moment: the last place of a call may not come again.
    assert!(failed * 2 >= tried, "too few of them failed: {failed} of {tried}");
    assert!(codes.contains_key("storage_full") && codes.contains_key("outcome_unknown"), "{codes:?}");
}

struct Outcome {
    counts: BTreeMap<&'static str, u64>,
    failed: usize,
    started: bool,
    codes: BTreeMap<String, u64>,
}

/// Settings with which a hundred writes make the log do all that it does.
fn busy(directory: &Path) -> NodeBuilder {
    let busy = build_writer(directory).option("--segment-bytes", "4096").option("--baseline-after-bytes", "4096");
    busy.option("--retain-bytes", "16384")
}

/// A writer's life with one failure: it acknowledges writes, stores baselines, lets go of segments, is killed and read
/// back.
async fn live_through(failure: Option<Failure>, mut random: Random) -> Outcome {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let what = failure.map_or("nothing fails".into(), |failure| failure.to_string());
    let server = Tools::load().expect("./dev test writes the tools file").server;
    let traced = Traced::new(busy(directory.path()).data(), &server, failure);
    let mut writer = match busy(directory.path()).under(traced.wrapper()).try_start().await {
        Ok(writer) => writer,
        Err(said) => {
            // It has acknowledged nothing, says why, and starts from what is there.
            assert!(!traced.failed().is_empty(), "{what}: it does not start, and no call failed: {said}");
            assert!(said.contains("os error"), "{what}: {said}");
            let writer = busy(directory.path()).start().await;
            assert_eq!(writer.client().set("load", "a", "1").await.status, 404);
            let (failed, counts) = (traced.failed().len(), traced.counts());
            return Outcome { counts, failed, started: false, codes: BTreeMap::new() };
        }
    };
    let client = writer.client();
    let first = eventually("it has an epoch", || async {
        let position = client.position().await;
        if position.is_empty() || place(&position).1 == 0 { Err(position) } else { Ok(position) }
    })
    .await;
    let tape = Tape::start(&client, &first);
    let reads = AbortOnDrop::spawn(read(client.clone(), what.clone()));
    let load = Load::start_ahead(5, &client, "load", 3, &mut random).await;
    for _ in 0..2 {
        load.acknowledges(30).await;
        let before = baseline_seq(&client).await;
        eventually(&format!("{what}: a baseline is stored"), || async {
            // It looks twice a second, and needs something new: few writes, or each life would be another.
            tokio::time::sleep(Duration::from_millis(50)).await;
            load.acknowledges(1).await;
            let now = baseline_seq(&client).await;
            if now > before { Ok(()) } else { Err((before, now, load.acknowledged())) }
        })
        .await;
    }
    load.acknowledges(10).await;
    let record = load.finish().await;
    reads.ended().await;
    let (failed, counts) = (traced.failed(), traced.counts());
    writer.kill().await;
    writer.without_wrapper();
    writer.start_again().await;
    let state = settle(&client, &[]).await;
    check_lines(&tape.up_to(place(&state.position).1).await, &state, &record);
    for code in record.codes.keys() {
        let is_right = match (&**code, failure) {
            ("not_ready", Some(_)) => true,
            ("outcome_unknown", Some(failure)) => failure.error == "EIO" || failure.call == "fdatasync",
            ("storage_full", Some(failure)) => failure.error == "ENOSPC",
            _ => false,
        };
        assert!(is_right, "{what} at {failed:?}, and writes were told {:?}", record.codes);
    }
    // Only groups of writes are synced by this call: who waited for one must hear of it.
    let is_heard = record.codes.contains_key("outcome_unknown");
    let is_sync = failure.is_some_and(|failure| failure.call == "fdatasync");
    assert!(is_heard || !is_sync || failed.is_empty(), "{what} at {failed:?}, and nobody was told: {:?}", record.codes);
    Outcome { counts, failed: failed.len(), started: true, codes: record.codes }
}

async fn baseline_seq(client: &Client) -> Option<u64> {
    client.status().await["storage"]["baseline"]["seq"].as_u64()
}

/// Reads without pause: whatever the log does, reads go on.
async fn read(client: Client, what: String) {
    loop {
        let reply = client.get("/v1/collections").await;
        assert_eq!(reply.status, 200, "{what}: {}", reply.text());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
