//! A log that begins with a state is there as a whole or not at all, whenever power is lost while it is made.

use super::super::super::conformance::{options, run};
use super::super::super::error::OpenError;
use super::super::super::manifest::MANIFEST_FILE;
use super::super::super::storage::LOCK_FILE;
use super::super::super::{BaselinePiece, Replayed, StateFacts, Wal};
use super::super::FileWal;
use super::super::create::{Content, create_on};
use super::OPTIONS;
use super::medium::{Fault, Medium};
use headwater_core::id::Id;
use headwater_core::position::{EpochStart, EpochTable};

const SEQ: u64 = 30;
const PIECES: usize = 40;
const SEEDS: u64 = 8;

fn create(medium: &Medium) -> bool {
    let content = Content {
        cluster: Id::from_bytes([7; 16]),
        epoch: 900,
        takeover: 800,
        epochs: EpochTable::new(vec![EpochStart { epoch: 700, first: 1 }]).unwrap(),
        facts: StateFacts { seq: SEQ, keys: PIECES as u64, digest: "xxh3:0".into() },
    };
    let made = create_on(&*medium.storage(), &content, &mut |sink| {
        for _ in 0..PIECES {
            sink(BaselinePiece::Lines(&b"{\"key\":\"of the state\"}\n".repeat(100)))?;
        }
        sink(BaselinePiece::Progress(b"{}"))
    });
    made.is_ok()
}

/// How many pieces of the state a start finds.
fn pieces(medium: &Medium) -> usize {
    let mut found = 0;
    let mut replay = |piece: Replayed<'_>| match piece {
        Replayed::Baseline(BaselinePiece::Lines(text)) => {
            found += text.len() / b"{\"key\":\"of the state\"}\n".repeat(100).len();
            Ok(())
        }
        Replayed::Baseline(_) => Ok(()),
        Replayed::Record(_) => Err("a record that nobody wrote".into()),
    };
    let opened = run(FileWal::on(medium.storage(), OPTIONS).open(&options(1_000), &mut replay)).unwrap();
    assert_eq!((opened.cluster, opened.next_seq()), (Id::from_bytes([7; 16]), SEQ + 1));
    assert!(opened.epoch > 900 && opened.takeover == 800, "{} {}", opened.epoch, opened.takeover);
    found
}

/// Whether a start refuses what was made, of which nobody was told that it is a log; else that is nothing but a new log.
fn is_refused(medium: &Medium) -> bool {
    let mut nothing = |_: Replayed<'_>| Err("a piece of a log that was never made".into());
    match run(FileWal::on(medium.storage(), OPTIONS).open(&options(1_000), &mut nothing)) {
        Ok(opened) => {
            assert_eq!((opened.next_seq(), opened.epochs.newest()), (1, None));
            false
        }
        Err(OpenError::Damaged { .. }) => true,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn power_lost_while_a_log_is_made_leaves_all_of_it_or_none() {
    let (mut cuts, mut whole, mut refused, mut refused_or_new) = (0, 0, 0, 0);
    for seed in 0..SEEDS {
        for cut in 1.. {
            let medium = Medium::new(seed * 1000 + cut);
            medium.fault(cut, Fault::PowerCut);
            let ended = create(&medium) && medium.is_on();
            // What was said to be done stays done, also if power is lost right after it.
            medium.power_on();
            let mut names = medium.storage().names().unwrap();
            names.retain(|name| name != LOCK_FILE);
            let is_log = names.iter().any(|name| name == MANIFEST_FILE);
            assert!(is_log || !ended, "seed {seed}: the log that was made is gone");
            if is_log {
                assert_eq!(pieces(&medium), PIECES, "seed {seed}, cut {cut}");
                whole += 1;
            } else {
                refused_or_new += 1;
                refused += u32::from(is_refused(&medium));
            }
            if ended {
                break;
            }
            cuts += 1;
        }
    }
    println!(
        "{cuts} cuts while a log was made: {whole} logs whole after it, {refused} refused, {} of them new ones",
        refused_or_new - refused
    );
    assert!(cuts > 8 * SEEDS && whole >= SEEDS && refused > 0, "{cuts} {whole} {refused}");
}
