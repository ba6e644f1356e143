//! What the end-to-end tests share: nodes as running programs, a small client, and ways to wait and to compare.
//!
//! Tests start the very programs that `./dev` built, on free loopback ports and in temporary directories, and end them by
//! id. They wait for conditions with a deadline, never for time to pass.

pub mod client;
pub mod edge;
pub mod eventually;
pub mod node;
pub mod state;

pub use client::{Client, Reply};
pub use edge::Edge;
pub use eventually::{eventually, eventually_within};
pub use node::{Node, NodeBuilder};
pub use state::{State, state_of};
