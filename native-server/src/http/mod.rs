//! The HTTP API: one service that resolves a request by core's own route and answers it.
//!
//! Reads of entries are answered within the call, before anything is boxed or awaited. Nothing else decides on paths, so
//! authorisation and lookups see the decoded key that core saw.

mod basic;
mod body;
mod exposition;
mod files;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod guard;
mod health;
mod keys;
mod noted;
mod proxy;
mod reads;
mod refused;
mod replicate;
mod reply;
mod setup;
mod untaken;
mod wait;
mod writes;

pub(crate) use body::{BODIES_BYTES_LEAST, Bodies};
pub(crate) use reply::respond;
pub(crate) use untaken::ANSWERS_BYTES_LEAST;

use crate::clock;
use crate::listener::Link;
use crate::pool::{Caller, Taken};
use crate::server::Server;
use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::Version;
use axum::http::header::HeaderName;
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;
use headwater_core::api::{self, ApiError, Code, HEADER_MIN_POSITION, Read, Route, route};
use headwater_core::credentials::Grant;
use hyper::body::Incoming;
use hyper::service::Service;
use noted::Peer;
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use untaken::Bounded;

static MIN_POSITION: HeaderName = HeaderName::from_static(HEADER_MIN_POSITION);

/// The service of one connection.
#[derive(Clone)]
pub(crate) struct Front {
    server: Arc<Server>,
    link: Arc<Link>,
}

impl Front {
    pub(crate) fn new(server: Arc<Server>, link: Arc<Link>) -> Self {
        Self { server, link }
    }
}

/// An answer that is there, or on its way.
pub(crate) enum Reply {
    Now(Option<Response>),
    Later(Pin<Box<dyn Future<Output = Response> + Send>>),
}

impl Future for Reply {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Now(response) => Poll::Ready(Ok(response.take().expect("a future is polled once to its end"))),
            Self::Later(future) => future.as_mut().poll(context).map(Ok),
        }
    }
}

impl Service<Request<Incoming>> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = Reply;

    fn call(&self, request: Request<Incoming>) -> Reply {
        let server = &self.server;
        server.metrics.requests_total.one();
        let heads = &server.settings.connections.heads;
        if let Some(why) = self.link.called().or_else(|| refused::over_http_2(heads, &request)) {
            return self.now(refused::answer(server, &self.link, why), None);
        }
        let (mut parts, body) = request.into_parts();
        let peer = self.link.peer.ip();
        let found = guard::called_by_its_name(server, &parts)
            .and_then(|()| route(parts.method.as_str(), parts.uri.path(), parts.uri.query()));
        let found = match admitted(server, peer, found) {
            Ok(found) => found,
            Err(error) => {
                // What was not understood may have been meant for somebody else, and so may what follows it.
                let is_last = matches!(error.code, Code::InvalidKey | Code::InvalidRequest | Code::Misdirected);
                let response = reply::error(server, error);
                let response = if is_last { refused::last(response) } else { response };
                return self.refused(response, &parts, body);
            }
        };
        if let Route::Read(asked @ Read::Entry { .. }) = &found
            && !parts.headers.contains_key(&MIN_POSITION)
            && let Some(response) = reads::entry_at_once(server, &self.link, &parts, asked)
        {
            return self.now(response, Some(&parts));
        }
        // By these somebody looks what is wrong: they take next to nothing.
        let always = matches!(found, Route::Health | Route::Ready | Route::Status | Route::Metrics | Route::Exposition);
        let requests = &server.requests;
        let mut place = match if always { Ok(requests.note(1, None)) } else { requests.take(1, None) } {
            Ok(place) => place,
            Err(error) => return self.now(reply::error(server, error), Some(&parts)),
        };
        let found = found.into_owned();
        parts.extensions.insert(Peer(peer));
        // The connection is not idle until the answer is there.
        let (server, link, answering) = (Arc::clone(server), Arc::clone(&self.link), self.link.answering());
        Reply::Later(Box::pin(async move {
            let share = (!always).then_some(&mut place);
            let mut body = Body::new(body);
            let answer = answer(&server, &link, share, found, &parts, &mut body).await;
            // Others need not wait for what is not wanted.
            drop((answering, place));
            if parts.version == Version::HTTP_2 {
                body::pass_over(&mut body).await;
            }
            let answer = noted::settled(&server, link.peer.ip(), answer, Some(&parts));
            if link.is_broken() { refused::last(answer) } else { answer }
        }))
    }
}

impl Front {
    /// An answer that is there.
    fn now(&self, response: Response, asked: Option<&Parts>) -> Reply {
        Reply::Now(Some(noted::settled(&self.server, self.link.peer.ip(), response, asked)))
    }

    /// A refusal that is there before the body, which is not wanted.
    fn refused(&self, response: Response, asked: &Parts, body: Incoming) -> Reply {
        let response = noted::settled(&self.server, self.link.peer.ip(), response, Some(asked));
        if asked.version != Version::HTTP_2 || body.is_end_stream() {
            return Reply::Now(Some(response));
        }
        Reply::Later(Box::pin(async move {
            body::pass_over(&mut Body::new(body)).await;
            response
        }))
    }
}

/// What is asked for, if this address may ask now, whatever it asks for. Whether the node lives may always be asked.
fn admitted<'r>(server: &Server, peer: IpAddr, found: Result<Route<'r>, ApiError>) -> Result<Route<'r>, ApiError> {
    if matches!(found, Ok(Route::Health | Route::Ready)) { found } else { server.rates.address(peer).and(found) }
}

/// Answers everything that may have to wait. `place` is what it takes of what its caller may have, if that is bounded.
async fn answer(
    server: &Arc<Server>,
    link: &Arc<Link>,
    place: Option<&mut Taken>,
    found: Route<'static>,
    parts: &Parts,
    body: &mut Body,
) -> Response {
    let peer = link.peer.ip();
    let (is_public, is_bounded) = (found.is_public(), place.is_some());
    let permitted = guard::permitted(server, link, &parts.headers, &found).and_then(|grant| {
        if let (Some(place), Some(caller), false) = (place, Caller::sharing(&grant, peer), is_public) {
            place.belongs_to(server.requests.key(caller))?;
        }
        Ok(grant)
    });
    let grant = match permitted {
        Ok(grant) => grant,
        Err(error) => return reply::error(server, error),
    };
    // What is made of a body is held as long as it takes to answer, and counts as long.
    let (body, held) = match body::taken(server, &grant, peer, &found, body).await {
        Ok(taken) => taken,
        // The rest of it may be under way.
        Err(error) => return refused::last(reply::error(server, error)),
    };
    // It may have taken its time to come, and a key may have changed meanwhile.
    if held.is_some()
        && let Err(error) = guard::still(server, &grant)
    {
        return reply::error(server, error);
    }
    let bounded = match &found {
        // Lines are shared by all who follow, and so are files.
        Route::Replicate => None,
        _ if is_public => None,
        found if found.changes_data() || matches!(found, Route::Key(_)) => Some(Bounded::Never),
        _ if is_bounded => Some(Bounded::ByAll),
        // By these somebody looks what is wrong, perhaps why nobody is answered with this pair.
        _ => Some(Bounded::Never),
    };
    let outcome = answer_to(server, link, &grant, found, parts, body).await;
    let answer = outcome.unwrap_or_else(|error| reply::error(server, error));
    match bounded {
        Some(bounded) => untaken::counted(server, Caller::of(&grant, peer), bounded, parts.version, answer),
        None => answer,
    }
}

/// Answers who may ask for what was found.
async fn answer_to(
    server: &Arc<Server>,
    link: &Arc<Link>,
    grant: &Arc<Grant>,
    found: Route<'static>,
    parts: &Parts,
    body: Bytes,
) -> Result<Response, ApiError> {
    match found {
        Route::Health => Ok(health::alive(server)),
        Route::Ready => Ok(health::ready(server)),
        Route::File(path) => Ok(files::file(server, &path, parts)),
        Route::Status => health::status(server),
        Route::Metrics => Ok(health::metrics(server)),
        Route::Exposition => Ok(exposition::exposition(server)),
        Route::Document => Ok(health::document(server)),
        Route::Read(read) => reads::read(server, link, grant, &read, parts).await,
        Route::CreateCollection => Box::pin(writes::create(server, grant, parts, body)).await,
        Route::DropCollection(collection) => {
            Box::pin(writes::drop_collection(server, grant, collection, parts, body)).await
        }
        Route::Set { collection, key } => {
            Box::pin(writes::entry(server, grant, collection, key, true, parts, body)).await
        }
        Route::Delete { collection, key } => {
            Box::pin(writes::entry(server, grant, collection, key, false, parts, body)).await
        }
        Route::Batch(collection) => Box::pin(writes::batch(server, grant, collection, parts, body)).await,
        Route::Replicate => replicate::stream(server, link, grant, &body),
        Route::Tokens => {
            let answer = api::token(&server.node, grant, guard::secret(&parts.headers), &body, clock::now())?;
            Ok(respond(answer))
        }
        Route::Keys => keys::list(server, link.peer.ip(), grant, parts).await,
        Route::Key(found) => Box::pin(keys::change(server, grant, found, parts, body)).await,
    }
}
