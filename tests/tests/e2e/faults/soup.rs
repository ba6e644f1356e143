//! Everything at once, drawn from a seed: lines lost, repeated, altered, garbled and cut while writes go on.

use super::{build_replica, build_writer};
use headwater_tests::wire::place;
use headwater_tests::{Fate, Random, Relay, Replication, kills};
use std::time::Duration;

/// Rounds of writes that are lied about until the replica has them all the same.
const ROUNDS: u32 = 25;
/// Writes in a round: few, or a replica behind a relay that lies this often would never see a round whole.
const WRITES: u32 = 20;
/// Who is lied to again and again comes back later and later, in half a minute at last; and then may be lied to once more.
const PATIENCE: Duration = Duration::from_secs(240);
/// Keys written to.
const KEYS: u64 = 30;

/// Draws the fate of a line: most pass.
fn fate(line: &str, random: &mut Random) -> Fate {
    match random.below(300) {
        0 => Fate::Lost,
        1 => Fate::Twice,
        2 => Fate::Cut,
        3 => Fate::Instead(line.replacen("\"n\":", "\"n\":1", 1)),
        4 => Fate::Instead(line[..line.len() / 2].to_owned()),
        5 => Fate::Instead(line.replacen("\"seq\":", "\"seq\":9", 1)),
        _ => Fate::Pass,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_on_the_way_the_replicas_end_with_the_writers_state() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = Random::announced("a lying relay");
    let writer = build_writer(directory.path()).start().await;
    let client = writer.client();
    client.create("c").await;
    let relay = Relay::start(&writer.url).await;
    let near = build_replica("near", directory.path(), &relay.url).start().await;
    near.ready().await;
    let far = build_replica("far", directory.path(), &near.url).start().await;
    far.ready().await;
    let mut drawn = random.split();
    relay.rule(move |line| fate(line, &mut drawn));
    for round in 0..ROUNDS {
        for number in 0..WRITES {
            let key = format!("key-{}", random.below(KEYS));
            let done = match random.below(6) {
                0 => client.delete("c", &key).await,
                _ => client.set("c", &key, &format!("{{\"n\":{}}}", round * WRITES + number)).await,
            };
            assert!(matches!(done.status, 200 | 404), "{}", done.text());
        }
        let aim = place(&client.position().await);
        Replication::until_within(PATIENCE, &near.client(), "it has them", |found| place(&found.position) >= aim).await;
    }
    relay.honest();
    Replication::until_within(PATIENCE, &near.client(), "it follows again", |found| found.connected).await;
    // An altered line shows with the next PING only, and by then nobody lies any more.
    kills::settle(&client, &[near.client(), far.client()]).await;
    let found = Replication::of(&near.client()).await;
    println!("{found:?}");
    assert!(found.connections > 1, "some lies were told: {found:?}");
    // An altered line that was passed on before it was found out is found out further down, too, and healed.
    let further = Replication::of(&far.client()).await;
    assert!(further.divergences <= found.divergences, "{further:?} behind {found:?}");
}
