//! Reads that must see a position: whether a node has reached it, and how long to wait until it has.

use super::error::{ApiError, Code};
use super::{WAIT_MS_DEFAULT, WAIT_MS_MAX};
use crate::position::Position;
use crate::store::Progress;
use alloc::format;

/// What a read waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    target: Position,
    /// At most so long, in ms.
    pub ms: u64,
}

impl Wait {
    /// Reads the headers `Headwater-Min-Position` and `Headwater-Wait-Ms`; `None` without the first.
    ///
    /// # Errors
    /// 400 `invalid_request` for a header that cannot be.
    pub fn read(min_position: Option<&str>, wait_ms: Option<&str>) -> Result<Option<Self>, ApiError> {
        let shown = |text: &str| format!("{:?}", text.chars().take(64).collect::<alloc::string::String>());
        let invalid = |words| ApiError::new(Code::InvalidRequest, words);
        let Some(text) = min_position else { return Ok(None) };
        let words = || format!("Headwater-Min-Position is {}, which is not of the form <epoch>.<seq>", shown(text));
        let target = text.parse().map_err(|_| invalid(words()))?;
        let ms = match wait_ms {
            None => WAIT_MS_DEFAULT,
            Some(text) => {
                let words =
                    || format!("Headwater-Wait-Ms is {}, which is not a number of ms up to {WAIT_MS_MAX}", shown(text));
                text.parse().ok().filter(|&ms| ms <= WAIT_MS_MAX).ok_or_else(|| invalid(words()))?
            }
        };
        Ok(Some(Self { target, ms }))
    }

    /// Whether a node as far as `progress` may answer. Ask again whenever it publishes.
    ///
    /// # Errors
    /// 409 `diverged` when it never will.
    pub fn is_over(&self, progress: &Progress) -> Result<bool, ApiError> {
        match reach(progress, self.target) {
            Reach::Reached => Ok(true),
            Reach::NotYet => Ok(false),
            Reach::Diverged => {
                let target = self.target;
                let words =
                    format!("the position {target} is not on this node's history: read without it, or elsewhere");
                Err(ApiError::new(Code::Diverged, words))
            }
        }
    }

    /// The answer when the time is over and the node is at `held`: 504 `stale`.
    pub fn stale(&self, held: Position) -> ApiError {
        let Self { target, ms } = self;
        ApiError::new(
            Code::Stale,
            format!("the position {target} was not reached within {ms} ms; this node is at {held}"),
        )
    }
}

/// Whether a node has reached a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// It has: answer.
    Reached,
    /// It may: wait.
    NotYet,
    /// It never will: the position is not on its history.
    Diverged,
}

/// An epoch newer than any the node knows may still come; one older than its table counts as not on its history.
fn reach(progress: &Progress, target: Position) -> Reach {
    let newest = progress.position.epoch;
    if target == Position::START {
        // What a node answers that holds nothing yet: everybody is that far.
        Reach::Reached
    } else if target.epoch > newest {
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

    #[test]
    fn a_position_is_reached_awaited_or_foreign() {
        let mut progress = Progress::new(Scope::Everything);
        progress.position = Position { epoch: 20, seq: 9 };
        let starts = [(10, 1), (20, 5)].map(|(epoch, first)| EpochStart { epoch, first });
        progress.epochs = Arc::new(EpochTable::new(starts.into()).unwrap());
        for (epoch, seq, expected) in [
            (0, 0, Reach::Reached),
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

    #[test]
    fn reads_its_headers_or_names_them() {
        assert_eq!(Wait::read(None, Some("1")).unwrap(), None);
        let target = Position { epoch: 7, seq: 3 };
        assert_eq!(Wait::read(Some("7.3"), None).unwrap(), Some(Wait { target, ms: WAIT_MS_DEFAULT }));
        assert_eq!(Wait::read(Some("7.3"), Some("30000")).unwrap(), Some(Wait { target, ms: WAIT_MS_MAX }));
        for (position, ms) in [("7", None), ("7.3, 7.3", None), ("7.3", Some("30001")), ("7.3", Some("1, 1"))] {
            assert_eq!(Wait::read(Some(position), ms).unwrap_err().code, Code::InvalidRequest, "{position} {ms:?}");
        }
    }
}
