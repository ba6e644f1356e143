//! How commands come into store and feed together.

use super::Shared;
use crate::apply::{ApplyError, apply};
use crate::command::{Action, Logged};
use crate::digest::Digest;
use crate::feed::Draft;
use crate::name;
use crate::store::{Collection, Store, StoreError};
use alloc::borrow::Cow;
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Range;
use std::sync::MutexGuard;

/// Commands on their way into store and feed. What was applied is fed when this is dropped.
pub struct Publication<'n, S: Store> {
    store: &'n S,
    shared: MutexGuard<'n, Shared<S>>,
    block: Bytes,
    range: Range<usize>,
    draft: Draft,
    follows_digests: bool,
}

impl<'n, S: Store> Publication<'n, S> {
    pub(super) fn new(store: &'n S, shared: MutexGuard<'n, Shared<S>>) -> Self {
        let follows_digests = shared.feed.follows_digests();
        Self { store, shared, block: Bytes::new(), range: 0..0, draft: Draft::default(), follows_digests }
    }

    /// Applies one command whose line, newline included, is `block[range]`. Lines that follow one another in the same
    /// block are fed as one piece.
    ///
    /// # Errors
    /// See [`ApplyError`]; this command is neither applied nor fed, those before it are.
    pub fn apply(&mut self, command: &Logged<'_>, block: &Bytes, range: Range<usize>) -> Result<(), ApplyError> {
        let continues = self.block.as_ptr() == block.as_ptr()
            && self.block.len() == block.len()
            && self.range.end == range.start
            && !self.draft.is_empty();
        if !continues {
            self.feed();
            self.block = block.clone();
            self.range = range.start..range.start;
        }
        if let Some(name) = command.collection.as_deref()
            && self.draft.touch(name)
            && self.follows_digests
        {
            match term(self.store, name) {
                Ok(before) => self.draft.subtract(before),
                Err(error) => {
                    self.shared.feed.forget_digests();
                    self.follows_digests = false;
                    return Err(error.into());
                }
            }
        }
        apply(self.store, command, &mut self.shared.scratch)?;
        if command.collection.as_deref() == Some(name::KEYS) {
            self.shared.keys_version += 1;
        }
        let start = self.range.start;
        let key = key_place(command, block, &range).map_or(0..0, |key| key.start - start..key.end - start);
        self.draft.push(command, range.start - start, key);
        self.range.end = range.end;
        self.shared.feed.head = self.store.position();
        Ok(())
    }

    fn feed(&mut self) {
        let draft = core::mem::take(&mut self.draft);
        if draft.is_empty() {
            return;
        }
        let mut terms = Vec::new();
        if self.follows_digests {
            let now: Result<Vec<_>, StoreError> = draft.touched().map(|name| term(self.store, &name)).collect();
            terms = now.unwrap_or_else(|_| {
                self.shared.feed.forget_digests();
                Vec::new()
            });
        }
        let block = self.block.slice(self.range.clone());
        self.shared.feed.publish(draft.finish(block, terms));
    }
}

impl<S: Store> Drop for Publication<'_, S> {
    fn drop(&mut self) {
        self.feed();
    }
}

/// What a collection adds to the digest of a scope; nothing when it does not exist.
pub(super) fn term<S: Store>(store: &S, name: &str) -> Result<Digest, StoreError> {
    let of = |facts: Collection| Digest::of_collection(&facts.name, facts.created, facts.digest);
    Ok(store.collection(name)?.map_or(Digest::EMPTY, of))
}

/// Where in `block` the key of a SET or DELETE stands as it is, if the command was read from `block[range]`.
fn key_place(command: &Logged<'_>, block: &Bytes, range: &Range<usize>) -> Option<Range<usize>> {
    let (Action::Set { key: Cow::Borrowed(key), .. } | Action::Delete { key: Cow::Borrowed(key), .. }) =
        &command.action
    else {
        return None;
    };
    let start = (key.as_ptr() as usize).checked_sub(block.as_ptr() as usize)?;
    let place = start..start.checked_add(key.len())?;
    (place.start >= range.start && place.end <= range.end).then_some(place)
}
