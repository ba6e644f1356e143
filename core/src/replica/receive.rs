//! What each line does to a replica.

use super::staging::Staging;
use super::{Connection, Event, Greeting, Offence, Phase, Replica, STALE_MS};
use crate::apply::ApplyError;
use crate::clock::Now;
use crate::command::{
    Action, Hello, Line, Logged, PROTOCOL, Ping, Proof, Ready, Resume, Steer, Trust, decode, lines, unknown_feature,
};
use crate::freshness::{Freshness, Heard};
use crate::id::Id;
use crate::node::{Node, Publication};
use crate::position::Position;
use crate::scope::Scope;
use crate::store::{Progress, Store};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Range;

/// A HELLO that came so soon after the request, in ms, says what the writer's clock shows now.
const PROMPT_MS: u64 = 1_000;
/// Shortest time, in ms, between two stores of progress for the sake of freshness alone.
const FRESHNESS_STORED_MS: u64 = 1_000;

impl<S: Store> Replica<S> {
    /// Takes the next bytes of the answer's body, in any split, as they arrive.
    ///
    /// Events are appended in order to `events`, those before an offence too.
    ///
    /// # Errors
    /// The first [`Offence`]: drop the connection and call [`Replica::closed`]. Lines before it are applied.
    pub fn receive(&mut self, bytes: &[u8], now: Now, events: &mut Vec<Event>) -> Result<(), Offence> {
        let Some(mut connection) = self.connection.take() else { return Ok(()) };
        connection.last_byte_mono_ms = now.mono_ms;
        let outcome = self.receive_block(&mut connection, bytes, now, events);
        if outcome.is_err() {
            // Nothing behind it counts, even if the shell hands it in.
            connection.phase = Phase::Ended;
        }
        self.connection = Some(connection);
        outcome
    }

    fn receive_block(
        &mut self,
        connection: &mut Connection,
        bytes: &[u8],
        now: Now,
        events: &mut Vec<Event>,
    ) -> Result<(), Offence> {
        if matches!(connection.phase, Phase::Ended) {
            return Ok(());
        }
        let Some(block) = connection.deframer.push(bytes)? else { return Ok(()) };
        let node = Arc::clone(&self.node);
        let mut run = Run::new(&node, &block);
        let mut outcome = Ok(());
        for (start, line) in lines(&block) {
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let range = start..start + line.len() + 1;
            outcome = self.receive_line(connection, line, range, now, &mut run, events);
            if outcome.is_err() || matches!(connection.phase, Phase::Ended) {
                break;
            }
            if !connection.caught_up && self.reaches_hello(connection) {
                // With this very line, so that it counts whatever comes in the same piece.
                run.end(now, events);
                self.note_caught_up(connection, now);
            }
        }
        run.end(now, events);
        outcome?;
        Ok(connection.deframer.check()?)
    }

    fn receive_line<'n>(
        &mut self,
        connection: &mut Connection,
        line: &[u8],
        range: Range<usize>,
        now: Now,
        run: &mut Run<'n, S>,
        events: &mut Vec<Event>,
    ) -> Result<(), Offence> {
        let decoded = decode(line, Trust::Checked)?;
        if let Line::Log(command) = &decoded {
            return match connection.phase {
                Phase::Tail => self.receive_command(connection, command, range, run),
                _ => Err(unexpected("a command of the log", connection)),
            };
        }
        run.end(now, events);
        let steer = match decoded {
            Line::Entry(entry) => {
                return match &mut connection.phase {
                    Phase::Staging(staging, _) => staging.entry(self.node.store(), &entry),
                    _ => Err(unexpected("a baseline's entry", connection)),
                };
            }
            Line::Ignored => {
                self.stats.unknown_lines += 1;
                return Ok(());
            }
            Line::Steer(steer) => steer,
            Line::Log(_) => return Ok(()),
        };
        match (steer, &mut connection.phase) {
            (Steer::Hello(hello), Phase::Greeting) => self.receive_hello(connection, hello, now, events),
            (Steer::BaselineBegin { collection, created }, Phase::Staging(staging, _)) => {
                staging.collection_begins(&collection, created)
            }
            (Steer::BaselineEnd { collection, keys, digest }, Phase::Staging(staging, _)) => {
                staging.collection_ends(self.node.store(), &collection, keys, digest)
            }
            (Steer::Ready(ready), Phase::Staging(..)) => self.receive_ready(connection, &ready, now, events),
            (Steer::Path(path), Phase::Staging(..) | Phase::Tail | Phase::AwaitEnd) => {
                self.receive_path(connection, path)
            }
            (Steer::Ping(None), Phase::Staging(..) | Phase::Tail | Phase::AwaitEnd) => Ok(()),
            (Steer::Ping(Some(ping)), Phase::Tail) => self.receive_ping(connection, ping, now, events),
            (Steer::End(end), Phase::Staging(..) | Phase::Tail | Phase::AwaitEnd) => {
                connection.phase = Phase::Ended;
                events.push(Event::Ended(end));
                Ok(())
            }
            (steer, _) => Err(unexpected(steer.name(), connection)),
        }
    }

    /// This node must not follow itself, however far away.
    fn check_path(&self, path: &[Id]) -> Result<(), Offence> {
        let own = self.node.instance();
        if path.last() == Some(&own) {
            return Err(Offence::SameInstance);
        }
        if path.contains(&own) { Err(Offence::Loop) } else { Ok(()) }
    }

    fn receive_path(&self, connection: &mut Connection, path: Vec<Id>) -> Result<(), Offence> {
        self.check_path(&path)?;
        if let Some(hello) = &mut connection.hello {
            if connection.caught_up {
                self.node.set_path(&path);
            }
            hello.path = path;
        }
        Ok(())
    }

    fn receive_hello(
        &mut self,
        connection: &mut Connection,
        hello: Hello<'_>,
        now: Now,
        events: &mut Vec<Event>,
    ) -> Result<(), Offence> {
        let mut progress = self.node.store().progress();
        if hello.protocol != PROTOCOL {
            return Err(Offence::Protocol(hello.protocol));
        }
        if let Some(followed) = progress.cluster.filter(|&cluster| cluster != hello.cluster) {
            return Err(Offence::OtherCluster { followed, met: hello.cluster });
        }
        self.check_path(&hello.path)?;
        if let Some(feature) = unknown_feature(hello.requires.iter().map(|name| &**name)) {
            return Err(Offence::UnsupportedFeature(feature.into()));
        }
        let (highest, met) = (progress.highest(), hello.term());
        if met < highest {
            return Err(Offence::StaleParent { highest, met });
        }
        if !self.options.scope.contains(&hello.scope) {
            return Err(Offence::WrongResume("the scope granted exceeds the one asked for"));
        }
        if let (Resume::Tail, Some(cursor)) = (hello.resume, &connection.sent_cursor) {
            let position = Position { epoch: hello.epoch, seq: hello.seq };
            if cursor.scope != hello.scope {
                return Err(Offence::WrongResume("a tail of another scope than the cursor's"));
            }
            if position < cursor.position || position.seq < cursor.position.seq {
                return Err(Offence::WrongResume("a tail from a parent that is behind the cursor"));
            }
        } else if hello.resume == Resume::Tail {
            return Err(Offence::WrongResume("a tail without a cursor"));
        }
        let met = Position { epoch: hello.epoch, seq: hello.seq };
        let is_behind = (hello.takeover, met) < (progress.takeover, progress.position);
        if matches!(hello.resume, Resume::Baseline(_)) && progress.complete && is_behind {
            // A relay that is behind, met without a cursor by which it could have seen that. It will catch up.
            return Err(Offence::ParentBehind { held: progress.position, met });
        }
        if hello.resume == Resume::None {
            connection.phase = Phase::AwaitEnd;
            return Ok(());
        }
        // The parent is accepted: from here on no lower takeover or epoch and no other cluster will be.
        progress.requires = hello.requires.iter().map(|name| String::from(&**name)).collect();
        progress.accept(hello.term());
        if hello.resume == Resume::Tail && hello.epoch == progress.position.epoch {
            // An opening is of one takeover, and what is held reaches into this one: so it is known even where its EPOCH
            // was taken in by a release that knew of none.
            progress.takeover = hello.takeover;
        }
        progress.cluster = Some(hello.cluster);
        let baseline = match hello.resume {
            Resume::Baseline(reason) => Some(reason),
            _ => None,
        };
        self.accept(&mut progress, &hello.scope)?;
        connection.phase = match baseline {
            Some(reason) => {
                connection.staged = true;
                let staging = Staging::begin(self.node.store(), hello.seq, hello.scope.clone())?;
                Phase::Staging(Box::new(staging), reason)
            }
            None => Phase::Tail,
        };
        self.renewed_for_parent = false;
        self.stats.connections += 1;
        let position = Position { epoch: hello.epoch, seq: hello.seq };
        let (node, term) = (String::from(&*hello.node), hello.term());
        events.push(Event::Connected { node: node.clone(), position, baseline });
        connection.ping_ms = Some(hello.ping_ms);
        connection.hello = Some(Greeting {
            term,
            seq: hello.seq,
            at: hello.at,
            arrival: now,
            noted: false,
            cluster: hello.cluster,
            scope: hello.scope,
            path: hello.path,
            node,
        });
        let is_prompt = now.mono_ms.saturating_sub(connection.requested_mono_ms) <= PROMPT_MS;
        let heard = Heard { term, clock: hello.clock.unwrap_or(hello.at), is_prompt };
        self.node.update_freshness(|freshness| freshness.hear(heard, now));
        Ok(())
    }

    /// Stores that a parent was accepted, and hides at once what it does not grant any more.
    fn accept(&mut self, progress: &mut Progress, granted: &Scope) -> Result<(), Offence> {
        if progress.scope == *granted || progress.position.seq == 0 {
            progress.scope = granted.clone();
            return Ok(self.node.advance(progress)?);
        }
        match progress.scope.intersection(granted) {
            Some(common) => progress.scope = common,
            None => progress.complete = false,
        }
        progress.baseline_due = true;
        Ok(self.node.narrow(progress)?)
    }

    fn receive_ready(
        &mut self,
        connection: &mut Connection,
        ready: &Ready,
        now: Now,
        events: &mut Vec<Event>,
    ) -> Result<(), Offence> {
        let phase = core::mem::replace(&mut connection.phase, Phase::Ended);
        let (Phase::Staging(staging, reason), Some(hello)) = (phase, &mut connection.hello) else {
            return Err(unexpected("READY", connection));
        };
        let position = Position { epoch: hello.term.epoch, seq: ready.seq };
        if ready.epochs.newest().is_none_or(|newest| newest.epoch != position.epoch) || !ready.epochs.holds(position) {
            return Err(Offence::Baseline("READY's epochs do not hold its own position"));
        }
        let collections = staging.finish(ready)?;
        let mut progress = self.node.store().progress();
        let before = progress.position;
        let mut freshness = self.node.freshness();
        freshness.rebase(hello.at, hello.arrival);
        freshness.enter(hello.term);
        hello.noted = true;
        progress.position = position;
        progress.scope = hello.scope.clone();
        progress.complete = true;
        progress.baseline_due = false;
        progress.cluster = Some(hello.cluster);
        progress.epochs = Arc::new(ready.epochs.clone());
        progress.timestamp = ready.timestamp.unwrap_or(0);
        progress.takeover = hello.term.takeover;
        progress.accept(hello.term);
        store_freshness(&freshness, &mut progress, now);
        self.node.rebase(collections, &progress, freshness)?;
        self.node.set_path(&hello.path);
        connection.staged = false;
        connection.phase = Phase::Tail;
        connection.floor = ready.seq;
        connection.progressed = true;
        self.without_cursor = false;
        self.gap_at = None;
        self.stats.baselines.one(reason);
        self.stored_mono_ms = now.mono_ms;
        events.push(Event::Rebased { position, before, reason });
        Ok(())
    }

    fn receive_command(
        &mut self,
        connection: &mut Connection,
        command: &Logged<'_>,
        range: Range<usize>,
        run: &mut Run<'_, S>,
    ) -> Result<(), Offence> {
        let store = self.node.store();
        let held = store.position();
        let seq = command.seq;
        if seq <= held.seq {
            self.stats.repeated += 1;
            return Ok(());
        }
        let Some(hello) = &connection.hello else { return Err(unexpected("a command of the log", connection)) };
        if hello.scope == Scope::Everything && seq > held.seq + 1 {
            return Err(Offence::Gap { held, seq });
        }
        if let (Some(name), false) = (&command.collection, hello.scope.is_narrowed_by_prefix()) {
            let last_seq = store.collection(name)?.map_or(0, |facts| facts.last_seq);
            if command.prev.is_some_and(|prev| prev > last_seq.max(connection.floor)) {
                return Err(Offence::Gap { held, seq });
            }
        }
        if !covers(&hello.scope, command) {
            return Err(Offence::OutsideScope { seq });
        }
        if let Action::Epoch { cluster, requires, .. } = &command.action {
            if *cluster != hello.cluster {
                return Err(Offence::OtherCluster { followed: hello.cluster, met: *cluster });
            }
            if let Some(feature) = unknown_feature(requires.iter().map(|name| &**name)) {
                return Err(Offence::UnsupportedFeature(feature.into()));
            }
        }
        run.apply(command, range).map_err(|error| Offence::from_apply(error, held, seq))?;
        self.stats.commands += 1;
        connection.lines_since += 1;
        connection.tail_commands += 1;
        connection.progressed = true;
        Ok(())
    }

    fn receive_ping(
        &mut self,
        connection: &mut Connection,
        ping: Ping,
        now: Now,
        events: &mut Vec<Event>,
    ) -> Result<(), Offence> {
        let mut progress = self.node.store().progress();
        let held = progress.position;
        if ping.seq < held.seq {
            // Sent before lines that overtook it in a buffer: proves nothing about where we are.
            return Ok(());
        }
        if progress.scope == Scope::Everything && ping.seq > held.seq {
            return Err(Offence::Gap { held, seq: ping.seq });
        }
        match (ping.proof, progress.scope.is_narrowed_by_prefix()) {
            (Proof::Digest(digest), false) => {
                if self.node.digest()? != digest {
                    self.needs_baseline(progress)?;
                    return Err(Offence::Diverged { seq: ping.seq });
                }
            }
            (Proof::Lines { lines, sent }, true) => {
                let missing = match sent {
                    Some(sent) => sent != connection.tail_commands,
                    None => connection.lines.is_some_and(|before| before + connection.lines_since != lines),
                };
                if missing {
                    // What came behind the missing line is applied: no cursor leads back to it.
                    self.needs_baseline(progress)?;
                    return Err(Offence::Gap { held, seq: ping.seq });
                }
                connection.lines = Some(lines);
            }
            _ => return Err(unexpected("a PING whose proof is not the scope's", connection)),
        }
        connection.lines_since = 0;
        connection.floor = ping.seq;
        if core::mem::replace(&mut connection.proven, true) {
            self.follow.succeeded();
        }
        let term = connection.hello.as_ref().map_or(progress.term(), |hello| hello.term.max(progress.term()));
        let heard = Heard { term, clock: ping.clock.unwrap_or(ping.at), is_prompt: false };
        if ping.at > self.node.freshness().at() {
            self.stale_ms = STALE_MS;
        }
        self.node.update_freshness(|freshness| {
            freshness.hear(heard, now);
            freshness.prove(ping.at, now);
        });
        let moved = ping.seq > held.seq;
        if moved || now.mono_ms.saturating_sub(self.stored_mono_ms) >= FRESHNESS_STORED_MS {
            progress.position.seq = ping.seq;
            store_freshness(&self.node.freshness(), &mut progress, now);
            self.node.advance(&progress)?;
            self.stored_mono_ms = now.mono_ms;
            events.push(Event::Advanced(progress.position));
        }
        Ok(())
    }

    /// What is held is wrong and no later line mends it. Stored, or after a restart nothing might show it again.
    fn needs_baseline(&mut self, mut progress: Progress) -> Result<(), Offence> {
        self.without_cursor = true;
        progress.baseline_due = true;
        Ok(self.node.advance(&progress)?)
    }

    /// Whether everything the parent had at HELLO is applied. A tail that leaves commands out gets there with a PING.
    fn reaches_hello(&self, connection: &Connection) -> bool {
        let hello = connection.hello.as_ref().filter(|_| matches!(connection.phase, Phase::Tail));
        hello.is_some_and(|hello| self.node.store().position().seq >= hello.seq)
    }

    /// HELLO's `at` is proof for this state now.
    fn note_caught_up(&mut self, connection: &mut Connection, now: Now) {
        let Some(hello) = &mut connection.hello else { return };
        connection.caught_up = true;
        self.node.set_path(&hello.path);
        if !hello.noted {
            let arrival = Now { mono_ms: hello.arrival.mono_ms.min(now.mono_ms), ..hello.arrival };
            self.node.update_freshness(|freshness| freshness.note(hello.at, arrival));
            hello.noted = true;
        }
    }
}

fn store_freshness(freshness: &Freshness, progress: &mut Progress, now: Now) {
    progress.at = freshness.at();
    progress.clock_offset = freshness.offset();
    progress.lag_ms = freshness.lag_ms(now).unwrap_or(0);
}

fn unexpected(found: &'static str, connection: &Connection) -> Offence {
    Offence::Unexpected { found, awaited: connection.phase.name() }
}

fn covers(scope: &Scope, command: &Logged<'_>) -> bool {
    let Some(name) = &command.collection else { return true };
    let coverage = scope.coverage(name);
    match &command.action {
        Action::Set { key, .. } | Action::Delete { key, .. } => coverage.covers(key),
        Action::Batch(ops) => ops.iter().all(|op| coverage.covers(&op.key)),
        _ => scope.touches(name),
    }
}

/// Commands of one block that are applied one after the other, published and reported together.
struct Run<'n, S: Store> {
    node: &'n Node<S>,
    publication: Option<Publication<'n, S>>,
    block: &'n Bytes,
    /// Stretches of the block that were applied; a repeated command in between begins a new one.
    applied: Vec<Range<usize>>,
    newest: u64,
    /// There was an opening among them.
    is_opened: bool,
}

impl<'n, S: Store> Run<'n, S> {
    fn new(node: &'n Node<S>, block: &'n Bytes) -> Self {
        Self { node, publication: None, block, applied: Vec::new(), newest: 0, is_opened: false }
    }

    fn apply(&mut self, command: &Logged<'_>, range: Range<usize>) -> Result<(), ApplyError> {
        let publication = self.publication.get_or_insert_with(|| self.node.publish());
        publication.apply(command, self.block, range.clone())?;
        match self.applied.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.applied.push(range),
        }
        self.newest = self.newest.max(command.timestamp);
        self.is_opened |= matches!(command.action, Action::Epoch { .. });
        Ok(())
    }

    /// Publishes what was applied and begins anew.
    fn end(&mut self, now: Now, events: &mut Vec<Event>) {
        // Lets go of the node before freshness is changed through it, also when its one command could not be applied.
        self.publication = None;
        if self.applied.is_empty() {
            return;
        }
        let newest = self.newest;
        let entered = self.is_opened.then(|| self.node.store().progress().term());
        self.node.update_freshness(|freshness| {
            if let Some(term) = entered {
                freshness.enter(term);
            }
            freshness.note(newest, now);
        });
        events.extend(self.applied.drain(..).map(|range| Event::Applied(self.block.slice(range))));
        self.newest = 0;
        self.is_opened = false;
    }
}
