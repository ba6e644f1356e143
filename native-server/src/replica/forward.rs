//! Requests that this node hands to its parent: with the caller's own credentials, byte for byte, never in a circle.

use super::Upstream;
use super::client::with_sources;
use crate::server::Server;
use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, HeaderValue};
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, Request, Response as HttpResponse};
use axum::response::Response;
use bytes::Bytes;
use headwater_core::api::{
    self, ANSWER_HEADERS, ApiError, Code, HEADER_POSITION, HEADER_VIA, HEADER_WAIT, REQUEST_HEADERS, WAIT_MS_MAX,
};
use http_body_util::Full;
use std::time::Duration;

/// Longest time until a parent answers, beyond what the caller allows a read to wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Longest answer to a write: so much, and [`PER_BYTE`] for each byte that was asked. What a parent says of one is a few
/// words or what a key may do; of a batch, a few words of each op.
const WRITE_ANSWER_BYTES: usize = 1 << 20;

/// The shortest op of a batch has 25 bytes with its comma, the longest that is said of one 33.
const PER_BYTE: usize = 2;

/// Why the parent has not answered.
enum Failure {
    /// Nothing was sent.
    Unsent(String),
    /// Something may have been.
    Unknown(String),
}

/// Hands a write on.
///
/// # Errors
/// 502 `parent_unavailable` when no byte was sent, 503 `outcome_unknown` when one may have been, 508 `loop`.
pub(crate) async fn write(
    server: &Server,
    upstream: &Upstream,
    parts: &Parts,
    body: Bytes,
) -> Result<Response, ApiError> {
    let bytes_max = answer_bytes_max(body.len());
    let answered = match send(server, upstream, parts, body).await? {
        Ok(response) => whole(response, bytes_max).await,
        Err(failure) => Err(failure),
    };
    answered.map_err(|failure| match failure {
        Failure::Unsent(why) => unavailable(&why),
        Failure::Unknown(why) => {
            let words = format!("the write was sent to the parent, and may or may not have happened: {why}");
            ApiError::new(Code::OutcomeUnknown, words)
        }
    })
}

/// How long the answer to a write may be that was asked for in so many bytes.
fn answer_bytes_max(asked: usize) -> usize {
    WRITE_ANSWER_BYTES.saturating_add(asked.saturating_mul(PER_BYTE))
}

/// The answer once all of it is there: its status alone is no answer to a write.
async fn whole(response: Response, bytes_max: usize) -> Result<Response, Failure> {
    let (parts, body) = response.into_parts();
    match tokio::time::timeout(ANSWER_WITHIN, axum::body::to_bytes(body, bytes_max)).await {
        Ok(Ok(bytes)) => Ok(Response::from_parts(parts, Body::from(bytes))),
        Ok(Err(error)) => Err(Failure::Unknown(with_sources(&error))),
        Err(_) => Err(Failure::Unknown(format!("it did not finish its answer within {} s", ANSWER_WITHIN.as_secs()))),
    }
}

/// Hands a read on.
///
/// # Errors
/// 502 `parent_unavailable`, 508 `loop`.
pub(crate) async fn read(
    server: &Server,
    upstream: &Upstream,
    parts: &Parts,
    body: Bytes,
) -> Result<Response, ApiError> {
    send(server, upstream, parts, body).await?.map_err(|failure| match failure {
        Failure::Unsent(why) | Failure::Unknown(why) => unavailable(&why),
    })
}

fn unavailable(why: &str) -> ApiError {
    ApiError::new(Code::ParentUnavailable, format!("the parent cannot be reached: {why}"))
}

async fn send(
    server: &Server,
    upstream: &Upstream,
    parts: &Parts,
    body: Bytes,
) -> Result<Result<Response, Failure>, ApiError> {
    let mut headers = only(&REQUEST_HEADERS, &parts.headers);
    // What is no text is no list of instances either.
    let received = parts.headers.get_all(HEADER_VIA).iter().map(|value| value.to_str().unwrap_or("?"));
    let via = api::via(received, Some(server.node.instance()))?;
    headers.insert(HEADER_VIA, HeaderValue::try_from(via).expect("instances are hex digits"));
    let target = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let parent = upstream.parent();
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = parent.uri(target);
    *request.headers_mut() = headers;
    let answered = tokio::time::timeout(ANSWER_WITHIN + asked_wait(&parts.headers), upstream.client.request(request));
    let failure = match answered.await {
        // An answer that a node gave carries its position.
        Ok(Ok(response)) if response.headers().contains_key(HEADER_POSITION) => return Ok(Ok(handed_back(response))),
        Ok(Ok(response)) => {
            let status = response.status().as_u16();
            Failure::Unknown(format!("an answer {status} came that no node gives: look for a proxy in between"))
        }
        Ok(Err(error)) if error.is_connect() => Failure::Unsent(with_sources(&error)),
        Ok(Err(error)) => Failure::Unknown(with_sources(&error)),
        Err(_) => Failure::Unknown(format!("it did not answer within {} s", ANSWER_WITHIN.as_secs())),
    };
    let (Failure::Unsent(why) | Failure::Unknown(why)) = &failure;
    tracing::warn!(%parent, method = %parts.method, why, "a request could not be handed to the parent");
    Ok(Err(failure))
}

fn handed_back<B>(response: HttpResponse<B>) -> Response
where
    B: axum::body::HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let (mut parts, body) = response.into_parts();
    let length = parts.headers.get(CONTENT_LENGTH).cloned();
    parts.headers = only(&ANSWER_HEADERS, &parts.headers);
    // An answer to HEAD has a length and no body.
    parts.headers.extend(length.map(|length| (CONTENT_LENGTH, length)));
    HttpResponse::from_parts(parts, Body::new(body))
}

/// The headers of these names, repeated ones as they came.
fn only(names: &[&'static str], headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in names {
        for value in headers.get_all(*name) {
            kept.append(*name, value.clone());
        }
    }
    kept
}

fn asked_wait(headers: &HeaderMap) -> Duration {
    let asked =
        headers.get(HEADER_WAIT).and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<u64>().ok());
    Duration::from_millis(asked.unwrap_or(0).min(WAIT_MS_MAX))
}
