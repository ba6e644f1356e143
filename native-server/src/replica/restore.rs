//! From a replica's disk back to its state.

use crate::stored::Restore;
use crate::wal::OpenError;
use crate::wal::file::replica::ReplicaFrame;
use crate::wal::file::{FileOptions, ReplicaLog};
use headwater_core::command::{Line, Trust, decode};
use headwater_core::store::memory::MemoryStore;
use std::path::Path;

/// Opens the disk in `directory` and puts what it holds into the empty `store`.
///
/// # Errors
/// Those of [`ReplicaLog::open`]; what the store holds is to be thrown away then.
pub(crate) fn open_disk(
    directory: &Path,
    options: FileOptions,
    node: &str,
    store: &MemoryStore,
) -> Result<ReplicaLog, OpenError> {
    let mut restore = Restore::new(store);
    let opened = ReplicaLog::open(directory, options, node, &mut |frame| match frame {
        ReplicaFrame::Baseline(piece) => restore.piece(piece),
        // As the parent sent it, which may be spelled in any way.
        ReplicaFrame::Line { line, .. } => match decode(line.strip_suffix(b"\n").unwrap_or(line), Trust::Checked)? {
            Line::Log(command) => restore.command(&command),
            _ => Err("a stored line is no command of the log".into()),
        },
        ReplicaFrame::Progress { text, .. } => restore.progress(std::str::from_utf8(text)?),
    })?;
    if let Some(cut) = &opened.recovered {
        tracing::warn!(
            file = cut.file,
            offset = cut.offset,
            bytes = cut.truncated_bytes,
            "a torn end was cut off the disk"
        );
    }
    Ok(opened.log)
}
