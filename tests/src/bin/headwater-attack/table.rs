//! What was held against the node, and what it took.

use crate::node::Target;
use headwater_tests::eventually_within;
use std::time::{Duration, Instant};

/// What the node may hold more after an attack than before it, in KiB, once it is over: what an allocator keeps of pages
/// that are partly in use, and tables of fixed size that were not touched before.
const KEPT_KIB: u64 = 32 << 10;
/// How long it may take to let go of the rest.
const LET_GO_WITHIN: Duration = Duration::from_secs(30);
/// What it may hold at any time, in KiB. The largest thing that is asked for is a list of 24 MB.
const MOST_KIB: u64 = 256 << 10;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Row>);

#[derive(Debug)]
struct Row {
    attack: &'static str,
    asserted: &'static str,
    took: Duration,
    /// `None` while it goes on.
    done: Option<Done>,
    before_kib: u64,
    most_kib: u64,
    after_kib: u64,
}

/// What came of an attack.
#[derive(Debug)]
pub(crate) struct Done {
    /// Requests that were made, or connections of those that make none.
    pub(crate) requests: u64,
    /// What else there is to say.
    pub(crate) notes: Vec<String>,
}

impl Table {
    /// Does `work` against the node, which must not hold much more memory meanwhile, and no more after it.
    pub(crate) async fn add(
        &mut self,
        attack: &'static str,
        asserted: &'static str,
        target: &Target,
        work: impl Future<Output = Done>,
    ) {
        eprintln!("==> {attack}: {asserted}");
        let (begun, before_kib) = (Instant::now(), target.memory_kib());
        let row =
            Row { attack, asserted, took: Duration::ZERO, done: None, before_kib, most_kib: before_kib, after_kib: 0 };
        self.0.push(row);
        let row = self.0.last_mut().expect("one was put there");
        let mut most_kib = before_kib;
        let watching = async {
            loop {
                most_kib = most_kib.max(target.memory_kib());
                assert!(most_kib < MOST_KIB, "{attack}: the node holds {most_kib} KiB");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let done = tokio::select! {
            done = work => done,
            () = watching => unreachable!("it goes on for ever"),
        };
        (row.took, row.most_kib) = (begun.elapsed(), most_kib);
        row.after_kib = eventually_within(LET_GO_WITHIN, "the node lets go of its memory", || async {
            let now_kib = target.memory_kib();
            if now_kib <= before_kib + KEPT_KIB {
                Ok(now_kib)
            } else {
                Err(format!("{before_kib} KiB, then {now_kib}"))
            }
        })
        .await;
        row.done = Some(done);
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let mib = |kib: u64| format!("{:.1}", kib as f64 / 1_024.0);
        println!(
            "\n| attack | what must hold | s | requests | MiB before | most | after | |\n|---|---|---|---|---|---|---|---|"
        );
        for row in &self.0 {
            let (requests, outcome) = match &row.done {
                Some(done) => (done.requests.to_string(), "held"),
                None => ("-".to_owned(), "FAILED"),
            };
            println!(
                "| {} | {} | {:.1} | {requests} | {} | {} | {} | {outcome} |",
                row.attack,
                row.asserted,
                row.took.as_secs_f64(),
                mib(row.before_kib),
                mib(row.most_kib),
                mib(row.after_kib),
            );
        }
        for row in &self.0 {
            for note in row.done.iter().flat_map(|done| &done.notes) {
                println!("{}: {note}", row.attack);
            }
        }
    }
}
