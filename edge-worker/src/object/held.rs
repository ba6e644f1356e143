//! How much is held of bodies at one time, and by whom.

use headwater_core::api::{ApiError, Code};
use headwater_core::shares::{BeyondShare, Shares};

/// Bytes that are held of bodies at one time. Those of one credential are half of what there may be at the most: nobody
/// has all of it.
#[derive(Debug)]
pub(super) struct HeldBodies {
    /// What is counted, for who is refused.
    what: &'static str,
    bytes_max: usize,
    all: usize,
    shares: Shares<String>,
}

impl HeldBodies {
    /// None yet of at most `bytes_max`. `what` completes "the {what} of the requests being answered".
    pub(super) fn new(what: &'static str, bytes_max: usize) -> Self {
        Self { what, bytes_max, all: 0, shares: Shares::new(bytes_max / 2) }
    }

    /// Counts so many more bytes of this credential's.
    ///
    /// # Errors
    /// 503 `overloaded` when there would be too many; nothing is counted then.
    pub(super) fn take(&mut self, credential: &str, more: usize) -> Result<(), ApiError> {
        if self.all + more > self.bytes_max {
            return Err(self.refused("", self.all + more, self.bytes_max));
        }
        let taken = self.shares.take(credential, more);
        taken.map_err(|BeyondShare(limit)| {
            self.refused(" with this credential", self.shares.held(credential) + more, limit)
        })?;
        self.all += more;
        Ok(())
    }

    fn refused(&self, whose: &str, bytes: usize, limit: usize) -> ApiError {
        let what = self.what;
        let words = format!(
            "the {what} of the requests being answered{whose} would have {bytes} bytes, the limit is {limit}: \
             nothing was done, come back"
        );
        ApiError::new(Code::Overloaded, words)
    }

    /// Counts no longer so many bytes that were [taken](Self::take) for this credential.
    pub(super) fn give_back(&mut self, credential: &str, bytes: usize) {
        self.all -= bytes;
        self.shares.give_back(credential, bytes);
    }

    /// Whether none are held.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.all == 0 && self.shares.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_credential_has_half_of_it_and_all_together_all() {
        let mut held = HeldBodies::new("bodies", 100);
        let refused = |held: &mut HeldBodies, credential: &str, more: usize, words: &str| {
            let error = held.take(credential, more).unwrap_err();
            assert_eq!((error.code, error.retry_after_s), (Code::Overloaded, Some(1)));
            assert!(error.message.contains(words), "{}", error.message);
        };
        held.take("a", 50).unwrap();
        refused(&mut held, "a", 1, "bodies of the requests being answered with this credential would have 51 bytes");
        held.take("b", 40).unwrap();
        refused(&mut held, "c", 11, "would have 101 bytes, the limit is 100");
        held.give_back("a", 50);
        refused(&mut held, "b", 11, "with this credential would have 51 bytes, the limit is 50");
        held.take("c", 0).unwrap();
        held.give_back("b", 40);
        assert!(held.is_empty(), "{held:?}");
    }
}
