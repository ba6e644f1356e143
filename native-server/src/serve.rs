//! A whole node from its start to its end.

use crate::audit::{Audit, Author, Event};
use crate::backup::scheduled::Scheduled;
use crate::bell::Bell;
use crate::log_view::LogView;
use crate::replica;
use crate::server::{Server, Work};
use crate::settings::{InvalidSetting, Part, Settings, log_directory};
use crate::shutdown::{Deadline, Signals, announce};
use crate::wal::file::inspect::Inspection;
use crate::wal::manifest::Backend;
use crate::wal::{self, OpenOptions};
use crate::writer::{self, LogState, Surroundings, WriterSettings};
use crate::{bootstrap, clock, listener, random, reclaim, remedy};
use anyhow::Context as _;
use headwater_core::api::{Counts, KeyFate, has_admin};
use headwater_core::id::Id;
use headwater_core::node::{Node, NodeOptions, Role};
use headwater_core::scope::Scope;
use headwater_core::store::memory::{MemoryOptions, MemoryStore};
use headwater_core::store::{Progress, Store};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Runs a node until it is told to end by SIGINT or SIGTERM.
///
/// # Errors
/// When it cannot start; in words for the person who started it.
pub fn run(settings: Settings) -> anyhow::Result<()> {
    let runtime = Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    let outcome = runtime.block_on(live(settings));
    // Whatever still runs was given up: a read of a slow disk must not keep the process.
    runtime.shutdown_background();
    outcome
}

/// Time that closing the log or the disk gets even when requests in flight have used up the shutdown's.
const CLOSING_LEAST: Duration = Duration::from_secs(2);

/// Parts that the writer and the replica both need.
struct Parts {
    bell: Arc<Bell>,
    log: Arc<LogView>,
    metrics: Arc<Counts>,
    audit: Arc<Audit>,
    instance: Id,
}

/// What ends with the node, in this order.
enum Running {
    Writer(Arc<LogState>),
    Replica(replica::Running),
}

async fn live(settings: Settings) -> anyhow::Result<()> {
    let mut signals = Signals::listen().context("listening for signals")?;
    let data = settings.data.display().to_string();
    bootstrap::data_directory(&settings.data).with_context(|| format!("--data: making {data}"))?;
    let instance = bootstrap::instance(&settings.data).with_context(|| format!("--data: the instance in {data}"))?;
    // Before the log is opened: a start that cannot listen leaves no trace in it.
    let tls = settings.server_tls()?.map(Arc::new);
    let scheme = if tls.is_some() { "https" } else { "http" };
    let listener = TcpListener::bind(settings.listen).await;
    let listener = listener.map_err(|error| unbound(settings.listen, error))?;
    let address = listener.local_addr().context("--listen")?;
    let metrics = Arc::default();
    let audit = Arc::new(open_audit(&settings, instance, &metrics)?);
    let parts = Parts { bell: Arc::default(), log: Arc::default(), metrics, audit, instance };
    let (server, mut running) = match settings.part.clone() {
        Part::Writer { .. } => {
            let (server, state) = start_writer(settings, &parts).await?;
            (server, Running::Writer(state))
        }
        Part::Replica { .. } => {
            let (server, running) = start_replica(settings, &parts)?;
            (server, Running::Replica(running))
        }
    };
    if let Some(tls) = &tls {
        server.tls.get_or_init(|| Arc::clone(tls));
    }
    parts.audit.note(started(&server));
    if server.settings.read_only {
        tracing::warn!("this node takes no writes: it was started with --read-only");
    }
    let backups = match server.settings.backups.clone() {
        None => None,
        Some(plan) => {
            let scheduled = Scheduled::start(Arc::clone(&server.node), plan).context("--backup-to: starting")?;
            server.backups.get_or_init(|| scheduled.standing());
            Some(scheduled)
        }
    };
    let (attendant, node) = (Arc::clone(&parts.bell), Arc::clone(&server.node));
    let bell = tokio::spawn(async move { attendant.attend(&node).await });
    let reclaiming = tokio::spawn(reclaim::attend(Arc::clone(&server.node), parts.bell.listen()));

    let (stop, stopped) = oneshot::channel::<()>();
    let stopping = async move {
        // A sender that is gone means the same.
        drop(stopped.await);
    };
    let mut serving = tokio::spawn(listener::serve(Arc::clone(&server), listener, tls, stopping));
    let (node, role) = (server.settings.node.as_str(), server.node.options().role.as_str());
    tracing::info!(address = %format!("{scheme}://{address}"), node, role, position = %server.node.store().position(), "listening");
    println!("headwater: {role} {node} listens on {scheme}://{address}");
    if let Some(words) = exposure(address, server.settings.tls.is_some()) {
        tracing::warn!(%address, "{words}");
    }

    let mut failure = None;
    let signal = tokio::select! {
        signal = signals.received() => signal,
        ended = running.ended() => {
            failure = Some(anyhow::anyhow!("{ended} has ended by itself: a fault of this program"));
            "the end of a part of the node"
        }
        served = &mut serving => {
            served.context("the HTTP server failed")?;
            "the end of the HTTP server"
        }
    };
    tracing::info!(signal, "shutting down");
    let deadline = Deadline::within(server.settings.shutdown);
    announce(&server);
    drop(stop);
    let ended = async {
        if !serving.is_finished() {
            deadline.wait("requests in flight", &mut serving).await;
        }
        serving.abort();
        if let Some(backups) = backups {
            // It looks at each piece whether it is to end.
            deadline.wait("giving up a backup", tokio::task::spawn_blocking(|| backups.end())).await;
        }
        let deadline = deadline.at_least(CLOSING_LEAST);
        end_work(&server, running, &deadline).await;
        let stopped = Event::Stop { position: server.node.store().position(), why: signal };
        let audit = Arc::clone(&parts.audit);
        deadline.wait("closing the audit log", tokio::task::spawn_blocking(move || audit.end(stopped))).await;
    };
    tokio::select! {
        () = ended => {}
        signal = signals.received_again() => tracing::warn!(signal, "a second signal: not waiting any longer"),
    }
    reclaiming.abort();
    bell.abort();
    tracing::info!(position = %server.node.store().position(), "ended");
    failure.map_or(Ok(()), Err)
}

/// What is unsafe about listening at `address`, in words for the person who starts the node; `None` for nothing.
pub(crate) fn exposure(address: SocketAddr, has_tls: bool) -> Option<&'static str> {
    (!has_tls && !address.ip().to_canonical().is_loopback()).then_some(
        "this node listens beyond loopback without TLS: whoever sees the traffic reads every pair and every value. Give it a \
         certificate, or see to it that only a network of its own or a proxy that speaks TLS reaches it",
    )
}

/// Opens the audit log, where there is to be one.
fn open_audit(settings: &Settings, instance: Id, metrics: &Arc<Counts>) -> anyhow::Result<Audit> {
    let Some(plan) = &settings.audit else { return Ok(Audit::off()) };
    let author = Author { node: settings.node.clone(), instance: instance.to_string() };
    let opened = Audit::start(plan, author, Arc::clone(metrics));
    opened.with_context(|| format!("--audit: opening {}", plan.directory.display()))
}

/// What the audit log says of a start.
fn started(server: &Server) -> Event {
    let progress = server.node.store().progress();
    Event::Start {
        role: server.node.options().role.as_str(),
        position: progress.position,
        takeover: progress.takeover,
        cluster: progress.cluster.map(|cluster| cluster.to_string()),
        read_only: server.settings.read_only,
    }
}

/// Why nothing can be heard at `address`, and what to do where that is known.
fn unbound(address: SocketAddr, error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::AddrInUse {
        return anyhow::anyhow!(
            "--listen: another process listens on {address} already\n  \
             Choose another address: with --listen {}, the system chooses a free port.",
            SocketAddr::new(address.ip(), 0)
        );
    }
    anyhow::Error::new(error).context(format!("--listen: binding {address}"))
}

impl Running {
    /// Resolves when a part without which the node is of no use has ended, and names it. A supervisor starts it again;
    /// a node that only seems to live helps nobody.
    async fn ended(&mut self) -> &'static str {
        match self {
            Self::Writer(state) => {
                state.ended().await;
                "the writer's thread"
            }
            Self::Replica(running) => running.ended().await,
        }
    }
}

async fn end_work(server: &Arc<Server>, running: Running, deadline: &Deadline) {
    match running {
        Running::Writer(_) => {
            let closing = Arc::clone(server);
            let close = tokio::task::spawn_blocking(move || match &closing.work {
                Work::Writer { writes, .. } => writes.close().blocking_recv().is_ok(),
                Work::Replica(_) => true,
            });
            deadline.wait("closing the log", close).await;
        }
        Running::Replica(running) => {
            deadline.wait("storing the replica's state", running.end()).await;
        }
    }
}

fn node_options(settings: &Settings, instance: Id, role: Role) -> NodeOptions {
    NodeOptions {
        ping_ms: settings.ping_ms,
        feed: settings.feed,
        baselines_max: settings.baselines_max,
        children_max: settings.children_max,
        auth_staleness_ms_max: settings
            .auth_staleness_max
            .map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        children_per_credential_max: settings.children_per_credential_max,
        ..NodeOptions::new(settings.node.clone(), instance, role)
    }
}

fn empty_store(progress: Progress) -> MemoryStore {
    MemoryStore::new(progress, MemoryOptions::threaded(random::bits()))
}

async fn start_writer(settings: Settings, parts: &Parts) -> anyhow::Result<(Arc<Server>, Arc<LogState>)> {
    let Part::Writer { wal, epoch_above, new_cluster } = &settings.part else {
        anyhow::bail!("a writer needs a log");
    };
    // A writer's state is complete once its log is replayed, and nobody sees it before.
    let store = empty_store(Progress { complete: true, ..Progress::new(Scope::Everything) });
    let state = Arc::new(LogState::new(settings.repeats));
    let options = OpenOptions {
        cluster: None,
        new_cluster: *new_cluster,
        node: settings.node.clone(),
        now_ms: clock::wall_ms(),
        epoch_above: *epoch_above,
        replay_after: 0,
    };
    let connected = wal::connect(wal, Some(&log_directory(&settings.data)), settings.storage.files);
    let opening = writer::open(connected, options, &store, &state).await;
    let opening = opening.map_err(|error| anyhow::anyhow!("--wal: opening {wal}: {}", remedy::told(&error)))?;
    if let Some(cut) = opening.recovered() {
        tracing::warn!(
            file = cut.file,
            offset = cut.offset,
            bytes = cut.truncated_bytes,
            "a torn end was cut off the log"
        );
    }
    // Without one nobody could make the first.
    let has_admin = has_admin(&store, "").map_err(|error| anyhow::anyhow!("the keys: {}", error.message))?;
    let admin = (!settings.dev && !has_admin).then(bootstrap::AdminPair::draw);
    if let Some(admin) = &admin {
        admin.show().context("showing the first pair of credentials")?;
    }
    let node = Arc::new(Node::new(store, node_options(&settings, parts.instance, Role::Primary)));
    let around = Surroundings {
        bell: Arc::clone(&parts.bell),
        log: Arc::clone(&parts.log),
        metrics: Arc::clone(&parts.metrics),
        audit: Arc::clone(&parts.audit),
        state: Arc::clone(&state),
    };
    let writer = WriterSettings {
        limits: settings.limits.clone(),
        queue_max: settings.queue_max,
        queue_bytes_max: settings.queue_bytes_max,
        queue_age_max: settings.queue_age_max,
        storage: settings.storage.clone(),
    };
    let writes = opening.start(Arc::clone(&node), writer, admin.as_ref(), around, Handle::current());
    let writes = writes.with_context(|| format!("--wal: writing to {wal}"))?;
    let work = Work::Writer { writes, log: Arc::clone(&state) };
    let (bell, log, metrics) = (Arc::clone(&parts.bell), Arc::clone(&parts.log), Arc::clone(&parts.metrics));
    let audit = Arc::clone(&parts.audit);
    if let Some(admin) = admin {
        let (id, seq, by) = (admin.apikey, node.store().position().seq, String::new());
        audit.note(Event::Credential { fate: KeyFate::Created, id, seq, by, peer: None });
    }
    Ok((Arc::new(Server::new(settings, node, bell, log, metrics, audit, work)), state))
}

fn start_replica(settings: Settings, parts: &Parts) -> anyhow::Result<(Arc<Server>, replica::Running)> {
    let (Part::Replica { parents, pair, scope, .. }, Some(connector)) = (&settings.part, settings.connector()?) else {
        anyhow::bail!("a replica needs a parent");
    };
    let store = empty_store(Progress::new(scope.clone()));
    let directory = log_directory(&settings.data);
    let disk = replica::open_disk(&directory, settings.storage.files, &settings.node, &store);
    let disk = disk.map_err(|error| match a_writer_s(&directory) {
        Some(invalid) => invalid.into(),
        None => {
            let directory = directory.display();
            anyhow::anyhow!("--data: opening the replica's disk in {directory}: {}", remedy::told(&error))
        }
    })?;
    let node = Arc::new(Node::new(store, node_options(&settings, parts.instance, Role::Replica)));
    let following = replica::Following {
        node: Arc::clone(&node),
        parents: parents.clone(),
        pair: pair.clone(),
        connector,
        scope: scope.clone(),
        data: settings.data.clone(),
        bell: Arc::clone(&parts.bell),
        log: Arc::clone(&parts.log),
        storage: settings.storage.clone(),
    };
    let (upstream, running) = replica::start(following, disk).context("starting the replica's disk")?;
    let (bell, log, metrics) = (Arc::clone(&parts.bell), Arc::clone(&parts.log), Arc::clone(&parts.metrics));
    let audit = Arc::clone(&parts.audit);
    let server = Server::new(settings, node, bell, log, metrics, audit, Work::Replica(upstream));
    Ok((Arc::new(server), running))
}

/// Why a directory that is a writer's follows nobody. Whoever took another one would begin an empty replica, perhaps of a
/// writer that is gone.
fn a_writer_s(directory: &Path) -> Option<InvalidSetting> {
    let inspection = Inspection::of(directory).ok()??;
    let manifest = inspection.manifest();
    if manifest.backend != Backend::File {
        return None;
    }
    let since = if manifest.takeover > 0 { ", since `headwater promote` or `restore`" } else { "" };
    let directory = directory.display();
    let reason = format!(
        "{directory} is a writer's{since}, and a writer follows nobody. To start that writer take this setting out: the flag, \
         HEADWATER_PARENT, and `parent` in the config file"
    );
    Some(InvalidSetting { setting: "--parent", reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_beyond_loopback_without_tls_is_told() {
        for (address, is_near) in [
            ("127.0.0.1:1", true),
            ("127.8.0.1:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("10.0.0.1:1", false),
            ("[::ffff:10.0.0.1]:1", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(exposure(address, false).is_none(), is_near, "{address}");
            assert_eq!(exposure(address, true), None, "{address}");
        }
    }
}
