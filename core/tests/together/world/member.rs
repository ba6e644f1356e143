//! A replica with its disk, its list of parents and its one connection.

use super::heard::{Heard, Witness};
use super::writer::options;
use crate::random::{Random, pieces};
use bytes::Bytes;
use headwater_core::clock::Now;
use headwater_core::command::{Line, Trust, decode, lines};
use headwater_core::freshness::ClockOffset;
use headwater_core::id::Id;
use headwater_core::node::{Node, Role};
use headwater_core::position::Position;
use headwater_core::record::Record;
use headwater_core::replica::{Cause, Event, Replica, ReplicaOptions};
use headwater_core::scope::Scope;
use headwater_core::store::memory::{MemoryOptions, MemoryStore};
use headwater_core::store::{Collection, Progress, Snapshot, Store};
use headwater_core::stream::Stream;
use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

/// Whom a replica may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Writer(usize),
    Member(usize),
}

/// What survives a restart.
#[derive(Clone)]
struct Disk {
    progress: Progress,
    collections: Vec<(Collection, Vec<Record>)>,
    heard: Heard,
}

pub(crate) struct Link {
    pub(crate) to: Peer,
    /// `None` once the parent's end is gone.
    pub(crate) stream: Option<Stream<MemoryStore>>,
    /// Pieces on their way with their time of arrival, in order.
    flight: VecDeque<(u64, Vec<u8>)>,
    /// Chunks as the parent sent them.
    recorded: Vec<Bytes>,
    witness: Witness,
    last_arrival: u64,
    /// Nothing arrives before.
    pub(crate) stalled_until: u64,
    /// What becomes of the next chunk.
    pub(crate) mischief: Option<Mischief>,
    /// A chunk that the next one overtakes.
    overtaken: Option<Bytes>,
}

/// What a parent or a proxy out of its mind does to a chunk. Only streams of everything show it at once.
#[derive(Clone, Copy)]
pub(crate) enum Mischief {
    Lose,
    Swap,
}

impl Link {
    /// A connection of a replica that holds everything up to `seq`, asked for at `now`.
    pub(crate) fn new(to: Peer, stream: Stream<MemoryStore>, seq: u64, now: u64) -> Self {
        Self {
            to,
            stream: Some(stream),
            flight: VecDeque::new(),
            recorded: Vec::new(),
            witness: Witness::new(seq, now),
            last_arrival: 0,
            stalled_until: 0,
            mischief: None,
            overtaken: None,
        }
    }

    /// Takes what the parent wrote.
    pub(crate) fn carry(&mut self, chunk: Bytes, now: u64, random: &mut Random) {
        match self.mischief.take() {
            Some(Mischief::Lose) => return,
            Some(Mischief::Swap) => {
                self.overtaken = Some(chunk);
                return;
            }
            None => {}
        }
        for chunk in [Some(chunk), self.overtaken.take()].into_iter().flatten() {
            for piece in pieces(&chunk, random) {
                let delay = if random.once_in(20) { random.below(2_000) } else { random.below(20) };
                self.last_arrival = self.last_arrival.max(now + delay);
                self.flight.push_back((self.last_arrival, piece));
            }
            self.recorded.push(chunk);
        }
    }

    /// Puts a chunk that was sent before onto the way again.
    pub(crate) fn repeat(&mut self, random: &mut Random) {
        // Between whole chunks only: nothing puts one into the middle of another.
        if !self.flight.is_empty() || self.recorded.is_empty() {
            return;
        }
        let late = self.recorded.len().saturating_sub(4) + random.below(4) as usize;
        let chunk = self.recorded.get(late).unwrap_or(&self.recorded[0]).clone();
        self.flight.push_back((self.last_arrival, chunk.to_vec()));
    }

    /// The connection breaks: a part of what is on its way still arrives, up to any byte.
    pub(crate) fn cut(&mut self, random: &mut Random) {
        self.stream = None;
        let kept = random.below(self.flight.len() as u64 + 1) as usize;
        self.flight.truncate(kept);
        if let Some((_, last)) = self.flight.back_mut() {
            last.truncate(random.below(last.len() as u64 + 1) as usize);
        }
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.stream.is_none() && self.flight.is_empty()
    }

    fn arrived(&mut self, now: u64) -> Option<Vec<u8>> {
        let (due, _) = self.flight.front()?;
        if now < self.stalled_until.max(*due) {
            return None;
        }
        self.flight.pop_front().map(|(_, piece)| piece)
    }
}

/// What a member saw, over all its lives.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Seen {
    pub(crate) tails: u64,
    pub(crate) baselines: [u64; 4],
    pub(crate) offences: u64,
    pub(crate) gaps: u64,
    pub(crate) stale_parents: u64,
    /// Went over to a writer whose epoch is lower and whose takeover is later.
    pub(crate) lower_epochs: u64,
    pub(crate) behind: u64,
    pub(crate) diverged: u64,
    pub(crate) restarts: u64,
    pub(crate) repeated: u64,
    pub(crate) ends: u64,
}

pub(crate) struct Member {
    label: String,
    instance: Id,
    pub(crate) replica: Replica<MemoryStore>,
    pub(crate) parents: Vec<Peer>,
    pub(crate) link: Option<Link>,
    /// When to connect, in virtual ms.
    pub(crate) next_try: u64,
    /// What its wall clock is ahead of the writers'.
    pub(crate) skew: i64,
    pub(crate) heard: Heard,
    /// What the store has beside its cursor of proofs and clocks, by which one sees that it was written, and what had been
    /// heard by then.
    stored: ((u64, Option<ClockOffset>), Heard),
    disk: Disk,
    /// Lines applied since the last baseline or restart, with their seq; `None` when it keeps none.
    pub(crate) log: Option<Vec<(u64, Bytes)>>,
    /// The log holds every line after this seq.
    pub(crate) log_floor: u64,
    pub(crate) last: Position,
    last_takeover: u64,
    pub(crate) scope: Scope,
    pub(crate) dirty: bool,
    pub(crate) seen: Seen,
}

fn replica(
    label: &str,
    instance: Id,
    store: MemoryStore,
    scope: &Scope,
    parents: usize,
    random: &mut Random,
) -> Replica<MemoryStore> {
    let node = Arc::new(Node::new(store, options(label, instance, Role::Replica, random)));
    Replica::new(node, ReplicaOptions { scope: scope.clone(), parents })
}

fn empty_store(progress: Progress, random: &mut Random) -> MemoryStore {
    MemoryStore::new(progress, MemoryOptions::single_threaded(random.next()))
}

impl Member {
    pub(crate) fn new(label: String, parents: Vec<Peer>, scope: Scope, random: &mut Random) -> Self {
        let instance = Id::from_bytes((u128::from(random.next()) << 1).to_be_bytes());
        let progress = Progress::new(scope.clone());
        let replica = replica(&label, instance, empty_store(progress.clone(), random), &scope, parents.len(), random);
        Self {
            label,
            instance,
            replica,
            parents,
            link: None,
            next_try: 0,
            skew: random.below(20_000) as i64 - 10_000,
            heard: Heard::default(),
            stored: Default::default(),
            disk: Disk { progress, collections: Vec::new(), heard: Heard::default() },
            log: random.once_in(2).then(Vec::new),
            log_floor: 0,
            last: Position::START,
            last_takeover: 0,
            scope,
            dirty: false,
            seen: Seen::default(),
        }
    }

    pub(crate) fn node(&self) -> &Arc<Node<MemoryStore>> {
        self.replica.node()
    }

    pub(crate) fn clock(&self, now: u64) -> Now {
        Now { wall_ms: now.checked_add_signed(self.skew).expect("clocks are far from 0"), mono_ms: now }
    }

    /// Writes what it holds to its disk.
    pub(crate) fn persist(&mut self) {
        let snapshot = self.node().store().snapshot().unwrap();
        let collections = snapshot
            .collections()
            .iter()
            .map(|facts| (facts.clone(), snapshot.scan(&facts.name, Bound::Unbounded, usize::MAX).unwrap().records));
        let collections = collections.collect();
        self.disk = Disk { progress: snapshot.progress().clone(), collections, heard: self.stored.1 };
    }

    /// Starts again from its disk.
    pub(crate) fn restart(&mut self, now: u64, random: &mut Random) {
        let store = empty_store(Progress::new(Scope::Everything), random);
        store.stage().unwrap();
        for (facts, records) in &self.disk.collections {
            store.stage_records(&facts.name, records).unwrap();
        }
        let facts = self.disk.collections.iter().map(|(facts, _)| facts.clone()).collect();
        store.swap(facts, &self.disk.progress).unwrap();
        let stats = self.replica.stats();
        self.seen.repeated += stats.repeated;
        self.replica = replica(&self.label, self.instance, store, &self.scope, self.parents.len(), random);
        self.link = None;
        self.heard = self.disk.heard;
        self.stored = ((self.disk.progress.at, self.disk.progress.clock_offset), self.heard);
        self.next_try = now + random.below(300);
        self.last = self.disk.progress.position;
        self.last_takeover = self.disk.progress.takeover;
        if let Some(log) = &mut self.log {
            log.clear();
        }
        self.log_floor = self.last.seq;
        self.seen.restarts += 1;
        self.dirty = true;
    }

    /// The connection is over.
    pub(crate) fn closed(&mut self, cause: Cause, now: u64, random: &mut Random) {
        self.link = None;
        let retry = self.replica.closed(cause, random.next());
        if retry.new_instance {
            self.instance = Id::from_bytes((u128::from(random.next()) << 1).to_be_bytes());
            self.replica.node().set_instance(self.instance);
        }
        self.next_try = now + retry.after_ms;
    }

    /// Takes in what has arrived.
    pub(crate) fn receive(&mut self, now: u64, random: &mut Random) {
        let clock = self.clock(now);
        while let Some(piece) = self.link.as_mut().and_then(|link| link.arrived(now)) {
            let mut events = Vec::new();
            let complete = self.node().is_complete();
            let outcome = self.replica.receive(&piece, clock, &mut events);
            self.dirty = true;
            self.hear(&piece, outcome.is_ok(), now);
            let mut ended = None;
            for event in events {
                match event {
                    Event::Connected { baseline, .. } => match baseline {
                        None => self.seen.tails += 1,
                        Some(reason) => self.seen.baselines[reason as usize] += 1,
                    },
                    Event::Applied(bytes) => self.keep(&bytes),
                    Event::Rebased { position, before, .. } => {
                        assert_eq!(before, self.last, "{}: from where it was rebased", self.label);
                        if let Some(log) = &mut self.log {
                            log.clear();
                        }
                        self.log_floor = position.seq;
                    }
                    Event::Ended(end) => ended = Some(end),
                    Event::Advanced(_) => {}
                }
            }
            let Progress { position, takeover, .. } = self.node().store().progress();
            let goes_on = (takeover, position) >= (self.last_takeover, self.last);
            assert!(goes_on || !complete, "{} went back from {} to {position}", self.label, self.last);
            self.seen.lower_epochs += u64::from(position.epoch < self.last.epoch);
            (self.last_takeover, self.last) = (takeover, position);
            if let Err(offence) = outcome {
                self.seen.offences += 1;
                match offence.code() {
                    "gap" => self.seen.gaps += 1,
                    "stale_parent" => self.seen.stale_parents += 1,
                    "parent_behind" => self.seen.behind += 1,
                    "diverged" => self.seen.diverged += 1,
                    _ => {}
                }
                return self.closed(Cause::Offence(offence), now, random);
            }
            if let Some(end) = ended {
                self.seen.ends += 1;
                return self.closed(Cause::Ended(end), now, random);
            }
        }
        if self.link.as_ref().is_some_and(Link::is_drained) {
            self.closed(Cause::Lost, now, random);
        }
    }

    fn hear(&mut self, piece: &[u8], taken: bool, now: u64) {
        let link = self.link.as_mut().expect("the piece came by it");
        let mut heard = self.heard;
        let least = link.witness.read(piece, now, &mut heard);
        if taken {
            // Of a piece with an offence in it nothing counts: fewer words only excuse more.
            self.heard = heard;
        }
        let progress = self.node().store().progress();
        let written = (progress.at, progress.clock_offset);
        if written != self.stored.0 {
            self.stored = (written, least);
        }
    }

    fn keep(&mut self, bytes: &Bytes) {
        let Some(log) = &mut self.log else { return };
        for (start, line) in lines(bytes) {
            let Ok(Line::Log(command)) = decode(line, Trust::Checked) else { panic!("applied lines are commands") };
            log.push((command.seq, bytes.slice(start..start + line.len() + 1)));
        }
    }
}
