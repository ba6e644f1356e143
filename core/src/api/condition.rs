//! Conditions of requests: entity tags, and positions a read must have reached.

use crate::position::Position;
use crate::store::Progress;
use crate::writer::Tags;
use alloc::string::String;
use alloc::vec::Vec;

/// Reads `If-Match` or `If-None-Match` (RFC 9110, sections 8.8.3 and 13.1). Weak tags count as strong ones: entries have
/// one representation. `None` when the text is no list of tags.
pub fn parse_tags(header: &str) -> Option<Tags> {
    let header = header.trim();
    if header == "*" {
        return Some(Tags::Any);
    }
    let tag = |item: &str| {
        let item = item.trim();
        let quoted = item.strip_prefix("W/").unwrap_or(item);
        Some(String::from(quoted.strip_prefix('"')?.strip_suffix('"')?))
    };
    header.split(',').map(tag).collect::<Option<Vec<_>>>().map(Tags::List)
}

/// Whether a node has reached a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It has: answer.
    Reached,
    /// It may: wait.
    NotYet,
    /// It never will: the position is not on its history.
    Diverged,
}

/// Whether a node as far as `progress` has reached `target`. An epoch newer than any it knows may still come; one older
/// than its table counts as not on its history.
pub fn reach(progress: &Progress, target: Position) -> Reach {
    let newest = progress.position.epoch;
    if target.epoch > newest {
        Reach::NotYet
    } else if target.epoch == newest {
        if target.seq <= progress.position.seq { Reach::Reached } else { Reach::NotYet }
    } else if progress.epochs.holds(target) {
        Reach::Reached
    } else {
        Reach::Diverged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::{EpochStart, EpochTable};
    use crate::scope::Scope;
    use alloc::sync::Arc;
    use alloc::vec;

    #[test]
    fn reads_tags_of_every_spelling() {
        assert_eq!(parse_tags(" * "), Some(Tags::Any));
        assert_eq!(parse_tags("\"3-9\", W/\"4-9\""), Some(Tags::List(vec!["3-9".into(), "4-9".into()])));
        for text in ["", "3-9", "\"3-9", "\"a\",", "*,\"a\""] {
            assert_eq!(parse_tags(text), None, "{text}");
        }
    }

    #[test]
    fn a_position_is_reached_awaited_or_foreign() {
        let mut progress = Progress::new(Scope::Everything);
        progress.position = Position { epoch: 20, seq: 9 };
        let starts = [(10, 1), (20, 5)].map(|(epoch, first)| EpochStart { epoch, first });
        progress.epochs = Arc::new(EpochTable::new(starts.into()).unwrap());
        for (epoch, seq, expected) in [
            (20, 9, Reach::Reached),
            (20, 10, Reach::NotYet),
            (21, 1, Reach::NotYet),
            (10, 4, Reach::Reached),
            (10, 5, Reach::Diverged),
            (15, 5, Reach::Diverged),
            (5, 1, Reach::Diverged),
        ] {
            assert_eq!(reach(&progress, Position { epoch, seq }), expected, "{epoch}.{seq}");
        }
    }
}
