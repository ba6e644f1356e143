//! A server under measurement: started on its core, asked what it has used, stopped by its id.

use crate::http::{Connection, Endpoint, Pair};
use crate::settings::Settings;
use anyhow::{Context, ensure};
use headwater_local::certificates::Authority;
use headwater_local::program::Program;
use headwater_local::server::{STOP_GRACE, address_in};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

/// How long a replica may take to hold everything.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running server. Killed when dropped.
pub(crate) struct Server {
    /// Where it listens, and the pair it accepts.
    pub(crate) endpoint: Endpoint,
    program: Program,
    id: u32,
}

/// On which cores a server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The measured core alone.
    Measured,
    /// Wherever the system likes.
    Anywhere,
}

/// Which memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// What is its own and in use: no mapped files, nothing of the kernel's.
    Own,
    /// All of it that is resident.
    Resident,
    /// The most that ever was resident.
    Peak,
}

impl Server {
    /// Starts a writer with its state and output below `directory`. It is asked with the pair that its first start made.
    pub(crate) async fn writer(settings: &Settings, place: Place, directory: &Path) -> anyhow::Result<Self> {
        Self::writer_with(settings, place, directory, &[], None).await
    }

    /// [`Server::writer`] that speaks TLS, as does who asks it.
    pub(crate) async fn writer_over_tls(settings: &Settings, place: Place, directory: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let authority = Authority::new(directory, "authority")?;
        let (certificate, key) = authority.issue("writer")?;
        let text = |path: &Path| path.to_str().map(str::to_owned).context("a directory whose name is no text");
        let (certificate, key) = (text(&certificate)?, text(&key)?);
        let options = ["--tls-cert", &*certificate, "--tls-key", &*key];
        let mut server = Self::writer_with(settings, place, directory, &options, None).await?;
        server.endpoint.tls = Some(authority.client("http/1.1")?);
        Ok(server)
    }

    /// [`Server::writer`] of another `program` than the one under measurement.
    pub(crate) async fn writer_of(
        program: &Path,
        settings: &Settings,
        place: Place,
        directory: &Path,
    ) -> anyhow::Result<Self> {
        let words = serve(program, directory)?;
        let pair = Pair { apikey: String::new(), secret: String::new() };
        Self::start(settings, place, "writer", words, &[], pair, directory).await
    }

    /// [`Server::writer`] with further `options`. `pair` is the one that its first start made, if this is not the first.
    pub(crate) async fn writer_with(
        settings: &Settings,
        place: Place,
        directory: &Path,
        options: &[&str],
        pair: Option<Pair>,
    ) -> anyhow::Result<Self> {
        let mut words = serve(&settings.server, directory)?;
        words.extend(options.iter().map(OsString::from));
        let pair = pair.unwrap_or_else(|| Pair { apikey: String::new(), secret: String::new() });
        Self::start(settings, place, "writer", words, &[], pair, directory).await
    }

    /// Starts a replica of `parent`, which takes the parent's pair.
    pub(crate) async fn replica(
        settings: &Settings,
        place: Place,
        directory: &Path,
        parent: &Self,
    ) -> anyhow::Result<Self> {
        let Endpoint { address, pair, .. } = &parent.endpoint;
        let mut words = serve(&settings.server, directory)?;
        words.extend(["--parent".into(), format!("http://{address}").into()]);
        let variables = [("HEADWATER_PARENT_APIKEY", &*pair.apikey), ("HEADWATER_PARENT_SECRET", &*pair.secret)];
        Self::start(settings, place, "replica", words, &variables, pair.clone(), directory).await
    }

    /// Starts one of this program's own competitors, with its output below `directory`. It is asked as `ours` is.
    pub(crate) async fn competitor(
        settings: &Settings,
        name: &str,
        directory: &Path,
        option: &Path,
        ours: &Self,
    ) -> anyhow::Result<Self> {
        let words = vec![std::env::current_exe()?.into(), "competitor".into(), name.into(), option.into()];
        Self::start(settings, Place::Measured, name, words, &[], ours.endpoint.pair.clone(), directory).await
    }

    async fn start(
        settings: &Settings,
        place: Place,
        name: &str,
        words: Vec<OsString>,
        variables: &[(&str, &str)],
        mut pair: Pair,
        directory: &Path,
    ) -> anyhow::Result<Self> {
        let (program, arguments) = words.split_first().context("a command has a program")?;
        let mut command = match place {
            Place::Measured => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("pinned").arg(settings.cores.server.to_string()).args(&words);
                command
            }
            Place::Anywhere => {
                let mut command = Command::new(program);
                command.args(arguments);
                command
            }
        };
        // What the caller's shell says to Headwater must not change what is measured.
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("HEADWATER_") {
                command.env_remove(variable);
            }
        }
        command.envs(variables.iter().copied());
        let log = directory.join(format!("{name}.log"));
        let mut address = None;
        let (program, ()) = Program::start(name, command, &log, |line| {
            let made = |variable| line.trim_start().strip_prefix(variable).map(str::to_owned);
            pair.apikey = made("HEADWATER_APIKEY=").unwrap_or_else(|| pair.apikey.clone());
            pair.secret = made("HEADWATER_SECRET=").unwrap_or_else(|| pair.secret.clone());
            address = address_in(line).or_else(|| address.take());
            // stdout with the pair and stderr with the address come in any order.
            (address.is_some() && !pair.secret.is_empty()).then_some(())
        })
        .await?;
        let url = address.context("it listens somewhere")?;
        let address = url.split_once("://").map_or(&*url, |(_, address)| address).parse();
        let address = address.with_context(|| url.clone())?;
        let id = program.id().context("it ended as soon as it had started")?;
        Ok(Self { endpoint: Endpoint { address, pair, tls: None }, program, id })
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn until_ready(&self) -> anyhow::Result<()> {
        let mut connection = Connection::open(&self.endpoint).await?;
        let ready = self.endpoint.request("GET", "/readyz", "");
        let deadline = Instant::now() + READY_WITHIN;
        while connection.exchange(&ready).await?.status != 200 {
            ensure!(Instant::now() < deadline, "not ready within {READY_WITHIN:?}");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// CPU time used so far by all its threads, in user and kernel; exact to a clock tick (10 ms).
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu_of(&self.id.to_string())
    }

    /// How much memory it has in use now, or had.
    pub(crate) fn memory_bytes(&self, memory: Memory) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/status", self.id);
        let text = std::fs::read_to_string(&path).context(path)?;
        let name = match memory {
            Memory::Own => "RssAnon:",
            Memory::Resident => "VmRSS:",
            Memory::Peak => "VmHWM:",
        };
        let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib << 10)
    }

    /// An unsigned member of what it answers at `/v1/metrics`.
    pub(crate) async fn metric(&self, member: &str) -> anyhow::Result<u64> {
        let mut connection = Connection::open(&self.endpoint).await?;
        let reply = connection.exchange(&self.endpoint.request("GET", "/v1/metrics", "")).await?;
        reply.ok()?;
        reply.unsigned(member)
    }

    /// Asks it to end and waits for that.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.program.stop(STOP_GRACE).await?;
        Ok(())
    }
}

/// The words that start a node whose state lies below `directory`, which is made.
fn serve(program: &Path, directory: &Path) -> anyhow::Result<Vec<OsString>> {
    std::fs::create_dir_all(directory)?;
    let mut words = vec![program.into()];
    words.extend(["serve", "--listen", "127.0.0.1:0", "--data"].map(OsString::from));
    words.push(directory.join("state").into());
    Ok(words)
}

/// CPU time used so far by all threads of a process of this id, or of this one (`self`); exact to a clock tick (10 ms).
pub(crate) fn cpu_of(process: &str) -> anyhow::Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let text = std::fs::read_to_string(&path).context(path)?;
    let ticks = ticks_in(&text).with_context(|| format!("not understood: {text}"))?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// utime + stime, fields 14 and 15; the name in field 2 may contain anything but is the last thing in parentheses.
fn ticks_in(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::ticks_in;

    #[test]
    fn a_name_with_blanks_and_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) 1 (b) S 1 7 7 0 -1 4194560 106 0 0 0 31 11 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks_in(stat), Some(42));
    }
}
