//! A writer: a node fed by a sequencer, with its log in memory.

use super::truth::{Truth, Written};
use crate::random::Random;
use bytes::Bytes;
use headwater_core::apply::apply;
use headwater_core::clock::Now;
use headwater_core::command::{Line, Trust, decode, lines};
use headwater_core::feed::FeedLimits;
use headwater_core::id::Id;
use headwater_core::limits::Limits;
use headwater_core::node::{Node, NodeOptions, Role};
use headwater_core::position::Term;
use headwater_core::scope::Scope;
use headwater_core::store::memory::{MemoryOptions, MemoryStore};
use headwater_core::store::{Progress, Store};
use headwater_core::writer::{EntryWrite, Guard, Sequencer, Write, WriteAction};
use std::sync::Arc;

pub(crate) const CLUSTER: Id = Id::from_bytes(*b"one and the same");
pub(crate) const PING_MS: u64 = 500;
const NAMES: &[&str] = &["flags", "prices", "a", "_keys"];

/// Small, so that children fall off; few places, so that some are refused.
pub(crate) fn options(label: &str, instance: Id, role: Role, random: &mut Random) -> NodeOptions {
    NodeOptions {
        ping_ms: PING_MS,
        feed: FeedLimits {
            bytes_max: *random.pick(&[300, 3_000, 1 << 20]),
            scope_bytes_max: *random.pick(&[200, 2_000, 1 << 20]),
            scopes_max: 3,
        },
        baselines_max: 2,
        children_max: 8,
        ..NodeOptions::new(label, instance, role)
    }
}

pub(crate) struct Writer {
    pub(crate) node: Arc<Node<MemoryStore>>,
    sequencer: Sequencer,
    pub(crate) term: Term,
    /// Lines up to this seq are not in the log any more.
    pub(crate) floor: u64,
    /// When it lost its lease, from where on it has no clock to vouch by.
    lease_end: Option<u64>,
}

impl Writer {
    /// Opens the log that holds `found` and was taken over last as `takeover` says. `lease_end`: another writer took over
    /// from it at that time.
    pub(crate) fn open(
        label: &str,
        found: &[Written],
        takeover: u64,
        lease_end: Option<u64>,
        now: u64,
        truth: &mut Truth,
        random: &mut Random,
    ) -> Self {
        let store = MemoryStore::new(Progress::new(Scope::Everything), MemoryOptions::single_threaded(random.next()));
        let mut timestamp = 0;
        for written in found {
            let Ok(Line::Log(command)) = decode(&written.line[..written.line.len() - 1], Trust::Canonical) else {
                panic!()
            };
            apply(&store, &command, &mut Vec::new()).unwrap();
            timestamp = command.timestamp;
        }
        store.set_progress(&Progress { complete: true, ..store.progress() }).unwrap();
        let instance = Id::from_bytes((u128::from(random.next())).to_be_bytes());
        let node = Arc::new(Node::new(store, options(label, instance, Role::Primary, random)));
        let sequencer = Sequencer::new(node.store(), Limits::default(), timestamp).unwrap();
        let epoch = now.max(truth.latest().map_or(0, |latest| latest + 1));
        let term = Term { takeover, epoch };
        truth.open(term, found.to_vec());
        let mut writer = Self { node, sequencer, term, floor: 0, lease_end: None };
        if let Some(end) = lease_end {
            writer.end_lease(end);
        }
        let mut block = Vec::new();
        writer.sequencer.open(term, CLUSTER, label, lease_end.unwrap_or(now), &mut block);
        writer.publish(block, now, truth);
        writer
    }

    /// Another writer may take over from here on.
    pub(crate) fn end_lease(&mut self, now: u64) {
        self.node.end_lease(Now { wall_ms: now, mono_ms: now });
        self.lease_end = Some(now);
    }

    /// A few random writes, decided as a group and published as one.
    pub(crate) fn write(&mut self, now: u64, truth: &mut Truth, random: &mut Random) {
        let clock = self.lease_end.unwrap_or(now);
        let mut block = Vec::new();
        for _ in 0..1 + random.below(4) {
            let name = *random.pick(NAMES);
            let texts: Vec<(String, String)> = (0..6).map(|_| (key(random), value(random))).collect();
            let mut entries = texts.iter().map(|(key, value)| EntryWrite {
                key,
                value: (value != "\"\"").then_some(value),
                guard: Guard::default(),
            });
            let action = match random.below(40) {
                0 => WriteAction::Drop,
                1..6 => WriteAction::Create,
                6..14 => {
                    let mut batch: Vec<_> = entries.by_ref().take(1 + random.below(5) as usize).collect();
                    batch.sort_by_key(|entry| entry.key);
                    batch.dedup_by_key(|entry| entry.key);
                    WriteAction::Batch(batch)
                }
                _ => WriteAction::Entry(entries.next().expect("there are six")),
            };
            let write = Write { collection: name, action, system: true };
            // A refusal writes nothing, which is as good a step as any.
            drop(self.sequencer.decide(self.node.store(), &write, clock, &mut block));
        }
        self.publish(block, now, truth);
    }

    fn publish(&mut self, block: Vec<u8>, now: u64, truth: &mut Truth) {
        let block = Bytes::from(block);
        let mut publication = self.node.publish();
        for (start, line) in lines(&block) {
            let Ok(Line::Log(command)) = decode(line, Trust::Canonical) else { panic!("the writer's own line") };
            publication.apply(&command, &block, start..start + line.len() + 1).unwrap();
            truth.write(self.term.epoch, line, now);
        }
        drop(publication);
        self.sequencer.settle(self.node.store().position().seq);
    }
}

fn key(random: &mut Random) -> String {
    match random.below(6) {
        0 => String::from(*random.pick(&["\0", "é", "\u{ffff}", "\u{10000}", "\"\\"])),
        1 | 2 => format!("eu:{}", random.below(6)),
        3 => format!("us:{}", random.below(6)),
        _ => format!("k{}", random.below(12)),
    }
}

/// JSON text; `""` stands for a deletion. Now and then so long that a baseline takes several pieces.
fn value(random: &mut Random) -> String {
    match random.below(40) {
        0 => format!("\"{}\"", "x".repeat(random.below(40_000) as usize)),
        1..6 => String::from("\"\""),
        _ => format!("{{\"n\":{}}}", random.below(1_000)),
    }
}
