//! The parent's side of a stream: what one child is sent, from HELLO to END.
//!
//! A [`Stream`] is pulled: the shell calls [`Stream::next`], writes what it yields, and waits until the node publishes or
//! the time it names has come. It holds a cursor and no lines; a slow child costs nothing but its place.

use crate::apply::scope_digest;
use crate::clock::Now;
use crate::command::{BaselineReason, End, EndReason, Hello, PROTOCOL, Ready, Resume, Steer};
use crate::digest::Digest;
use crate::feed::{Tail, filter_lines};
use crate::id::Id;
use crate::json;
use crate::node::{Child, JoinError, Joined, Node, Role, Tick};
use crate::position::Position;
use crate::scope::{Coverage, Scope};
use crate::store::scan::Scan;
use crate::store::{Collection, Progress, Snapshot, SnapshotError, Store, StoreError};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// Bytes after which a piece of a baseline is handed out.
const PIECE_BYTES: usize = 64 << 10;
/// Entries read from the snapshot at once.
const PAGE_RECORDS: usize = 256;
/// Longest time, in ms, until a stream that leaves commands out tells that they moved the head.
const SKIPPED_PING_MS: u64 = 1_000;
/// What a child is asked to wait after an END that is not its fault, in ms; it adds jitter.
const RETRY_MS: u64 = 500;

/// From where a child wants to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Up to where it has everything.
    pub position: Position,
    /// Of what.
    pub scope: Scope,
}

/// The body of `POST /v1/replicate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The child's label.
    pub node: String,
    /// The child's instance.
    pub instance: Option<Id>,
    /// What it has, `None` for nothing.
    pub cursor: Option<Cursor>,
    /// What it asks for.
    pub scope: Scope,
}

/// Why a body is no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidRequest {
    /// Not JSON.
    Json(json::Error),
    /// A field has a value it cannot have; names it.
    Field(&'static str, String),
}

impl fmt::Display for InvalidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => error.fmt(f),
            Self::Field(field, why) => write!(f, "\"{field}\": {why}"),
        }
    }
}

impl core::error::Error for InvalidRequest {}

impl Request {
    /// Reads the body; an empty one asks for everything public, from the start.
    ///
    /// # Errors
    /// Names the field that is wrong: answer 400.
    pub fn from_body(body: &[u8]) -> Result<Self, InvalidRequest> {
        let mut request = Self { node: String::new(), instance: None, cursor: None, scope: Scope::Public };
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(request);
        }
        let text = json::utf8(body).map_err(InvalidRequest::Json)?;
        for (name, raw) in json::members(text).map_err(InvalidRequest::Json)? {
            let wrong = |field, expected: &str| InvalidRequest::Field(field, alloc::format!("{raw} is not {expected}"));
            let scope =
                |raw| Scope::from_json(raw).map_err(|error| InvalidRequest::Field("scope", alloc::format!("{error}")));
            match &*name {
                "node" => request.node = json::string(raw).ok_or_else(|| wrong("node", "a text"))?.into_owned(),
                "instance" => {
                    let id = json::string(raw).and_then(|text| text.parse().ok());
                    request.instance = Some(id.ok_or_else(|| wrong("instance", "an id of 32 hex digits"))?);
                }
                "scope" => request.scope = scope(raw)?,
                "cursor" if raw == "null" => {}
                "cursor" => {
                    let fields = json::members(raw).map_err(|_| wrong("cursor", "an object"))?;
                    let field = |name| fields.iter().find(|(field, _)| field == name).map(|(_, raw)| *raw);
                    let number = |name| field(name).and_then(json::unsigned);
                    let position = number("epoch").zip(number("seq")).map(|(epoch, seq)| Position { epoch, seq });
                    request.cursor = Some(Cursor {
                        position: position.ok_or_else(|| wrong("cursor", "an object with epoch, seq and scope"))?,
                        scope: scope(
                            field("scope").ok_or_else(|| wrong("cursor", "an object with epoch, seq and scope"))?,
                        )?,
                    });
                }
                _ => {}
            }
        }
        Ok(request)
    }

    /// Writes the body.
    pub fn to_body(&self) -> String {
        let mut out = Vec::from(&b"{\"node\":"[..]);
        json::write_string(&mut out, &self.node);
        if let Some(instance) = &self.instance {
            out.extend_from_slice(alloc::format!(",\"instance\":\"{instance}\"").as_bytes());
        }
        if let Some(Cursor { position: Position { epoch, seq }, scope }) = &self.cursor {
            out.extend_from_slice(
                alloc::format!(",\"cursor\":{{\"epoch\":{epoch},\"seq\":{seq},\"scope\":{scope}}}").as_bytes(),
            );
        }
        out.extend_from_slice(b",\"scope\":");
        self.scope.write_json(&mut out);
        out.push(b'}');
        String::from_utf8(out).expect("the JSON writer emits UTF-8")
    }
}

/// Why no stream is opened. Nothing was sent yet: answer with a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The node holds no complete state: 503 `not_ready`.
    NotReady,
    /// The credential covers nothing of what was asked for: 403.
    Forbidden,
    /// Too many children, scopes or baselines at once; names which: 503 `overloaded` with `Retry-After`.
    Overloaded(&'static str),
    /// The store failed: 500.
    Store(StoreError),
}

/// What to do next for one child.
#[derive(Debug)]
pub enum Step {
    /// Write these bytes, whole lines.
    Chunk(Bytes),
    /// Nothing to write before the node publishes or this moment on the monotonic clock.
    Wait(u64),
    /// Lines after this seq are not in memory any more: read them from the log and [`Stream::supply`] them.
    History(u64),
    /// The stream has ended in good order: close it.
    End,
}

/// One child's stream.
pub struct Stream<S: Store> {
    node: Arc<Node<S>>,
    joined: Joined,
    scope: Scope,
    /// Everything of the scope up to this seq was handed out.
    sent_seq: u64,
    ready_line: Option<Bytes>,
    phase: Phase<S>,
    /// Seq and moment of the last full PING.
    pinged: Option<(u64, u64)>,
    /// Since when commands left out have been moving the head unannounced.
    skipped_since: Option<u64>,
}

enum Phase<S: Store> {
    Baseline(Box<Baseline<S>>),
    Tail,
    Ended,
}

struct Baseline<S: Store> {
    snapshot: Arc<S::Snapshot>,
    /// Collections of the scope that are still to be sent, last first.
    remaining: Vec<Collection>,
    current: Option<(Scan, Collection)>,
    /// Facts of what was sent, for READY.
    sent: Vec<Collection>,
    scratch: Vec<u8>,
}

impl<S: Store> Stream<S> {
    /// Opens a stream for a child whose credential covers `granted`. `log_floor` is the seq after which the log holds
    /// every line, `None` where there is no log to read from.
    ///
    /// # Errors
    /// See [`OpenError`]; the child is not registered then.
    pub fn open(
        node: &Arc<Node<S>>,
        request: Request,
        credential: &str,
        granted: &Scope,
        log_floor: Option<u64>,
        now: Now,
    ) -> Result<Self, OpenError> {
        if !node.is_complete() {
            return Err(OpenError::NotReady);
        }
        let scope = request.scope.intersection(granted).ok_or(OpenError::Forbidden)?;
        let child = Child {
            node: request.node,
            instance: request.instance,
            credential: credential.into(),
            scope: scope.clone(),
            sent_seq: 0,
            in_baseline: false,
            superseded: false,
        };
        let joined = node.join(child).map_err(|error| match error {
            JoinError::TooManyChildren => OpenError::Overloaded("children"),
            JoinError::TooManyScopes => OpenError::Overloaded("scopes"),
        })?;
        let mut stream = Self {
            node: Arc::clone(node),
            joined,
            scope,
            sent_seq: 0,
            ready_line: None,
            phase: Phase::Ended,
            pinged: None,
            skipped_since: None,
        };
        let floor = log_floor.unwrap_or(u64::MAX).min(node.feed_floor());
        stream.start(request.cursor, floor, now)?;
        Ok(stream)
    }

    /// Decides how the stream starts and prepares HELLO.
    fn start(&mut self, cursor: Option<Cursor>, floor: u64, now: Now) -> Result<(), OpenError> {
        // Before the position, so that what is published in between makes the proof older and not wrong.
        let mut at = self.node.hello_at(now);
        let progress = self.node.store().progress();
        let start = if !progress.scope.contains(&self.scope) {
            Start::Elsewhere("scope")
        } else {
            decide(&progress, self.node.options().role, cursor, &self.scope, floor)
        };
        let node = Arc::clone(&self.node);
        let (resume, progress) = match start {
            Start::Elsewhere(_) => (Resume::None, progress),
            Start::Tail(position) => {
                self.sent_seq = position.seq;
                self.phase = Phase::Tail;
                (Resume::Tail, progress)
            }
            Start::Baseline(reason) => {
                let snapshot = node.begin_baseline(self.joined.id, now).map_err(|error| match error {
                    SnapshotError::Store(error) => OpenError::Store(error),
                    SnapshotError::TooMany | SnapshotError::Gone => OpenError::Overloaded("baselines"),
                })?;
                let proven = snapshot.ok_or(OpenError::Overloaded("baselines"))?;
                let snapshot = proven.snapshot;
                at = proven.at;
                let progress = snapshot.progress().clone();
                let covered = snapshot.collections().iter().rev().filter(|c| self.scope.touches(&c.name));
                let remaining = covered.cloned().collect();
                let (sent, scratch) = (Vec::new(), Vec::new());
                let baseline = Baseline { snapshot, remaining, current: None, sent, scratch };
                self.phase = Phase::Baseline(Box::new(baseline));
                (Resume::Baseline(reason), progress)
            }
        };
        let hello = Hello {
            protocol: PROTOCOL,
            cluster: progress.cluster.ok_or(OpenError::NotReady)?,
            epoch: progress.position.epoch,
            seq: progress.position.seq,
            at,
            node: Cow::Borrowed(&node.options().label),
            path: node.path(),
            resume,
            scope: self.scope.clone(),
            ping_ms: node.options().ping_ms,
            requires: progress.requires.iter().map(|name| Cow::Borrowed(name.as_str())).collect(),
            timestamp: now.wall_ms,
            clock: node.writer_clock(now).filter(|&clock| clock != at),
        };
        let mut lines = line(&Steer::Hello(hello));
        if let Start::Elsewhere(detail) = start {
            lines.extend(line(&Steer::End(end(EndReason::Elsewhere, detail))));
        }
        self.ready_line = Some(lines.into());
        Ok(())
    }

    /// The scope granted.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What to do next. Never blocks; each chunk is at most one publication or about 64 KiB of a baseline.
    pub fn next(&mut self, now: Now) -> Step {
        if let Some(bytes) = self.ready_line.take() {
            return Step::Chunk(bytes);
        }
        if matches!(self.phase, Phase::Ended) {
            return Step::End;
        }
        let head = match self.node.tick(&self.joined, self.sent_seq) {
            Tick::Go(head) => head,
            Tick::Closing(end) => return self.finish(end),
            Tick::Rebased => return self.finish(end(EndReason::Retry, "rebaselined")),
            Tick::Moved => return self.finish(end(EndReason::Retry, "path_changed")),
            Tick::Superseded => return self.finish(end(EndReason::Superseded, "")),
        };
        if let Phase::Baseline(baseline) = &mut self.phase {
            return match baseline.piece(&self.scope) {
                Ok((piece, false)) => Step::Chunk(piece),
                Ok((piece, true)) => {
                    self.sent_seq = baseline.snapshot.progress().position.seq;
                    self.phase = Phase::Tail;
                    self.node.end_baseline(self.joined.id);
                    Step::Chunk(piece)
                }
                Err(SnapshotError::Store(_)) => self.finish(end(EndReason::Retry, "store_failed")),
                Err(SnapshotError::Gone | SnapshotError::TooMany) => {
                    self.finish(end(EndReason::Retry, "baseline_outgrown"))
                }
            };
        }
        self.next_of_tail(head, now)
    }

    fn next_of_tail(&mut self, head: Position, now: Now) -> Step {
        loop {
            match self.node.tail(&self.scope, self.sent_seq) {
                Tail::Lines(bytes, last) => {
                    self.sent_seq = last;
                    if !bytes.is_empty() {
                        return Step::Chunk(bytes);
                    }
                }
                Tail::Fallen => return Step::History(self.sent_seq),
                Tail::Empty => return self.ping_or_wait(head, now),
            }
        }
    }

    fn ping_or_wait(&mut self, head: Position, now: Now) -> Step {
        let ping_ms = self.node.options().ping_ms;
        let told = self.sent_seq.max(self.pinged.map_or(0, |(seq, _)| seq));
        if head.seq > told {
            self.skipped_since.get_or_insert(now.mono_ms);
        } else {
            self.skipped_since = None;
        }
        let regular = self.pinged.map_or(0, |(_, at)| at + ping_ms);
        let due = self.skipped_since.map_or(regular, |since| regular.min(since + SKIPPED_PING_MS.min(ping_ms)));
        if now.mono_ms < due {
            return Step::Wait(due);
        }
        match self.node.ping(&self.scope, self.sent_seq, now) {
            // Something was published meanwhile: it goes first, with the next step.
            Ok(None) => Step::Wait(now.mono_ms),
            Ok(Some(ping)) => {
                self.pinged = Some((ping.seq, now.mono_ms));
                self.skipped_since = None;
                Step::Chunk(line(&Steer::Ping(Some(ping))).into())
            }
            Err(_) => self.finish(end(EndReason::Retry, "store_failed")),
        }
    }

    /// Hands in what the log holds after the seq that [`Step::History`] named: whole lines of every scope in order, and
    /// the seq of the last; `None` when the log does not hold them any more.
    pub fn supply(&mut self, lines: Option<(Bytes, u64)>) {
        match lines {
            Some((lines, last)) => {
                self.sent_seq = self.sent_seq.max(last);
                let lines = filter_lines(&self.scope, &lines);
                self.ready_line = (!lines.is_empty()).then_some(lines);
            }
            None => {
                self.ready_line = Some(line(&Steer::End(end(EndReason::Retry, "trimmed"))).into());
                self.phase = Phase::Ended;
            }
        }
    }

    fn finish(&mut self, end: End) -> Step {
        self.phase = Phase::Ended;
        Step::Chunk(line(&Steer::End(end)).into())
    }
}

impl<S: Store> Drop for Stream<S> {
    fn drop(&mut self) {
        self.node.leave(self.joined.id);
    }
}

enum Start {
    Tail(Position),
    Baseline(BaselineReason),
    Elsewhere(&'static str),
}

fn decide(progress: &Progress, role: Role, cursor: Option<Cursor>, granted: &Scope, floor: u64) -> Start {
    let Some(Cursor { position, scope }) = cursor else {
        return Start::Baseline(BaselineReason::New);
    };
    let head = progress.position;
    let beyond = position.epoch == head.epoch && position.seq > head.seq;
    if position.epoch > head.epoch || (beyond && role == Role::Replica) {
        return Start::Elsewhere("behind");
    }
    if scope != *granted {
        Start::Baseline(BaselineReason::ScopeChanged)
    } else if beyond || !progress.epochs.holds(position) {
        Start::Baseline(BaselineReason::NotOnHistory)
    } else if position.seq < floor {
        Start::Baseline(BaselineReason::Trimmed)
    } else {
        Start::Tail(position)
    }
}

impl<S: Store> Baseline<S> {
    /// The next lines, and whether READY is among them.
    fn piece(&mut self, scope: &Scope) -> Result<(Bytes, bool), SnapshotError> {
        let mut out = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4);
        while out.len() < PIECE_BYTES {
            let Some((scan, facts)) = &mut self.current else {
                let Some(next) = self.remaining.pop() else {
                    push(&mut out, &self.ready());
                    return Ok((out.into(), true));
                };
                let coverage = scope.coverage(&next.name);
                push(&mut out, &Steer::BaselineBegin { collection: Cow::Borrowed(&next.name), created: next.created });
                let whole = coverage == Coverage::Whole;
                let counted = if whole { next } else { Collection { keys: 0, digest: Digest::EMPTY, ..next } };
                self.current = Some((Scan::of(coverage), counted));
                continue;
            };
            let Some(records) = scan.next_page(&*self.snapshot, &facts.name, PAGE_RECORDS)? else {
                let (keys, digest) = (facts.keys, facts.digest);
                push(&mut out, &Steer::BaselineEnd { collection: Cow::Borrowed(&facts.name), keys, digest });
                self.sent.extend(self.current.take().map(|(_, facts)| facts));
                continue;
            };
            let count = scope.coverage(&facts.name) != Coverage::Whole;
            for record in records {
                record.write_line(&facts.name, &mut out);
                out.push(b'\n');
                if count {
                    facts.keys += 1;
                    facts.digest.add(record.digest(&facts.name, &mut self.scratch));
                }
            }
        }
        Ok((out.into(), false))
    }

    fn ready(&self) -> Steer<'static> {
        let progress = self.snapshot.progress();
        Steer::Ready(Ready {
            seq: progress.position.seq,
            collections: self.sent.len() as u64,
            digest: scope_digest(&self.sent),
            epochs: (*progress.epochs).clone(),
        })
    }
}

fn end(reason: EndReason, detail: &str) -> End {
    End { reason, detail: detail.into(), retry_ms: RETRY_MS, parents: Vec::new() }
}

fn push(out: &mut Vec<u8>, steer: &Steer<'_>) {
    steer.write_line(out);
    out.push(b'\n');
}

fn line(steer: &Steer<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    push(&mut out, steer);
    out
}
