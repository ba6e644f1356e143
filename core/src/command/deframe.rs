//! Cuts a byte stream into lines, whatever pieces it comes in.
//!
//! Knows nothing of JSON. Only 0x0A ends a line; what stands unended when the stream stops is torn and no line.

use crate::limits::LINE_BYTES_MAX;
use bytes::{Bytes, BytesMut};
use core::fmt;
use memchr::memchr;

/// A line is longer than the protocol allows. The connection cannot be used further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTooLong {
    /// Bytes seen of it so far.
    pub bytes: usize,
}

impl fmt::Display for LineTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a line of {} bytes or more, the limit is {LINE_BYTES_MAX}", self.bytes)
    }
}

impl core::error::Error for LineTooLong {}

/// Collects bytes and hands out blocks of whole lines. Holds at most one unfinished line.
#[derive(Debug, Default)]
pub struct Deframer {
    partial: BytesMut,
    /// Bytes of the unfinished line.
    unfinished: usize,
    /// The line that ended it all.
    failed: Option<LineTooLong>,
}

impl Deframer {
    /// An empty deframer, for a new stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the stream and returns every line they complete, as one block whose every line ends in a
    /// newline; `None` when no line is complete yet.
    ///
    /// # Errors
    /// [`LineTooLong`] as soon as a line exceeds the limit, complete or not, and ever after. Lines before it are returned
    /// first; then the caller asks [`Deframer::check`], or finds out with the next bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Bytes>, LineTooLong> {
        self.check()?;
        let mut rest = bytes;
        let mut grown = Ok(());
        while let Some(end) = memchr(b'\n', rest) {
            grown = self.grow_unfinished(end);
            if grown.is_err() {
                break;
            }
            self.unfinished = 0;
            rest = &rest[end + 1..];
        }
        grown = grown.and_then(|()| self.grow_unfinished(rest.len()));
        self.failed = grown.err();
        let whole = bytes.len() - rest.len();
        if whole == 0 {
            self.check()?;
            self.partial.extend_from_slice(bytes);
            return Ok(None);
        }
        self.partial.extend_from_slice(&bytes[..whole]);
        let block = self.partial.split().freeze();
        if self.failed.is_none() {
            self.partial.extend_from_slice(rest);
        }
        Ok(Some(block))
    }

    /// Whether the stream can be read on.
    ///
    /// # Errors
    /// [`LineTooLong`] when it cannot.
    pub fn check(&self) -> Result<(), LineTooLong> {
        self.failed.map_or(Ok(()), Err)
    }

    /// Bytes of the line that is not complete yet; torn if the stream ends now.
    pub fn unfinished(&self) -> usize {
        self.unfinished
    }

    fn grow_unfinished(&mut self, more: usize) -> Result<(), LineTooLong> {
        self.unfinished += more;
        if self.unfinished > LINE_BYTES_MAX { Err(LineTooLong { bytes: self.unfinished }) } else { Ok(()) }
    }
}

/// The lines of a block, each with its place in it, newlines left out.
pub fn lines(block: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut start = 0;
    core::iter::from_fn(move || {
        let end = start + memchr(b'\n', block.get(start..)?)?;
        let line = (start, &block[start..end]);
        start = end + 1;
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    fn collect(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, usize) {
        let mut deframer = Deframer::new();
        let mut found = Vec::new();
        for piece in pieces {
            if let Some(block) = deframer.push(piece).unwrap() {
                found.extend(lines(&block).map(|(_, line)| line.to_vec()));
            }
        }
        (found, deframer.unfinished())
    }

    #[test]
    fn every_split_gives_the_same_lines() {
        let stream = "a\n\r\n\n{\"é\":1}\r\nlong line\ntorn é".as_bytes();
        let whole = collect(&[stream]);
        assert_eq!(whole.0.len(), 5);
        assert_eq!(whole.1, "torn é".len());
        for first in 0..stream.len() {
            for second in first..stream.len() {
                assert_eq!(collect(&[&stream[..first], &stream[first..second], &stream[second..]]), whole);
            }
        }
        assert_eq!(collect(&stream.chunks(1).collect::<Vec<_>>()), whole);
    }

    #[test]
    fn takes_a_line_at_the_limit_and_refuses_one_over_it() {
        let longest = vec![b'x'; LINE_BYTES_MAX];
        let mut deframer = Deframer::new();
        assert_eq!(deframer.push(&longest).unwrap(), None);
        assert_eq!(deframer.push(b"\n").unwrap().unwrap().len(), LINE_BYTES_MAX + 1);
        assert_eq!(deframer.push(&longest).unwrap(), None);
        assert_eq!(deframer.push(b"x"), Err(LineTooLong { bytes: LINE_BYTES_MAX + 1 }));
        let mut ended = longest;
        ended.extend_from_slice(b"x\n");
        let too_long = LineTooLong { bytes: LINE_BYTES_MAX + 1 };
        assert_eq!(Deframer::new().push(&ended), Err(too_long));
        // Lines before it are lines, whatever comes with them.
        let mut deframer = Deframer::new();
        ended.splice(..0, *b"a\nb\n");
        assert_eq!(deframer.push(&ended).unwrap().unwrap(), &b"a\nb\n"[..]);
        assert_eq!(deframer.check(), Err(too_long));
        assert_eq!(deframer.push(b"c\n"), Err(too_long));
    }
}
