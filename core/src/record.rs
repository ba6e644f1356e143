//! One entry as every node holds it: a single allocation from which lines, answers and digests are written.

use crate::digest::Digest;
use crate::json::{write_string, write_u64};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use triomphe::ThinArc;

/// An entry at rest: key, value text, the numbers of the write that made it, and optional fields of lines that this
/// release does not know. Immutable and shared; a clone costs one atomic increment.
///
/// The bytes behind the reference count and the length: bytes of the key, the key, bytes of the extra fields, seq,
/// version, timestamp, the value, the extra fields. The numbers are packed, which takes 12 bytes where whole words would
/// take 40: at a million small entries that is the difference between this store and a smaller one. The key comes
/// first, because maps read nothing else.
#[derive(Clone)]
pub struct Record(ThinArc<(), u8>);

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

/// The parts as they stand in the allocation. The texts are known to be UTF-8, but are not checked again where only
/// their bytes matter.
struct Raw<'a> {
    key: &'a [u8],
    value: &'a [u8],
    seq: u64,
    version: u64,
    timestamp: u64,
    extra: &'a [u8],
}

/// Appends `number`, seven bits a byte from the lowest on, the top bit set on all bytes but the last (LEB128).
fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number off the front of `bytes`.
fn take_number(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *bytes = &bytes[index + 1..];
            break;
        }
    }
    number
}

/// Takes as many bytes off the front of `bytes` as the number there says.
fn take_counted<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let count = take_number(bytes) as usize;
    let (counted, rest) = bytes.split_at(count);
    *bytes = rest;
    counted
}

fn text(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).expect("a record is made of whole texts")
}

impl Record {
    /// Makes a record of its parts. One allocation stays.
    pub fn new(parts: Parts<'_>) -> Self {
        // Five numbers of at most ten bytes.
        let mut bytes = Vec::with_capacity(50 + parts.key.len() + parts.value.len() + parts.extra.len());
        push_number(&mut bytes, parts.key.len() as u64);
        bytes.extend_from_slice(parts.key.as_bytes());
        push_number(&mut bytes, parts.extra.len() as u64);
        push_number(&mut bytes, parts.seq);
        push_number(&mut bytes, parts.version);
        push_number(&mut bytes, parts.timestamp);
        bytes.extend_from_slice(parts.value.as_bytes());
        bytes.extend_from_slice(parts.extra.as_bytes());
        Self(ThinArc::from_header_and_slice((), &bytes))
    }

    fn raw(&self) -> Raw<'_> {
        let mut rest = &self.0.slice;
        let key = take_counted(&mut rest);
        let extra_bytes = take_number(&mut rest) as usize;
        let seq = take_number(&mut rest);
        let version = take_number(&mut rest);
        let timestamp = take_number(&mut rest);
        let (value, extra) = rest.split_at(rest.len() - extra_bytes);
        Raw { key, value, seq, version, timestamp, extra }
    }

    /// All parts at once, which is cheaper than one by one.
    pub fn parts(&self) -> Parts<'_> {
        let Raw { key, value, seq, version, timestamp, extra } = self.raw();
        Parts { key: text(key), value: text(value), seq, version, timestamp, extra: text(extra) }
    }

    /// The key.
    pub fn key(&self) -> &str {
        text(self.key_utf8())
    }

    /// The bytes of the key: ordered as keys are, and cheaper than the text.
    pub fn key_utf8(&self) -> &[u8] {
        take_counted(&mut &self.0.slice)
    }

    /// The value's JSON text.
    pub fn value(&self) -> &str {
        text(self.raw().value)
    }

    /// Unknown optional fields, `,"name":value` each.
    pub fn extra(&self) -> &str {
        text(self.raw().extra)
    }

    /// Seq of the command that wrote the entry.
    pub fn seq(&self) -> u64 {
        self.raw().seq
    }

    /// Writes to this key since it was (re)created.
    pub fn version(&self) -> u64 {
        self.raw().version
    }

    /// Unix time of the write in ms.
    pub fn timestamp(&self) -> u64 {
        self.raw().timestamp
    }

    /// Bytes of memory the record takes, its allocation's reference count and length included.
    pub fn memory_bytes(&self) -> usize {
        2 * size_of::<usize>() + self.0.slice.len()
    }

    /// How many counted pointers to the record there are, so that tests see what is freed.
    #[cfg(test)]
    pub(crate) fn holders(&self) -> usize {
        ThinArc::strong_count(&self.0)
    }

    /// Appends the entry's baseline line without newline: its SET without `prev`. Byte-identical on every node.
    pub fn write_line(&self, collection: &str, out: &mut Vec<u8>) {
        let Raw { key, value, seq, version, timestamp, extra } = self.raw();
        out.extend_from_slice(br#"{"type":"SET","collection":"#);
        write_string(out, collection);
        out.extend_from_slice(br#","seq":"#);
        write_u64(out, seq);
        out.extend_from_slice(br#","key":"#);
        write_string(out, text(key));
        out.extend_from_slice(br#","version":"#);
        write_u64(out, version);
        out.extend_from_slice(br#","timestamp":"#);
        write_u64(out, timestamp);
        out.extend_from_slice(extra);
        out.extend_from_slice(br#","value":"#);
        out.extend_from_slice(value);
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
        let mut tag = Vec::with_capacity(32);
        let Raw { seq, timestamp, .. } = self.raw();
        write_u64(&mut tag, seq);
        tag.push(b'-');
        write_u64(&mut tag, timestamp);
        String::from_utf8(tag).expect("digits are UTF-8")
    }
}

/// Equal in everything a line says. Each number has one packed form, so equal parts are equal bytes.
impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.0.slice == other.0.slice
    }
}

impl Eq for Record {}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { key, value, seq, version, timestamp, extra } = self.parts();
        write!(f, "{key:?}={value} (seq {seq}, version {version}, {timestamp} ms{extra})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_its_baseline_line_around_the_value_text() {
        let record = Record::new(Parts {
            key: "a\"\u{1}é",
            value: r#"{"n":1.0e2}"#,
            seq: 3,
            version: 1,
            timestamp: 9,
            extra: r#","expiresAt":7"#,
        });
        let mut line = Vec::new();
        record.write_line("flags", &mut line);
        assert_eq!(
            core::str::from_utf8(&line).unwrap(),
            r#"{"type":"SET","collection":"flags","seq":3,"key":"a\"\u0001é","version":1,"timestamp":9,"expiresAt":7,"value":{"n":1.0e2}}"#
        );
        assert_eq!(
            (record.key(), record.value(), record.extra()),
            ("a\"\u{1}é", r#"{"n":1.0e2}"#, r#","expiresAt":7"#)
        );
        assert_eq!(record.tag(), "3-9");
    }

    #[test]
    fn keeps_numbers_and_lengths_of_every_size() {
        let long = "k".repeat(70_000);
        for (bits, key) in (0..=53).zip(["k", &long[..127], &long[..128], &long].into_iter().cycle()) {
            let number = (1 << bits) - 1;
            let extra = r#","e":0"#.repeat(bits % 40);
            let value = "1".repeat(bits + 1);
            let record = Record::new(Parts {
                key,
                value: &value,
                seq: number,
                version: number / 2,
                timestamp: number + 1,
                extra: &extra,
            });
            let parts = record.parts();
            assert_eq!((parts.key, parts.value, parts.extra), (key, &*value, &*extra));
            assert_eq!((parts.seq, parts.version, parts.timestamp), (number, number / 2, number + 1));
        }
    }

    #[test]
    fn a_small_entry_takes_28_bytes_beside_its_texts() {
        let key = "flags:checkout:12345";
        let parts = Parts { key, value: "true", seq: 1_000_000, version: 1, timestamp: 1_763_650_000_000, extra: "" };
        assert_eq!(Record::new(parts).memory_bytes() - key.len() - 4, 2 * size_of::<usize>() + 12);
    }
}
