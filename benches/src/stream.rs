//! A child of a node as a bench needs it: it asks for everything, decodes every line and insists on an unbroken log.

use crate::http::{Begun, Chunked, Connection, Endpoint};
use crate::socket::Socket;
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use headwater_core::command::{Deframer, Line, Resume, Steer, Trust, decode, lines};
use headwater_core::id::Id;
use headwater_core::position::Position;
use headwater_core::scope::Scope;
use headwater_core::stream::{Cursor, Request};
use tokio::io::AsyncReadExt;

/// Instances of this program's streams, one above the other: no other node here has one like them.
const INSTANCES: u128 = 0xbe << 120;

/// What asks `endpoint` for a stream as the child of this number.
pub(crate) fn request(endpoint: &Endpoint, number: u64, scope: Scope, cursor: Option<Position>) -> Bytes {
    let body = Request {
        node: format!("bench-{number}"),
        instance: Some(Id::from_bytes((INSTANCES | u128::from(number)).to_be_bytes())),
        cursor: cursor.map(|position| Cursor { position, takeover: None, scope: scope.clone() }),
        takeover: None,
        scope,
    };
    endpoint.request("POST", "/v1/replicate", &body.to_body())
}

/// A stream of scope `**`, on which every seq must follow the one before.
pub(crate) struct Follower {
    socket: Socket,
    chunked: Chunked,
    deframer: Deframer,
    begun: Vec<u8>,
    /// Seq of the last record seen, or of the baseline.
    seq: u64,
    epoch: u64,
    ready: bool,
    buffer: Box<[u8]>,
}

impl Follower {
    /// Asks `endpoint` for its stream: the tail after `cursor`, or with a baseline first. Does not read it yet.
    pub(crate) async fn open(endpoint: &Endpoint, number: u64, cursor: Option<Position>) -> anyhow::Result<Self> {
        let request = request(endpoint, number, Scope::Everything, cursor);
        let (socket, begun) = match Connection::open(endpoint).await?.begin_stream(&request).await? {
            Begun::Stream(socket, begun) => (socket, begun),
            Begun::Refused { status, why, .. } => bail!("a stream was refused with {status}: {why}"),
        };
        Ok(Self {
            socket,
            chunked: Chunked::default(),
            deframer: Deframer::new(),
            begun,
            seq: cursor.map_or(0, |position| position.seq),
            epoch: 0,
            ready: false,
            buffer: vec![0; 16 << 10].into(),
        })
    }

    /// Reads until the baseline is over, or the tail is granted; returns the position reached.
    pub(crate) async fn until_ready(&mut self) -> anyhow::Result<Position> {
        while !self.ready {
            self.receive(|_| {}).await?;
        }
        Ok(Position { epoch: self.epoch, seq: self.seq })
    }

    /// Reads whatever there is, at least something, and hands the seq of each record to `seen`, in order.
    pub(crate) async fn receive(&mut self, mut seen: impl FnMut(u64)) -> anyhow::Result<()> {
        let begun = std::mem::take(&mut self.begun);
        let mut blocks: Vec<Bytes> = Vec::new();
        let bytes = if begun.is_empty() {
            let read = self.socket.read(&mut self.buffer).await?;
            ensure!(read > 0, "the server closed the stream without END");
            &self.buffer[..read]
        } else {
            &begun[..]
        };
        let (mut failed, deframer) = (None, &mut self.deframer);
        self.chunked.push(bytes, |body| match deframer.push(body) {
            Ok(block) => blocks.extend(block),
            Err(error) => failed = Some(error),
        })?;
        if let Some(error) = failed {
            bail!(error);
        }
        for block in &blocks {
            for (_, line) in lines(block) {
                self.line(line, &mut seen).with_context(|| String::from_utf8_lossy(line).into_owned())?;
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8], seen: &mut impl FnMut(u64)) -> anyhow::Result<()> {
        match decode(line, Trust::Checked)? {
            Line::Log(command) => {
                ensure!(self.ready, "a record within a baseline");
                ensure!(command.seq == self.seq + 1, "seq {} after {}", command.seq, self.seq);
                self.seq = command.seq;
                seen(command.seq);
            }
            Line::Steer(Steer::Hello(hello)) => {
                ensure!(hello.resume != Resume::None, "the server has no stream for this cursor");
                self.epoch = hello.epoch;
                self.ready = hello.resume == Resume::Tail;
            }
            Line::Steer(Steer::Ready(ready)) => {
                self.seq = ready.seq;
                self.ready = true;
            }
            Line::Steer(Steer::End(end)) => bail!("the server said END: {end:?}"),
            Line::Steer(Steer::Ping(Some(ping))) => {
                ensure!(ping.seq == self.seq, "PING at {} while at {}", ping.seq, self.seq);
            }
            Line::Steer(_) | Line::Entry(_) | Line::Ignored => {}
        }
        Ok(())
    }

    /// Seq of the last record seen.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }
}
