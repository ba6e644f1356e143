//! A herd: five thousand children ask one writer for a baseline of 5 MB in the same moment, come back exactly when they are
//! told to, all of them together, and stay once they have it.
//!
//! Of most of them only bytes are counted, up to READY, which must be as many for each: 25 GB of lines would keep the load
//! busier than the writer. A sample is a whole replica, which checks every line and every digest.

mod reading;

use super::filled::fill;
use crate::http::{Begun, Chunked, Connection, Endpoint};
use crate::process::{Memory, Place, Server};
use crate::report::{Figure, Report, Spread};
use crate::settings::Settings;
use crate::socket::Socket;
use crate::stream::request;
use anyhow::{Context, bail, ensure};
use headwater_core::clock::Now;
use headwater_core::id::Id;
use headwater_core::node::{Node, NodeOptions, Role};
use headwater_core::replica::{Replica, ReplicaOptions};
use headwater_core::scope::Scope;
use headwater_core::store::memory::{MemoryOptions, MemoryStore};
use headwater_core::store::{Progress, Store};
use reading::{End, Reading};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, timeout};

const CHILDREN: u64 = 5_000;
/// With values of 100 bytes, a baseline of 5 MB.
const KEYS: u64 = 26_000;
const BASELINE_BYTES_LEAST: u64 = 5_000_000;
/// Every so many-th child is a whole replica.
const SAMPLE: u64 = 250;
const MEMORY_MB_MOST: f64 = 300.0;
const GIVE_UP: Duration = Duration::from_secs(900);
const SOCKETS_MORE: u64 = 256;
const READ_BYTES: usize = 64 << 10;

pub(super) async fn measure(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let (children, keys) = settings.sized((CHILDREN, KEYS), (40, 1_000));
    settings.needs_open_files(children + SOCKETS_MORE)?;
    let directory = settings.directory().join("herd");
    fill(&directory, keys).await?;
    let sockets = (children + SOCKETS_MORE).to_string();
    // They are all there before the first of them asks.
    let options = ["--connections-per-address-max", &*sockets, "--first-byte-ms", "120000"];
    let server = Server::writer_with(settings, Place::Measured, &directory, &options, None).await?;
    let alone = server.memory_bytes(Memory::Resident)?;
    let local = LocalSet::new();
    let mut herd = local.run_until(Herd::gather(&server, children, keys)).await?;
    let cpu = server.cpu()?;
    let took = local.run_until(herd.graze(&server)).await?;
    let cpu = server.cpu()? - cpu;
    let (with_all, peak) = (server.memory_bytes(Memory::Resident)?, server.memory_bytes(Memory::Peak)?);
    let connected = server.metric("children_connected").await?;
    ensure!(connected == children, "{connected} children are left of {children}");
    drop(local);
    server.stop().await?;

    let figure = |name: &str, unit, value: f64| Figure::new(name, unit, Spread::of([value]));
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let tally = &herd.tally;
    let bytes = tally.bytes.get().context("nobody has a baseline")?;
    report.figures.extend([
        figure("memory of the writer, alone", "MB", mb(alone)),
        figure("memory of the writer, at its peak", "MB", mb(peak)).at_most(MEMORY_MB_MOST),
        figure("memory of the writer, when all have it and stay", "MB", mb(with_all)),
        figure("until all have it", "s", took.as_secs_f64()),
        figure("baselines per second", "", children as f64 / took.as_secs_f64()),
        figure("refusals", "", tally.refusals.get() as f64),
        figure("refusals of the child with most of them", "", tally.refusals_most.get() as f64),
        figure("streams that ended before READY", "", tally.ends.get() as f64),
        figure("core used by the writer meanwhile", "%", cpu.as_secs_f64() / took.as_secs_f64() * 100.0),
    ]);
    report.notes.push(format!(
        "{children} children, {} of them whole replicas; {keys} keys, {bytes} bytes from HELLO to READY, as many for each. \
         Nobody jitters: all come back when `Retry-After` says, in the same moment.",
        children.div_ceil(SAMPLE)
    ));
    Ok(())
}

/// All children, connected, waiting for the word.
struct Herd {
    begin: watch::Sender<bool>,
    children: JoinSet<anyhow::Result<()>>,
    tally: Rc<Tally>,
    count: u64,
}

/// What has become of them.
#[derive(Default)]
struct Tally {
    have_it: Cell<u64>,
    refusals: Cell<u64>,
    refusals_most: Cell<u64>,
    ends: Cell<u64>,
    /// Bytes of a baseline behind its HELLO.
    bytes: Cell<Option<u64>>,
}

impl Herd {
    async fn gather(server: &Server, count: u64, keys: u64) -> anyhow::Result<Self> {
        let (begin, begun) = watch::channel(false);
        let tally = Rc::new(Tally::default());
        let mut children = JoinSet::new();
        for number in 0..count {
            let connection = Connection::open(&server.endpoint).await?;
            let (endpoint, tally) = (server.endpoint.clone(), Rc::clone(&tally));
            let child = Child { number, keys, endpoint, tally };
            children.spawn_local(child.live(connection, begun.clone()));
        }
        Ok(Self { begin, children, tally, count })
    }

    /// Gives the word, and waits until all have their baseline.
    async fn graze(&mut self, server: &Server) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.begin.send_replace(true);
        let Self { children, tally, count, .. } = self;
        let all = async {
            let mut told = Instant::now();
            while tally.have_it.get() < *count {
                sleep(Duration::from_millis(20)).await;
                if told.elapsed() > Duration::from_secs(5) {
                    told = Instant::now();
                    let (have_it, refusals) = (tally.have_it.get(), tally.refusals.get());
                    let memory = server.memory_bytes(Memory::Resident)? >> 20;
                    eprintln!("  {have_it} of {count} have it, {refusals} refusals, {memory} MiB");
                }
            }
            anyhow::Ok(begun.elapsed())
        };
        tokio::select! {
            biased;
            ended = children.join_next() => match ended {
                Some(outcome) => Err(outcome?.err().context("a stream ended behind its baseline")?.context("a child")),
                None => bail!("there are no children"),
            },
            took = timeout(GIVE_UP, all) => took.context("not every child has a baseline")?,
        }
    }
}

struct Child {
    number: u64,
    keys: u64,
    endpoint: Endpoint,
    tally: Rc<Tally>,
}

impl Child {
    /// Asks until it has a baseline, and stays.
    async fn live(self, mut connection: Connection, mut begun: watch::Receiver<bool>) -> anyhow::Result<()> {
        begun.wait_for(|begun| *begun).await?;
        let request = request(&self.endpoint, self.number, Scope::Everything, None);
        let mut refusals = 0;
        loop {
            let (socket, first) = match connection.begin_stream(&request).await? {
                Begun::Stream(socket, first) => (socket, first),
                Begun::Refused { connection: again, status, retry_after, why } => {
                    let wait = retry_after.filter(|_| status == 503).with_context(|| format!("{status}: {why}"))?;
                    refusals += 1;
                    self.tally.refusals.set(self.tally.refusals.get() + 1);
                    self.tally.refusals_most.set(self.tally.refusals_most.get().max(refusals));
                    sleep(wait).await;
                    connection = again;
                    continue;
                }
            };
            match self.take(socket, first).await? {
                Taken::Whole(socket) => return stay(socket).await,
                Taken::Ended(wait) => {
                    self.tally.ends.set(self.tally.ends.get() + 1);
                    sleep(wait).await;
                    connection = Connection::open(&self.endpoint).await?;
                }
            }
        }
    }

    /// Takes a baseline, whose first bytes these are.
    async fn take(&self, mut socket: Socket, first: Vec<u8>) -> anyhow::Result<Taken> {
        let mut sample = self.number.is_multiple_of(SAMPLE).then(|| Sample::new(self.number));
        let (mut chunked, mut reading) = (Chunked::default(), Reading::default());
        let mut buffer = vec![0; READ_BYTES];
        let mut bytes = &first[..];
        let seq = loop {
            let mut failed = None;
            let over = chunked.push(bytes, |body| {
                reading.push(body);
                if let Some(sample) = &mut sample {
                    failed = failed.take().or(sample.push(body).err());
                }
            });
            if let Some(error) = failed {
                return Err(error);
            }
            match reading.end()? {
                End::None => over?,
                End::Ready { seq, bytes } => {
                    let expected = self.tally.bytes.get().unwrap_or(bytes);
                    ensure!(bytes == expected, "a baseline of {bytes} bytes, others have {expected}");
                    self.tally.bytes.set(Some(bytes));
                    ensure!(
                        self.keys < 2_000 || bytes >= BASELINE_BYTES_LEAST,
                        "a baseline of {bytes} bytes is too small"
                    );
                    break seq;
                }
                End::Told(wait) => return Ok(Taken::Ended(wait)),
            }
            let read = socket.read(&mut buffer).await?;
            ensure!(read > 0, "the server closed a stream within a baseline and without END");
            bytes = &buffer[..read];
        };
        if let Some(sample) = sample {
            sample.check(seq, self.keys)?;
        }
        self.tally.have_it.set(self.tally.have_it.get() + 1);
        Ok(Taken::Whole(socket))
    }
}

/// What came of asking.
enum Taken {
    /// All of it; the stream goes on.
    Whole(Socket),
    /// END before READY: come back after this time.
    Ended(Duration),
}

/// Reads PINGs until the stream ends, which it must not.
async fn stay(mut socket: Socket) -> anyhow::Result<()> {
    let mut buffer = [0; 1 << 10];
    while socket.read(&mut buffer).await? > 0 {}
    Ok(())
}

/// A child that is a whole replica.
struct Sample {
    node: Arc<Node<MemoryStore>>,
    replica: Replica<MemoryStore>,
    begun: Instant,
}

impl Sample {
    fn new(number: u64) -> Self {
        let store = MemoryStore::new(Progress::new(Scope::Everything), MemoryOptions::threaded(number));
        let instance = Id::from_bytes((u128::from(number) + 1).to_be_bytes());
        let node = Arc::new(Node::new(store, NodeOptions::new("sample", instance, Role::Replica)));
        let options = ReplicaOptions { scope: Scope::Everything, parents: 1 };
        let mut sample = Self { replica: Replica::new(Arc::clone(&node), options), node, begun: Instant::now() };
        let now = sample.now();
        sample.replica.request(now);
        sample
    }

    fn now(&self) -> Now {
        let wall = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Now { wall_ms: ms(wall), mono_ms: ms(self.begun.elapsed()) }
    }

    fn push(&mut self, body: &[u8]) -> anyhow::Result<()> {
        let now = self.now();
        let received = self.replica.receive(body, now, &mut Vec::new());
        received.map_err(|offence| anyhow::anyhow!("a baseline is wrong: {offence}"))
    }

    /// Insists that it holds what was sent.
    fn check(&self, seq: u64, keys: u64) -> anyhow::Result<()> {
        let store = self.node.store();
        ensure!(self.node.is_complete() && store.position().seq == seq, "a replica is at {}", store.position());
        let found = store.collection(super::COLLECTION)?.map(|collection| collection.keys);
        ensure!(found == Some(keys), "a replica holds {found:?} keys of {keys}");
        Ok(())
    }
}
