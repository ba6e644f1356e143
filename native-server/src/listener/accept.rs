//! The loop that takes connections.

use super::caps::Caps;
use super::connection::Connection;
use super::unasked::TOO_MANY;
use crate::audit::Refusals;
use crate::server::Server;
use crate::tls::ServerTls;
use headwater_core::api::Code;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;

/// First and longest wait after the system has no more sockets or no more memory to give.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

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
                pause = (pause * 2).clamp(PAUSE.0, PAUSE.1);
                tokio::select! {
                    () = sleep(pause) => continue,
                    () = &mut stop => break,
                }
            }
        };
        if !std::mem::take(&mut pause).is_zero() {
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
                // As far as it takes no time. Over TLS nothing can be said that takes none.
                if tls.is_none() {
                    socket.try_write(TOO_MANY).ok();
                }
            }
        }
    }
    drop(listener);
    stopping.send_replace(());
    stopping.closed().await;
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
