//! A writer's directory with many keys, made faster than through the API: by the log's own code, as a writer would. And
//! the test that needs it.

use crate::follower::Follower;
use crate::load::Load;
use crate::node::Node;
use crate::random::Random;
use crate::scene::build_writer;
use headwater::wal::file::FileOptions;
use headwater::wal::{GroupBuilder, OpenOptions, WalUrl, connect};
use headwater_core::command::{Action, Line, Trust, decode};
use std::path::Path;
use std::time::Instant;

/// Keys of a large baseline.
const KEYS: usize = 100_000;
/// Keys in one group of the log, that is, for one sync.
const KEYS_A_GROUP: usize = 2_000;

/// Makes a test of the large baseline for one kind of replica.
#[macro_export]
macro_rules! bulk_tests {
    ($follower:ty) => {
        $crate::follower_tests! { $follower, bulk: a_hundred_thousand_keys_arrive_complete_while_writes_go_on }
    };
}

/// A baseline of 100,000 keys while writes go on.
pub async fn a_hundred_thousand_keys_arrive_complete_while_writes_go_on<F: Follower>() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut random = Random::announced("a large baseline");
    let mut writer = build_writer(directory.path()).start().await;
    fill(&mut writer, "bulk", KEYS).await;
    let client = writer.client();
    let load = Load::start(&client, "load", 2, &mut random).await;
    load.acknowledges(20).await;
    let start = Instant::now();
    let mut near = F::start(directory.path(), &writer.url).await;
    let ready = start.elapsed();
    load.acknowledges(20).await;
    load.finish().await;
    let state = near.converges(&client).await;
    println!("{KEYS} keys: ready after {ready:?}, equal after {:?}", start.elapsed());
    assert_eq!(state.collections["bulk"].1.len(), KEYS);
    let found = near.replication().await.expect("it answers");
    assert_eq!((found.baselines, found.gaps, found.divergences), (1, 0, 0), "{found:?}");
}

/// Stops `writer`, adds a collection with `count` keys to its log, and starts it again.
pub async fn fill(writer: &mut Node, collection: &str, count: usize) {
    writer.stop().await;
    append(&writer.data().join("state/log"), collection, count).await;
    writer.start_again().await;
}

/// A value of about 100 bytes that differs from key to key.
fn value(index: usize) -> String {
    format!(
        r#"{{"on":{},"share":0.{index},"rules":[{{"country":"se"}},{{"country":"de"}}],"n":{index}}}"#,
        index.is_multiple_of(2)
    )
}

async fn append(directory: &Path, collection: &str, count: usize) {
    let mut wal = connect(&WalUrl::File(directory.to_owned()), None, FileOptions::default());
    let now_ms = crate::wire::now_ms();
    let options = OpenOptions { now_ms, ..OpenOptions::default() };
    let mut opened = wal.open(&options, &mut |_| Ok(())).await.expect("the log opens after an orderly end");
    let (epoch, cluster) = (opened.epoch, opened.cluster);
    let mut seq = opened.next_seq();
    let mut builder = GroupBuilder::with_capacity(1 << 16);
    let epoch_line = format!(
        "{{\"type\":\"EPOCH\",\"seq\":{seq},\"timestamp\":{now_ms},\"epoch\":{epoch},\"cluster\":\"{cluster}\",\
         \"node\":\"bulk\",\"requires\":[]}}\n"
    );
    assert!(
        matches!(decode(epoch_line.as_bytes(), Trust::Checked), Ok(Line::Log(c)) if matches!(c.action, Action::Epoch { .. }))
    );
    builder.push(seq, Some(epoch), b"", |out| out.extend_from_slice(epoch_line.as_bytes()));
    seq += 1;
    let create =
        format!("{{\"type\":\"CREATE\",\"collection\":\"{collection}\",\"seq\":{seq},\"timestamp\":{now_ms}}}\n");
    builder.push(seq, None, b"", |out| out.extend_from_slice(create.as_bytes()));
    opened.appender.append(&builder.finish()).await.expect("the log takes lines");
    let mut written = 0;
    while written < count {
        let mut builder = GroupBuilder::with_capacity(KEYS_A_GROUP * 256);
        for _ in 0..KEYS_A_GROUP.min(count - written) {
            seq += 1;
            let line = format!(
                "{{\"type\":\"SET\",\"collection\":\"{collection}\",\"seq\":{seq},\"prev\":{},\"key\":\"key-{written:06}\",\
                 \"version\":1,\"timestamp\":{now_ms},\"value\":{}}}\n",
                seq - 1,
                value(written)
            );
            builder.push(seq, None, b"", |out| out.extend_from_slice(line.as_bytes()));
            written += 1;
        }
        opened.appender.append(&builder.finish()).await.expect("the log takes lines");
    }
    opened.appender.close().await.expect("the log closes");
}
