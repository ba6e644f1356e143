//! The parent's side of a stream: what one child is sent, from HELLO to END.
//!
//! A [`Stream`] is pulled: the shell calls [`Stream::next`], writes what it yields, and waits until the node publishes or
//! the time it names has come. It holds a cursor and no lines; a slow child costs nothing but its place.

mod request;

pub use request::{Cursor, InvalidRequest, Request};

use crate::apply::scope_digest;
use crate::baseline::{Baseline, PIECE_BYTES};
use crate::clock::Now;
use crate::command::{BaselineReason, End, EndReason, Hello, PROTOCOL, Proof, Ready, Resume, Steer};
use crate::credentials::{self, Grant};
use crate::feed::{RingId, filter_lines};
use crate::node::{Follow, JoinError, Joined, Newcomer, Node, Role, Turn, end_for};
use crate::position::Position;
use crate::scope::Scope;
use crate::store::{Collection, Progress, Snapshot, SnapshotError, Store, StoreError};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

/// How long, in ms, a stream that leaves commands out is silent at the most while they move the head.
pub const SKIPPED_PING_MS: u64 = 1_000;
/// After how long a silence, in ms, it tells of them as soon as it is asked: who asks every [`SKIPPED_PING_MS`] may be some
/// ms too early.
const SKIPPED_SILENCE_MS: u64 = 900;
/// How often the log is asked again for lines it does not have yet, and after what time it is given up, in ms.
const NOT_YET_MS: (u64, u64) = (100, 30_000);

/// Why no stream is opened. Nothing was sent yet: answer with a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The node holds no complete state: 503 `not_ready`.
    NotReady,
    /// The credential covers nothing of what was asked for: 403.
    Forbidden,
    /// Too many children, scopes or baselines at once; names which: 503 `overloaded` with `Retry-After`.
    Overloaded(&'static str),
    /// The caller has as many streams as one may have, which is so many: the same.
    BeyondShare(usize),
    /// The store failed: 500.
    Store(StoreError),
}

/// How often a stream looks whether a credential that runs out has done so, in ms: the wall clock may be set meanwhile.
const LOOK_AGAIN_MS: u64 = 1_000;

/// What to do next for one child.
#[derive(Debug)]
pub enum Step {
    /// Write these bytes, whole lines.
    Chunk {
        /// The lines.
        bytes: Bytes,
        /// How many of them are commands of the log or entries of a baseline; the others steer the stream.
        commands: u64,
    },
    /// Nothing to write before the node publishes or this moment on the monotonic clock.
    Wait(u64),
    /// Lines after this seq are not in memory any more: read them from the log and [`Stream::supply`] them.
    History(u64),
    /// The stream has ended in good order: close it.
    End,
}

/// What a log says when it is asked for the lines after a seq.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Supply {
    /// The next of them.
    Lines {
        /// Whole lines of every scope the log holds, in order; may be empty.
        bytes: Bytes,
        /// There are no others up to this seq.
        through: u64,
    },
    /// It does not reach so far yet: it is stored behind the feed. The stream asks again.
    NotYet,
    /// It does not hold them any more, or cannot be read: the stream ends, and the child comes back for a baseline.
    Gone,
}

/// One child's stream.
pub struct Stream<S: Store> {
    node: Arc<Node<S>>,
    joined: Joined,
    /// What the child's credential grants, as it was judged last.
    grant: Grant,
    /// Everything of the scope up to this seq was handed out.
    sent_seq: u64,
    /// Commands of the tail handed out.
    sent_commands: u64,
    /// Bytes of all chunks so far.
    sent_bytes: u64,
    hello_line: Option<Bytes>,
    supplied: Option<Supply>,
    /// Since when the log lacks what is asked of it, and when to ask again.
    behind_log: Option<(u64, u64)>,
    phase: Phase<S>,
    pinged: Option<Pinged>,
    /// When lines were last handed out.
    spoke_mono_ms: u64,
}

/// The last full PING.
struct Pinged {
    seq: u64,
    mono_ms: u64,
    /// Which of the feed's counts its lines were of.
    count: u64,
}

enum Phase<S: Store> {
    Baseline(Box<Baseline<S::Snapshot>>),
    Tail,
    Ended,
}

impl<S: Store> Stream<S> {
    /// Opens a stream for a child whose credential has this grant. What was asked for is cut to what it may read; when it
    /// may not read that any more, the stream ends by END `revoked`. `log_floor` is the seq after which the log holds every
    /// line, `None` where there is no log to read from.
    ///
    /// # Errors
    /// See [`OpenError`]; the child is not registered then.
    pub fn open(
        node: &Arc<Node<S>>,
        request: Request,
        grant: &Grant,
        log_floor: Option<u64>,
        now: Now,
    ) -> Result<Self, OpenError> {
        Self::open_for(&grant.credential, node, request, grant, log_floor, now)
    }

    /// As [`Stream::open`], as one of this caller's streams instead of one of the credential's: those who show no
    /// credentials a shell tells apart by where they come from. A credential with the role node has no share, and may have
    /// as many as there may be.
    ///
    /// # Errors
    /// The same.
    pub fn open_for(
        caller: &str,
        node: &Arc<Node<S>>,
        request: Request,
        grant: &Grant,
        log_floor: Option<u64>,
        now: Now,
    ) -> Result<Self, OpenError> {
        if !node.is_complete() {
            return Err(OpenError::NotReady);
        }
        let granted = grant.scope().ok_or(OpenError::Forbidden)?;
        let scope = request.scope.intersection(granted).ok_or(OpenError::Forbidden)?;
        let caller = (!grant.has(credentials::Role::Node)).then(|| caller.into());
        let credential = grant.credential.clone();
        let newcomer = Newcomer { node: request.node, instance: request.instance, credential, caller, scope };
        let joined = node.join(newcomer).map_err(|error| match error {
            JoinError::Children => OpenError::Overloaded("children"),
            JoinError::BeyondShare(limit) => OpenError::BeyondShare(limit),
            JoinError::Scopes => OpenError::Overloaded("scopes"),
        })?;
        let mut stream = Self {
            node: Arc::clone(node),
            joined,
            grant: grant.clone(),
            sent_seq: 0,
            sent_commands: 0,
            sent_bytes: 0,
            hello_line: None,
            supplied: None,
            behind_log: None,
            phase: Phase::Ended,
            pinged: None,
            spoke_mono_ms: now.mono_ms,
        };
        // Only nodes hold everything, and a node has what it says from a writer it accepted.
        if let (Role::Primary, Scope::Everything) = (node.options().role, granted) {
            node.meet(request.cursor.as_ref(), request.takeover);
        }
        let floor = log_floor.unwrap_or(u64::MAX).min(node.feed_floor());
        stream.start(request.cursor, request.takeover, floor, now)?;
        Ok(stream)
    }

    /// Decides how the stream starts and prepares HELLO.
    fn start(&mut self, cursor: Option<Cursor>, takeover: Option<u64>, floor: u64, now: Now) -> Result<(), OpenError> {
        // Before the position, so that what is published in between makes the proof older and not wrong.
        let mut at = self.node.hello_at(now);
        let progress = self.node.store().progress();
        let scope = &*self.joined.scope;
        let start = if !progress.scope.contains(scope) {
            Start::Elsewhere("scope")
        } else if takeover.is_some_and(|takeover| takeover > progress.takeover) {
            // It has accepted one who took over from whom this state is.
            Start::Elsewhere("behind")
        } else {
            decide(&progress, self.node.options().role, cursor, scope, floor)
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
                self.phase = Phase::Baseline(Box::new(Baseline::new(snapshot, scope)));
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
            scope: scope.clone(),
            ping_ms: node.options().ping_ms,
            requires: progress.requires.iter().map(|name| Cow::Borrowed(name.as_str())).collect(),
            timestamp: now.wall_ms,
            clock: node.writer_clock(now).filter(|&clock| clock != at),
            takeover: progress.takeover,
        };
        let mut lines = line(&Steer::Hello(hello));
        if let Start::Elsewhere(detail) = start {
            lines.extend(line(&Steer::End(end_for(EndReason::Elsewhere, detail))));
        } else {
            node.supersede(&self.joined);
        }
        self.hello_line = Some(lines.into());
        Ok(())
    }

    /// The ring it reads; `None` for that of everything, where every publication concerns it. See [`Node::stirred`].
    pub fn ring(&self) -> Option<RingId> {
        self.joined.ring()
    }

    /// The scope granted.
    pub fn scope(&self) -> &Scope {
        &self.joined.scope
    }

    /// What to do next. Never blocks; each chunk is at most one publication, or about 64 KiB of a baseline and one line.
    pub fn next(&mut self, now: Now) -> Step {
        let step = self.step(now);
        match &step {
            Step::Chunk { bytes, .. } => {
                self.spoke_mono_ms = now.mono_ms;
                self.sent_bytes += bytes.len() as u64;
            }
            Step::Wait(until) => return Step::Wait((*until).min(self.look_again(now))),
            Step::History(_) | Step::End => {}
        }
        step
    }

    /// When the credential may have run out, on the monotonic clock.
    fn look_again(&self, now: Now) -> u64 {
        let left_ms = self.grant.until_ms().map(|until_ms| until_ms.saturating_sub(now.wall_ms));
        left_ms.map_or(u64::MAX, |left_ms| now.mono_ms.saturating_add(left_ms.min(LOOK_AGAIN_MS)))
    }

    fn step(&mut self, now: Now) -> Step {
        if let Some(bytes) = self.hello_line.take() {
            return Step::Chunk { bytes, commands: 0 };
        }
        if matches!(self.phase, Phase::Ended) {
            return Step::End;
        }
        if let Some(end) = self.outlived(now) {
            return self.finish(end);
        }
        loop {
            match self.node.attend(&mut self.joined, self.sent_seq, self.sent_bytes) {
                Turn::Go => break,
                Turn::Path(path) => return steering(&Steer::Path(path)),
                Turn::Judge => {
                    if let Some(end) = self.judge(now) {
                        return self.finish(end);
                    }
                }
                Turn::End(end) => return self.finish(end),
            }
        }
        if let Phase::Baseline(baseline) = &mut self.phase {
            let mut out = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4);
            return match baseline.piece(&self.joined.scope, &mut out) {
                Ok(piece) if piece.is_last => {
                    let progress = baseline.progress();
                    push(&mut out, &ready(progress, baseline.written()));
                    self.sent_seq = progress.position.seq;
                    self.phase = Phase::Tail;
                    self.node.end_baseline(self.joined.id);
                    Step::Chunk { bytes: out.into(), commands: piece.entries }
                }
                Ok(piece) => Step::Chunk { bytes: out.into(), commands: piece.entries },
                Err(SnapshotError::Store(_)) => self.finish(end_for(EndReason::Retry, "store_failed")),
                Err(SnapshotError::Gone | SnapshotError::TooMany) => {
                    self.finish(end_for(EndReason::Retry, "baseline_outgrown"))
                }
            };
        }
        match self.supplied.take() {
            None => self.next_of_tail(now),
            Some(supply) => self.next_of_log(supply, now),
        }
    }

    /// How the stream ends because of its time alone, if it does.
    fn outlived(&mut self, now: Now) -> Option<End> {
        if self.grant.rests_on_keys() && self.node.is_cut_off(now) {
            return Some(end_for(EndReason::Retry, "keys_too_old"));
        }
        let is_over = self.grant.until_ms().is_some_and(|until_ms| now.wall_ms >= until_ms);
        if is_over { self.judge(now) } else { None }
    }

    /// Judges the child's credential again; how the stream ends unless it still covers what is sent.
    fn judge(&mut self, now: Now) -> Option<End> {
        match self.grant.renewed(self.node.store(), now.wall_ms) {
            Ok(Some(grant)) if grant.scope().is_some_and(|granted| granted.contains(&self.joined.scope)) => {
                self.grant = grant;
                None
            }
            Ok(_) if self.grant.has_expired(now.wall_ms) => Some(end_for(EndReason::TokenExpired, "")),
            Ok(_) => Some(end_for(EndReason::Revoked, "")),
            Err(_) => Some(end_for(EndReason::Retry, "store_failed")),
        }
    }

    fn next_of_tail(&mut self, now: Now) -> Step {
        loop {
            match self.node.tail(&self.joined, self.sent_seq) {
                Follow::Lines(lines) => {
                    self.sent_seq = lines.through;
                    if lines.commands > 0 {
                        return self.commands(lines.bytes, lines.commands);
                    }
                }
                Follow::Fallen => return self.history_or_wait(now),
                Follow::CaughtUp(head) => return self.ping_or_wait(head, now),
                Follow::Again => return Step::Wait(now.mono_ms),
                Follow::End(end) => return self.finish(end),
            }
        }
    }

    fn next_of_log(&mut self, supply: Supply, now: Now) -> Step {
        match supply {
            Supply::Lines { bytes, through } => {
                self.behind_log = None;
                self.sent_seq = self.sent_seq.max(through);
                let (bytes, commands) = filter_lines(&self.joined.scope, &bytes);
                if commands == 0 { self.next_of_tail(now) } else { self.commands(bytes, commands) }
            }
            Supply::NotYet => {
                let since = self.behind_log.map_or(now.mono_ms, |(since, _)| since);
                self.behind_log = Some((since, now.mono_ms + NOT_YET_MS.0));
                if now.mono_ms < since + NOT_YET_MS.1 {
                    return self.next_of_tail(now);
                }
                self.finish(end_for(EndReason::Retry, "trimmed"))
            }
            Supply::Gone => self.finish(end_for(EndReason::Retry, "trimmed")),
        }
    }

    fn commands(&mut self, bytes: Bytes, commands: u64) -> Step {
        self.sent_commands += commands;
        Step::Chunk { bytes, commands }
    }

    /// Asks the log, but not all the time for what it does not have yet. Meanwhile the child hears that the stream
    /// lives, and no proof of anything: also while much is read in which nothing is for it.
    fn history_or_wait(&self, now: Now) -> Step {
        let silent = self.spoke_mono_ms + self.node.options().ping_ms;
        if now.mono_ms >= silent {
            return steering(&Steer::Ping(None));
        }
        let until = self.behind_log.map_or(0, |(_, until)| until);
        if now.mono_ms >= until { Step::History(self.sent_seq) } else { Step::Wait(until.min(silent)) }
    }

    fn ping_or_wait(&mut self, head: Position, now: Now) -> Step {
        let ping_ms = self.node.options().ping_ms;
        let told = self.sent_seq.max(self.pinged.as_ref().map_or(0, |pinged| pinged.seq));
        let regular = self.pinged.as_ref().map_or(0, |pinged| pinged.mono_ms + ping_ms);
        let due = if head.seq > told { regular.min(self.spoke_mono_ms + SKIPPED_SILENCE_MS) } else { regular };
        if now.mono_ms < due {
            return Step::Wait(due);
        }
        match self.node.ping(&self.joined, self.sent_seq, now) {
            // Something was published meanwhile, or the stream is to end: that goes first, with the next step.
            Ok(None) => Step::Wait(now.mono_ms),
            Ok(Some((mut ping, count))) => {
                if let Proof::Lines { sent, .. } = &mut ping.proof
                    && self.pinged.as_ref().is_none_or(|pinged| pinged.count != count)
                {
                    *sent = Some(self.sent_commands);
                }
                self.pinged = Some(Pinged { seq: ping.seq, mono_ms: now.mono_ms, count });
                steering(&Steer::Ping(Some(ping)))
            }
            Err(_) => self.finish(end_for(EndReason::Retry, "store_failed")),
        }
    }

    /// Hands in what the log holds after the seq that [`Step::History`] named.
    pub fn supply(&mut self, supply: Supply) {
        self.supplied = Some(supply);
    }

    fn finish(&mut self, end: End) -> Step {
        self.phase = Phase::Ended;
        steering(&Steer::End(end))
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
    let Some(Cursor { position, takeover, scope }) = cursor else {
        return Start::Baseline(BaselineReason::New);
    };
    let head = progress.position;
    let beyond = position.epoch == head.epoch && position.seq > head.seq;
    // Of an earlier takeover the epoch says nothing: an old writer that was started again has a higher one.
    let is_later = position.epoch > head.epoch && takeover.is_none_or(|takeover| takeover >= progress.takeover);
    if is_later || (beyond && role == Role::Replica) {
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

fn steering(steer: &Steer<'_>) -> Step {
    Step::Chunk { bytes: line(steer).into(), commands: 0 }
}

/// What ends a baseline of `written` as of `progress`.
fn ready(progress: &Progress, written: &[Collection]) -> Steer<'static> {
    Steer::Ready(Ready {
        seq: progress.position.seq,
        collections: written.len() as u64,
        digest: scope_digest(written),
        epochs: (*progress.epochs).clone(),
        timestamp: Some(progress.timestamp).filter(|&timestamp| timestamp > 0),
    })
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
