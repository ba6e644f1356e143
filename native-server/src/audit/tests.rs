//! The audit log as files: what a start, a crash, a change and a failing medium make of it.

use super::*;
use crate::wal::storage::{Lock, StoredFile};
use headwater_core::position::Position;
use std::fs;

const KEEP: Keep = Keep { file_bytes: 1 << 20, bytes: 1 << 30, age: Duration::from_secs(3_600) };

fn author() -> Author {
    Author { node: "writer".into(), instance: "0123".into() }
}

fn changes(seq: u64) -> Event {
    let (collection, by, peer) = ("flags".into(), "alice".into(), "10.0.0.1".parse().ok());
    Event::Changes(Changes { op: Op::Set, collection, by, peer, way: Way::Written, seqs: vec![(seq, seq)] })
}

fn stop() -> Event {
    Event::Stop { position: Position { epoch: 1, seq: 1 }, why: "SIGTERM" }
}

fn open(directory: &Path, keep: Keep) -> (Book, book::Before) {
    Book::open(Arc::new(Directory::new(directory)), directory, author(), keep).unwrap()
}

/// One life of a node that writes these seqs.
fn live(directory: &Path, keep: &Keep, seqs: std::ops::Range<u64>) -> book::Before {
    let (mut book, before) = open(directory, keep.clone());
    for seq in seqs {
        book.add(changes(seq), 1_700_000_000_000 + seq);
        book.write().unwrap();
        book.tidy(wall_ms()).unwrap();
    }
    book.add(stop(), 1_700_000_000_000);
    book.write().unwrap();
    book.sync().unwrap();
    before
}

fn found(directory: &Path) -> Findings {
    Following::new(directory).all(|_, _| {}).unwrap()
}

fn broken_at(directory: &Path) -> Option<(String, u64)> {
    found(directory).broken.map(|(place, _)| (place.file, place.line))
}

fn file(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("audit-{number:010}.ndjson"))
}

#[test]
fn the_chain_goes_on_through_starts_and_files() {
    let place = tempfile::tempdir().unwrap();
    let keep = Keep { file_bytes: 2_000, ..KEEP };
    assert_eq!(live(place.path(), &keep, 1..30), book::Before::default());
    assert_eq!(live(place.path(), &keep, 30..60).noted, 29);
    let found = found(place.path());
    assert_eq!((found.broken, found.torn, found.is_stopped), (None, None, true));
    assert!(found.files > 5, "{} files", found.files);
    // Each file has a line of its own, and each life its end.
    assert_eq!(found.lines, 59 + found.files + 2);
    assert_eq!(found.head.map(|head| head.n), Some(found.lines));
    let first = fs::read_to_string(file(place.path(), 2)).unwrap();
    assert!(
        first.contains(r#""event":"file","format":1,"file":2,"node":"writer","instance":"0123","prev":""#),
        "{first}"
    );
}

#[test]
fn what_is_kept_is_bounded_and_says_what_went() {
    let place = tempfile::tempdir().unwrap();
    let keep = Keep { file_bytes: 1_500, bytes: 4_000, ..KEEP };
    live(place.path(), &keep, 1..200);
    let bytes: u64 =
        files(place.path()).unwrap().iter().map(|&n| fs::metadata(file(place.path(), n)).unwrap().len()).sum();
    assert!(bytes < 4_000 + 2 * 1_800, "{bytes}");
    let kept = found(place.path());
    assert_eq!(kept.broken, None);
    assert!(kept.gone_through > 10 && kept.first > Some(100), "{kept:?}");
    // By age: only what is sealed.
    let old = Keep { age: Duration::ZERO, ..keep };
    live(place.path(), &old, 200..201);
    let kept = found(place.path());
    assert_eq!((kept.broken, kept.files), (None, 1));
}

#[test]
fn a_file_that_goes_is_missed_unless_it_was_let_go_of() {
    let keep = Keep { file_bytes: 1_500, ..KEEP };
    for (gone, broken) in [(2, Some(3)), (1, Some(1)), (4, Some(5))] {
        let place = tempfile::tempdir().unwrap();
        live(place.path(), &keep, 1..60);
        fs::remove_file(file(place.path(), gone)).unwrap();
        let name = |number: u64| file(Path::new(""), number).display().to_string();
        assert_eq!(broken_at(place.path()), broken.map(|number| (name(number), 0)), "{gone}");
    }
}

#[test]
fn a_change_of_any_byte_is_found_at_its_line_or_the_next() {
    let place = tempfile::tempdir().unwrap();
    live(place.path(), &KEEP, 1..6);
    let path = file(place.path(), 1);
    let whole = fs::read(&path).unwrap();
    let last_line = whole[..whole.len() - 1].iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
    for at in 0..last_line {
        let mut changed = whole.clone();
        changed[at] ^= 4;
        fs::write(&path, &changed).unwrap();
        let line = whole[..at].iter().filter(|&&byte| byte == b'\n').count() as u64 + 1;
        let (_, broken) = broken_at(place.path()).unwrap_or_else(|| panic!("byte {at} of line {line}"));
        assert!(broken == line || broken == line + 1, "byte {at} of line {line}: {broken}");
    }
}

#[test]
fn an_end_that_is_cut_off_is_no_change_and_the_next_start_notes_it() {
    let place = tempfile::tempdir().unwrap();
    live(place.path(), &KEEP, 1..4);
    let path = file(place.path(), 1);
    let whole = fs::read(&path).unwrap();
    for end in 0..whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        let lines = whole[..end].iter().filter(|&&byte| byte == b'\n').count() as u64;
        let ends_within = end > 0 && whole[end - 1] != b'\n';
        // A line that lacks nothing but its end is whole.
        let is_torn = ends_within && whole[end] != b'\n';
        let cut = found(place.path());
        assert_eq!((cut.broken, cut.lines, cut.torn.is_some()), (None, lines, ends_within), "{end}");
        let before = live(place.path(), &KEEP, 9..10);
        assert_eq!((before.torn.is_some(), before.broken), (is_torn, None), "{end}");
        let mended = found(place.path());
        assert_eq!((&mended.broken, mended.torn.is_some()), (&None, false), "{end}");
        assert_eq!(mended.mended.len(), usize::from(is_torn), "{end}");
        // The torn bytes stay where they were, and no byte of them can be another.
        let mut now = fs::read(&path).unwrap();
        assert!(now.starts_with(&whole[..end]), "{end}");
        if is_torn {
            now[end - 1] ^= 4;
            fs::write(&path, &now).unwrap();
            assert!(broken_at(place.path()).is_some(), "{end}");
        }
    }
}

#[test]
fn a_change_is_not_mended_by_a_start() {
    let place = tempfile::tempdir().unwrap();
    live(place.path(), &KEEP, 1..9);
    let path = file(place.path(), 1);
    let text = fs::read_to_string(&path).unwrap().replacen("\"seq\":4", "\"seq\":7", 1);
    fs::write(&path, &text).unwrap();
    let broken = broken_at(place.path());
    let before = live(place.path(), &KEEP, 9..12);
    assert!(before.broken.is_some_and(|words| words.contains("line 6")));
    assert_eq!((broken_at(place.path()), fs::read_to_string(&path).unwrap()), (broken, text));
    // What is written from then on is a chain again, in a file of its own.
    assert_eq!(files(place.path()).unwrap(), [1, 2]);
    assert_eq!(live(place.path(), &KEEP, 12..13).broken, None);
}

#[test]
fn two_do_not_write_one_chain() {
    let place = tempfile::tempdir().unwrap();
    let (_book, _) = open(place.path(), KEEP);
    let second = Book::open(Arc::new(Directory::new(place.path())), place.path(), author(), KEEP);
    assert_eq!(second.err().unwrap().kind(), io::ErrorKind::ResourceBusy);
}

/// A directory whose files take nothing, or lose what they took, while told so.
#[derive(Clone, Debug)]
struct Failing {
    directory: PathBuf,
    writes: Arc<AtomicBool>,
    syncs: Arc<AtomicBool>,
}

#[derive(Debug)]
struct FailingFile(Arc<dyn StoredFile>, Failing);

impl Failing {
    fn at(path: &Path) -> Self {
        Self { directory: path.into(), writes: Arc::default(), syncs: Arc::default() }
    }

    fn inner(&self) -> Directory {
        Directory::new(&self.directory)
    }
}

impl Storage for Failing {
    fn path(&self, name: &str) -> PathBuf {
        self.inner().path(name)
    }
    fn create_directory(&self) -> io::Result<()> {
        self.inner().create_directory()
    }
    fn lock(&self, holder: &str) -> io::Result<Result<Lock, String>> {
        self.inner().lock(holder)
    }
    fn names(&self) -> io::Result<Vec<String>> {
        self.inner().names()
    }
    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn StoredFile>>> {
        let wrapped = |file| -> Arc<dyn StoredFile> { Arc::new(FailingFile(file, self.clone())) };
        Ok(self.inner().open(name)?.map(wrapped))
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        Ok(Arc::new(FailingFile(self.inner().create(name)?, self.clone())))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner().rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner().remove(name)
    }
    fn sync_directory(&self) -> io::Result<()> {
        self.inner().sync_directory()
    }
    fn holder(&self) -> io::Result<Option<String>> {
        self.inner().holder()
    }
    fn within(&self, name: &str) -> io::Result<Arc<dyn Storage>> {
        self.inner().within(name)
    }
}

impl StoredFile for FailingFile {
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.1.writes.load(Ordering::Relaxed) {
            // A part of it, as a full disk takes.
            self.0.write_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.write_at(bytes, offset)
    }
    fn allocate(&self, length: u64) -> io::Result<()> {
        self.0.allocate(length)
    }
    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.truncate(length)
    }
    fn sync_data(&self) -> io::Result<()> {
        if self.1.syncs.load(Ordering::Relaxed) { Err(io::Error::other("lost")) } else { self.0.sync_data() }
    }
    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

fn started(medium: &Failing, required: bool) -> (Audit, Arc<Counts>) {
    let plan = Plan { directory: medium.directory.clone(), keep: KEEP, required };
    let metrics = Arc::new(Counts::default());
    (Audit::start_on(Arc::new(medium.clone()), &plan, author(), Arc::clone(&metrics)).unwrap(), metrics)
}

/// Waits until `holds`, which the thread sees to.
fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::yield_now();
    }
}

fn events(directory: &Path) -> Vec<Entry> {
    let mut entries = Vec::new();
    let found = Following::new(directory).all(|entry, _| entries.push(entry.clone())).unwrap();
    assert_eq!(found.broken, None);
    entries
}

fn names(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.event.as_str()).collect()
}

#[test]
fn a_medium_that_takes_nothing_keeps_events_waiting_and_the_failure_is_noted() {
    let place = tempfile::tempdir().unwrap();
    let medium = Failing::at(place.path());
    let (audit, metrics) = started(&medium, true);
    until("the first line is written", || metrics.audit_lines_total.value() == 1);
    medium.writes.store(true, Ordering::Relaxed);
    assert!(audit.admits().is_ok());
    audit.note(changes(5));
    until("the failure is told", || audit.standing().is_some_and(|standing| standing.trouble.is_some()));
    let refusal = audit.admits().unwrap_err();
    assert!(refusal.code == Code::NotReady && refusal.message.contains("--audit-required"), "{}", refusal.message);
    audit.note(changes(6));
    medium.writes.store(false, Ordering::Relaxed);
    until("it is over", || audit.standing().is_some_and(|standing| standing.trouble.is_none()));
    assert!(audit.admits().is_ok());
    audit.end(stop());
    let entries = events(place.path());
    assert_eq!(names(&entries), ["file", "write", "failed", "write", "stop"]);
    assert!(entries[2].text("why").is_some_and(|why| why.starts_with("writing")), "{:?}", entries[2]);
    assert_eq!((metrics.audit_failures_total.value(), metrics.audit_lost_total.value()), (1, 0));
}

#[test]
fn without_being_required_nothing_is_refused_for_its_sake() {
    let place = tempfile::tempdir().unwrap();
    let medium = Failing::at(place.path());
    let (audit, _) = started(&medium, false);
    medium.writes.store(true, Ordering::Relaxed);
    audit.note(changes(5));
    until("the failure is told", || audit.standing().is_some_and(|standing| standing.trouble.is_some()));
    assert!(audit.admits().is_ok());
    assert!(Audit::off().admits().is_ok() && Audit::off().standing().is_none());
}

#[test]
fn after_a_failed_sync_it_goes_on_in_another_file() {
    let place = tempfile::tempdir().unwrap();
    let medium = Failing::at(place.path());
    let (audit, metrics) = started(&medium, false);
    medium.syncs.store(true, Ordering::Relaxed);
    audit.note(changes(5));
    until("the failure is seen", || metrics.audit_failures_total.value() > 0);
    medium.syncs.store(false, Ordering::Relaxed);
    until("it is over", || audit.standing().is_some_and(|standing| standing.trouble.is_none()));
    audit.end(stop());
    let entries = events(place.path());
    assert_eq!(names(&entries)[..4], ["file", "write", "file", "failed"]);
    assert_eq!(entries.last().map(|entry| &*entry.event), Some("stop"));
}

#[test]
fn a_sync_that_succeeds_does_not_make_one_good_that_failed() {
    let place = tempfile::tempdir().unwrap();
    let medium = Failing::at(place.path());
    let keep = Keep { file_bytes: 100, ..KEEP };
    let (mut book, _) = Book::open(Arc::new(medium.clone()), place.path(), author(), keep).unwrap();
    book.add(changes(1), 1);
    book.write().unwrap();
    medium.syncs.store(true, Ordering::Relaxed);
    assert!(book.is_full() && book.tidy(2).is_err(), "it cannot be sealed");
    medium.syncs.store(false, Ordering::Relaxed);
    book.sync().unwrap();
    book.add(changes(2), 3);
    book.write().unwrap();
    let lines = |number| fs::read_to_string(file(place.path(), number)).unwrap_or_default();
    assert_eq!([lines(1).matches("\"write\"").count(), lines(2).matches("\"write\"").count()], [1, 1]);
    assert_eq!(found(place.path()).broken, None);
}

#[test]
fn what_finds_no_room_is_counted_and_told() {
    let place = tempfile::tempdir().unwrap();
    let medium = Failing::at(place.path());
    let (audit, metrics) = started(&medium, true);
    until("the first line is written", || metrics.audit_lines_total.value() == 1);
    medium.writes.store(true, Ordering::Relaxed);
    audit.note(changes(1));
    until("the failure is told", || audit.standing().is_some_and(|standing| standing.trouble.is_some()));
    for seq in 0..QUEUE_MAX as u64 + 10 {
        audit.note(changes(2 * seq + 3));
    }
    assert_eq!(metrics.audit_lost_total.value(), 10);
    medium.writes.store(false, Ordering::Relaxed);
    until("it is over", || audit.standing().is_some_and(|standing| standing.trouble.is_none()));
    audit.end(stop());
    let entries = events(place.path());
    let lost: Vec<_> = entries.iter().filter(|entry| entry.event == "lost").collect();
    // The queue was full: that it ends found no room either.
    assert!(lost.iter().map(|entry| entry.number("count").unwrap()).sum::<u64>() >= 10, "{lost:?}");
    let written = entries.iter().filter(|entry| entry.event == "write");
    let written: u64 = written.map(|entry| entry.number("count").unwrap_or(1)).sum();
    assert_eq!(written, QUEUE_MAX as u64 + 1);
}

#[test]
fn refusals_of_one_kind_are_one_line_and_a_count() {
    let place = tempfile::tempdir().unwrap();
    let (audit, _) = started(&Failing::at(place.path()), false);
    let refusal = |peer: &str| Refusals {
        code: Code::Forbidden,
        count: 1,
        since_ms: None,
        peer: peer.parse().ok(),
        by: None,
        claimed: None,
        op: Some(Op::Set),
        collection: Some("flags".into()),
    };
    (0..1_000).for_each(|host| audit.refused(refusal(&format!("2001:db8:1:2::{host:x}"))));
    audit.refused(refusal("10.0.0.9"));
    audit.end(stop());
    let entries = events(place.path());
    assert_eq!(names(&entries), ["file", "refused", "refused", "refused", "stop"]);
    assert_eq!((entries[1].number("count"), entries[1].text("peer")), (Some(1), Some("2001:db8:1:2::")));
    assert_eq!((entries[3].number("count"), entries[3].text("code")), (Some(999), Some("forbidden")));
}
