//! The browser's replica when its node is killed, stalled, restored or busy.

use super::{PING_MS, converge, signed_in, write};
use headwater_tests::disk::{copy, restore};
use headwater_tests::kills::{self, kill_writer_with};
use headwater_tests::{Load, NodeBuilder, Page, Random, bulk, state_of};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follows_a_writer_that_is_killed_again_and_again_without_a_reload() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = Random::announced("kill -9 of the writer, with a page");
    let mut writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let mut page = Page::open(&writer.url).await;
    page.sign_in().await;
    let rounds = kills::rounds(25);
    let state = kill_writer_with(&mut writer, &[], rounds, &mut random, async |epoch| {
        let follows = format!("(window.headwater.status().position ?? '').startsWith('{epoch}.')");
        page.until("it follows the new epoch", &follows).await;
    })
    .await;
    page.converges(&state).await;
    let status = page.status().await;
    assert_eq!(
        (&status["baselines"], &status["gaps"], &status["divergences"]),
        (&1.into(), &0.into(), &0.into()),
        "{status}"
    );
    assert_eq!(page.loads().await, 1, "nothing was loaded again");
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_writer_is_noticed_and_the_page_owns_up_to_its_lag() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, mut page) = signed_in(directory.path()).await;
    converge(&writer.client(), &mut page).await;
    writer.stall();
    let cut = Instant::now();
    page.until("the silence is noticed", "window.headwater.status().connected === false").await;
    // The page looks at its deadline four times a second.
    assert!(cut.elapsed() < Duration::from_millis(3 * PING_MS + 1_500), "only after {:?}", cut.elapsed());
    let until = cut + Duration::from_millis(6 * PING_MS);
    while Instant::now() < until {
        let least = cut.elapsed().as_millis() as u64;
        let lag = page.status().await["lagMs"].as_u64().unwrap();
        assert!(lag + 150 >= least, "{lag} ms, but cut off {least} ms ago");
    }
    assert_eq!(page.evaluate("window.headwater.get('flags', 'key-0').status").await, 200);
    writer.go_on();
    write(&writer.client(), 3..5).await;
    converge(&writer.client(), &mut page).await;
    page.until("it is fresh again", "window.headwater.status().lagMs < 1000").await;
    let status = page.status().await;
    assert_eq!((&status["baselines"], &status["gaps"]), (&1.into(), &0.into()), "{status}");
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_writer_replaces_what_the_page_had_of_the_lost_history() {
    let directory = tempfile::tempdir().unwrap();
    let saved = directory.path().join("saved");
    let (mut writer, mut page) = signed_in(directory.path()).await;
    writer.stop().await;
    copy(&writer.data().join("state"), &saved);
    writer.start_again().await;
    write(&writer.client(), 10..15).await;
    converge(&writer.client(), &mut page).await;
    writer.kill().await;
    restore(&saved, &writer);
    writer.start_again().await;
    write(&writer.client(), 20..30).await;
    converge(&writer.client(), &mut page).await;
    let gone = page.evaluate("window.headwater.get('flags', 'key-12').status").await;
    assert_eq!((gone, page.loads().await), (404.into(), 1));
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_keys_arrive_complete_while_writes_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = Random::announced("a large baseline for the page");
    let mut writer = NodeBuilder::writer("writer", directory.path()).start().await;
    bulk::fill(&mut writer, "bulk", 100_000).await;
    let client = writer.client();
    let load = Load::start(&client, "load", 2, &mut random).await;
    load.acknowledges(20).await;
    let mut page = Page::open(&writer.url).await;
    let start = Instant::now();
    page.sign_in().await;
    let ready = start.elapsed();
    load.acknowledges(20).await;
    load.finish().await;
    let right = state_of(&client).await.expect("the writer is at rest");
    page.converges(&right).await;
    println!("100000 keys: ready after {ready:?}, equal after {:?}", start.elapsed());
    let status = page.status().await;
    assert_eq!(
        (&status["baselines"], &status["gaps"], &status["divergences"]),
        (&1.into(), &0.into(), &0.into()),
        "{status}"
    );
    page.close().await;
}
