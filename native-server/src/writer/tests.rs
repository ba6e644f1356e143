//! The writer over a log that fails on command: what is answered, what is found afterwards, and that it goes on.

use super::queue::Outcome;
use super::*;
use crate::settings::Storage;
use crate::wal::file::{FileOptions, FileWal};
use crate::wal::memory::{MemoryWal, RingBounds};
use crate::wal::{AppendCause, AppendError, BoxFuture, Group, OpenError, Opened, Replay, Retention};
use headwater_core::limits::Limits;
use headwater_core::node::{Node, NodeOptions, Role};
use headwater_core::position::Position;
use headwater_core::scope::Scope;
use headwater_core::store::memory::{MemoryOptions, MemoryStore};
use headwater_core::store::{Progress, Store as _};
use headwater_core::stream::Supply;
use headwater_core::writer::{Accepted, Guard, Tags};
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::Poll;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

mod repeats;

/// How an append goes wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It is done, and reported as unknown.
    DoneButUnknown,
    /// It is not done, because the medium is full.
    Full,
}

/// What a test has to say about each append: go on, or fail so.
type Orders = Arc<Mutex<Receiver<Option<Fault>>>>;

/// A log whose appends say that they are there, with the size of their group, and wait for orders.
struct OrderedWal {
    inner: Box<dyn Wal>,
    orders: Orders,
    arrivals: UnboundedSender<usize>,
    room: Arc<Room>,
}

/// What the medium says is left, and how often it was asked; how often the log was opened.
#[derive(Default)]
struct Room {
    bytes: Mutex<Option<u64>>,
    asked: AtomicU64,
    opened: AtomicU64,
}

impl Wal for OrderedWal {
    fn open<'a>(
        &'a mut self,
        options: &'a OpenOptions,
        replay: &'a mut Replay<'_>,
    ) -> BoxFuture<'a, Result<Opened, OpenError>> {
        Box::pin(async move {
            self.room.opened.fetch_add(1, Ordering::Relaxed);
            let opened = self.inner.open(options, replay).await?;
            let (orders, arrivals) = (self.orders.clone(), self.arrivals.clone());
            let appender = OrderedAppender { inner: opened.appender, orders, arrivals };
            Ok(Opened { appender: Box::new(appender), ..opened })
        })
    }

    fn forgets(&self) -> bool {
        self.inner.forgets()
    }

    fn free_bytes(&self) -> Option<u64> {
        self.room.asked.fetch_add(1, Ordering::Relaxed);
        *self.room.bytes.lock().unwrap()
    }
}

struct OrderedAppender {
    inner: Box<dyn Appender>,
    orders: Orders,
    arrivals: UnboundedSender<usize>,
}

impl Appender for OrderedAppender {
    fn append<'a>(&'a mut self, group: &'a Group) -> BoxFuture<'a, Result<(), AppendError>> {
        // The test may listen no more.
        self.arrivals.send(group.len()).ok();
        let order = self.orders.lock().unwrap().recv().expect("the test gives an order for every append");
        Box::pin(async move {
            match order {
                None => self.inner.append(group).await,
                Some(Fault::DoneButUnknown) => {
                    self.inner.append(group).await.unwrap();
                    Err(AppendError::Unknown(AppendCause::Io(io::ErrorKind::TimedOut.into())))
                }
                Some(Fault::Full) => {
                    Err(AppendError::NotDone(AppendCause::StorageFull(io::ErrorKind::StorageFull.into())))
                }
            }
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), OpenError>> {
        self.inner.close()
    }
}

struct Bench {
    node: Arc<Node<MemoryStore>>,
    writes: Arc<Writes>,
    state: Arc<LogState>,
    orders: mpsc::Sender<Option<Fault>>,
    arrivals: UnboundedReceiver<usize>,
    log: Arc<LogView>,
    room: Arc<Room>,
}

fn settings() -> WriterSettings {
    let retention = Retention { bytes: 0, age: Duration::ZERO, bytes_max: 0 };
    let storage = Storage { files: FileOptions::default(), retention, baseline_after_bytes: 1 << 20, archive: None };
    WriterSettings {
        limits: Limits::default(),
        queue_max: 64,
        queue_bytes_max: 1 << 20,
        queue_age_max: Duration::from_secs(60),
        storage,
    }
}

type Writing = Pin<Box<dyn Future<Output = Outcome> + Send>>;

impl Bench {
    /// A writer to a file log with the collection `c`.
    async fn start(data: &Path) -> Self {
        Self::start_on(Box::new(FileWal::new(data, FileOptions::default()))).await
    }

    async fn start_on(inner: Box<dyn Wal>) -> Self {
        let (orders, taken) = mpsc::channel();
        let (arriving, mut arrivals) = unbounded_channel();
        let room = Arc::<Room>::default();
        let wal = OrderedWal { inner, orders: Arc::new(Mutex::new(taken)), arrivals: arriving, room: room.clone() };
        let wal = Box::new(wal);
        let progress = Progress { complete: true, ..Progress::new(Scope::Everything) };
        let store = MemoryStore::new(progress, MemoryOptions::single_threaded(7));
        let state = Arc::new(LogState::default());
        let opening = open(wal, OpenOptions::default(), &store, &state).await.unwrap();
        let node = Arc::new(Node::new(store, NodeOptions::new("w", crate::random::id(), Role::Primary)));
        let log = Arc::new(LogView::default());
        let around = Surroundings {
            bell: Arc::default(),
            log: log.clone(),
            metrics: Arc::default(),
            audit: Arc::new(Audit::off()),
            state: state.clone(),
        };
        orders.send(None).unwrap();
        let (started, runtime) = (node.clone(), Handle::current());
        let start = move || opening.start(started, settings(), None, around, runtime);
        let writes = Arc::new(tokio::task::spawn_blocking(start).await.unwrap().unwrap());
        let made = node.store().collection("c").unwrap().is_some();
        assert_eq!(arrivals.recv().await, Some(1), "the EPOCH");
        let mut bench = Self { node, writes, state, orders, arrivals, log, room };
        if !made {
            let create = WriteRequest::of("c".into(), RequestAction::Create, Origin::default());
            bench.order(None);
            bench.writes.write(create).await.unwrap();
            assert_eq!(bench.arrivals.recv().await, Some(1), "the CREATE");
        }
        bench
    }

    fn order(&self, order: Option<Fault>) {
        self.orders.send(order).unwrap();
    }

    /// Queues a SET of `key`, which must not exist if so asked. On return it is in the queue.
    async fn queue(&self, key: &str, if_absent: bool) -> Writing {
        let guard = Guard { matches: None, matches_none: if_absent.then_some(Tags::Any) };
        let action = RequestAction::Entry { key: key.into(), value: Some("1".into()), guard };
        let (writes, request) = (self.writes.clone(), WriteRequest::of("c".into(), action, Origin::default()));
        let mut writing: Writing = Box::pin(async move { writes.write(request).await });
        assert!(is_pending(&mut writing).await);
        writing
    }

    /// Orders the next append and waits for the answer to a SET in it.
    async fn set(&self, key: &str, order: Option<Fault>) -> Outcome {
        let writing = self.queue(key, false).await;
        self.order(order);
        writing.await
    }

    /// Waits until the log is open again, in a new epoch.
    async fn recovered(&self, before: Position) {
        let reached = async {
            while !(self.state.is_writable() && self.node.store().position().epoch > before.epoch) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reached).await.expect("the writer goes on in a new epoch");
    }

    fn holds(&self, key: &str) -> bool {
        self.node.store().record("c", key).unwrap().is_some()
    }

    async fn close(self) -> Position {
        let closing = self.writes.clone();
        tokio::task::spawn_blocking(move || closing.close()).await.unwrap().await.unwrap();
        self.node.store().position()
    }
}

/// Polls once.
async fn is_pending(writing: &mut Writing) -> bool {
    poll_fn(|context| Poll::Ready(writing.as_mut().poll(context).is_pending())).await
}

fn refused(outcome: Outcome) -> Code {
    outcome.unwrap_err().code
}

fn data() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_durable_but_unknown_is_not_acknowledged_and_not_lost() {
    let data = data();
    let bench = Bench::start(data.path()).await;
    let before = bench.node.store().position();
    assert_eq!(refused(bench.set("k", Some(Fault::DoneButUnknown)).await), Code::OutcomeUnknown);
    bench.order(None);
    bench.recovered(before).await;
    assert!(bench.holds("k"));
    let written = bench.set("k", None).await.unwrap();
    let seq = before.seq + 3;
    assert_eq!(written.accepted, Accepted::Written { seq, versions: vec![2] }, "behind the lost SET and the new EPOCH");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_medium_is_told_and_gone_on_from() {
    let data = data();
    let bench = Bench::start(data.path()).await;
    let before = bench.node.store().position();
    assert_eq!(refused(bench.set("k", Some(Fault::Full)).await), Code::StorageFull);
    bench.order(None);
    bench.recovered(before).await;
    assert!(!bench.holds("k"));
    let written = bench.set("k", None).await.unwrap();
    assert_eq!(written.accepted, Accepted::Written { seq: before.seq + 2, versions: vec![1] });
    assert_eq!(bench.close().await.seq, before.seq + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_medium_is_left_alone_until_there_is_room_for_what_was_refused() {
    let data = data();
    let bench = Bench::start(data.path()).await;
    let before = bench.node.store().position();
    let room = bench.room.clone();
    // Room for an EPOCH, and so for an opening that would take some of it, and for no write.
    *room.bytes.lock().unwrap() = Some(10_000);
    assert_eq!(bench.state.trouble(), None);
    assert_eq!(refused(bench.set("k", Some(Fault::Full)).await), Code::StorageFull);
    let asked = async {
        while room.asked.load(Ordering::Relaxed) < 4 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asked).await.expect("it looks for room");
    assert_eq!((room.opened.load(Ordering::Relaxed), bench.state.is_writable()), (1, false));
    let trouble = bench.state.trouble().unwrap();
    assert!(trouble.message.contains("disk is full") && trouble.since_ms > 0, "{trouble:?}");
    let action = RequestAction::Entry { key: "small".into(), value: Some("1".into()), guard: Guard::default() };
    let request = WriteRequest::of("c".into(), action, Origin::default());
    assert_eq!(refused(bench.writes.write(request).await), Code::StorageFull, "not only the one that was refused");
    *room.bytes.lock().unwrap() = Some(1 << 30);
    bench.order(None);
    bench.recovered(before).await;
    assert_eq!((room.opened.load(Ordering::Relaxed), bench.state.trouble()), (2, None));
    bench.set("k", None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_medium_that_is_full_again_and_again_is_opened_ever_more_rarely() {
    let data = data();
    let bench = Bench::start(data.path()).await;
    let begun = Instant::now();
    // Nobody can tell how much is left, as with a quota.
    for _ in 0..3 {
        let before = bench.node.store().position();
        assert_eq!(refused(bench.set("k", Some(Fault::Full)).await), Code::StorageFull);
        bench.order(None);
        bench.recovered(before).await;
        assert!(bench.state.trouble().is_some(), "until something as large was written");
    }
    // 100, 200 and 400 ms.
    assert!(begun.elapsed() >= Duration::from_millis(700), "{:?}", begun.elapsed());
    bench.set("k", None).await.unwrap();
    assert_eq!(bench.state.trouble(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_fails_with_the_write_it_was_decided_on() {
    let data = data();
    let mut bench = Bench::start(data.path()).await;
    let before = bench.node.store().position();
    let first = bench.queue("first", false).await;
    assert_eq!(bench.arrivals.recv().await, Some(1));
    // While the first append waits for its order, the two others queue up and become one group.
    let (second, third) = (bench.queue("k", true).await, bench.queue("k", true).await);
    bench.order(None);
    assert_eq!(bench.arrivals.recv().await, Some(1), "one record: the other is refused");
    bench.order(Some(Fault::Full));
    bench.order(None);
    assert!(first.await.is_ok());
    assert_eq!([refused(second.await), refused(third.await)], [Code::StorageFull; 2]);
    bench.recovered(before).await;
    assert!(!bench.holds("k"), "a 412 would have been a lie");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_waits_for_the_write_it_was_decided_on() {
    let data = data();
    let mut bench = Bench::start(data.path()).await;
    let first = bench.queue("first", false).await;
    assert_eq!(bench.arrivals.recv().await, Some(1));
    let (second, mut third) = (bench.queue("k", true).await, bench.queue("k", true).await);
    bench.order(None);
    assert!(first.await.is_ok());
    assert_eq!(bench.arrivals.recv().await, Some(1), "decided, and not durable yet");
    assert!(is_pending(&mut third).await);
    bench.order(None);
    assert!(second.await.is_ok());
    assert_eq!(refused(third.await), Code::PreconditionFailed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_as_of_what_it_was_decided_on() {
    let data = data();
    let mut bench = Bench::start(data.path()).await;
    let first = bench.queue("first", false).await;
    assert_eq!(bench.arrivals.recv().await, Some(1));
    let (k, again) = (bench.queue("k", true).await, bench.queue("k", true).await);
    let behind = bench.queue("behind", false).await;
    bench.order(None);
    bench.order(None);
    assert!(first.await.is_ok());
    let (k, refusal, behind) = (k.await.unwrap(), again.await.unwrap_err(), behind.await.unwrap());
    assert_eq!(refusal.as_of.as_deref(), Some(&(k.position, None)), "not as of what came behind it in the same group");
    assert_eq!(behind.position.seq, k.position.seq + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_finds_what_was_acknowledged() {
    let data = data();
    let bench = Bench::start(data.path()).await;
    let written = bench.set("k", None).await.unwrap();
    let digest = bench.node.store().collection("c").unwrap().unwrap().digest;
    assert_eq!(bench.close().await, written.position);
    let again = Bench::start(data.path()).await;
    assert!(again.holds("k"));
    assert_eq!(again.node.store().collection("c").unwrap().unwrap().digest, digest);
    let position = again.node.store().position();
    assert!(position.epoch > written.position.epoch && position.seq == written.position.seq + 1);
    assert!(again.state.bytes("c") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_told_of_a_collection_are_those_that_the_log_holds() {
    let bounds = RingBounds { records_max: 4, ..RingBounds::default() };
    let bench = Bench::start_on(Box::new(MemoryWal::new(bounds, None))).await;
    for _ in 0..10 {
        bench.set("k", None).await.unwrap();
    }
    let floor = bench.log.floor().unwrap();
    let Supply::Lines { bytes, through } = bench.log.after(floor).await.unwrap() else { panic!("four are held") };
    assert_eq!(through - floor, 4);
    assert_eq!(bench.state.bytes("c"), bytes.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_close_nothing_is_written() {
    let data = data();
    let bench = Bench::start(data.path()).await;
    let (writes, node) = (bench.writes.clone(), bench.node.clone());
    let end = bench.close().await;
    let request = WriteRequest::of("c".into(), RequestAction::Drop, Origin::default());
    assert_eq!(writes.write(request).await.unwrap_err().code, Code::NotReady);
    assert_eq!(node.store().position(), end);
}
