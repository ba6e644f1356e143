//! What a test needs of the machine beside loopback and a directory: the right to mount, and strace.
//!
//! A test that needs what the machine does not have fails. Who knows that a machine cannot have it says so in
//! `HEADWATER_CANNOT`, as words between commas; then the test passes over it and says that on standard error, where cargo
//! shows it for a test that passes, too.

use std::env;
use std::ffi::OsStr;
use std::io::Write;
use std::process::Command;

/// What not every machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Linux, root, loop devices, `mount` and `mkfs.ext4`.
    Mount,
    /// Linux and `strace`.
    Strace,
}

impl Need {
    fn word(self) -> &'static str {
        match self {
            Self::Mount => "mount",
            Self::Strace => "strace",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Mount => "to mount file systems (root on Linux, loop devices, mount, fsfreeze, mkfs.ext4 and perl)",
            Self::Strace => "strace (Linux, and the right to trace its own children)",
        }
    }

    /// Whether the test may go on. `false`: the machine cannot, as its user said.
    pub fn is_met(self, test: &str) -> bool {
        if !is_listed(&env::var("HEADWATER_CANNOT").unwrap_or_default(), self.word()) {
            return true;
        }
        let said = format!("\n!!! NOT TESTED: {test}. It needs {}, and HEADWATER_CANNOT says no.\n", self.words());
        // Not by a macro: what goes through those is shown for failed tests only.
        std::io::stderr().write_all(said.as_bytes()).expect("standard error can be written");
        false
    }

    /// Runs a program that the need is made of, and panics where it fails.
    pub fn run<I: AsRef<OsStr>>(self, program: &str, arguments: impl IntoIterator<Item = I>) {
        if let Err(error) = try_run(program, arguments) {
            panic!(
                "{error}\nThis test needs {}. Where a machine cannot have that, HEADWATER_CANNOT={} leaves the test out.",
                self.words(),
                self.word()
            );
        }
    }
}

fn is_listed(list: &str, word: &str) -> bool {
    list.split(',').any(|listed| listed.trim() == word)
}

/// Runs a program to its end.
///
/// # Errors
/// It cannot be started, or did not succeed; says what it said.
pub fn try_run<I: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = I>) -> Result<(), String> {
    let output = Command::new(program).args(arguments).env("PATH", path()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

/// The search path with the directories of administrators' programs, which a user's may lack.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", env::var("PATH").unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_is_left_out() {
        assert!(is_listed("mount", "mount") && is_listed("strace, mount", "mount"));
        assert!(!is_listed("", "mount") && !is_listed("strace", "mount") && !is_listed("mounts", "mount"));
    }
}
