//! Whom a replica refuses to follow: another cluster, a deposed writer, itself. What it holds, it keeps and serves.

use super::{build_writer, replica, write, writer};
use headwater_tests::disk::copy;
use headwater_tests::{Node, NodeBuilder, Replication, converge, state_of};

/// Restarts a replica under another list of parents.
async fn turn(near: &mut Node, parents: &str) {
    near.stop().await;
    near.set_option("--parent", parents);
    near.start_again().await;
    near.ready().await;
}

async fn offended(near: &Node, code: &str) -> Replication {
    Replication::until(&near.client(), code, |found| found.offence == code).await
}

#[tokio::test]
async fn another_cluster_is_refused_and_the_old_state_served() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(directory.path()).await;
    let mut near = replica("near", directory.path(), &writer.url).await;
    write(&writer.client(), 0..3).await;
    let held = converge(&writer.client(), &near.client()).await;
    let stranger = NodeBuilder::writer("stranger", directory.path()).start().await;
    stranger.client().create("c").await;
    write(&stranger.client(), 50..60).await;

    turn(&mut near, &stranger.url).await;
    offended(&near, "other_cluster").await;
    assert_eq!(state_of(&near.client()).await, Some(held));
    turn(&mut near, &writer.url).await;
    write(&writer.client(), 3..5).await;
    converge(&writer.client(), &near.client()).await;
    assert_eq!(Replication::of(&near.client()).await.baselines, 0, "it had lost nothing");
}

#[tokio::test]
async fn a_writer_of_a_lower_epoch_is_refused_and_the_next_parent_taken() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = writer(directory.path()).await;
    write(&writer.client(), 0..3).await;
    writer.stop().await;
    // A copy of the same log, opened first: the deposed one, once the other is opened.
    copy(&writer.data().join("state"), &directory.path().join("deposed/state"));
    let deposed = NodeBuilder::writer("deposed", directory.path()).start().await;
    writer.start_again().await;
    let mut near = replica("near", directory.path(), &writer.url).await;
    write(&writer.client(), 3..5).await;
    let held = converge(&writer.client(), &near.client()).await;
    write(&deposed.client(), 70..90).await;

    turn(&mut near, &deposed.url).await;
    offended(&near, "stale_parent").await;
    assert_eq!(state_of(&near.client()).await, Some(held), "it does not go back behind a writer's back");
    turn(&mut near, &format!("{},{}", deposed.url, writer.url)).await;
    write(&writer.client(), 5..6).await;
    converge(&writer.client(), &near.client()).await;
    let found = Replication::of(&near.client()).await;
    assert_eq!((found.baselines, &*found.offence), (0, "stale_parent"), "{found:?}");
}

#[tokio::test]
async fn a_wrongly_high_epoch_is_got_past_when_the_operator_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let future = headwater_tests::wire::now_ms() + 86_400_000_000;
    let mut writer = build_writer(directory.path()).option("--epoch-above", &future.to_string()).start().await;
    writer.client().create("c").await;
    let near = replica("near", directory.path(), &writer.url).await;
    let state = converge(&writer.client(), &near.client()).await;
    let epoch = headwater_tests::wire::place(&state.position).0;
    assert!(epoch > future);
    writer.stop().await;
    writer.set_option("--epoch-above", "0");
    writer.start_again().await;
    write(&writer.client(), 0..1).await;
    let state = converge(&writer.client(), &near.client()).await;
    assert!(headwater_tests::wire::place(&state.position).0 > epoch, "every opening is above all before it");
    assert_eq!(Replication::of(&near.client()).await.baselines, 1);
}

#[tokio::test]
async fn a_replica_does_not_follow_its_own_replica() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(directory.path()).await;
    let mut near = replica("near", directory.path(), &writer.url).await;
    let far = replica("far", directory.path(), &near.url).await;
    let held = converge(&writer.client(), &far.client()).await;
    near.stop().await;
    near.set_option("--parent", &far.url);
    near.start_again().await;
    near.ready().await;
    offended(&near, "loop").await;
    assert_eq!(state_of(&near.client()).await, Some(held));
}

#[tokio::test]
async fn a_copy_of_a_replica_follows_the_original_under_an_instance_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(directory.path()).await;
    let mut original = replica("original", directory.path(), &writer.url).await;
    write(&writer.client(), 0..3).await;
    converge(&writer.client(), &original.client()).await;
    original.stop().await;
    copy(&original.data().join("state"), &directory.path().join("copied/state"));
    original.start_again().await;
    original.ready().await;
    let copied = replica("copied", directory.path(), &original.url).await;
    write(&writer.client(), 3..5).await;
    converge(&writer.client(), &copied.client()).await;
    let (one, other) = (original.client().status().await, copied.client().status().await);
    assert_ne!(one["instance"], other["instance"]);
    assert_eq!(copied.client().set("c", "through-both", "1").await.status, 200, "forwarded, and not taken for a loop");
}

#[tokio::test]
async fn a_pair_that_the_parent_does_not_accept_is_said_in_plain_words() {
    let directory = tempfile::tempdir().unwrap();
    // Without --dev it knows only the pair it made itself, and the replica shows it dev / dev.
    let parent = NodeBuilder::writer("parent", directory.path()).without("--dev").start().await;
    let near = NodeBuilder::replica("near", directory.path(), &parent.url).start().await;
    offended(&near, "forbidden").await;
    let words = format!("{} does not accept HEADWATER_PARENT_APIKEY / HEADWATER_PARENT_SECRET", parent.url);
    near.says(&words).await;
    assert!(!near.log().contains("\\\""), "{}", near.log());
}

#[tokio::test]
async fn a_new_replicas_first_baseline_is_no_warning() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(directory.path()).await;
    let near = replica("near", directory.path(), &writer.url).await;
    near.says("took the first baseline").await;
    assert!(!near.log().contains("WARN"), "{}", near.log());
}
