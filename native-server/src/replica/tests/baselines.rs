//! A disk whose lines have become many stores a baseline beside them and lets go of what it covers; nothing waits for it.

use super::*;
use std::path::PathBuf;

/// A baseline after every few lines, and nothing kept that it covers.
fn eager() -> Storage {
    let files = FileOptions { segment_bytes: 4 << 10, ..FileOptions::default() };
    Storage { files, baseline_after_bytes: 4 << 10, ..storage() }
}

fn start(directory: &Path) -> Bench {
    let store = empty();
    let opened = open_disk(directory, eager().files, "r", &store).unwrap();
    Bench::over_with(store, opened, eager())
}

#[tokio::test]
async fn the_disk_stays_small_however_much_is_followed_and_a_restart_finds_all() {
    let data = tempfile::tempdir().unwrap();
    let mut bench = start(data.path());
    let mut largest = 0;
    for seq in (1..=6_000).step_by(100) {
        bench.follow(seq, seq + 99);
        eventually("it is stored", || bench.state.stored().is_some_and(|stored| stored.seq == seq + 99)).await;
        largest = largest.max(bench.state.usage().log_bytes);
    }
    eventually("a baseline is stored", || bench.state.usage().baseline.is_some()).await;
    let usage = bench.state.usage();
    let all = history(1, 6_000).len() as u64;
    assert!(largest < all / 4, "{largest} bytes of log at one time, of {all} that came: {usage:?}");
    assert_eq!(bench.state.failures(), 0);
    // What is left leads on from its floor without a hole.
    let floor = bench.log.floor().unwrap();
    assert!(floor > 0);
    match bench.log.after(floor).await.unwrap() {
        Supply::Lines { bytes, .. } => assert!(bytes.starts_with(&history(floor + 1, floor + 1))),
        // The last baseline may cover everything.
        Supply::NotYet => assert_eq!(floor, 6_000),
        Supply::Gone => panic!("nothing behind {floor}"),
    }
    assert_eq!(bench.log.after(floor - 1).await.unwrap(), Supply::Gone);
    let facts = bench.facts();
    bench.disk.end().await;
    assert_eq!(restarted(data.path()), facts);
}

#[tokio::test]
async fn a_baseline_that_a_replaced_state_overtakes_is_given_up() {
    let data = tempfile::tempdir().unwrap();
    let mut bench = start(data.path());
    for round in 0..40 {
        let from = 1 + round * 60;
        for seq in (from..from + 60).step_by(10) {
            bench.follow(seq, seq + 9);
        }
        bench.note(Vec::new(), true);
        bench.follow(from + 60, from + 60);
        // The next round repeats nothing: it begins behind.
        bench.follow(from + 61, from + 119);
        let facts = bench.facts();
        bench.disk.end().await;
        assert_eq!(restarted(data.path()), facts, "round {round}");
        std::fs::remove_dir_all(data.path()).unwrap();
        bench = start(data.path());
        bench.follow(1, from + 59);
    }
}

/// A disk on which no new segment can be made any more, which only a baseline wants, and which was found out; the next
/// seq, and what is in the way.
async fn without_new_segments(data: &Path) -> (Bench, u64, Vec<PathBuf>) {
    let (store, files) = (empty(), FileOptions::default());
    let opened = open_disk(data, files, "r", &store).unwrap();
    let mut bench = Bench::over_with(store, opened, Storage { files, ..eager() });
    bench.follow(1, 10);
    eventually("it is stored", || bench.state.stored().is_some_and(|stored| stored.seq == 10)).await;
    let taken = (2..200).map(|number| data.join(format!("{number:010}.wal")));
    let taken = taken.filter(|path| std::fs::create_dir(path).is_ok()).collect();
    let mut seq = 10;
    while bench.state.failures() == 0 {
        bench.follow(seq + 1, seq + 10);
        seq += 10;
        assert!(seq < 2_000, "no baseline was begun");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (bench, seq, taken)
}

#[tokio::test]
async fn a_baseline_that_could_not_even_begin_is_made_up_for_once_the_disk_is_well() {
    let data = tempfile::tempdir().unwrap();
    let (mut bench, mut seq, taken) = without_new_segments(data.path()).await;
    taken.iter().for_each(|path| std::fs::remove_dir(path).unwrap());
    for _ in 0..100 {
        seq += 1;
        bench.follow(seq, seq);
        tokio::time::sleep(Duration::from_millis(50)).await;
        if bench.state.stored().is_some_and(|stored| stored.seq >= seq - 1) {
            break;
        }
    }
    eventually("it is stored again", || bench.state.stored().is_some_and(|stored| stored.seq == seq)).await;
    assert!(bench.state.failures() <= 3, "{} attempts", bench.state.failures());
    let facts = bench.facts();
    bench.disk.end().await;
    assert_eq!(restarted(data.path()), facts);
}

#[tokio::test]
async fn an_orderly_end_makes_up_for_what_had_failed_before() {
    let data = tempfile::tempdir().unwrap();
    let (bench, _, taken) = without_new_segments(data.path()).await;
    taken.iter().for_each(|path| std::fs::remove_dir(path).unwrap());
    let facts = bench.facts();
    bench.disk.finish(bench.node.store()).await;
    assert_eq!(restarted(data.path()), facts);
}
