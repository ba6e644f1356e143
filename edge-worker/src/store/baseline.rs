//! Taking in a whole baseline beside the state, as the difference to it, and swapping it in.
//!
//! A collection that is held is compared, in key order, with its part as stored: changed rows and removed keys go to a
//! new part that will lie over the old one. A collection that is not held becomes a part of its own. Every new part is
//! noted as garbage before its first row, so a baseline that is cut short, by whatever, needs no cleaning up: only
//! [`SqliteStore::swap_staging`] takes parts out of the garbage. It costs by the number of collections; the rows are
//! folded in afterwards (see `fold`). One thing costs by the number of rows: keys behind the last one of a collection's
//! baseline are noted as removed at once.

use super::rows::{self, Batch};
use super::{Held, Parts, SqliteStore, flush};
use crate::sql::{Bind, Sql};
use headwater_core::record::Record;
use headwater_core::store::{Collection, Progress, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes of records gathered before they are written: a stream's chunks hold few of them.
const GATHERED_BYTES: usize = 256 << 10;

/// A baseline on its way in.
#[derive(Default)]
pub(super) struct Staging {
    done: BTreeMap<Arc<str>, Staged>,
    current: Option<Current>,
}

impl Staging {
    /// The parts being written.
    pub(super) fn parts(&self) -> impl Iterator<Item = u64> {
        self.done.values().chain(self.current.iter().map(|current| &current.staged)).map(|staged| staged.part)
    }
}

/// Where a staged collection is.
struct Staged {
    /// Its rows, or those in which it differs from `base`.
    part: u64,
    base: Option<u64>,
    /// Whether `part` has any row.
    has_rows: bool,
}

/// The collection being staged.
struct Current {
    name: Arc<str>,
    staged: Staged,
    /// The last key written and compared.
    last: Box<str>,
    gathered: Vec<Record>,
    gathered_bytes: usize,
}

impl SqliteStore {
    pub(super) fn begin_staging(&self) -> Result<(), StoreError> {
        self.give_up_staging();
        // What is compared is what is stored.
        self.flush()?;
        self.0.state.borrow_mut().staging = Some(Staging::default());
        Ok(())
    }

    pub(super) fn add_to_staging(&self, collection: &str, records: &[Record]) -> Result<(), StoreError> {
        let mut guard = self.0.state.borrow_mut();
        let state = &mut *guard;
        let Some(mut staging) = state.staging.take() else {
            return Err(StoreError("no baseline was begun".into()));
        };
        let sql = &self.0.sql;
        if staging.current.as_ref().is_none_or(|current| *current.name != *collection) {
            staging.finish_collection(sql)?;
            let base = self.0.held(state, collection)?.map(|held| held.parts.part);
            let part = state.new_part();
            let next_part = state.next_part.to_string();
            sql.transaction(|| {
                flush::write_garbage(sql, [part].into_iter())?;
                super::schema::put(sql, "next_part", &next_part)
            })?;
            state.next_part_stored = state.next_part;
            staging.current = Some(Current {
                name: collection.into(),
                staged: Staged { part, base, has_rows: false },
                last: "".into(),
                gathered: Vec::new(),
                gathered_bytes: 0,
            });
        }
        if let Some(current) = &mut staging.current {
            for record in records {
                current.gathered_bytes += record.memory_bytes();
                current.gathered.push(record.clone());
                if current.gathered_bytes >= GATHERED_BYTES {
                    current.write(sql)?;
                }
            }
        }
        // Put back only here: what failed half way is given up.
        state.staging = Some(staging);
        Ok(())
    }

    pub(super) fn swap_staging(&self, collections: Vec<Collection>, progress: &Progress) -> Result<(), StoreError> {
        let mut guard = self.0.state.borrow_mut();
        let state = &mut *guard;
        let sql = &self.0.sql;
        let mut staging = state.staging.take().ok_or_else(|| StoreError("no baseline was begun".into()))?;
        staging.finish_collection(sql)?;
        self.0.know_all(state)?;

        let mut next = BTreeMap::new();
        for facts in collections {
            let staged = staging.done.remove(&facts.name);
            let staged = staged.ok_or_else(|| StoreError(format!("{:?} was not staged", facts.name)))?;
            let parts = match staged.base {
                Some(part) => Parts { part, overlay: staged.has_rows.then_some(staged.part) },
                None => Parts { part: staged.part, overlay: None },
            };
            let before = state.known.get(&facts.name);
            let changed = before.is_none_or(|b| b.changed || b.facts != facts || b.parts != parts);
            next.insert(facts.name.clone(), Held { facts, parts, changed });
        }
        let parts_of = |known: &BTreeMap<_, Held>| -> BTreeSet<u64> {
            known.values().flat_map(|held| [held.parts.part].into_iter().chain(held.parts.overlay)).collect()
        };
        let used = parts_of(&next);
        let mut garbage = parts_of(&state.known);
        garbage.append(&mut state.discarded.clone());
        let gone = state.known.keys().chain(&state.dropped).filter(|name| !next.contains_key(*name));

        let before = std::mem::replace(&mut state.progress, progress.clone());
        let was_changed = std::mem::replace(&mut state.progress_changed, true);
        let stored = sql.transaction(|| {
            flush::delete_collections(sql, gone)?;
            flush::write_collections(sql, next.values().filter(|held| held.changed))?;
            flush::write_garbage(sql, garbage.difference(&used).copied())?;
            flush::forget_garbage(sql, used.iter().copied())?;
            flush::write_meta(sql, state)
        });
        if let Err(error) = stored {
            state.progress = before;
            state.progress_changed = was_changed;
            return Err(error);
        }
        next.values_mut().for_each(|held| held.changed = false);
        state.known = next;
        state.all_known = true;
        state.dropped.clear();
        state.discarded.clear();
        state.shown.clear();
        state.pending = super::Pending::default();
        state.cache.clear();
        state.unfolded = true;
        state.meta_is_stored();
        // They lay on what is no longer there.
        self.0.overlays.close_all();
        Ok(())
    }

    pub(super) fn give_up_staging(&self) {
        let mut state = self.0.state.borrow_mut();
        if state.staging.take().is_some() {
            state.unfolded = true;
        }
    }
}

impl Staging {
    fn finish_collection(&mut self, sql: &Sql) -> Result<(), StoreError> {
        if let Some(mut current) = self.current.take() {
            current.write(sql)?;
            if let Some(base) = current.staged.base {
                remove_span(sql, current.staged.part, base, &current.last, None, "[]")?;
            }
            let query = "SELECT 1 FROM entries WHERE part = ? LIMIT 1";
            let row = sql.row(query, &[Bind::Number(current.staged.part)], |_| Ok(()))?;
            current.staged.has_rows = row.is_some();
            self.done.insert(current.name, current.staged);
        }
        Ok(())
    }
}

impl Current {
    /// Writes what was gathered, as far as it differs.
    fn write(&mut self, sql: &Sql) -> Result<(), StoreError> {
        let gathered = std::mem::take(&mut self.gathered);
        self.gathered_bytes = 0;
        let part = self.staged.part;
        sql.transaction(|| {
            let mut batch = Batch::default();
            for (index, record) in gathered.iter().enumerate() {
                if Batch::takes(record) {
                    batch.push(part, record);
                }
                let next_is_alone = gathered.get(index + 1).is_none_or(|next| !Batch::takes(next));
                if !batch.is_empty() && (batch.is_full() || next_is_alone) {
                    self.write_batch(sql, &mut batch, record.key())?;
                }
                if !Batch::takes(record) {
                    self.write_alone(sql, record)?;
                }
            }
            Ok(())
        })
    }

    /// Writes the rows of a batch that differ; `to` is the last key in it.
    fn write_batch(&mut self, sql: &Sql, batch: &mut Batch, to: &str) -> Result<(), StoreError> {
        let Staged { part, base, .. } = self.staged;
        match base {
            None => rows::write(sql, batch)?,
            Some(base) => {
                let json = batch.take();
                let statement = "
                    INSERT INTO entries
                    SELECT new.part, new.key, new.seq, new.version, new.timestamp, new.extra_bytes, 0, new.text
                    FROM (
                        SELECT value->>0 AS part, value->>1 AS key, value->>2 AS seq, value->>3 AS version,
                            value->>4 AS timestamp, value->>5 AS extra_bytes, value->>6 AS text
                        FROM json_each(?1)
                    ) AS new LEFT JOIN entries AS old ON old.part = ?2 AND old.key = new.key
                    WHERE old.key IS NULL OR old.seq <> new.seq OR old.version <> new.version
                        OR old.timestamp <> new.timestamp OR old.extra_bytes <> new.extra_bytes
                        OR old.pieces <> 0 OR old.text <> new.text";
                sql.run(statement, &[Bind::Text(&json), Bind::Number(base)])?;
                remove_span(sql, part, base, &self.last, Some(to), &json)?;
            }
        }
        self.last = to.into();
        Ok(())
    }

    fn write_alone(&mut self, sql: &Sql, record: &Record) -> Result<(), StoreError> {
        let Staged { part, base, .. } = self.staged;
        let held = match base {
            None => None,
            Some(base) => {
                let mut key = Batch::default();
                key.push_key(base, record.key());
                remove_span(sql, part, base, &self.last, Some(record.key()), &key.take())?;
                rows::find(sql, base, record.key())?.flatten()
            }
        };
        self.last = record.key().into();
        if held.as_ref() == Some(record) { Ok(()) } else { rows::write_alone(sql, part, record) }
    }
}

/// Notes as removed what `base` holds behind `after`, up to and including `to` or to the end, except the keys in the
/// second place of `kept`'s arrays.
fn remove_span(sql: &Sql, part: u64, base: u64, after: &str, to: Option<&str>, kept: &str) -> Result<(), StoreError> {
    let statement = "
        INSERT INTO entries SELECT ?1, key, 0, 0, 0, 0, -1, '' FROM entries
        WHERE part = ?2 AND key > ?3 AND (?4 IS NULL OR key <= ?4)
            AND key NOT IN (SELECT value->>1 FROM json_each(?5))";
    let to = to.map_or(Bind::Null, Bind::Text);
    sql.run(statement, &[Bind::Number(part), Bind::Number(base), Bind::Text(after), to, Bind::Text(kept)])
}
