//! Walks through a part of a collection in key order, page by page.

use crate::record::Record;
use crate::scope::Coverage;
use crate::store::{Snapshot, SnapshotError};
use alloc::string::String;
use alloc::vec::{self, Vec};
use core::ops::Bound;

/// Entries read from the snapshot at once.
const PAGE_RECORDS: usize = 256;

/// Where a walk stands.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Prefixes to visit, in order; `""` for all keys.
    prefixes: Vec<String>,
    /// Which of them is being visited.
    index: usize,
    /// The last key visited, or the one given to start behind.
    after: Option<String>,
}

impl Scan {
    /// A walk through what `coverage` covers, in key order.
    pub fn of(coverage: Coverage<'_>) -> Self {
        let prefixes = match coverage {
            Coverage::None => Vec::new(),
            Coverage::Whole => alloc::vec![String::new()],
            Coverage::Prefixes(prefixes) => prefixes.to_vec(),
        };
        Self { prefixes, index: 0, after: None }
    }

    /// A walk through the keys that begin with `prefix` and come after `after`.
    pub fn under(prefix: &str, after: Option<&str>) -> Self {
        Self { prefixes: alloc::vec![prefix.into()], index: 0, after: after.map(Into::into) }
    }

    /// The next entries, at most about `limit`; `None` at the end. A page may be empty although more follow.
    ///
    /// # Errors
    /// Those of [`Snapshot::scan`].
    pub fn next_page(
        &mut self,
        snapshot: &impl Snapshot,
        collection: &str,
        limit: usize,
    ) -> Result<Option<Vec<Record>>, SnapshotError> {
        let Some(prefix) = self.prefixes.get(self.index) else { return Ok(None) };
        let from = match &self.after {
            Some(after) if after.as_str() >= prefix.as_str() => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix.as_str()),
        };
        let page = snapshot.scan(collection, from, limit)?;
        let mut records = page.records;
        let inside = records.partition_point(|record| record.key().starts_with(prefix.as_str()));
        let left = inside < records.len() || page.next.as_ref().is_none_or(|key| !key.starts_with(prefix.as_str()));
        records.truncate(inside);
        if left {
            self.index += 1;
            self.after = None;
        } else {
            self.after = page.next;
        }
        Ok(Some(records))
    }
}

/// A [`Scan`] taken record by record, for who hands out pieces of bounded bytes: a page may hold a great many.
#[derive(Clone, Debug)]
pub struct Walk {
    scan: Scan,
    page: vec::IntoIter<Record>,
}

impl From<Scan> for Walk {
    fn from(scan: Scan) -> Self {
        Self { scan, page: Vec::new().into_iter() }
    }
}

impl Walk {
    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// Those of [`Snapshot::scan`].
    pub fn next_record(&mut self, snapshot: &impl Snapshot, collection: &str) -> Result<Option<Record>, SnapshotError> {
        loop {
            if let Some(record) = self.page.next() {
                return Ok(Some(record));
            }
            match self.scan.next_page(snapshot, collection, PAGE_RECORDS)? {
                Some(page) => self.page = page.into_iter(),
                None => return Ok(None),
            }
        }
    }
}
