//! Failures of the medium end an opening; the next one starts from what is really durable.

use super::super::super::conformance::{TestDirectory, append, group, open, open_and_write, open_with, options, run};
use super::super::super::error::{AppendCause, AppendError, OpenError};
use super::super::FileWal;
use super::medium::{Fault, Medium};
use super::{FileOptions, OPTIONS};

#[test]
fn a_failed_sync_poisons_and_reopening_makes_what_it_finds_durable() {
    let medium = Medium::new(3);
    let mut wal = FileWal::on(medium.storage(), OPTIONS);
    let mut opened = open_and_write(&mut wal, 1000, 5);
    medium.fault(2, Fault::Io);
    let error = append(&mut opened, &group(6, 2, None)).unwrap_err();
    assert!(matches!(error, AppendError::Unknown(AppendCause::Io(_))), "{error}");
    // The medium would take it now; the log does not.
    let error = append(&mut opened, &group(6, 2, None)).unwrap_err();
    assert!(matches!(error, AppendError::NotDone(AppendCause::Poisoned)), "{error}");
    assert_eq!(run(opened.reader.read(6, 100)).unwrap(), None);

    drop(opened);
    let (mut opened, replayed) = open(&mut wal, 2000);
    assert_eq!((replayed.len(), opened.next_seq()), (7, 8));
    let epoch = opened.epoch;
    append(&mut opened, &group(8, 1, Some(epoch))).unwrap();
    drop((opened, wal));
    medium.power_on();
    assert_eq!(open(&mut FileWal::on(medium.storage(), OPTIONS), 3000).1.len(), 8);
}

#[test]
fn reopening_hands_over_only_what_the_caller_does_not_hold() {
    let medium = Medium::new(3);
    let mut wal = FileWal::on(medium.storage(), OPTIONS);
    let mut opened = open_and_write(&mut wal, 1000, 5);
    medium.fault(2, Fault::Io);
    append(&mut opened, &group(6, 2, None)).unwrap_err();
    let (opened, replayed) =
        open_with(&mut wal, &super::super::super::OpenOptions { replay_after: 5, ..options(2000) }).unwrap();
    assert_eq!((replayed.len(), opened.next_seq()), (2, 8));
}

#[test]
fn what_a_new_process_replays_is_durable_though_an_earlier_sync_failed() {
    for seed in 0..20 {
        let medium = Medium::new(seed);
        let mut wal = FileWal::on(medium.storage(), OPTIONS);
        let mut opened = open_and_write(&mut wal, 1000, 5);
        // The sync fails, the pages stay readable and count as clean, and the process is killed.
        medium.fault(2, Fault::Io);
        append(&mut opened, &group(6, 2, None)).unwrap_err();
        drop((opened, wal));
        let (_, replayed) = open(&mut FileWal::on(medium.storage(), OPTIONS), 2000);
        medium.power_on();
        let (_, after) = open(&mut FileWal::on(medium.storage(), OPTIONS), 3000);
        assert_eq!(after, replayed, "seed {seed}");
    }
}

#[test]
fn a_recovery_that_fails_and_then_one_that_loses_power_harm_nothing_acknowledged() {
    let mut cuts = 0;
    for seed in 0..20 {
        for (failing, cut) in (1..14).flat_map(|failing| (1..14).map(move |cut| (failing, cut))) {
            let medium = Medium::new(1_000 * seed + 20 * failing + cut);
            let mut wal = FileWal::on(medium.storage(), OPTIONS);
            let mut opened = open_and_write(&mut wal, 1000, 5);
            append(&mut opened, &group(6, 30, None)).unwrap();
            drop((opened, wal));
            for (effect, fault) in [(failing, Fault::Io), (cut, Fault::PowerCut)] {
                medium.fault(effect, fault);
                drop(open_with(&mut FileWal::on(medium.storage(), OPTIONS), &options(2000)));
            }
            cuts += u32::from(!medium.is_on());
            medium.power_on();
            let (_, replayed) = open(&mut FileWal::on(medium.storage(), OPTIONS), 4000);
            assert_eq!(replayed.len(), 35, "seed {seed}, failure {failing}, cut {cut}");
        }
    }
    assert!(cuts > 1_000, "only {cuts} recoveries lost power");
}

#[test]
fn a_failed_reopening_does_not_forget_what_is_not_durable() {
    let medium = Medium::new(3);
    let mut wal = FileWal::on(medium.storage(), OPTIONS);
    let mut opened = open_and_write(&mut wal, 1000, 5);
    medium.fault(2, Fault::Io);
    append(&mut opened, &group(6, 2, None)).unwrap_err();
    drop(opened);
    for effect in 1.. {
        medium.fault(effect, Fault::Io);
        match open_with(&mut wal, &options(2000)) {
            Err(error) => assert!(error.is_transient(), "{error}"),
            Ok((opened, replayed)) => {
                assert!(effect > 4);
                assert_eq!((replayed.len(), opened.next_seq()), (7, 8));
                drop((opened, wal));
                medium.power_on();
                assert_eq!(open(&mut FileWal::on(medium.storage(), OPTIONS), 3000).1.len(), 7);
                return;
            }
        }
    }
}

#[test]
fn a_full_disk_is_named_and_left_when_space_returns() {
    let medium = Medium::new(3);
    let mut wal = FileWal::on(medium.storage(), OPTIONS);
    let mut opened = open_and_write(&mut wal, 1000, 5);
    medium.fault(1, Fault::Full);
    let error = append(&mut opened, &group(6, 2, None)).unwrap_err();
    assert!(matches!(error, AppendError::NotDone(AppendCause::StorageFull(_))), "{error}");
    assert!(run(opened.reader.read(1, 1 << 20)).unwrap().is_some_and(|chunk| chunk.through == 5));
    let error = open_with(&mut wal, &options(2000)).map(|_| ()).unwrap_err();
    assert!(error.is_transient() && error.is_storage_full(), "{error}");
    medium.heal();
    let (mut opened, replayed) = open(&mut wal, 2000);
    assert_eq!(replayed.len(), 5);
    let epoch = opened.epoch;
    append(&mut opened, &group(6, 1, Some(epoch))).unwrap();
}

#[test]
fn a_write_that_failed_for_certain_never_comes_back() {
    for seed in 0..50 {
        let medium = Medium::new(seed);
        let mut wal = FileWal::on(medium.storage(), OPTIONS);
        let mut opened = open_and_write(&mut wal, 1000, 5);
        medium.fault(1, Fault::Io);
        let error = append(&mut opened, &group(6, 3, None)).unwrap_err();
        assert!(matches!(error, AppendError::NotDone(_)), "{error}");
        drop((opened, wal));
        medium.power_on();
        assert_eq!(open(&mut FileWal::on(medium.storage(), OPTIONS), 2000).1.len(), 5, "seed {seed}");
    }
}

#[test]
fn refuses_a_record_larger_than_any_reader_takes() {
    let medium = Medium::new(3);
    let mut wal = FileWal::on(medium.storage(), OPTIONS);
    let mut opened = open_and_write(&mut wal, 1000, 5);
    let mut builder = super::super::super::GroupBuilder::default();
    builder.push(6, None, &[0; 70_000], |line| line.extend_from_slice(b"{}\n"));
    let error = append(&mut opened, &builder.finish()).unwrap_err();
    assert!(matches!(error, AppendError::NotDone(AppendCause::OutOfPlace(_))), "{error}");
    drop((opened, wal));
    assert_eq!(open(&mut FileWal::on(medium.storage(), OPTIONS), 2000).1.len(), 5);
}

#[test]
fn a_second_opener_is_refused_and_told_who_and_where() {
    let directory = TestDirectory::new();
    let mut first = FileWal::new(directory.path(), FileOptions::default());
    let opened = open_and_write(&mut first, 1000, 2);
    let mut second = FileWal::new(directory.path(), FileOptions::default());
    let error = open_with(&mut second, &options(2000)).map(|_| ()).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, OpenError::InUse { .. }), "{text}");
    assert!(text.contains(&directory.path().display().to_string()), "{text}");
    assert!(text.contains(&format!("process {} (node node-a)", std::process::id())), "{text}");
    // The appender alone keeps others out: it could still write.
    drop(first);
    assert!(open_with(&mut second, &options(2000)).is_err());
    drop(opened);
    assert_eq!(open(&mut second, 2000).1.len(), 2);
}

#[test]
fn the_text_of_a_record_is_readable_in_the_file() {
    let directory = TestDirectory::new();
    drop(open_and_write(&mut FileWal::new(directory.path(), FileOptions::default()), 1000, 3));
    let bytes = std::fs::read(directory.path().join("0000000001.wal")).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("meta 3{\"type\":\"SET\",\"seq\":3,\"value\":\"ééé\"}\n"), "{text}");
}
