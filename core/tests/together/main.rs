//! Parts of core at work together, as shells put them together, without I/O.
//!
//! One test binary. `opening`, `streams` and `ending` have the parent's side of a stream rule by rule, on the simplest
//! `parent` there is; `chain` follows a proof of freshness over two hops; `world` is a simulated deployment: writers,
//! replicas and the lines between them, on a virtual clock.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod chain;
mod credentials;
mod ending;
mod opening;
mod parent;
mod random;
mod streams;
mod world;
