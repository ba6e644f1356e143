//! Tests of the edge worker in the real runtime. The native nodes alone are in `../e2e`.

mod answers;
mod bodies;
mod bulk;
mod faults;
mod keys;
mod kills;
mod provider;
mod run;
mod shares;
mod store;
