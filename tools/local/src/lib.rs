//! Starts Headwater's real programs on this machine and stops them by process id.
//!
//! `./dev run` shows the system with it, and the end-to-end tests drive it: a writer or replica ([`server`]), the edge
//! worker in workerd ([`edge`]), each a [`program::Program`] that listens on a loopback port of its own choosing and
//! says which. Dropping a program kills it, so a failed test leaves nothing behind.
//!
//! It builds nothing: [`tools::Tools`] says where `./dev` has put what it starts.

pub mod certificates;
pub mod edge;
pub mod program;
pub mod server;
pub mod tools;
