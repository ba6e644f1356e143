//! Answers: a status, headers and a body that may come in pieces.

use super::error::ApiError;
use super::time::rfc3339;
use crate::json::{write_string, write_u64};
use crate::position::Position;
use crate::record::{Parts, Record};
use crate::store::scan::{Scan, Walk};
use crate::store::{Snapshot, SnapshotError};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// The content type of every answer but streams.
pub const CONTENT_JSON: &str = "application/json";
/// The content type of streams and of lists asked for as lines.
pub const CONTENT_NDJSON: &str = "application/x-ndjson";

/// Bytes after which a piece of a list is handed out: it is longer by one entry at most.
const PIECE_BYTES: usize = 64 << 10;

/// What to answer.
pub struct Answer<N> {
    /// The HTTP status.
    pub status: u16,
    /// Headers by lower-case name.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body.
    pub body: Body<N>,
}

/// An answer's body.
pub enum Body<N> {
    /// All of it.
    Full(Bytes),
    /// A list that comes in pieces.
    List(ListBody<N>),
}

impl<N> Answer<N> {
    /// 200 with a JSON body.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::text(CONTENT_JSON, body)
    }

    /// 200 with a body of this type.
    pub fn text(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let headers = alloc::vec![("content-type", content_type.into()), ("cache-control", "no-store".into())];
        Self { status: 200, headers, body: Body::Full(body.into()) }
    }

    /// The head of a stream of lines; the shell makes the body.
    pub fn stream() -> Self {
        let headers = [
            ("content-type", CONTENT_NDJSON),
            // Nothing on the way may keep lines back, to pack them or to store them.
            ("cache-control", "no-store, no-transform"),
            ("x-accel-buffering", "no"),
        ];
        let headers = headers.map(|(name, value)| (name, value.into())).into();
        Self { status: 200, headers, body: Body::Full(Bytes::new()) }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds the entity tag, which is given without quotes.
    #[must_use]
    pub(super) fn tagged(self, tag: &str) -> Self {
        let mut quoted = String::with_capacity(tag.len() + 2);
        quoted.push('"');
        quoted.push_str(tag);
        quoted.push('"');
        self.with("etag", quoted)
    }

    /// Adds the position the answer is as of and, on a replica, the lag; an answer that says it already is left as it is.
    #[must_use]
    pub fn as_of(self, position: Position, lag_ms: Option<u64>) -> Self {
        if self.headers.iter().any(|(name, _)| *name == super::HEADER_POSITION) {
            return self;
        }
        let mut text = Vec::with_capacity(32);
        write_u64(&mut text, position.epoch);
        text.push(b'.');
        write_u64(&mut text, position.seq);
        let text = String::from_utf8(text).expect("digits are UTF-8");
        let answer = self.with(super::HEADER_POSITION, text);
        match lag_ms {
            Some(lag_ms) => answer.with(super::HEADER_LAG, format!("{lag_ms}")),
            None => answer,
        }
    }
}

impl<N> From<ApiError> for Answer<N> {
    fn from(error: ApiError) -> Self {
        let mut answer = Self { status: error.code.status(), ..Self::json(error.body()) };
        if let Some(allow) = error.allow {
            answer = answer.with("allow", allow);
        }
        if let Some(seconds) = error.retry_after_s {
            answer = answer.with("retry-after", format!("{seconds}"));
        }
        if let Some((_, tag)) = &error.current {
            answer = answer.tagged(tag);
        }
        match error.as_of.as_deref() {
            Some(&(position, lag_ms)) => answer.as_of(position, lag_ms),
            None => answer,
        }
    }
}

/// Appends an entry as the API shows it.
pub(super) fn write_entry(record: &Record, out: &mut Vec<u8>) {
    let Parts { key, value, seq, version, timestamp, .. } = record.parts();
    out.reserve(key.len() + value.len() + 96);
    out.extend_from_slice(b"{\"key\":");
    write_string(out, key);
    out.extend_from_slice(b",\"value\":");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b",\"version\":");
    write_u64(out, version);
    out.extend_from_slice(b",\"seq\":");
    write_u64(out, seq);
    out.extend_from_slice(b",\"updatedAt\":\"");
    out.extend_from_slice(rfc3339(timestamp).as_bytes());
    out.extend_from_slice(b"\"}");
}

/// A list of entries, exact as of one position, made piece by piece. Ends early, without its closing bracket, only by
/// the error that [`ListBody::next_piece`] returns; the shell breaks the connection then.
pub struct ListBody<N> {
    snapshot: N,
    collection: String,
    walk: Walk,
    remaining: usize,
    lines: bool,
    state: ListState,
    /// The first piece, until it is handed out.
    first: Option<Bytes>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ListState {
    Begin,
    First,
    Further,
    Done,
}

impl<N: Snapshot> ListBody<N> {
    /// Makes the first piece at once: what fails by then is still answered by its status.
    ///
    /// # Errors
    /// As [`ListBody::next_piece`].
    pub(super) fn begin(
        snapshot: N,
        collection: String,
        scan: Scan,
        limit: Option<usize>,
        lines: bool,
    ) -> Result<Self, SnapshotError> {
        let (walk, remaining, state) = (scan.into(), limit.unwrap_or(usize::MAX), ListState::Begin);
        let mut body = Self { snapshot, collection, walk, remaining, lines, state, first: None };
        body.first = body.next_piece()?;
        Ok(body)
    }

    /// The whole body, where its first piece is all of it and was not taken yet.
    pub fn whole(&mut self) -> Option<Bytes> {
        // Lines without an entry are no piece at all.
        (self.state == ListState::Done).then(|| self.first.take().unwrap_or_default())
    }

    /// The next piece, `None` at the end.
    ///
    /// # Errors
    /// When the snapshot was given up or the store failed: break the connection off.
    pub fn next_piece(&mut self) -> Result<Option<Bytes>, SnapshotError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        if self.state == ListState::Done {
            return Ok(None);
        }
        let mut out = Vec::new();
        if self.state == ListState::Begin {
            if !self.lines {
                out.push(b'[');
            }
            self.state = ListState::First;
        }
        while out.len() < PIECE_BYTES {
            let more = self.remaining > 0;
            let record = if more { self.walk.next_record(&self.snapshot, &self.collection)? } else { None };
            let Some(record) = record else {
                if !self.lines {
                    out.push(b']');
                }
                self.state = ListState::Done;
                break;
            };
            if !self.lines && self.state == ListState::Further {
                out.push(b',');
            }
            write_entry(&record, &mut out);
            if self.lines {
                out.push(b'\n');
            }
            self.state = ListState::Further;
            self.remaining -= 1;
        }
        Ok(if out.is_empty() { None } else { Some(out.into()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Line, Trust, decode};
    use crate::scope::Scope;
    use crate::store::memory::{MemoryOptions, MemoryStore};
    use crate::store::{Progress, Store};

    #[test]
    fn a_piece_of_a_list_of_large_entries_is_longer_than_its_bound_by_one_entry_at_most() {
        const VALUE_BYTES: usize = 20_000;
        let store = MemoryStore::new(Progress::new(Scope::Everything), MemoryOptions::single_threaded(7));
        let mut seq = 1;
        let create = String::from(r#"{"type":"CREATE","collection":"c","seq":1,"timestamp":1}"#);
        let value = "x".repeat(VALUE_BYTES);
        let sets = (0..60).map(|number| {
            seq += 1;
            let prev = seq - 1;
            format!(
                r#"{{"type":"SET","collection":"c","seq":{seq},"prev":{prev},"key":"k{number}","version":1,"timestamp":1,"value":"{value}"}}"#
            )
        });
        for line in core::iter::once(create).chain(sets) {
            let Ok(Line::Log(command)) = decode(line.as_bytes(), Trust::Checked) else { panic!("{line}") };
            crate::apply::apply(&store, &command, &mut Vec::new()).unwrap();
        }
        let list = |limit| {
            ListBody::begin(store.snapshot().unwrap(), "c".into(), Scan::under("", None), limit, false).unwrap()
        };
        let mut body = list(None);
        let mut whole = Vec::new();
        while let Some(piece) = body.next_piece().unwrap() {
            assert!(piece.len() <= PIECE_BYTES + VALUE_BYTES + 200, "{} bytes", piece.len());
            whole.extend_from_slice(&piece);
        }
        assert_eq!(crate::json::elements(core::str::from_utf8(&whole).unwrap()).unwrap().len(), 60);
        let mut limited = list(Some(2));
        let first = limited.next_piece().unwrap().unwrap();
        assert_eq!(crate::json::elements(core::str::from_utf8(&first).unwrap()).unwrap().len(), 2);
        assert_eq!(limited.next_piece().unwrap(), None);
    }
}
