//! The front door: takes connections, keeps them within their bounds, and hands their requests to the HTTP service.
//!
//! What arrives is read strictly (`framing`) and timed (`guarded` by its `clock`) before the HTTP library sees it, and what
//! of an answer is not taken is given up (`paced` for HTTP/2); how many there may be is `caps`'s business. Nothing here knows what a
//! request means.

mod accept;
mod caps;
mod clock;
mod connection;
mod frames;
mod framing;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod guarded;
mod limits;
mod link;
mod paced;
mod unasked;

pub(crate) use accept::serve;
pub(crate) use framing::{HeadLimits, Violation};
pub(crate) use limits::{ConnectionLimits, Pace};
pub(crate) use link::{Answering, Lines, Link, Refused};
