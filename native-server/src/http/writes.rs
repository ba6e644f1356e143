//! Writes: decided here by the writer, or handed to the parent as they came.

use super::noted::peer_of;
use crate::audit::{Changes, Event, Op, Way};
use crate::replica::forward;
use crate::server::{Server, Work};
use crate::writer::{BatchEntry, Origin, RequestAction, WriteRequest, Written};
use axum::http::HeaderMap;
use axum::http::header::{HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::response::Response;
use bytes::Bytes;
use headwater_core::api::{
    Answer, ApiError, BatchOp, Code, HEADER_IDEMPOTENCY_KEY, HEADER_POSITION, batch_body, collection_name, entry_body,
    idempotency_key, parse_tags, permit_batch, permit_create,
};
use headwater_core::credentials::Grant;
use headwater_core::json::write_string;
use headwater_core::limits::Limits;
use headwater_core::name;
use headwater_core::position::Position;
use headwater_core::repeats::Mark;
use headwater_core::store::memory::MemorySnapshot;
use headwater_core::writer::{Accepted, Guard, Refusal, Tags};
use std::borrow::Cow;

/// `POST /v1/collections`.
pub(super) async fn create(server: &Server, grant: &Grant, parts: &Parts, body: Bytes) -> Result<Response, ApiError> {
    let collection = collection_name(&body)?;
    permit_create(grant, &collection)?;
    let origin = origin(grant, parts, &body)?;
    let request = WriteRequest::of(collection.clone(), RequestAction::Create, origin);
    write(server, parts, body, request, |_| about(&collection)).await
}

/// `DELETE /v1/collections/{collection}`.
pub(super) async fn drop_collection(
    server: &Server,
    grant: &Grant,
    collection: Cow<'_, str>,
    parts: &Parts,
    body: Bytes,
) -> Result<Response, ApiError> {
    let origin = origin(grant, parts, &body)?;
    let request = WriteRequest::of(collection.clone().into_owned(), RequestAction::Drop, origin);
    write(server, parts, body, request, |_| about(&collection)).await
}

/// `POST`, `PUT` or `DELETE` of an entry.
pub(super) async fn entry(
    server: &Server,
    grant: &Grant,
    collection: Cow<'_, str>,
    key: Cow<'_, str>,
    is_set: bool,
    parts: &Parts,
    body: Bytes,
) -> Result<Response, ApiError> {
    let mut conditions = guard_of(&parts.headers)?;
    let value = if is_set {
        let asked = entry_body(&body)?;
        conditions = both(conditions, asked.guard)?;
        Some(asked.value.into_owned())
    } else {
        None
    };
    let action = RequestAction::Entry { key: key.into_owned(), value, guard: conditions };
    let origin = origin(grant, parts, &body)?;
    let request = WriteRequest::of(collection.into_owned(), action, origin);
    write(server, parts, body, request, |written| match &written.accepted {
        Accepted::Written { seq, versions } => {
            let version = versions.first().copied().unwrap_or(0);
            format!("{{\"ok\":true,\"seq\":{seq},\"version\":{version}}}").into()
        }
        Accepted::Unchanged => "{\"ok\":true}".into(),
    })
    .await
}

/// `POST /v1/collections/{collection}/batch`.
pub(super) async fn batch(
    server: &Server,
    grant: &Grant,
    collection: Cow<'_, str>,
    parts: &Parts,
    body: Bytes,
) -> Result<Response, ApiError> {
    for name in [IF_MATCH, IF_NONE_MATCH] {
        if parts.headers.contains_key(&name) {
            let words = format!("{name} is of one entry: give each op of the batch its \"ifMatch\" or \"ifAbsent\"");
            return Err(ApiError::new(Code::InvalidRequest, words));
        }
    }
    let commands_max = match &server.work {
        Work::Writer { .. } => server.settings.limits.batch_commands_max,
        // Its writer decides.
        Work::Replica(_) => Limits::BATCH_COMMANDS_CEILING,
    };
    let owned = |BatchOp { key, value, guard }: BatchOp<'_>| BatchEntry {
        key: key.into_owned(),
        value: value.map(Cow::into_owned),
        guard,
    };
    let ops = batch_body(&body, commands_max)?;
    permit_batch(grant, &collection, ops.iter().map(|op| &*op.key))?;
    let entries = ops.into_iter().map(owned).collect();
    let action = RequestAction::Batch(entries);
    let origin = origin(grant, parts, &body)?;
    let request = WriteRequest::of(collection.into_owned(), action, origin);
    write(server, parts, body, request, |written| match &written.accepted {
        Accepted::Written { seq, versions } => {
            let results: Vec<_> = versions.iter().map(|version| format!("{{\"version\":{version}}}")).collect();
            format!("{{\"ok\":true,\"seq\":{seq},\"results\":[{}]}}", results.join(",")).into()
        }
        Accepted::Unchanged => "{\"ok\":true}".into(),
    })
    .await
}

fn about(collection: &str) -> Bytes {
    let mut out = Vec::from(&b"{\"ok\":true,\"collection\":"[..]);
    write_string(&mut out, collection);
    out.push(b'}');
    out.into()
}

async fn write(
    server: &Server,
    parts: &Parts,
    body: Bytes,
    request: WriteRequest,
    answer: impl FnOnce(&Written) -> Bytes,
) -> Result<Response, ApiError> {
    match &server.work {
        Work::Writer { writes, .. } => {
            // All of it that counts is in the request, which may wait for long.
            drop(body);
            let written = writes.write(request).await?;
            let answer: Answer<MemorySnapshot> = Answer::json(answer(&written)).as_of(written.position, None);
            Ok(super::respond(answer))
        }
        Work::Replica(_) if name::is_system(&request.collection) => {
            Err(Refusal::SystemCollection(request.collection).into())
        }
        Work::Replica(upstream) => {
            server.metrics.writes_forwarded_total.one();
            let answer = forward::write(server, upstream, parts, body).await?;
            let op = request.op();
            note_forwarded(server, &answer, (op, request.collection, request.origin.by), parts);
            Ok(answer)
        }
    }
}

/// Notes what was handed to the parent, where that has done it: what, in which collection, by whom.
pub(super) fn note_forwarded(
    server: &Server,
    answer: &Response,
    (op, collection, by): (Op, String, String),
    parts: &Parts,
) {
    if answer.status().is_success() {
        let (peer, seqs) = (peer_of(parts), position_of(answer).map(|seq| (seq, seq)).into_iter().collect());
        server.audit.note(Event::Changes(Changes { op, collection, by, peer, way: Way::Forwarded, seqs }));
    }
}

/// The seq that a node's answer is as of.
fn position_of(answer: &Response) -> Option<u64> {
    let position = answer.headers().get(HEADER_POSITION)?.to_str().ok()?;
    position.parse::<Position>().ok().map(|position| position.seq)
}

/// Who asks, and how the request is known again: by all that makes it this one, its conditions among them.
fn origin(grant: &Grant, parts: &Parts, body: &[u8]) -> Result<Origin, ApiError> {
    let key = idempotency_key(parts.headers.get_all(HEADER_IDEMPOTENCY_KEY).iter().map(HeaderValue::as_bytes))?;
    let by = grant.credential.clone();
    let mark = key.map(|key| {
        let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let condition = |name| parts.headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
        let (method, target) = (parts.method.as_str().as_bytes(), target.as_bytes());
        let request = [method, target, condition(IF_MATCH), condition(IF_NONE_MATCH), body];
        Box::new(Mark::new(&by, key, &request))
    });
    Ok(Origin { by, mark, peer: peer_of(parts) })
}

fn guard_of(headers: &HeaderMap) -> Result<Guard, ApiError> {
    let tags = |name: HeaderName| -> Result<Option<Tags>, ApiError> {
        let mut values = headers.get_all(&name).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let tags = value.to_str().ok().and_then(parse_tags).filter(|_| values.next().is_none());
        let invalid = || ApiError::new(Code::InvalidRequest, format!("{name} is no list of ETags in quotes"));
        tags.ok_or_else(invalid).map(Some)
    };
    Ok(Guard { matches: tags(IF_MATCH)?, matches_none: tags(IF_NONE_MATCH)? })
}

/// A guard from the headers and one from the body. The same kind in both places could contradict itself.
fn both(headers: Guard, body: Guard) -> Result<Guard, ApiError> {
    let one = |a: Option<Tags>, b: Option<Tags>, names: &str| match (a, b) {
        (Some(a), Some(b)) if a != b => {
            Err(ApiError::new(Code::InvalidRequest, format!("{names} say different things: send one of them")))
        }
        (a, b) => Ok(a.or(b)),
    };
    Ok(Guard {
        matches: one(headers.matches, body.matches, "If-Match and \"ifMatch\"")?,
        matches_none: one(headers.matches_none, body.matches_none, "If-None-Match and \"ifAbsent\"")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_come_from_headers_or_body_but_do_not_contradict() {
        let tag = |tag: &str| Some(Tags::List(vec![tag.into()]));
        let headers = HeaderMap::from_iter([(IF_MATCH, "\"1-2\"".parse().unwrap())]);
        let from_headers = guard_of(&headers).unwrap();
        assert_eq!(from_headers, Guard { matches: tag("1-2"), matches_none: None });
        let from_body = Guard { matches: tag("3-4"), matches_none: Some(Tags::Any) };
        assert!(both(from_headers.clone(), from_body.clone()).is_err());
        assert_eq!(both(Guard::default(), from_body.clone()).unwrap(), from_body);
        let absent = Guard { matches: None, ..from_body };
        let joined = both(from_headers, absent).unwrap();
        assert_eq!(joined, Guard { matches: tag("1-2"), matches_none: Some(Tags::Any) });
    }

    #[test]
    fn a_malformed_guard_is_named() {
        for value in ["3-4", "\"3-4", ""] {
            let headers = HeaderMap::from_iter([(IF_MATCH, value.parse().unwrap())]);
            assert_eq!(guard_of(&headers).unwrap_err().code, Code::InvalidRequest, "{value}");
        }
    }
}
