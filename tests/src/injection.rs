//! Calls of the system that fail: a node started by strace, which makes one call on the log's files return an error.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The calls by which the log works on its files, as patterns of strace.
pub const CALLS: [&str; 8] = ["pwrite64", "fdatasync", "fsync", "rename", "ftruncate", "fallocate", "openat", "unlink"];
/// Most files that a log makes under test: only calls on named files are looked at.
const FILES_MAX: u32 = 60;

/// What is to fail, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The call.
    pub call: &'static str,
    /// The error it returns.
    pub error: &'static str,
    /// Which one of each thread fails, from 1.
    pub when: u64,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} number {} fails with {}", self.call, self.when, self.error)
    }
}

/// A node's calls on its log, watched.
#[derive(Debug)]
pub struct Traced {
    trace: PathBuf,
    wrapper: PathBuf,
}

impl Traced {
    /// Makes, in the node's directory `data`, what is to be started in place of `server`; `failure`, if any, is what
    /// fails.
    pub fn new(data: &Path, server: &Path, failure: Option<Failure>) -> Self {
        fs::create_dir_all(data).expect("the test's directory can be written");
        let (trace, wrapper) = (data.join("trace"), data.join("under-strace"));
        // The node is what is started, and strace is beside it: what is killed is the node, and strace ends with it.
        let mut command = format!("exec strace -D -f -q --seccomp-bpf -e signal=none -o '{}'", trace.display());
        let log = data.join("state/log");
        let files = (1..=FILES_MAX).flat_map(|number| [format!("{number:010}.wal"), format!("{number:010}.base")]);
        for file in files.chain(["MANIFEST".into(), "MANIFEST.new".into()]) {
            command.push_str(&format!(" -P '{}'", log.join(file).display()));
        }
        command.push_str(&format!(" -P '{}' -e trace={}", log.display(), CALLS.join(",")));
        if let Some(Failure { call, error, when }) = failure {
            command.push_str(&format!(" -e inject={call}:error={error}:when={when}"));
        }
        let script = format!("#!/bin/sh\n{command} -- '{}' \"$@\"\n", server.display());
        fs::write(&wrapper, script).expect("the test's directory can be written");
        let may_run = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&wrapper, may_run).expect("the test's own file");
        Self { trace, wrapper }
    }

    /// What is to be started.
    pub fn wrapper(&self) -> PathBuf {
        self.wrapper.clone()
    }

    /// The calls that were made to fail, as strace shows them.
    pub fn failed(&self) -> Vec<String> {
        self.lines().into_iter().filter(|line| line.ends_with("(INJECTED)")).collect()
    }

    /// How often each call was made by the thread that made it most.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        let mut by_thread: BTreeMap<(&str, String), u64> = BTreeMap::new();
        for line in self.lines() {
            let Some((thread, rest)) = line.split_once(' ') else { continue };
            // A call that another one's line came between has two lines.
            let found = CALLS.iter().find(|call| rest.trim_start().starts_with(&format!("{call}(")));
            if let Some(call) = found {
                *by_thread.entry((call, thread.to_owned())).or_default() += 1;
            }
        }
        let mut counts = BTreeMap::new();
        for ((call, _), count) in by_thread {
            let call = CALLS.into_iter().find(|known| *known == call).expect("it was found there");
            let most: &mut u64 = counts.entry(call).or_default();
            *most = count.max(*most);
        }
        counts
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read(&self.trace).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }
}
