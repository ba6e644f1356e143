//! The scanner: walks JSON text, refuses what is wrong in it, builds nothing.
//!
//! Open containers are a depth and one bit each, so a text as deep as it likes costs no stack.

use alloc::string::String;
use core::ops::Range;

use super::keys::Keys;
use super::{DEPTH_MAX, Error, ErrorKind, TEXT_BYTES_MAX, number, text};

/// Position in a text, and the keys of the objects open there.
pub(super) struct Scanner<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    spaced: bool,
    keys: Keys,
}

impl<'t> Scanner<'t> {
    #[inline]
    pub(super) fn new(text: &'t str, at: usize) -> Result<Self, Error> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(ErrorKind::TooLong.at(TEXT_BYTES_MAX));
        }
        Ok(Self { text, bytes: text.as_bytes(), at, spaced: false, keys: Keys::new() })
    }

    /// Index of the next byte.
    #[inline]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Whether white space was skipped since [`start`](Self::start).
    pub(super) fn spaced(&self) -> bool {
        self.spaced
    }

    /// Comparisons of keys made so far.
    #[cfg(test)]
    pub(super) fn comparisons(&self) -> usize {
        self.keys.compared.get()
    }

    /// Skips to the first byte of the document's value.
    pub(super) fn start(&mut self) -> Result<(), Error> {
        if self.bytes.starts_with(text::BYTE_ORDER_MARK) {
            return Err(ErrorKind::ByteOrderMark.at(0));
        }
        self.space();
        self.spaced = false;
        Ok(())
    }

    /// Checks that only white space is left.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        self.space();
        if self.at < self.bytes.len() { Err(ErrorKind::TrailingBytes.at(self.at)) } else { Ok(()) }
    }

    /// Steps over the value that starts here.
    pub(super) fn value(&mut self) -> Result<(), Error> {
        let mut depth = 0;
        // The kinds of the open containers, the innermost lowest: 1 is an object. Holds DEPTH_MAX of them.
        let mut objects: u128 = 0;
        loop {
            match self.peek()? {
                b'"' => self.at = text::end(self.bytes, self.at)?.0,
                b'-' | b'0'..=b'9' => self.at = number::end(self.bytes, self.at)?,
                b't' => self.literal(b"true")?,
                b'f' => self.literal(b"false")?,
                b'n' => self.literal(b"null")?,
                b'{' => {
                    if depth == DEPTH_MAX {
                        return Err(ErrorKind::TooDeep.at(self.at));
                    }
                    depth += 1;
                    objects = objects << 1 | 1;
                    self.keys.open();
                    self.at += 1;
                    self.space();
                    if self.peek()? != b'}' {
                        self.key()?;
                        continue;
                    }
                }
                b'[' => {
                    if depth == DEPTH_MAX {
                        return Err(ErrorKind::TooDeep.at(self.at));
                    }
                    depth += 1;
                    objects <<= 1;
                    self.at += 1;
                    self.space();
                    if self.peek()? != b']' {
                        continue;
                    }
                }
                byte => return Err(ErrorKind::UnexpectedByte(byte).at(self.at)),
            }
            // A value ended here, or a container that holds nothing is about to: go on to the next value.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                self.space();
                let object = objects & 1 == 1;
                match self.peek()? {
                    b',' => {
                        self.at += 1;
                        self.space();
                        if object {
                            self.key()?;
                        }
                        break;
                    }
                    b'}' if object => self.keys.close(self.text)?,
                    b']' if !object => {}
                    byte => return Err(ErrorKind::UnexpectedByte(byte).at(self.at)),
                }
                self.at += 1;
                depth -= 1;
                objects >>= 1;
            }
        }
    }

    /// Steps over a key, its colon and the white space around, to the value; returns where the key starts.
    #[inline]
    pub(super) fn key(&mut self) -> Result<usize, Error> {
        let start = self.at;
        let byte = self.peek()?;
        if byte != b'"' {
            return Err(ErrorKind::UnexpectedByte(byte).at(start));
        }
        let (end, escaped) = text::end(self.bytes, start)?;
        self.keys.add(self.text, start, end, escaped)?;
        self.at = end;
        self.space();
        self.expect(b':')?;
        self.space();
        Ok(start)
    }

    /// Opens the document's outermost container, `{` or `[`, whose children the caller steps through itself. It does
    /// not count for the depth of what [`value`](Self::value) finds in it.
    pub(super) fn open(&mut self, opening: u8) -> Result<(), Error> {
        self.start()?;
        self.open_within(opening)
    }

    /// Opens a container within the outermost one; like that one it does not count for depth.
    fn open_within(&mut self, opening: u8) -> Result<(), Error> {
        self.expect(opening)?;
        self.keys.open();
        self.space();
        Ok(())
    }

    /// Steps over the value that starts here. Of an array, neither it nor the objects right in it count for depth.
    pub(super) fn rows(&mut self) -> Result<(), Error> {
        if self.peek()? != b'[' {
            return self.value();
        }
        self.open_within(b'[')?;
        let mut more = self.first_child(b']')?;
        while more {
            if self.peek()? == b'{' {
                self.row(|_, _| Ok(()))?
            } else {
                self.value()?
            }
            more = self.next_child(b']')?;
        }
        Ok(())
    }

    /// Steps over the object that starts here, which does not count for depth, and hands out its members: where the
    /// key starts, and where the value stands.
    pub(super) fn row(
        &mut self,
        mut member: impl FnMut(usize, Range<usize>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.open_within(b'{')?;
        let mut more = self.first_child(b'}')?;
        while more {
            let key = self.key()?;
            let start = self.at;
            self.value()?;
            member(key, start..self.at)?;
            more = self.next_child(b'}')?;
        }
        Ok(())
    }

    /// Whether the container just opened has a child; steps over `closing` if not.
    pub(super) fn first_child(&mut self, closing: u8) -> Result<bool, Error> {
        if self.peek()? != closing {
            return Ok(true);
        }
        self.close()?;
        Ok(false)
    }

    /// Whether another child follows the one that ended here; steps over the comma or `closing`.
    pub(super) fn next_child(&mut self, closing: u8) -> Result<bool, Error> {
        self.space();
        let byte = self.peek()?;
        if byte == b',' {
            self.at += 1;
            self.space();
            return Ok(true);
        }
        if byte != closing {
            return Err(ErrorKind::UnexpectedByte(byte).at(self.at));
        }
        self.close()?;
        Ok(false)
    }

    fn close(&mut self) -> Result<(), Error> {
        self.at += 1;
        self.keys.close(self.text)
    }

    #[inline]
    fn peek(&self) -> Result<u8, Error> {
        match self.bytes.get(self.at) {
            Some(&byte) => Ok(byte),
            None => Err(ErrorKind::UnexpectedEnd.at(self.bytes.len())),
        }
    }

    #[inline]
    fn expect(&mut self, wanted: u8) -> Result<(), Error> {
        let byte = self.peek()?;
        if byte != wanted {
            return Err(ErrorKind::UnexpectedByte(byte).at(self.at));
        }
        self.at += 1;
        Ok(())
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Error> {
        word.iter().try_for_each(|&byte| self.expect(byte))
    }

    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.bytes.get(self.at) {
            self.at += 1;
            self.spaced = true;
        }
    }
}

/// Copies a value, already found valid, without the white space between its tokens.
pub(super) fn without_space(value: &str) -> Result<String, Error> {
    let bytes = value.as_bytes();
    let mut out = String::with_capacity(value.len());
    let (mut kept, mut at) = (0, 0);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => at = text::end(bytes, at)?.0,
            b' ' | b'\t' | b'\n' | b'\r' => {
                out.push_str(&value[kept..at]);
                at += 1;
                kept = at;
            }
            _ => at += 1,
        }
    }
    out.push_str(&value[kept..]);
    Ok(out)
}
