//! A writer, a relay and a reader in a row, and what the reader says about its freshness when a hop is cut.

use crate::parent::{Parent, START_MS, at, empty_store, options};
use headwater_core::clock::Now;
use headwater_core::credentials::Grant;
use headwater_core::id::Id;
use headwater_core::node::{Node, NodeOptions, Role};
use headwater_core::position::Term;
use headwater_core::replica::{Cause, Event, Offence, Replica, ReplicaOptions};
use headwater_core::scope::Scope;
use headwater_core::store::memory::MemoryStore;
use headwater_core::store::{Progress, Store};
use headwater_core::stream::{Step, Stream};
use std::sync::Arc;

fn replica(name: &str, instance: u8) -> Replica<MemoryStore> {
    let instance = Id::from_bytes([instance; 16]);
    let node = NodeOptions { ping_ms: 500, ..NodeOptions::new(name, instance, Role::Replica) };
    let node = Arc::new(Node::new(empty_store(Scope::Everything), node));
    Replica::new(node, ReplicaOptions { scope: Scope::Everything, parents: 1 })
}

fn connect(parent: &Arc<Node<MemoryStore>>, child: &mut Replica<MemoryStore>, now: Now) -> Stream<MemoryStore> {
    Stream::open(parent, child.request(now), &Grant::all("node"), None, now).unwrap()
}

/// What the parent has to say now, in chunks.
fn chunks(stream: &mut Stream<MemoryStore>, now: Now) -> Vec<Vec<u8>> {
    let chunk = |stream: &mut Stream<MemoryStore>| match stream.next(now) {
        Step::Chunk { bytes: chunk, .. } => Some(chunk.to_vec()),
        _ => None,
    };
    std::iter::from_fn(|| chunk(stream)).collect()
}

fn deliver(chunks: &[Vec<u8>], child: &mut Replica<MemoryStore>, now: Now) -> (Vec<Event>, Result<(), Offence>) {
    let mut events = Vec::new();
    let outcome = chunks.iter().try_for_each(|chunk| child.receive(chunk, now, &mut events));
    (events, outcome)
}

/// Two hops, both up to date at `ms`. `stream` is what the reader reads of the relay.
struct Chain {
    writer: Parent,
    relay: Replica<MemoryStore>,
    reader: Replica<MemoryStore>,
    first_hop: Stream<MemoryStore>,
    second_hop: Stream<MemoryStore>,
}

/// The reader's wall clock is 40 s ahead.
fn reader_clock(ms: u64) -> Now {
    Now { wall_ms: START_MS + 40_000 + ms, mono_ms: 7_000 + ms }
}

impl Chain {
    fn new() -> Self {
        let writer = Parent::new(options(Role::Primary));
        let (mut relay, mut reader) = (replica("relay", 1), replica("reader", 2));
        let mut first_hop = connect(&writer.node, &mut relay, at(0));
        deliver(&chunks(&mut first_hop, at(0)), &mut relay, at(0)).1.unwrap();
        let second_hop = connect(relay.node(), &mut reader, at(0));
        let mut chain = Self { writer, relay, reader, first_hop, second_hop };
        chain.pass(0);
        chain
    }

    fn pass(&mut self, ms: u64) {
        let first = chunks(&mut self.first_hop, at(ms));
        deliver(&first, &mut self.relay, at(ms)).1.unwrap();
        self.pass_second(ms);
    }

    fn pass_second(&mut self, ms: u64) {
        let second = chunks(&mut self.second_hop, at(ms));
        deliver(&second, &mut self.reader, reader_clock(ms)).1.unwrap();
    }

    fn lag(&self, ms: u64) -> u64 {
        self.reader.node().lag_ms(reader_clock(ms)).unwrap()
    }
}

#[test]
fn two_hops_away_a_write_arrives_and_the_proof_with_it() {
    let mut chain = Chain::new();
    chain.writer.set("c", "a", 100);
    chain.pass(100);
    assert_eq!(chain.reader.node().store().position(), chain.writer.node.store().position());
    assert_eq!(chain.reader.node().store().collections(), chain.writer.node.store().collections());
    chain.pass(600);
    assert_eq!(chain.lag(600), 0);
    assert_eq!(chain.lag(850), 250);
}

#[test]
fn a_cut_first_hop_shows_two_hops_away_though_pings_go_on() {
    let mut chain = Chain::new();
    chain.pass(1_000);
    for ms in (1_500..=30_000).step_by(500) {
        chain.pass_second(ms);
        assert_eq!(chain.lag(ms), ms - 1_000);
        assert!(chain.reader.deadline().unwrap() > reader_clock(ms).mono_ms, "the relay lives");
    }
    // Restored, it goes on from the cursor.
    chain.writer.set("c", "a", 30_100);
    chain.relay.closed(Cause::Silent, 0);
    chain.first_hop = connect(&chain.writer.node, &mut chain.relay, at(30_200));
    chain.pass(30_200);
    chain.pass(30_800);
    assert_eq!(chain.lag(30_800), 0);
    assert_eq!((chain.relay.stats().baselines.total(), chain.reader.stats().baselines.total()), (1, 1));
    assert_eq!(chain.reader.node().store().position(), chain.writer.node.store().position());
}

#[test]
fn pings_that_were_held_up_for_an_hour_are_an_hour_old() {
    let mut chain = Chain::new();
    chain.pass(500);
    let mut held_up = Vec::new();
    for ms in [1_000, 1_500, 2_000] {
        let first = chunks(&mut chain.first_hop, at(ms));
        deliver(&first, &mut chain.relay, at(ms)).1.unwrap();
        held_up.extend(chunks(&mut chain.second_hop, at(ms)));
    }
    let hour = 3_600_000;
    deliver(&held_up, &mut chain.reader, reader_clock(hour)).1.unwrap();
    assert_eq!(chain.lag(hour), hour - 2_000);
}

#[test]
fn a_child_that_finds_itself_in_the_path_refuses() {
    let chain = Chain::new();
    let mut relay = chain.relay;
    relay.closed(Cause::Lost, 0);
    let mut back = connect(chain.reader.node(), &mut relay, at(10));
    let (events, outcome) = deliver(&chunks(&mut back, at(10)), &mut relay, at(10));
    assert_eq!((events, outcome), (Vec::new(), Err(Offence::Loop)));
}

#[test]
fn two_that_take_each_other_for_their_parent_at_the_same_moment_find_out() {
    let writer = Parent::new(options(Role::Primary));
    let (mut one, mut other) = (replica("one", 1), replica("other", 2));
    for replica in [&mut one, &mut other] {
        let mut stream = connect(&writer.node, replica, at(0));
        deliver(&chunks(&mut stream, at(0)), replica, at(0)).1.unwrap();
        replica.closed(Cause::Lost, 0);
    }
    // Each is asked before it has an answer, so neither path tells of the circle yet.
    let mut to_one = connect(other.node(), &mut one, at(10));
    let mut to_other = connect(one.node(), &mut other, at(10));
    let (first, second) = (chunks(&mut to_one, at(10)), chunks(&mut to_other, at(10)));
    deliver(&first, &mut one, at(20)).1.unwrap();
    deliver(&second, &mut other, at(20)).1.unwrap();
    for (stream, child) in [(&mut to_one, &mut one), (&mut to_other, &mut other)] {
        let (events, outcome) = deliver(&chunks(stream, at(30)), child, at(30));
        outcome.unwrap();
        let Some(Event::Ended(end)) = events.last() else { panic!("{events:?}") };
        assert_eq!(end.detail, "path_changed");
        child.closed(Cause::Ended(end.clone()), 0);
    }
    let mut again = connect(other.node(), &mut one, at(40));
    assert_eq!(deliver(&chunks(&mut again, at(40)), &mut one, at(40)).1, Err(Offence::Loop));
}

#[test]
fn three_that_follow_each_other_in_a_circle_find_out_each() {
    let writer = Parent::new(options(Role::Primary));
    let mut circle = [("a", 1), ("b", 2), ("c", 3)].map(|(name, instance)| replica(name, instance));
    for replica in &mut circle {
        let mut stream = connect(&writer.node, replica, at(0));
        deliver(&chunks(&mut stream, at(0)), replica, at(0)).1.unwrap();
        replica.closed(Cause::Lost, 0);
    }
    let parents = [1, 2, 0].map(|index: usize| Arc::clone(circle[index].node()));
    // Each is asked before it has an answer: a follows b, b follows c, c follows a. No child is in the path of its parent
    // yet, so nobody can know before the paths have gone round.
    let mut links = [0, 1, 2].map(|index: usize| connect(&parents[index], &mut circle[index], at(10)));
    let mut found = [false; 3];
    for ms in [20, 30, 40, 50] {
        let said = links.each_mut().map(|stream| chunks(stream, at(ms)));
        for (index, chunks) in said.iter().enumerate() {
            let child = &mut circle[index];
            let (events, outcome) = deliver(chunks, child, at(ms));
            let cause = match (events.last(), outcome) {
                (_, Err(Offence::Loop)) => {
                    found[index] = true;
                    continue;
                }
                (Some(Event::Ended(end)), Ok(())) if end.detail == "path_changed" => Cause::Ended(end.clone()),
                (_, Ok(())) => continue,
                other => panic!("{other:?}"),
            };
            child.closed(cause, 0);
            links[index] = connect(&parents[index], child, at(ms));
        }
    }
    assert_eq!(found, [true; 3]);
}

#[test]
fn a_changed_path_is_told_to_children_and_goes_on_to_theirs() {
    let mut chain = Chain::new();
    let mut grandchild = replica("grandchild", 3);
    let mut third_hop = connect(chain.reader.node(), &mut grandchild, at(0));
    deliver(&chunks(&mut third_hop, at(0)), &mut grandchild, at(0)).1.unwrap();
    let id = |instance| Id::from_bytes([instance; 16]);
    assert_eq!(grandchild.node().path(), [0xa1, 1, 2, 3].map(id));
    // The relay follows another relay from now on, then it takes a new instance.
    chain.relay.node().set_path(&[0xa1, 0xb1].map(id));
    chain.pass_second(10);
    deliver(&chunks(&mut third_hop, at(10)), &mut grandchild, at(10)).1.unwrap();
    assert_eq!(grandchild.node().path(), [0xa1, 0xb1, 1, 2, 3].map(id));
    chain.relay.node().set_instance(id(9));
    chain.pass_second(20);
    deliver(&chunks(&mut third_hop, at(20)), &mut grandchild, at(20)).1.unwrap();
    assert_eq!(grandchild.node().path(), [0xa1, 0xb1, 9, 2, 3].map(id));
    assert_eq!(grandchild.stats().connections, 1);
    // Told once.
    assert!(chunks(&mut third_hop, at(21)).is_empty());
}

#[test]
fn a_newcomer_behind_a_relay_that_is_cut_off_does_not_look_fresh() {
    let mut chain = Chain::new();
    chain.pass(1_000);
    let mut newcomer = replica("newcomer", 3);
    let mut stream = connect(chain.relay.node(), &mut newcomer, at(61_000));
    deliver(&chunks(&mut stream, at(61_000)), &mut newcomer, reader_clock(61_000)).1.unwrap();
    assert_eq!(newcomer.node().lag_ms(reader_clock(61_000)), Some(60_000));
}

#[test]
fn a_writer_whose_clock_is_set_back_makes_nobody_look_behind() {
    let mut chain = Chain::new();
    chain.pass(1_000);
    // An hour back, while the monotonic clock goes on.
    let set_back = |ms: u64| Now { wall_ms: at(ms).wall_ms - 3_600_000, mono_ms: at(ms).mono_ms };
    for ms in [2_000, 3_000] {
        let first = chunks(&mut chain.first_hop, set_back(ms));
        assert!(!first.is_empty(), "PINGs go on");
        deliver(&first, &mut chain.relay, at(ms)).1.unwrap();
        assert_eq!(chain.relay.node().lag_ms(at(ms)), Some(0));
    }
}

#[test]
fn a_writer_without_its_lease_vouches_for_nothing_newer() {
    let mut chain = Chain::new();
    chain.pass(1_000);
    chain.writer.node.end_lease(at(1_500));
    for ms in [2_000, 3_000, 4_000] {
        chain.pass(ms);
        assert!(chain.lag(ms) >= ms - 1_500, "{} ms at {ms}", chain.lag(ms));
    }
}

#[test]
fn a_relay_that_takes_in_a_baseline_ends_its_childrens_streams() {
    let mut chain = Chain::new();
    chain.relay.closed(Cause::Lost, 0);
    // Another history: the writer opened an older copy of its log.
    chain.writer = Parent::new(options(Role::Primary));
    chain.writer.open(20);
    chain.first_hop = connect(&chain.writer.node, &mut chain.relay, at(10));
    let (events, outcome) = deliver(&chunks(&mut chain.first_hop, at(10)), &mut chain.relay, at(10));
    outcome.unwrap();
    assert!(!events.iter().any(|event| matches!(event, Event::Rebased { .. })), "its position is on that history");
    chain.relay.closed(Cause::Lost, 0);
    let mut rewound = Parent::new(options(Role::Primary));
    rewound.open(30);
    chain.first_hop = connect(&rewound.node, &mut chain.relay, at(20));
    let (events, outcome) = deliver(&chunks(&mut chain.first_hop, at(20)), &mut chain.relay, at(20));
    outcome.unwrap();
    assert!(events.iter().any(|event| matches!(event, Event::Rebased { .. })));
    let end = chunks(&mut chain.second_hop, at(20)).concat();
    assert!(String::from_utf8(end).unwrap().contains(r#""reason":"retry","detail":"rebaselined""#));
    // The reader comes back with its old position and is told why it does not do.
    chain.reader.closed(Cause::Lost, 0);
    chain.second_hop = connect(chain.relay.node(), &mut chain.reader, at(30));
    let hello = chunks(&mut chain.second_hop, at(30)).concat();
    assert!(String::from_utf8(hello).unwrap().contains(r#""resume":"baseline","reason":"trimmed""#));
}

/// The one line of HELLO.
fn hello(chunks: &[Vec<u8>]) -> &str {
    core::str::from_utf8(&chunks[0]).unwrap().lines().next().unwrap()
}

#[test]
fn an_old_writer_that_is_started_again_is_refused_by_all_who_met_the_new_one() {
    let Chain { writer: mut old, mut relay, mut reader, .. } = Chain::new();
    // A copy of the log takes over. The old one is started again behind its back, and is followed by who does not know.
    let mut new = Parent::new(options(Role::Primary));
    let term = Term { takeover: 7, epoch: 20 };
    new.open_in(term);
    new.set("c", "a", 10);
    old.open(90);
    old.set("c", "lost", 20);
    let follow = |parent: &Arc<Node<MemoryStore>>, child: &mut Replica<MemoryStore>, ms| {
        child.closed(Cause::Lost, 0);
        let said = chunks(&mut connect(parent, child, at(ms)), at(ms));
        let outcome = deliver(&said, child, at(ms)).1;
        (hello(&said).to_owned(), outcome)
    };
    follow(&old.node, &mut relay, 30).1.unwrap();
    follow(relay.node(), &mut reader, 30).1.unwrap();
    assert_eq!(reader.node().store().progress().term(), Term { takeover: 0, epoch: 90 });

    // The relay meets the new one, whose epoch is lower, and no more than HELLO comes.
    relay.closed(Cause::Lost, 0);
    let said = chunks(&mut connect(&new.node, &mut relay, at(40)), at(40));
    assert!(hello(&said).contains(r#""resume":"baseline","reason":"not_on_history""#), "{}", hello(&said));
    deliver(&said[..1], &mut relay, at(40)).1.unwrap();
    let progress = relay.node().store().progress();
    assert_eq!((progress.term(), progress.highest()), (Term { takeover: 0, epoch: 90 }, term));
    assert_eq!(Progress::from_json(&progress.to_json()), Ok(progress), "a restart knows it too");
    // What it holds is still of the old one, and so it hands it on. It does not go back to it.
    let (hello, outcome) = follow(relay.node(), &mut reader, 50);
    assert!(outcome.is_ok() && !hello.contains("takeover"), "{hello}: {outcome:?}");
    let stale = Err(Offence::StaleParent { highest: term, met: Term { takeover: 0, epoch: 90 } });
    assert_eq!(follow(&old.node, &mut relay, 60).1, stale);
    assert_eq!(old.node.deposed_by(), Some(Term { takeover: 7, epoch: 0 }), "and tells it");

    // The baseline comes, and the reader behind it is told of the takeover with it.
    follow(&new.node, &mut relay, 70).1.unwrap();
    assert_eq!(relay.node().store().position(), new.node.store().position());
    let (hello, outcome) = follow(relay.node(), &mut reader, 80);
    assert!(outcome.is_ok() && hello.contains(r#""epoch":20"#) && hello.ends_with(r#""takeover":7}"#), "{hello}");
    assert_eq!(reader.node().store().progress().term(), term);
    assert!(reader.node().store().record("c", "lost").unwrap().is_none());
    for (child, ms) in [(&mut reader, 90), (&mut relay, 100)] {
        let (hello, outcome) = follow(&old.node, child, ms);
        assert!(outcome == stale && hello.contains(r#""resume":"none""#), "{hello}: {outcome:?}");
    }
    assert_eq!(new.node.deposed_by(), None);
    // Opened again the new one is followed as ever, by the tail.
    new.open(95);
    follow(&new.node, &mut relay, 110).1.unwrap();
    assert_eq!(relay.node().store().progress().term(), Term { takeover: 7, epoch: 95 });
    assert_eq!(relay.stats().baselines.total(), 2);
}

#[test]
fn one_who_took_the_takeover_for_an_unknown_field_learns_it_from_its_parent() {
    let Chain { writer: mut new, mut relay, .. } = Chain::new();
    new.open_in(Term { takeover: 7, epoch: 20 });
    relay.closed(Cause::Lost, 0);
    deliver(&chunks(&mut connect(&new.node, &mut relay, at(10)), at(10)), &mut relay, at(10)).1.unwrap();
    // As an earlier release stored it.
    let store = relay.node().store();
    store.set_progress(&Progress { takeover: 0, takeover_highest: 0, ..store.progress() }).unwrap();
    relay.closed(Cause::Lost, 0);
    deliver(&chunks(&mut connect(&new.node, &mut relay, at(20)), at(20)), &mut relay, at(20)).1.unwrap();
    assert_eq!(relay.node().store().progress().term(), Term { takeover: 7, epoch: 20 });
    assert_eq!(relay.stats().baselines.total(), 1, "by the tail");
}
