//! Reads one line. The head of a canonical SET or DELETE is scanned and the value taken as the rest; every other line,
//! and every other field order, goes through the general object reader. Both give the same command.

use super::{Action, BaselineReason, End, EndReason, Hello, Line, Logged, Op, Ping, Proof, Ready, Resume, Steer, Word};
use crate::digest::Digest;
use crate::id::Id;
use crate::json::{self, elements, members_and_rows, rows};
use crate::limits::{INTEGER_MAX, PING_MS_MAX};
use crate::name;
use crate::position::EpochTable;
use crate::scope::Scope;
use alloc::borrow::Cow;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// What is known of a line's spelling before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Nothing: it came from a parent, or from a file that keeps lines as a parent sent them. Everything is checked.
    Checked,
    /// It is what a `write_line` of this crate or the sequencer wrote, with the value as its last field: all text up to
    /// the closing brace is taken for the value, unchecked.
    ///
    /// Of a checked line that a parent spelled otherwise, everything but the value comes out right. So who looks at no
    /// value may read such a line this way, and nobody else may.
    Canonical,
}

/// Why a line is no command. Names the offence, so that logs and tests can tell one from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Not JSON, or JSON against the text rules.
    Json(json::Error),
    /// A field the type must have is missing.
    Missing(&'static str),
    /// A field has a value it cannot have.
    Invalid {
        /// The field.
        field: &'static str,
        /// The value's JSON text, cut after 64 characters.
        text: String,
    },
    /// A batch without commands.
    EmptyBatch,
    /// A batch that names a key twice.
    RepeatedKey(String),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => error.fmt(f),
            Self::Missing(field) => write!(f, "the field \"{field}\" is missing"),
            Self::Invalid { field, text } => write!(f, "the field \"{field}\" cannot be {text}"),
            Self::EmptyBatch => f.write_str("a batch has at least one command"),
            Self::RepeatedKey(key) => write!(f, "a batch names the key {key:?} twice"),
        }
    }
}

impl core::error::Error for DecodeError {}

impl From<json::Error> for DecodeError {
    fn from(error: json::Error) -> Self {
        Self::Json(error)
    }
}

/// Reads one line, without its newline.
///
/// # Errors
/// Names the first offence found; the caller drops the connection, or refuses the file, and keeps its state.
///
/// # Examples
/// ```
/// use headwater_core::command::{Line, Trust, decode};
/// let line = br#"{"type":"SET","collection":"flags","seq":3,"prev":2,"key":"a","version":1,"timestamp":9,"value":{"on":true}}"#;
/// let Line::Log(set) = decode(line, Trust::Checked).unwrap() else { panic!() };
/// assert_eq!((set.seq, set.prev), (3, Some(2)));
/// ```
pub fn decode(line: &[u8], trust: Trust) -> Result<Line<'_>, DecodeError> {
    let Ok(text) = core::str::from_utf8(line) else {
        // Tells where, and whether something else was wrong before.
        return Err(json::validate(line).map_or_else(DecodeError::Json, |_| DecodeError::Missing("type")));
    };
    if let Some((logged, value_start)) = scan_head(text) {
        return finish_scan(text, logged, value_start, trust);
    }
    General::read(text)?.into_line(text)
}

/// Reads the head of a canonical SET or DELETE without optional fields; `None` leaves the line to the general reader.
/// The number returned is where a SET's value begins.
fn scan_head(text: &str) -> Option<(Logged<'_>, Option<usize>)> {
    let (is_set, mut at) = if text.starts_with("{\"type\":\"SET\",\"collection\":\"") {
        (true, 28)
    } else if text.starts_with("{\"type\":\"DELETE\",\"collection\":\"") {
        (false, 31)
    } else {
        return None;
    };
    let name_end = at + text.as_bytes()[at..].iter().position(|&byte| byte == b'"')?;
    let collection = &text[at..name_end];
    if !name::is_valid(collection) {
        return None;
    }
    at = name_end + 1;
    let seq = scan_number(text, &mut at, ",\"seq\":")?;
    let prev = scan_number(text, &mut at, ",\"prev\":");
    if !text[at..].starts_with(",\"key\":\"") {
        return None;
    }
    let (key, key_end) = json::string_at(text, at + 7).ok()?;
    at = key_end;
    let version = scan_number(text, &mut at, ",\"version\":")?;
    let timestamp = scan_number(text, &mut at, ",\"timestamp\":")?;
    if seq == 0 || prev == Some(0) || version == 0 || key.is_empty() || (prev.is_none() && !is_set) {
        return None;
    }
    let (action, value_start) = if is_set {
        if !text[at..].starts_with(",\"value\":") {
            return None;
        }
        (Action::Set { key, version, value: "" }, Some(at + 9))
    } else {
        if &text[at..] != "}" {
            return None;
        }
        (Action::Delete { key, version }, None)
    };
    let collection = Some(Cow::Borrowed(collection));
    Some((Logged { seq, prev, collection, timestamp, extra: Cow::Borrowed(""), action }, value_start))
}

/// Reads `lead` and the plain number behind it, and moves `at` past both; `None` leaves `at` alone.
fn scan_number(text: &str, at: &mut usize, lead: &str) -> Option<u64> {
    let rest = text.as_bytes().get(*at..)?.strip_prefix(lead.as_bytes())?;
    let digits = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    if digits == 0 || digits > 16 || (rest[0] == b'0' && digits > 1) {
        return None;
    }
    let number = rest[..digits].iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    if number > INTEGER_MAX {
        return None;
    }
    *at += lead.len() + digits;
    Some(number)
}

fn finish_scan<'a>(
    text: &'a str,
    mut logged: Logged<'a>,
    value_start: Option<usize>,
    trust: Trust,
) -> Result<Line<'a>, DecodeError> {
    if let (Some(start), Action::Set { value, .. }) = (value_start, &mut logged.action) {
        let end = text.len() - 1;
        let whole = match trust {
            Trust::Checked => json::value_end(text, start) == Ok(end),
            Trust::Canonical => start < end,
        };
        if !whole || text.as_bytes()[end] != b'}' {
            // Anything but one value up to the closing brace is the general reader's to take or to name.
            return General::read(text)?.into_line(text);
        }
        *value = &text[start..end];
    }
    Ok(if logged.prev.is_some() { Line::Log(logged) } else { Line::Entry(logged) })
}

/// The fields of any object, in any order.
struct General<'a>(Vec<(Cow<'a, str>, &'a str)>);

fn invalid(field: &'static str, raw: &str) -> DecodeError {
    DecodeError::Invalid { field, text: raw.chars().take(64).collect() }
}

impl<'a> General<'a> {
    /// The commands of a batch do not count for the depth of the values in them, or a legal value could not be batched.
    fn read(text: &'a str) -> Result<Self, DecodeError> {
        Ok(Self(members_and_rows(text, "commands")?))
    }

    fn raw(&self, field: &str) -> Option<&'a str> {
        self.0.iter().find(|(name, _)| name == field).map(|(_, raw)| *raw)
    }

    fn required(&self, field: &'static str) -> Result<&'a str, DecodeError> {
        self.raw(field).ok_or(DecodeError::Missing(field))
    }

    /// A field that may be missing, read by `read`.
    fn optional<T>(
        &self,
        field: &'static str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<Option<T>, DecodeError> {
        self.raw(field).map(|raw| read(raw).ok_or_else(|| invalid(field, raw))).transpose()
    }

    /// A field that must be there, read by `read`.
    fn field<T>(&self, field: &'static str, read: impl FnOnce(&'a str) -> Option<T>) -> Result<T, DecodeError> {
        self.optional(field, read)?.ok_or(DecodeError::Missing(field))
    }

    fn number(&self, field: &'static str) -> Result<u64, DecodeError> {
        self.field(field, json::unsigned)
    }

    /// A number that starts at 1.
    fn ordinal(&self, field: &'static str) -> Result<u64, DecodeError> {
        self.field(field, ordinal)
    }

    fn string(&self, field: &'static str) -> Result<Cow<'a, str>, DecodeError> {
        self.field(field, json::string)
    }

    fn collection(&self) -> Result<Cow<'a, str>, DecodeError> {
        self.field("collection", collection_name)
    }

    fn key(&self) -> Result<Cow<'a, str>, DecodeError> {
        self.field("key", |raw| json::string(raw).filter(|key| !key.is_empty()))
    }

    fn digest(&self) -> Result<Digest, DecodeError> {
        self.field("digest", |raw| Digest::from_wire(&json::string(raw)?))
    }

    /// The fields not in `known`, in the order they came.
    fn extra(&self, known: &[&str]) -> Cow<'a, str> {
        let mut extra = Vec::new();
        for (name, raw) in self.0.iter().filter(|(name, _)| !known.contains(&&**name)) {
            extra.push(b',');
            json::write_string(&mut extra, name);
            extra.push(b':');
            extra.extend_from_slice(raw.as_bytes());
        }
        Cow::Owned(String::from_utf8(extra).expect("the JSON writer emits UTF-8"))
    }

    fn into_line(self, text: &'a str) -> Result<Line<'a>, DecodeError> {
        let kind = self.string("type")?;
        let action = match &*kind {
            "EPOCH" => self.epoch()?,
            "CREATE" => Action::Create,
            "SET" => {
                Action::Set { key: self.key()?, version: self.ordinal("version")?, value: self.required("value")? }
            }
            "DELETE" => Action::Delete { key: self.key()?, version: self.ordinal("version")? },
            "DROP" => Action::Drop,
            "BATCH" => self.batch()?,
            _ => return self.steer_or_unknown(kind, text),
        };
        let (known, has_collection, needs_prev): (&[&str], _, _) = match action {
            Action::Epoch { .. } => {
                (&["type", "seq", "timestamp", "epoch", "cluster", "node", "requires", "takeover"], false, false)
            }
            Action::Create => (&["type", "collection", "seq", "timestamp"], true, false),
            Action::Set { .. } => {
                (&["type", "collection", "seq", "prev", "key", "version", "timestamp", "value"], true, false)
            }
            Action::Delete { .. } => {
                (&["type", "collection", "seq", "prev", "key", "version", "timestamp"], true, true)
            }
            Action::Drop => (&["type", "collection", "seq", "prev", "timestamp"], true, true),
            _ => (&["type", "collection", "seq", "prev", "timestamp", "commands"], true, true),
        };
        let prev = if known.contains(&"prev") { self.optional("prev", ordinal)? } else { None };
        if needs_prev && prev.is_none() {
            return Err(DecodeError::Missing("prev"));
        }
        let logged = Logged {
            seq: self.ordinal("seq")?,
            prev,
            collection: has_collection.then(|| self.collection()).transpose()?,
            timestamp: self.number("timestamp")?,
            extra: self.extra(known),
            action,
        };
        let is_entry = matches!(logged.action, Action::Set { .. }) && prev.is_none();
        Ok(if is_entry { Line::Entry(logged) } else { Line::Log(logged) })
    }

    fn epoch(&self) -> Result<Action<'a>, DecodeError> {
        Ok(Action::Epoch {
            epoch: self.ordinal("epoch")?,
            cluster: self.field("cluster", |raw| json::string(raw)?.parse().ok())?,
            node: self.string("node")?,
            requires: self.field("requires", strings)?,
            takeover: self.takeover()?,
        })
    }

    fn batch(&self) -> Result<Action<'a>, DecodeError> {
        let raw = self.required("commands")?;
        let mut ops = Vec::new();
        let mut seen = BTreeSet::new();
        for command in rows(raw).map_err(|_| invalid("commands", raw))? {
            let op = Self(command.map_err(|_| invalid("commands", raw))?).op()?;
            if !seen.insert(op.key.clone()) {
                return Err(DecodeError::RepeatedKey(op.key.into_owned()));
            }
            ops.push(op);
        }
        if ops.is_empty() {
            return Err(DecodeError::EmptyBatch);
        }
        Ok(Action::Batch(ops))
    }

    fn op(&self) -> Result<Op<'a>, DecodeError> {
        let value = match &*self.string("op")? {
            "set" => Some(self.required("value")?),
            "delete" => None,
            _ => return Err(invalid("op", self.required("op")?)),
        };
        let known: &[&str] =
            if value.is_some() { &["op", "key", "version", "value"] } else { &["op", "key", "version"] };
        Ok(Op { key: self.key()?, version: self.ordinal("version")?, value, extra: self.extra(known) })
    }

    fn steer_or_unknown(self, kind: Cow<'a, str>, text: &'a str) -> Result<Line<'a>, DecodeError> {
        Ok(Line::Steer(match &*kind {
            "HELLO" => Steer::Hello(self.hello()?),
            "BASELINE_BEGIN" => {
                Steer::BaselineBegin { collection: self.collection()?, created: self.ordinal("created")? }
            }
            "BASELINE_END" => Steer::BaselineEnd {
                collection: self.collection()?,
                keys: self.number("keys")?,
                digest: self.digest()?,
            },
            "READY" => Steer::Ready(Ready {
                seq: self.ordinal("seq")?,
                collections: self.number("collections")?,
                digest: self.digest()?,
                epochs: self.field("epochs", EpochTable::from_json)?,
                timestamp: self.optional("timestamp", json::unsigned)?,
            }),
            "PING" => Steer::Ping(self.ping()?),
            "PATH" => Steer::Path(self.path()?),
            "END" => Steer::End(self.end()?),
            _ if self.raw("seq").is_none() => return Ok(Line::Ignored),
            _ => return self.unknown(kind, text),
        }))
    }

    fn unknown(self, name: Cow<'a, str>, line: &'a str) -> Result<Line<'a>, DecodeError> {
        Ok(Line::Log(Logged {
            seq: self.ordinal("seq")?,
            prev: self.optional("prev", ordinal)?,
            collection: self.optional("collection", collection_name)?,
            timestamp: self.optional("timestamp", json::unsigned)?.unwrap_or(0),
            extra: Cow::Borrowed(""),
            action: Action::Unknown { name, line },
        }))
    }

    fn hello(&self) -> Result<Hello<'a>, DecodeError> {
        let resume = match &*self.string("resume")? {
            "tail" => Resume::Tail,
            "baseline" => Resume::Baseline(self.field("reason", |raw| BaselineReason::from_word(&json::string(raw)?))?),
            "none" => Resume::None,
            _ => return Err(invalid("resume", self.required("resume")?)),
        };
        Ok(Hello {
            protocol: self.number("protocol")?,
            cluster: self.field("cluster", |raw| json::string(raw)?.parse().ok())?,
            epoch: self.ordinal("epoch")?,
            seq: self.ordinal("seq")?,
            at: self.number("at")?,
            node: self.string("node")?,
            path: self.path()?,
            resume,
            scope: self.field("scope", |raw| Scope::from_json(raw).ok())?,
            ping_ms: self.field("pingMs", |raw| ordinal(raw).filter(|&ms| ms <= PING_MS_MAX))?,
            requires: self.field("requires", strings)?,
            timestamp: self.number("timestamp")?,
            clock: self.optional("clock", json::unsigned)?,
            takeover: self.takeover()?,
        })
    }

    fn takeover(&self) -> Result<u64, DecodeError> {
        Ok(self.optional("takeover", json::unsigned)?.unwrap_or(0))
    }

    fn ping(&self) -> Result<Option<Ping>, DecodeError> {
        let Some(seq) = self.optional("seq", ordinal)? else {
            return Ok(None);
        };
        let proof = match self.optional("lines", json::unsigned)? {
            Some(lines) => Proof::Lines { lines, sent: self.optional("sent", json::unsigned)? },
            None => Proof::Digest(self.digest()?),
        };
        let clock = self.optional("clock", json::unsigned)?;
        Ok(Some(Ping { seq, at: self.number("at")?, clock, proof }))
    }

    fn path(&self) -> Result<Vec<Id>, DecodeError> {
        self.field("path", |raw| strings(raw)?.iter().map(|id| id.parse().ok()).collect())
    }

    /// A reason this release does not know is taken as a request to come back.
    fn end(&self) -> Result<End, DecodeError> {
        let parents = self.optional("parents", strings)?.unwrap_or_default();
        Ok(End {
            reason: EndReason::from_word(&self.string("reason")?).unwrap_or(EndReason::Retry),
            detail: self.optional("detail", json::string)?.unwrap_or_default().into_owned(),
            retry_ms: self.optional("retryMs", json::unsigned)?.unwrap_or(0),
            parents: parents.into_iter().map(Cow::into_owned).collect(),
        })
    }
}

fn ordinal(raw: &str) -> Option<u64> {
    json::unsigned(raw).filter(|&number| number >= 1)
}

fn collection_name(raw: &str) -> Option<Cow<'_, str>> {
    json::string(raw).filter(|name| name::is_valid(name))
}

fn strings(raw: &str) -> Option<Vec<Cow<'_, str>>> {
    elements(raw).ok()?.into_iter().map(json::string).collect()
}
