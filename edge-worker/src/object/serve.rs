//! What the object answers, by core's API.

use super::held::Place;
use super::share::Share;
use super::{Object, children};
use crate::forward::Forward;
use crate::http::{self, Head};
use crate::log::log;
use crate::store::SqliteSnapshot;
use headwater_core::api::{
    self, Answer, Answered, ApiError, Code, Conditions, DEV, HEADER_APIKEY, HEADER_AUTHORIZATION, HEADER_MIN_POSITION,
    HEADER_POSITION, HEADER_SECRET, HEADER_WAIT, Read, Route, Shown, Wait,
};
use headwater_core::credentials::{Checks, Grant, Rights};
use headwater_core::store::Store as _;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use worker::{Request, Response, Result};

/// Who asks, and how.
struct Caller<'a> {
    head: &'a Head,
    /// The development pair is accepted from it.
    may_be_dev: bool,
    /// Where it comes from, if that is known.
    address: Option<IpAddr>,
}

/// Answers a request.
pub(super) async fn answer(object: &Rc<Object>, mut request: Request) -> Result<Response> {
    let head = Head::of(&request);
    let host = head.header("host");
    if !object.settings.answers_to(&host) {
        return http::error(api::host::misnamed(&host), head.is_head());
    }
    object.counts.requests_total.one();
    let client = http::client(&request);
    let may_be_dev = object.settings.takes_dev_pair(&host, client.as_deref());
    if object.settings.dev && !may_be_dev && !object.told_of_dev.replace(true) {
        log("error", "dev_refused", &[("why", &"DEV is set, and requests come from elsewhere than this machine")]);
    }
    let caller = Caller { head: &head, may_be_dev, address: head.address(client.as_deref()) };
    let route = match api::route(&head.method, head.path(), head.query()) {
        Ok(route) => route,
        Err(error) => return respond(object, Err(error), &head),
    };
    match object.answer_route(&route, &caller, &mut request).await {
        Ok(response) => Ok(response),
        Err(Failed::Api(error)) => respond(object, Err(error), &head),
        Err(Failed::Runtime(error)) => Err(error),
    }
}

/// Every answer says where the state is.
fn respond(
    object: &Object,
    answered: std::result::Result<Answer<SqliteSnapshot>, ApiError>,
    head: &Head,
) -> Result<Response> {
    let answer = answered.unwrap_or_else(|error| {
        if error.code == Code::Forbidden {
            object.counts.requests_forbidden_total.one();
        }
        object.counts.refusals.one(error.code);
        if let Some(cause) = &error.cause {
            log("error", "request_failed", &[("code", &error.code.word()), ("why", cause)]);
        }
        Answer::from(error)
    });
    http::response(object.as_of(answer), head.is_head())
}

/// Why there is no response yet.
pub(super) enum Failed {
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

impl Object {
    async fn answer_route(
        self: &Rc<Self>,
        route: &Route<'_>,
        caller: &Caller<'_>,
        request: &mut Request,
    ) -> std::result::Result<Response, Failed> {
        let grant = self.permitted(route, caller)?;
        let share = Share::of(&grant, caller.address);
        let answer = match route {
            Route::Health => api::health(&self.node),
            Route::Ready => self.readiness(),
            Route::Status => self.status()?,
            Route::Metrics => self.metrics(),
            Route::Exposition => self.exposition(),
            Route::Document => Answer::json(api::document()),
            Route::Read(_) | Route::Keys => {
                let answered = match route {
                    Route::Read(asked) => self.read(asked, &grant, &share, caller).await?,
                    _ => api::keys(&self.node, self.clock.now())?,
                };
                match answered {
                    Answered::Here(answer) => {
                        self.counts.reads_total.one();
                        answer
                    }
                    Answered::AskParent => {
                        self.counts.reads_forwarded_total.one();
                        return self.forward(&share, route, caller.head, request).await;
                    }
                }
            }
            // What stands in the body of one of these is judged where it is written.
            Route::CreateCollection
            | Route::DropCollection(_)
            | Route::Set { .. }
            | Route::Delete { .. }
            | Route::Batch(_)
            | Route::Key(_) => {
                self.counts.writes_forwarded_total.one();
                return self.forward(&share, route, caller.head, request).await;
            }
            Route::Tokens => {
                let secret = caller.head.header(HEADER_SECRET);
                let taken = self.bodies.read(&self.clock, &share, route, request, caller.head).await?;
                api::still(&self.store, &grant, self.clock.now())?;
                let body = taken.as_ref().map_or(&[][..], |(body, _)| body);
                api::token(&self.node, &grant, &secret, body, self.clock.now())?
            }
            Route::Replicate => {
                let taken = self.bodies.read(&self.clock, &share, route, request, caller.head).await?;
                api::still(&self.store, &grant, self.clock.now())?;
                let stream = children::open(self, &grant, &share, taken.as_ref().map_or(&[][..], |(body, _)| body))?;
                self.counts.replication_streams_total.one();
                let answer = self.as_of(Answer::stream());
                return Ok(children::response(self, stream, &answer.headers)?);
            }
            Route::File(path) => {
                return Err(ApiError::new(Code::NotFound, format!("there is nothing at {path:?}")).into());
            }
        };
        Ok(respond(self, Ok(answer), caller.head)?)
    }

    /// What the request's credentials grant, decided from the state held here alone.
    fn grant(&self, caller: &Caller<'_>) -> std::result::Result<Arc<Grant>, ApiError> {
        let header = |name| caller.head.header_if_any(name);
        let (apikey, secret, authorization) =
            (header(HEADER_APIKEY), header(HEADER_SECRET), header(HEADER_AUTHORIZATION));
        let dev = caller.may_be_dev.then(|| Arc::new(Grant::all(DEV)));
        let shown = Shown::of(apikey.as_deref(), secret.as_deref(), authorization.as_deref(), None);
        api::authorize(&self.node, dev.as_ref(), shown, Checks::All, &self.pairs, self.clock.now())
    }

    /// The same for whoever may ask for this. What is public is for everybody, who is not looked at then.
    fn permitted(&self, route: &Route<'_>, caller: &Caller<'_>) -> std::result::Result<Arc<Grant>, ApiError> {
        if route.is_public() {
            return Ok(Arc::new(Grant::local("", Rights::default())));
        }
        let grant = self.grant(caller)?;
        api::permit(&grant, route)?;
        Ok(grant)
    }

    async fn read(
        &self,
        asked: &Read<'_>,
        grant: &Arc<Grant>,
        share: &Share<'_>,
        caller: &Caller<'_>,
    ) -> std::result::Result<Answered<SqliteSnapshot>, ApiError> {
        let mut renewed = Arc::clone(grant);
        let accept = caller.head.header("accept");
        let conditions = Conditions::read(caller.head.header_if_any("if-none-match").as_deref(), [&*accept])?;
        // What this object does not hold, the parent answers, and waits for.
        if asked.is_covered_by(&self.store.progress().scope) && self.await_position(caller.head, share).await? {
            // Much may have happened meanwhile, to the keys too.
            renewed = self.grant(caller)?;
        }
        api::read(&self.node, &renewed, asked, &conditions, self.clock.now())
    }

    /// Waits until the state has reached the position that the request names, if it names one; tells whether it had to wait.
    async fn await_position(&self, head: &Head, share: &Share<'_>) -> std::result::Result<bool, ApiError> {
        let (position, ms) = (head.header_if_any(HEADER_MIN_POSITION), head.header_if_any(HEADER_WAIT));
        let Some(wait) = Wait::read(position.as_deref(), ms.as_deref())? else { return Ok(false) };
        // Until it has what it waits for, so that nobody takes it in between.
        let mut place = None;
        let until = self.clock.now().mono_ms + wait.ms;
        loop {
            if wait.is_over(&self.store.progress())? {
                return Ok(place.is_some());
            }
            let left = until.saturating_sub(self.clock.now().mono_ms);
            if left == 0 {
                return Err(wait.stale(self.store.position()));
            }
            if place.is_none() {
                place = Some(Place::take(&self.waiting_reads, share.unless_node())?);
            }
            self.published.next_within(left).await;
        }
    }

    fn as_of(&self, answer: Answer<SqliteSnapshot>) -> Answer<SqliteSnapshot> {
        answer.as_of(self.store.position(), self.node.lag_ms(self.clock.now()))
    }

    /// Sends the request on to the parent followed at this time.
    async fn forward(
        &self,
        share: &Share<'_>,
        route: &Route<'_>,
        head: &Head,
        request: &mut Request,
    ) -> std::result::Result<Response, Failed> {
        // Which parent it is, is asked when there is something to send: a body takes its time.
        let taken = self.bodies.read(&self.clock, share, route, request, head).await?;
        // It counts until it is answered.
        let (body, _held) = taken.unzip();
        let (parent, connected) = {
            let replica = self.replica.borrow();
            (self.settings.parents.get(replica.parent()).cloned(), replica.is_connected())
        };
        let parent = parent.ok_or_else(|| ApiError::new(Code::ParentUnavailable, "this node has no parent"))?;
        let instance = Some(self.node.instance());
        let mut answer = Forward { parent: &parent, head, body, instance, probe: !connected }.send().await?;
        if !answer.headers().has(HEADER_POSITION)? {
            answer.headers_mut().set(HEADER_POSITION, &self.store.position().to_string())?;
        }
        Ok(answer)
    }
}
