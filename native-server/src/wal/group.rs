//! A group: the records that one append makes durable together. Lines are encoded once, into the buffer that is written,
//! fed to streams and kept; the log adds only what it stores around them.

use bytes::{Bytes, BytesMut};

/// Records with consecutive seqs, their lines consecutive in one buffer, each ended by `\n`.
#[derive(Clone, Debug, Default)]
pub struct Group {
    lines: Bytes,
    meta: Vec<u8>,
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    seq: u64,
    lines_end: usize,
    meta_end: usize,
    epoch: Option<u64>,
}

/// One record of a [`Group`].
#[derive(Clone, Copy, Debug)]
pub struct GroupRecord<'a> {
    /// Place in the log.
    pub seq: u64,
    /// The line, its newline included.
    pub line: &'a [u8],
    /// What is stored beside the line.
    pub meta: &'a [u8],
    /// The epoch that this record opens, when it is an EPOCH command.
    pub epoch: Option<u64>,
}

impl Group {
    /// All lines, each ended by `\n`. Cloning shares the bytes.
    pub fn lines(&self) -> &Bytes {
        &self.lines
    }

    /// Whether there is nothing to append.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Seq of the first record; `None` when the group is empty.
    pub fn first(&self) -> Option<u64> {
        self.places.first().map(|place| place.seq)
    }

    /// Seq of the last record; `None` when the group is empty.
    pub fn last(&self) -> Option<u64> {
        self.places.last().map(|place| place.seq)
    }

    /// Bytes of meta stored with all records.
    pub fn meta_bytes(&self) -> usize {
        self.meta.len()
    }

    /// The records in order.
    pub fn records(&self) -> impl ExactSizeIterator<Item = GroupRecord<'_>> {
        let (mut line_start, mut meta_start) = (0, 0);
        self.places.iter().map(move |place| {
            let line = &self.lines[line_start..place.lines_end];
            let meta = &self.meta[meta_start..place.meta_end];
            (line_start, meta_start) = (place.lines_end, place.meta_end);
            GroupRecord { seq: place.seq, line, meta, epoch: place.epoch }
        })
    }

    /// The bytes of the line at `index`, newline included, sharing the buffer.
    ///
    /// # Panics
    /// If the group has no such record.
    pub fn line(&self, index: usize) -> Bytes {
        let start = index.checked_sub(1).map_or(0, |before| self.places[before].lines_end);
        self.lines.slice(start..self.places[index].lines_end)
    }
}

/// Collects the records of a group; its buffer is handed on by [`GroupBuilder::finish`] without a copy.
///
/// # Examples
/// ```
/// use headwater::wal::GroupBuilder;
/// let mut builder = GroupBuilder::default();
/// builder.push(1, Some(1763650000000), b"", |line| line.extend_from_slice(b"{}\n"));
/// let group = builder.finish();
/// assert_eq!((group.first(), &group.lines()[..]), (Some(1), &b"{}\n"[..]));
/// ```
#[derive(Debug, Default)]
pub struct GroupBuilder {
    lines: BytesMut,
    meta: Vec<u8>,
    places: Vec<Place>,
}

impl GroupBuilder {
    /// Makes a builder with room for `bytes` of lines.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { lines: BytesMut::with_capacity(bytes), ..Self::default() }
    }

    /// Adds a record; `encode` writes its line, newline included, at the end of the buffer it is given.
    ///
    /// # Panics
    /// If the line does not end by `\n`, or `seq` does not follow the record before: both are mistakes of the caller
    /// that would otherwise be written down for good.
    pub fn push(&mut self, seq: u64, epoch: Option<u64>, meta: &[u8], encode: impl FnOnce(&mut BytesMut)) {
        let start = self.lines.len();
        encode(&mut self.lines);
        assert!(self.lines.len() > start && self.lines.ends_with(b"\n"), "a line ends by a newline");
        let follows = self.places.last().is_none_or(|last| last.seq + 1 == seq);
        assert!(follows && seq > 0, "seqs of a group are consecutive from 1 or more");
        self.meta.extend_from_slice(meta);
        self.places.push(Place { seq, lines_end: self.lines.len(), meta_end: self.meta.len(), epoch });
    }

    /// Bytes of lines collected so far.
    pub fn lines_bytes(&self) -> usize {
        self.lines.len()
    }

    /// Number of records collected so far.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nothing has been collected.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Ends the group.
    pub fn finish(self) -> Group {
        Group { lines: self.lines.freeze(), meta: self.meta, places: self.places }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_each_record_as_it_was_pushed() {
        let mut builder = GroupBuilder::default();
        builder.push(7, None, b"m7", |line| line.extend_from_slice(b"a\n"));
        builder.push(8, Some(9), b"", |line| line.extend_from_slice(b"bc\n"));
        let group = builder.finish();
        let records: Vec<_> = group.records().map(|r| (r.seq, r.line, r.meta, r.epoch)).collect();
        assert_eq!(records, [(7, &b"a\n"[..], &b"m7"[..], None), (8, b"bc\n", b"", Some(9))]);
        assert_eq!((group.line(0), group.line(1)), (Bytes::from("a\n"), Bytes::from("bc\n")));
    }

    #[test]
    #[should_panic(expected = "consecutive")]
    fn refuses_a_hole_in_the_seqs() {
        let mut builder = GroupBuilder::default();
        builder.push(7, None, b"", |line| line.extend_from_slice(b"a\n"));
        builder.push(9, None, b"", |line| line.extend_from_slice(b"b\n"));
    }
}
