//! The loop that takes connections.

use super::caps::{Caps, TooMany};
use super::connection::Connection;
use crate::server::Server;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

/// First and longest wait after the system has no more sockets or no more memory to give.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What one connection too many is told, as far as it can be told at once.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
    retry-after: 1\r\nconnection: close\r\ncontent-length: 88\r\n\r\n\
    {\"ok\":false,\"error\":\"overloaded\",\"message\":\"there are too many connections: come back\"}\n";

/// Serves until `stop` resolves and every request in flight is answered.
pub(crate) async fn serve(server: Arc<Server>, listener: TcpListener, stop: impl Future<Output = ()> + Send) {
    let limits = Arc::new(server.settings.connections.clone());
    let caps = Arc::new(Caps::new(limits.connections_max, limits.address_max));
    // Every connection holds an end: one signal reaches all of them, and the last one gone is noticed.
    let (stopping, _) = watch::channel(());
    let mut pause = Duration::ZERO;
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
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
                let connection =
                    Connection { server: Arc::clone(&server), limits: Arc::clone(&limits), peer, admitted };
                tokio::spawn(connection.serve(socket, stopping.subscribe()));
            }
            Err(too_many) => {
                server.metrics.connections_refused_total.one();
                refuse(&socket, too_many);
            }
        }
    }
    drop(listener);
    stopping.send_replace(());
    stopping.closed().await;
}

/// Whether an error of accept is of the connection that was to be taken, and not of those that follow.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Says why, as far as that takes no time, and closes.
fn refuse(socket: &TcpStream, too_many: TooMany) {
    tracing::debug!(?too_many, "a connection was refused");
    // One who is not there to hear it needs no answer.
    socket.try_write(TOO_MANY).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_to_one_too_many_is_an_answer() {
        let text = std::str::from_utf8(TOO_MANY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{} bytes", body.len());
        assert!(serde_json::from_str::<serde_json::Value>(body).unwrap()["message"].is_string());
    }
}
