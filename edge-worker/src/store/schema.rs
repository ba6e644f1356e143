//! The tables, and what is read of them when an object starts: a few rows, however much it holds.
//!
//! ```text
//! meta(name, value)                 format, instance, next_part; progress and epochs as JSON
//! collections(name, part, overlay)  and its facts; `overlay` names a part that is looked at before `part`
//! entries(part, key, ...)           entries by part; `pieces` -1 marks a key that an overlay takes away
//! pieces(part, key, n, text)        texts that are too long for one row
//! garbage(part)                     parts that nothing refers to: swept in bounded steps
//! ```
//!
//! A *part* is a set of rows with a number of its own. A collection is one part, or for a while two: after a baseline
//! was swapped in, the rows in which it differed lie over the collection's old part until they are folded in. A dropped
//! collection's part, a baseline given up and a replaced one are garbage the moment the one row that named them changes.

use super::sql_error;
use crate::sql::{Bind, Sql};
use headwater_core::id::Id;
use headwater_core::json;
use headwater_core::position::EpochTable;
use headwater_core::scope::Scope;
use headwater_core::store::{Progress, StoreError};
use std::collections::HashMap;
use std::sync::Arc;

/// The version of these tables.
const FORMAT: &str = "1";

// Columns in key order first and the text last: SQLite reads a row's front without the pages of a long text. No row ids:
// each entry is one row of one tree, which is also what the provider bills.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS collections (
        name TEXT PRIMARY KEY, part INTEGER NOT NULL, overlay INTEGER, created INTEGER NOT NULL, keys INTEGER NOT NULL,
        last_seq INTEGER NOT NULL, digest TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS entries (
        part INTEGER NOT NULL, key TEXT NOT NULL, seq INTEGER NOT NULL, version INTEGER NOT NULL,
        timestamp INTEGER NOT NULL, extra_bytes INTEGER NOT NULL, pieces INTEGER NOT NULL, text TEXT NOT NULL,
        PRIMARY KEY (part, key)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS pieces (
        part INTEGER NOT NULL, key TEXT NOT NULL, n INTEGER NOT NULL, text TEXT NOT NULL, PRIMARY KEY (part, key, n)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS garbage (part INTEGER PRIMARY KEY);
";

/// What an object knows when it starts.
pub(super) struct Opened {
    pub(super) instance: Id,
    pub(super) next_part: u64,
    pub(super) progress: Progress,
}

/// Makes the tables where there are none and reads how far the state is. An empty database becomes one that holds
/// nothing of `scope`, under the id `instance`.
///
/// # Errors
/// The database cannot be read, or was written by another release in a form this one does not know.
pub(super) fn open(sql: &Sql, scope: Scope, instance: Id) -> Result<Opened, StoreError> {
    sql.run(TABLES, &[])?;
    let meta = sql.rows("SELECT name, value FROM meta", &[], |row| Ok((row.text(0)?, row.text(1)?)))?;
    let meta: HashMap<String, String> = meta.into_iter().collect();
    let Some(format) = meta.get("format") else {
        sql.transaction(|| {
            put(sql, "format", FORMAT)?;
            put(sql, "instance", &instance.to_string())
        })?;
        return Ok(Opened { instance, next_part: 1, progress: Progress::new(scope) });
    };
    if format != FORMAT {
        return Err(StoreError(format!("the tables have format {format}, this release knows {FORMAT}")));
    }
    let instance = meta.get("instance").and_then(|text| text.parse().ok()).ok_or_else(|| sql_error("instance"))?;
    let next_part = match meta.get("next_part") {
        None => 1,
        Some(text) => json::unsigned(text).ok_or_else(|| sql_error("next_part"))?,
    };
    let progress = match meta.get("progress") {
        None => Progress::new(scope),
        Some(text) => {
            // No table was ever put down while it was empty.
            let epochs = match meta.get("epochs") {
                None => Arc::default(),
                Some(text) => EpochTable::from_json(text).map(Arc::new).ok_or_else(|| sql_error("epochs"))?,
            };
            let progress = Progress::from_json_with(text, Some(&epochs)).map_err(|_| sql_error("progress"))?;
            Progress { epochs, ..progress }
        }
    };
    Ok(Opened { instance, next_part, progress })
}

/// Replaces one row of `meta`.
pub(super) fn put(sql: &Sql, name: &str, value: &str) -> Result<(), StoreError> {
    sql.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", &[Bind::Text(name), Bind::Text(value)])
}

/// Replaces the progress. The table of epochs has a row of its own: it is the longest part and seldom changes.
pub(super) fn put_progress(sql: &Sql, progress: &Progress, epochs_changed: bool) -> Result<(), StoreError> {
    if epochs_changed {
        let mut epochs = Vec::new();
        progress.epochs.write_json(&mut epochs);
        put(sql, "epochs", &String::from_utf8(epochs).expect("the JSON writer emits UTF-8"))?;
    }
    put(sql, "progress", &progress.to_json_without_epochs())
}
