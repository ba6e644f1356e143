//! The loop that takes connections.

use super::caps::Caps;
use super::connection::Connection;
use super::unasked::{TOO_MANY, say};
use crate::audit::Refusals;
use crate::server::Server;
use crate::tls::ServerTls;
use headwater_core::api::Code;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

/// First and longest wait after the system has no more sockets or no more memory to give.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// To how many, of those that are too many, it is said so at one time that they hear it.
const TOLD_MAX: usize = 64;

/// Serves until `stop` resolves and every request in flight is answered.
pub(crate) async fn serve(
    server: Arc<Server>,
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    stop: impl Future<Output = ()> + Send,
) {
    let limits = Arc::new(server.settings.connections.clone());
    let caps = Arc::new(Caps::new(limits.connections_max, limits.address_max));
    // Every connection holds an end: one signal reaches all of them, and the last one gone is noticed.
    let (stopping, _) = watch::channel(());
    let telling = Arc::new(Semaphore::new(TOLD_MAX));
    let mut pause = Duration::ZERO;
    // It has to answer as long as connections are taken, and no longer.
    let files = async {
        match &tls {
            Some(tls) => tls.attend().await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(stop, files);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
            never = &mut files => match never {},
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                if pause.is_zero() {
                    tracing::error!(%error, "no connection can be taken: those that are open go on, and it is tried again");
                }
                server.metrics.connections_paused_total.one();
                server.takes_connections.store(false, Ordering::Relaxed);
                pause = (pause * 2).clamp(PAUSE.0, PAUSE.1);
                tokio::select! {
                    () = sleep(pause) => continue,
                    () = &mut stop => break,
                }
            }
        };
        if !std::mem::take(&mut pause).is_zero() {
            server.takes_connections.store(true, Ordering::Relaxed);
            tracing::info!("connections are taken again");
        }
        match caps.admit(peer.ip()) {
            Ok(admitted) => {
                let (server, limits) = (Arc::clone(&server), Arc::clone(&limits));
                let counted = Counted::new(&server);
                let connection = Connection { server, limits, tls: tls.clone(), peer, admitted };
                let stopping = stopping.subscribe();
                tokio::spawn(async move {
                    connection.serve(socket, stopping).await;
                    drop(counted);
                });
            }
            Err(too_many) => {
                server.metrics.connections_refused_total.one();
                tracing::debug!(?too_many, %peer, "a connection was refused");
                server.audit.refused(Refusals::of(Code::Overloaded, peer.ip()));
                // Over TLS it would take a handshake.
                if tls.is_none() {
                    tell(&telling, socket);
                }
            }
        }
    }
    drop(listener);
    stopping.send_replace(());
    stopping.closed().await;
}

/// Tells a connection that it is one too many, and closes it: where there is room for that, once the other side, which may
/// be sending its request, has heard it; otherwise at once.
fn tell(telling: &Arc<Semaphore>, socket: TcpStream) {
    match Arc::clone(telling).try_acquire_owned() {
        Ok(room) => {
            tokio::spawn(async move {
                say(socket, TOO_MANY).await;
                drop(room);
            });
        }
        // Whether it gets there is not to be known, and nobody waits for it.
        Err(_) => drop(socket.try_write(TOO_MANY)),
    }
}

/// A connection as the node's metrics count it, however it ends.
struct Counted(Arc<Server>);

impl Counted {
    fn new(server: &Arc<Server>) -> Self {
        server.metrics.connections_opened_total.one();
        Self(Arc::clone(server))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.metrics.connections_closed_total.one();
    }
}

/// Whether an error of accept is of the connection that was to be taken, and not of those that follow.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
