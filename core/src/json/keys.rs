//! Finds equal keys in an object.
//!
//! Keys are remembered while their object is open and compared when it closes: the few of a usual object pair by pair,
//! many by sorting. Sorting costs n log n whatever the keys are; a hash table would need a secret seed for that, and
//! core has no randomness.

use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;

use super::{Error, ErrorKind, text};

/// Keys kept without an allocation, marks of open objects included.
const NEAR: usize = 16;

/// Up to so many keys, comparing each with each is cheaper than sorting.
const PAIRWISE_MAX: usize = 16;

/// One key, or the mark below an object's keys. 32 bits reach everything since a text is at most `TEXT_BYTES_MAX` long.
#[derive(Clone, Copy)]
struct Key {
    /// Offset of the opening quote. In a mark: place of the mark of the object around this one.
    at: u32,
    /// Where the content starts: in the text or, counted on from the text's end, among the unescaped contents.
    start: u32,
    /// Length of the content in bytes.
    len: u32,
    /// The content's [`hint`].
    hint: u32,
}

impl Key {
    const NONE: Self = Self { at: 0, start: 0, len: 0, hint: 0 };
}

/// The keys of all open objects, outermost first.
pub(super) struct Keys {
    near: [Key; NEAR],
    /// All keys, once `near` was too small; empty as long as it is in use.
    far: Vec<Key>,
    len: usize,
    /// Place of the mark of the innermost open object.
    mark: usize,
    /// Contents of the keys that were spelled with escapes, those of closed objects included: never more than the text.
    unescaped: String,
    /// Comparisons made, for the tests that bound them.
    #[cfg(test)]
    pub(super) compared: core::cell::Cell<usize>,
}

impl Keys {
    #[inline]
    pub(super) fn new() -> Self {
        Self {
            near: [Key::NONE; NEAR],
            far: Vec::new(),
            len: 0,
            mark: 0,
            unescaped: String::new(),
            #[cfg(test)]
            compared: core::cell::Cell::new(0),
        }
    }

    /// Begins an object.
    #[inline]
    pub(super) fn open(&mut self) {
        let mark = self.len;
        self.push(Key { at: self.mark as u32, ..Key::NONE });
        self.mark = mark;
    }

    /// Remembers the key whose string is `text[at..end]`, quotes included.
    #[inline]
    pub(super) fn add(&mut self, text: &str, at: usize, end: usize, escaped: bool) -> Result<(), Error> {
        let (start, content) = if escaped {
            let from = self.unescaped.len();
            text::unescape(text, at + 1, end - 1, &mut self.unescaped)?;
            (text.len() + from, &self.unescaped.as_bytes()[from..])
        } else {
            (at + 1, &text.as_bytes()[at + 1..end - 1])
        };
        let (len, hint) = (content.len() as u32, hint(content));
        self.push(Key { at: at as u32, start: start as u32, len, hint });
        Ok(())
    }

    /// Ends the innermost object and forgets its keys.
    ///
    /// # Errors
    ///
    /// `DuplicateKey` at the first key that repeats an earlier one.
    #[inline]
    pub(super) fn close(&mut self, text: &str) -> Result<(), Error> {
        if self.len - self.mark > 2
            && let Some(at) = self.repeated(text)
        {
            return Err(ErrorKind::DuplicateKey.at(at as usize));
        }
        self.len = self.mark;
        self.mark = self.all()[self.mark].at as usize;
        self.far.truncate(self.len);
        Ok(())
    }

    /// Offset of the first key of the innermost object that repeats an earlier one.
    fn repeated(&mut self, text: &str) -> Option<u32> {
        let (near, far) = (&mut self.near, &mut self.far);
        let keys = if far.is_empty() { &mut near[..self.len] } else { &mut far[..] };
        let keys = &mut keys[self.mark + 1..];
        let contents = Contents {
            text: text.as_bytes(),
            unescaped: self.unescaped.as_bytes(),
            #[cfg(test)]
            compared: &self.compared,
        };
        if keys.len() <= PAIRWISE_MAX {
            let repeats =
                |&(index, key): &(usize, &Key)| keys[..index].iter().any(|earlier| contents.equal(earlier, key));
            return keys.iter().enumerate().find(repeats).map(|(_, key)| key.at);
        }
        keys.sort_unstable_by(|a, b| contents.order(a, b).then(a.at.cmp(&b.at)));
        keys.windows(2).filter(|pair| contents.equal(&pair[0], &pair[1])).map(|pair| pair[1].at).min()
    }

    #[inline]
    fn push(&mut self, key: Key) {
        if self.far.is_empty() {
            if let Some(slot) = self.near.get_mut(self.len) {
                *slot = key;
                self.len += 1;
                return;
            }
            self.far.reserve(NEAR * 4);
            self.far.extend_from_slice(&self.near);
        }
        self.far.push(key);
        self.len += 1;
    }

    #[inline]
    fn all(&self) -> &[Key] {
        if self.far.is_empty() { &self.near } else { &self.far }
    }
}

/// What the keys refer to.
struct Contents<'t> {
    text: &'t [u8],
    unescaped: &'t [u8],
    #[cfg(test)]
    compared: &'t core::cell::Cell<usize>,
}

impl Contents<'_> {
    #[inline]
    fn of(&self, key: &Key) -> &[u8] {
        let (start, len) = (key.start as usize, key.len as usize);
        match start.checked_sub(self.text.len()) {
            None => &self.text[start..start + len],
            Some(start) => &self.unescaped[start..start + len],
        }
    }

    #[inline]
    fn equal(&self, a: &Key, b: &Key) -> bool {
        #[cfg(test)]
        self.compared.set(self.compared.get() + 1);
        a.hint == b.hint && self.of(a) == self.of(b)
    }

    /// Any order will do that puts equal keys side by side; this one seldom has to look at their content.
    #[inline]
    fn order(&self, a: &Key, b: &Key) -> Ordering {
        #[cfg(test)]
        self.compared.set(self.compared.get() + 1);
        a.hint.cmp(&b.hint).then_with(|| self.of(a).cmp(self.of(b)))
    }
}

/// A number that is equal for equal contents and mostly differs for others: it mixes the first and the last bytes.
///
/// Who makes contents of equal hints on purpose gains comparisons that look at the content, not more of them.
#[inline]
fn hint(content: &[u8]) -> u32 {
    let (first, last) = if let (Some(first), Some(last)) = (content.first_chunk(), content.last_chunk()) {
        (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
    } else if let (Some(first), Some(last)) = (content.first_chunk(), content.last_chunk()) {
        (u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into())
    } else {
        (content.iter().fold(0, |bytes, &byte| bytes << 8 | u64::from(byte)), 0)
    };
    // An odd factor with its bits spread, from the golden ratio; the upper half of the product depends on all bits.
    let mixed = first ^ last.rotate_left(27) ^ (content.len() as u64) << 56;
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}
