//! What the object answers, by core's API.

use super::{Object, children};
use crate::forward::Forward;
use crate::http::{self, Head};
use crate::log::log;
use crate::store::SqliteSnapshot;
use futures_util::StreamExt as _;
use headwater_core::api::{
    self, Answer, ApiError, CONTENT_NDJSON, Code, Conditions, EntryMethod, HEADER_MIN_POSITION, HEADER_POSITION,
    HEADER_WAIT, Reach, Route, WAIT_MS_DEFAULT, WAIT_MS_MAX,
};
use headwater_core::credentials::{self, Grant, Role};
use headwater_core::position::Position;
use headwater_core::store::Store as _;
use std::cell::Cell;
use std::rc::Rc;
use worker::{Request, Response, Result};

/// Longest body taken in: the longest value that may be configured, with room for its guards.
const BODY_BYTES_MAX: usize = 9 << 20;

/// Reads that wait for a position at one time.
const WAITING_READS_MAX: usize = 1_000;

type Answered = std::result::Result<Answer<SqliteSnapshot>, ApiError>;

/// Answers a request.
pub(super) async fn answer(object: &Rc<Object>, mut request: Request) -> Result<Response> {
    let head = Head::of(&request);
    let host = head.header("host");
    if !object.settings.answers_to(&host) {
        let message = format!("this node is not called {host:?}");
        return http::error(ApiError::new(Code::Misdirected, message), head.is_head());
    }
    object.counts.requests.one();
    let route = match api::route(&head.method, head.path(), head.query()) {
        Ok(route) => route,
        Err(error) => return respond(object, Err(error), &head),
    };
    match object.answer_route(&route, &head, &host, &mut request).await {
        Ok(response) => Ok(response),
        Err(Failed::Api(error)) => respond(object, Err(error), &head),
        Err(Failed::Runtime(error)) => Err(error),
    }
}

/// Every answer says where the state is.
fn respond(object: &Object, answered: Answered, head: &Head) -> Result<Response> {
    let mut answer = answered.unwrap_or_else(Answer::from);
    if !answer.headers.iter().any(|(name, _)| *name == HEADER_POSITION) {
        answer = object.as_of(answer);
    }
    http::response(answer, head.is_head())
}

/// Why there is no response yet.
enum Failed {
    /// The API says so.
    Api(ApiError),
    /// The runtime failed.
    Runtime(worker::Error),
}

impl From<ApiError> for Failed {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<worker::Error> for Failed {
    fn from(error: worker::Error) -> Self {
        Self::Runtime(error)
    }
}

/// Reads a request's body, bounded.
async fn body(request: &mut Request, head: &Head) -> std::result::Result<Vec<u8>, Failed> {
    let too_large = |bytes: usize| {
        ApiError::new(Code::TooLarge, format!("the body has {bytes} bytes or more, the limit is {BODY_BYTES_MAX}"))
    };
    if let Some(told) = head.header("content-length").parse().ok().filter(|bytes| *bytes > BODY_BYTES_MAX) {
        return Err(too_large(told).into());
    }
    let mut body = Vec::new();
    if request.inner().body().is_none() {
        return Ok(body);
    }
    let mut stream = request.stream()?;
    while let Some(chunk) = stream.next().await {
        body.extend_from_slice(&chunk.map_err(|_| ApiError::new(Code::InvalidRequest, "the body breaks off"))?);
        if body.len() > BODY_BYTES_MAX {
            return Err(too_large(body.len()).into());
        }
    }
    Ok(body)
}

impl Object {
    async fn answer_route(
        self: &Rc<Self>,
        route: &Route<'_>,
        head: &Head,
        host: &str,
        request: &mut Request,
    ) -> std::result::Result<Response, Failed> {
        let answer = match route {
            Route::Health => api::health(&self.node),
            Route::Ready => self.readiness(),
            Route::Status => {
                self.grant(head, host)?;
                self.status()?
            }
            Route::Metrics => {
                self.grant(head, host)?;
                Answer::json(self.metrics().into_bytes())
            }
            Route::Collections | Route::List { .. } | Route::Entry { method: EntryMethod::Get, .. } => {
                match self.read(route, head, host).await {
                    Ok(answer) => {
                        self.counts.reads.one();
                        answer
                    }
                    // What this object does not hold, its parent may.
                    Err(error) if error.code == Code::Misdirected => {
                        self.counts.reads_forwarded.one();
                        return self.forward(head, request).await;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Route::CreateCollection | Route::Entry { .. } => {
                self.grant_with(head, host, Role::Write)?;
                self.counts.writes_forwarded.one();
                return self.forward(head, request).await;
            }
            Route::DropCollection(_) => {
                self.grant_with(head, host, Role::Admin)?;
                self.counts.writes_forwarded.one();
                return self.forward(head, request).await;
            }
            Route::Replicate => {
                let grant = self.grant(head, host)?;
                let stream = children::open(self, &grant, &body(request, head).await?)?;
                self.counts.streams.one();
                let answer = self.as_of(Answer::json(Vec::new()));
                return Ok(children::response(self, stream, &answer.headers)?);
            }
            Route::File(path) => {
                return Err(ApiError::new(Code::NotFound, format!("there is nothing at {path:?}")).into());
            }
        };
        Ok(respond(self, Ok(answer), head)?)
    }

    /// What the request's credentials grant, decided from the state held here alone.
    fn grant(&self, head: &Head, host: &str) -> std::result::Result<Grant, ApiError> {
        let (apikey, secret) = (head.header("apikey"), head.header("secret"));
        if self.settings.is_dev_pair(host, &apikey, &secret) {
            return Ok(Grant::all("dev"));
        }
        match credentials::verify(&self.store, &apikey, &secret) {
            Ok(Some(grant)) => Ok(grant),
            Ok(None) if self.node.is_complete() => Err(self.forbidden()),
            Ok(None) => {
                let words = "this node holds no complete state yet, so it cannot check credentials: come back";
                Err(ApiError::new(Code::NotReady, words))
            }
            Err(error) => {
                log("error", "store_failed", &[("why", &error)]);
                Err(ApiError::new(Code::InternalError, "the store failed"))
            }
        }
    }

    fn grant_with(&self, head: &Head, host: &str, role: Role) -> std::result::Result<Grant, ApiError> {
        let grant = self.grant(head, host)?;
        if grant.has(role) { Ok(grant) } else { Err(self.forbidden()) }
    }

    fn forbidden(&self) -> ApiError {
        self.counts.forbidden.one();
        ApiError::forbidden()
    }

    async fn read(&self, route: &Route<'_>, head: &Head, host: &str) -> Answered {
        let grant = self.grant(head, host)?;
        let conditions = conditions(head)?;
        let scope = self.store.progress().scope;
        // What this object does not hold, the parent answers, and waits for.
        let covered = match route {
            Route::Entry { collection, key, .. } => scope.covers_key(collection, key),
            Route::List { collection, query } => scope.covers_prefix(collection, &query.prefix),
            _ => true,
        };
        if covered {
            self.await_position(head).await?;
        }
        let now = self.clock.now();
        match route {
            Route::List { collection, query } => api::list(&self.node, &grant, collection, query, &conditions, now),
            Route::Entry { collection, key, .. } => api::entry(&self.node, &grant, collection, key, &conditions, now),
            _ => api::collections(&self.node, &grant, now),
        }
    }

    /// Waits until the state has reached the position that the request names, if it names one.
    async fn await_position(&self, head: &Head) -> std::result::Result<(), ApiError> {
        let invalid = |words: String| ApiError::new(Code::InvalidRequest, words);
        let Some(target) = head.header_if_any(HEADER_MIN_POSITION) else { return Ok(()) };
        let target = target.parse::<Position>();
        let target = target.map_err(|_| invalid("Headwater-Min-Position is not of the form <epoch>.<seq>".into()))?;
        let wait_ms = match head.header_if_any(HEADER_WAIT) {
            None => WAIT_MS_DEFAULT,
            Some(text) => {
                let ms = text.parse().ok().filter(|ms| *ms <= WAIT_MS_MAX);
                ms.ok_or_else(|| invalid(format!("Headwater-Wait-Ms is not a number of ms up to {WAIT_MS_MAX}")))?
            }
        };
        let until = self.clock.now().mono_ms + wait_ms;
        loop {
            let progress = self.store.progress();
            match api::reach(&progress, target) {
                Reach::Reached => return Ok(()),
                Reach::Diverged => {
                    let words =
                        format!("the position {target} is not on this node's history: read without it, or elsewhere");
                    return Err(ApiError::new(Code::Diverged, words));
                }
                Reach::NotYet => {}
            }
            let left = until.saturating_sub(self.clock.now().mono_ms);
            if left == 0 {
                let held = progress.position;
                let words =
                    format!("the position {target} was not reached within {wait_ms} ms; this node is at {held}");
                return Err(ApiError::new(Code::Stale, words));
            }
            if self.waiting_reads.get() >= WAITING_READS_MAX {
                return Err(ApiError::new(
                    Code::Overloaded,
                    "too many reads wait for a position at this time: come back",
                ));
            }
            let place = Waiting::new(&self.waiting_reads);
            self.published.next_within(left).await;
            drop(place);
        }
    }

    fn as_of(&self, answer: Answer<SqliteSnapshot>) -> Answer<SqliteSnapshot> {
        answer.as_of(self.store.position(), self.node.lag_ms(self.clock.now()))
    }

    /// Sends the request on to the parent followed at this time.
    async fn forward(&self, head: &Head, request: &mut Request) -> std::result::Result<Response, Failed> {
        let (parent, connected) = {
            let replica = self.replica.borrow();
            (self.settings.parents.get(replica.parent()).cloned(), replica.is_connected())
        };
        let parent = parent.ok_or_else(|| ApiError::new(Code::ParentUnavailable, "this node has no parent"))?;
        let body = if request.inner().body().is_some() { Some(body(request, head).await?) } else { None };
        let instance = Some(self.store.instance().to_string());
        Ok(Forward { parent: &parent, head, body, instance, probe: !connected }.send().await?)
    }
}

fn conditions(head: &Head) -> std::result::Result<Conditions, ApiError> {
    let none_match = match head.header_if_any("if-none-match") {
        None => None,
        Some(text) => {
            let invalid = || ApiError::new(Code::InvalidRequest, "If-None-Match is no list of ETags");
            Some(api::parse_tags(&text).ok_or_else(invalid)?)
        }
    };
    let accept = head.header("accept");
    let lines =
        accept.split(',').any(|range| range.split(';').next().is_some_and(|kind| kind.trim() == CONTENT_NDJSON));
    Ok(Conditions { none_match, lines })
}

/// One place among those who wait.
struct Waiting<'a>(&'a Cell<usize>);

impl<'a> Waiting<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
