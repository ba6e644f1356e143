//! Reads: entries, lists, collections and health.

use super::answer::{Answer, Body, CONTENT_NDJSON, ListBody, write_entry};
use super::authorize::permit_reading;
use super::condition::Conditions;
use super::error::{ApiError, Code};
use super::route::{ListQuery, Read, encode};
use crate::clock::Now;
use crate::credentials::Grant;
use crate::json::write_string;
use crate::name;
use crate::node::{Node, Role};
use crate::scope::Scope;
use crate::store::scan::Scan;
use crate::store::{Progress, Snapshot, SnapshotError, Store};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// What becomes of a read.
pub enum Answered<N> {
    /// This is the answer.
    Here(Answer<N>),
    /// This node's state does not cover what was asked for: hand the request to the parent as it came.
    AskParent,
}

/// Why a read is not answered from this node's state, as far as its scope goes.
fn not_covered(what: &str) -> ApiError {
    ApiError::new(Code::Misdirected, format!("this node does not hold all of {what}"))
}

/// What must hold before anything is read. Loads the lag and then the progress, which must happen before an entry is
/// loaded: what is published meanwhile makes the answer newer than it says, and never older.
fn admit<S: Store>(node: &Node<S>, now: Now) -> Result<(Progress, Option<u64>), ApiError> {
    let lag = lag(node, now);
    let progress = node.store().progress();
    if !progress.complete {
        return Err(ApiError::new(Code::NotReady, "this node holds no complete state yet"));
    }
    Ok((progress, lag))
}

pub(super) fn lag<S: Store>(node: &Node<S>, now: Now) -> Option<u64> {
    match node.options().role {
        Role::Primary => None,
        Role::Replica => node.lag_ms(now),
    }
}

fn missing(collection: &str) -> ApiError {
    ApiError::new(Code::MissingCollection, format!("the collection {collection:?} does not exist"))
}

/// Answers a read, or sends it on to the parent of a node that has one and can ask it.
///
/// # Errors
/// The answer to give instead; [`Answer::as_of`] still applies to it.
pub fn read<S: Store>(
    node: &Node<S>,
    grant: &Grant,
    asked: &Read<'_>,
    conditions: &Conditions,
    now: Now,
) -> Result<Answered<S::Snapshot>, ApiError> {
    let answer = match asked {
        Read::Collections => collections(node, grant, now),
        Read::List { collection, query } => list(node, grant, collection, query, conditions, now),
        Read::Entry { collection, key } => entry(node, grant, collection, key, conditions, now),
    };
    match answer {
        Ok(answer) => Ok(Answered::Here(answer)),
        Err(error) if error.code == Code::Misdirected && node.options().role == Role::Replica => {
            Ok(Answered::AskParent)
        }
        Err(error) => Err(error),
    }
}

/// `GET` of one entry, from this node's state alone.
///
/// # Errors
/// The answer to give instead, 421 `misdirected` where the state does not cover the key; [`Answer::as_of`] still applies
/// to it.
pub fn entry<S: Store>(
    node: &Node<S>,
    grant: &Grant,
    collection: &str,
    key: &str,
    conditions: &Conditions,
    now: Now,
) -> Result<Answer<S::Snapshot>, ApiError> {
    permit_reading(grant, |scope| scope.covers_key(collection, key))?;
    let (progress, lag) = admit(node, now)?;
    if !progress.scope.covers_key(collection, key) {
        return Err(not_covered(&format!("the collection {collection:?}, nor this key of it")));
    }
    let record = node.store().record(collection, key).map_err(ApiError::store_failed)?;
    let Some(record) = record else {
        let error = match node.store().collection(collection).map_err(ApiError::store_failed)? {
            None => missing(collection),
            Some(_) => ApiError::new(Code::NotFound, format!("the key {key:?} does not exist")),
        };
        // What came since may have made the entry.
        return Err(error.as_of(progress.position, lag));
    };
    let tag = record.tag();
    let unchanged = conditions.none_match.as_ref().is_some_and(|tags| tags.contain(&tag));
    let answer = if unchanged {
        not_modified()
    } else {
        let mut body = Vec::new();
        write_entry(&record, &mut body);
        Answer::json(body)
    };
    Ok(answer.tagged(&tag).as_of(progress.position, lag))
}

fn not_modified<N>() -> Answer<N> {
    Answer { status: 304, headers: alloc::vec![("cache-control", "no-store".into())], body: Body::Full(Bytes::new()) }
}

/// `GET` of a list, from this node's state alone.
///
/// # Errors
/// As [`entry`]; 503 `overloaded` when too many lists are being read, or too much changed under this one before its first
/// piece was made.
pub fn list<S: Store>(
    node: &Node<S>,
    grant: &Grant,
    collection: &str,
    query: &ListQuery,
    conditions: &Conditions,
    now: Now,
) -> Result<Answer<S::Snapshot>, ApiError> {
    permit_reading(grant, |scope| scope.covers_prefix(collection, &query.prefix))?;
    let (progress, lag) = admit(node, now)?;
    if !progress.scope.covers_prefix(collection, &query.prefix) {
        return Err(not_covered(&format!("what was asked for of the collection {collection:?}")));
    }
    let snapshot = node.store().snapshot_for_reader(now.mono_ms)?;
    let position = snapshot.progress().position;
    let facts = snapshot.collections().iter().find(|facts| *facts.name == *collection);
    let facts = facts.ok_or_else(|| missing(collection).as_of(position, lag))?;
    // The digest is that of the whole collection, and tells whoever may read a part of it when the rest changes.
    let sees_whole = grant.scope().is_some_and(|scope| scope.covers_prefix(collection, ""));
    let tag = sees_whole.then(|| format!("{}", facts.digest));
    let scan = Scan::under(&query.prefix, query.after.as_deref());
    let is_unchanged = |tag| conditions.none_match.as_ref().is_some_and(|tags| tags.contain(tag));
    let mut answer = if tag.as_deref().is_some_and(is_unchanged) {
        not_modified()
    } else {
        let next = match query.limit {
            None => None,
            Some(limit) => next_after(&snapshot, collection, scan.clone(), limit)?,
        };
        let body = ListBody::begin(snapshot, collection.into(), scan, query.limit, conditions.lines)?;
        let mut answer = Answer { body: Body::List(body), ..Answer::json(Bytes::new()) };
        if conditions.lines {
            answer.headers[0].1 = CONTENT_NDJSON.into();
        }
        match next {
            Some(after) => answer.with("link", next_link(collection, query, &after)),
            None => answer,
        }
    };
    if let Some(tag) = tag {
        answer = answer.tagged(&tag);
    }
    Ok(answer.as_of(position, lag))
}

/// The last key of the first `limit`, when more follow.
fn next_after(
    snapshot: &impl Snapshot,
    collection: &str,
    mut scan: Scan,
    limit: usize,
) -> Result<Option<String>, SnapshotError> {
    let mut remaining = limit;
    let mut last = None;
    while let Some(records) = scan.next_page(snapshot, collection, remaining.saturating_add(1).min(1024))? {
        if records.len() > remaining {
            let key = remaining.checked_sub(1).map(|index| records[index].key().into());
            return Ok(key.or(last));
        }
        remaining -= records.len();
        last = records.last().map(|record| record.key().into()).or(last);
    }
    Ok(None)
}

fn next_link(collection: &str, query: &ListQuery, after: &str) -> String {
    let mut link = String::from("</v1/collections/");
    encode(collection, &mut link);
    link.push_str("/keys?");
    if !query.prefix.is_empty() {
        link.push_str("prefix=");
        encode(&query.prefix, &mut link);
        link.push('&');
    }
    link.push_str(&format!("limit={}&after=", query.limit.unwrap_or_default()));
    encode(after, &mut link);
    link.push_str(">; rel=\"next\"");
    link
}

/// `GET /v1/collections`: names in order of those of which the grant may read anything, the system's left out, from this
/// node's state alone.
///
/// # Errors
/// As [`entry`]; 421 `misdirected` where the state does not cover every public collection, as a part of the names would
/// pass for all of them.
pub fn collections<S: Store>(node: &Node<S>, grant: &Grant, now: Now) -> Result<Answer<S::Snapshot>, ApiError> {
    permit_reading(grant, |_| true)?;
    let (progress, lag) = admit(node, now)?;
    if !progress.scope.contains(&Scope::Public) {
        return Err(not_covered("the collections"));
    }
    let names = node.store().collections().map_err(ApiError::store_failed)?;
    let mut body = Vec::from(&b"{\"collections\":["[..]);
    let is_shown = |name: &str| !name::is_system(name) && grant.scope().is_some_and(|scope| scope.touches(name));
    let shown = names.iter().filter(|facts| is_shown(&facts.name));
    for (index, facts) in shown.enumerate() {
        if index > 0 {
            body.push(b',');
        }
        write_string(&mut body, &facts.name);
    }
    body.extend_from_slice(b"]}");
    Ok(Answer::json(body).as_of(progress.position, lag))
}

/// `GET /healthz`, `/livez`, `/startupz`.
pub fn health<S: Store>(node: &Node<S>) -> Answer<S::Snapshot> {
    let mut body = Vec::from(&b"{\"ok\":true,\"node\":"[..]);
    write_string(&mut body, &node.options().label);
    body.extend_from_slice(format!(",\"role\":\"{}\"}}", node.options().role.as_str()).as_bytes());
    Answer::json(body)
}

/// `GET /readyz`: 200 when every check of `deciding` holds, 503 otherwise; all checks are shown. A check is its name and
/// whether it holds.
pub fn readiness<S: Store>(node: &Node<S>, deciding: &[(&str, bool)], shown: &[(&str, bool)]) -> Answer<S::Snapshot> {
    let ready = deciding.iter().all(|(_, holds)| *holds);
    let mut body = Vec::from(format!("{{\"ok\":{ready},\"node\":").as_bytes());
    write_string(&mut body, &node.options().label);
    let role = node.options().role.as_str();
    body.extend_from_slice(format!(",\"role\":\"{role}\",\"ready\":{ready},\"checks\":{{").as_bytes());
    for (index, (check, holds)) in deciding.iter().chain(shown).enumerate() {
        if index > 0 {
            body.push(b',');
        }
        write_string(&mut body, check);
        body.extend_from_slice(format!(":{holds}").as_bytes());
    }
    body.extend_from_slice(b"}}");
    let answer = Answer::json(body);
    if ready { answer } else { Answer { status: 503, ..answer }.with("retry-after", "1") }
}
