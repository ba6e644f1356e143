//! What goes wrong between a replica and its parent, and what must happen then, for every kind of replica.
//!
//! Each function is one test; [`fault_tests!`](crate::fault_tests) makes them for one kind. What only native nodes can
//! show, such as chains of them and scripted parents, is in `tests/e2e/faults`.
#![expect(missing_docs, reason = "the name of each test is its claim")]

use crate::disk::{copy, restore};
use crate::follower::{Follower, NOTICED_WITHIN, PING_MS};
use crate::relay::{Fate, Relay};
use crate::replication::Replication;
use crate::scene::{behind_relay, write, writer};
use crate::state::State;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Makes a test of every function here for one kind of replica.
#[macro_export]
macro_rules! fault_tests {
    ($follower:ty) => {
        $crate::follower_tests! { $follower, faults:
            a_missing_line_is_noticed_and_fetched_again,
            a_missing_last_line_is_noticed_by_the_next_ping,
            a_line_that_goes_missing_twice_is_healed_by_a_baseline,
            repeated_lines_change_nothing,
            an_altered_line_is_told_by_the_digest_and_healed,
            a_baseline_cut_short_or_wrong_leaves_the_old_state_and_its_readers_alone,
            a_silent_connection_is_dropped_and_gone_on_from,
            a_stalled_or_stopped_writer_is_noticed_lived_through_and_gone_on_from,
            a_restored_writer_replaces_what_was_held_of_the_lost_history,
            a_batch_comes_whole_is_kept_whole_and_missed_whole,
        }
    };
}

/// Makes a test of each function named, of one module of this crate.
#[macro_export]
macro_rules! follower_tests {
    ($follower:ty, $module:ident: $($name:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::$module::$name::<$follower>().await;
            }
        )*
    };
}

/// What is in the line that gets lost.
const LOST: &str = "\"key-3\"";

/// Whether a line is a command of the tail with this in it.
fn in_tail(line: &str, mark: &str) -> bool {
    line.contains(mark) && line.contains("\"prev\":")
}

/// Whether a line is the entry of a baseline with this in it.
fn in_baseline(line: &str, mark: &str) -> bool {
    line.starts_with("{\"type\":\"SET\"") && line.contains(mark) && !line.contains("\"prev\":")
}

/// Loses the first line of the tail with this in it.
pub fn lose_once(mark: &'static str) -> impl FnMut(&str) -> Fate + Send + 'static {
    let mut lost = false;
    move |line| {
        let hit = !lost && in_tail(line, mark);
        lost |= hit;
        if hit { Fate::Lost } else { Fate::Pass }
    }
}

/// What is lost by this rule is shown by the next line of the tail: a PING that comes before it, which would show it by
/// its digest, is lost too.
pub fn shown_by_the_next_line(
    mut rule: impl FnMut(&str) -> Fate + Send + 'static,
) -> impl FnMut(&str) -> Fate + Send + 'static {
    let mut lost = false;
    move |line| {
        if lost && line.starts_with("{\"type\":\"PING\"") {
            return Fate::Lost;
        }
        let fate = rule(line);
        lost = matches!(fate, Fate::Lost) || lost && !in_tail(line, "");
        fate
    }
}

/// What it says now, and must say.
async fn found<F: Follower>(near: &mut F) -> Replication {
    near.replication().await.expect("it answers")
}

/// A line is lost by this rule while these keys are written, the follower gets it all the same.
async fn loses<F: Follower>(
    directory: &Path,
    rule: impl FnMut(&str) -> Fate + Send + 'static,
    keys: Range<u32>,
) -> (Relay, Replication) {
    let (writer, relay, mut near) = behind_relay::<F>(directory).await;
    relay.rule(rule);
    write(&writer.client(), keys).await;
    near.converges(&writer.client()).await;
    let found = found(&mut near).await;
    (relay, found)
}

pub async fn a_missing_line_is_noticed_and_fetched_again<F: Follower>() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (relay, found) = loses::<F>(directory.path(), shown_by_the_next_line(lose_once(LOST)), 3..6).await;
    assert_eq!((found.gaps, found.baselines, &*found.offence), (1, 1, "gap"), "{found:?}");
    let hellos = relay.hellos();
    assert!(hellos.last().is_some_and(|hello| hello.contains("\"resume\":\"tail\"")), "{hellos:?}");
}

pub async fn a_missing_last_line_is_noticed_by_the_next_ping<F: Follower>() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (_, found) = loses::<F>(directory.path(), lose_once(LOST), 3..4).await;
    // By the PING's seq, or by its digest where the scope leaves lines out; then nothing tells which line is missing.
    assert_eq!((found.gaps + found.divergences, found.baselines), (1, 1 + found.divergences), "{found:?}");
}

pub async fn a_line_that_goes_missing_twice_is_healed_by_a_baseline<F: Follower>() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let lose_always = |line: &str| if in_tail(line, LOST) { Fate::Lost } else { Fate::Pass };
    let (_, found) = loses::<F>(directory.path(), shown_by_the_next_line(lose_always), 3..6).await;
    assert_eq!((found.gaps, found.baselines), (2, 2), "{found:?}");
}

pub async fn repeated_lines_change_nothing<F: Follower>() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (writer, relay, mut near) = behind_relay::<F>(directory.path()).await;
    let before = found(&mut near).await;
    relay.rule(|line| if in_tail(line, "") { Fate::Twice } else { Fate::Pass });
    write(&writer.client(), 3..13).await;
    assert_eq!(writer.client().delete("c", "key-3").await.status, 200);
    let state = near.converges(&writer.client()).await;
    assert_eq!(state.collections["c"].1.len(), 12);
    let found = found(&mut near).await;
    // The second one of the last line may still be on its way.
    assert!((10..=11).contains(&found.repeated) && found.commands == before.commands + 11, "{found:?}");
    assert_eq!((found.gaps, found.divergences, found.connections), (0, 0, before.connections), "{found:?}");
}

pub async fn an_altered_line_is_told_by_the_digest_and_healed<F: Follower>() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (writer, relay, mut near) = behind_relay::<F>(directory.path()).await;
    relay.rule(|line| match in_tail(line, "\"key-4\"") {
        true => Fate::Instead(line.replace("{\"n\":4}", "{\"n\":5}")),
        false => Fate::Pass,
    });
    write(&writer.client(), 3..7).await;
    near.converges(&writer.client()).await;
    let found = found(&mut near).await;
    assert_eq!((found.divergences, found.baselines, &*found.offence), (1, 2, "diverged"), "{found:?}");
}

pub async fn a_baseline_cut_short_or_wrong_leaves_the_old_state_and_its_readers_alone<F: Follower>() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (writer, relay, mut near) = behind_relay::<F>(directory.path()).await;
    write(&writer.client(), 3..60).await;
    let old = near.converges(&writer.client()).await;
    // An altered line makes the replica ask for a baseline; two break in their middle, then one lacks an entry.
    let begun = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&begun);
    relay.rule(move |line| {
        if in_tail(line, "\"key-60\"") {
            return Fate::Instead(line.replace("{\"n\":60}", "{\"n\":0}"));
        }
        if !in_baseline(line, "\"key-4\"") {
            return Fate::Pass;
        }
        match counted.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => Fate::Cut,
            2 => Fate::Lost,
            _ => Fate::Hold,
        }
    });
    write(&writer.client(), 60..61).await;
    let kept = |state: &State| -> Vec<String> {
        state.collections["c"].1.iter().filter(|entry| !entry.contains("key-60")).cloned().collect()
    };
    let until = Instant::now() + Duration::from_secs(60);
    while begun.load(Ordering::Relaxed) < 4 {
        assert!(Instant::now() < until, "only {begun:?} baselines were asked for");
        if let Some(state) = near.state().await {
            assert_eq!(kept(&state), kept(&old), "what was held is held");
        }
    }
    let (status, lag) = near.read("key-4").await;
    assert!(status == 200 && lag.is_some(), "{status} {lag:?}");
    let refused = found(&mut near).await;
    assert_eq!((refused.baselines, &*refused.offence), (1, "bad_baseline"), "{refused:?}");
    relay.honest();
    relay.go_on();
    near.converges(&writer.client()).await;
    assert_eq!(found(&mut near).await.baselines, 2);
}

pub async fn a_silent_connection_is_dropped_and_gone_on_from<F: Follower>() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (writer, relay, mut near) = behind_relay::<F>(directory.path()).await;
    let before = found(&mut near).await;
    relay.silence();
    let cut = Instant::now();
    let dropped = near.until("it is noticed", |found| !found.connected).await;
    assert!(cut.elapsed() < NOTICED_WITHIN, "only after {:?}", cut.elapsed());
    assert_eq!(dropped.faults, before.faults + 1, "an end without END is counted");
    write(&writer.client(), 3..6).await;
    near.lags_truly(cut, Duration::from_millis(2 * PING_MS)).await;
    relay.go_on();
    near.converges(&writer.client()).await;
    let after = found(&mut near).await;
    assert_eq!((after.baselines, after.gaps, after.divergences), (before.baselines, 0, 0), "{after:?}");
}

pub async fn a_stalled_or_stopped_writer_is_noticed_lived_through_and_gone_on_from<F: Follower>() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (mut writer, _relay, mut near) = behind_relay::<F>(directory.path()).await;
    for stops in [false, true] {
        if stops {
            writer.stop().await;
        } else {
            writer.stall();
        }
        let cut = Instant::now();
        near.until("it is noticed", |found| !found.connected).await;
        assert!(cut.elapsed() < NOTICED_WITHIN, "only after {:?}", cut.elapsed());
        near.lags_truly(cut, Duration::from_millis(4 * PING_MS)).await;
        if stops {
            writer.start_again().await;
        } else {
            writer.go_on();
        }
        let fresh = |found: &Replication| found.connected && found.lag_ms.is_some_and(|lag| lag < 2 * PING_MS + 500);
        let found = near.until("it is fresh again", fresh).await;
        assert_eq!((found.baselines, found.gaps, found.divergences), (1, 0, 0), "{found:?}");
    }
    // The end of a stopped one, with its reason.
    near.says("shutdown").await;
    write(&writer.client(), 3..5).await;
    near.converges(&writer.client()).await;
}

pub async fn a_restored_writer_replaces_what_was_held_of_the_lost_history<F: Follower>() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let saved = directory.path().join("saved");
    let mut writer = writer(directory.path()).await;
    write(&writer.client(), 0..3).await;
    let mut near = F::start(directory.path(), &writer.url).await;
    writer.stop().await;
    copy(&writer.data().join("state"), &saved);
    writer.start_again().await;
    write(&writer.client(), 10..15).await;
    near.converges(&writer.client()).await;
    writer.kill().await;
    restore(&saved, &writer);
    writer.start_again().await;
    write(&writer.client(), 20..30).await;
    near.converges(&writer.client()).await;
    let found = found(&mut near).await;
    assert_eq!((near.read("key-12").await.0, found.baselines), (404, 2), "{found:?}");
}

pub async fn a_batch_comes_whole_is_kept_whole_and_missed_whole<F: Follower>() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (writer, relay, mut near) = behind_relay::<F>(directory.path()).await;
    let client = writer.client();
    let ops = r#"{"op":"set","key":"key-1","value":{"n":1.50}},{"op":"delete","key":"key-2"},{"op":"set","key":"new","value":[]}"#;
    // Through the replica itself, where it has an address.
    let reply = near.client().unwrap_or_else(|| client.clone()).batch("c", ops).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let versions = r#""results":[{"version":2},{"version":2},{"version":1}]}"#;
    assert!(reply.text().ends_with(versions), "{}", reply.text());
    let state = near.converges(&client).await;
    let seq = reply.json()["seq"].as_u64().expect("a batch has a seq");
    assert_eq!(reply.header("headwater-position"), Some(&*state.position), "the batch's own");
    let of_batch = state.collections["c"].1.iter().filter(|entry| entry.contains(&format!("\"seq\":{seq},")));
    assert_eq!(of_batch.count(), 2, "{state:?}");
    assert_eq!(near.read("key-2").await.0, 404);

    let refused = client.batch("c", &format!("{ops},{{\"op\":\"delete\",\"key\":\"none\"}}")).await;
    assert_eq!(refused.status, 404, "{}", refused.text());
    assert_eq!(near.converges(&client).await, state, "nothing of it came");

    // It is one line: lost, all of it is missing, and fetched again.
    let mut lost = false;
    relay.rule(move |line| {
        let hit = !lost && line.starts_with("{\"type\":\"BATCH\"");
        lost |= hit;
        if hit { Fate::Lost } else { Fate::Pass }
    });
    let ops = r#"{"op":"delete","key":"new"},{"op":"set","key":"key-2","value":2}"#;
    assert_eq!(client.batch("c", ops).await.status, 200);
    write(&client, 3..5).await;
    near.converges(&client).await;
    let seen = found(&mut near).await;
    assert_eq!((seen.gaps, seen.baselines), (1, 1), "{seen:?}");

    near.kill().await;
    assert_eq!(
        client.batch("c", r#"{"op":"set","key":"away","value":1},{"op":"delete","key":"key-0"}"#).await.status,
        200
    );
    near.start_again().await;
    near.converges(&client).await;
    assert_eq!((near.read("away").await.0, near.read("key-0").await.0), (200, 404));
}
