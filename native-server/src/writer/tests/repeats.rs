//! Writes sent again under their key, while the first is under way, after the log failed, and after a restart.

use super::*;
use crate::wal::Replayed;
use headwater_core::repeats::Mark;

impl Bench {
    /// A SET of `key` under the idempotency key `by`.
    fn write_as(&self, by: &str, key: &str) -> Writing {
        let mark = Mark::new("alice", by, &[key.as_bytes()]);
        let origin = Origin { by: "alice".into(), mark: Some(Box::new(mark)), peer: None };
        let action = RequestAction::Entry { key: key.into(), value: Some("1".into()), guard: Guard::default() };
        let (writes, request) = (self.writes.clone(), WriteRequest::of("c".into(), action, origin));
        let answered = async move { tokio::time::timeout(Duration::from_secs(20), writes.write(request)).await };
        Box::pin(async move { answered.await.expect("an answer comes, without an append where none is needed") })
    }

    /// Queues it. On return it is in the queue, and waits for an append.
    async fn queue_as(&self, by: &str, key: &str) -> Writing {
        let mut writing = self.write_as(by, key);
        assert!(is_pending(&mut writing).await);
        writing
    }

    async fn set_as(&self, by: &str, key: &str, order: Option<Fault>) -> Outcome {
        let writing = self.queue_as(by, key).await;
        self.order(order);
        writing.await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_of_what_is_under_way_waits_for_it_and_is_answered_alike() {
    let data = data();
    let mut bench = Bench::start(data.path()).await;
    let first = bench.queue("other", false).await;
    assert_eq!(bench.arrivals.recv().await, Some(1));
    let (one, mut again) = (bench.queue_as("1", "k").await, bench.queue_as("1", "k").await);
    let behind = bench.queue("behind", false).await;
    let mut other = bench.queue_as("1", "l").await;
    bench.order(None);
    assert!(first.await.is_ok());
    assert_eq!(bench.arrivals.recv().await, Some(2), "one line for the two of them");
    // In the group behind it, too.
    let mut late = bench.queue_as("1", "k").await;
    for writing in [&mut again, &mut other, &mut late] {
        assert!(is_pending(writing).await, "nothing is told before it is durable");
    }
    bench.order(None);
    let one = one.await.unwrap();
    assert_eq!((again.await.as_ref(), late.await.as_ref()), (Ok(&one), Ok(&one)));
    assert_eq!(refused(other.await), Code::IdempotencyMismatch);
    assert_eq!(behind.await.unwrap().position.seq, one.position.seq + 1);
    assert_eq!(one.accepted, Accepted::Written { seq: one.position.seq, versions: vec![1] });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_fails_with_what_it_repeats_and_is_new_afterwards() {
    let data = data();
    let mut bench = Bench::start(data.path()).await;
    let before = bench.node.store().position();
    let first = bench.queue("other", false).await;
    assert_eq!(bench.arrivals.recv().await, Some(1));
    let (one, again) = (bench.queue_as("1", "k").await, bench.queue_as("1", "k").await);
    bench.order(None);
    bench.order(Some(Fault::Full));
    bench.order(None);
    assert!(first.await.is_ok());
    assert_eq!([refused(one.await), refused(again.await)], [Code::StorageFull; 2]);
    bench.recovered(before).await;
    assert!(!bench.holds("k"));
    let written = bench.set_as("1", "k", None).await.unwrap();
    assert_eq!(written.accepted, Accepted::Written { seq: before.seq + 3, versions: vec![1] });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_of_unknown_outcome_that_was_done_is_answered_when_it_is_sent_again() {
    let data = data();
    let bench = Bench::start(data.path()).await;
    let before = bench.node.store().position();
    assert_eq!(refused(bench.set_as("1", "k", Some(Fault::DoneButUnknown)).await), Code::OutcomeUnknown);
    bench.order(None);
    bench.recovered(before).await;
    let position = Position { epoch: before.epoch, seq: before.seq + 1 };
    let written = Written { accepted: Accepted::Written { seq: position.seq, versions: vec![1] }, position };
    assert_eq!(bench.write_as("1", "k").await, Ok(written.clone()));
    assert_eq!(refused(bench.write_as("1", "l").await), Code::IdempotencyMismatch);

    let written_later = bench.set_as("2", "k", None).await.unwrap();
    assert_eq!(written_later.accepted, Accepted::Written { seq: before.seq + 3, versions: vec![2] });
    bench.close().await;
    let bench = Bench::start(data.path()).await;
    assert_eq!(bench.write_as("1", "k").await, Ok(written), "after a restart, of the epoch it was written in");
    assert_eq!(bench.write_as("2", "k").await, Ok(written_later));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_not_remembered() {
    let data = data();
    let bench = Bench::start(data.path()).await;
    let mark = Some(Box::new(Mark::new("alice", "1", &[])));
    let gone = || {
        let action = RequestAction::Entry { key: "k".into(), value: None, guard: Guard::default() };
        let origin = Origin { by: "alice".into(), mark: mark.clone(), peer: None };
        let (writes, request) = (bench.writes.clone(), WriteRequest::of("c".into(), action, origin));
        async move { writes.write(request).await }
    };
    assert_eq!(refused(gone().await), Code::NotFound);
    bench.set("k", None).await.unwrap();
    bench.order(None);
    let deleted = gone().await.unwrap();
    assert!(!bench.holds("k"));
    assert_eq!(gone().await, Ok(deleted));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_says_beside_its_line_who_wrote_it() {
    let data = data();
    let bench = Bench::start(data.path()).await;
    bench.set("own", None).await.unwrap();
    bench.set_as("1", "k", None).await.unwrap();
    bench.close().await;
    let mut found = Vec::new();
    let mut wal = FileWal::new(data.path(), FileOptions::default());
    let options = OpenOptions::default();
    let mut replay = |replayed: Replayed<'_>| {
        let Replayed::Record(record) = replayed else { return Err("no baseline was stored".into()) };
        assert!(!String::from_utf8_lossy(record.line).contains("alice"), "a line is streamed");
        found.push(String::from_utf8(record.meta.to_vec())?);
        Ok(())
    };
    wal.open(&options, &mut replay).await.unwrap();
    let by_alice = format!(r#"{{"by":"alice","req":"{}"}}"#, Mark::new("alice", "1", &[b"k"]));
    assert_eq!(found, ["", "", "", &by_alice], "EPOCH, CREATE, and what nobody in particular wrote");
}
