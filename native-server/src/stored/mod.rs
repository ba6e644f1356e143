//! A node's state as it is stored, in a log's baseline or on a replica's own disk, and the way back: [`pieces`] writes it,
//! [`restore`] reads it, both the same for writers and replicas.

mod pieces;
mod repeats;
mod restore;

pub(crate) use pieces::{StatePiece, StatePieces};
pub(crate) use repeats::repeats_piece;
pub(crate) use restore::Restore;

use serde::{Deserialize, Serialize};

/// What belongs to a state and its lines do not say, one JSON object a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Beside {
    /// The last command of a collection, where it left no entry that would tell: a DELETE, or one that was kept unknown.
    LastSeq { collection: String, seq: u64 },
    /// A write that may be sent again, and its answer.
    Repeatable(repeats::Repeatable),
}
