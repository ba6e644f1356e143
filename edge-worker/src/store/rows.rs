//! Entries as rows: reading them one by one or in order, and writing many with one statement.
//!
//! Many rows travel as one JSON text of arrays of numbers and strings. A value's text is a *string* in it, never JSON of
//! its own, since SQLite would respell its numbers. A text too long for that goes alone, and one too long for a row in
//! pieces: the provider bounds a row, a string and a bound value at 2 MB each.

use crate::sql::{Bind, Row, Sql};
use headwater_core::json::{write_string, write_u64};
use headwater_core::record::{Parts, Record};
use headwater_core::store::StoreError;
use std::ops::Bound;

/// Longest text in one row; the key and the numbers beside it stay far below the remaining 200 kB.
const PIECE_BYTES: usize = 1_800_000;

/// Longest JSON text that carries rows. A record may make it longer by itself: see [`Batch::takes`].
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Longest text of a record that travels with others: escaped, it at most sextuples.
const BATCHED_TEXT_BYTES_MAX: usize = 64 * 1024;

/// Most bytes of texts read at once.
const PAGE_BYTES_MAX: u64 = 1 << 20;

/// Most rows read at once.
const PAGE_ROWS_MAX: usize = 1_000;

/// What `pieces` says of a key that an overlay takes away.
const REMOVED: i64 = -1;

/// Consecutive keys of one place with what they hold, `None` for removed; complete up to and including `until`, or to
/// the end.
pub(super) struct Run {
    pub(super) items: Vec<(Box<str>, Option<Record>)>,
    pub(super) until: Option<Box<str>>,
}

impl Run {
    /// Both runs as one, where `self` says what a key holds if both know it.
    pub(super) fn over(self, under: Self) -> Self {
        let until = match (self.until, under.until) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let known = |item: &(Box<str>, _)| until.as_ref().is_none_or(|until| item.0 <= *until);
        let mut over = self.items.into_iter().filter(known).peekable();
        let mut items = Vec::with_capacity(under.items.len());
        for item in under.items.into_iter().filter(known) {
            while let Some(before) = over.next_if(|next| next.0 < item.0) {
                items.push(before);
            }
            match over.next_if(|next| next.0 == item.0) {
                Some(instead) => items.push(instead),
                None => items.push(item),
            }
        }
        items.extend(over);
        Self { items, until }
    }
}

const COLUMNS: &str = "key, seq, version, timestamp, extra_bytes, pieces, text";

fn read_row(sql: &Sql, part: u64, row: &Row) -> Result<(Box<str>, Option<Record>), StoreError> {
    let key = row.text(0)?;
    let pieces = row.signed(5)?;
    if pieces == REMOVED {
        return Ok((key.into(), None));
    }
    let mut text = row.text(6)?;
    if pieces > 0 {
        let query = "SELECT text FROM pieces WHERE part = ? AND key = ? ORDER BY n";
        text = sql.rows(query, &[Bind::Number(part), Bind::Text(&key)], |piece| piece.text(0))?.concat();
    }
    let extra_bytes = usize::try_from(row.number(4)?).ok();
    let value_bytes =
        extra_bytes.and_then(|extra| text.len().checked_sub(extra)).filter(|at| text.is_char_boundary(*at));
    let (value, extra) = text.split_at(value_bytes.ok_or_else(|| super::sql_error("entries.extra_bytes"))?);
    let record = Record::new(Parts {
        key: &key,
        value,
        seq: row.number(1)?,
        version: row.number(2)?,
        timestamp: row.number(3)?,
        extra,
    });
    Ok((key.into(), Some(record)))
}

/// What one key holds in a part; the outer `None` when the part says nothing of it.
pub(super) fn find(sql: &Sql, part: u64, key: &str) -> Result<Option<Option<Record>>, StoreError> {
    let query =
        "SELECT key, seq, version, timestamp, extra_bytes, pieces, text FROM entries WHERE part = ? AND key = ?";
    sql.row(query, &[Bind::Number(part), Bind::Text(key)], |row| Ok(read_row(sql, part, row)?.1))
}

/// What keys hold in a part, in order from `from` on: up to `limit` keys, fewer when their texts are long.
pub(super) fn scan(sql: &Sql, part: u64, from: Bound<&str>, limit: usize) -> Result<Run, StoreError> {
    let (compare, from) = match from {
        Bound::Included(key) => (">=", key),
        Bound::Excluded(key) => (">", key),
        Bound::Unbounded => (">", ""),
    };
    // The inner query adds up lengths, which SQLite knows without reading long texts. One row more than fits is read, so
    // that the last page shows that it is the last.
    let query = format!(
        "SELECT {COLUMNS}, octet_length(text) + max(pieces, 0) * {PIECE_BYTES}
        FROM entries WHERE part = ?1 AND key {compare} ?2 ORDER BY key LIMIT 1 + (
            SELECT count(*) FROM (
                SELECT sum(octet_length(text) + max(pieces, 0) * {PIECE_BYTES}) OVER (ORDER BY key) AS bytes
                FROM entries WHERE part = ?1 AND key {compare} ?2 ORDER BY key LIMIT ?3
            ) WHERE bytes <= {PAGE_BYTES_MAX}
        )"
    );
    let limit = limit.clamp(1, PAGE_ROWS_MAX);
    let binds = [Bind::Number(part), Bind::Text(from), Bind::Number(limit as u64)];
    let mut bytes = 0;
    let items = sql.rows(&query, &binds, |row| {
        bytes += row.number(7)?;
        read_row(sql, part, row)
    })?;
    let is_last = items.len() <= limit && bytes <= PAGE_BYTES_MAX;
    let until = if is_last { None } else { items.last().map(|(key, _)| key.clone()) };
    Ok(Run { items, until })
}

/// Entries of any parts on their way into the table, each key of a part at most once.
#[derive(Default)]
pub(super) struct Batch {
    json: Vec<u8>,
    rows: usize,
}

impl Batch {
    /// Whether the record may travel with others.
    pub(super) fn takes(record: &Record) -> bool {
        record.value().len() + record.extra().len() <= BATCHED_TEXT_BYTES_MAX
    }

    pub(super) fn is_full(&self) -> bool {
        self.json.len() >= BATCH_BYTES_MAX / 2
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    fn begin_row(&mut self, part: u64, key: &str) {
        self.json.push(if self.rows == 0 { b'[' } else { b',' });
        self.rows += 1;
        self.json.push(b'[');
        write_u64(&mut self.json, part);
        self.json.push(b',');
        write_string(&mut self.json, key);
    }

    /// Adds a record that [`Self::takes`] agreed to.
    pub(super) fn push(&mut self, part: u64, record: &Record) {
        self.begin_row(part, record.key());
        for number in [record.seq(), record.version(), record.timestamp(), record.extra().len() as u64] {
            self.json.push(b',');
            write_u64(&mut self.json, number);
        }
        self.json.push(b',');
        if record.extra().is_empty() {
            write_string(&mut self.json, record.value());
        } else {
            write_string(&mut self.json, &[record.value(), record.extra()].concat());
        }
        self.json.push(b']');
    }

    /// Adds a key alone.
    pub(super) fn push_key(&mut self, part: u64, key: &str) {
        self.begin_row(part, key);
        self.json.push(b']');
    }

    /// The rows as JSON; the batch is empty afterwards.
    pub(super) fn take(&mut self) -> String {
        let mut json = std::mem::take(&mut self.json);
        if self.rows == 0 {
            json.push(b'[');
        }
        json.push(b']');
        self.rows = 0;
        String::from_utf8(json).expect("the JSON writer emits UTF-8")
    }
}

/// Writes the batch's rows over what its keys hold. Pieces under those keys must be gone.
pub(super) fn write(sql: &Sql, batch: &mut Batch) -> Result<(), StoreError> {
    sql.run(
        "INSERT OR REPLACE INTO entries
         SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, 0, value->>6 FROM json_each(?)",
        &[Bind::Text(&batch.take())],
    )
}

/// Writes one record of any length over what its key holds.
pub(super) fn write_alone(sql: &Sql, part: u64, record: &Record) -> Result<(), StoreError> {
    let text = [record.value(), record.extra()].concat();
    let pieces = if text.len() > PIECE_BYTES { split(&text) } else { Vec::new() };
    delete_pieces(sql, part, record.key())?;
    for (n, piece) in pieces.iter().enumerate() {
        let binds = [Bind::Number(part), Bind::Text(record.key()), Bind::Number(n as u64), Bind::Text(piece)];
        sql.run("INSERT INTO pieces VALUES (?, ?, ?, ?)", &binds)?;
    }
    let binds = [
        Bind::Number(part),
        Bind::Text(record.key()),
        Bind::Number(record.seq()),
        Bind::Number(record.version()),
        Bind::Number(record.timestamp()),
        Bind::Number(record.extra().len() as u64),
        Bind::Number(pieces.len() as u64),
        Bind::Text(if pieces.is_empty() { &text } else { "" }),
    ];
    sql.run("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)", &binds)
}

fn delete_pieces(sql: &Sql, part: u64, key: &str) -> Result<(), StoreError> {
    sql.run("DELETE FROM pieces WHERE part = ? AND key = ?", &[Bind::Number(part), Bind::Text(key)])
}

/// Cuts a text into pieces that fit a row, between characters.
fn split(mut text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    while !text.is_empty() {
        let (piece, rest) = text.split_at(text.floor_char_boundary(PIECE_BYTES));
        pieces.push(piece);
        text = rest;
    }
    pieces
}

/// Removes the batch's keys from their parts, pieces and all.
pub(super) fn delete(sql: &Sql, keys: &mut Batch) -> Result<(), StoreError> {
    let json = keys.take();
    for table in ["pieces", "entries"] {
        let statement =
            format!("DELETE FROM {table} WHERE (part, key) IN (SELECT value->>0, value->>1 FROM json_each(?))");
        sql.run(&statement, &[Bind::Text(&json)])?;
    }
    Ok(())
}

/// Removes up to `rows_max` rows of a part. Returns whether more are left.
pub(super) fn sweep(sql: &Sql, part: u64, rows_max: u64) -> Result<bool, StoreError> {
    let nth = "SELECT key FROM entries WHERE part = ? ORDER BY key LIMIT 1 OFFSET ?";
    let last = sql.row(nth, &[Bind::Number(part), Bind::Number(rows_max)], |row| row.text(0))?;
    for table in ["pieces", "entries"] {
        match &last {
            Some(last) => {
                let statement = format!("DELETE FROM {table} WHERE part = ? AND key < ?");
                sql.run(&statement, &[Bind::Number(part), Bind::Text(last)])?;
            }
            None => sql.run(&format!("DELETE FROM {table} WHERE part = ?"), &[Bind::Number(part)])?,
        }
    }
    Ok(last.is_some())
}
