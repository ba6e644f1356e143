//! How often somebody may ask: per credential, per address, and per address with wrong credentials.
//!
//! Each limit is a bucket that fills at its rate up to its burst (GCRA, of the crate `governor`); the buckets are held in a
//! table of a fixed size ([`table`]).

mod rate;
mod table;

pub(crate) use rate::Rate;

use crate::pool::Caller;
use governor::clock::{Clock as _, MonotonicClock};
use governor::{Quota, RateLimiter};
use headwater_core::api::{ApiError, Code};
use headwater_core::credentials::Grant;
use headwater_core::network::network;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::time::Duration;
use table::Table;

/// Most credentials or addresses that are told apart by one limit.
const KEYS_MAX: usize = 65_536;

/// The limits of a node; `None` for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RateLimits {
    /// Of requests with one credential.
    pub(crate) credential: Option<Rate>,
    /// Of requests from one address.
    pub(crate) address: Option<Rate>,
    /// Of requests with wrong credentials from one address.
    pub(crate) wrong_pairs: Option<Rate>,
}

/// See the module.
pub(crate) struct Rates {
    credential: Option<Limit>,
    address: Option<Limit>,
    wrong_pairs: Option<Limit>,
}

struct Limit {
    limiter: RateLimiter<u64, Table, MonotonicClock>,
    clock: MonotonicClock,
    seed: RandomState,
}

impl Limit {
    fn new(rate: Rate) -> Self {
        let quota = Quota::with_period(rate.every()).expect("a rate is not 0").allow_burst(rate.burst);
        let clock = MonotonicClock;
        Self { limiter: RateLimiter::new(quota, Table::new(KEYS_MAX), MonotonicClock), clock, seed: RandomState::new() }
    }

    /// One more of `key`.
    ///
    /// # Errors
    /// How long it has to wait.
    fn check(&self, key: impl Hash) -> Result<(), Duration> {
        let outcome = self.limiter.check_key(&self.seed.hash_one(key));
        outcome.map_err(|refused| refused.wait_time_from(self.clock.now()))
    }
}

impl Rates {
    pub(crate) fn new(limits: RateLimits) -> Self {
        let limit = |rate: Option<Rate>| rate.map(Limit::new);
        let RateLimits { credential, address, wrong_pairs } = limits;
        Self { credential: limit(credential), address: limit(address), wrong_pairs: limit(wrong_pairs) }
    }

    /// A request that was granted this. Those who show no credentials are told apart by their address: nobody of them is to
    /// use up what the others have.
    ///
    /// # Errors
    /// 429 `rate_limited`.
    pub(crate) fn granted(&self, grant: &Grant, peer: IpAddr) -> Result<(), ApiError> {
        let Some(limit) = &self.credential else { return Ok(()) };
        let of = "with this credential (--rate-per-credential)";
        limit.check(Caller::of(grant, peer)).map_err(|wait| refused(of, wait))
    }

    /// A request from this address.
    ///
    /// # Errors
    /// 429 `rate_limited`.
    pub(crate) fn address(&self, peer: IpAddr) -> Result<(), ApiError> {
        let Some(limit) = &self.address else { return Ok(()) };
        limit.check(network(peer)).map_err(|wait| refused("from this address (--rate-per-address)", wait))
    }

    /// A request with wrong credentials from this address.
    ///
    /// # Errors
    /// 429 `rate_limited`.
    pub(crate) fn wrong_pair(&self, peer: IpAddr) -> Result<(), ApiError> {
        let Some(limit) = &self.wrong_pairs else { return Ok(()) };
        let of = "with wrong credentials from this address (--rate-of-wrong-pairs)";
        limit.check(network(peer)).map_err(|wait| refused(of, wait))
    }
}

fn refused(of: &str, wait: Duration) -> ApiError {
    let seconds = u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX).max(1);
    let error = ApiError::new(Code::RateLimited, format!("too many requests {of}: come back in {seconds} s"));
    ApiError { retry_after_s: Some(seconds), ..error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(rate: &str) -> Rates {
        let rate = rate.parse().ok();
        Rates::new(RateLimits { credential: rate, address: rate, wrong_pairs: rate })
    }

    /// A request with the credential of this id.
    fn ask(rates: &Rates, id: &str) -> Result<(), ApiError> {
        rates.granted(&Grant::all(id), address("10.0.0.1"))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_burst_passes_and_what_comes_behind_it_is_told_when_to_come_back() {
        let rates = rates("1/m:3");
        for _ in 0..3 {
            ask(&rates, "a").unwrap();
        }
        let refusal = ask(&rates, "a").unwrap_err();
        assert_eq!((refusal.code, refusal.retry_after_s), (Code::RateLimited, Some(60)));
        ask(&rates, "b").unwrap();
        rates.address(address("10.0.0.1")).unwrap();
        rates.wrong_pair(address("10.0.0.1")).unwrap();
    }

    #[test]
    fn the_rate_is_kept_and_not_more() {
        let rates = rates("50/s:1");
        let begun = std::time::Instant::now();
        let mut passed = 0;
        while begun.elapsed() < Duration::from_millis(500) {
            passed += u64::from(ask(&rates, "a").is_ok());
        }
        let most = begun.elapsed().as_millis() as u64 / 20 + 1;
        assert!(passed <= most && passed > 5, "{passed} of {most}");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let rates = rates("1/m:1");
        rates.address(address("2001:db8::1")).unwrap();
        assert!(rates.address(address("2001:db8::2")).is_err());
        rates.address(address("2001:db8:0:1::1")).unwrap();
    }

    #[test]
    fn without_a_limit_nobody_is_refused() {
        let rates = Rates::new(RateLimits::default());
        for _ in 0..10_000 {
            ask(&rates, "a").unwrap();
            rates.address(address("10.0.0.1")).unwrap();
        }
    }
}
