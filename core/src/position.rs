//! Places in history: positions, and the table of epochs that tells whether a position lies on this history.

use crate::json;
use crate::limits::{EPOCHS_MAX, INTEGER_MAX};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

/// A place in one history: the command numbered `seq`, written while `epoch` was the newest opening of the log.
///
/// Ordered by epoch, then seq. The text form `<epoch>.<seq>` is opaque to clients.
///
/// # Examples
/// ```
/// use headwater_core::position::Position;
/// let position: Position = "1763650000000.812".parse().unwrap();
/// assert_eq!((position.epoch, position.seq), (1763650000000, 812));
/// assert!(position < Position { epoch: 1763650000001, seq: 1 });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Number of the opening of the log.
    pub epoch: u64,
    /// Place of the command in the log; 0 is before the first.
    pub seq: u64,
}

impl Position {
    /// Before everything: what a node holds that holds nothing.
    pub const START: Self = Self { epoch: 0, seq: 0 };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.seq)
    }
}

/// The text is not `<epoch>.<seq>` with plain decimal numbers up to 2^53 - 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPosition(pub String);

impl fmt::Display for InvalidPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a position: expected <epoch>.<seq>", self.0)
    }
}

impl core::error::Error for InvalidPosition {}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let parse = || {
            let (epoch, seq) = text.split_once('.')?;
            Some(Self { epoch: json::unsigned(epoch)?, seq: json::unsigned(seq)? })
        };
        parse().ok_or_else(|| InvalidPosition(text.into()))
    }
}

/// Whose word counts: of two writers that of the later takeover, and of two openings within one takeover the later one.
///
/// An opening takes its epoch from the clock, so an old writer that is started again after another one took over has the
/// higher epoch. What it does not have is the takeover.
///
/// # Examples
/// ```
/// use headwater_core::position::Term;
/// let (old, new) = (Term { takeover: 0, epoch: 9_000 }, Term { takeover: 7_000, epoch: 7_100 });
/// assert!(new > old);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    /// Number of the last time that a log was put in the place of another one: Unix ms as a rule, 0 for never.
    pub takeover: u64,
    /// Number of the opening.
    pub epoch: u64,
}

/// One opening of the log: its number and the seq of its EPOCH command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    /// Number of the opening.
    pub epoch: u64,
    /// Seq of the first command written in it.
    pub first: u64,
}

/// The newest [`EPOCHS_MAX`] openings of one history, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochTable(Vec<EpochStart>);

impl EpochTable {
    /// Makes a table of `starts`, which must rise strictly in epoch and in seq; `None` otherwise.
    pub fn new(starts: Vec<EpochStart>) -> Option<Self> {
        let rising = starts.windows(2).all(|pair| pair[0].epoch < pair[1].epoch && pair[0].first < pair[1].first);
        let bounded =
            starts.iter().all(|s| s.epoch >= 1 && s.epoch <= INTEGER_MAX && s.first >= 1 && s.first <= INTEGER_MAX);
        (rising && bounded && starts.len() <= EPOCHS_MAX).then_some(Self(starts))
    }

    /// Adds the next opening and forgets the oldest beyond the limit. Returns `false`, and adds nothing, unless both
    /// numbers are above the newest ones held.
    pub fn push(&mut self, start: EpochStart) -> bool {
        if self.0.last().is_some_and(|last| start.epoch <= last.epoch || start.first <= last.first) {
            return false;
        }
        if self.0.len() == EPOCHS_MAX {
            self.0.remove(0);
        }
        self.0.push(start);
        true
    }

    /// The openings, oldest first.
    pub fn starts(&self) -> &[EpochStart] {
        &self.0
    }

    /// The newest opening.
    pub fn newest(&self) -> Option<EpochStart> {
        self.0.last().copied()
    }

    /// Whether `position` lies within what its epoch wrote, as far as this table knows: the newest epoch is open-ended,
    /// so the caller compares with its head.
    pub fn holds(&self, position: Position) -> bool {
        let Ok(index) = self.0.binary_search_by_key(&position.epoch, |start| start.epoch) else {
            return false;
        };
        let next_first = self.0.get(index + 1).map_or(u64::MAX, |next| next.first);
        (self.0[index].first..next_first).contains(&position.seq)
    }

    /// Appends the wire form, `[{"epoch":10,"first":1},...]`.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (index, start) in self.0.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"{\"epoch\":" } else { b",{\"epoch\":" });
            json::write_u64(out, start.epoch);
            out.extend_from_slice(b",\"first\":");
            json::write_u64(out, start.first);
            out.push(b'}');
        }
        out.push(b']');
    }

    /// Reads the wire form; `None` when it is anything else or breaks the table's rules.
    pub fn from_json(text: &str) -> Option<Self> {
        let start = |raw: &&str| {
            let fields = json::members(raw).ok()?;
            let number = |name| json::unsigned(fields.iter().find(|(field, _)| field == name)?.1);
            Some(EpochStart { epoch: number("epoch")?, first: number("first")? })
        };
        Self::new(json::elements(text).ok()?.iter().map(start).collect::<Option<_>>()?)
    }

    /// The epoch in which `seq` was written, if the table reaches back that far.
    pub fn epoch_of(&self, seq: u64) -> Option<u64> {
        let after = self.0.partition_point(|start| start.first <= seq);
        Some(self.0[after.checked_sub(1)?].epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(starts: &[(u64, u64)]) -> EpochTable {
        EpochTable::new(starts.iter().map(|&(epoch, first)| EpochStart { epoch, first }).collect()).unwrap()
    }

    #[test]
    fn refuses_other_spellings_of_a_position() {
        for text in ["", "1", "1.", ".1", "1.2.3", "+1.2", "01.2", "1.9007199254740992", "1e3.2", " 1.2"] {
            assert_eq!(text.parse::<Position>(), Err(InvalidPosition(text.into())), "{text}");
        }
    }

    #[test]
    fn holds_only_what_an_epoch_wrote() {
        let epochs = table(&[(10, 1), (20, 5)]);
        for (epoch, seq, held) in [
            (10, 1, true),
            (10, 4, true),
            (10, 5, false),
            (20, 4, false),
            (20, 5, true),
            (20, 900, true),
            (15, 4, false),
            (10, 0, false),
        ] {
            assert_eq!(epochs.holds(Position { epoch, seq }), held, "{epoch}.{seq}");
        }
        assert_eq!((epochs.epoch_of(0), epochs.epoch_of(4), epochs.epoch_of(5)), (None, Some(10), Some(20)));
    }

    #[test]
    fn forgets_the_oldest_beyond_the_limit() {
        let mut epochs = EpochTable::default();
        for n in 1..=EPOCHS_MAX as u64 + 1 {
            assert!(epochs.push(EpochStart { epoch: n, first: n }));
        }
        assert_eq!(epochs.starts().len(), EPOCHS_MAX);
        assert!(!epochs.holds(Position { epoch: 1, seq: 1 }));
        assert!(!epochs.push(EpochStart { epoch: 1, first: 5000 }));
    }
}
