//! The HTTP API: one service that resolves a request by core's own route and answers it.
//!
//! Reads of entries are answered within the call, before anything is boxed or awaited. Nothing else decides on paths, so
//! authorisation and lookups see the decoded key that core saw.

mod basic;
mod body;
mod exposition;
mod files;
mod guard;
mod health;
mod keys;
mod reads;
mod refused;
mod replicate;
mod reply;
mod wait;
mod writes;

pub(crate) use reply::respond;

use crate::listener::Link;
use crate::server::Server;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::HeaderName;
use axum::http::request::Parts;
use axum::response::Response;
use headwater_core::api::{ApiError, Code, HEADER_MIN_POSITION, Read, Route, route};
use headwater_core::credentials::Grant;
use hyper::body::Incoming;
use hyper::service::Service;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

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
        if let Some(why) = self.link.called() {
            return Reply::Now(Some(refused::answer(server, &self.link, why)));
        }
        let (parts, body) = request.into_parts();
        let found = guard::called_by_its_name(server, &parts)
            .and_then(|()| route(parts.method.as_str(), parts.uri.path(), parts.uri.query()));
        match found {
            Err(error) => {
                // What was not understood may have been meant for somebody else, and so may what follows it.
                let is_last = matches!(error.code, Code::InvalidKey | Code::InvalidRequest | Code::Misdirected);
                let response = reply::error(server, error);
                Reply::Now(Some(if is_last { refused::last(response) } else { response }))
            }
            Ok(Route::Read(Read::Entry { collection, key })) if !parts.headers.contains_key(&MIN_POSITION) => {
                match reads::entry_at_once(server, &parts, &collection, &key) {
                    Some(response) => Reply::Now(Some(response)),
                    None => self.later(reads::sent_elsewhere(Arc::clone(server), parts)),
                }
            }
            Ok(found) => {
                let found = found.into_owned();
                self.later(answer(Arc::clone(server), Arc::clone(&self.link), found, parts, Body::new(body)))
            }
        }
    }
}

impl Front {
    /// The connection is not idle until `answer` is there.
    fn later(&self, answer: impl Future<Output = Response> + Send + 'static) -> Reply {
        let (link, answering) = (Arc::clone(&self.link), self.link.answering());
        Reply::Later(Box::pin(async move {
            let answer = answer.await;
            drop(answering);
            if link.is_broken() { refused::last(answer) } else { answer }
        }))
    }
}

/// Answers everything that may have to wait.
async fn answer(server: Arc<Server>, link: Arc<Link>, found: Route<'static>, parts: Parts, body: Body) -> Response {
    let outcome = match guard::permitted(&server, &parts.headers, &found) {
        Ok(grant) => answer_to(&server, &link, &grant, found, parts, body).await,
        Err(error) => Err(error),
    };
    outcome.unwrap_or_else(|error: ApiError| {
        let is_last = error.code == Code::RequestTimeout;
        let response = reply::error(&server, error);
        if is_last { refused::last(response) } else { response }
    })
}

/// Answers who may ask for what was found.
async fn answer_to(
    server: &Arc<Server>,
    link: &Arc<Link>,
    grant: &Grant,
    found: Route<'static>,
    parts: Parts,
    body: Body,
) -> Result<Response, ApiError> {
    match found {
        Route::Health => Ok(health::alive(server)),
        Route::Ready => Ok(health::ready(server)),
        Route::File(path) => Ok(files::file(server, &path, &parts)),
        Route::Status => health::status(server),
        Route::Metrics => Ok(health::metrics(server)),
        Route::Exposition => Ok(exposition::exposition(server)),
        Route::Read(read) => reads::read(server, grant, &read, &parts).await,
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
        Route::Replicate => replicate::stream(server, link, grant, &parts, body).await,
        Route::Keys => keys::list(server, &parts).await,
        Route::Key(found) => Box::pin(keys::change(server, grant, found, parts, body)).await,
    }
}
