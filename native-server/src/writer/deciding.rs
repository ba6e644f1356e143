//! What becomes of one write: a repeat of one that was done is answered as that was, everything else is decided anew.

use super::noting::recovered;
use super::origin::Origin;
use super::queue::WriteRequest;
use super::{LogState, Writer};
use crate::wal::{Group, GroupBuilder, ReplayRefused};
use headwater_core::command::{Line, Logged, Trust, decode};
use headwater_core::position::Position;
use headwater_core::repeats::{Answered, Seen, versions};
use headwater_core::writer::{Accepted, Refusal};

impl Writer {
    /// Decides a write and, when a line is written for it, adds its record to `group`. Returns the decision and the
    /// position it is as of: neither may be told before the last line decided so far is durable, for a repeat of one that
    /// is still under way as for everything else.
    pub(super) fn decide(
        &mut self,
        request: &WriteRequest,
        now_ms: u64,
        group: &mut GroupBuilder,
    ) -> (Result<Accepted, Refusal>, Position) {
        let state = &self.commit.around.state;
        if let Some(&mark) = request.origin.mark.as_deref() {
            match state.repeats().look(mark, now_ms) {
                Seen::New => {}
                Seen::Repeated(Answered { position, versions, .. }) => {
                    return (Ok(Accepted::Written { seq: position.seq, versions }), position);
                }
                Seen::Other => return (Err(Refusal::KeyTaken), self.sequencer.position()),
            }
        }
        self.scratch.clear();
        let decision = self.sequencer.decide(self.commit.node.store(), &request.as_write(), now_ms, &mut self.scratch);
        let position = self.sequencer.position();
        if let Ok(Accepted::Written { seq, versions }) = &decision {
            let meta = request.origin.meta();
            group.push(*seq, None, &meta, |lines| lines.extend_from_slice(&self.scratch));
            if let Some(&mark) = request.origin.mark.as_deref() {
                let (timestamp, versions) = (self.sequencer.timestamp(), versions.clone());
                state.repeats().note(mark, Answered { position, timestamp, versions });
            }
        }
        (decision, position)
    }

    /// After a failure: of the writes that were on their way to the log behind `held`, those in `found` are there and the
    /// others are not. `epoch` is that of `held`.
    pub(super) fn note_outcome(&self, held: Position, found: &Group) -> Result<(), ReplayRefused> {
        self.commit.around.state.repeats().forget_after(held.seq);
        let mut epoch = held.epoch;
        for record in found.records() {
            epoch = record.epoch.unwrap_or(epoch);
            let Line::Log(command) = decode(&record.line[..record.line.len() - 1], Trust::Canonical)? else { continue };
            note_found(&self.commit.around.state, epoch, &command, record.meta)?;
            recovered(&self.commit.around.audit, &command, Origin::read(record.meta)?.by);
        }
        Ok(())
    }
}

/// Remembers a write that was found in the log, written in `epoch`.
///
/// # Errors
/// When what is stored beside it cannot be read.
pub(super) fn note_found(state: &LogState, epoch: u64, command: &Logged<'_>, meta: &[u8]) -> Result<(), ReplayRefused> {
    if let Some(mark) = Origin::read(meta)?.mark {
        let position = Position { epoch, seq: command.seq };
        let (timestamp, versions) = (command.timestamp, versions(&command.action));
        state.repeats().note(*mark, Answered { position, timestamp, versions });
    }
    Ok(())
}
