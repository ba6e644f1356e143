//! A baseline while it comes in, from a parent or from a replica's own disk: checked line by line, staged apart, worthless
//! until its end.

use super::offence::Offence;
use crate::apply::scope_digest;
use crate::command::{Action, Logged, Ready};
use crate::digest::Digest;
use crate::record::{Parts, Record};
use crate::scope::Scope;
use crate::store::{Collection, Store};
use alloc::string::String;
use alloc::vec::Vec;

/// Records handed to the store at once.
const RECORDS_MAX: usize = 512;
/// Bytes of records handed to the store at once.
const BYTES_MAX: usize = 1 << 20;

/// A baseline that is being taken in. Where it does not come to its end, [`Store::unstage`] throws it away.
#[derive(Debug)]
pub struct Staging {
    /// The seq the baseline is exact at.
    seq: u64,
    scope: Scope,
    current: Option<Current>,
    done: Vec<Collection>,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Current {
    facts: Collection,
    last_key: String,
    pending: Vec<Record>,
    pending_bytes: usize,
}

impl Staging {
    /// Begins one in `store` that is exact at `seq`, within `scope`.
    ///
    /// # Errors
    /// Those of [`Store::stage`].
    pub fn begin<S: Store>(store: &S, seq: u64, scope: Scope) -> Result<Self, Offence> {
        store.stage()?;
        Ok(Self { seq, scope, current: None, done: Vec::new(), scratch: Vec::new() })
    }

    /// BASELINE_BEGIN.
    ///
    /// # Errors
    /// [`Offence::Baseline`], or [`Offence::OutsideScope`].
    pub fn collection_begins(&mut self, name: &str, created: u64) -> Result<(), Offence> {
        if self.current.is_some() {
            return Err(Offence::Baseline("BASELINE_BEGIN within a collection"));
        }
        if self.done.last().is_some_and(|last| *last.name >= *name) {
            return Err(Offence::Baseline("collections out of order"));
        }
        if created > self.seq {
            return Err(Offence::Baseline("a collection created after the baseline"));
        }
        if !self.scope.touches(name) {
            return Err(Offence::OutsideScope { seq: created });
        }
        let facts = Collection::new(name.into(), created);
        self.current = Some(Current { facts, last_key: String::new(), pending: Vec::new(), pending_bytes: 0 });
        Ok(())
    }

    /// An entry.
    ///
    /// # Errors
    /// [`Offence::Baseline`], [`Offence::OutsideScope`], or those of [`Store::stage_records`].
    pub fn entry<S: Store>(&mut self, store: &S, entry: &Logged<'_>) -> Result<(), Offence> {
        let (Some(current), Action::Set { key, version, value }) = (&mut self.current, &entry.action) else {
            return Err(Offence::Baseline("an entry outside a collection"));
        };
        let name = &*current.facts.name;
        if entry.collection.as_deref() != Some(name) {
            return Err(Offence::Baseline("an entry of another collection"));
        }
        if **key <= *current.last_key {
            return Err(Offence::Baseline("keys out of order"));
        }
        if entry.seq > self.seq {
            return Err(Offence::Baseline("an entry written after the baseline"));
        }
        if !self.scope.covers_key(name, key) {
            return Err(Offence::OutsideScope { seq: entry.seq });
        }
        let parts =
            Parts { key, value, seq: entry.seq, version: *version, timestamp: entry.timestamp, extra: &entry.extra };
        let record = Record::new(parts);
        current.facts.digest.add(record.digest(name, &mut self.scratch));
        current.facts.keys += 1;
        current.facts.last_seq = current.facts.last_seq.max(entry.seq);
        current.last_key = (**key).into();
        current.pending_bytes += record.memory_bytes();
        current.pending.push(record);
        if current.pending.len() >= RECORDS_MAX || current.pending_bytes >= BYTES_MAX {
            store.stage_records(&current.facts.name, &current.pending)?;
            current.pending.clear();
            current.pending_bytes = 0;
        }
        Ok(())
    }

    /// BASELINE_END, with its count and digest.
    ///
    /// # Errors
    /// [`Offence::Baseline`], or those of [`Store::stage_records`].
    pub fn collection_ends<S: Store>(
        &mut self,
        store: &S,
        name: &str,
        keys: u64,
        digest: Digest,
    ) -> Result<(), Offence> {
        let Some(current) = self.current.take().filter(|current| *current.facts.name == *name) else {
            return Err(Offence::Baseline("BASELINE_END of a collection that was not begun"));
        };
        if current.facts.keys != keys {
            return Err(Offence::Baseline("a collection's count differs"));
        }
        if current.facts.digest != digest {
            return Err(Offence::Baseline("a collection's digest differs"));
        }
        store.stage_records(&current.facts.name, &current.pending)?;
        self.done.push(current.facts);
        Ok(())
    }

    /// Everything is in: returns the facts of the collections, for [`Store::swap`].
    ///
    /// # Errors
    /// [`Offence::Baseline`] within a collection.
    pub fn end(self) -> Result<Vec<Collection>, Offence> {
        match self.current {
            Some(_) => Err(Offence::Baseline("the baseline ends within a collection")),
            None => Ok(self.done),
        }
    }

    /// [`Staging::end`], if READY agrees.
    pub(super) fn finish(self, ready: &Ready) -> Result<Vec<Collection>, Offence> {
        if self.current.is_some() {
            return Err(Offence::Baseline("READY within a collection"));
        }
        if ready.seq != self.seq {
            return Err(Offence::Baseline("READY's seq is not HELLO's"));
        }
        if ready.collections != self.done.len() as u64 {
            return Err(Offence::Baseline("the number of collections differs"));
        }
        if ready.digest != scope_digest(&self.done) {
            return Err(Offence::Baseline("the scope's digest differs"));
        }
        self.end()
    }
}
