//! Reading the files of an audit log, and following the chain through them.
//!
//! Nothing here changes anything; it may be used beside the node that writes.

use super::chain::{Break, Entry, Hash, Head, LINE_BYTES_MAX};
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes of a torn end that are looked at. More is no torn end.
const TORN_BYTES_MAX: u64 = 16 << 20;

/// The file of this number.
pub(crate) fn file_name(number: u64) -> String {
    format!("audit-{number:010}.ndjson")
}

/// The number of a file with this name; `None` for files of others.
pub(crate) fn file_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("audit-")?.strip_suffix(".ndjson")?;
    let number = digits.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

/// The numbers of the files in a directory, in order.
///
/// # Errors
/// The system's.
pub(crate) fn files(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        numbers.extend(entry?.file_name().to_str().and_then(file_number));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Where something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: String,
    /// From 1 on; 0 for the file as a whole.
    pub(crate) line: u64,
}

/// What was found in a chain.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Number of the first line there is, and of the last file that was let go of before it.
    pub(crate) first: Option<u64>,
    pub(crate) gone_through: u64,
    /// The last file that a line says was let go of.
    pub(crate) removed_through: u64,
    pub(crate) lines: u64,
    pub(crate) files: u64,
    /// The first place where the chain does not hold, and why.
    pub(crate) broken: Option<(Place, String)>,
    /// Bytes of a line at the very end that is not whole, and how many lines are before it in that file.
    pub(crate) torn: Option<(Place, u64)>,
    /// Torn ends that a later start has noted.
    pub(crate) mended: Vec<Place>,
    /// Whether the last line is the orderly end of a node.
    pub(crate) is_stopped: bool,
    /// The newest line that follows.
    pub(crate) head: Option<Head>,
}

/// One file, line by line.
#[derive(Debug)]
pub(crate) struct Lines {
    reader: BufReader<File>,
    /// Lines read, and bytes of them.
    pub(crate) line: u64,
    pub(crate) offset: u64,
}

impl Lines {
    /// # Errors
    /// The system's.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { reader: BufReader::with_capacity(64 << 10, File::open(path)?), line: 0, offset: 0 })
    }

    /// The next line with its newline; without one at the end of a file that ends within a line. `false` at its end. Of a
    /// line longer than any that is written, the beginning.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn next(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        line.clear();
        let limit = LINE_BYTES_MAX as u64 + 1;
        let read = self.reader.by_ref().take(limit).read_until(b'\n', line)? as u64;
        self.offset += read;
        self.line += u64::from(read > 0);
        Ok(read > 0)
    }
}

/// The lines of a directory's file with this number.
///
/// # Errors
/// The system's.
pub(crate) fn lines_of(directory: &Path, number: u64) -> io::Result<Lines> {
    Lines::of(&directory.join(file_name(number)))
}

/// Follows a chain through the files of a directory.
pub(crate) struct Following {
    directory: PathBuf,
    pub(super) head: Head,
    /// Where the last line that follows ends in its file.
    pub(super) end: u64,
    pub(super) found: Findings,
}

/// How one file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// As it should, or within its last line.
    Whole,
    /// The chain does not hold in it.
    Broken,
}

impl Following {
    /// From the beginning of what there is.
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.into(), head: Head::EMPTY, end: 0, found: Findings::default() }
    }

    /// Follows the chain through all files, and hands each line that follows to `see`. What is behind the first place
    /// where it does not hold is not read.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn all(mut self, mut see: impl FnMut(&Entry, &Head)) -> io::Result<Findings> {
        let numbers = files(&self.directory)?;
        let mut before = numbers.first().map_or(0, |first| first - 1);
        self.found.gone_through = before;
        for (index, &number) in numbers.iter().enumerate() {
            let place = Place { file: file_name(number), line: 0 };
            if number != before + 1 {
                let missing = if number == before + 2 {
                    format!("{} is missing", file_name(before + 1))
                } else {
                    format!("{} to {} are missing", file_name(before + 1), file_name(number - 1))
                };
                self.found.broken = Some((place, format!("{missing} before it")));
                break;
            }
            before = number;
            let is_last = index + 1 == numbers.len();
            if let Ended::Broken = self.file(number, is_last, &mut see)? {
                break;
            }
            self.found.files += 1;
        }
        let found = &mut self.found;
        if found.broken.is_none() && found.gone_through > found.removed_through {
            let words = format!(
                "the files up to {} are missing, and no line says that they were let go of",
                file_name(found.gone_through)
            );
            let file = file_name(found.gone_through);
            found.broken = Some((Place { file, line: 0 }, words));
        }
        found.head = (self.head.n > 0).then_some(self.head);
        Ok(self.found)
    }

    /// Follows the chain through one file.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn file(
        &mut self,
        number: u64,
        is_last: bool,
        see: &mut impl FnMut(&Entry, &Head),
    ) -> io::Result<Ended> {
        let file = file_name(number);
        let path = self.directory.join(&file);
        let mut lines = Lines::of(&path)?;
        let mut line = Vec::new();
        self.end = 0;
        while lines.next(&mut line)? {
            let place = Place { file: file.clone(), line: lines.line };
            let Some(text) = line.strip_suffix(b"\n") else {
                if is_last {
                    // Whatever stands there was not written to its end.
                    self.found.torn = Some((place, fs::metadata(&path)?.len() - self.end));
                    return Ok(Ended::Whole);
                }
                self.found.broken = Some((place, "the file ends within a line, and there is a later file".into()));
                return Ok(Ended::Broken);
            };
            match self.next(number, text) {
                Ok(entry) => {
                    self.end = lines.offset;
                    self.took(&entry, see);
                }
                Err(why) => {
                    let Some(entry) = self.mended(&path, number)? else {
                        self.found.broken = Some((place, words(why, self.head)));
                        return Ok(Ended::Broken);
                    };
                    self.found.mended.push(place);
                    self.took(&entry, see);
                    // From the beginning: what was skipped is counted in lines as it stands there.
                    lines = Lines::of(&path)?;
                    while lines.offset < self.end && lines.next(&mut line)? {}
                }
            }
        }
        Ok(Ended::Whole)
    }

    /// Goes on to the next line of the file with this number.
    ///
    /// # Errors
    /// Why it does not follow.
    pub(super) fn next(&mut self, number: u64, text: &[u8]) -> Result<Entry, Break> {
        if self.end == 0 { self.first(number, text) } else { self.head.follow(text) }
    }

    /// The first line of a file says which one it is. Of the first file there is it begins what can be followed.
    fn first(&mut self, number: u64, text: &[u8]) -> Result<Entry, Break> {
        let entry = Entry::parse(text).ok_or(Break::NoEntry)?;
        if entry.event != "file" || entry.number("file") != Some(number) {
            return Err(Break::NoEntry);
        }
        if self.head.n == 0 && number > 1 {
            self.head = Head { n: entry.n.saturating_sub(1), hash: entry.prev };
        }
        self.head.follow(text)
    }

    fn took(&mut self, entry: &Entry, see: &mut impl FnMut(&Entry, &Head)) {
        let found = &mut self.found;
        found.first.get_or_insert(entry.n);
        found.lines += 1;
        found.is_stopped = entry.event == "stop";
        if entry.event == "removed" {
            found.removed_through = found.removed_through.max(entry.number("through").unwrap_or(0));
        }
        see(entry, &self.head);
    }

    /// Looks for the line by which a start has noted that what stands behind the last one that follows was torn, and goes on
    /// to it.
    fn mended(&mut self, path: &Path, number: u64) -> io::Result<Option<Entry>> {
        let rest = behind(path, self.end)?;
        let mut at = 0;
        while let Some(length) = rest[at..].iter().position(|&byte| byte == b'\n') {
            let text = &rest[at..at + length];
            if let Some(entry) = Entry::parse(text) {
                // A line that is whole was not torn: whatever stands before it, somebody changed something.
                let Some(whole) = entry.text("whole").and_then(Hash::parse) else { return Ok(None) };
                if entry.event != "mended" || at == 0 {
                    return Ok(None);
                }
                if self.head.n == 0 && number > 1 {
                    self.head = Head { n: entry.n.saturating_sub(1), hash: whole };
                }
                let torn = &rest[..at - 1];
                let is_of_it = entry.number("torn") == Some(torn.len() as u64)
                    && entry.prev == Hash::of(torn)
                    && entry.n == self.head.n + 1
                    && whole == self.head.hash;
                if !is_of_it {
                    return Ok(None);
                }
                self.head = Head { n: entry.n, hash: Hash::of(text) };
                self.end += (at + length + 1) as u64;
                return Ok(Some(entry));
            }
            at += length + 1;
        }
        Ok(None)
    }
}

/// What stands in a file from `offset` on, as much of it as a torn end can have.
///
/// # Errors
/// The system's.
pub(super) fn behind(path: &Path, offset: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut rest = Vec::new();
    file.take(TORN_BYTES_MAX).read_to_end(&mut rest)?;
    Ok(rest)
}

fn words(why: Break, head: Head) -> String {
    match why {
        Break::NoEntry => "it is no line that a node writes here".into(),
        Break::Number(n) => format!("it is line {n} of the chain, and line {} should stand here", head.n + 1),
        Break::Previous => "the line before it is not the one that it followed when it was written".into(),
    }
}
