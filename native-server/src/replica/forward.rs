//! Requests that this node hands to its parent: with the caller's own credentials, byte for byte, never in a circle.

use super::Upstream;
use super::client::with_sources;
use crate::server::Server;
use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, Request, Response as HttpResponse};
use axum::response::Response;
use bytes::Bytes;
use headwater_core::api::{ApiError, Code, HEADER_POSITION, HEADER_VIA, HEADER_WAIT, HOPS_MAX, WAIT_MS_MAX};
use headwater_core::store::Store;
use http_body_util::Full;
use std::time::Duration;

/// Longest time until a parent answers, beyond what the caller allows a read to wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Longest answer to a write. What a parent says of one is a few words.
const WRITE_ANSWER_BYTES_MAX: usize = 1 << 20;

/// Headers of one connection, which never go to the next (RFC 9110, section 7.6.1), and the identity that only a proxy
/// beside this node may assert.
const NOT_FORWARDED: [&str; 12] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-glue-authentication",
];

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
    let answered = match send(server, upstream, parts, body).await? {
        Ok(response) => whole(response).await,
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

/// The answer once all of it is there: its status alone is no answer to a write.
async fn whole(response: Response) -> Result<Response, Failure> {
    let (parts, body) = response.into_parts();
    match tokio::time::timeout(ANSWER_WITHIN, axum::body::to_bytes(body, WRITE_ANSWER_BYTES_MAX)).await {
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
    let mut headers = without_hop_headers(&parts.headers);
    headers.insert(HEADER_VIA, via(&parts.headers, &server.node.instance().to_string())?);
    let target = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let parent = upstream.parent();
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = parent.uri(target);
    *request.headers_mut() = headers;
    let answered = tokio::time::timeout(ANSWER_WITHIN + asked_wait(&parts.headers), upstream.client.request(request));
    let failure = match answered.await {
        Ok(Ok(response)) => return Ok(Ok(handed_back(server, response))),
        Ok(Err(error)) if error.is_connect() => Failure::Unsent(with_sources(&error)),
        Ok(Err(error)) => Failure::Unknown(with_sources(&error)),
        Err(_) => Failure::Unknown(format!("it did not answer within {} s", ANSWER_WITHIN.as_secs())),
    };
    let (Failure::Unsent(why) | Failure::Unknown(why)) = &failure;
    tracing::warn!(%parent, method = %parts.method, why, "a request could not be handed to the parent");
    Ok(Err(failure))
}

fn handed_back<B>(server: &Server, response: HttpResponse<B>) -> Response
where
    B: axum::body::HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let (mut parts, body) = response.into_parts();
    let length = parts.headers.get(CONTENT_LENGTH).cloned();
    parts.headers = without_hop_headers(&parts.headers);
    // An answer to HEAD has a length and no body.
    parts.headers.extend(length.map(|length| (CONTENT_LENGTH, length)));
    if !parts.headers.contains_key(HEADER_POSITION) {
        let position = server.node.store().position().to_string();
        if let Ok(value) = HeaderValue::try_from(position) {
            parts.headers.insert(HEADER_POSITION, value);
        }
    }
    HttpResponse::from_parts(parts, Body::new(body))
}

fn without_hop_headers(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<&str> = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok()).collect();
    let is_named = |name: &HeaderName| {
        let mut options = named.iter().flat_map(|options| options.split(','));
        options.any(|option| option.trim().eq_ignore_ascii_case(name.as_str()))
    };
    let kept = headers.iter().filter(|(name, _)| !NOT_FORWARDED.contains(&name.as_str()) && !is_named(name));
    let mut out = HeaderMap::new();
    for (name, value) in kept {
        out.append(name, value.clone());
    }
    out
}

/// The way so far with this node added.
fn via(headers: &HeaderMap, instance: &str) -> Result<HeaderValue, ApiError> {
    let values = headers.get_all(HEADER_VIA).iter().filter_map(|value| value.to_str().ok());
    let mut hops: Vec<&str> =
        values.flat_map(|value| value.split(',')).map(str::trim).filter(|hop| !hop.is_empty()).collect();
    if hops.contains(&instance) {
        return Err(ApiError::new(Code::Loop, "the request came through this node before: parents form a circle"));
    }
    if hops.len() >= HOPS_MAX {
        return Err(ApiError::new(Code::Loop, format!("the request came through {} nodes, the limit", hops.len())));
    }
    hops.push(instance);
    let invalid = |_| ApiError::new(Code::InvalidRequest, "Headwater-Via is no list of instances");
    HeaderValue::try_from(hops.join(", ")).map_err(invalid)
}

fn asked_wait(headers: &HeaderMap) -> Duration {
    let asked =
        headers.get(HEADER_WAIT).and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<u64>().ok());
    Duration::from_millis(asked.unwrap_or(0).min(WAIT_MS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_circle_or_too_long_a_way_is_noticed() {
        assert_eq!(via(&headers(&[]), "me").unwrap(), "me");
        assert_eq!(via(&headers(&[("headwater-via", "a, b"), ("headwater-via", "c")]), "me").unwrap(), "a, b, c, me");
        assert_eq!(via(&headers(&[("headwater-via", "a,me")]), "me").unwrap_err().code, Code::Loop);
        let seven = "a,b,c,d,e,f,g";
        assert!(via(&headers(&[("headwater-via", seven)]), "me").is_ok());
        let eight = format!("{seven},h");
        assert_eq!(via(&headers(&[("headwater-via", &eight)]), "me").unwrap_err().code, Code::Loop);
    }

    #[test]
    fn credentials_go_on_and_what_belongs_to_one_connection_does_not() {
        let given = headers(&[
            ("apikey", "k"),
            ("secret", "s"),
            ("host", "a"),
            ("connection", "close, x-mine"),
            ("x-mine", "1"),
            ("x-glue-authentication", "{}"),
            ("if-match", "\"1-2\""),
        ]);
        let kept = without_hop_headers(&given);
        let names: Vec<_> = kept.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["apikey", "secret", "if-match"]);
    }
}
