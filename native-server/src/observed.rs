//! What is counted deep below the node, where there is no way to its counts: facts of the process, of which a node is the
//! only one.

use headwater_core::api::{Count, Histogram};

/// How long the log's medium takes to make something durable.
pub(crate) static SYNC_DURATIONS: Histogram = Histogram::new();

/// Baselines that were stored.
pub(crate) static BASELINES_STORED: Count = Count::new();
