//! Frees what dropped collections and replaced states held, beside the work: each command does only a little of it, and
//! after the last one the rest would stay.

use crate::bell::Listener;
use headwater_core::node::Node;
use headwater_core::store::memory::MemoryStore;
use std::sync::Arc;
use tokio::task::yield_now;

/// Records freed at once: whoever writes waits as long as that takes, some ten microseconds.
const RECORDS_AT_ONCE: usize = 256;

/// Frees whatever there is after each ring, for ever.
pub(crate) async fn attend(node: Arc<Node<MemoryStore>>, mut listener: Listener) {
    loop {
        listener.attend();
        while node.store().reclaim(RECORDS_AT_ONCE) {
            yield_now().await;
        }
        listener.rung().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bell::Bell;
    use headwater_core::id::Id;
    use headwater_core::node::{NodeOptions, Role};
    use headwater_core::record::{Parts, Record};
    use headwater_core::scope::Scope;
    use headwater_core::store::memory::MemoryOptions;
    use headwater_core::store::{Collection, Progress, Store};

    #[tokio::test]
    async fn a_replaced_state_is_freed_though_nothing_more_is_written() {
        let progress = Progress::new(Scope::Everything);
        let store = MemoryStore::new(progress.clone(), MemoryOptions::single_threaded(7));
        let key = |n: u64| format!("{n:05}");
        let record = |n: u64| {
            let parts = Parts { key: &key(n), value: "1", seq: 3, version: 1, timestamp: 1, extra: "" };
            Record::new(parts)
        };
        let records: Vec<_> = (0..10_000).map(record).collect();
        store.stage().unwrap();
        store.stage_records("c", &records).unwrap();
        store.swap(vec![Collection::new("c".into(), 2)], &progress).unwrap();
        let node = Arc::new(Node::new(store, NodeOptions::new("r", Id::from_bytes([1; 16]), Role::Replica)));
        let bell = Arc::new(Bell::default());
        let (attendant, rung) = (bell.clone(), node.clone());
        let ringing = tokio::spawn(async move { attendant.attend(&rung).await });
        let reclaiming = tokio::spawn(attend(node.clone(), bell.listen()));
        node.store().stage().unwrap();
        node.store().swap(Vec::new(), &progress).unwrap();
        assert!(node.store().reclaim(0), "there is something to free");
        bell.ask();
        for _ in 0..1_000 {
            yield_now().await;
        }
        assert!(!node.store().reclaim(0), "and it is freed");
        ringing.abort();
        reclaiming.abort();
    }
}
