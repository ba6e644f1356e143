//! What a node keeps on its disks, and whether it keeps it: state, audit log, copies.

use super::{DAY_MS, Findings};
use crate::cli::ago::span;
use headwater_core::api::unix_ms;
use serde_json::Value;

/// Age of a newest backup from which on it is told of, in ms.
const BACKUP_MS: u64 = 8 * DAY_MS;

/// What the node's own disk does not do.
pub(super) fn storage(status: &Value, found: &mut Findings) {
    match status["storage"]["trouble"]["message"].as_str() {
        Some(trouble) => {
            let since = status["storage"]["trouble"]["since"].as_str().unwrap_or_default();
            found.bad("disk", format!("{trouble} (since {since})"), "docs/runbook.md has the steps.");
        }
        None if status["storage"].is_object() => found.ok("disk", "nothing is wrong with it"),
        None => {}
    }
}

/// Whether anybody could say who changed what.
pub(super) fn audit(status: &Value, setup: &Value, found: &mut Findings) {
    let audit = &status["audit"];
    if let Some(trouble) = audit["trouble"]["message"].as_str() {
        let since = audit["trouble"]["since"].as_str().unwrap_or_default();
        let advice = "What happens now may not be noted: look at its disk, then headwater audit verify.";
        found.bad("audit log", format!("{trouble} (since {since})"), advice);
    } else if audit.is_object() {
        found.ok("audit log", "who changes what and who is refused is noted");
    } else if setup["audit"] == false {
        let says = "there is none: nobody could say who changed what";
        found.warn("audit log", says, "Start it without --audit off.");
    }
}

/// Copies elsewhere: archive and backups.
pub(super) fn copies(status: &Value, setup: &Value, now_ms: u64, found: &mut Findings) {
    let (archive, backup) = (&status["archive"], &status["backup"]);
    if let Some(failure) = archive["failure"].as_str() {
        found.bad("archive", failure, "It keeps what is not copied only up to --retain-bytes-max.");
    } else if archive["missing"].as_array().is_some_and(|missing| !missing.is_empty()) {
        found.warn("archive", "some records are in no copy", "Make a backup now: headwater backup.");
    } else if archive.is_object() {
        found.ok("archive", "what is sealed is copied");
    }
    if let Some(failure) = backup["failure"].as_str() {
        found.bad("backup", failure, "Mend what is wrong with its place; the next attempt comes by itself.");
    } else if let Some(ms) = backup["last"]["created"].as_str().and_then(unix_ms) {
        let age = now_ms.saturating_sub(ms);
        let says = format!("the newest is {} old", span(age));
        if age > BACKUP_MS {
            found.warn("backup", says, "Make them more often: --backup-schedule.");
        } else {
            found.ok("backup", says);
        }
    } else if backup.is_object() {
        found.warn("backup", "none was made yet", "The first comes by itself; look again.");
    } else if status["role"] == "primary" && setup["log"] == "file" && !archive.is_object() {
        let says = "it makes no backups and no archive";
        found.warn(
            "backup",
            says,
            "Give it --backup-to, and --archive to get back to any time; or run headwater backup by cron.",
        );
    }
}
