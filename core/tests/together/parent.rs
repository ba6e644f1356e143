//! A writer at its simplest, and what it says to a child.

use bytes::Bytes;
use headwater_core::clock::Now;
use headwater_core::command::{Line, Trust, decode, lines};
use headwater_core::credentials::Grant;
use headwater_core::id::Id;
use headwater_core::limits::Limits;
use headwater_core::node::{Node, NodeOptions, Role};
use headwater_core::position::Term;
use headwater_core::scope::Scope;
use headwater_core::store::memory::{MemoryOptions, MemoryStore};
use headwater_core::store::{Progress, Store};
use headwater_core::stream::{Cursor, OpenError, Request, Step, Stream};
use headwater_core::writer::{EntryWrite, Guard, Sequencer, Write, WriteAction};
use std::sync::Arc;

pub(crate) const START_MS: u64 = 1_763_650_000_000;
pub(crate) const CLUSTER: Id = Id::from_bytes([0xc1; 16]);

/// `ms` after the start, on both clocks.
pub(crate) fn at(ms: u64) -> Now {
    Now { wall_ms: START_MS + ms, mono_ms: ms }
}

pub(crate) fn scope(text: &str) -> Scope {
    Scope::from_json(text).unwrap()
}

pub(crate) fn empty_store(scope: Scope) -> MemoryStore {
    MemoryStore::new(Progress::new(scope), MemoryOptions::single_threaded(5))
}

pub(crate) fn options(role: Role) -> NodeOptions {
    NodeOptions { ping_ms: 500, ..NodeOptions::new("parent", Id::from_bytes([0xa1; 16]), role) }
}

pub(crate) struct Parent {
    pub(crate) node: Arc<Node<MemoryStore>>,
    sequencer: Sequencer,
    pub(crate) log: Vec<u8>,
}

impl Parent {
    /// One that has opened its log with epoch 10 and made the collection `c`.
    pub(crate) fn new(options: NodeOptions) -> Self {
        let store = empty_store(Scope::Everything);
        store.set_progress(&Progress { complete: true, ..store.progress() }).unwrap();
        let sequencer = Sequencer::new(&store, Limits::default(), 0).unwrap();
        let mut parent = Self { node: Arc::new(Node::new(store, options)), sequencer, log: Vec::new() };
        parent.open(10);
        parent.write("c", WriteAction::Create, 0);
        parent
    }

    pub(crate) fn open(&mut self, epoch: u64) {
        self.open_in(Term { takeover: 0, epoch });
    }

    pub(crate) fn open_in(&mut self, term: Term) {
        let mut line = Vec::new();
        self.sequencer.open(term, CLUSTER, "parent", START_MS, &mut line);
        self.publish(line);
    }

    pub(crate) fn write(&mut self, collection: &str, action: WriteAction<'_>, ms: u64) {
        let mut line = Vec::new();
        let write = Write { collection, action, system: true };
        self.sequencer.decide(self.node.store(), &write, at(ms).wall_ms, &mut line).unwrap();
        self.publish(line);
    }

    pub(crate) fn set(&mut self, collection: &str, key: &str, ms: u64) {
        let entry = EntryWrite { key, value: Some("1"), guard: Guard::default() };
        self.write(collection, WriteAction::Entry(entry), ms);
    }

    fn publish(&mut self, line: Vec<u8>) {
        self.log.extend_from_slice(&line);
        let block = Bytes::from(line);
        let (start, text) = lines(&block).next().unwrap();
        let Ok(Line::Log(command)) = decode(text, Trust::Canonical) else { panic!("an own line") };
        self.node.publish().apply(&command, &block, start..block.len()).unwrap();
        self.sequencer.settle(command.seq);
    }
}

pub(crate) fn request(asked: &str, cursor: Option<(&str, &str)>) -> Request {
    let cursor =
        cursor.map(|(position, of)| Cursor { position: position.parse().unwrap(), takeover: None, scope: scope(of) });
    Request { node: "child".into(), instance: None, cursor, takeover: None, scope: scope(asked) }
}

pub(crate) fn open(
    node: &Arc<Node<MemoryStore>>,
    request: Request,
    log_floor: Option<u64>,
    now: Now,
) -> Result<Stream<MemoryStore>, OpenError> {
    Stream::open(node, request, &Grant::all("credential"), log_floor, now)
}

/// All the stream has to say now.
pub(crate) fn said(stream: &mut Stream<MemoryStore>, now: Now) -> String {
    let mut text = String::new();
    while let Step::Chunk { bytes: chunk, .. } = stream.next(now) {
        text += core::str::from_utf8(&chunk).unwrap();
    }
    text
}

/// `"field":value` of the first line.
pub(crate) fn field(text: &str, name: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    value[name].to_string().replace('"', "")
}

/// 1 EPOCH 10, 2 CREATE c, 3 SET, 4 EPOCH 20, 5 SET.
pub(crate) fn two_epochs(options: NodeOptions) -> Parent {
    let mut parent = Parent::new(options);
    parent.set("c", "a", 1);
    parent.open(20);
    parent.set("c", "a", 2);
    parent
}
