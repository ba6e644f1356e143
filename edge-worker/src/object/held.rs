//! What the object has only so much of at one time, and who has how much of it.

use super::share::Share;
use headwater_core::api::{ApiError, Code};
use headwater_core::shares::{BeyondShare, Shares};
use std::cell::RefCell;

/// So much for all and so much for one caller: nobody has all of it.
#[derive(Debug)]
pub(super) struct Held {
    /// What is counted, in the plural, for who is refused.
    what: &'static str,
    max: usize,
    all: usize,
    shares: Shares<String>,
}

impl Held {
    /// Nothing yet of at most `max`, and of `own_max` for one caller.
    pub(super) fn new(what: &'static str, max: usize, own_max: usize) -> Self {
        Self { what, max, all: 0, shares: Shares::new(own_max) }
    }

    /// Counts so much more, as this caller's if it has a share.
    ///
    /// # Errors
    /// 503 `overloaded` when there would be too much; nothing is counted then.
    pub(super) fn take(&mut self, share: Option<&Share<'_>>, more: usize) -> Result<(), ApiError> {
        if self.all + more > self.max {
            return Err(self.refused(None, self.all + more, self.max));
        }
        if let Some(share) = share {
            let taken = self.shares.take(share.name(), more);
            taken.map_err(|BeyondShare(limit)| {
                self.refused(Some(share), self.shares.held(share.name()) + more, limit)
            })?;
        }
        self.all += more;
        Ok(())
    }

    fn refused(&self, share: Option<&Share<'_>>, would_be: usize, limit: usize) -> ApiError {
        let (what, whose) = (self.what, share.map_or("", Share::told));
        let blank = if whose.is_empty() { "" } else { " " };
        let words = format!(
            "there would be {would_be} {what}{blank}{whose}, the limit is {limit}: nothing was done, come back"
        );
        ApiError::new(Code::Overloaded, words)
    }

    /// Counts no longer so much that was [taken](Self::take) for this caller.
    pub(super) fn give_back(&mut self, share: Option<&Share<'_>>, less: usize) {
        self.all -= less;
        if let Some(share) = share {
            self.shares.give_back(share.name(), less);
        }
    }

    /// Whether there is nothing.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.all == 0 && self.shares.is_empty()
    }
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Place<'h> {
    held: &'h RefCell<Held>,
    share: Option<&'h Share<'h>>,
}

impl<'h> Place<'h> {
    /// Takes one.
    ///
    /// # Errors
    /// As [`Held::take`].
    pub(super) fn take(held: &'h RefCell<Held>, share: Option<&'h Share<'h>>) -> Result<Self, ApiError> {
        held.borrow_mut().take(share, 1)?;
        Ok(Self { held, share })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.held.borrow_mut().give_back(self.share, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::credentials::Grant;

    #[test]
    fn one_caller_has_its_share_and_all_together_all() {
        let [a, b, c] = ["a", "b", "c"].map(Grant::all);
        let [a, b, c] = [&a, &b, &c].map(|grant| Share::of(grant, None));
        let mut held = Held::new("bytes of bodies", 100, 50);
        let refused = |held: &mut Held, share: Option<&Share<'_>>, more: usize, words: &str| {
            let error = held.take(share, more).unwrap_err();
            assert_eq!((error.code, error.retry_after_s), (Code::Overloaded, Some(1)));
            assert!(error.message.contains(words), "{}", error.message);
        };
        held.take(Some(&a), 50).unwrap();
        refused(&mut held, Some(&a), 1, "51 bytes of bodies with this credential, the limit is 50");
        held.take(Some(&b), 40).unwrap();
        refused(&mut held, Some(&c), 11, "there would be 101 bytes of bodies, the limit is 100");
        held.give_back(Some(&a), 50);
        refused(&mut held, Some(&b), 11, "51 bytes of bodies with this credential, the limit is 50");
        held.take(Some(&c), 0).unwrap();
        held.take(None, 60).unwrap();
        refused(&mut held, None, 1, "101 bytes of bodies, the limit is 100");
        held.give_back(None, 60);
        held.give_back(Some(&b), 40);
        assert!(held.is_empty(), "{held:?}");
    }

    #[test]
    fn a_place_is_given_back_however_it_is_left() {
        let grant = Grant::all("a");
        let (held, share) = (RefCell::new(Held::new("things", 2, 1)), Share::of(&grant, None));
        {
            let _first = Place::take(&held, Some(&share)).unwrap();
            assert!(Place::take(&held, Some(&share)).is_err());
            let _node = Place::take(&held, None).unwrap();
            assert!(Place::take(&held, None).is_err());
        }
        assert!(held.borrow().is_empty());
    }
}
