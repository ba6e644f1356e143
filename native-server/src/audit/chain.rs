//! The chain: each line carries its number and the hash of the line before it, so that none can be changed, added or taken
//! out in the middle without every later one being written anew.

use headwater_core::hex::{from_hex, to_hex};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// Longest line, its newline left out. Those that are written are far shorter.
pub(crate) const LINE_BYTES_MAX: usize = 64 << 10;

/// SHA-256 of a line without its newline.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hash([u8; 32]);

impl Hash {
    /// What stands in the first line of all, which follows none.
    pub(crate) const NONE: Self = Self([0; 32]);

    /// That of these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads 64 lower-case hex digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        from_hex(text).map(Self)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The newest line of a chain: its number, from 1 on, and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) n: u64,
    pub(crate) hash: Hash,
}

/// As it is told to people, to be kept elsewhere.
impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.n, self.hash)
    }
}

impl Head {
    /// Of a chain that has no line yet.
    pub(crate) const EMPTY: Self = Self { n: 0, hash: Hash::NONE };

    /// Appends the next line, with its newline, to `out`. `fields` are the line's own, in their order.
    pub(crate) fn write(&mut self, time: &str, event: &str, fields: &[(&str, Value)], out: &mut Vec<u8>) {
        self.n += 1;
        let begin = out.len();
        out.extend_from_slice(format!("{{\"n\":{},\"time\":\"{time}\",\"event\":\"{event}\"", self.n).as_bytes());
        for (name, value) in fields {
            out.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
        }
        out.extend_from_slice(format!(",\"prev\":\"{}\"}}", self.hash).as_bytes());
        self.hash = Hash::of(&out[begin..]);
        out.push(b'\n');
    }
}

/// A line as it is read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) n: u64,
    pub(crate) time: String,
    pub(crate) event: String,
    pub(crate) prev: Hash,
    pub(crate) fields: Map<String, Value>,
}

impl Entry {
    /// Reads a line without its newline; `None` for one that no node writes.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let Ok(Value::Object(fields)) = serde_json::from_slice(line) else { return None };
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let (time, event) = (text("time")?.into(), text("event")?.into());
        Some(Self { n: fields.get("n")?.as_u64()?, time, event, prev: Hash::parse(text("prev")?)?, fields })
    }

    /// A field that is a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.fields.get(name)?.as_u64()
    }

    /// A field that is a text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }
}

/// Why a line does not follow the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    /// It is no line that a node writes.
    NoEntry,
    /// Its number is another than the next.
    Number(u64),
    /// It names another line as the one before it.
    Previous,
}

impl Head {
    /// Goes on to `line`, which is without its newline.
    ///
    /// # Errors
    /// Why it does not follow; the head stays.
    pub(crate) fn follow(&mut self, line: &[u8]) -> Result<Entry, Break> {
        let entry = Entry::parse(line).ok_or(Break::NoEntry)?;
        if entry.n != self.n + 1 {
            return Err(Break::Number(entry.n));
        }
        if entry.prev != self.hash {
            return Err(Break::Previous);
        }
        *self = Self { n: entry.n, hash: Hash::of(line) };
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: u64) -> Vec<Vec<u8>> {
        let (mut head, mut out) = (Head::EMPTY, Vec::new());
        for index in 0..count {
            head.write(
                "2026-11-21T00:00:00.000Z",
                "write",
                &[("by", Value::from("a\"b")), ("seq", index.into())],
                &mut out,
            );
        }
        out.split_inclusive(|&byte| byte == b'\n').map(|line| line[..line.len() - 1].to_vec()).collect()
    }

    #[test]
    fn what_is_written_follows_and_reads_back() {
        let mut head = Head::EMPTY;
        for (index, line) in (0..).zip(lines(3)) {
            let entry = head.follow(&line).unwrap();
            assert_eq!((entry.n, entry.number("seq"), entry.text("by")), (index + 1, Some(index), Some("a\"b")));
        }
        assert_eq!(head.n, 3);
    }

    #[test]
    fn no_byte_of_a_line_can_be_another_once_there_is_a_later_one() {
        let lines = lines(3);
        for at in 0..lines[1].len() {
            let mut changed = lines.clone();
            changed[1][at] ^= 1;
            let mut head = Head::EMPTY;
            let followed = changed.iter().map(|line| head.follow(line)).take_while(Result::is_ok).count();
            assert!(followed < 3, "byte {at}");
        }
    }

    #[test]
    fn lines_cannot_be_left_out_added_or_exchanged() {
        let lines = lines(4);
        for (order, why) in [
            (vec![0, 2, 3], Break::Number(3)),
            (vec![0, 1, 1], Break::Number(2)),
            (vec![0, 2, 1], Break::Number(3)),
            (vec![1], Break::Number(2)),
        ] {
            let mut head = Head::EMPTY;
            let broken = order.iter().find_map(|&index| head.follow(&lines[index]).err());
            assert_eq!(broken, Some(why), "{order:?}");
        }
        let renumbered = String::from_utf8(lines[2].clone()).unwrap().replace("\"n\":3", "\"n\":2");
        let mut head = Head::EMPTY;
        head.follow(&lines[0]).unwrap();
        assert_eq!(head.follow(renumbered.as_bytes()), Err(Break::Previous));
        assert_eq!(head.follow(b"{}"), Err(Break::NoEntry));
    }

    #[test]
    fn a_hash_has_one_spelling() {
        let text = Hash::of(b"a").to_string();
        assert_eq!(Hash::parse(&text), Some(Hash::of(b"a")));
        for other in [&text.to_uppercase(), &text[1..], "", &format!("{}g", &text[1..])] {
            assert_eq!(Hash::parse(other), None, "{other}");
        }
    }
}
