//! Readers on threads of their own: of streams, who fill the rings of their scopes while the writer publishes, and of
//! entries, who are told how old they are.

use super::{Node, NodeOptions, Role};
use crate::api::{Answered, Body, Conditions, HEADER_LAG, Read, read as answer};
use crate::clock::Now;
use crate::command::{Line, Trust, decode, lines};
use crate::credentials::Grant;
use crate::id::Id;
use crate::scope::Scope;
use crate::store::memory::{MemoryOptions, MemoryStore};
use crate::store::{Progress, Store};
use crate::stream::{Request, Step, Stream};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use alloc::{format, vec};
use bytes::Bytes;
use std::thread;

const LAST: u64 = 4_000;
const NOW: Now = Now { wall_ms: 1_000, mono_ms: 1_000 };

fn publish(node: &Node<MemoryStore>, block: String) {
    let block = Bytes::from(block);
    let mut publication = node.publish();
    for (start, line) in lines(&block) {
        let Ok(Line::Log(command)) = decode(line, Trust::Checked) else { panic!("a command") };
        publication.apply(&command, &block, start..start + line.len() + 1).unwrap();
    }
}

/// Each third key is under `eu:`.
fn set(seq: u64) -> String {
    let area = if seq.is_multiple_of(3) { "eu" } else { "us" };
    format!(
        "{{\"type\":\"SET\",\"collection\":\"c\",\"seq\":{seq},\"prev\":{},\"key\":\"{area}:{}\",\"version\":1,\
         \"timestamp\":1,\"value\":1}}\n",
        seq - 1,
        seq % 50
    )
}

/// Seqs of the commands that a stream hands out until the last one, or until it has nothing more.
fn read(stream: &mut Stream<MemoryStore>, found: &mut Vec<u64>) {
    while let Step::Chunk { bytes, .. } = stream.next(NOW) {
        for (_, line) in lines(&bytes) {
            if let Ok(Line::Log(command)) = decode(line, Trust::Checked) {
                found.push(command.seq);
            }
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what threads are handed is what is tested")]
fn every_reader_is_handed_every_line_of_its_scope_once() {
    let store = MemoryStore::new(Progress::new(Scope::Everything), MemoryOptions::threaded(1));
    let cluster = Some(Id::from_bytes([1; 16]));
    store.set_progress(&Progress { complete: true, cluster, ..store.progress() }).unwrap();
    let node = Arc::new(Node::new(store, NodeOptions::new("w", Id::from_bytes([2; 16]), Role::Primary)));
    publish(
        &node,
        format!(
            "{{\"type\":\"EPOCH\",\"seq\":1,\"timestamp\":1,\"epoch\":5,\"cluster\":\"{}\",\"node\":\"w\",\"requires\":[]}}\n\
             {{\"type\":\"CREATE\",\"collection\":\"c\",\"seq\":2,\"timestamp\":1}}\n",
            Id::from_bytes([1; 16])
        ),
    );
    let narrow = Scope::from_json(r#"{"c":["eu:"]}"#).unwrap();
    let scopes = [narrow.clone(), narrow.clone(), narrow, Scope::Public];
    let mut streams = scopes.map(|scope| {
        let request = Request { node: String::new(), instance: None, cursor: None, takeover: None, scope };
        Stream::open(&node, request, &Grant::all("c"), None, NOW).unwrap()
    });
    streams.iter_mut().for_each(|stream| read(stream, &mut vec![]));
    let found = thread::scope(|threads| {
        let node = &node;
        let readers = streams.each_mut().map(|stream| {
            threads.spawn(move || {
                let mut found = Vec::new();
                while node.store().position().seq < LAST {
                    read(stream, &mut found);
                }
                read(stream, &mut found);
                found
            })
        });
        let mut next = 3;
        while next <= LAST {
            let end = (next + next % 7).min(LAST);
            publish(node, (next..=end).map(set).collect());
            next = end + 1;
        }
        readers.map(|reader| reader.join().unwrap())
    });
    let under_eu: Vec<u64> = (3..=LAST).filter(|seq| seq.is_multiple_of(3)).collect();
    assert!(found[..3].iter().all(|seqs| *seqs == under_eu));
    assert_eq!(found[3], (3..=LAST).collect::<Vec<_>>());
    // Looked through once, by whoever came first: the count that a PING tells has each line once.
    let later = Now { mono_ms: 60_000, ..NOW };
    let Step::Chunk { bytes, .. } = streams[0].next(later) else { panic!("a PING is due") };
    let ping = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(ping.contains(&format!("\"lines\":{}", under_eu.len())), "{ping}");
}

/// The value of the entry `c/k` and the newest proof that the answer tells of, as of [`LATER`].
fn entry(node: &Node<MemoryStore>) -> (u64, u64) {
    let asked = Read::Entry { collection: "c".into(), key: "k".into() };
    let Ok(Answered::Here(answer)) = answer(node, &Grant::all("r"), &asked, &Conditions::default(), LATER) else {
        panic!("it is there")
    };
    let lag = answer.headers.iter().find(|(name, _)| *name == HEADER_LAG).and_then(|(_, lag)| lag.parse::<u64>().ok());
    let Body::Full(body) = answer.body else { panic!("an entry is whole") };
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    (body["value"].as_u64().unwrap(), LATER.wall_ms - lag.expect("a replica tells its lag"))
}

const LATER: Now = Now { wall_ms: 1_000_000, mono_ms: 1_000 };

/// A replica with the entry `c/k`; the value of each SET is its time.
fn replica() -> Node<MemoryStore> {
    let store = MemoryStore::new(Progress::new(Scope::Everything), MemoryOptions::threaded(1));
    store.set_progress(&Progress { complete: true, ..store.progress() }).unwrap();
    let node = Node::new(store, NodeOptions::new("r", Id::from_bytes([2; 16]), Role::Replica));
    publish(&node, "{\"type\":\"CREATE\",\"collection\":\"c\",\"seq\":1,\"timestamp\":1}\n".into());
    take(&node, 2);
    node
}

fn take(node: &Node<MemoryStore>, seq: u64) {
    let (prev, version) = (seq - 1, seq - 1);
    publish(
        node,
        format!(
            "{{\"type\":\"SET\",\"collection\":\"c\",\"seq\":{seq},\"prev\":{prev},\"key\":\"k\",\
             \"version\":{version},\"timestamp\":{seq},\"value\":{seq}}}\n"
        ),
    );
    node.update_freshness(|freshness| freshness.note(seq, LATER));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what threads are told is what is tested")]
fn no_answer_is_older_than_its_lag_says_however_much_is_published_beside_it() {
    let node = replica();
    thread::scope(|threads| {
        let readers = [(); 3].map(|()| {
            threads.spawn(|| {
                let mut proven = 0;
                while proven < LAST {
                    let (value, said) = entry(&node);
                    assert!(value >= said, "the entry is of {value} and said to be of {said}");
                    proven = said;
                }
            })
        });
        (3..=LAST).for_each(|seq| take(&node, seq));
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

#[test]
#[expect(clippy::disallowed_methods, reason = "that nobody waits for another thread is what is tested")]
fn a_read_on_a_replica_does_not_wait_for_a_publication() {
    let node = Arc::new(replica());
    let publication = node.publish();
    let (told, hear) = std::sync::mpsc::channel();
    let reader = Arc::clone(&node);
    let reading = thread::spawn(move || told.send((entry(&reader), reader.is_cut_off(LATER))));
    let heard = hear.recv_timeout(core::time::Duration::from_secs(20));
    drop(publication);
    reading.join().unwrap().unwrap();
    assert_eq!(heard, Ok(((2, 2), false)));
}
