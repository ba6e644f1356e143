//! What wire vectors cannot show: times, parents, what becomes of a baseline that is not taken in, a store that fails.

mod failing;

use super::*;
use crate::apply::scope_digest;
use crate::node::{NodeOptions, Role};
use crate::store::memory::{MemoryOptions, MemoryStore};
use crate::store::{Collection, Progress, StoreError};
use alloc::format;
use alloc::vec::Vec;
use failing::FailingStore;

const T0: u64 = 1_763_650_000_000;
const INSTANCE: Id = Id::from_bytes([0xee; 16]);

fn now(ms: u64) -> Now {
    Now { wall_ms: T0 + ms, mono_ms: 5_000_000 + ms }
}

fn memory() -> MemoryStore {
    MemoryStore::new(Progress::new(Scope::Everything), MemoryOptions::single_threaded(1))
}

fn replica_on<S: Store>(store: S, parents: usize) -> Replica<S> {
    let node = Arc::new(Node::new(store, NodeOptions::new("r", INSTANCE, Role::Replica)));
    Replica::new(node, ReplicaOptions { scope: Scope::Everything, parents })
}

fn hello(resume: &str, seq: u64) -> String {
    let reason = if resume == "baseline" { r#","reason":"trimmed""# } else { "" };
    format!(
        "{{\"type\":\"HELLO\",\"protocol\":1,\"cluster\":\"{:032x}\",\"epoch\":{T0},\"seq\":{seq},\"at\":{T0},\"node\":\"p\",\
         \"path\":[],\"resume\":\"{resume}\"{reason},\"scope\":\"**\",\"pingMs\":500,\"requires\":[],\"timestamp\":{T0}}}\n",
        7
    )
}

fn digest(collections: &[Collection]) -> String {
    scope_digest(collections).to_wire()
}

/// A baseline of the empty collection `c`, made by seq 2, as of seq 2.
fn baseline() -> String {
    let facts = [Collection::new("c".into(), 2)];
    format!(
        "{}{{\"type\":\"BASELINE_BEGIN\",\"collection\":\"c\",\"created\":2}}\n\
         {{\"type\":\"BASELINE_END\",\"collection\":\"c\",\"keys\":0,\"digest\":\"xxh3:{:032}\"}}\n\
         {{\"type\":\"READY\",\"seq\":2,\"collections\":1,\"digest\":\"{}\",\"epochs\":[{{\"epoch\":{T0},\"first\":1}}]}}\n",
        hello("baseline", 2),
        0,
        digest(&facts)
    )
}

fn create(name: &str, seq: u64) -> String {
    format!("{{\"type\":\"CREATE\",\"collection\":\"{name}\",\"seq\":{seq},\"timestamp\":{T0}}}\n")
}

fn ping(seq: u64, at: u64, collections: &[Collection]) -> String {
    format!("{{\"type\":\"PING\",\"seq\":{seq},\"at\":{},\"digest\":\"{}\"}}\n", T0 + at, digest(collections))
}

fn received<S: Store>(replica: &mut Replica<S>, text: &str, ms: u64) -> (Vec<Event>, Result<(), Offence>) {
    let mut events = Vec::new();
    let outcome = replica.receive(text.as_bytes(), now(ms), &mut events);
    (events, outcome)
}

/// A replica that holds the baseline and reads the tail.
fn following<S: Store>(store: S, parents: usize) -> Replica<S> {
    let mut replica = replica_on(store, parents);
    replica.request(now(0));
    received(&mut replica, &baseline(), 0).1.unwrap();
    assert!(replica.is_connected() && replica.is_caught_up() && !replica.is_staging());
    replica
}

#[test]
fn a_parent_is_dead_when_silent_for_three_of_its_pings() {
    let mut replica = replica_on(memory(), 1);
    assert_eq!(replica.deadline(), None);
    replica.request(now(0));
    received(&mut replica, "\n", 90).1.unwrap();
    assert_eq!(replica.deadline(), Some(now(15_000).mono_ms), "it has not said HELLO");
    received(&mut replica, &baseline(), 100).1.unwrap();
    assert_eq!(replica.deadline(), Some(now(1_600).mono_ms));
    received(&mut replica, "{\"ty", 900).1.unwrap();
    assert_eq!(replica.deadline(), Some(now(2_400).mono_ms), "any byte is a sign of life");
    replica.closed(Cause::Silent, 0);
    assert_eq!((replica.deadline(), replica.stats().faults), (None, 1));
}

#[test]
fn a_parent_whose_proof_stands_still_is_left_where_there_is_another() {
    let facts = [Collection::new("c".into(), 2)];
    let mut alone = following(memory(), 1);
    let mut replica = following(memory(), 2);
    for replica in [&mut alone, &mut replica] {
        for ms in (500..=15_000).step_by(500) {
            received(replica, &ping(2, 1, &facts), ms).1.unwrap();
        }
    }
    assert_eq!(alone.deadline(), Some(now(16_500).mono_ms), "there is no other");
    // The proof came with the first PING, 15 s before.
    assert_eq!(replica.deadline(), Some(now(15_500).mono_ms));
    replica.closed(Cause::Silent, 0);
    assert_eq!((replica.parent(), replica.stats().faults), (1, 0));
    // The other one has no newer proof, so it may keep it for longer.
    replica.request(now(16_000));
    received(&mut replica, &format!("{}{}", hello("tail", 2), ping(2, 1, &facts)), 16_000).1.unwrap();
    for ms in (16_500..=40_000).step_by(500) {
        received(&mut replica, &ping(2, 1, &facts), ms).1.unwrap();
    }
    assert_eq!(replica.deadline(), Some(now(41_500).mono_ms));
    received(&mut replica, &ping(2, 2, &facts), 40_500).1.unwrap();
    assert_eq!(replica.deadline(), Some(now(42_000).mono_ms));
}

#[test]
fn goes_through_its_parents_and_waits_longer_each_round() {
    let mut replica = replica_on(memory(), 2);
    let mut waits = Vec::new();
    for round in 0..4 {
        for parent in 0..2 {
            assert_eq!(replica.parent(), parent, "round {round}");
            replica.request(now(0));
            waits.push(replica.closed(Cause::Lost, u64::MAX).after_ms);
        }
    }
    assert!(waits.chunks(2).all(|round| round[0] <= 250), "the other parent is tried soon: {waits:?}");
    let rounds: Vec<u64> = waits.chunks(2).map(|round| round[1]).collect();
    assert!(rounds.windows(2).all(|pair| pair[0] < pair[1]), "{rounds:?}");

    // One that brings it up to date was a good parent: it starts from the shortest wait.
    replica.request(now(0));
    received(&mut replica, &baseline(), 0).1.unwrap();
    replica.closed(Cause::Lost, u64::MAX);
    replica.request(now(0));
    assert!(replica.closed(Cause::Lost, u64::MAX).after_ms <= 250);
}

#[test]
fn a_link_that_breaks_off_again_and_again_but_brings_something_is_not_left_alone_for_longer() {
    let mut replica = following(memory(), 1);
    let longest = |replica: &mut Replica<MemoryStore>| replica.closed(Cause::Lost, u64::MAX - 1).after_ms;
    let first = longest(&mut replica);
    for round in 0..5 {
        replica.request(now(0));
        // A parent far ahead, whose link breaks off after one command each time.
        let seq = 3 + round;
        let text = format!("{}{}", hello("tail", 1_000), create(&format!("c{round}"), seq));
        assert_eq!(received(&mut replica, &text, 0).1, Ok(()));
        assert!(!replica.is_caught_up());
        assert_eq!(longest(&mut replica), first, "round {round}");
    }
    replica.request(now(0));
    longest(&mut replica);
    replica.request(now(0));
    assert!(longest(&mut replica) > first, "nothing came in");
}

#[test]
fn a_parent_that_offends_each_time_it_has_caught_the_child_up_is_asked_less_and_less() {
    let mut replica = replica_on(memory(), 1);
    let mut waits = Vec::new();
    for _ in 0..6 {
        replica.request(now(0));
        received(&mut replica, &baseline(), 0).1.unwrap();
        assert!(replica.is_caught_up());
        let offence = received(&mut replica, &ping(2, 0, &[]), 0).1.unwrap_err();
        assert_eq!(offence.code(), "diverged");
        waits.push(replica.closed(Cause::Offence(offence), u64::MAX - 1).after_ms);
    }
    assert!(waits.windows(2).all(|pair| pair[0] < pair[1]), "{waits:?}");
}

#[test]
fn a_parent_that_offends_twice_without_having_done_well_is_left() {
    let mut replica = following(memory(), 2);
    let offend = |replica: &mut Replica<MemoryStore>| {
        replica.request(now(0));
        received(replica, &hello("tail", 2), 0).1.unwrap();
        let offence = received(replica, "no JSON\n", 0).1.unwrap_err();
        replica.closed(Cause::Offence(offence), 0);
        replica.parent()
    };
    assert_eq!((offend(&mut replica), offend(&mut replica)), (0, 1));
    // Two PINGs that prove the state make up for one offence.
    assert_eq!(offend(&mut replica), 1);
    replica.request(now(0));
    let facts = [Collection::new("c".into(), 2)];
    let good = format!("{}{}{}", hello("tail", 2), ping(2, 1, &facts), ping(2, 2, &facts));
    received(&mut replica, &good, 0).1.unwrap();
    replica.closed(Cause::Lost, 0);
    assert_eq!(replica.parent(), 0, "a lost connection is a reason to try the next");
    replica.closed(Cause::Lost, 0);
    assert_eq!((offend(&mut replica), offend(&mut replica)), (1, 0));
}

#[test]
fn stays_with_a_parent_that_only_lost_a_line_and_leaves_one_that_it_cannot_follow() {
    let mut replica = following(memory(), 2);
    let gap = received(&mut replica, &create("d", 9), 1).1.unwrap_err();
    replica.closed(Cause::Offence(gap), 0);
    assert_eq!(replica.parent(), 0);
    for offence in [
        Offence::OtherCluster { followed: INSTANCE, met: INSTANCE },
        Offence::StaleParent { highest: Term { takeover: 1, epoch: 1 }, met: Term { takeover: 0, epoch: 2 } },
        Offence::ParentBehind { held: Position::START, met: Position::START },
        Offence::Loop,
        Offence::Protocol(2),
    ] {
        let before = replica.parent();
        replica.request(now(0));
        replica.closed(Cause::Offence(offence.clone()), 0);
        assert_ne!(replica.parent(), before, "{offence}");
        assert_eq!(replica.last_offence(), Some(&offence));
    }
}

#[test]
fn a_refusal_is_obeyed_and_an_own_close_costs_nothing() {
    let mut replica = replica_on(memory(), 1);
    replica.request(now(0));
    assert!(replica.closed(Cause::Refused { retry_ms: 7_000 }, 0).after_ms >= 7_000);
    replica.request(now(0));
    assert_eq!(replica.closed(Cause::Own, u64::MAX), Retry { after_ms: 0, new_instance: false });
    assert_eq!(replica.stats().faults, 0);
}

#[test]
fn a_baseline_that_is_not_taken_in_is_thrown_away_with_its_connection() {
    let whole = baseline();
    let cut = whole.find("{\"type\":\"READY").unwrap();
    let wrong = whole.replace("\"collections\":1", "\"collections\":2");
    for (text, offends) in [(&whole[..cut], false), (&*wrong, true)] {
        let mut replica = replica_on(memory(), 1);
        replica.request(now(0));
        let outcome = received(&mut replica, text, 0).1;
        assert_eq!(outcome.is_err(), offends);
        let store = Arc::clone(replica.node());
        assert!(store.store().stage_records("d", &[]).is_ok(), "it is still staged");
        replica.closed(outcome.map_or_else(Cause::Offence, |()| Cause::Lost), 0);
        assert!(store.store().stage_records("d", &[]).is_err(), "nothing is staged any more");
        assert_eq!(store.store().position(), Position::START);
        assert!(!store.is_complete());
    }
}

#[test]
fn after_a_divergence_only_a_baseline_gives_a_cursor_again() {
    let mut replica = following(memory(), 1);
    let offence = received(&mut replica, &ping(2, 10, &[]), 10).1.unwrap_err();
    assert_eq!(offence, Offence::Diverged { seq: 2 });
    replica.closed(Cause::Offence(offence), 0);
    assert!(replica.node().store().progress().baseline_due, "so that a restart does not forget it");
    for _ in 0..2 {
        assert_eq!(replica.request(now(20)).cursor, None);
        replica.closed(Cause::Lost, 0);
    }
    replica.request(now(30));
    received(&mut replica, &baseline(), 30).1.unwrap();
    replica.closed(Cause::Lost, 0);
    assert_eq!(replica.request(now(40)).cursor.unwrap().position, Position { epoch: T0, seq: 2 });
}

#[test]
fn nothing_is_taken_in_without_a_connection_or_behind_an_offence() {
    let mut replica = replica_on(memory(), 1);
    assert_eq!(received(&mut replica, &baseline(), 0), (Vec::new(), Ok(())));
    let mut replica = following(memory(), 1);
    received(&mut replica, "{]\n", 1).1.unwrap_err();
    assert_eq!(received(&mut replica, &create("d", 3), 1), (Vec::new(), Ok(())));
    assert_eq!(replica.node().store().position().seq, 2);
}

#[test]
fn freshness_alone_is_stored_once_a_second() {
    let mut replica = following(memory(), 1);
    let facts = replica.node().store().collections().unwrap();
    let mut stored = Vec::new();
    for ms in (100..=3_000).step_by(100) {
        let events = received(&mut replica, &ping(2, ms, &facts), ms).0;
        if !events.is_empty() {
            stored.push(ms);
        }
        assert_eq!(replica.node().lag_ms(now(ms)), Some(0));
    }
    assert_eq!(stored, [1_000, 2_000, 3_000]);
    assert_eq!(replica.node().store().progress().at, T0 + 3_000);
}

#[test]
fn a_store_that_fails_stops_the_stream_and_loses_nothing() {
    let store = FailingStore::new(memory());
    let failing = store.switch();
    let mut replica = following(store, 1);
    failing.set(true);
    let offence = received(&mut replica, &create("d", 3), 1).1.unwrap_err();
    assert_eq!(offence, Offence::Store(StoreError("switched off".into())));
    failing.set(false);
    replica.closed(Cause::Offence(offence), 0);
    assert_eq!(replica.node().store().position().seq, 2);
    assert_eq!(replica.request(now(2)).cursor.unwrap().position.seq, 2);
    received(&mut replica, &format!("{}{}", hello("tail", 3), create("d", 3)), 2).1.unwrap();
    assert_eq!(replica.node().store().position().seq, 3);
}

#[test]
fn a_store_that_fails_at_the_swap_keeps_the_old_state() {
    let store = FailingStore::new(memory());
    let failing = store.switch();
    let mut replica = following(store, 1);
    replica.closed(Cause::Lost, 0);
    replica.request(now(1));
    let later = baseline().replace("\"seq\":2", "\"seq\":9");
    let ready = later.find("{\"type\":\"READY").unwrap();
    received(&mut replica, &later[..ready], 1).1.unwrap();
    let before = replica.node().freshness();
    failing.set(true);
    assert!(matches!(received(&mut replica, &later[ready..], 2).1, Err(Offence::Store(_))));
    failing.set(false);
    assert_eq!(replica.node().store().position().seq, 2);
    assert_eq!(replica.node().freshness(), before);
}
