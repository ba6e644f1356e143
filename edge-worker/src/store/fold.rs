//! Work that waits until there is time: folding a swapped baseline's differences into the parts they lie over, and
//! sweeping garbage. In bounded steps; what is read does not change by any of them, and a restart goes on where it was.

use super::{Parts, SqliteStore, rows};
use crate::sql::Bind;
use headwater_core::store::StoreError;

impl SqliteStore {
    /// Whether [`Self::fold_step`] may have something to do.
    pub(crate) fn needs_fold(&self) -> bool {
        self.0.state.borrow().unfolded
    }

    /// Moves or removes up to `rows_max` rows. Returns whether there may be more to do.
    ///
    /// # Errors
    /// The database refused; the step was not made.
    pub(crate) fn fold_step(&self, rows_max: u64) -> Result<bool, StoreError> {
        // Collections as stored decide what is folded and what is garbage.
        self.flush()?;
        let more = self.fold(rows_max)? || self.sweep(rows_max)?;
        self.0.state.borrow_mut().unfolded = more;
        Ok(more)
    }

    /// Folds a piece of one overlay. Returns whether there was one.
    fn fold(&self, rows_max: u64) -> Result<bool, StoreError> {
        let mut state = self.0.state.borrow_mut();
        // A baseline being staged was compared with the part below.
        if state.staging.is_some() {
            return Ok(false);
        }
        let sql = &self.0.sql;
        let query = "SELECT name, part, overlay FROM collections WHERE overlay IS NOT NULL LIMIT 1";
        let found = sql.row(query, &[], |row| Ok((row.text(0)?, row.number(1)?, row.number(2)?)))?;
        let Some((name, part, overlay)) = found else {
            return Ok(false);
        };
        let nth = "SELECT key FROM entries WHERE part = ? ORDER BY key LIMIT 1 OFFSET ?";
        let end = sql.row(nth, &[Bind::Number(overlay), Bind::Number(rows_max)], |row| row.text(0))?;
        let bound = end.as_deref().map_or(Bind::Null, Bind::Text);
        sql.transaction(|| {
            for statement in [
                "DELETE FROM pieces WHERE part = ?1 AND key IN (
                    SELECT key FROM entries WHERE part = ?2 AND (?3 IS NULL OR key < ?3))",
                "UPDATE pieces SET part = ?1 WHERE part = ?2 AND (?3 IS NULL OR key < ?3)",
                "DELETE FROM entries WHERE part = ?1 AND key IN (
                    SELECT key FROM entries WHERE part = ?2 AND (?3 IS NULL OR key < ?3) AND pieces < 0)",
                "INSERT OR REPLACE INTO entries
                    SELECT ?1, key, seq, version, timestamp, extra_bytes, pieces, text
                    FROM entries WHERE part = ?2 AND (?3 IS NULL OR key < ?3) AND pieces >= 0",
            ] {
                sql.run(statement, &[Bind::Number(part), Bind::Number(overlay), bound])?;
            }
            let folded = "DELETE FROM entries WHERE part = ?1 AND (?2 IS NULL OR key < ?2)";
            sql.run(folded, &[Bind::Number(overlay), bound])?;
            match end {
                Some(_) => Ok(()),
                None => sql.run("UPDATE collections SET overlay = NULL WHERE name = ?", &[Bind::Text(&name)]),
            }
        })?;
        if end.is_none()
            && let Some(held) = state.known.get_mut(name.as_str())
        {
            held.parts = Parts { part, overlay: None };
        }
        Ok(true)
    }

    /// Sweeps a piece of one part of the garbage. Returns whether there was one.
    fn sweep(&self, rows_max: u64) -> Result<bool, StoreError> {
        let mut state = self.0.state.borrow_mut();
        if !self.0.overlays.any_open() {
            state.shown.clear();
        }
        let sql = &self.0.sql;
        let staged: Vec<u64> = state.staging.iter().flat_map(super::Staging::parts).collect();
        let parts = sql.rows("SELECT part FROM garbage", &[], |row| row.number(0))?;
        let Some(part) = parts.into_iter().find(|part| !state.shown.contains(part) && !staged.contains(part)) else {
            return Ok(false);
        };
        sql.transaction(|| {
            if !rows::sweep(sql, part, rows_max)? {
                sql.run("DELETE FROM garbage WHERE part = ?", &[Bind::Number(part)])?;
            }
            Ok(())
        })?;
        Ok(true)
    }
}
