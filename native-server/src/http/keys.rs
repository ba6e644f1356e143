//! The keys of the API: listed from this node's state, changed by the writer. What may become of a key is core's to say.

use super::noted::peer_of;
use super::{guard, reads, wait, writes};
use crate::audit::Op;
use crate::pool::Caller;
use crate::replica::forward;
use crate::server::{Server, Work};
use crate::writer::{Origin, RequestAction, WriteRequest};
use crate::{clock, random};
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;
use headwater_core::api::{self, Answer, ApiError, Code, Drawn, KeyChange, KeyRequest, KeyRoute};
use headwater_core::credentials::Grant;
use headwater_core::name;
use headwater_core::store::Store;
use headwater_core::store::memory::MemorySnapshot;
use headwater_core::writer::Guard;
use std::net::IpAddr;
use std::sync::Arc;

/// `GET /v1/keys`.
///
/// # Errors
/// The answer to give instead.
pub(super) async fn list(server: &Server, peer: IpAddr, grant: &Grant, parts: &Parts) -> Result<Response, ApiError> {
    let holds_keys = server.node.store().progress().scope.covers_prefix(name::KEYS, "");
    if holds_keys && wait::reached(server, &parts.headers, Caller::sharing(grant, peer)).await? {
        // The key of who asks may be one of those that have changed meanwhile.
        guard::still(server, grant)?;
    }
    reads::answered(server, parts, api::keys(&server.node, clock::now())?, None).await
}

/// Any change of a key.
///
/// # Errors
/// The answer to give instead.
pub(super) async fn change(
    server: &Arc<Server>,
    grant: &Grant,
    found: KeyRoute<'static>,
    parts: &Parts,
    body: Bytes,
) -> Result<Response, ApiError> {
    let request = KeyRequest::read(found, &body)?;
    match &server.work {
        Work::Replica(upstream) => {
            server.metrics.writes_forwarded_total.one();
            let answer = forward::write(server, upstream, parts, body).await?;
            writes::note_forwarded(server, &answer, (Op::Key, name::KEYS.into(), grant.credential.clone()), parts);
            Ok(answer)
        }
        Work::Writer { .. } => {
            // A task of its own: whoever asks may go away at any moment, and the turn must not end before the change is
            // state, or the next would be decided without it.
            let changing = tokio::spawn(carried_out(Arc::clone(server), grant.clone(), request, peer_of(parts)));
            changing.await.unwrap_or_else(|_| {
                Err(ApiError::new(
                    Code::OutcomeUnknown,
                    "the change failed half-way: list the keys to see what is there",
                ))
            })
        }
    }
}

async fn carried_out(
    server: Arc<Server>,
    grant: Grant,
    request: KeyRequest,
    peer: Option<IpAddr>,
) -> Result<Response, ApiError> {
    let _turn = server.keys_turn.lock().await;
    let store = server.node.store();
    let now = clock::now();
    // Whoever waited for the turn may have lost the right meanwhile.
    let grant = grant.renewed(store, now.wall_ms).map_err(ApiError::store_failed)?.ok_or_else(ApiError::forbidden)?;
    api::permit(&grant, &api::Route::Keys)?;
    let (id, secret) = (format!("key-{}", &random::id().to_string()[..12]), random::secret());
    let fate = request.fate();
    let KeyChange { id, value, body } = request.decide(store, &grant, Drawn { id: &id, secret: &secret }, now)?;
    let write = async |action| {
        let origin = Origin { by: grant.credential.clone(), mark: None, peer };
        let request =
            WriteRequest { system: true, fate: Some(fate), ..WriteRequest::of(name::KEYS.into(), action, origin) };
        match &server.work {
            Work::Writer { writes, .. } => writes.write(request).await,
            Work::Replica(_) => Err(ApiError::new(Code::Misdirected, "keys are changed by the writer")),
        }
    };
    // A node that was only ever started for development has none yet.
    if store.collection(name::KEYS).map_err(ApiError::store_failed)?.is_none() {
        write(RequestAction::Create).await?;
    }
    let written = write(RequestAction::Entry { key: id.clone(), value, guard: Guard::default() }).await?;
    tracing::info!(id, by = grant.credential, "a key was {}", fate.word());
    let answer: Answer<MemorySnapshot> = Answer::json(body).as_of(written.position, None);
    Ok(super::respond(answer))
}
