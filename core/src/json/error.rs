//! Why a JSON text was refused, in words a person can act on. Codes of the HTTP API are made elsewhere.

use core::fmt;

use super::{DEPTH_MAX, TEXT_BYTES_MAX};

/// Why a text was refused, and the byte where it was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// The rule that was broken.
    pub kind: ErrorKind,
    /// Offset in bytes from the start of the text that was given.
    pub offset: usize,
}

/// The rule a refused text breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The bytes are not UTF-8.
    InvalidUtf8,
    /// The text starts with a byte order mark.
    ByteOrderMark,
    /// The text ends inside a value, or holds none.
    UnexpectedEnd,
    /// This byte cannot stand here.
    UnexpectedByte(u8),
    /// Something other than white space follows the value.
    TrailingBytes,
    /// More than [`DEPTH_MAX`] arrays and objects are open at once.
    TooDeep,
    /// The object has an earlier key that is equal after unescaping; the offset is that of the later one.
    DuplicateKey,
    /// The magnitude of the number rounds to infinity as a double.
    NumberOverflow,
    /// An escape names one half of a surrogate pair without the other behind or before it.
    LoneSurrogate,
    /// A backslash is followed by something JSON does not know.
    InvalidEscape,
    /// A string holds a byte below 0x20 that is not escaped.
    ControlCharacter,
    /// A number is spelled in a way JSON does not know, such as `01`, `1.` or `-`.
    InvalidNumber,
    /// The text is longer than [`TEXT_BYTES_MAX`].
    TooLong,
}

impl ErrorKind {
    pub(super) fn at(self, offset: usize) -> Error {
        Error { kind: self, offset }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::InvalidUtf8 => f.write_str("the text is not UTF-8"),
            Self::ByteOrderMark => f.write_str("the text starts with a byte order mark"),
            Self::UnexpectedEnd => f.write_str("the text ends before its value does"),
            Self::UnexpectedByte(byte @ b' '..=b'~') => write!(f, "unexpected character '{}'", char::from(byte)),
            Self::UnexpectedByte(byte) => write!(f, "unexpected byte 0x{byte:02x}"),
            Self::TrailingBytes => f.write_str("more text follows the value"),
            Self::TooDeep => write!(f, "arrays and objects are nested more than {DEPTH_MAX} deep"),
            Self::DuplicateKey => f.write_str("an object has the same key twice"),
            Self::NumberOverflow => f.write_str("a number is beyond the range of a double (1.7976931348623157e308)"),
            Self::LoneSurrogate => f.write_str("an escaped surrogate has no partner"),
            Self::InvalidEscape => f.write_str("a backslash escape that JSON does not have"),
            Self::ControlCharacter => f.write_str("a control character in a string is not escaped"),
            Self::InvalidNumber => f.write_str("a number is not spelled as JSON spells it"),
            Self::TooLong => write!(f, "the text is longer than {TEXT_BYTES_MAX} bytes"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.kind, self.offset)
    }
}

impl core::error::Error for Error {}
