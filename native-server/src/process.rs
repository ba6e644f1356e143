//! What the system tells of this process, by `/proc`. What it does not tell is left out.

use std::fs;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Process {
    /// Bytes of memory that are in use.
    pub(crate) resident_bytes: Option<u64>,
    /// Open file descriptors.
    pub(crate) open_fds: Option<u64>,
    /// Most of them that may be open.
    pub(crate) max_fds: Option<u64>,
    /// Time of the processors used, in ticks of a hundredth of a second.
    pub(crate) cpu_ticks: Option<u64>,
    /// When it was started, in seconds since 1970.
    pub(crate) started_s: Option<u64>,
}

impl Process {
    /// As things are now.
    pub(crate) fn now() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let stat = read("/proc/self/stat");
        let started_ticks = field(&stat, STARTED);
        let boot_s = number_behind(&read("/proc/stat"), "btime");
        let page = rustix::param::page_size() as u64;
        Self {
            resident_bytes: read("/proc/self/statm")
                .split_whitespace()
                .nth(1)
                .and_then(|pages| pages.parse::<u64>().ok())
                .map(|pages| pages * page),
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|open| open.count() as u64),
            max_fds: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
            cpu_ticks: field(&stat, USER).zip(field(&stat, SYSTEM)).map(|(user, system)| user + system),
            started_s: boot_s.zip(started_ticks).map(|(boot, ticks)| boot + ticks / TICKS_PER_S),
        }
    }
}

/// Linux counts in these towards programs, on every architecture this is built for (proc(5), `USER_HZ`).
const TICKS_PER_S: u64 = 100;
/// Fields of `/proc/self/stat` by their place behind the program's name (proc(5) counts from 1 and the name is the second).
const USER: usize = 14 - 3;
const SYSTEM: usize = 15 - 3;
const STARTED: usize = 22 - 3;

fn field(stat: &str, at: usize) -> Option<u64> {
    // The name is in parentheses and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(at)?.parse().ok()
}

fn number_behind(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)).and_then(|rest| rest.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::wall_ms;

    #[test]
    fn the_system_tells_of_this_process() {
        let process = Process::now();
        assert!(process.resident_bytes.is_some_and(|bytes| (1 << 20..1 << 36).contains(&bytes)), "{process:?}");
        assert!(process.open_fds.is_some_and(|fds| (3..100_000).contains(&fds)), "{process:?}");
        assert!(process.max_fds > process.open_fds && process.cpu_ticks.is_some(), "{process:?}");
        let age_s = (wall_ms() / 1_000).checked_sub(process.started_s.unwrap() - 2).unwrap();
        assert!(age_s < 3_600, "{age_s} s ago: {process:?}");
    }

    #[test]
    fn a_name_with_a_parenthesis_moves_no_field() {
        let stat = "7 (a) b) R 1 2 3 4 5 6 7 8 9 10 200 100 0 0 20 0 3 0 4242 1";
        assert_eq!((field(stat, USER), field(stat, SYSTEM), field(stat, STARTED)), (Some(200), Some(100), Some(4242)));
        assert_eq!(field("", USER), None);
    }
}
