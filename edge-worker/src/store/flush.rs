//! Storing what was applied: entries, facts of collections and progress, as one transaction.

use super::rows::{self, Batch};
use super::{Held, SqliteStore, State, schema};
use crate::sql::{Bind, Sql};
use headwater_core::json::{write_string, write_u64};
use headwater_core::store::StoreError;
use std::collections::BTreeMap;
use std::sync::Arc;

impl SqliteStore {
    /// Stores everything applied so far. Does nothing when there is nothing, and, while a baseline is staged, leaves
    /// changed entries for later: the baseline was compared with the entries as stored.
    ///
    /// # Errors
    /// The database refused; nothing was stored, everything stays pending, and the next call tries again.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        let mut guard = self.0.state.borrow_mut();
        let state = &mut *guard;
        let sql = &self.0.sql;
        let rows_wait = state.staging.is_some() && (!state.pending.is_empty() || !state.dropped.is_empty());
        if rows_wait || !state.is_changed() {
            return Ok(());
        }
        sql.transaction(|| {
            write_entries(sql, state)?;
            delete_collections(sql, state.dropped.iter().filter(|name| !state.known.contains_key(*name)))?;
            write_collections(sql, state.known.values().filter(|held| held.changed))?;
            write_garbage(sql, state.discarded.iter().copied())?;
            write_meta(sql, state)
        })?;
        for (part, keys) in state.pending.iter() {
            for (key, change) in keys {
                state.cache.put(part, key, change.record.clone());
            }
        }
        state.pending = super::Pending::default();
        state.dropped.clear();
        state.discarded.clear();
        state.known.values_mut().for_each(|held| held.changed = false);
        state.meta_is_stored();
        Ok(())
    }
}

impl State {
    /// Notes that [`write_meta`] was committed.
    pub(super) fn meta_is_stored(&mut self) {
        self.progress_changed = false;
        self.stored = self.progress.complete.then_some(self.progress.position);
        self.epochs_stored = Arc::clone(&self.progress.epochs);
        self.next_part_stored = self.next_part;
    }
}

/// Stores progress and the counter of parts.
pub(super) fn write_meta(sql: &Sql, state: &State) -> Result<(), StoreError> {
    if state.next_part != state.next_part_stored {
        schema::put(sql, "next_part", &state.next_part.to_string())?;
    }
    if state.progress_changed {
        let epochs_changed = state.epochs_stored != state.progress.epochs;
        schema::put_progress(sql, &state.progress, epochs_changed)?;
    }
    Ok(())
}

fn write_entries(sql: &Sql, state: &State) -> Result<(), StoreError> {
    let (mut batch, mut gone) = (Batch::default(), Batch::default());
    let overlays: BTreeMap<u64, u64> =
        state.known.values().filter_map(|held| Some((held.parts.part, held.parts.overlay?))).collect();
    for (part, keys) in state.pending.iter() {
        let overlay = overlays.get(&part).copied();
        for (key, change) in keys {
            if let Some(overlay) = overlay {
                gone.push_key(overlay, key);
            }
            // An overlay may hide a long text in the part below.
            if change.record.is_none() || change.was_long || overlay.is_some() {
                gone.push_key(part, key);
            }
            if gone.is_full() {
                rows::delete(sql, &mut gone)?;
            }
        }
    }
    if !gone.is_empty() {
        rows::delete(sql, &mut gone)?;
    }
    for (part, keys) in state.pending.iter() {
        for record in keys.values().filter_map(|change| change.record.as_ref()) {
            if Batch::takes(record) {
                batch.push(part, record);
            } else {
                rows::write_alone(sql, part, record)?;
            }
            if batch.is_full() {
                rows::write(sql, &mut batch)?;
            }
        }
    }
    if batch.is_empty() { Ok(()) } else { rows::write(sql, &mut batch) }
}

/// Deletes the rows of collections; their entries are swept later.
pub(super) fn delete_collections<'a>(sql: &Sql, names: impl Iterator<Item = &'a Arc<str>>) -> Result<(), StoreError> {
    run_on_all(sql, "DELETE FROM collections WHERE name IN (SELECT value FROM json_each(?))", names, |json, name| {
        write_string(json, name);
    })
}

/// Stores facts and places of collections.
pub(super) fn write_collections<'a>(sql: &Sql, held: impl Iterator<Item = &'a Held>) -> Result<(), StoreError> {
    let statement = "INSERT OR REPLACE INTO collections
        SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6 FROM json_each(?)";
    run_on_all(sql, statement, held, |json, Held { facts, parts, .. }| {
        json.push(b'[');
        write_string(json, &facts.name);
        json.push(b',');
        write_u64(json, parts.part);
        match parts.overlay {
            Some(overlay) => json.extend_from_slice(format!(",{overlay}").as_bytes()),
            None => json.extend_from_slice(b",null"),
        }
        for number in [facts.created, facts.keys, facts.last_seq] {
            json.push(b',');
            write_u64(json, number);
        }
        json.extend_from_slice(format!(",\"{}\"]", facts.digest).as_bytes());
    })
}

/// Notes parts as garbage.
pub(super) fn write_garbage(sql: &Sql, parts: impl Iterator<Item = u64>) -> Result<(), StoreError> {
    run_on_all(sql, "INSERT OR IGNORE INTO garbage SELECT value FROM json_each(?)", parts, |json, part| {
        write_u64(json, part);
    })
}

/// Takes parts out of the garbage.
pub(super) fn forget_garbage(sql: &Sql, parts: impl Iterator<Item = u64>) -> Result<(), StoreError> {
    run_on_all(sql, "DELETE FROM garbage WHERE part IN (SELECT value FROM json_each(?))", parts, |json, part| {
        write_u64(json, part);
    })
}

/// Runs a statement over JSON arrays of `items`, each far below the bound of a text.
fn run_on_all<T>(
    sql: &Sql,
    statement: &str,
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) -> Result<(), StoreError> {
    let mut items = items.peekable();
    while items.peek().is_some() {
        let mut json = Vec::new();
        for item in items.by_ref().take(ITEMS_MAX) {
            json.push(if json.is_empty() { b'[' } else { b',' });
            write(&mut json, item);
        }
        json.push(b']');
        let json = String::from_utf8(json).expect("the JSON writer emits UTF-8");
        sql.run(statement, &[Bind::Text(&json)])?;
    }
    Ok(())
}

/// Collections or parts in one statement, each of at most a few hundred bytes.
const ITEMS_MAX: usize = 1_000;
