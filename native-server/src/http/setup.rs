//! How a node is set up and what it runs on, as far as it bears on whether that is safe: what `headwater doctor` looks at.

use crate::clock;
use crate::process::Process;
use crate::server::Server;
use crate::settings::Part;
use crate::wal::WalUrl;
use crate::wal::file::SyncMode;
use rustix::fs::StatVfs;
use serde_json::json;

/// The member `setup` of a status. Nothing in it is secret.
pub(super) fn setup(server: &Server) -> String {
    let settings = &server.settings;
    let log = match &settings.part {
        Part::Writer { wal: WalUrl::Memory(_), .. } => "memory",
        Part::Writer { wal: WalUrl::File(_), .. } => "file",
        Part::Replica { .. } => "replica",
    };
    let sync_ms = match settings.storage.files.sync {
        SyncMode::Group => None,
        SyncMode::Interval(every) => u64::try_from(every.as_millis()).ok(),
    };
    let disk = rustix::fs::statvfs(&settings.data).ok();
    let free = disk.as_ref().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    // What is kept for the system's administrator counts as neither: a node that is none cannot use it.
    let usable = |disk: &StatVfs| {
        disk.f_blocks.saturating_sub(disk.f_bfree).saturating_add(disk.f_bavail).saturating_mul(disk.f_frsize)
    };
    let whole = disk.as_ref().map(usable);
    let Process { open_fds, max_fds, resident_bytes, .. } = Process::now();
    let setup = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "nowMs": clock::wall_ms(),
        "beyondLoopback": !settings.listen.ip().is_loopback(),
        "tls": settings.tls.is_some(),
        "tlsNotAfterMs": server.tls.get().and_then(|tls| tls.end_ms()),
        "audit": settings.audit.is_some(),
        "dev": settings.dev,
        "log": log,
        "syncMs": sync_ms,
        "archives": settings.storage.archive.is_some(),
        "backups": settings.backups.is_some(),
        "diskFreeBytes": free,
        "diskBytes": whole,
        "openFds": open_fds,
        "maxFds": max_fds,
        "residentBytes": resident_bytes,
    });
    setup.to_string()
}
