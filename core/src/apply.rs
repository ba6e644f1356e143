//! What a command does to a store: the one place where entries, counts and digests follow from a line.

use crate::command::{Action, Logged};
use crate::digest::Digest;
use crate::position::{EpochStart, Position, Term};
use crate::record::{Parts, Record};
use crate::store::{Collection, Effect, Store, StoreError, Write};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// Why a command cannot be applied. The state is unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// A CREATE of a collection that is held: a DROP was lost.
    CollectionHeld(String),
    /// A command on a collection that is not held: its CREATE was lost.
    CollectionMissing(String),
    /// An EPOCH not above the ones before it: this is no line of this history.
    EpochNotAbove(u64),
    /// The store failed.
    Store(StoreError),
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CollectionHeld(name) => write!(f, "CREATE of the collection {name:?}, which is held"),
            Self::CollectionMissing(name) => write!(f, "a command on the collection {name:?}, which is not held"),
            Self::EpochNotAbove(epoch) => write!(f, "EPOCH {epoch} is not above the ones before it"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ApplyError {}

impl From<StoreError> for ApplyError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Applies one command and moves the position to it. Costs one read of each entry it writes.
///
/// The caller has made sure that it is the next one (see [`crate::replica`]) or reads its own log.
///
/// # Errors
/// See [`ApplyError`]. Nothing is half applied.
pub fn apply<S: Store>(store: &S, command: &Logged<'_>, scratch: &mut Vec<u8>) -> Result<(), ApplyError> {
    let position = Position { epoch: store.position().epoch, seq: command.seq };
    let name = command.collection.as_deref();
    match &command.action {
        Action::Epoch { epoch, cluster, requires, takeover, .. } => {
            let mut progress = store.progress();
            let start = EpochStart { epoch: *epoch, first: command.seq };
            if !Arc::make_mut(&mut progress.epochs).push(start) {
                return Err(ApplyError::EpochNotAbove(*epoch));
            }
            progress.position = Position { epoch: *epoch, seq: command.seq };
            progress.cluster = Some(*cluster);
            progress.timestamp = command.timestamp;
            // A release that knows of no takeover leaves it out: what was taken over once stays so.
            progress.takeover = progress.takeover.max(*takeover);
            progress.accept(Term { takeover: progress.takeover, epoch: *epoch });
            progress.requires = requires.iter().map(|name| String::from(&**name)).collect();
            Ok(store.set_progress(&progress)?)
        }
        Action::Unknown { .. } => match name.map(|name| store.collection(name)).transpose()?.flatten() {
            None => Ok(store.apply(&Effect::None, position, command.timestamp)?),
            Some(before) => {
                let after = Collection { last_seq: command.seq, ..before.clone() };
                Ok(store.apply(&Effect::Write { before: &before, after, writes: &[] }, position, command.timestamp)?)
            }
        },
        Action::Create => {
            let name = name.unwrap_or_default();
            if store.collection(name)?.is_some() {
                return Err(ApplyError::CollectionHeld(name.into()));
            }
            Ok(store.apply(&Effect::Create(Collection::new(name.into(), command.seq)), position, command.timestamp)?)
        }
        Action::Drop => Ok(store.apply(&Effect::Drop(&held(store, name)?), position, command.timestamp)?),
        Action::Set { .. } | Action::Delete { .. } | Action::Batch(_) => {
            let before = held(store, name)?;
            apply_writes(store, command, &before, position, scratch)
        }
    }
}

fn held<S: Store>(store: &S, name: Option<&str>) -> Result<Collection, ApplyError> {
    let name = name.unwrap_or_default();
    store.collection(name)?.ok_or_else(|| ApplyError::CollectionMissing(name.into()))
}

fn apply_writes<S: Store>(
    store: &S,
    command: &Logged<'_>,
    before: &Collection,
    position: Position,
    scratch: &mut Vec<u8>,
) -> Result<(), ApplyError> {
    let mut after = Collection { last_seq: command.seq, ..before.clone() };
    let mut write = |key, new: Option<Record>| -> Result<Write<'_>, StoreError> {
        let old = store.record(&before.name, key)?;
        if let Some(old) = &old {
            after.digest.subtract(old.digest(&before.name, scratch));
            after.keys -= 1;
        }
        if let Some(new) = &new {
            after.digest.add(new.digest(&before.name, scratch));
            after.keys += 1;
        }
        Ok(Write { key, old, new })
    };
    let record = |key: &str, version, value: &str, extra: &str| {
        Some(Record::new(Parts { key, value, seq: command.seq, version, timestamp: command.timestamp, extra }))
    };
    match &command.action {
        Action::Set { key, version, value } => {
            let writes = [write(key, record(key, *version, value, &command.extra))?];
            store.apply(&Effect::Write { before, after, writes: &writes }, position, command.timestamp)?;
        }
        Action::Delete { key, .. } => {
            let writes = [write(key, None)?];
            store.apply(&Effect::Write { before, after, writes: &writes }, position, command.timestamp)?;
        }
        Action::Batch(ops) => {
            let mut writes = Vec::with_capacity(ops.len());
            for op in ops {
                let new = op.value.and_then(|value| record(&op.key, op.version, value, &op.extra));
                writes.push(write(&op.key, new)?);
            }
            store.apply(&Effect::Write { before, after, writes: &writes }, position, command.timestamp)?;
        }
        _ => {}
    }
    Ok(())
}

/// The digest of a scope of whole collections: the sum of what its collections add.
pub fn scope_digest<'a>(collections: impl IntoIterator<Item = &'a Collection>) -> Digest {
    let mut sum = Digest::EMPTY;
    for collection in collections {
        sum.add(Digest::of_collection(&collection.name, collection.created, collection.digest));
    }
    sum
}
