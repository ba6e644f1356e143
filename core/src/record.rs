//! One entry as every node holds it: a single allocation from which lines, answers and digests are written.

use crate::digest::Digest;
use crate::json::{write_string, write_u64};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use triomphe::ThinArc;

/// An entry at rest: key, value text, the numbers of the write that made it, and optional fields of lines that this
/// release does not know. Immutable and shared; a clone costs one atomic increment.
#[derive(Clone)]
pub struct Record(ThinArc<Head, u8>);

/// The numbers in front of the texts. The slice behind it is key, value and extra fields, in this order.
struct Head {
    seq: u64,
    timestamp: u64,
    version: u64,
    key_bytes: u32,
    extra_bytes: u32,
}

/// The parts of an entry, from which a [`Record`] is made.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// Any non-empty text.
    pub key: &'a str,
    /// JSON text without insignificant white space, spelled as the client spelled it.
    pub value: &'a str,
    /// Seq of the command that wrote it.
    pub seq: u64,
    /// Writes to this key since it was (re)created.
    pub version: u64,
    /// Unix time of the write in ms.
    pub timestamp: u64,
    /// Unknown optional fields as they stood in the line, each with a comma in front: `,"name":value`. Mostly empty.
    pub extra: &'a str,
}

impl Record {
    /// Makes a record of its parts. One allocation.
    pub fn new(parts: Parts<'_>) -> Self {
        let mut texts = Vec::with_capacity(parts.key.len() + parts.value.len() + parts.extra.len());
        texts.extend_from_slice(parts.key.as_bytes());
        texts.extend_from_slice(parts.value.as_bytes());
        texts.extend_from_slice(parts.extra.as_bytes());
        // A line holds all three and is shorter than 2^32 bytes by the protocol's own limit.
        let narrow = |n: usize| u32::try_from(n).expect("a part of a line is shorter than LINE_BYTES_MAX");
        let head = Head {
            seq: parts.seq,
            timestamp: parts.timestamp,
            version: parts.version,
            key_bytes: narrow(parts.key.len()),
            extra_bytes: narrow(parts.extra.len()),
        };
        Self(ThinArc::from_header_and_slice(head, &texts))
    }

    fn head(&self) -> &Head {
        &self.0.header.header
    }

    fn text(&self, from: usize, to: usize) -> &str {
        core::str::from_utf8(&self.0.slice[from..to]).expect("a record is made of whole texts")
    }

    fn extra_start(&self) -> usize {
        self.0.slice.len() - self.head().extra_bytes as usize
    }

    /// The key.
    pub fn key(&self) -> &str {
        self.text(0, self.head().key_bytes as usize)
    }

    /// The value's JSON text.
    pub fn value(&self) -> &str {
        self.text(self.head().key_bytes as usize, self.extra_start())
    }

    /// Unknown optional fields, `,"name":value` each.
    pub fn extra(&self) -> &str {
        self.text(self.extra_start(), self.0.slice.len())
    }

    /// Seq of the command that wrote the entry.
    pub fn seq(&self) -> u64 {
        self.head().seq
    }

    /// Writes to this key since it was (re)created.
    pub fn version(&self) -> u64 {
        self.head().version
    }

    /// Unix time of the write in ms.
    pub fn timestamp(&self) -> u64 {
        self.head().timestamp
    }

    /// Bytes of memory the record takes, its allocation's header included.
    pub fn memory_bytes(&self) -> usize {
        2 * size_of::<usize>() + size_of::<Head>() + self.0.slice.len()
    }

    /// Appends the entry's baseline line without newline: its SET without `prev`. Byte-identical on every node.
    pub fn write_line(&self, collection: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"type":"SET","collection":"#);
        write_string(out, collection);
        out.extend_from_slice(br#","seq":"#);
        write_u64(out, self.seq());
        out.extend_from_slice(br#","key":"#);
        write_string(out, self.key());
        out.extend_from_slice(br#","version":"#);
        write_u64(out, self.version());
        out.extend_from_slice(br#","timestamp":"#);
        write_u64(out, self.timestamp());
        out.extend_from_slice(&self.0.slice[self.extra_start()..]);
        out.extend_from_slice(br#","value":"#);
        out.extend_from_slice(&self.0.slice[self.head().key_bytes as usize..self.extra_start()]);
        out.push(b'}');
    }

    /// The entry's digest: the hash of its baseline line. `scratch` is overwritten; passing it spares an allocation.
    pub fn digest(&self, collection: &str, scratch: &mut Vec<u8>) -> Digest {
        scratch.clear();
        self.write_line(collection, scratch);
        Digest::of(scratch)
    }

    /// The entity tag without quotes, `<seq>-<timestamp ms>`: the same on every node and across restores.
    pub fn tag(&self) -> String {
        alloc::format!("{}-{}", self.seq(), self.timestamp())
    }
}

/// Equal in everything a line says.
impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        let numbers = |r: &Self| (r.seq(), r.timestamp(), r.version(), r.head().key_bytes, r.head().extra_bytes);
        numbers(self) == numbers(other) && self.0.slice == other.0.slice
    }
}

impl Eq for Record {}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}={} (seq {}, version {}, {} ms{})", self.key(), self.value(), self.seq(), self.version(), self.timestamp(), self.extra())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_its_baseline_line_around_the_value_text() {
        let record = Record::new(Parts { key: "a\"\u{1}é", value: r#"{"n":1.0e2}"#, seq: 3, version: 1, timestamp: 9, extra: r#","expiresAt":7"# });
        let mut line = Vec::new();
        record.write_line("flags", &mut line);
        assert_eq!(
            core::str::from_utf8(&line).unwrap(),
            r#"{"type":"SET","collection":"flags","seq":3,"key":"a\"\u0001é","version":1,"timestamp":9,"expiresAt":7,"value":{"n":1.0e2}}"#
        );
        assert_eq!((record.key(), record.value(), record.extra()), ("a\"\u{1}é", r#"{"n":1.0e2}"#, r#","expiresAt":7"#));
        assert_eq!(record.tag(), "3-9");
    }
}
