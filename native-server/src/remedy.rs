//! What helps where a log is damaged, best first: one text for whoever meets the damage.
//!
//! Cutting the log comes last, because it loses what somebody else may still have, and once the writer has started without
//! it the replicas let go of it too.

use crate::wal::OpenError;
use crate::wal::file::inspect::is_of_replica;
use std::path::Path;

/// What helps for the damaged log in `directory`, one line each.
pub(crate) fn lines(directory: &Path) -> Vec<String> {
    let mut lines = before_repair(directory);
    let (directory, of_replica) = (directory.display(), is_of_replica(directory));
    if of_replica {
        lines.push(format!("or headwater log repair {directory} shows what can be kept of it"));
    } else {
        lines.push(format!("3. headwater log repair {directory} shows first what it would do and what is lost"));
    }
    lines
}

/// The same for whoever is about to repair it.
pub(crate) fn before_repair(directory: &Path) -> Vec<String> {
    if is_of_replica(directory) {
        return vec![
            "This is a replica's: its parent sends everything again. Move the directory away, and start the node"
                .into(),
        ];
    }
    vec![
        "What helps, best first:".into(),
        "1. a replica that has the records: stop it, and `headwater promote` its directory INSTEAD of mending this one;"
            .into(),
        "   once this writer starts again, replicas drop what it has lost, too".into(),
        "2. a backup with the archive: headwater restore BACKUP --data NEW --archive ARCHIVE".into(),
    ]
}

/// The lines for an error, if it tells of damage.
pub(crate) fn of(error: &OpenError) -> Vec<String> {
    match error {
        OpenError::Damaged { file, .. } => file.parent().map(lines).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// An error with what helps behind it, for a program that ends with it.
pub(crate) fn told(error: &OpenError) -> String {
    of(error).into_iter().fold(error.to_string(), |text, line| format!("{text}\n  {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::file::{FileOptions, FileWal, ReplicaLog};
    use crate::wal::{OpenOptions, Wal as _};

    #[tokio::test]
    async fn a_writer_is_told_of_replicas_and_backups_before_the_log_is_cut() {
        let data = tempfile::tempdir().unwrap();
        drop(FileWal::new(data.path(), FileOptions::default()).open(&OpenOptions::default(), &mut |_| Ok(())).await);
        for _ in 0..2 {
            let text = lines(data.path()).join("\n");
            let places = ["headwater promote", "headwater restore", "headwater log repair"].map(|word| text.find(word));
            assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{text}");
            std::fs::remove_file(data.path().join("MANIFEST")).unwrap_or_default();
        }
    }

    #[test]
    fn a_replica_is_told_of_its_parent_with_a_manifest_or_without() {
        let data = tempfile::tempdir().unwrap();
        drop(ReplicaLog::open(data.path(), FileOptions::default(), "r", &mut |_| Ok(())).unwrap());
        for _ in 0..2 {
            let text = lines(data.path()).join("\n");
            assert!(text.contains("its parent sends everything again") && !text.contains("promote"), "{text}");
            std::fs::remove_file(data.path().join("MANIFEST")).unwrap_or_default();
        }
    }
}
