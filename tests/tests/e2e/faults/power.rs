//! Power cuts on a real file system: the node is stopped, the ext4 under its state loses everything that was not synced,
//! the node is killed, and both start again.

use super::kills::RETAIN_BYTES;
use super::{build_replica, build_writer};
use headwater_tests::kills::{Campaign, followed_while_it_dies, goes_on_from_what_it_kept, number};
use headwater_tests::machine::Need;
use headwater_tests::medium::{Cut, Medium};
use headwater_tests::moment::{self, restless};
use headwater_tests::{Node, Random};

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
