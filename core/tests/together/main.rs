//! Parts of core at work together, as shells put them together, without I/O.
//!
//! One test binary. `world` is a simulated deployment: writers, replicas and the lines between them, on a virtual clock.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod random;
mod world;
