//! One HTTP request to a node, and what each way of not being answered means.
//!
//! No redirects are followed and no proxies used: credentials go to the address that was given, or nowhere. Streams are
//! read by [`super::list`] and [`super::watch`], piece by piece.

use super::base_url::BaseUrl;
use super::credentials::Credentials;
use super::failure::{Failure, Kind};
use super::forbidden::{self, Source};
use crate::refusal::error_body;
use crate::tls::client::Connector;
use crate::unreached;
use axum::body::Bytes;
use axum::http::header::{ACCEPT, CONTENT_TYPE, ETAG, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use headwater_core::api::{ApiError, CONTENT_JSON, CONTENT_NDJSON, HEADER_LAG, HEADER_POSITION};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use std::error::Error;
use std::time::Duration;
use tokio::time::timeout;

/// How long a connection may take to come about.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long an answer may take: longer than any node waits before it gives up by itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Longest single answer. The longest value is far below it, and so is a status with the most collections.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What to do when nobody knows whether a write happened.
const AFTER_DOUBT: &str =
    "Say it again if it had an --idempotency-key: it is done once. Otherwise read it back before you try again.";

/// The flags that help where TLS does not come about.
const SETTINGS: unreached::Named =
    unreached::Named { ca: "--ca", certificate: "--cert FILE --key-file FILE", url: "--url or HEADWATER_URL" };

/// The body of an answer, as it comes.
pub(super) type Incoming = axum::body::Body;

/// What to ask.
pub(super) struct Call {
    method: Method,
    target: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    /// Whether it changes anything, so that a lost answer leaves a doubt.
    writes: bool,
    /// The role that it takes, where that does not follow from the target.
    wants: Option<&'static str>,
}

impl Call {
    pub(super) fn get(target: String) -> Self {
        Self { method: Method::GET, target, headers: Vec::new(), body: Bytes::new(), writes: false, wants: None }
    }

    pub(super) fn delete(target: String) -> Self {
        Self { method: Method::DELETE, writes: true, ..Self::get(target) }
    }

    pub(super) fn post(target: String, body: String) -> Self {
        Self { writes: true, ..Self::ask(target, body) }
    }

    pub(super) fn put(target: String, body: String) -> Self {
        Self { method: Method::PUT, ..Self::post(target, body) }
    }

    /// A POST that changes nothing: for a stream, or for a token.
    pub(super) fn ask(target: String, body: String) -> Self {
        Self { method: Method::POST, body: body.into(), ..Self::get(target) }.with(CONTENT_TYPE, CONTENT_JSON)
    }

    /// Says which role it takes.
    #[must_use]
    pub(super) fn wanting(self, role: &'static str) -> Self {
        Self { wants: Some(role), ..self }
    }

    #[must_use]
    pub(super) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    #[must_use]
    pub(super) fn with_value(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// A whole answer with a status of success.
pub(super) struct Reply {
    pub(super) headers: HeaderMap,
    /// The body's text.
    pub(super) body: String,
}

impl Reply {
    fn header(&self, name: impl axum::http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// `ETag`, in its quotes.
    pub(super) fn etag(&self) -> Option<&str> {
        self.header(ETAG)
    }

    /// The position the answer is as of.
    pub(super) fn position(&self) -> Option<&str> {
        self.header(HEADER_POSITION)
    }

    /// How far the node is behind the writer; `None` from the writer itself.
    pub(super) fn lag_ms(&self) -> Option<u64> {
        self.header(HEADER_LAG)?.parse().ok()
    }
}

/// Talks to one node.
pub(super) struct Client {
    http: legacy::Client<Connector, Full<Bytes>>,
    base: BaseUrl,
    credentials: Option<Credentials>,
    /// Where those come from.
    source: Source,
}

impl Client {
    pub(super) fn new(
        base: BaseUrl,
        connector: Connector,
        (credentials, source): (Option<Credentials>, Source),
    ) -> Self {
        let http = legacy::Client::builder(TokioExecutor::new()).build(connector);
        Self { http, base, credentials, source }
    }

    /// The node's address.
    pub(super) fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// Asks and takes the whole answer.
    ///
    /// # Errors
    /// Everything but a status of success. After [`Kind::OutcomeUnknown`] the write may have happened.
    pub(super) async fn call(&self, call: Call) -> Result<Reply, Failure> {
        let broken = if call.writes { Kind::OutcomeUnknown } else { Kind::Unable };
        let late = || self.lost(broken, &format!("no answer within {} s", ANSWER_WITHIN.as_secs()));
        let answered = async {
            let response = self.open(call).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| self.lost(broken, &format!("the answer broke off: {error}")))?;
            let body = String::from_utf8(body.to_bytes().into()).map_err(|_| self.foreign(head.status))?;
            Ok(Reply { headers: head.headers, body })
        };
        timeout(ANSWER_WITHIN, answered).await.unwrap_or_else(|_| Err(late()))
    }

    /// Asks for lines and returns as soon as they begin; the body is the caller's to read. Does not time out.
    ///
    /// # Errors
    /// As [`Client::call`], and when something else than lines comes.
    pub(super) async fn open_lines(&self, call: Call) -> Result<Response<Incoming>, Failure> {
        let response = self.open(call.with(ACCEPT, CONTENT_NDJSON)).await?;
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if content_type.is_some_and(|content_type| content_type.starts_with(CONTENT_NDJSON)) {
            return Ok(response);
        }
        Err(self.foreign(response.status()))
    }

    /// Asks and returns as soon as the answer begins.
    ///
    /// # Errors
    /// As [`Client::call`].
    async fn open(&self, call: Call) -> Result<Response<Incoming>, Failure> {
        let wanted = call.wants.unwrap_or_else(|| forbidden::wanted(&call.method, &call.target));
        let response = self.send(call).await?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response, wanted).await) }
    }

    /// Asks and takes the whole answer, whatever its status is.
    ///
    /// # Errors
    /// No whole answer came.
    pub(super) async fn ask(&self, target: &str) -> Result<(StatusCode, String), Failure> {
        let asked = async {
            let (head, body) = self.send(Call::get(target.into())).await?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| self.lost(Kind::Unable, &format!("the answer broke off: {error}")))?;
            let body = String::from_utf8(body.to_bytes().into()).map_err(|_| self.foreign(head.status))?;
            Ok((head.status, body))
        };
        let late = || self.lost(Kind::Unable, &format!("no answer within {} s", ANSWER_WITHIN.as_secs()));
        timeout(ANSWER_WITHIN, asked).await.unwrap_or_else(|_| Err(late()))
    }

    /// Asks and returns as soon as the answer begins, whatever its status is.
    async fn send(&self, call: Call) -> Result<Response<Incoming>, Failure> {
        let writes = call.writes;
        let mut request = Request::builder().method(call.method).uri(self.base.join(&call.target)?);
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        for (name, value) in self.credentials.iter().flat_map(Credentials::headers) {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(call.body)).expect("every part was checked when it was made");
        let response = self.http.request(request).await.map_err(|error| {
            let kind = if writes && !error.is_connect() { Kind::OutcomeUnknown } else { Kind::Unable };
            match unreached::by_tls(&error, SETTINGS) {
                // What TLS is ended for, no request was looked at.
                Some(fault) => Failure::unable(format!("cannot reach {}: {}", self.base, fault.what)).next(fault.helps),
                None if error.is_connect() => self.absent(&innermost(&error)),
                None => self.lost(kind, &innermost(&error)),
            }
        })?;
        Ok(response.map(Incoming::new))
    }

    /// Nobody takes connections there.
    fn absent(&self, why: &str) -> Failure {
        Failure::unable(format!("cannot reach {}: {why}", self.base))
            .next("Is a node running there? Start one with: headwater serve --dev")
            .next("Another address is given by --url or HEADWATER_URL.")
    }

    /// Somebody took the connection, and no whole answer came.
    fn lost(&self, kind: Kind, why: &str) -> Failure {
        if kind == Kind::OutcomeUnknown {
            let message = format!("{}: {why}; the write may or may not have happened", self.base);
            return Failure::new(kind, message).next(AFTER_DOUBT);
        }
        Failure::new(kind, format!("cannot reach {}: {why}", self.base))
            .next("Something takes connections there: try again, or look at the node's log.")
            .next("Another address is given by --url or HEADWATER_URL.")
    }

    /// Who answers there speaks HTTP, but is no node.
    pub(super) fn foreign(&self, status: StatusCode) -> Failure {
        Failure::unable(format!("{} answered {status} in a way no Headwater node does", self.base))
            .next("Is this the right address? It is given by --url or HEADWATER_URL.")
    }

    async fn refusal(&self, response: Response<Incoming>, wanted: &str) -> Failure {
        let (head, body) = response.into_parts();
        let body = Limited::new(body, 1 << 20).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let Some((code, message)) = error_body(&body) else { return self.foreign(head.status) };
        let text = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let failure = Failure {
            code: Some(code),
            etag: text(ETAG).map(Into::into),
            retry_after_s: text(RETRY_AFTER).and_then(|seconds| seconds.parse().ok()),
            ..Failure::new(Kind::Refused, message)
        };
        self.explain(failure, head.status, wanted)
    }

    /// What follows from the code, whatever the command.
    fn explain(&self, mut failure: Failure, status: StatusCode, wanted: &str) -> Failure {
        if failure.is("outcome_unknown") {
            failure.kind = Kind::OutcomeUnknown;
            return failure.next(AFTER_DOUBT);
        }
        if failure.is("storage_full") {
            failure.kind = Kind::Unable;
            return failure
                .next("Free space on the writer's disk: it goes on by itself, and reads go on meanwhile.")
                .next("Asking another node does not help: every write goes to the writer.");
        }
        if status.is_server_error() {
            failure.kind = Kind::Unable;
            return match failure.retry_after_s {
                Some(seconds) => failure.next(format!("Try again in {seconds} s.")),
                None => failure.next("Try again later, or ask another node."),
            };
        }
        match failure.code.as_deref() {
            // Other words than these say what is not allowed, whatever the pair.
            Some("forbidden") if *failure.message == *ApiError::forbidden().message => {
                forbidden::explained(failure, wanted, self.credentials.as_ref(), &self.source, &self.base)
            }
            Some("misdirected") => failure.next(format!(
                "{} is not a name this node answers to, or it does not hold what was asked for: ask its parent.",
                self.base
            )),
            _ => failure,
        }
    }
}

/// The cause at the bottom, which is the one that says something: the others repeat that a request failed.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::client::Trust;

    fn client() -> Client {
        let connector = Trust::default().connector(false, CONNECT_WITHIN).unwrap();
        Client::new("http://127.0.0.1:1".parse().unwrap(), connector, (None, Source::Given))
    }

    fn explained(code: &str, status: u16) -> Failure {
        let client = client();
        let failure = Failure { code: Some(code.into()), ..Failure::new(Kind::Refused, "why") };
        client.explain(failure, StatusCode::from_u16(status).unwrap(), "a role")
    }

    #[test]
    fn every_code_has_its_exit_status() {
        for code in headwater_core::api::Code::ALL {
            let expected = match (code.status(), code.word()) {
                (_, "outcome_unknown") => Kind::OutcomeUnknown,
                (500.., _) => Kind::Unable,
                _ => Kind::Refused,
            };
            assert_eq!(explained(code.word(), code.status()).kind, expected, "{}", code.word());
        }
    }

    #[test]
    fn a_full_disk_is_the_writer_s_wherever_one_asks() {
        let words = explained("storage_full", 507).next.join(" ");
        assert!(words.contains("Free space on the writer's disk") && !words.contains("or ask another"), "{words}");
    }

    #[test]
    fn what_is_forbidden_whatever_the_pair_is_told_as_it_is() {
        let words = "the collection \"_keys\" belongs to the system";
        let failure = Failure { code: Some("forbidden".into()), ..Failure::new(Kind::Refused, words) };
        let client = client();
        let told = client.explain(failure, StatusCode::FORBIDDEN, "a role");
        assert_eq!((told.message.as_str(), told.next.len()), (words, 0));
    }
}
