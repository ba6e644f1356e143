//! Parts of core at work together, as shells put them together, without I/O.
//!
//! One test binary. `streams` has the parent's side of a stream rule by rule, on the simplest `parent` there is; `world`
//! is a simulated deployment: writers, replicas and the lines between them, on a virtual clock.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod parent;
mod random;
mod streams;
mod world;
