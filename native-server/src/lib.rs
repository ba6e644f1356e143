//! The native server: a writer that owns a log, or a replica that follows one, around `headwater-core`.
//!
//! [`serve::run`] is the whole node; the rest is its parts. What a command means, how a stream goes on and what a read
//! answers is decided in core: here are the clocks, sockets, disks and threads.

mod audit;
pub mod backup;
mod bell;
mod bootstrap;
pub mod cli;
mod clock;
mod http;
pub mod listener;
mod log_view;
pub mod logging;
mod observed;
pub mod parent;
mod pool;
mod process;
mod random;
mod rates;
mod reclaim;
mod refusal;
mod remedy;
mod replica;
pub mod serve;
mod server;
pub mod settings;
mod shutdown;
pub mod size;
mod stored;
pub mod tls;
mod trouble;
mod unhurried;
mod unreached;
pub mod wal;
mod whole;
mod writer;

#[cfg(feature = "fuzzing")]
pub use http::fuzzing;
