//! What the end-to-end tests share: nodes as running programs, a small client, and ways to wait and to compare.
//!
//! Tests start the very programs that `./dev` built, on free loopback ports and in temporary directories, and end them by
//! id. They wait for conditions with a deadline, never for time to pass. What every kind of replica must live through is
//! written once, in [`faults`], [`kills`] and [`bulk`], for any [`Follower`].

pub mod bulk;
pub mod client;
pub mod disk;
pub mod edge;
pub mod eventually;
pub mod faults;
pub mod follower;
pub mod http;
pub mod injection;
pub mod kills;
pub mod lines;
pub mod load;
pub mod machine;
pub mod medium;
pub mod moment;
pub mod node;
pub mod page;
pub mod prometheus;
pub mod random;
pub mod raw;
pub mod relay;
pub mod replication;
pub mod scene;
pub mod schema;
pub mod state;
pub mod stub;
pub mod tape;
pub mod task;
pub mod vectors;
pub mod wire;

pub use client::{Client, Reply};
pub use edge::Edge;
pub use eventually::{eventually, eventually_within};
pub use follower::{Follower, NOTICED_WITHIN, PING_MS};
pub use lines::Lines;
pub use load::Load;
pub use node::{Node, NodeBuilder};
pub use page::Page;
pub use random::Random;
pub use relay::{Fate, Relay};
pub use replication::{LAG_PRECISION_MS, Replication, converge, lags_truly};
pub use scene::{behind_relay, build_writer, write, writer};
pub use state::{State, state_of};
pub use stub::{Stub, Visit};
pub use vectors::{Outcome, PIECES, Play, Vector, vectors};
