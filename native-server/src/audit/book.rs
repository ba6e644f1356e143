//! The files as they are written: each is begun by a line that says which it is, grows to its size, and is let go of when
//! it is too old or there are too many.
//!
//! Lines go out in order or not at all: what a medium did not take stays and is written again, in the same place.

use super::chain::{Entry, Hash, Head};
use super::event::Event;
use super::reading::{Ended, Following, behind, file_name, files};
use crate::clock::wall_ms;
use crate::wal::storage::{Lock, Storage, StoredFile};
use headwater_core::api::{rfc3339, unix_ms};
use serde_json::Value;
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// Age at which a file is sealed though it is small, so that what is too old can go.
const SEALED_AFTER_MS: u64 = 7 * 86_400_000;

/// How much is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keep {
    /// Bytes after which the next file is begun.
    pub(crate) file_bytes: u64,
    /// Bytes of sealed files that are kept.
    pub(crate) bytes: u64,
    /// Age at which a sealed file goes.
    pub(crate) age: Duration,
}

/// Who writes.
#[derive(Clone, Debug)]
pub(crate) struct Author {
    pub(crate) node: String,
    pub(crate) instance: String,
}

/// A file that is not written any more.
#[derive(Clone, Copy, Debug)]
struct Sealed {
    number: u64,
    bytes: u64,
    sealed_ms: u64,
}

/// What a start found of the time before it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Before {
    /// Bytes of a line that was cut off.
    pub(crate) torn: Option<u64>,
    /// Where the chain does not hold, and why.
    pub(crate) broken: Option<String>,
    /// The highest seq that was noted in the newest file.
    pub(crate) noted: u64,
}

/// See the module.
pub(crate) struct Book {
    storage: Arc<dyn Storage>,
    author: Author,
    keep: Keep,
    number: u64,
    file: Arc<dyn StoredFile>,
    /// Bytes of it that were written.
    length: u64,
    begun_ms: u64,
    /// The newest line that was written.
    head: Head,
    /// Whether what was written ends within a line.
    ends_within_line: bool,
    /// What is to be written behind it, and when it happened.
    pending: Vec<(Event, u64)>,
    is_synced: bool,
    /// Whether a sync of the file has failed: one that succeeds afterwards says nothing of what was written before.
    is_doubtful: bool,
    sealed: VecDeque<Sealed>,
    _lock: Lock,
}

impl Book {
    /// Opens the files in `directory`, which `storage` writes, behind what is there. A line that was cut off is noted.
    ///
    /// # Errors
    /// The system's; a directory that is in use.
    pub(crate) fn open(
        storage: Arc<dyn Storage>,
        directory: &Path,
        author: Author,
        keep: Keep,
    ) -> io::Result<(Self, Before)> {
        storage.create_directory()?;
        let holder = format!("process {} (audit log of node {})", std::process::id(), author.node);
        let in_use = |holder| io::Error::new(io::ErrorKind::ResourceBusy, format!("it is in use by {holder}"));
        let lock = storage.lock(&holder)?.map_err(in_use)?;
        let (mut numbers, now_ms) = (files(directory)?, wall_ms());
        let newest = numbers.pop();
        let number = newest.unwrap_or(1);
        let file = match newest {
            Some(number) => storage.open(&file_name(number))?.ok_or(io::ErrorKind::NotFound)?,
            None => {
                let file = storage.create(&file_name(number))?;
                storage.sync_directory()?;
                file
            }
        };
        let mut book = Self {
            number,
            length: file.length()?,
            file,
            begun_ms: now_ms,
            head: Head::EMPTY,
            ends_within_line: false,
            pending: Vec::new(),
            is_synced: true,
            is_doubtful: false,
            sealed: sealed(directory, &numbers)?,
            storage,
            author,
            keep,
            _lock: lock,
        };
        let before = book.go_on(directory, now_ms)?;
        Ok((book, before))
    }

    /// Finds the end of the newest file.
    fn go_on(&mut self, directory: &Path, now_ms: u64) -> io::Result<Before> {
        let (mut before, mut begun_ms) = (Before::default(), now_ms);
        let mut see = |entry: &Entry, _: &Head| {
            before.noted = before.noted.max(last_seq(entry));
            if entry.event == "file" {
                begun_ms = unix_ms(&entry.time).unwrap_or(now_ms);
            }
        };
        let mut following = Following::new(directory);
        let mut ended = following.file(self.number, true, &mut see)?;
        if following.end == 0 && !self.sealed.is_empty() {
            // It was made and hardly begun: the chain goes on from the file before.
            following = Following::new(directory);
            following.file(self.number - 1, true, &mut see)?;
            ended = following.file(self.number, true, &mut see)?;
        }
        (self.head, self.begun_ms) = (following.head, begun_ms);
        let rest = behind(&directory.join(file_name(self.number)), following.end)?;
        if rest.is_empty() {
            if following.end == 0 {
                self.begin_file(now_ms);
            }
            return Ok(before);
        }
        if ended == Ended::Whole && following.next(self.number, &rest).is_ok() {
            // All of it but its end is there.
            (self.head, self.ends_within_line) = (following.head, true);
            return Ok(before);
        }
        let mut lines = rest.split(|&byte| byte == b'\n');
        if ended == Ended::Broken && lines.any(|line| Entry::parse(line).is_some()) {
            // What is whole was not torn: somebody changed something. It stays as it is, and is found for as long as it is
            // kept; the chain goes on in a new file, behind the last line that stands there.
            let last = rest.strip_suffix(b"\n").unwrap_or(&rest).rsplit(|&byte| byte == b'\n').next();
            let last = last.unwrap_or_default();
            let n = Entry::parse(last).map_or(self.head.n, |entry| entry.n);
            self.head = Head { n, hash: Hash::of(last) };
            before.broken =
                following.found.broken.map(|(place, why)| format!("{} line {}: {why}", place.file, place.line));
            self.next_file(now_ms)?;
            return Ok(before);
        }
        // Of a write that a crash has cut off. It stays, and the next line vouches for it.
        before.torn = Some(rest.len() as u64);
        self.ends_within_line = true;
        let mended = Event::Mended { torn: rest.len() as u64, whole: self.head.hash.to_string() };
        self.head.hash = Hash::of(&rest);
        self.pending.push((mended, now_ms));
        Ok(before)
    }

    /// Puts the line that begins a file before all others.
    fn begin_file(&mut self, now_ms: u64) {
        let Author { node, instance } = self.author.clone();
        self.pending.insert(0, (Event::File { number: self.number, node, instance }, now_ms));
        self.begun_ms = now_ms;
    }

    /// Puts an event behind the others. It is written by [`Book::write`].
    pub(crate) fn add(&mut self, event: Event, at_ms: u64) {
        self.pending.push((event, at_ms));
    }

    /// How much waits to be written.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Takes the last one back, which was not written.
    pub(crate) fn take_back(&mut self) {
        self.pending.pop();
    }

    /// Whether the file has its size.
    pub(crate) fn is_full(&self) -> bool {
        self.length >= self.keep.file_bytes
    }

    /// The newest line that was written.
    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// Writes what waits: behind a failed sync into a new file, for what the old one will keep nobody knows.
    ///
    /// # Errors
    /// The medium's; all of it waits still.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        let Some(&(_, newest_ms)) = self.pending.last() else { return Ok(()) };
        if self.is_doubtful {
            self.next_file(newest_ms)?;
        }
        let (mut head, mut bytes) = (self.head, Vec::new());
        if self.ends_within_line {
            bytes.push(b'\n');
        }
        for (event, at_ms) in &self.pending {
            let (name, fields) = event.fields();
            head.write(&rfc3339(*at_ms), name, &fields, &mut bytes);
        }
        if let Err(error) = self.file.write_at(&bytes, self.length) {
            // A part of it may stand there. The next try writes over it; where there is none, the next start notes it.
            if let Err(error) = self.file.truncate(self.length) {
                tracing::debug!(%error, "a part of the audit log's lines could not be taken back");
            }
            return Err(error);
        }
        self.length += bytes.len() as u64;
        (self.head, self.ends_within_line, self.is_synced) = (head, false, false);
        self.pending.clear();
        Ok(())
    }

    /// Makes what was written last.
    ///
    /// # Errors
    /// The medium's.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if !self.is_synced {
            self.file.sync_data().inspect_err(|_| self.is_doubtful = true)?;
            self.is_synced = true;
        }
        Ok(())
    }

    /// Begins the next file where this one is full or old, and lets go of what is not kept.
    ///
    /// # Errors
    /// The medium's; what could be done was.
    pub(crate) fn tidy(&mut self, now_ms: u64) -> io::Result<()> {
        let is_old = now_ms.saturating_sub(self.begun_ms) >= SEALED_AFTER_MS;
        if self.is_full() || is_old {
            self.sync()?;
            self.next_file(now_ms)?;
        }
        self.let_go(now_ms)
    }

    /// Begins the next file. What waits goes there.
    ///
    /// # Errors
    /// The medium's; nothing has changed then.
    fn next_file(&mut self, now_ms: u64) -> io::Result<()> {
        let number = self.number + 1;
        let file = self.storage.create(&file_name(number))?;
        self.storage.sync_directory()?;
        self.sealed.push_back(Sealed { number: self.number, bytes: self.length, sealed_ms: now_ms });
        (self.number, self.file, self.length, self.is_synced, self.is_doubtful) = (number, file, 0, true, false);
        self.begin_file(now_ms);
        Ok(())
    }

    fn let_go(&mut self, now_ms: u64) -> io::Result<()> {
        let age_ms = u64::try_from(self.keep.age.as_millis()).unwrap_or(u64::MAX);
        let mut bytes: u64 = self.sealed.iter().map(|sealed| sealed.bytes).sum();
        let mut going = 0_usize;
        for sealed in &self.sealed {
            if bytes <= self.keep.bytes && now_ms.saturating_sub(sealed.sealed_ms) < age_ms {
                break;
            }
            bytes -= sealed.bytes;
            going += 1;
        }
        let Some(last) = going.checked_sub(1).and_then(|index| self.sealed.get(index)) else { return Ok(()) };
        // Said before it is done: what is missing afterwards is missing for a reason.
        self.add(Event::Removed { through: last.number }, now_ms);
        self.write()?;
        self.sync()?;
        while going > 0
            && let Some(oldest) = self.sealed.front()
        {
            self.storage.remove(&file_name(oldest.number))?;
            self.sealed.pop_front();
            going -= 1;
        }
        self.storage.sync_directory()
    }
}

/// The files before the newest. When they were sealed the system tells well enough.
fn sealed(directory: &Path, numbers: &[u64]) -> io::Result<VecDeque<Sealed>> {
    let facts = |&number: &u64| {
        let facts = std::fs::metadata(directory.join(file_name(number)))?;
        let sealed = facts.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let sealed_ms = u64::try_from(sealed.as_millis()).unwrap_or(u64::MAX);
        Ok(Sealed { number, bytes: facts.len(), sealed_ms })
    };
    numbers.iter().map(facts).collect()
}

/// The highest seq that a line tells of.
fn last_seq(entry: &Entry) -> u64 {
    let ranges = entry.fields.get("seqs").and_then(Value::as_array);
    let last = ranges.and_then(|ranges| ranges.last()?.get(1)?.as_u64());
    entry.number("seq").or(last).unwrap_or(0)
}
