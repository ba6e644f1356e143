//! The HTTP API: one service that resolves a request by core's own route and answers it.
//!
//! Reads of entries are answered within the call, before anything is boxed or awaited. Nothing else decides on paths, so
//! authorisation and lookups see the decoded key that core saw.

mod body;
mod files;
mod guard;
mod health;
mod reads;
mod replicate;
mod reply;
mod wait;
mod writes;

pub(crate) use reply::respond;

use crate::server::Server;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::HeaderName;
use axum::http::request::Parts;
use axum::response::Response;
use axum::serve::IncomingStream;
use headwater_core::api::{ApiError, HEADER_MIN_POSITION, Read, Route, route};
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpListener;
use tower_service::Service;

static MIN_POSITION: HeaderName = HeaderName::from_static(HEADER_MIN_POSITION);

/// The service of one connection.
#[derive(Clone)]
pub(crate) struct Front(pub(crate) Arc<Server>);

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

impl Service<Request> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = Reply;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Reply {
        let (parts, body) = request.into_parts();
        let server = &self.0;
        server.metrics.requests_total.one();
        let found = guard::called_by_its_name(server, &parts)
            .and_then(|()| route(parts.method.as_str(), parts.uri.path(), parts.uri.query()));
        match found {
            Err(error) => Reply::Now(Some(reply::error(server, error))),
            Ok(Route::Read(Read::Entry { collection, key })) if !parts.headers.contains_key(&MIN_POSITION) => {
                match reads::entry_at_once(server, &parts, &collection, &key) {
                    Some(response) => Reply::Now(Some(response)),
                    None => Reply::Later(Box::pin(reads::elsewhere(Arc::clone(server), parts))),
                }
            }
            Ok(found) => {
                let found = found.into_owned();
                Reply::Later(Box::pin(answer(Arc::clone(server), found, parts, body)))
            }
        }
    }
}

/// Answers everything that may have to wait.
async fn answer(server: Arc<Server>, found: Route<'static>, parts: Parts, body: Body) -> Response {
    let outcome = match found {
        Route::Health => Ok(health::alive(&server)),
        Route::Ready => Ok(health::ready(&server)),
        Route::File(path) => Ok(files::file(&server, &path, &parts)),
        Route::Status => health::status(&server, &parts),
        Route::Metrics => health::metrics(&server, &parts),
        Route::Read(read) => return reads::read(server, read, parts).await,
        Route::CreateCollection => Box::pin(writes::create(&server, parts, body)).await,
        Route::DropCollection(collection) => Box::pin(writes::drop_collection(&server, collection, parts, body)).await,
        Route::Set { collection, key } => Box::pin(writes::entry(&server, collection, key, true, parts, body)).await,
        Route::Delete { collection, key } => {
            Box::pin(writes::entry(&server, collection, key, false, parts, body)).await
        }
        Route::Batch(collection) => Box::pin(writes::batch(&server, collection, parts, body)).await,
        Route::Replicate => replicate::stream(&server, &parts, body).await,
    };
    outcome.unwrap_or_else(|error: ApiError| reply::error(&server, error))
}

/// Hands each connection its service.
pub(crate) struct Connections(pub(crate) Front);

impl<L> Service<IncomingStream<'_, L>> for Connections
where
    L: axum::serve::Listener,
{
    type Response = Front;
    type Error = Infallible;
    type Future = Ready<Result<Front, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: IncomingStream<'_, L>) -> Self::Future {
        ready(Ok(self.0.clone()))
    }
}

/// Serves until `stop` resolves and every request in flight is answered.
pub(crate) async fn serve(
    server: Arc<Server>,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    use axum::serve::ListenerExt as _;
    let dead_after_ms = u32::try_from(server.settings.ping_ms.saturating_mul(3)).unwrap_or(u32::MAX);
    let listener = listener.tap_io(move |stream| {
        // Without these a connection still works: later, or dead for longer.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY refused");
        }
        // A child that is gone without a word, or has stopped reading, is dead once it has not acknowledged this long.
        if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(&*stream, dead_after_ms) {
            tracing::debug!(%error, "TCP_USER_TIMEOUT refused");
        }
    });
    axum::serve(listener, Connections(Front(server))).with_graceful_shutdown(stop).await
}
