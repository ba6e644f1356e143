//! The file log in this process beside the same lines by `write` and `fdatasync` alone, once into a file that grows with
//! them and once into room that was made ready for all of them before: what checksums, frames and preallocation cost or gain.

use super::{order, value};
use crate::report::{Comparison, Report, Side};
use crate::settings::Settings;
use headwater::wal::file::FileOptions;
use headwater::wal::{Appender, Group, GroupBuilder, OpenOptions, Replayed, WalUrl, connect};
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Records of a group, and the share of the medium's rate that the log has to reach with them.
const GROUPS: [(u64, f64); 3] = [(1, 0.55), (64, 0.8), (256, 0.8)];

/// More than is written in a run.
const ROOM_BYTES: u64 = 4 << 30;

pub(super) async fn measure(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let directory = settings.directory().join("log");
    std::fs::create_dir_all(&directory)?;
    let rounds = settings.rounds;
    // Groups are handed over in bursts of a fixed size, so that their making is outside of the time.
    let turn = settings.turn / 4;
    report.comparisons = settings.cores.measured(move || compare(directory, rounds, turn)).await?;
    Ok(())
}

fn compare(directory: PathBuf, rounds: u32, turn: Duration) -> anyhow::Result<Vec<Comparison>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut wal = connect(&WalUrl::File(directory.join("file")), None, FileOptions::default());
    let now_ms = u64::try_from(SystemTime::UNIX_EPOCH.elapsed()?.as_millis())?;
    let options = OpenOptions { now_ms, ..OpenOptions::default() };
    let mut opened = runtime.block_on(wal.open(&options, &mut |_: Replayed<'_>| Ok(())))?;
    let mut lines = Lines { next: opened.next_seq(), value: value(100) };
    runtime.block_on(opened.appender.append(&lines.group(1, Some(opened.epoch))))?;
    let mut media = [Medium::growing(&directory)?, Medium::with_room(&directory)?];
    let mut comparisons = Vec::new();
    for (records, required) in GROUPS {
        let (mut ours, mut raw) = (Vec::new(), [const { Vec::new() }; 2]);
        for round in 0..rounds {
            for index in order(round, 1 + media.len()) {
                let Some(index) = index.checked_sub(1) else {
                    ours.push(rate(turn, || {
                        let group = lines.group(records, None);
                        let begun = Instant::now();
                        runtime.block_on(append(&mut *opened.appender, &group))?;
                        Ok((records, begun.elapsed()))
                    })?);
                    continue;
                };
                let medium = &mut media[index];
                raw[index].push(rate(turn, || {
                    let group = lines.unlogged(records);
                    let begun = Instant::now();
                    medium.append(group.lines())?;
                    Ok((records, begun.elapsed()))
                })?);
            }
        }
        let case = format!("groups of {records}");
        let log = Side::of_rates("file log", &ours);
        for (medium, raw) in media.iter().zip(&raw) {
            let reference = (Side::of_rates(medium.name, raw), &raw[..]);
            comparisons.push(Comparison::new(&case, (log.clone(), &ours), reference, Some(required)));
        }
    }
    runtime.block_on(opened.appender.close())?;
    Ok(comparisons)
}

/// A file that is written and synced, and nothing else.
struct Medium {
    name: &'static str,
    file: File,
    end: u64,
}

impl Medium {
    fn growing(directory: &Path) -> io::Result<Self> {
        Ok(Self { name: "medium, a file that grows", file: File::create(directory.join("growing"))?, end: 0 })
    }

    fn with_room(directory: &Path) -> io::Result<Self> {
        let file = File::create(directory.join("room"))?;
        fallocate(&file, FallocateFlags::empty(), 0, ROOM_BYTES)?;
        file.sync_all()?;
        Ok(Self { name: "medium, into room made ready", file, end: 0 })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.end)?;
        self.file.sync_data()?;
        self.end += bytes.len() as u64;
        Ok(())
    }
}

async fn append(appender: &mut dyn Appender, group: &Group) -> anyhow::Result<()> {
    Ok(appender.append(group).await?)
}

/// Repeats `step`, which returns records and the time they took, until the time adds up to `turn`.
fn rate(turn: Duration, mut step: impl FnMut() -> anyhow::Result<(u64, Duration)>) -> anyhow::Result<f64> {
    let (mut records, mut time) = (0, Duration::ZERO);
    while time < turn {
        let (more, took) = step()?;
        records += more;
        time += took;
    }
    Ok(records as f64 / time.as_secs_f64())
}

/// Makes groups of SET lines.
struct Lines {
    next: u64,
    value: String,
}

impl Lines {
    /// The next `records` lines of the log.
    fn group(&mut self, records: u64, epoch: Option<u64>) -> Group {
        let group = self.make(records, epoch);
        self.next += records;
        group
    }

    /// Lines as long as the log's next ones, which stay its next ones.
    fn unlogged(&self, records: u64) -> Group {
        self.make(records, None)
    }

    fn make(&self, records: u64, epoch: Option<u64>) -> Group {
        let mut builder = GroupBuilder::with_capacity(records as usize * 256);
        for seq in self.next..self.next + records {
            let head = format!(r#"{{"type":"SET","collection":"bench","seq":{seq},"prev":{},"key":"k1","#, seq - 1);
            builder.push(seq, epoch, b"", |line| {
                line.extend_from_slice(head.as_bytes());
                line.extend_from_slice(br#""version":1,"timestamp":1763650000000,"value":"#);
                line.extend_from_slice(self.value.as_bytes());
                line.extend_from_slice(b"}\n");
            });
        }
        builder.finish()
    }
}
