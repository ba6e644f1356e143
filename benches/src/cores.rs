//! Which core measures and which is measured: the server has one to itself and the load another, so that neither is
//! slowed by the other and a server's capacity is that of one core.

use anyhow::Context;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The cores of this run. On a machine with one core both are the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    /// Where servers under measurement run, and in-process work that is measured.
    pub(crate) server: usize,
    /// Where the load runs.
    pub(crate) load: usize,
    allowed: CpuSet,
}

impl Cores {
    /// Picks from the cores this process may use.
    pub(crate) fn choose() -> anyhow::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        let server = cores.next().context("no core to run on")?;
        Ok(Self { server, load: cores.next_back().unwrap_or(server), allowed })
    }

    /// How many cores this process may use.
    pub(crate) fn count(&self) -> usize {
        self.allowed.count() as usize
    }

    /// Confines the calling thread to the core of the load.
    pub(crate) fn take_load_core(&self) -> anyhow::Result<()> {
        pin(self.load)
    }

    /// Confines the calling thread to the measured core.
    pub(crate) fn take_server_core(&self) -> anyhow::Result<()> {
        pin(self.server)
    }

    /// Lets the calling thread run on every core again.
    pub(crate) fn take_all(&self) -> anyhow::Result<()> {
        Ok(sched_setaffinity(None, &self.allowed)?)
    }

    /// Does `work` on a thread of its own on the measured core, and waits for it.
    pub(crate) async fn measured<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let core = self.server;
        let pinned = move || pin(core).and_then(|()| work());
        // The blocking pool keeps its threads, so the pinned one must not go back to it.
        let (done, result) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || done.send(pinned()).is_ok());
        let outcome = result.await.context("the measuring thread ended without a result");
        if thread.join().is_err() {
            anyhow::bail!("the measuring thread panicked");
        }
        outcome?
    }
}

fn pin(core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).with_context(|| format!("cannot move to core {core}"))
}

/// Turns this process into `command`, confined to `core`; returns only if that fails. A process id stays the same.
pub(crate) fn become_pinned(core: usize, command: &[OsString]) -> anyhow::Error {
    let (program, arguments) = command.split_first().expect("the argument is required");
    match pin(core) {
        Ok(()) => anyhow::Error::new(Command::new(program).args(arguments).exec()),
        Err(error) => error,
    }
}
