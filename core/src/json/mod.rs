//! The JSON reader and writer of core: checks text, finds where values end, takes objects apart, writes strings.
//!
//! A value is kept as the text it was sent as, so nothing here builds a tree, converts a number or sorts a key. One
//! iterative scanner stands behind every function; it refuses what RFC 8259 refuses and more: equal keys in one object,
//! a number beyond the range of a double, a surrogate without its partner, more than [`DEPTH_MAX`] open containers. So
//! a text accepted here means the same to every reader that follows, whatever its language and whatever its limits.
//!
//! It does no Unicode normalisation, knows nothing of lines, commands or requests, and sets no limit on size except
//! [`TEXT_BYTES_MAX`]; callers bound what they read.

use alloc::borrow::Cow;
use alloc::vec::Vec;

mod error;
mod keys;
mod number;
mod scan;
mod text;

#[cfg(test)]
mod tests;

pub use error::{Error, ErrorKind};
pub use text::{string_at, write_string};

use scan::Scanner;

/// Arrays and objects that may be open at once; a value with one more is refused.
pub const DEPTH_MAX: usize = 128;

/// Longest text the scanner takes, in bytes: 2 GiB - 1. A guard for its 32-bit offsets, far above any limit of a caller.
pub const TEXT_BYTES_MAX: usize = (u32::MAX / 2) as usize;

/// Largest integer [`unsigned`] returns: every integer up to it is exact in a double, so JavaScript reads the same.
const UNSIGNED_MAX: u64 = (1 << 53) - 1;

/// Members of an object in order: the unescaped key and the raw text of the value.
pub type Members<'t> = Vec<(Cow<'t, str>, &'t str)>;

/// Checks that the bytes are UTF-8 without a byte order mark, and nothing else.
///
/// The step before [`members`] or [`elements`] for bytes that came from outside.
///
/// # Errors
///
/// `TooLong`, `ByteOrderMark` or `InvalidUtf8`, the last with the offset of the first byte that is wrong.
pub fn utf8(text: &[u8]) -> Result<&str, Error> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(ErrorKind::TooLong.at(TEXT_BYTES_MAX));
    }
    if text.starts_with(text::BYTE_ORDER_MARK) {
        return Err(ErrorKind::ByteOrderMark.at(0));
    }
    core::str::from_utf8(text).map_err(|error| ErrorKind::InvalidUtf8.at(error.valid_up_to()))
}

/// Checks that `text` is exactly one JSON value; white space around it is allowed.
///
/// Costs one pass and no recursion, plus sorting of keys in objects of many members; allocates only for those.
///
/// # Errors
///
/// The first offence found, and its offset. `DuplicateKey` is found at the end of its object.
///
/// # Examples
///
/// ```
/// use headwater_core::json::{ErrorKind, validate};
///
/// assert_eq!(validate(br#" {"on": true} "#), Ok(r#" {"on": true} "#));
/// assert_eq!(validate(b"[1e400]").unwrap_err().kind, ErrorKind::NumberOverflow);
/// ```
pub fn validate(text: &[u8]) -> Result<&str, Error> {
    let text = utf8(text)?;
    document(text)?;
    Ok(text)
}

/// Validates like [`validate`] and returns the text without insignificant white space, borrowed when there is none
/// inside the value.
///
/// Everything else stays as sent: spelling of numbers, order of keys, escapes.
///
/// # Errors
///
/// As [`validate`].
pub fn compact(text: &[u8]) -> Result<Cow<'_, str>, Error> {
    let text = utf8(text)?;
    let (value, spaced) = document(text)?;
    Ok(if spaced { Cow::Owned(scan::without_space(value)?) } else { Cow::Borrowed(value) })
}

/// Validates the one value that starts at `text[start]` and returns the index just after it.
///
/// `text` may go on behind the value with anything. White space before the value is refused.
///
/// # Errors
///
/// As [`validate`], except that what follows the value is not looked at.
pub fn value_end(text: &str, start: usize) -> Result<usize, Error> {
    let mut scanner = Scanner::new(text, start)?;
    scanner.value()?;
    Ok(scanner.at())
}

/// Takes an object apart: its members in order, each the unescaped key and the raw text of its value.
///
/// White space around the object is allowed. Everything is validated as by [`validate`], except that the object itself
/// does not count for [`DEPTH_MAX`]: a value of the greatest depth can be read out of the request or line around it.
/// Values are borrowed, keys too unless they hold escapes.
///
/// # Errors
///
/// As [`validate`]; `UnexpectedByte` when the text is another type.
pub fn members(text: &str) -> Result<Members<'_>, Error> {
    let mut scanner = Scanner::new(text, 0)?;
    let mut members = Vec::new();
    scanner.open(b'{')?;
    let mut more = scanner.first_child(b'}')?;
    while more {
        let key = scanner.key()?;
        let start = scanner.at();
        scanner.value()?;
        members.push((string_at(text, key)?.0, &text[start..scanner.at()]));
        more = scanner.next_child(b'}')?;
    }
    scanner.end()?;
    Ok(members)
}

/// Takes an array apart: the raw text of its elements in order.
///
/// Rules and depth as for [`members`].
///
/// # Errors
///
/// As [`members`].
pub fn elements(text: &str) -> Result<Vec<&str>, Error> {
    let mut scanner = Scanner::new(text, 0)?;
    let mut elements = Vec::new();
    scanner.open(b'[')?;
    let mut more = scanner.first_child(b']')?;
    while more {
        let start = scanner.at();
        scanner.value()?;
        elements.push(&text[start..scanner.at()]);
        more = scanner.next_child(b']')?;
    }
    scanner.end()?;
    Ok(elements)
}

/// As [`members`], but where the member `name` is an array, neither it nor the objects right in it count for depth:
/// values of the greatest depth can be read out of them too. Take that member apart with [`rows`].
///
/// # Errors
///
/// As [`members`].
pub fn members_and_rows<'t>(text: &'t str, name: &str) -> Result<Members<'t>, Error> {
    let mut scanner = Scanner::new(text, 0)?;
    let mut members = Vec::new();
    scanner.open(b'{')?;
    let mut more = scanner.first_child(b'}')?;
    while more {
        let key = string_at(text, scanner.key()?)?.0;
        let start = scanner.at();
        if key == name {
            scanner.rows()?
        } else {
            scanner.value()?
        }
        members.push((key, &text[start..scanner.at()]));
        more = scanner.next_child(b'}')?;
    }
    scanner.end()?;
    Ok(members)
}

/// Takes an array of objects apart, one after the other: the members of each, as [`members`] gives them.
///
/// # Errors
///
/// As [`members`], here or with the element in question, which is then the last; `UnexpectedByte` where one is no object.
pub fn rows(text: &str) -> Result<Rows<'_>, Error> {
    let mut scanner = Scanner::new(text, 0)?;
    scanner.open(b'[')?;
    let more = scanner.first_child(b']')?;
    if !more {
        scanner.end()?;
    }
    Ok(Rows { text, scanner, more })
}

/// See [`rows`].
pub struct Rows<'a> {
    text: &'a str,
    scanner: Scanner<'a>,
    more: bool,
}

impl<'a> Rows<'a> {
    fn row(&mut self) -> Result<Members<'a>, Error> {
        let (text, mut members) = (self.text, Vec::new());
        self.scanner.row(|key, value| {
            members.push((string_at(text, key)?.0, &text[value]));
            Ok(())
        })?;
        self.more = self.scanner.next_child(b']')?;
        if !self.more {
            self.scanner.end()?;
        }
        Ok(members)
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = Result<Members<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.more {
            return None;
        }
        let row = self.row();
        self.more &= row.is_ok();
        Some(row)
    }
}

/// The content of a raw string value; `None` for any other type.
#[must_use]
pub fn string(raw: &str) -> Option<Cow<'_, str>> {
    match string_at(raw, 0) {
        Ok((content, end)) if end == raw.len() => Some(content),
        _ => None,
    }
}

/// The number of a raw value spelled as a plain integer of at most 2^53-1: digits only, no sign, fraction or exponent.
/// `None` for any other spelling, size or type.
#[must_use]
pub fn unsigned(raw: &str) -> Option<u64> {
    let digits = raw.as_bytes();
    if digits.is_empty() || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    let mut number: u64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        // At most 2^53-1 before this step, so the step itself cannot overflow 64 bits.
        number = number * 10 + u64::from(digit - b'0');
        if number > UNSIGNED_MAX {
            return None;
        }
    }
    Some(number)
}

/// The raw value as a boolean; `None` for any other type.
#[must_use]
pub fn boolean(raw: &str) -> Option<bool> {
    match raw {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Appends `n` in decimal.
pub fn write_u64(out: &mut Vec<u8>, mut n: u64) {
    // The longest, 18446744073709551615, has 20 digits.
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

/// Scans a whole document: its value without the white space around it, and whether there is some within.
fn document(text: &str) -> Result<(&str, bool), Error> {
    let mut scanner = Scanner::new(text, 0)?;
    scanner.start()?;
    let start = scanner.at();
    scanner.value()?;
    let (end, spaced) = (scanner.at(), scanner.spaced());
    scanner.end()?;
    Ok((&text[start..end], spaced))
}
