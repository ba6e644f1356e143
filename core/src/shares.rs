//! What each caller has of something of which there is only so much for all: a share, so that nobody who is let in keeps
//! the others out.
//!
//! Who counts as one caller, and whom no share binds, is the business of those who count.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use core::borrow::Borrow;

/// Counts what each caller has. Holds no more callers than have something.
#[derive(Debug)]
pub struct Shares<K> {
    max: usize,
    held: BTreeMap<K, usize>,
}

/// A caller would have more than its share, which is this much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeyondShare(pub usize);

impl<K: Ord> Shares<K> {
    /// Nobody has anything yet, and nobody is to have more than `max`.
    pub fn new(max: usize) -> Self {
        Self { max, held: BTreeMap::new() }
    }

    /// How much `caller` has.
    pub fn held<Q: Ord + ?Sized>(&self, caller: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        self.held.get(caller).copied().unwrap_or(0)
    }

    /// Notes that `caller` takes `more`.
    ///
    /// # Errors
    /// [`BeyondShare`] when that is too much: nothing is noted then.
    pub fn take<Q>(&mut self, caller: &Q, more: usize) -> Result<(), BeyondShare>
    where
        K: Borrow<Q>,
        Q: Ord + ToOwned<Owned = K> + ?Sized,
    {
        if more > self.max.saturating_sub(self.held(caller)) {
            return Err(BeyondShare(self.max));
        }
        self.note(caller, more);
        Ok(())
    }

    /// Notes that `caller` has taken `more`, however much that is.
    pub fn note<Q>(&mut self, caller: &Q, more: usize)
    where
        K: Borrow<Q>,
        Q: Ord + ToOwned<Owned = K> + ?Sized,
    {
        // Who takes hundreds of times is given a name of its own once.
        match self.held.get_mut(caller) {
            Some(held) => *held = held.saturating_add(more),
            None if more > 0 => drop(self.held.insert(caller.to_owned(), more)),
            None => {}
        }
    }

    /// Notes that `caller` has let go of so much of what it took.
    pub fn give_back<Q: Ord + ?Sized>(&mut self, caller: &Q, less: usize)
    where
        K: Borrow<Q>,
    {
        let Some(held) = self.held.get_mut(caller) else { return };
        *held = held.saturating_sub(less);
        if *held == 0 {
            self.held.remove(caller);
        }
    }

    /// Whether nobody has anything.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    #[test]
    fn each_has_its_share_and_who_gives_all_of_it_back_is_forgotten() {
        let mut shares = Shares::<String>::new(10);
        shares.take("a", 6).unwrap();
        shares.take("a", 4).unwrap();
        assert_eq!(shares.take("a", 1), Err(BeyondShare(10)));
        shares.take("b", 10).unwrap();
        shares.take("c", 0).unwrap();
        shares.note("b", 5);
        assert_eq!(shares.take("b", 1), Err(BeyondShare(10)), "what was noted counts");
        shares.give_back("b", 5);
        shares.give_back("a", 4);
        assert_eq!(shares.take("a", 5), Err(BeyondShare(10)), "a refusal takes nothing");
        shares.take("a", 4).unwrap();
        shares.give_back("a", 10);
        shares.give_back("b", 10);
        assert!(shares.is_empty());
    }
}
