//! The edge replica: a Cloudflare Worker and a SQLite-backed Durable Object around the core.
//!
//! `front` is the Worker: it picks the region's object and falls back to the parent when that does not answer.
//! `object` is the Durable Object: it follows the parent into `store`, core's store over its SQLite, and answers
//! reads, streams and health by core's API. Writes go to the parent.

mod clock;
mod forward;
mod front;
mod http;
mod log;
mod object;
mod settings;
mod signal;
mod sql;
mod store;

#[cfg(feature = "selftest")]
mod selftest;
