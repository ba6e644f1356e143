//! Sending a request on to the parent, with the caller's own credentials and no others.

use crate::http::Head;
use crate::signal::delay;
use futures_util::future::{Either, select};
use headwater_core::api::{ApiError, Code, HEADER_MIN_POSITION, HEADER_VIA, HEADER_WAIT, HOPS_MAX};
use std::pin::pin;
use worker::{AbortController, Fetch, Headers, Method, Request, RequestInit, RequestRedirect, Response, Result};

/// What is sent on. Everything else (cookies, proxy headers, identities of a gateway in front) stays here.
const REQUEST_HEADERS: [&str; 11] = [
    "accept",
    "apikey",
    "authorization",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "secret",
    HEADER_MIN_POSITION,
    HEADER_WAIT,
    HEADER_VIA,
];

/// What is said of one connection or of the parent's own encoding, and not of the answer.
const ANSWER_HEADERS_DROPPED: [&str; 6] =
    ["connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding", "set-cookie"];

/// How long a parent may take to begin an answer: longer than any read may wait there.
const ANSWER_MS_MAX: u64 = 35_000;

/// A request on its way.
pub(crate) struct Forward<'a> {
    /// Base address of the parent.
    pub(crate) parent: &'a str,
    pub(crate) head: &'a Head,
    /// `None` for a request without one.
    pub(crate) body: Option<Vec<u8>>,
    /// The instance that sends it on; `None` for the Worker in front, which holds no state and has none.
    pub(crate) instance: Option<String>,
}

impl Forward<'_> {
    /// Sends it and hands on the answer.
    ///
    /// # Errors
    /// 508 `loop`; 502 `parent_unavailable` when surely nothing was done, which a read is by nature; 503
    /// `outcome_unknown` otherwise.
    pub(crate) async fn send(self) -> std::result::Result<Response, ApiError> {
        let changes = !matches!(&*self.head.method, "GET" | "HEAD");
        let via = via(&self.head.header(HEADER_VIA), self.instance.as_deref())?;
        let request = self.request(&via).map_err(|_| unavailable())?;
        let abort = AbortController::default();
        let signal = abort.signal();
        let fetch = Fetch::Request(request);
        let (sent, timer) = (pin!(fetch.send_with_signal(&signal)), pin!(delay(ANSWER_MS_MAX)));
        match select(sent, timer).await {
            Either::Left((Ok(answer), _)) => match provider_failure(answer.status_code(), answer.headers()) {
                None => hand_on(answer).map_err(|_| if changes { unknown() } else { unavailable() }),
                Some(Reached::No) => Err(unavailable()),
                Some(Reached::Perhaps) if changes => Err(unknown()),
                Some(Reached::Perhaps) => Err(unavailable()),
            },
            Either::Left((Err(error), _)) if changes && !was_refused(&error) => Err(unknown()),
            Either::Right(_) if changes => Err(unknown()),
            Either::Left(_) | Either::Right(_) => Err(unavailable()),
        }
    }

    fn request(&self, via: &str) -> Result<Request> {
        let headers = Headers::new();
        for name in REQUEST_HEADERS {
            if let Some(value) = self.head.header_if_any(name) {
                headers.set(name, &value)?;
            }
        }
        if !via.is_empty() {
            headers.set(HEADER_VIA, via)?;
        }
        let mut init = RequestInit::new();
        init.with_method(Method::from(self.head.method.clone())).with_headers(headers);
        init.with_redirect(RequestRedirect::Manual);
        if let Some(body) = &self.body {
            init.with_body(Some(js_sys::Uint8Array::from(&body[..]).into()));
        }
        Request::new_with_init(&format!("{}{}", self.parent, self.head.target()), &init)
    }
}

/// `Headwater-Via` with this instance at its end.
fn via(received: &str, instance: Option<&str>) -> std::result::Result<String, ApiError> {
    let hops: Vec<&str> = received.split(',').map(str::trim).filter(|hop| !hop.is_empty()).collect();
    if hops.len() >= HOPS_MAX || instance.is_some_and(|instance| hops.contains(&instance)) {
        return Err(ApiError::new(Code::Loop, "the request came through this node already, or through too many"));
    }
    Ok(hops.into_iter().chain(instance).collect::<Vec<_>>().join(", "))
}

fn unavailable() -> ApiError {
    ApiError::new(Code::ParentUnavailable, "the parent could not be reached")
}

fn unknown() -> ApiError {
    ApiError::new(Code::OutcomeUnknown, "the connection to the parent was lost: the write may or may not have happened")
}

/// Whether a request that the provider could not deliver reached the parent.
#[derive(Debug, PartialEq, Eq)]
enum Reached {
    No,
    Perhaps,
}

/// The provider answers in the parent's place when it cannot deliver, with statuses of its own
/// (<https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/>).
fn provider_failure(status: u16, headers: &Headers) -> Option<Reached> {
    // An answer of a node's carries its position or an error of the API.
    if headers.has(headwater_core::api::HEADER_POSITION).unwrap_or(false) {
        return None;
    }
    reached(status)
}

fn reached(status: u16) -> Option<Reached> {
    match status {
        // Connection refused; unreachable; TLS failed; name not resolved.
        521 | 523 | 525 | 526 | 530 => Some(Reached::No),
        // An empty or broken answer; time-outs, before or after the request was sent.
        520 | 522 | 524 | 527 => Some(Reached::Perhaps),
        _ => None,
    }
}

/// Whether the runtime says that no connection came about, in which case nothing was sent. Its words are all it gives;
/// any it changes make the outcome unknown, which is always true.
fn was_refused(error: &worker::Error) -> bool {
    let words = error.to_string();
    ["Connection refused", "DNS lookup failed", "No route to host", "Network is unreachable"].iter().any(|told| words.contains(told))
}

fn hand_on(mut answer: Response) -> Result<Response> {
    let headers = Headers::new();
    for (name, value) in answer.headers().entries() {
        if !ANSWER_HEADERS_DROPPED.contains(&&*name) {
            headers.append(&name, &value)?;
        }
    }
    let status = answer.status_code();
    let builder = worker::ResponseBuilder::new().with_status(status).with_headers(headers);
    if matches!(status, 101 | 204 | 205 | 304) {
        return Ok(builder.empty());
    }
    builder.from_stream(answer.stream()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_loops() {
        assert_eq!(via("", Some("a")).unwrap(), "a");
        assert_eq!(via("b, c", Some("a")).unwrap(), "b, c, a");
        assert_eq!(via("b", None).unwrap(), "b");
        assert_eq!(via("b,a", Some("a")).unwrap_err().code, Code::Loop);
        assert_eq!(via("1,2,3,4,5,6,7,8", Some("a")).unwrap_err().code, Code::Loop);
        assert_eq!(via("1,2,3,4,5,6,7", Some("a")).unwrap(), "1, 2, 3, 4, 5, 6, 7, a");
    }

    #[test]
    fn tells_what_surely_was_not_sent() {
        assert_eq!([521, 525].map(reached), [Some(Reached::No), Some(Reached::No)]);
        assert_eq!([520, 522, 524].map(reached), [520, 522, 524].map(|_| Some(Reached::Perhaps)));
        assert_eq!([200, 404, 502, 503].map(reached), [None, None, None, None]);
    }
}
