//! Sending a request on to the parent, with the caller's own credentials and no others.

use crate::http::Head;
use crate::signal::delay;
use futures_util::future::{Either, select};
use headwater_core::api::{self, ANSWER_HEADERS, ApiError, Code, HEADER_POSITION, HEADER_VIA, REQUEST_HEADERS};
use headwater_core::id::Id;
use std::pin::pin;
use worker::{AbortController, Fetch, Headers, Method, Request, RequestInit, RequestRedirect, Response, Result};

/// How long a parent may take to begin an answer: longer than any read may wait there.
const ANSWER_MS_MAX: u64 = 35_000;

/// How long a parent may take to show that it is there.
const PROBE_MS_MAX: u64 = 3_000;

/// Sends a request; `None` when no answer comes in time, or none at all.
async fn fetch(request: Request, ms_max: u64) -> Option<Response> {
    let abort = AbortController::default();
    let signal = abort.signal();
    let request = Fetch::Request(request);
    let (sent, timer) = (pin!(request.send_with_signal(&signal)), pin!(delay(ms_max)));
    match select(sent, timer).await {
        Either::Left((answer, _)) => answer.ok(),
        Either::Right(_) => {
            abort.abort();
            None
        }
    }
}

/// A request on its way.
pub(crate) struct Forward<'a> {
    /// Base address of the parent.
    pub(crate) parent: &'a str,
    pub(crate) head: &'a Head,
    /// `None` for a request without one.
    pub(crate) body: Option<Vec<u8>>,
    /// The instance that sends it on; `None` for the Worker in front, which holds no state and has none.
    pub(crate) instance: Option<Id>,
    /// The parent is perhaps not there: find out before a write is sent. The runtime's errors do not tell a connection
    /// that never came about from one that broke later.
    pub(crate) probe: bool,
}

impl Forward<'_> {
    /// Sends it and hands on the answer.
    ///
    /// # Errors
    /// 508 `loop`; 502 `parent_unavailable` when surely nothing was done, which a read is by nature; 503
    /// `outcome_unknown` otherwise.
    pub(crate) async fn send(self) -> std::result::Result<Response, ApiError> {
        let changes = !matches!(&*self.head.method, "GET" | "HEAD");
        let via = api::via([&*self.head.header(HEADER_VIA)], self.instance)?;
        let request = self.request(&via).map_err(|_| unavailable())?;
        if changes && self.probe && !self.is_there().await {
            return Err(unavailable());
        }
        let lost = || if changes { unknown() } else { unavailable() };
        let answer = fetch(request, ANSWER_MS_MAX).await.ok_or_else(lost)?;
        match foreign(&answer) {
            None => hand_on(answer).map_err(|_| lost()),
            Some(Reached::No) => Err(unavailable()),
            Some(Reached::Perhaps) => Err(lost()),
        }
    }

    /// Whether the parent answers at all.
    async fn is_there(&self) -> bool {
        let Ok(request) = Request::new(&format!("{}/livez", self.parent), Method::Get) else { return false };
        fetch(request, PROBE_MS_MAX).await.is_some_and(|answer| foreign(&answer).is_none())
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

/// What became of the request if no node answered: the provider, or a proxy on the way, did in the parent's place.
fn foreign(answer: &Response) -> Option<Reached> {
    // An answer that a node gave carries its position.
    let is_nodes = answer.headers().has(HEADER_POSITION).unwrap_or(false);
    (!is_nodes).then(|| reached(answer.status_code()))
}

/// The provider's own statuses tell whether it delivered
/// (<https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/>).
fn reached(status: u16) -> Reached {
    match status {
        // Connection refused; unreachable; TLS failed; name not resolved.
        521 | 523 | 525 | 526 | 530 => Reached::No,
        // An empty or broken answer; time-outs, before or after the request was sent; anybody else's word.
        _ => Reached::Perhaps,
    }
}

fn hand_on(mut answer: Response) -> Result<Response> {
    let headers = Headers::new();
    for name in ANSWER_HEADERS {
        if let Some(value) = answer.headers().get(name)? {
            headers.set(name, &value)?;
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
    fn tells_what_surely_was_not_sent() {
        assert_eq!([521, 525].map(reached), [Reached::No, Reached::No]);
        for status in [520, 522, 524, 200, 307, 404, 502, 503] {
            assert_eq!(reached(status), Reached::Perhaps, "{status}");
        }
    }
}
