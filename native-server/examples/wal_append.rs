//! Durable records per second of the file log beside the medium's own limit: the same bytes by write and fdatasync alone.
//!
//! `cargo run --release -p headwater --example wal_append -- [DIR] [ROUNDS]` makes two files below DIR (default: the
//! working directory), takes turns between them so that both see the same weather, and prints one line per group size.

use headwater::wal::{GroupBuilder, OpenOptions, Record, WalUrl, connect};
use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

const GROUP_RECORDS: [u64; 3] = [1, 64, 256];
const GROUPS_A_TURN: u32 = 50;
const VALUE: &str = r#"{"on":true,"rules":[{"country":"se","share":0.25},{"country":"de","share":0.5}]}"#;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().unwrap_or_else(|| ".".into()));
    let rounds: u32 = arguments.next().map_or(Ok(20), |text| text.parse())?;
    let place = directory.join(format!("wal-append-{}", std::process::id()));
    std::fs::create_dir_all(&place)?;
    let result = measure(&place, rounds);
    std::fs::remove_dir_all(&place)?;
    result
}

fn measure(place: &std::path::Path, rounds: u32) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut wal = connect(&WalUrl::File(place.join("log")), None);
    let now_ms = u64::try_from(SystemTime::UNIX_EPOCH.elapsed()?.as_millis())?;
    let options = OpenOptions { now_ms, ..OpenOptions::default() };
    let mut opened = runtime.block_on(wal.open(&options, &mut |_: Record<'_>| Ok(())))?;
    let mut next = opened.next_seq();
    let mut group = |records: u64, epoch: Option<u64>| {
        let mut builder = GroupBuilder::with_capacity(usize::try_from(records).unwrap_or(1) * 256);
        for seq in next..next + records {
            builder.push(seq, epoch, b"", |line| {
                let text = format!(
                    r#"{{"type":"SET","collection":"flags","seq":{seq},"prev":{},"key":"k{seq}","version":1,"timestamp":{now_ms},"value":{VALUE}}}"#,
                    seq - 1
                );
                line.extend_from_slice(text.as_bytes());
                line.extend_from_slice(b"\n");
            });
        }
        next += records;
        builder.finish()
    };
    runtime.block_on(opened.appender.append(&group(1, Some(opened.epoch))))?;

    let raw = File::create(place.join("raw"))?;
    let mut raw_end = 0;
    println!(
        "{:>8} {:>14} {:>14} {:>8} {:>10} {:>10}",
        "records", "log rec/s", "raw rec/s", "ratio", "log p50", "raw p50"
    );
    for records in GROUP_RECORDS {
        let (mut log_times, mut raw_times) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let groups: Vec<_> = (0..GROUPS_A_TURN).map(|_| group(records, None)).collect();
            for group in &groups {
                let start = Instant::now();
                runtime.block_on(opened.appender.append(group))?;
                log_times.push(start.elapsed());
            }
            for group in &groups {
                let start = Instant::now();
                raw.write_all_at(group.lines(), raw_end)?;
                raw.sync_data()?;
                raw_end += group.lines().len() as u64;
                raw_times.push(start.elapsed());
            }
        }
        let rate =
            |times: &[Duration]| times.len() as f64 * records as f64 / times.iter().sum::<Duration>().as_secs_f64();
        let (log, medium) = (rate(&log_times), rate(&raw_times));
        let median = |times: &mut Vec<Duration>| {
            times.sort_unstable();
            times[times.len() / 2]
        };
        let (log_p50, raw_p50) = (median(&mut log_times), median(&mut raw_times));
        let ratio = log / medium;
        println!("{records:>8} {log:>14.0} {medium:>14.0} {ratio:>8.2} {log_p50:>10.1?} {raw_p50:>10.1?}");
    }
    runtime.block_on(opened.appender.close())?;
    Ok(())
}
