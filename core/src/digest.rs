//! Digests by which two nodes find out that they hold the same entries, however they came by them.
//!
//! They detect divergence (lost, doubled or altered entries); they are no protection against a malicious parent.

use crate::id::parse_hex;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use twox_hash::XxHash3_128;

/// A sum of 128-bit hashes modulo 2^128, so that it can follow every write: add the new entry, subtract the old one.
///
/// An entry counts with XXH3-128 (seed 0, <https://github.com/Cyan4973/xxHash>) of its baseline line without the newline.
/// Written as 32 lower-case hex digits, on the wire behind `xxh3:`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Digest(u128);

/// What the wire form begins with.
const PREFIX: &str = "xxh3:";

impl Digest {
    /// The digest of nothing.
    pub const EMPTY: Self = Self(0);

    /// The hash of one text as a digest of one element.
    pub fn of(bytes: &[u8]) -> Self {
        Self(XxHash3_128::oneshot(bytes))
    }

    /// What a collection adds to the digest of a scope: the hash of its name, creation and content.
    pub fn of_collection(name: &str, created: u64, content: Self) -> Self {
        let mut text = Vec::with_capacity(name.len() + 56);
        text.extend_from_slice(name.as_bytes());
        text.push(b'\n');
        crate::json::write_u64(&mut text, created);
        text.extend_from_slice(alloc::format!("\n{content}").as_bytes());
        Self::of(&text)
    }

    /// Adds an element.
    pub fn add(&mut self, element: Self) {
        self.0 = self.0.wrapping_add(element.0);
    }

    /// Takes out an element that was added before.
    pub fn subtract(&mut self, element: Self) {
        self.0 = self.0.wrapping_sub(element.0);
    }

    /// The wire form, `xxh3:` and 32 hex digits.
    pub fn to_wire(self) -> String {
        alloc::format!("{PREFIX}{self}")
    }

    /// Reads the wire form; `None` when it is anything else.
    pub fn from_wire(text: &str) -> Option<Self> {
        Self::from_hex(text.strip_prefix(PREFIX)?)
    }

    /// Reads bare hex digits; `None` when it is anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        parse_hex(text).map(Self)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_additions_does_not_matter_and_subtraction_undoes() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let mut first = Digest::EMPTY;
        first.add(a);
        first.add(b);
        let mut second = Digest::EMPTY;
        second.add(b);
        second.add(a);
        assert_eq!(first, second);
        second.subtract(a);
        assert_eq!(second, b);
    }

    #[test]
    fn equals_the_published_hash_of_the_empty_input() {
        // XXH3_128bits of zero bytes with seed 0, from the reference implementation's test vectors.
        assert_eq!(Digest::of(b"").to_wire(), "xxh3:99aa06d3014798d86001c324468d497f");
    }

    #[test]
    fn wire_form_is_exact() {
        let digest = Digest::of(b"x");
        assert_eq!(Digest::from_wire(&digest.to_wire()), Some(digest));
        assert_eq!(Digest::from_wire(&digest.to_wire().to_uppercase()), None);
        assert_eq!(Digest::from_wire("xxh3:12"), None);
    }
}
