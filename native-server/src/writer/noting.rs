//! What the audit log is told of writes: each that is durable, once, by whom and from where.

use super::origin::Origin;
use super::queue::{RequestAction, WriteRequest};
use crate::audit::{Audit, Changes, Event, Op, Way};
use crate::wal::Group;
use headwater_core::api::KeyFate;
use headwater_core::command::{Action, Logged};
use headwater_core::name;
use headwater_core::writer::{Accepted, Refusal};

/// The writes of one group.
pub(super) struct Noting<'a> {
    audit: &'a Audit,
    /// Seqs up to this one were noted, or were written before.
    through: u64,
}

impl<'a> Noting<'a> {
    pub(super) fn of(audit: &'a Audit, group: &Group) -> Self {
        let first = group.records().next().map_or(u64::MAX, |record| record.seq);
        Self { audit, through: first.saturating_sub(1) }
    }

    /// Seq and first version of what was written for a request; `None` for what changed nothing, as a repeat does.
    pub(super) fn is_new(&mut self, decision: &Result<Accepted, Refusal>) -> Option<(u64, u64)> {
        let Ok(Accepted::Written { seq, versions }) = decision else { return None };
        if *seq <= self.through {
            return None;
        }
        self.through = *seq;
        Some((*seq, versions.first().copied().unwrap_or(0)))
    }

    pub(super) fn note(&self, request: WriteRequest, seq: u64, version: u64) {
        let op = request.op();
        let WriteRequest { collection, action, fate, origin: Origin { by, peer, .. }, .. } = request;
        let event = match action {
            RequestAction::Entry { key: id, value, .. } if collection == name::KEYS => {
                let fate = fate.unwrap_or_else(|| fate_of(value.is_some(), version));
                Event::Credential { fate, id, seq, by, peer }
            }
            _ => Event::Changes(Changes { op, collection, by, peer, way: Way::Written, seqs: vec![(seq, seq)] }),
        };
        self.audit.note(event);
    }
}

/// What became of a key, as far as its record tells: whether it has other rights or another secret it does not.
fn fate_of(is_set: bool, version: u64) -> KeyFate {
    match (is_set, version) {
        (false, _) => KeyFate::Revoked,
        (true, 1) => KeyFate::Created,
        (true, _) => KeyFate::Changed,
    }
}

/// Notes a write that was found in the log after a failure.
pub(super) fn recovered(audit: &Audit, command: &Logged<'_>, by: String) {
    let op = match &command.action {
        Action::Create => Op::Create,
        Action::Drop => Op::Drop,
        Action::Set { .. } => Op::Set,
        Action::Delete { .. } => Op::Delete,
        Action::Batch(_) => Op::Batch,
        // An opening is told of by the node's start.
        _ => return,
    };
    let (collection, seq) = (command.collection.as_deref().unwrap_or_default(), command.seq);
    audit.note(match &command.action {
        Action::Set { key, version, .. } | Action::Delete { key, version } if collection == name::KEYS => {
            let (id, fate) = (key.clone().into_owned(), fate_of(op == Op::Set, *version));
            Event::Credential { fate, id, seq, by, peer: None }
        }
        _ => {
            let (collection, seqs) = (collection.into(), vec![(seq, seq)]);
            Event::Changes(Changes { op, collection, by, peer: None, way: Way::Recovered, seqs })
        }
    });
}
