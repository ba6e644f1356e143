//! Facts of the machine a run took place on, without which its absolute figures say nothing.

use crate::settings::Settings;
use anyhow::Context;
use serde::Serialize;
use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// See the module.
#[derive(Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory_gib: u64,
    kernel: String,
    /// File system of the directory that was written to, and what it lies on.
    medium: String,
    /// Median of appending 256 B and fdatasync, one after the other, in us.
    sync_p50_us: f64,
    /// Median of a one-byte round trip over loopback between two threads on different cores, in us.
    ping_pong_p50_us: f64,
    /// Mean number of running tasks over the minute before and at the end: above 0.5 before, somebody else was busy.
    load_before: f64,
    pub(crate) load_after: f64,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cores, memory_gib, kernel, medium, .. } = self;
        write!(f, "{cpu}, {cores} cores, {memory_gib} GiB, Linux {kernel}; {medium}: ")?;
        write!(f, "append + fdatasync of 256 B p50 {:.0} us; ", self.sync_p50_us)?;
        write!(f, "loopback round trip p50 {:.0} us; ", self.ping_pong_p50_us)?;
        write!(f, "load average {} before, {} after", self.load_before, self.load_after)
    }
}

/// Collects them; takes about a second.
pub(crate) fn facts(settings: &Settings) -> anyhow::Result<Machine> {
    let load_before = load_average()?;
    let info = std::fs::read_to_string("/proc/cpuinfo")?;
    let cpu = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let memory_kib: u64 = memory.split_ascii_whitespace().nth(1).context("no memory size")?.parse()?;
    let samples = settings.sized(2_000, 20);
    Ok(Machine {
        cpu: cpu.map_or("unknown CPU", |(_, model)| model).into(),
        cores: settings.cores.count(),
        memory_gib: memory_kib.div_ceil(1 << 20),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        medium: medium(settings.directory())?,
        sync_p50_us: sync(settings.directory(), samples)?,
        ping_pong_p50_us: ping_pong(settings, samples)?,
        load_before,
        load_after: load_before,
    })
}

/// The load average of the last minute.
pub(crate) fn load_average() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_ascii_whitespace().next().context("no load average")?.parse()?)
}

fn medium(directory: &Path) -> anyhow::Result<String> {
    let directory = directory.canonicalize()?;
    let mounts = std::fs::read_to_string("/proc/mounts")?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        Some((fields.next()?, fields.next()?, fields.next()?))
    });
    let deepest = mounts.filter(|(_, place, _)| directory.starts_with(place)).max_by_key(|(_, place, _)| place.len());
    let (device, _, kind) = deepest.context("the directory is on no file system")?;
    Ok(format!("{kind} on {device}"))
}

fn sync(directory: &Path, samples: usize) -> anyhow::Result<f64> {
    let path = directory.join("sync");
    let mut file = File::create(&path)?;
    let times = sample(samples, || {
        file.write_all(&[b'x'; 256])?;
        Ok(file.sync_data()?)
    })?;
    std::fs::remove_file(path)?;
    Ok(times)
}

/// The far end answers from the measured core, where servers will be.
fn ping_pong(settings: &Settings, samples: usize) -> anyhow::Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::scope(|scope| {
        let far = scope.spawn(|| -> anyhow::Result<()> {
            settings.cores.take_server_core()?;
            let (mut socket, _) = listener.accept()?;
            socket.set_nodelay(true)?;
            let mut byte = [0];
            while socket.read(&mut byte)? > 0 {
                socket.write_all(&byte)?;
            }
            Ok(())
        });
        let near = (|| {
            let mut socket = TcpStream::connect(address)?;
            socket.set_nodelay(true)?;
            sample(samples, || {
                let mut byte = [1];
                socket.write_all(&byte)?;
                Ok(socket.read_exact(&mut byte)?)
            })
        })();
        let joined = far.join().map_err(|_| anyhow::anyhow!("the far end panicked"))?;
        joined.and(near)
    })
}

/// Median time of `step` in us.
fn sample(count: usize, mut step: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        step()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let median: Duration = times[count / 2];
    Ok(median.as_secs_f64() * 1e6)
}
