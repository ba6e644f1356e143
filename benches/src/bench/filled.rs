//! A writer's log with many keys, made before the server that owns it is started.

use super::{COLLECTION, value};
use headwater::wal::file::FileOptions;
use headwater::wal::{GroupBuilder, OpenOptions, Replayed, WalUrl, connect};
use headwater_core::command::{Action, Logged};
use std::borrow::Cow;
use std::path::Path;
use std::time::SystemTime;

const GROUP_RECORDS: u64 = 4_096;
const VALUE_BYTES: usize = 100;

/// Makes the log of a node whose state lies below `directory`: one collection with `keys` keys, each written once.
pub(super) async fn fill(directory: &Path, keys: u64) -> anyhow::Result<()> {
    let log = directory.join("state/log");
    std::fs::create_dir_all(&log)?;
    let mut wal = connect(&WalUrl::File(log), None, FileOptions::default());
    let now_ms = u64::try_from(SystemTime::UNIX_EPOCH.elapsed()?.as_millis())?;
    let options = OpenOptions { now_ms, ..OpenOptions::default() };
    let mut opened = wal.open(&options, &mut |_: Replayed<'_>| Ok(())).await?;
    let value = value(VALUE_BYTES);
    let epoch = opened.epoch;
    let mut appender = opened.appender;
    // The other parts keep others out as well.
    opened.keeper = None;
    let record = |seq: u64| {
        let collection = Some(Cow::Borrowed(COLLECTION));
        let (prev, action) = match seq {
            1 => (
                None,
                Action::Epoch {
                    epoch,
                    cluster: opened.cluster,
                    node: "fill".into(),
                    requires: Vec::new(),
                    takeover: 0,
                },
            ),
            2 => (None, Action::Create),
            _ => (Some(seq - 1), Action::Set { key: format!("k{seq:08}").into(), version: 1, value: &value }),
        };
        let collection = collection.filter(|_| seq > 1);
        Logged { seq, prev, collection, timestamp: now_ms, extra: "".into(), action }
    };
    let last = keys + 2;
    for first in (1..=last).step_by(GROUP_RECORDS as usize) {
        let mut group = GroupBuilder::with_capacity(1 << 20);
        for seq in first..=last.min(first + GROUP_RECORDS - 1) {
            group.push(seq, (seq == 1).then_some(epoch), b"", |line| {
                let mut encoded = Vec::new();
                record(seq).write_line(&mut encoded);
                encoded.push(b'\n');
                line.extend_from_slice(&encoded);
            });
        }
        appender.append(&group.finish()).await?;
    }
    Ok(appender.close().await?)
}
