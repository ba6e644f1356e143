//! A connection's bytes between the socket and HTTP: held until they have one reading, and timed.
//!
//! What is wrong is answered in its turn: a request that is refused is replaced by one of ours, which the service knows
//! by its number ([`Link`]) and answers with the reason. So the answers before it go out first, and it looks like any other.

use super::clock::{Clock, Lapse, Timer};
use super::frames::{Frames, PREFACE};
use super::framing::{Framing, Step};
use super::limits::{ConnectionLimits, LINGER};
use super::link::{Link, Refused};
use bytes::{Buf, BytesMut};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What is read at once.
const READ_BYTES: usize = 8 << 10;
/// What stands for a request that is refused.
const REFUSED: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";
/// What a method of HTTP/1.1 may begin with, as the preface of HTTP/2 does.
const METHOD_BYTES: usize = 3;

/// A socket that can be told what becomes of what it was given and the other side has not taken. What cannot be set stays as
/// it is.
pub(super) trait Tune {
    /// It is given up once the other side has not acknowledged it for so long, or has had no room for all of it: the system
    /// does not tell these apart from one that takes it slowly.
    fn give_up_after(&self, time: Duration);

    /// When the socket is closed, it is given up at once.
    fn abort(&self);
}

/// Which protocol a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    socket: S,
    link: Arc<Link>,
    limits: Arc<ConnectionLimits>,
    watch: Watch,
    /// What was read and not handed on.
    buffer: BytesMut,
    /// So many bytes at its beginning may be handed on.
    passed: usize,
    /// Heads handed on.
    heads: u64,
    state: State,
    clock: Clock,
    timer: Timer,
    tuned: bool,
}

#[derive(Debug)]
enum Watch {
    /// Too few bytes to tell.
    Unknown,
    Http1(Framing),
    Http2 {
        received: Frames,
        sent: Frames,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing that comes is handed on any more. Once it is being closed, so many bytes are still taken in until then.
    Refused,
    Lingering(u64, Instant),
}

impl<S: AsyncRead + AsyncWrite + Tune + Unpin> Guarded<S> {
    pub(super) fn new(socket: S, link: Arc<Link>, limits: Arc<ConnectionLimits>) -> Self {
        let now = Instant::now();
        Self {
            clock: Clock::new(now, limits.write),
            timer: Timer::new(now),
            socket,
            link,
            limits,
            watch: Watch::Unknown,
            buffer: BytesMut::new(),
            passed: 0,
            heads: 0,
            state: State::Open,
            tuned: false,
        }
    }

    /// Finds out which protocol is spoken; `None` when nothing comes.
    ///
    /// # Errors
    /// The socket's.
    pub(super) async fn sniff(&mut self) -> io::Result<Option<Protocol>> {
        std::future::poll_fn(|context| {
            loop {
                let seen = self.buffer.len().min(PREFACE.len());
                if self.buffer[..seen] != PREFACE[..seen] {
                    self.watch = Watch::Http1(Framing::new(self.limits.heads));
                    return Poll::Ready(Ok(Some(Protocol::Http1)));
                }
                if seen == PREFACE.len() {
                    let (mut received, sent) = (Frames::of_client(), Frames::of_server());
                    received.see(&self.buffer);
                    if received.is_between_frames() {
                        self.clock.is_whole();
                    }
                    (self.watch, self.passed) = (Watch::Http2 { received, sent }, self.buffer.len());
                    return Poll::Ready(Ok(Some(Protocol::Http2)));
                }
                match ready!(self.poll_fill(context)) {
                    Ok(Filled::More) => {}
                    Ok(Filled::Lapsed(Lapse::Head)) if self.buffer.len() <= METHOD_BYTES => {
                        self.watch = Watch::Http1(Framing::new(self.limits.heads));
                        self.refuse(Refused::Slow);
                        return Poll::Ready(Ok(Some(Protocol::Http1)));
                    }
                    Ok(Filled::Ended | Filled::Lapsed(_)) => return Poll::Ready(Ok(None)),
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        })
        .await
    }

    /// Reads more into the buffer.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Filled>> {
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        let mut read = ReadBuf::uninit(&mut space);
        loop {
            if let Poll::Ready(outcome) = Pin::new(&mut self.socket).poll_read(context, &mut read) {
                outcome?;
                let bytes = read.filled();
                if bytes.is_empty() {
                    return Poll::Ready(Ok(Filled::Ended));
                }
                self.buffer.extend_from_slice(bytes);
                self.clock.hears();
                match &mut self.watch {
                    Watch::Http2 { received, .. } => {
                        let now = Instant::now();
                        // Everything else, PING and SETTINGS and the like, is nothing that a connection is there for.
                        if received.see(bytes).fields {
                            self.clock.is_active(now);
                        }
                        self.passed = self.buffer.len();
                        if received.is_between_frames() {
                            self.clock.is_whole();
                        } else {
                            self.clock.begins(now);
                        }
                    }
                    Watch::Http1(framing) if !framing.is_in_head() => self.clock.is_active(Instant::now()),
                    // A head counts by its answer, and until it is whole by when it was begun.
                    Watch::Http1(_) => {}
                    Watch::Unknown => {
                        let now = Instant::now();
                        self.clock.is_active(now);
                        self.clock.begins(now);
                    }
                }
                return Poll::Ready(Ok(Filled::More));
            }
            if self.buffer.is_empty() {
                // Most connections wait most of the time.
                self.buffer = BytesMut::new();
            }
            if matches!(self.watch, Watch::Http2 { .. }) && self.link.has_taken_leave() {
                // One that answers nothing would be waited for: what of the library's farewell is heard is not known.
                self.clock.takes_leave(Instant::now());
            }
            let is_in_body = self.is_in_body();
            let (deadline, lapse) = self.clock.deadline(Instant::now, &self.limits, &self.link, is_in_body);
            ready!(self.timer.poll(deadline, context));
            if lapse != Lapse::Look {
                return Poll::Ready(Ok(Filled::Lapsed(lapse)));
            }
        }
    }

    /// Puts a request of ours in place of everything that is there.
    fn refuse(&mut self, why: Refused) {
        self.heads += 1;
        self.link.refuse(self.heads, why);
        self.buffer.clear();
        self.buffer.extend_from_slice(REFUSED);
        (self.passed, self.state) = (REFUSED.len(), State::Refused);
        self.clock.is_whole();
    }

    /// Whether a body of HTTP/1.1 is to come, and nothing else.
    fn is_in_body(&self) -> bool {
        matches!(&self.watch, Watch::Http1(framing) if !framing.is_in_head())
    }

    /// Finds out how many of the bytes that were read may be handed on. Returns whether more have to be read.
    fn pass(&mut self) -> io::Result<bool> {
        let Watch::Http1(framing) = &mut self.watch else { return Ok(true) };
        match framing.next(&self.buffer) {
            Ok(Step::Head(count)) => {
                (self.heads, self.passed) = (self.heads + 1, count);
                self.clock.is_whole();
                Ok(false)
            }
            Ok(Step::Body(count)) => {
                self.passed = count;
                Ok(false)
            }
            Ok(Step::Skip(count)) => {
                self.buffer.advance(count);
                Ok(false)
            }
            Ok(Step::More) => {
                if self.buffer.is_empty() {
                    self.clock.is_whole();
                } else if framing.is_in_head() {
                    self.clock.begins(Instant::now());
                }
                Ok(true)
            }
            Err(violation) if framing.is_in_head() => {
                self.refuse(Refused::Violation(violation));
                Ok(false)
            }
            Err(violation) => {
                // Whoever reads the body is told, and answers.
                self.state = State::Refused;
                self.link.breaks_off();
                Err(io::Error::new(io::ErrorKind::InvalidData, format!("{violation:?}")))
            }
        }
    }

    /// Takes in what still comes behind a refusal.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        while let State::Lingering(left, until) = self.state {
            let mut read = ReadBuf::uninit(&mut space);
            if let Poll::Ready(outcome) = Pin::new(&mut self.socket).poll_read(context, &mut read) {
                let count = read.filled().len() as u64;
                if outcome.is_err() || count == 0 || count >= left {
                    break;
                }
                self.state = State::Lingering(left - count, until);
                continue;
            }
            return self.timer.poll(until, context);
        }
        Poll::Ready(())
    }

    /// Notes what went out of these pieces.
    fn goes_out<'b>(&mut self, outcome: &Poll<io::Result<usize>>, pieces: impl IntoIterator<Item = &'b [u8]>) {
        let mut count = if let Poll::Ready(Ok(count)) = outcome { *count } else { 0 };
        let is_active = match &mut self.watch {
            Watch::Http2 { sent, .. } => {
                let mut of_answer = false;
                for piece in pieces {
                    let seen = sent.see(&piece[..count.min(piece.len())]);
                    of_answer |= seen.fields || seen.data;
                    count -= count.min(piece.len());
                }
                of_answer
            }
            _ => true,
        };
        if is_active {
            self.clock.is_active(Instant::now());
        }
    }

    /// Notes what became of sending `bytes`: what is not taken is given up after a while. An answer of HTTP/1.1 has a rate
    /// to be taken at; of streams of lines, and where more than one answer is under way, any byte will do here.
    fn wrote<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(outcome) = outcome {
            self.clock.is_taken(outcome.as_ref().map_or(0, bytes), Instant::now);
            return Poll::Ready(outcome);
        }
        let silence = match &self.watch {
            _ if self.link.is_streaming() => Some(self.limits.stream_write),
            Watch::Http2 { .. } => Some(self.limits.write.grace),
            _ => None,
        };
        let until = self.clock.is_stuck(Instant::now(), silence);
        ready!(self.timer.poll(until, context));
        self.socket.abort();
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the other side takes too little, or nothing any more",
        )))
    }

    fn tune(&mut self) {
        if !self.tuned && self.link.is_streaming() {
            self.tuned = true;
            self.socket.give_up_after(self.limits.stream_write);
        }
    }
}

/// What came of reading.
enum Filled {
    More,
    Ended,
    Lapsed(Lapse),
}

impl<S: AsyncRead + AsyncWrite + Tune + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.passed > 0 {
                let count = this.passed.min(out.remaining());
                out.put_slice(&this.buffer[..count]);
                this.buffer.advance(count);
                this.passed -= count;
                return Poll::Ready(Ok(()));
            }
            if this.state != State::Open {
                // What was refused is answered, and that ends the connection.
                return Poll::Pending;
            }
            if !this.pass()? {
                continue;
            }
            match ready!(this.poll_fill(context))? {
                Filled::More => {}
                Filled::Lapsed(Lapse::Head) if matches!(this.watch, Watch::Http1(_)) => this.refuse(Refused::Slow),
                // By what GOAWAY says a client knows which of its requests it may send again.
                Filled::Lapsed(_)
                    if matches!(this.watch, Watch::Http2 { .. }) && this.clock.takes_leave(Instant::now()) =>
                {
                    this.link.leave();
                }
                Filled::Ended | Filled::Lapsed(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Tune + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.tune();
        let outcome = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.goes_out(&outcome, [bytes]);
        self.wrote(outcome, |count| *count, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.tune();
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(context, pieces);
        self.goes_out(&outcome, pieces.iter().map(|piece| &**piece));
        self.wrote(outcome, |count| *count, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.socket).poll_flush(context);
        self.wrote(outcome, |()| 0, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !matches!(self.state, State::Lingering(..)) {
            let outcome = Pin::new(&mut self.socket).poll_shutdown(context);
            ready!(self.wrote(outcome, |()| 0, context))?;
            if self.state == State::Open && !self.is_in_body() {
                return Poll::Ready(Ok(()));
            }
            self.state = State::Lingering(LINGER.0, Instant::now() + LINGER.1);
        }
        self.poll_linger(context).map(Ok)
    }
}
