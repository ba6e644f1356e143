//! Power cuts on a real file system: the node is stopped, the ext4 under its state loses everything that was not synced,
//! the node is killed, and both start again.

use super::kills::RETAIN_BYTES;
use super::{build_replica, build_writer};
use headwater_tests::kills::{Campaign, followed_while_it_dies, goes_on_from_what_it_kept, history, number};
use headwater_tests::machine::Need;
use headwater_tests::medium::{Cut, Medium};
use headwater_tests::moment::{self, restless};
use headwater_tests::task::AbortOnDrop;
use headwater_tests::wire::place;
use headwater_tests::{Client, Node, Random, Replication, converge, eventually};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// Cuts in the gate, of a writer's disk as of a replica's.
const CUTS: u64 = 6;

/// How many cuts a campaign makes: `HEADWATER_CUTS` (set by `./dev campaign`), else what the gate asks for.
fn rounds() -> u64 {
    number("HEADWATER_CUTS", CUTS)
}

/// Cuts the power of `node`, whose state is on `medium`, and gives it back.
async fn cut(node: &mut Node, medium: &Medium, random: &mut Random) {
    moment::drawn(node, random).await;
    // First, so that the node sees nothing of it and can do nothing about it. What it has asked of the system is under
    // way, and ends before the cut, behind it, or with an error that nobody is there to see.
    node.stall();
    let cut = match random.below(8) {
        0 => Cut::AfterAll,
        1 | 2 => Cut::AfterJournal,
        _ => Cut::AtOnce,
    };
    medium.cut(cut);
    node.kill().await;
    medium.restart();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_by_a_power_cut_of_the_writer() {
    if !Need::Mount.is_met("power cuts of a writer") {
        return;
    }
    let (directory, medium) = (tempfile::tempdir().unwrap(), Medium::ext4());
    let mut random = Random::announced("power cuts of the writer");
    // In a few rounds there is nothing written that could be let go of.
    let campaign = Campaign { rounds: rounds(), trims: rounds() > 20 };
    let retain_bytes = if campaign.trims { RETAIN_BYTES } else { 1 << 30 };
    let mut writer = restless(build_writer(directory.path()).on(&medium), retain_bytes).start().await;
    let mut moments = random.split();
    let end = async |writer: &mut Node| cut(writer, &medium, &mut moments).await;
    followed_while_it_dies::<Node>(directory.path(), &mut writer, campaign, &mut random, end).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_goes_on_from_what_it_kept_after_a_power_cut() {
    if !Need::Mount.is_met("power cuts of a replica") {
        return;
    }
    let (directory, medium) = (tempfile::tempdir().unwrap(), Medium::ext4());
    let mut random = Random::announced("power cuts of a replica");
    let mut writer = build_writer(directory.path()).start().await;
    let near = restless(build_replica("near", directory.path(), &writer.url).on(&medium), 0);
    let mut near = near.start().await;
    near.ready().await;
    let mut moments = random.split();
    let end = async |near: &mut Node| cut(near, &medium, &mut moments).await;
    goes_on_from_what_it_kept(&mut writer, &mut near, rounds(), &mut random, end).await;
}

/// Writes one after the other until the writer is gone. Of each that was acknowledged its seq and number are noted.
async fn write_until_it_is_gone(client: Client, first: u64, noted: Arc<Mutex<Vec<(u64, u64)>>>) {
    for number in first.. {
        let value = format!("{{\"n\":{number},\"pad\":\"{}\"}}", "x".repeat((number % 7 * 100) as usize));
        match client.try_set("c", &format!("key-{}", number % 12), &value).await {
            Ok(reply) if reply.status == 200 => {
                let seq = reply.json()["seq"].as_u64().expect("an acknowledgement has a seq");
                noted.lock().expect("nobody panics while holding it").push((seq, number));
            }
            _ => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_newest_writes_are_lost_by_a_power_cut_of_a_writer_that_syncs_at_intervals() {
    if !Need::Mount.is_met("power cuts of a writer that syncs at intervals") {
        return;
    }
    let (directory, medium) = (tempfile::tempdir().unwrap(), Medium::ext4());
    let mut random = Random::announced("power cuts of a writer that syncs at intervals");
    let interval = format!("interval:{}", [2, 50, 1_000][random.below(3) as usize]);
    let writer = restless(build_writer(directory.path()).on(&medium), 1 << 30).option("--sync", &interval);
    // Of very many segments the oldest would be let go of, and the log is read from its beginning in the end.
    let mut writer = writer.option("--segment-bytes", "262144").start().await;
    let client = writer.client();
    client.create("c").await;
    // A start makes durable what it finds.
    writer.kill().await;
    writer.start_again().await;
    let first = client.position().await;
    let near = build_replica("near", directory.path(), &writer.url).start().await;
    near.ready().await;
    let (mut kept, mut lost, mut number, mut ahead) = (BTreeMap::new(), BTreeSet::new(), 0, 0);
    for round in 0..rounds() {
        let before = Replication::of(&near.client()).await.baselines;
        let noted = Arc::new(Mutex::new(Vec::new()));
        let load = AbortOnDrop::spawn(write_until_it_is_gone(client.clone(), number, noted.clone()));
        let aim = 1 + random.below(120) as usize;
        eventually("so many writes are acknowledged", || async {
            let count = noted.lock().unwrap().len();
            if count >= aim { Ok(()) } else { Err(format!("{count} of {aim}")) }
        })
        .await;
        cut(&mut writer, &medium, &mut random).await;
        load.ended().await;
        let seen = place(&near.client().position().await).1;
        writer.start_again().await;
        // Its first record is the one behind all that survived.
        let (epoch, begin) = place(&client.position().await);
        for (seq, n) in noted.lock().unwrap().drain(..) {
            number = n + 2;
            if seq < begin {
                kept.insert(seq, n);
            } else {
                lost.insert(n);
            }
        }
        // It held records that are gone: no tail leads on from there.
        let beyond = u64::from(seen >= begin);
        let what = format!("round {round}: it held record {seen}, {begin} is a new one, and it follows the new epoch");
        let follows = |found: &Replication| {
            place(&found.position).0 == epoch && (beyond..=1).contains(&(found.baselines - before))
        };
        let found = Replication::until(&near.client(), &what, follows).await;
        ahead += beyond;
        assert_eq!((found.gaps, found.divergences), (0, 0), "round {round}: {found:?}");
    }
    let state = converge(&client, &near.client()).await;
    let mut held = BTreeMap::new();
    for line in history(&client, &first, &state.position).await {
        if let (Some(seq), Some(n)) = (line["seq"].as_u64(), line["value"]["n"].as_u64()) {
            assert!(!lost.contains(&n), "{n} was lost and is there again");
            held.insert(seq, n);
        }
    }
    let missing: Vec<_> = kept.iter().filter(|(seq, n)| held.get(seq) != Some(n)).collect();
    assert!(missing.is_empty(), "{missing:?} were found by an earlier start");
    println!(
        "{} cuts with {interval}: {} acknowledged writes survived, {} did not, {ahead} times the replica held more",
        rounds(),
        kept.len(),
        lost.len()
    );
}
