//! A state, piece by piece.

use super::Beside;
use crate::wal::{BaselinePiece, StateFacts};
use headwater_core::apply::scope_digest;
use headwater_core::baseline::Baseline;
use headwater_core::scope::Scope;
use headwater_core::store::{Progress, Snapshot, SnapshotError};
use std::sync::Arc;

/// One piece of a state. What its text means is [`BaselinePiece`]'s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StatePiece {
    Lines(Vec<u8>),
    Beside(Vec<u8>),
    Progress(String),
}

impl StatePiece {
    /// The same as a log takes it.
    pub(crate) fn as_baseline(&self) -> BaselinePiece<'_> {
        match self {
            Self::Lines(text) => BaselinePiece::Lines(text),
            Self::Beside(text) => BaselinePiece::Beside(text),
            Self::Progress(text) => BaselinePiece::Progress(text.as_bytes()),
        }
    }
}

/// The pieces of a snapshot's state, in order.
#[derive(Debug)]
pub(crate) struct StatePieces<P> {
    snapshot: Arc<P>,
    next: Next<P>,
}

#[derive(Debug)]
enum Next<P> {
    Lines(Box<Baseline<P>>),
    Beside,
    Progress,
    Nothing,
}

impl<P: Snapshot> StatePieces<P> {
    pub(crate) fn new(snapshot: Arc<P>) -> Self {
        // All that is held, whatever the scope: a state that was narrowed holds more until a parent's baseline replaces it.
        let baseline = Baseline::new(snapshot.clone(), &Scope::Everything);
        Self { snapshot, next: Next::Lines(Box::new(baseline)) }
    }

    /// What the state is known by.
    pub(crate) fn facts(&self) -> StateFacts {
        let collections = self.snapshot.collections();
        StateFacts {
            seq: self.progress().position.seq,
            keys: collections.iter().map(|facts| facts.keys).sum(),
            digest: format!("xxh3:{}", scope_digest(collections)),
        }
    }

    pub(crate) fn progress(&self) -> &Progress {
        self.snapshot.progress()
    }

    /// The next piece; `None` behind the last.
    ///
    /// # Errors
    /// Those of [`Snapshot::scan`]; there are no further pieces then.
    pub(crate) fn next_piece(&mut self) -> Result<Option<StatePiece>, SnapshotError> {
        match &mut self.next {
            Next::Lines(baseline) => {
                let mut lines = Vec::new();
                if baseline.piece(&Scope::Everything, &mut lines)?.is_last {
                    self.next = Next::Beside;
                }
                Ok(Some(StatePiece::Lines(lines)))
            }
            Next::Beside => {
                self.next = Next::Progress;
                Ok(Some(StatePiece::Beside(self.beside())))
            }
            Next::Progress => {
                self.next = Next::Nothing;
                Ok(Some(StatePiece::Progress(self.progress().to_json())))
            }
            Next::Nothing => Ok(None),
        }
    }

    fn beside(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for facts in self.snapshot.collections() {
            let beside = Beside::LastSeq { collection: facts.name.to_string(), seq: facts.last_seq };
            serde_json::to_writer(&mut text, &beside).expect("names and numbers serialise");
            text.push(b'\n');
        }
        text
    }
}
