//! Strings: where one ends, what its escapes mean, and how one is written.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Error, ErrorKind};

/// U+FEFF in UTF-8.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Unescapes the string literal whose opening quote is `text[start]`; returns its content and the index after the
/// closing quote. Borrowed when there are no escapes. What follows the string is not looked at.
///
/// # Errors
///
/// `UnexpectedByte` when no quote stands at `start`; `ControlCharacter`, `InvalidEscape`, `LoneSurrogate` and
/// `UnexpectedEnd` for what is wrong within.
pub fn string_at(text: &str, start: usize) -> Result<(Cow<'_, str>, usize), Error> {
    let bytes = text.as_bytes();
    match bytes.get(start) {
        Some(b'"') => {}
        Some(&byte) => return Err(ErrorKind::UnexpectedByte(byte).at(start)),
        None => return Err(ErrorKind::UnexpectedEnd.at(bytes.len())),
    }
    let (end, escaped) = end(bytes, start)?;
    let content = if escaped {
        let mut content = String::with_capacity(end - start);
        unescape(text, start + 1, end - 1, &mut content)?;
        Cow::Owned(content)
    } else {
        Cow::Borrowed(&text[start + 1..end - 1])
    };
    Ok((content, end))
}

/// Checks the string that opens at `start`; returns the index after its closing quote and whether it holds escapes.
#[inline]
pub(super) fn end(bytes: &[u8], start: usize) -> Result<(usize, bool), Error> {
    let mut escaped = false;
    let mut at = start + 1;
    loop {
        at = plain_end(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return Ok((at + 1, escaped)),
            Some(b'\\') => {
                escaped = true;
                at = escape(bytes, at)?.1;
            }
            Some(_) => return Err(ErrorKind::ControlCharacter.at(at)),
            None => return Err(ErrorKind::UnexpectedEnd.at(at)),
        }
    }
}

/// Appends the string content `text[start..end]` to `out` with its escapes resolved.
pub(super) fn unescape(text: &str, start: usize, end: usize, out: &mut String) -> Result<(), Error> {
    let bytes = &text.as_bytes()[..end];
    let mut at = start;
    while let Some(plain) = memchr::memchr(b'\\', &bytes[at..]) {
        out.push_str(&text[at..at + plain]);
        let (character, next) = escape(bytes, at + plain)?;
        out.push(character);
        at = next;
    }
    out.push_str(&text[at..end]);
    Ok(())
}

/// Appends `s` as a JSON string, escaped exactly as serde_json escapes: the short forms where JSON has one, `\u00xx` for
/// the other control characters, and nothing else (not `/`, DEL or what is not ASCII).
pub fn write_string(out: &mut Vec<u8>, s: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = s.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut start = 0;
    loop {
        let at = plain_end(bytes, start);
        out.extend_from_slice(&bytes[start..at]);
        let Some(&byte) = bytes.get(at) else { break };
        let short = match byte {
            b'\x08' => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            b'\x0c' => b'f',
            b'\r' => b'r',
            b'"' | b'\\' => byte,
            _ => b'u',
        };
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            out.extend_from_slice(&[b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        start = at + 1;
    }
    out.push(b'"');
}

/// Index of the first byte from `at` on that cannot stand for itself in a string (a quote, a backslash, a control
/// character), or the length. Eight bytes at a time.
#[inline]
fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let marks = special_bytes(u64::from_le_bytes(*word));
        if marks != 0 {
            return at + marks.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|&byte| !matches!(byte, b'"' | b'\\' | 0..0x20)) {
        at += 1;
    }
    at
}

/// Sets the top bit of every byte of `word` that is a quote, a backslash or below 0x20. Bytes above the lowest such one
/// may be marked too (the subtractions borrow from them), so only the lowest mark counts.
#[inline]
const fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let below = word.wrapping_sub(ONES * 0x20) | quote.wrapping_sub(ONES) | backslash.wrapping_sub(ONES);
    // A byte of 0x80 or more is none of the three and keeps its top bit through both exclusive ors.
    below & !word & TOPS
}

/// The character an escape stands for and the index after it. `at` is the backslash.
fn escape(bytes: &[u8], at: usize) -> Result<(char, usize), Error> {
    let character = match bytes.get(at + 1) {
        Some(&byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
        Some(b'b') => '\x08',
        Some(b'f') => '\x0c',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode_escape(bytes, at),
        Some(_) => return Err(ErrorKind::InvalidEscape.at(at)),
        None => return Err(ErrorKind::UnexpectedEnd.at(at + 1)),
    };
    Ok((character, at + 2))
}

/// As [`escape`] for `\uXXXX`, or two of them that make a surrogate pair.
fn unicode_escape(bytes: &[u8], at: usize) -> Result<(char, usize), Error> {
    let lone = ErrorKind::LoneSurrogate.at(at);
    let first = hex4(bytes, at + 2)?;
    if let Some(character) = char::from_u32(first.into()) {
        return Ok((character, at + 6));
    }
    if !bytes[at + 6..].starts_with(b"\\u") {
        return Err(lone);
    }
    let second = hex4(bytes, at + 8)?;
    match char::decode_utf16([first, second]).next() {
        Some(Ok(character)) => Ok((character, at + 12)),
        _ => Err(lone),
    }
}

/// Four hexadecimal digits as a number.
fn hex4(bytes: &[u8], at: usize) -> Result<u16, Error> {
    let mut number = 0;
    for index in at..at + 4 {
        let byte = *bytes.get(index).ok_or(ErrorKind::UnexpectedEnd.at(bytes.len()))?;
        let digit = char::from(byte).to_digit(16).ok_or(ErrorKind::InvalidEscape.at(index))?;
        number = number << 4 | digit as u16;
    }
    Ok(number)
}
