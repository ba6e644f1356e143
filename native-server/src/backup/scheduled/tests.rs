//! What is kept, what goes, and what a wrong clock does to either.

use super::*;
use headwater_core::command::{Line, decode};
use headwater_core::id::Id;
use headwater_core::node::{NodeOptions, Role};
use headwater_core::scope::Scope;
use headwater_core::store::Progress;
use headwater_core::store::memory::MemoryOptions;

fn work(directory: &Path, keep: usize) -> (Work, Sender<()>) {
    let progress = Progress { complete: true, ..Progress::new(Scope::Everything) };
    let store = MemoryStore::new(progress, MemoryOptions::single_threaded(7));
    let cluster = Id::from_bytes([7; 16]);
    for line in [
        format!(r#"{{"type":"EPOCH","seq":1,"timestamp":5,"epoch":5,"cluster":"{cluster}","node":"n","requires":[]}}"#),
        r#"{"type":"CREATE","collection":"c","seq":2,"timestamp":6}"#.into(),
        r#"{"type":"SET","collection":"c","seq":3,"prev":2,"key":"a","version":1,"timestamp":7,"value":1}"#.into(),
    ] {
        let Ok(Line::Log(command)) = decode(line.as_bytes(), headwater_core::command::Trust::Checked) else { panic!() };
        headwater_core::apply::apply(&store, &command, &mut Vec::new()).unwrap();
    }
    let node = Arc::new(Node::new(store, NodeOptions::new("n", Id::from_bytes([1; 16]), Role::Primary)));
    let plan = Plan { directory: directory.into(), schedule: "0 3 * * *".parse().unwrap(), keep };
    let (running, ended) = channel();
    (Work { node, plan, standing: Arc::default(), ended }, running)
}

impl Work {
    /// The name of a backup that is made at this time by the clock.
    fn make_at(&self, cluster: &str, now: u64) -> String {
        self.make(cluster, now).unwrap().name
    }
}

/// Another entry.
fn write(work: &Work, seq: u64) {
    let line = format!(
        r#"{{"type":"SET","collection":"c","seq":{seq},"prev":2,"key":"k{seq}","version":1,"timestamp":7,"value":1}}"#
    );
    let Ok(Line::Log(command)) = decode(line.as_bytes(), headwater_core::command::Trust::Checked) else { panic!() };
    headwater_core::apply::apply(work.node.store(), &command, &mut Vec::new()).unwrap();
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_oldest_of_its_own_go_and_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let (work, _running) = work(place.path(), 2);
    let cluster = Id::from_bytes([7; 16]).to_string();
    let others = ["mine.txt".into(), format!("headwater-{cluster}-20200101T000000Z-1.1")];
    fs::write(place.path().join(&others[0]), "x").unwrap();
    fs::create_dir(place.path().join(&others[1])).unwrap();
    fs::create_dir(place.path().join(format!(".headwater-{cluster}-20200101T000000Z-1.1.77.part"))).unwrap();
    work.clear(&cluster);
    let mut made = Vec::new();
    for hour in 0..4 {
        made.push(work.make(&cluster, 1_763_650_000_000 + hour * 3_600_000).unwrap().name);
        work.let_go(&cluster);
    }
    let mut expected = [&others[..], &made[2..]].concat();
    expected.sort();
    assert_eq!(names(place.path()), expected);
    assert_eq!(made[3], format!("headwater-{cluster}-20251120T174640Z-5.3"));
    assert_eq!(work.found(&cluster, u64::MAX).newest.unwrap().name, made[3]);
}

#[test]
fn a_clock_that_was_ahead_neither_stops_backups_nor_turns_their_order() {
    let place = tempfile::tempdir().unwrap();
    let (work, _running) = work(place.path(), 2);
    let cluster = Id::from_bytes([7; 16]).to_string();
    let (now, year) = (1_763_650_000_000, 365 * 86_400_000);
    let ahead = work.make_at(&cluster, now + year);
    assert_eq!(work.found(&cluster, now).last_ms, None, "what is of a time to come says nothing of the last one");
    write(&work, 4);
    let next = work.make_at(&cluster, now);
    let found = work.found(&cluster, now + 1);
    assert_eq!((found.newest.unwrap().name, found.last_ms), (next.clone(), Some(now)), "what holds more is newer");
    write(&work, 5);
    let last = work.make_at(&cluster, now + 60_000);
    work.let_go(&cluster);
    assert_eq!(names(place.path()), [next, last], "{ahead} goes first, whatever its name says");
}

#[test]
fn a_name_that_somebody_added_to_is_not_ours() {
    let cluster = Id::from_bytes([7; 16]).to_string();
    let own = format!("{NAME}-{cluster}-20251120T174640Z-5.3");
    assert!(is_own(&own, &cluster));
    for other in [format!("{own}-keep"), format!("{own}.old"), own.replace("-5.3", ""), own.replace("07", "08")] {
        assert!(!is_own(&other, &cluster), "{other}");
    }
}

#[test]
fn a_backup_that_fails_leaves_those_before_it() {
    let place = tempfile::tempdir().unwrap();
    let (work, running) = work(place.path(), 1);
    let cluster = Id::from_bytes([7; 16]).to_string();
    let made = work.make(&cluster, 1_763_650_000_000).unwrap();
    drop(running);
    assert!(work.make(&cluster, 1_763_660_000_000).is_err(), "the node ends");
    assert_eq!(names(place.path()), [made.name]);
}
