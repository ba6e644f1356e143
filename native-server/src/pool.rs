//! Bounds on what goes on at one time, with a share for each caller: who is let in is not to keep the others out.
//!
//! The count of all is an atomic, that of each caller behind a lock which is held for the time of a look-up.

use headwater_core::api::{ApiError, Code};
use headwater_core::credentials::{Grant, Role};
use headwater_core::network::network;
use headwater_core::shares::{BeyondShare, Shares};
use std::borrow::Cow;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who counts as one: a credential, and an address of those who show none or a token of one.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) struct Caller<'g> {
    credential: &'g str,
    stranger: Option<IpAddr>,
}

impl<'g> Caller<'g> {
    /// Who was granted this.
    pub(crate) fn of(grant: &'g Grant, peer: IpAddr) -> Self {
        Self { credential: &grant.credential, stranger: grant.is_of_many().then(|| network(peer)) }
    }

    /// The same where nodes have no share: what follows must be able to come back, however many of them have one pair.
    pub(crate) fn sharing(grant: &'g Grant, peer: IpAddr) -> Option<Self> {
        (!grant.has(Role::Node)).then(|| Self::of(grant, peer))
    }

    /// What is told to a caller of whose a share is.
    pub(crate) fn told(&self) -> &'static str {
        told(self.stranger.is_some())
    }

    /// A text that no other caller has.
    pub(crate) fn name(&self) -> Cow<'g, str> {
        match self.stranger {
            None => Cow::Borrowed(self.credential),
            Some(address) => Cow::Owned(format!("{}@{address}", self.credential)),
        }
    }
}

/// Whose a share is, in words for who has used it up.
fn told(is_stranger: bool) -> &'static str {
    if is_stranger { "without a pair from this address" } else { "with this credential" }
}

/// How much there is of something, in all and for one caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// What it is of, in the plural.
    pub(crate) of: &'static str,
    /// How much there is for all, and what says so; `None` where that is somebody else's business.
    pub(crate) all: Option<(usize, &'static str)>,
    /// The same for one caller.
    pub(crate) own: (usize, &'static str),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    bound: Bound,
    all: AtomicUsize,
    shares: Mutex<Shares<u64>>,
    seed: RandomState,
}

/// A caller as a pool knows it. Two that are taken for one have a share together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    hash: u64,
    is_stranger: bool,
}

/// What was taken of a [`Pool`], until it is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    pool: Arc<Pool>,
    count: usize,
    of: Option<Key>,
}

impl Pool {
    pub(crate) fn new(bound: Bound) -> Arc<Self> {
        let (all, shares) = (AtomicUsize::new(0), Mutex::new(Shares::new(bound.own.0)));
        Arc::new(Self { bound, all, shares, seed: RandomState::new() })
    }

    /// How much is taken at this time.
    pub(crate) fn in_use(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }

    /// The caller as this pool knows it.
    pub(crate) fn key(&self, caller: Caller<'_>) -> Key {
        Key { hash: self.seed.hash_one(caller), is_stranger: caller.stranger.is_some() }
    }

    /// Takes `count`, of the share of `key` if there is one.
    ///
    /// # Errors
    /// 503 `overloaded` when there is not so much for all, or for this caller.
    pub(crate) fn take(self: &Arc<Self>, count: usize, key: Option<Key>) -> Result<Taken, ApiError> {
        let mut taken = Taken { pool: Arc::clone(self), count: 0, of: key };
        taken.grow(count)?;
        Ok(taken)
    }

    /// The same however much is taken by all and by this caller: for what is not to be refused.
    pub(crate) fn note(self: &Arc<Self>, count: usize, key: Option<Key>) -> Taken {
        if let Some(key) = key {
            self.shares().note(&key.hash, count);
        }
        self.all.fetch_add(count, Ordering::Relaxed);
        Taken { pool: Arc::clone(self), count, of: key }
    }

    fn shares(&self) -> MutexGuard<'_, Shares<u64>> {
        // Nothing in there can fail half-way.
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_of_share(&self, key: Key, count: usize) -> Result<(), ApiError> {
        if count == 0 {
            return Ok(());
        }
        self.shares().take(&key.hash, count).map_err(|BeyondShare(limit)| {
            refused(format_args!("{} {}", self.bound.of, told(key.is_stranger)), (limit, self.bound.own.1))
        })
    }
}

impl Taken {
    /// Takes so much more.
    ///
    /// # Errors
    /// As [`Pool::take`]: nothing more is taken then.
    pub(crate) fn grow(&mut self, more: usize) -> Result<(), ApiError> {
        if more == 0 {
            return Ok(());
        }
        let Pool { bound, all, .. } = &*self.pool;
        // First of its share: what is beyond that is not to be missing to others meanwhile.
        self.of.map_or(Ok(()), |key| self.pool.take_of_share(key, more))?;
        match bound.all {
            None => drop(all.fetch_add(more, Ordering::Relaxed)),
            Some(limit) => {
                let taken = |held: usize| held.checked_add(more).filter(|held| *held <= limit.0);
                if all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_err() {
                    if let Some(key) = self.of {
                        self.pool.shares().give_back(&key.hash, more);
                    }
                    return Err(refused(format_args!("{}", bound.of), limit));
                }
            }
        }
        self.count += more;
        Ok(())
    }

    /// Makes what was taken for nobody a caller's.
    ///
    /// # Errors
    /// 503 `overloaded` when its share does not have so much.
    pub(crate) fn belongs_to(&mut self, key: Key) -> Result<(), ApiError> {
        self.pool.take_of_share(key, self.count)?;
        self.of = Some(key);
        Ok(())
    }

    /// How much it is.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// A part of it, to be given back by itself; what is there at the most.
    pub(crate) fn split(&mut self, count: usize) -> Self {
        let count = count.min(self.count);
        self.count -= count;
        Self { pool: Arc::clone(&self.pool), count, of: self.of }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.count == 0 {
            return;
        }
        if let Some(key) = self.of {
            self.pool.shares().give_back(&key.hash, self.count);
        }
        self.pool.all.fetch_sub(self.count, Ordering::Relaxed);
    }
}

fn refused(of: std::fmt::Arguments<'_>, (limit, setting): (usize, &str)) -> ApiError {
    let words = format!("there are too many {of}: the limit is {limit} ({setting}); nothing was done, come back");
    ApiError::new(Code::Overloaded, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> Arc<Pool> {
        Pool::new(Bound { of: "things", all: Some((10, "--things-max")), own: (4, "--share of --things-max") })
    }

    fn key(pool: &Pool, credential: &str) -> Option<Key> {
        Some(pool.key(Caller { credential, stranger: None }))
    }

    fn words(refusal: Result<Taken, ApiError>) -> String {
        let error = refusal.unwrap_err();
        assert_eq!((error.code, error.retry_after_s), (Code::Overloaded, Some(1)));
        error.message.into()
    }

    #[test]
    fn each_has_its_share_all_have_what_there_is_and_all_of_it_comes_back() {
        let pool = pool();
        let (a, b) = (key(&pool, "a"), key(&pool, "b"));
        let mut first = pool.take(3, a).unwrap();
        let said = words(pool.take(2, a));
        assert!(said.contains("things with this credential: the limit is 4 (--share of --things-max)"), "{said}");
        let second = pool.take(4, b).unwrap();
        let node = pool.take(3, None).unwrap();
        let said = words(pool.take(1, key(&pool, "c")));
        assert!(said.contains("things: the limit is 10 (--things-max)"), "{said}");
        assert_eq!(pool.in_use(), 10);
        drop(pool.note(5, None));
        drop((second, first.split(2), node));
        assert_eq!(pool.in_use(), 1);
        first.grow(3).unwrap();
        assert!(first.grow(1).is_err());
        let mut late = pool.take(2, None).unwrap();
        late.belongs_to(b.unwrap()).unwrap();
        assert!(pool.take(2, None).unwrap().belongs_to(a.unwrap()).is_err());
        let noted = pool.note(20, a);
        assert!(pool.take(1, a).is_err() && pool.take(1, b).is_err(), "what was noted counts");
        drop((first, late, noted));
        assert_eq!((pool.in_use(), pool.shares().is_empty()), (0, true));
    }

    #[test]
    fn strangers_are_told_apart_by_address_and_holders_of_a_pair_are_not() {
        let pool = pool();
        let address = |text: &str| text.parse().unwrap();
        let stranger = |text| pool.key(Caller { credential: "anonymous", stranger: Some(address(text)) });
        let _held = pool.take(4, Some(stranger("10.0.0.1"))).unwrap();
        let said = words(pool.take(1, Some(stranger("10.0.0.1"))));
        assert!(said.contains("without a pair from this address"), "{said}");
        pool.take(1, Some(stranger("10.0.0.2"))).unwrap();
        let grant = Grant::all("k");
        assert_eq!(Caller::of(&grant, address("10.0.0.1")), Caller::of(&grant, address("10.0.0.2")));
        assert_eq!(Caller::sharing(&grant, address("10.0.0.1")), None);
    }
}
