//! The deterministic heart of Headwater: what a command means, what a node holds, what a stream says.
//!
//! Everything here is compiled unchanged into the native server, the edge worker and the browser. Nothing here reads a
//! clock, a random source, a file or a socket: the host (a *shell*) hands in bytes, times and ids, and carries out what
//! comes back.
//!
//! # What a shell must do
//!
//! 1. Keep a [`store::Store`] and put it into a [`node::Node`] together with the node's identity.
//! 2. On a writer: pass every write through [`writer::Sequencer`], make the encoded lines durable in the log, and only
//!    then [`node::Node::publish`] them; send every answer after the last line it was decided on is durable.
//! 3. On a replica: open the stream its [`replica::Replica`] asks for, feed every chunk of bytes to
//!    [`replica::Replica::receive`] with the time of arrival, and drop the connection when it returns an offence or when
//!    [`replica::Replica::deadline`] has passed.
//! 4. Persist what the store calls durable: entries and progress always in one step.
//! 5. Serve children with [`stream::Stream`]: poll it, write what it yields, wake it after each publication
//!    (or those alone that [`node::Node::stirred`] names, and the others once a second).
//! 6. Answer reads with [`api`], whose bytes are the same on every shell.
#![no_std]

extern crate alloc;
// Only for its locks, which native threads need and `alloc` lacks; everything else of std is banned in `clippy.toml`.
extern crate std;

pub mod api;
pub mod apply;
pub mod baseline;
pub mod clock;
pub mod command;
pub mod credentials;
pub mod digest;
pub mod feed;
pub mod freshness;
pub mod hex;
pub mod id;
pub mod json;
pub mod limits;
pub mod name;
pub mod network;
pub mod node;
pub mod position;
pub mod record;
pub mod repeats;
pub mod replica;
pub mod scope;
pub mod shares;
pub mod store;
pub mod stream;
#[cfg(any(test, feature = "model"))]
pub mod vectors;
pub mod writer;
