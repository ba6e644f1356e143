//! One connection from its first byte to its last.

use super::caps::Admitted;
use super::guarded::{Guarded, Protocol, Tune};
use super::limits::ConnectionLimits;
use super::link::Link;
use super::paced::{Paced, Streams};
use super::unasked::{SPEAK_TLS, say};
use crate::http::Front;
use crate::server::Server;
use crate::tls::ServerTls;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use socket2::SockRef;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

/// Streams that an HTTP/2 client may have open at one time, and of those it gave up before they were looked at.
const STREAMS_MAX: u32 = 128;
const RESETS_MAX: usize = 32;
/// What an HTTP/2 client may send before it is read, of one stream and of all.
const WINDOW_BYTES: (u32, u32) = (256 << 10, 1 << 20);

/// What is held of an answer that an HTTP/2 client does not take, of each stream.
const SEND_BYTES: usize = 64 << 10;

/// What the system takes of what is sent beyond what the other side has room for, of each connection. Left to itself it takes
/// megabytes: a thousand clients that read nothing would have as much of the machine's memory for sockets as there is. What
/// the other side takes is noticed in steps of half of it, so a step has to be little for the least rate of taking.
const UNSENT_BYTES: u32 = 32 << 10;

/// What of the bytes behind a request is read before it is answered.
const READ_AHEAD_BYTES: usize = 64 << 10;

/// What a record begins with that begins a connection of TLS (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// What belongs to one connection.
pub(super) struct Connection {
    pub(super) server: Arc<Server>,
    pub(super) limits: Arc<ConnectionLimits>,
    /// `None` where plaintext is spoken.
    pub(super) tls: Option<Arc<ServerTls>>,
    pub(super) peer: SocketAddr,
    /// Its place among those there may be.
    pub(super) admitted: Admitted,
}

impl Connection {
    /// Serves it to its end. Once `stopping` changes, no further request is taken.
    pub(super) async fn serve(self, socket: TcpStream, mut stopping: watch::Receiver<()>) {
        // Without it answers come later, and they do come.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY refused");
        }
        if let Err(error) = SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT_BYTES) {
            tracing::debug!(%error, "TCP_NOTSENT_LOWAT refused");
        }
        let Some(tls) = &self.tls else { return self.speak(socket, stopping).await };
        let secured = tokio::select! {
            secured = secure(tls, &self.limits, socket) => secured,
            _ = stopping.changed() => return,
        };
        match secured {
            Ok(secured) => self.speak(secured, stopping).await,
            Err(error) => {
                self.server.metrics.tls_failed_total.one();
                tracing::debug!(%error, peer = %self.peer, "no TLS came about");
            }
        }
    }

    /// Serves what comes over `socket`, plaintext or not.
    ///
    /// A driver of streams that takes plaintext sockets over would do so here: behind the first head, which [`Guarded`]
    /// has checked and still holds, and before HTTP is told of it.
    async fn speak<S>(self, socket: S, mut stopping: watch::Receiver<()>)
    where
        S: AsyncRead + AsyncWrite + Tune + Unpin + Send + 'static,
    {
        let link = Arc::new(Link::new(self.peer));
        let mut guarded = Guarded::new(socket, Arc::clone(&link), Arc::clone(&self.limits));
        let protocol = tokio::select! {
            protocol = guarded.sniff() => protocol,
            _ = stopping.changed() => return,
        };
        let (io, front) = (TokioIo::new(guarded), Front::new(Arc::clone(&self.server), Arc::clone(&link)));
        // What a connection ended by is its own affair: whoever waited for an answer sees that it is gone.
        match protocol {
            Ok(Some(Protocol::Http1)) => {
                let heads = &self.limits.heads;
                let mut builder = http1::Builder::new();
                builder.max_headers(heads.fields_max).max_buf_size(heads.bytes_max.max(READ_AHEAD_BYTES));
                builder.header_read_timeout(None);
                self.see_through(&link, builder.serve_connection(io, front), stopping).await;
            }
            Ok(Some(Protocol::Http2)) => {
                let mut builder =
                    http2::Builder::new(Streams { link: Arc::clone(&link), limits: Arc::clone(&self.limits) });
                builder
                    .timer(TokioTimer::new())
                    .max_concurrent_streams(STREAMS_MAX)
                    .max_pending_accept_reset_streams(RESETS_MAX)
                    .max_local_error_reset_streams(RESETS_MAX)
                    .max_send_buf_size(SEND_BYTES)
                    .initial_stream_window_size(WINDOW_BYTES.0)
                    .initial_connection_window_size(WINDOW_BYTES.1)
                    .max_header_list_size(u32::try_from(self.limits.heads.bytes_max).unwrap_or(u32::MAX));
                self.see_through(&link, builder.serve_connection(io, Paced(front)), stopping).await;
            }
            Ok(None) | Err(_) => {}
        }
        drop(self.admitted);
    }

    /// Drives a connection to its end, and from the moment that `stopping` changes or it is to be left to the end of what
    /// it has begun.
    async fn see_through<C>(&self, link: &Link, connection: C, mut stopping: watch::Receiver<()>)
    where
        C: GracefulConnection,
        C::Error: Display,
    {
        let leave = async {
            tokio::select! {
                _ = stopping.changed() => {}
                () = link.left() => {}
            }
        };
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = leave => {
                link.takes_leave();
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, peer = %self.peer, "a connection broke off");
        }
    }
}

/// Makes `socket` one that speaks TLS.
///
/// # Errors
/// When the other side does not speak it, or too slowly, or shows no certificate that is to be had of it.
async fn secure(tls: &ServerTls, limits: &ConnectionLimits, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    let count = timeout(limits.first_byte, socket.peek(&mut first)).await??;
    if count > 0 && first[0] != HANDSHAKE {
        say(socket, SPEAK_TLS).await;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the first byte is none of TLS"));
    }
    timeout(limits.head, tls.acceptor().accept(socket)).await?
}

impl Tune for TlsStream<TcpStream> {
    fn abort(&self) {
        self.get_ref().0.abort();
    }

    fn give_up_after(&self, time: Duration) {
        self.get_ref().0.give_up_after(time);
    }
}

impl Tune for TcpStream {
    fn abort(&self) {
        if let Err(error) = SockRef::from(self).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "SO_LINGER refused");
        }
    }

    fn give_up_after(&self, time: Duration) {
        let ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        // Without it a connection to one who is gone lives longer.
        if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(self, ms) {
            tracing::debug!(%error, "TCP_USER_TIMEOUT refused");
        }
    }
}
