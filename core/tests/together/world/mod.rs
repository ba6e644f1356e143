//! A deployment in one thread: two places where a writer may run, two relays, four readers. Everything that can happen
//! to them happens at random, and after every step each replica must hold exactly what its position says.
//!
//! A failure names its seed; `HEADWATER_SEED=<seed>` repeats that run alone, `HEADWATER_SEEDS=<n>` tries n of them.

mod heard;
mod member;
mod truth;
mod writer;

use crate::random::Random;
use bytes::Bytes;
use headwater_core::apply::scope_digest;
use headwater_core::clock::Now;
use headwater_core::command::{End, EndReason};
use headwater_core::credentials::Grant;
use headwater_core::node::Node;
use headwater_core::position::Term;
use headwater_core::replica::Cause;
use headwater_core::scope::Scope;
use headwater_core::store::Store;
use headwater_core::store::memory::MemoryStore;
use headwater_core::stream::{OpenError, Request, Step, Stream, Supply};
use member::{Link, Member, Mischief, Peer, Seen};
use std::sync::Arc;
use truth::{Picture, Truth};
use writer::{PING_MS, Writer};

const SCOPES: &[&str] = &[
    r#""**""#,
    r#""*""#,
    r#"{"flags":[""],"prices":[""]}"#,
    r#"{"flags":[""],"prices":["eu:","us:"]}"#,
    r#"{"prices":["eu:","k1"]}"#,
    r#"{"_keys":["k"],"a":[""]}"#,
];

struct World {
    random: Random,
    now: u64,
    truth: Truth,
    writers: [Option<Writer>; 2],
    /// Where the newest writer is.
    current: usize,
    /// What each place's disk holds: the newest opening of its log.
    disks: [Option<Term>; 2],
    /// Since when another writer is in the place of the one whose disk that is.
    replaced: [Option<u64>; 2],
    /// Old writers, started again, that learned it.
    deposed: u64,
    members: Vec<Member>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let mut truth = Truth::default();
        let now = 1_763_650_000_000;
        let first = Writer::open("w0", &[], 0, None, now, &mut truth, &mut random);
        let disks = [Some(first.term), None];
        let (w0, w1, r0, r1) = (Peer::Writer(0), Peer::Writer(1), Peer::Member(0), Peer::Member(1));
        let mut members = Vec::new();
        for (index, parents) in
            [vec![w0, w1], vec![w1, w0], vec![r0, r1], vec![r1, w0, w1], vec![w0, r0, w1], vec![r0, w1, w0]]
                .into_iter()
                .enumerate()
        {
            let scope = if index < 2 { Scope::Everything } else { scope(&mut random) };
            members.push(Member::new(format!("m{index}"), parents, scope, &mut random));
        }
        Self {
            random,
            now,
            truth,
            writers: [Some(first), None],
            current: 0,
            disks,
            replaced: [None; 2],
            deposed: 0,
            members,
        }
    }

    fn node(&self, peer: Peer) -> Option<&Arc<Node<MemoryStore>>> {
        match peer {
            Peer::Writer(place) => self.writers[place].as_ref().map(|writer| &writer.node),
            Peer::Member(index) => Some(self.members[index].node()),
        }
    }

    fn clock(&self, peer: Peer) -> Now {
        match peer {
            Peer::Writer(_) => Now { wall_ms: self.now, mono_ms: self.now },
            Peer::Member(index) => self.members[index].clock(self.now),
        }
    }

    /// Connects a member whose time has come.
    fn connect(&mut self, index: usize) {
        let member = &mut self.members[index];
        if member.link.is_some() || self.now < member.next_try {
            return;
        }
        let clock = member.clock(self.now);
        let request = member.replica.request(clock);
        let request = Request::from_body(request.to_body().as_bytes()).unwrap();
        let to = member.parents[member.replica.parent()];
        let floor = match to {
            Peer::Writer(place) => self.writers[place].as_ref().map(|writer| writer.floor),
            Peer::Member(parent) => {
                let parent = &self.members[parent];
                parent.log.is_some().then_some(parent.log_floor)
            }
        };
        let clock = self.clock(to);
        let opened = self.node(to).map(|node| Stream::open(node, request, &Grant::all("node"), floor, clock));
        let cause = match opened {
            Some(Ok(stream)) => {
                let member = &mut self.members[index];
                let seq = member.node().store().position().seq;
                member.link = Some(Link::new(to, stream, seq, self.now));
                return;
            }
            Some(Err(OpenError::NotReady | OpenError::Overloaded(_))) => Cause::Refused { retry_ms: 200 },
            Some(Err(error)) => panic!("{error:?}"),
            None => Cause::Lost,
        };
        let (now, random) = (self.now, &mut self.random);
        self.members[index].closed(cause, now, random);
    }

    /// Lets the parent's end of a connection write what it has.
    fn pull(&mut self, index: usize, most: u64) {
        let Some(link) = self.members[index].link.as_mut() else { return };
        let to = link.to;
        let Some(mut stream) = link.stream.take() else { return };
        let clock = self.clock(to);
        let mut open = true;
        for _ in 0..most {
            match stream.next(clock) {
                Step::Chunk { bytes: chunk, .. } => {
                    let (now, random) = (self.now, &mut self.random);
                    let link = self.members[index].link.as_mut().expect("it was there");
                    link.carry(chunk, now, random);
                }
                Step::Wait(_) => break,
                Step::History(after) => {
                    let supplied = self.history(to, after);
                    stream.supply(supplied);
                }
                Step::End => {
                    open = false;
                    break;
                }
            }
        }
        if open {
            self.members[index].link.as_mut().expect("it was there").stream = Some(stream);
        }
    }

    /// What a parent's log holds after a seq: a few lines at a time.
    fn history(&mut self, peer: Peer, after: u64) -> Supply {
        if self.random.once_in(8) {
            // It is stored behind the feed.
            return Supply::NotYet;
        }
        let most = 1 + self.random.below(20) as usize;
        let (lines, head): (Vec<(u64, Bytes)>, u64) = match peer {
            Peer::Writer(place) => {
                let Some(writer) = self.writers[place].as_ref().filter(|writer| after >= writer.floor) else {
                    return Supply::Gone;
                };
                let log = self.truth.log(writer.term.epoch);
                let behind = log.iter().enumerate().skip(after as usize).take(most);
                let line = |(index, written): (usize, &truth::Written)| {
                    (index as u64 + 1, Bytes::copy_from_slice(&written.line))
                };
                (behind.map(line).collect(), log.len() as u64)
            }
            Peer::Member(parent) => {
                let parent = &self.members[parent];
                let Some(log) = parent.log.as_ref().filter(|_| after >= parent.log_floor) else {
                    return Supply::Gone;
                };
                let behind = log.iter().filter(|(seq, _)| *seq > after).take(most);
                (behind.cloned().collect(), parent.node().store().position().seq)
            }
        };
        let last = if lines.len() < most { head } else { lines.last().map_or(head, |(seq, _)| *seq) };
        let lines: Vec<u8> = lines.iter().flat_map(|(_, line)| line.to_vec()).collect();
        Supply::Lines { bytes: lines.into(), through: last }
    }

    /// Breaks every connection to `peer`.
    fn cut_all(&mut self, peer: Peer) {
        for member in &mut self.members {
            if let Some(link) = member.link.as_mut().filter(|link| link.to == peer) {
                link.cut(&mut self.random);
            }
        }
    }

    /// The writer's process ends and another opens the log, or an older copy of it, here or in the other place.
    fn restart_writer(&mut self) {
        let old = self.current;
        if let Some(writer) = self.writers[old].as_ref().filter(|_| self.random.once_in(2)) {
            writer.node.close(End {
                reason: EndReason::Retry,
                detail: "shutdown".into(),
                retry_ms: 100,
                parents: Vec::new(),
            });
            (0..self.members.len()).for_each(|index| self.pull(index, 5));
        }
        let newest = self.truth.newest();
        let log = self.truth.log(newest.epoch);
        let kept = match self.random.below(6) {
            0 => self.random.below(log.len() as u64 + 1) as usize,
            1 => log.len().saturating_sub(self.random.below(6) as usize),
            // A log in memory starts from nothing.
            2 if self.random.once_in(4) => 0,
            _ => log.len(),
        };
        let found = log[..kept].to_vec();
        let place = if self.random.once_in(3) { 1 - old } else { old };
        if place != old && self.random.once_in(2) {
            // The old one was only paused and goes on writing what nobody will keep. Without its lease it has no proof
            // of freshness that is newer.
            let now = self.now;
            self.writers[old].iter_mut().for_each(|writer| writer.end_lease(now));
        } else {
            self.cut_all(Peer::Writer(old));
            self.writers[old] = None;
        }
        self.cut_all(Peer::Writer(place));
        self.now += self.random.below(30);
        let mut takeover = newest.takeover;
        if self.random.once_in(2) {
            takeover = self.now.max(takeover + 1);
        }
        if place != old {
            self.replaced[old].get_or_insert(self.now);
        }
        self.replaced[place] = None;
        self.open(place, &found, takeover, None);
        self.current = place;
        if self.random.once_in(2) {
            // Before anybody has seen the new one.
            self.start_old_writer();
        }
    }

    fn open(&mut self, place: usize, found: &[truth::Written], takeover: u64, lease_end: Option<u64>) {
        let (label, now) = (format!("w{place}"), self.now);
        let writer = Writer::open(&label, found, takeover, lease_end, now, &mut self.truth, &mut self.random);
        self.disks[place] = Some(writer.term);
        self.writers[place] = Some(writer);
    }

    /// A writer in whose place another one was put is started again, as it was. It knows nothing of that, and its epoch is
    /// the highest. It has no lease, and so no proof of freshness from then on.
    fn start_old_writer(&mut self) {
        let place = 1 - self.current;
        let Some(term) = self.disks[place].filter(|term| term.takeover < self.truth.newest().takeover) else { return };
        let found = self.truth.log(term.epoch).to_vec();
        self.stop_old_writer();
        self.now += 1;
        self.open(place, &found, term.takeover, self.replaced[place]);
    }

    /// Whatever is in the other place than the newest writer ends.
    fn stop_old_writer(&mut self) {
        let place = 1 - self.current;
        if let Some(writer) = self.writers[place].take() {
            self.deposed += u64::from(writer.node.deposed_by().is_some());
        }
        self.cut_all(Peer::Writer(place));
    }

    fn write(&mut self, place: usize) {
        if let Some(writer) = &mut self.writers[place] {
            writer.write(self.now, &mut self.truth, &mut self.random);
        }
    }

    /// One thing that goes wrong or changes.
    fn disturb(&mut self) {
        let index = self.random.below(self.members.len() as u64) as usize;
        let everything = self.members[index].scope == Scope::Everything;
        let (now, random) = (self.now, &mut self.random);
        let member = &mut self.members[index];
        match random.below(16) {
            0..4 => {
                if let Some(link) = &mut member.link {
                    link.cut(random);
                }
            }
            4 | 5 => {
                if let Some(link) = &mut member.link {
                    link.repeat(random);
                }
            }
            6 if everything => {
                if let Some(link) = &mut member.link {
                    link.mischief = Some(if random.once_in(2) { Mischief::Lose } else { Mischief::Swap });
                }
            }
            7 | 8 => {
                if let Some(link) = &mut member.link {
                    link.stalled_until = now + random.below(6_000);
                }
            }
            9 => member.persist(),
            10 => {
                member.restart(now, random);
                self.cut_all(Peer::Member(index));
            }
            11 if index >= 2 => {
                member.scope = scope(random);
                let scope = member.scope.clone();
                member.replica.set_scope(scope);
                member.closed(Cause::Own, now, random);
            }
            12 => {
                if let Some(log) = &mut member.log {
                    let kept = random.below(log.len() as u64 + 1) as usize;
                    member.log_floor = log.drain(..kept).next_back().map_or(member.log_floor, |(seq, _)| seq);
                }
            }
            13 => {
                if let Some(writer) = &mut self.writers[self.current] {
                    let head = writer.node.store().position().seq;
                    writer.floor += random.below(head - writer.floor + 1);
                }
            }
            14 if random.once_in(3) => self.stop_old_writer(),
            14 => self.start_old_writer(),
            15 if random.once_in(3) => self.restart_writer(),
            _ => {}
        }
    }

    /// Time passes; what is due happens.
    fn pass(&mut self, ms: u64) {
        self.now += ms;
        for index in 0..self.members.len() {
            self.connect(index);
            let most = self.random.below(6);
            self.pull(index, most);
            let (now, random) = (self.now, &mut self.random);
            let member = &mut self.members[index];
            member.receive(now, random);
            if member.link.is_some() && member.replica.deadline().is_some_and(|deadline| deadline <= now) {
                member.closed(Cause::Silent, now, random);
            }
        }
    }

    /// Each replica holds what its position says, and claims no more freshness than is true.
    fn check(&mut self) {
        for index in 0..self.members.len() {
            self.check_lag(index);
            let member = &mut self.members[index];
            if !std::mem::take(&mut member.dirty) {
                continue;
            }
            let node = member.replica.node();
            let progress = node.store().progress();
            if !progress.complete {
                continue;
            }
            let position = progress.position;
            let Some(state) = self.truth.state(position) else {
                panic!("m{index} is at {position}, which no history has");
            };
            let (expected, found) = (state.within(&progress.scope), Picture::of(node.store(), &progress.scope));
            assert!(found == expected, "m{index} at {position} of {}: {}", progress.scope, found.difference(&expected));
            assert!(progress.epochs.holds(position), "m{index} at {position} with {:?}", progress.epochs);
            let counted = scope_digest(&node.store().collections().unwrap());
            assert_eq!(node.digest(), Ok(counted), "m{index} at {position}: its digest was not followed rightly");
        }
    }

    fn check_lag(&self, index: usize) {
        let member = &self.members[index];
        let node = member.node();
        let progress = node.store().progress();
        if !progress.complete {
            return;
        }
        let Some(lag) = node.lag_ms(member.clock(self.now)) else { return };
        let since = self.truth.stale_since(progress.position, self.truth.newest().epoch, &progress.scope);
        let truth = since.map_or(0, |since| self.now.saturating_sub(since));
        let unknowable = member.heard.unknowable();
        assert!(
            lag + unknowable >= truth,
            "m{index} at {} says {lag} ms, misses something for {truth} ms, {unknowable} ms cannot be known",
            progress.position
        );
    }

    /// Without further trouble everyone reaches the writer.
    fn settle(&mut self) {
        self.stop_old_writer();
        let started = self.now;
        loop {
            self.pass(40);
            self.check();
            let head = self.writers[self.current].as_ref().expect("it writes").node.store().position();
            let arrived = |member: &Member| {
                let progress = member.node().store().progress();
                progress.complete && progress.position == head && progress.scope == member.scope
            };
            if self.members.iter().all(arrived) {
                break;
            }
            let waited = self.now - started;
            let late = || self.members.iter().enumerate().filter(|(_, member)| !arrived(member));
            let state = late().map(|(index, member)| {
                let progress = member.node().store().progress();
                format!(
                    "m{index} at {} of {} (asks for {}), last offence {:?}",
                    progress.position,
                    progress.scope,
                    member.scope,
                    member.replica.last_offence()
                )
            });
            assert!(waited < 300_000, "head {head}, after {waited} ms: {:#?}", state.collect::<Vec<_>>());
        }
        // Everyone answers as if it were the writer, also about how fresh it is.
        for _ in 0..100 {
            self.pass(20);
            self.check();
        }
        let writer = self.writers[self.current].as_ref().expect("it writes");
        for (index, member) in self.members.iter().enumerate() {
            let lag = member.node().lag_ms(member.clock(self.now)).expect("a proof came");
            assert!(lag < 8 * PING_MS + 4_000, "m{index} is told to be {lag} ms behind");
            for facts in member.node().store().collections().unwrap() {
                let held = writer.node.store().collection(&facts.name).unwrap().expect("it exists at the writer too");
                if !member.scope.is_narrowed_by_prefix() {
                    assert_eq!((facts.keys, facts.digest), (held.keys, held.digest), "{} at m{index}", facts.name);
                }
            }
        }
    }

    fn run(&mut self, steps: usize) {
        for step in 0..steps {
            let quiet = step % 400 > 250;
            if self.random.once_in(3) {
                self.write(self.current);
            }
            if self.random.once_in(10) {
                self.write(1 - self.current);
            }
            if !quiet && self.random.once_in(4) {
                self.disturb();
            }
            let ms = match self.random.below(60) {
                0 => self.random.below(10_000),
                1..10 => self.random.below(400),
                _ => self.random.below(25),
            };
            self.pass(ms);
            self.check();
        }
        self.settle();
    }

    fn seen(&self) -> Seen {
        let mut sum = Seen::default();
        for member in &self.members {
            let Seen {
                tails,
                baselines,
                offences,
                gaps,
                stale_parents,
                lower_epochs,
                behind,
                diverged,
                restarts,
                repeated,
                ends,
            } = member.seen;
            sum.tails += tails;
            (0..4).for_each(|reason| sum.baselines[reason] += baselines[reason]);
            sum.offences += offences;
            sum.gaps += gaps;
            sum.stale_parents += stale_parents;
            sum.lower_epochs += lower_epochs;
            sum.behind += behind;
            sum.diverged += diverged;
            sum.restarts += restarts;
            sum.repeated += repeated + member.replica.stats().repeated;
            sum.ends += ends;
        }
        sum
    }
}

fn scope(random: &mut Random) -> Scope {
    let text: &str = random.pick::<&str>(SCOPES);
    Scope::from_json(text).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a person repeats a run by a variable")]
fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Tells the seed of a run that does not end well.
struct Telling(u64);

impl Drop for Telling {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("repeat with HEADWATER_SEED={}", self.0);
        }
    }
}

#[test]
fn whatever_happens_each_replica_is_a_prefix_of_its_log_and_ends_at_the_writer() {
    let seeds = match variable("HEADWATER_SEED") {
        Some(seed) => seed..seed + 1,
        // wasm32 runs a good deal slower, and the same seeds natively.
        None => 0..variable("HEADWATER_SEEDS").unwrap_or(if cfg!(target_family = "wasm") { 12 } else { 40 }),
    };
    let every = seeds.end - seeds.start > 20;
    let (mut seen, mut deposed) = (Vec::new(), 0);
    for seed in seeds {
        let _telling = Telling(seed);
        let mut world = World::new(seed);
        world.run(800);
        seen.push(world.seen());
        deposed += world.deposed;
    }
    let sum = |of: fn(&Seen) -> u64| seen.iter().map(of).sum::<u64>();
    let counts = [
        ("tails", sum(|seen| seen.tails)),
        ("new", sum(|seen| seen.baselines[0])),
        ("scope_changed", sum(|seen| seen.baselines[1])),
        ("not_on_history", sum(|seen| seen.baselines[2])),
        ("trimmed", sum(|seen| seen.baselines[3])),
        ("offences", sum(|seen| seen.offences)),
        ("gaps", sum(|seen| seen.gaps)),
        ("stale parents", sum(|seen| seen.stale_parents)),
        ("lower epochs", sum(|seen| seen.lower_epochs)),
        ("deposed", deposed),
        ("restarts", sum(|seen| seen.restarts)),
        ("repeated", sum(|seen| seen.repeated)),
        ("ends", sum(|seen| seen.ends)),
    ];
    println!("{counts:?}");
    // Whatever is lost or comes twice, no two states of the same position differ.
    assert_eq!(sum(|seen| seen.diverged), 0);
    // A world in which something never happens proves nothing about it.
    assert!(!every || counts.iter().all(|(_, count)| *count > 5), "{counts:?}");
}
