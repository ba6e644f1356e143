//! The keys of the API itself: listed, made, changed, rotated and revoked by whoever has role admin.
//!
//! What is decided here is written by the writer alone, one change after the other: the shell lets nobody else change a key
//! between [`KeyRequest::decide`] and the moment its outcome is state.

use super::error::{ApiError, Code};
use super::read::lag;
use super::request::{not_of_form, object};
use super::route::KeyRoute;
use super::time::rfc3339;
use super::{Answer, Answered};
use crate::clock::Now;
use crate::credentials::{ANONYMOUS, Grant, Rights, Role, StoredKey, Verifier};
use crate::json;
use crate::limits::SCOPE_PREFIXES_MAX;
use crate::name;
use crate::node::{self, Node};
use crate::record::Record;
use crate::scope::Scope;
use crate::store::scan::Scan;
use crate::store::{SnapshotError, Store};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Longest time for which a rotated key's secret before stays good, in ms: a week.
pub const GRACE_MS_MAX: u64 = 7 * 24 * 3_600_000;

/// Longest id of a key, in bytes.
pub const KEY_ID_BYTES_MAX: usize = 64;

/// Keys read at once.
const PAGE_KEYS: usize = 256;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRequest {
    /// A new key.
    Create {
        /// Its id; `None` for one that the node draws.
        id: Option<String>,
        /// What it may do.
        rights: Rights,
    },
    /// Other rights for a key.
    Change {
        /// Its id.
        id: String,
        /// What it may do from now on.
        rights: Rights,
    },
    /// Another secret for a key.
    Rotate {
        /// Its id.
        id: String,
        /// For how long the secret before stays good, in ms.
        grace_ms: u64,
    },
    /// A key's end.
    Revoke {
        /// Its id.
        id: String,
    },
}

/// What becomes of a key: who asks later who changed its rights does not ask who changed its secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFate {
    /// It is new.
    Created,
    /// It has other rights.
    Changed,
    /// It has another secret.
    Rotated,
    /// It is gone.
    Revoked,
}

impl KeyFate {
    /// What was done to it, in one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Rotated => "rotated",
            Self::Revoked => "revoked",
        }
    }
}

/// What the shell has drawn by chance, used where a new key wants it.
#[derive(Clone, Copy, Debug)]
pub struct Drawn<'a> {
    /// An id.
    pub id: &'a str,
    /// A secret of 256 bits.
    pub secret: &'a str,
}

/// A change of the collection of keys, and what is said of it once it is state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// The key's id.
    pub id: String,
    /// The value to be stored; `None` to delete it.
    pub value: Option<String>,
    /// The answer's body. It may hold the secret, which is nowhere else.
    pub body: String,
}

impl KeyRequest {
    /// Reads what a route and its body ask for.
    ///
    /// # Errors
    /// 400 `invalid_json` or `invalid_key`, naming what is wrong; 413 `too_large`.
    pub fn read(route: KeyRoute<'_>, body: &[u8]) -> Result<Self, ApiError> {
        match route {
            KeyRoute::Create => {
                let (id, rights) = rights_body(body)?;
                let id = id.map(checked_id).transpose()?;
                if id.as_deref() == Some(ANONYMOUS) {
                    only_reading(&rights)?;
                }
                Ok(Self::Create { id, rights })
            }
            KeyRoute::Change(id) => {
                let (named, rights) = rights_body(body)?;
                if named.is_some_and(|named| *named != *id) {
                    return Err(invalid("\"id\" is another one than the path's: a key's id cannot be changed"));
                }
                if id == ANONYMOUS {
                    only_reading(&rights)?;
                }
                Ok(Self::Change { id: id.into_owned(), rights })
            }
            KeyRoute::Rotate(id) => Ok(Self::Rotate { id: id.into_owned(), grace_ms: grace_body(body)? }),
            KeyRoute::Revoke(id) => Ok(Self::Revoke { id: id.into_owned() }),
        }
    }

    /// What becomes of the key where it is done.
    pub fn fate(&self) -> KeyFate {
        match self {
            Self::Create { .. } => KeyFate::Created,
            Self::Change { .. } => KeyFate::Changed,
            Self::Rotate { .. } => KeyFate::Rotated,
            Self::Revoke { .. } => KeyFate::Revoked,
        }
    }

    /// What is to be written for it, by who has this grant and by the keys that `store` holds.
    ///
    /// # Errors
    /// 403 `forbidden` where the caller would come by more than it has; 404; 412 `precondition_failed` where the id is taken,
    /// or nobody would be left who manages keys; 500 when the store fails.
    pub fn decide<S: Store>(self, store: &S, grant: &Grant, drawn: Drawn<'_>, now: Now) -> Result<KeyChange, ApiError> {
        match self {
            Self::Create { id, rights } => {
                within(grant, &rights)?;
                let id = id.unwrap_or_else(|| drawn.id.into());
                if stored(store, &id)?.is_some() {
                    let words = format!("there is a key {id:?} already: change, rotate or revoke it");
                    return Err(ApiError::new(Code::PreconditionFailed, words));
                }
                let secret = Some(drawn.secret).filter(|_| id != ANONYMOUS);
                let key = StoredKey::new(secret.map(Verifier::of), rights, now.wall_ms);
                Ok(change(id, Some(&key), secret))
            }
            Self::Change { id, rights } => {
                within(grant, &rights)?;
                let mut key = readable(store, &id)?;
                if key.rights.has(Role::Admin) && !rights.has(Role::Admin) {
                    another_admin(store, &id)?;
                }
                key.rights = rights;
                Ok(change(id, Some(&key), None))
            }
            Self::Rotate { id, grace_ms } => {
                if id == ANONYMOUS {
                    return Err(invalid("the key \"anonymous\" has no secret: there is nothing to rotate"));
                }
                let key = readable(store, &id)?;
                // Its secret is told to the caller, who comes by all it may do.
                within(grant, &key.rights)?;
                let until_ms = if grace_ms == 0 { 0 } else { now.wall_ms.saturating_add(grace_ms) };
                Ok(change(id, Some(&key.rotated(Verifier::of(drawn.secret), until_ms)), Some(drawn.secret)))
            }
            Self::Revoke { id } => {
                let value = stored(store, &id)?.ok_or_else(|| missing(&id))?;
                if StoredKey::read(value.value()).is_some_and(|key| key.rights.has(Role::Admin)) {
                    another_admin(store, &id)?;
                }
                Ok(change(id, None, None))
            }
        }
    }
}

fn change(id: String, key: Option<&StoredKey>, secret: Option<&str>) -> KeyChange {
    let mut body = Vec::from(&b"{\"ok\":true,\"id\":"[..]);
    json::write_string(&mut body, &id);
    if let Some(secret) = secret {
        body.extend_from_slice(b",\"secret\":");
        json::write_string(&mut body, secret);
    }
    if let Some(key) = key {
        body.push(b',');
        write_facts(key, &mut body);
    }
    body.push(b'}');
    let body = String::from_utf8(body).expect("the JSON writer emits UTF-8");
    KeyChange { id, value: key.map(StoredKey::to_json), body }
}

/// What may be told of a key: nothing of its secrets.
fn write_facts(key: &StoredKey, out: &mut Vec<u8>) {
    key.rights.write_members(out);
    for (name, ms) in [("previousUntil", key.previous_until_ms()), ("created", Some(key.created_ms))] {
        if let Some(ms) = ms.filter(|ms| *ms > 0) {
            out.extend_from_slice(format!(",\"{name}\":\"{}\"", rfc3339(ms)).as_bytes());
        }
    }
}

/// The key's entry as it is.
fn stored<S: Store>(store: &S, id: &str) -> Result<Option<Record>, ApiError> {
    if id.is_empty() { Ok(None) } else { store.record(name::KEYS, id).map_err(ApiError::store_failed) }
}

fn missing(id: &str) -> ApiError {
    ApiError::new(Code::NotFound, format!("there is no key {id:?}"))
}

fn readable<S: Store>(store: &S, id: &str) -> Result<StoredKey, ApiError> {
    let record = stored(store, id)?.ok_or_else(|| missing(id))?;
    StoredKey::read(record.value()).ok_or_else(|| {
        let words = format!("the entry of the key {id:?} is damaged, and grants nothing: revoke it and make another");
        ApiError::new(Code::PreconditionFailed, words)
    })
}

fn within(grant: &Grant, rights: &Rights) -> Result<(), ApiError> {
    if grant.rights().contains(rights) {
        return Ok(());
    }
    Err(ApiError::new(Code::Forbidden, "that key may do more than yours: only one that may do as much can hand it out"))
}

/// Whether there is a key besides `but` that manages keys.
///
/// # Errors
/// 503 where the state is being read by too many; 500 when the store fails.
pub fn has_admin<S: Store>(store: &S, but: &str) -> Result<bool, ApiError> {
    let mut found = false;
    each_key(store, |record| {
        let is_admin = |key: StoredKey| key.rights.has(Role::Admin) && key.has_secret();
        found |= record.key() != but && StoredKey::read(record.value()).is_some_and(is_admin);
    })?;
    Ok(found)
}

fn another_admin<S: Store>(store: &S, id: &str) -> Result<(), ApiError> {
    if has_admin(store, id)? {
        return Ok(());
    }
    let words =
        format!("{id:?} is the last key with role admin, and without one nobody could manage keys: make another first");
    Err(ApiError::new(Code::PreconditionFailed, words))
}

/// Shows every entry of the collection of keys, in order of their ids. It is read as the node reads for itself: no number of
/// lists that clients have open is to keep anybody from managing keys.
fn each_key<S: Store>(store: &S, mut show: impl FnMut(&Record)) -> Result<(), ApiError> {
    // There is no such collection before the first key.
    if store.collection(name::KEYS).map_err(ApiError::store_failed)?.is_none() {
        return Ok(());
    }
    let snapshot = store.snapshot()?;
    let mut scan = Scan::under("", None);
    let mut read = || -> Result<(), SnapshotError> {
        while let Some(records) = scan.next_page(&snapshot, name::KEYS, PAGE_KEYS)? {
            records.iter().for_each(&mut show);
        }
        Ok(())
    };
    Ok(read()?)
}

/// `GET /v1/keys`: every key with what it may do, and nothing of its secret.
///
/// # Errors
/// 503 where the state is not complete or is being read by too many; 500 when the store fails.
pub fn keys<S: Store>(node: &Node<S>, now: Now) -> Result<Answered<S::Snapshot>, ApiError> {
    let lag = lag(node, now);
    let progress = node.store().progress();
    if !progress.complete {
        return Err(ApiError::new(Code::NotReady, "this node holds no complete state yet"));
    }
    if !progress.scope.covers_prefix(name::KEYS, "") && node.options().role == node::Role::Replica {
        return Ok(Answered::AskParent);
    }
    let mut body = Vec::from(&b"{\"keys\":["[..]);
    let mut is_first = true;
    each_key(node.store(), |record| {
        body.extend_from_slice(if core::mem::take(&mut is_first) { b"{\"id\":" } else { b",{\"id\":" });
        json::write_string(&mut body, record.key());
        body.push(b',');
        match StoredKey::read(record.value()) {
            Some(mut key) => {
                if key.created_ms == 0 {
                    key.created_ms = record.timestamp();
                }
                write_facts(&key, &mut body);
            }
            None => body.extend_from_slice(b"\"roles\":[],\"damaged\":true"),
        }
        body.push(b'}');
    })?;
    body.extend_from_slice(b"]}");
    Ok(Answered::Here(Answer::json(body).as_of(progress.position, lag)))
}

fn invalid(words: impl Into<String>) -> ApiError {
    ApiError::new(Code::InvalidJson, words)
}

fn checked_id(id: Cow<'_, str>) -> Result<String, ApiError> {
    let is_good = name::is_valid(&id) && !name::is_system(&id) && id.len() <= KEY_ID_BYTES_MAX && id != super::DEV;
    if is_good {
        return Ok(id.into_owned());
    }
    let shown: String = id.chars().take(KEY_ID_BYTES_MAX).collect();
    let words = format!(
        "{shown:?} cannot be a key's id: up to {KEY_ID_BYTES_MAX} letters, digits, '.', '_', ':' and '-', the first a letter \
         or digit, and not \"dev\""
    );
    Err(ApiError::new(Code::InvalidKey, words))
}

fn only_reading(rights: &Rights) -> Result<(), ApiError> {
    if rights.reading_alone() == *rights {
        return Ok(());
    }
    Err(invalid("the key \"anonymous\" is for whoever shows no credentials, and can be given the role read alone"))
}

/// Reads `{"id":...,"roles":[...],"grants":[{"roles":[...],"scope":{...}}]}`. Whatever is not understood is refused.
fn rights_body(body: &[u8]) -> Result<(Option<Cow<'_, str>>, Rights), ApiError> {
    const FORM: &str = "{\"id\":\"...\",\"roles\":[\"read\"],\"grants\":[{\"roles\":[\"write\"],\"scope\":{\"collection\":[\"prefix\"]}}]}";
    let (mut id, mut rights) = (None, Rights::default());
    for (name, raw) in object(body, FORM, json::members)? {
        match &*name {
            "id" => id = Some(json::string(raw).ok_or_else(|| not_of_form(FORM))?),
            other => add_rights(&mut rights, other, raw, FORM)?,
        }
    }
    some_rights(&rights)?;
    Ok((id, rights))
}

/// Adds what a member `"roles"` or `"grants"` gives. A body of this `form` has no others.
///
/// # Errors
/// 400 `invalid_json` for any other, and for what is not understood.
pub(super) fn add_rights(rights: &mut Rights, name: &str, raw: &str, form: &str) -> Result<(), ApiError> {
    match name {
        "roles" => roles(raw, form)?.into_iter().for_each(|role| rights.add(role)),
        "grants" => {
            for grant in json::elements(raw).map_err(|_| not_of_form(form))? {
                add_grant(rights, grant, form)?;
            }
        }
        other => return Err(invalid(format!("{other:?} is no member of {form}"))),
    }
    Ok(())
}

/// Whether these rights are any, and not more than can be kept.
///
/// # Errors
/// 400 `invalid_json`; 413 `too_large`.
pub(super) fn some_rights(rights: &Rights) -> Result<(), ApiError> {
    if rights.is_nothing() {
        return Err(invalid("it could do nothing: give it \"roles\" (read, write, admin, node), \"grants\", or both"));
    }
    let prefixes =
        [rights.read_scope(), rights.write_scope()].into_iter().flatten().map(Scope::prefixes).sum::<usize>();
    if prefixes > SCOPE_PREFIXES_MAX {
        let words = format!("{prefixes} key prefixes are more than {SCOPE_PREFIXES_MAX}");
        return Err(ApiError::new(Code::TooLarge, words));
    }
    Ok(())
}

fn add_grant(rights: &mut Rights, grant: &str, form: &str) -> Result<(), ApiError> {
    let (mut granted, mut scope) = (None, None);
    for (name, raw) in json::members(grant).map_err(|_| not_of_form(form))? {
        match &*name {
            "roles" => granted = Some(roles(raw, form)?),
            "scope" => scope = Some(Scope::from_json(raw).map_err(|error| invalid(format!("{error}")))?),
            other => return Err(invalid(format!("{other:?} is no member of a grant"))),
        }
    }
    let (Some(granted), Some(scope)) = (granted, scope) else { return Err(not_of_form(form)) };
    let Scope::Only(within) = scope else {
        return Err(invalid(
            "a grant is for collections, {\"collection\":[\"prefix\"]}: what is over everything is a role",
        ));
    };
    if let Some((name, _)) = within.iter().find(|(name, _)| name::is_system(name)) {
        return Err(invalid(format!("{name:?} is the system's: only the role node reads it, and nobody writes it")));
    }
    if granted.is_empty() || granted.iter().any(|role| !matches!(role, Role::Read | Role::Write)) {
        return Err(invalid(
            "within collections there are the roles read and write; admin and node are over everything",
        ));
    }
    rights.add_all_within(&granted, within);
    Ok(())
}

fn roles(raw: &str, form: &str) -> Result<Vec<Role>, ApiError> {
    let role = |raw: &&str| {
        let word = json::string(raw).ok_or_else(|| not_of_form(form))?;
        Role::from_word(&word)
            .ok_or_else(|| invalid(format!("{word:?} is none of the roles read, write, admin and node")))
    };
    json::elements(raw).map_err(|_| not_of_form(form))?.iter().map(role).collect()
}

/// Reads the body of a rotation, `{"graceMs":...}` or nothing.
fn grace_body(body: &[u8]) -> Result<u64, ApiError> {
    const FORM: &str = "{\"graceMs\":...}";
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(0);
    }
    let mut grace_ms = 0;
    for (name, raw) in object(body, FORM, json::members)? {
        match &*name {
            "graceMs" => grace_ms = json::unsigned(raw).ok_or_else(|| not_of_form(FORM))?,
            other => return Err(invalid(format!("{other:?} is no member of {FORM}"))),
        }
    }
    if grace_ms > GRACE_MS_MAX {
        return Err(invalid(format!("\"graceMs\" is {grace_ms}, and the limit is a week, {GRACE_MS_MAX}")));
    }
    Ok(grace_ms)
}

#[cfg(test)]
mod tests;
