//! Lines that are missing, repeated or altered on their way.

use super::{behind_relay, build_replica, reads, write};
use headwater_tests::{Fate, Relay, Replication, converge};

/// A rule that loses the first line with `mark` that has `prev`, that is, which comes with the tail.
fn lose_once(mark: &'static str) -> impl FnMut(&str) -> Fate + Send + 'static {
    let mut lost = false;
    move |line| {
        let hit = !lost && line.contains(mark) && line.contains("\"prev\":");
        lost |= hit;
        if hit { Fate::Lost } else { Fate::Pass }
    }
}

#[tokio::test]
async fn a_missing_line_is_noticed_and_fetched_again() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, relay, near) = behind_relay(directory.path()).await;
    relay.rule(lose_once("\"key-3\""));
    write(&writer.client(), 3..6).await;
    converge(&writer.client(), &near.client()).await;
    let found = Replication::of(&near.client()).await;
    assert_eq!((found.gaps, found.baselines, &*found.offence), (1, 1, "gap"), "{found:?}");
    assert!(relay.hellos().last().unwrap().contains("\"resume\":\"tail\""), "{:?}", relay.hellos());
}

#[tokio::test]
async fn a_missing_last_line_is_noticed_by_the_next_ping() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, relay, near) = behind_relay(directory.path()).await;
    relay.rule(lose_once("\"key-3\""));
    write(&writer.client(), 3..4).await;
    converge(&writer.client(), &near.client()).await;
    assert_eq!(Replication::of(&near.client()).await.gaps, 1);
}

/// A replica of `scope` behind a relay that loses one line of it.
async fn loses_one_of(scope: &str) -> Replication {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let writer = super::writer(directory.path()).await;
    let relay = Relay::start(&writer.url).await;
    let near = build_replica("near", directory.path(), &relay.url).option("--scope", scope).start().await;
    near.ready().await;
    write(&writer.client(), 0..2).await;
    reads(&near.client(), "key-1", "{\"n\":1}").await;
    // The count of lines is compared between two PINGs: one must have come.
    let position = writer.client().position().await;
    Replication::until(&near.client(), "at the writer's position", |found| found.position == position).await;
    relay.rule(lose_once("\"key-2\""));
    write(&writer.client(), 2..4).await;
    reads(&near.client(), "key-3", "{\"n\":3}").await;
    reads(&near.client(), "key-2", "{\"n\":2}").await;
    Replication::of(&near.client()).await
}

#[tokio::test]
async fn a_missing_line_of_a_collection_is_noticed_by_its_predecessor() {
    let found = loses_one_of(r#"{"c":[""]}"#).await;
    assert!(found.gaps >= 1 && found.baselines == 1, "{found:?}");
}

#[tokio::test]
async fn a_missing_line_of_a_prefix_is_noticed_by_counting() {
    let found = loses_one_of(r#"{"c":["key"]}"#).await;
    assert!(found.gaps >= 1, "{found:?}");
}

#[tokio::test]
async fn a_line_that_goes_missing_twice_is_healed_by_a_baseline() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, relay, near) = behind_relay(directory.path()).await;
    relay.rule(|line| if line.contains("\"key-3\"") && line.contains("\"prev\":") { Fate::Lost } else { Fate::Pass });
    write(&writer.client(), 3..6).await;
    converge(&writer.client(), &near.client()).await;
    let found = Replication::of(&near.client()).await;
    assert_eq!((found.gaps, found.baselines), (2, 2), "{found:?}");
}

#[tokio::test]
async fn repeated_lines_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, relay, near) = behind_relay(directory.path()).await;
    let before = Replication::of(&near.client()).await;
    relay.rule(|line| if line.contains("\"prev\":") { Fate::Twice } else { Fate::Pass });
    write(&writer.client(), 3..13).await;
    writer.client().delete("c", "key-3").await;
    let state = converge(&writer.client(), &near.client()).await;
    assert_eq!(state.collections["c"].1.len(), 12);
    let found = Replication::of(&near.client()).await;
    assert_eq!((found.repeated, found.commands), (11, before.commands + 11), "{found:?}");
    assert_eq!((found.gaps, found.divergences, found.connections), (0, 0, 1), "{found:?}");
}

#[tokio::test]
async fn an_altered_line_is_told_by_the_digest_and_healed() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, relay, near) = behind_relay(directory.path()).await;
    relay.rule(|line| {
        if line.contains("\"prev\":") { Fate::Instead(line.replace("{\"n\":4}", "{\"n\":5}")) } else { Fate::Pass }
    });
    write(&writer.client(), 3..7).await;
    converge(&writer.client(), &near.client()).await;
    let found = Replication::of(&near.client()).await;
    assert_eq!((found.divergences, found.baselines, &*found.offence), (1, 2, "diverged"), "{found:?}");
}
