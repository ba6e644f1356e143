//! What a disk does not do at this time, in words and since when: for the node's status.

use crate::clock::wall_ms;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// What, the last time it failed.
    pub(crate) message: String,
    /// Since when, in Unix milliseconds: the first of the failures in a row.
    pub(crate) since_ms: u64,
}

/// A place for it.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Mutex<Option<Trouble>>);

impl Troubles {
    /// It failed, so.
    pub(crate) fn failed(&self, message: String) {
        let mut trouble = self.lock();
        let since_ms = trouble.as_ref().map_or_else(wall_ms, |trouble| trouble.since_ms);
        *trouble = Some(Trouble { message, since_ms });
    }

    /// It works again.
    pub(crate) fn is_over(&self) {
        *self.lock() = None;
    }

    /// How it stands.
    pub(crate) fn now(&self) -> Option<Trouble> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Trouble>> {
        // It is only ever assigned to.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
