//! Makes the directory of a writer's log that begins with a state: a stored baseline, and an empty segment behind it.

use super::super::error::OpenError;
use super::super::keeper::{BaselinePiece, StateFacts};
use super::super::manifest::{ActivePlace, Backend, BaselinePlace, Files, MANIFEST_FILE, Manifest, Sum};
use super::super::opening::OpenOptions;
use super::super::storage::{Directory, LOCK_FILE, Storage};
use super::baseline::frame;
use super::header::{FileKind, Origin};
use super::making::{MadeEnd, Making};
use super::recover::lock;
use headwater_core::id::Id;
use headwater_core::position::EpochTable;
use std::path::Path;

const BASELINE_NUMBER: u32 = 1;
const SEGMENT_NUMBER: u32 = 2;

/// What the log is to hold.
#[derive(Clone, Debug)]
pub struct Content {
    /// The deployment.
    pub cluster: Id,
    /// The next opening takes an epoch above this one.
    pub epoch: u64,
    /// The number of the takeover that the log begins with; 0 for none.
    pub takeover: u64,
    /// The openings up to the state.
    pub epochs: EpochTable,
    /// What the state is known by.
    pub facts: StateFacts,
}

/// Takes the pieces of the state.
pub type Sink<'a> = dyn FnMut(BaselinePiece<'_>) -> Result<(), OpenError> + 'a;

/// Makes a log in `directory`, which must be missing or empty. `pieces` hands over the state, its progress last.
///
/// # Errors
/// [`OpenError::Mismatch`] when something is there; what else [`super::FileWal`]'s opening fails with. What was made until
/// then is no log: there is no manifest.
pub fn create(
    directory: &Path,
    content: &Content,
    pieces: &mut dyn FnMut(&mut Sink<'_>) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    create_on(&Directory::new(directory), content, pieces)
}

/// [`create`] on a medium of the caller's.
///
/// # Errors
/// The same.
pub(super) fn create_on(
    storage: &dyn Storage,
    content: &Content,
    pieces: &mut dyn FnMut(&mut Sink<'_>) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    let _lock = lock(storage, &OpenOptions { node: "restore".into(), ..OpenOptions::default() })?;
    let names = storage.names().map_err(OpenError::io("listing", &storage.path("")))?;
    if let Some(name) = names.into_iter().find(|name| name != LOCK_FILE) {
        let detail = format!("the directory is not empty, {name} is there: use another one");
        return Err(OpenError::Mismatch { file: storage.path(MANIFEST_FILE), detail });
    }
    let StateFacts { seq, keys, ref digest } = content.facts;
    let mut making = Making::begin(storage, FileKind::Baseline, Origin::Writer, BASELINE_NUMBER, seq, 0, 0)?;
    pieces(&mut |piece| making.push(&frame(piece, seq)))?;
    let MadeEnd { end, sum } = making.finish(storage)?;
    let digest = digest.clone();
    let baseline =
        BaselinePlace { number: BASELINE_NUMBER, seq, from_segment: SEGMENT_NUMBER, end, sum: Sum(sum), keys, digest };
    let mut making = Making::begin(storage, FileKind::Segment, Origin::Writer, SEGMENT_NUMBER, seq, 0, 0)?;
    let MadeEnd { end, .. } = making.finish(storage)?;
    let active = ActivePlace { number: SEGMENT_NUMBER, start: end, synced: end };
    let files = Files { baseline: Some(baseline), sealed: Vec::new(), active, next_number: SEGMENT_NUMBER + 1 };
    let &Content { cluster, epoch, takeover, ref epochs, .. } = content;
    let (cluster, epochs) = (Some(cluster), epochs.clone());
    Manifest { cluster, epoch, takeover, epochs, files: Some(files), ..Manifest::new(Backend::File) }.write(storage)
}

#[cfg(test)]
mod tests {
    use super::super::super::conformance::TestDirectory;
    use super::super::super::{Replayed, Wal};
    use super::super::{FileOptions, FileWal};
    use super::*;
    use headwater_core::position::{EpochStart, Position};

    fn content() -> Content {
        Content {
            cluster: Id::from_bytes([3; 16]),
            epoch: 900,
            takeover: 800,
            epochs: EpochTable::new(vec![EpochStart { epoch: 700, first: 1 }]).unwrap(),
            facts: StateFacts { seq: 12, keys: 1, digest: "xxh3:0".into() },
        }
    }

    fn write(sink: &mut Sink<'_>) -> Result<(), OpenError> {
        sink(BaselinePiece::Lines(b"{}\n"))?;
        sink(BaselinePiece::Progress(b"{}"))
    }

    #[tokio::test]
    async fn a_log_that_was_made_goes_on_behind_its_state_in_a_higher_epoch() {
        let directory = TestDirectory::new();
        let place = directory.path().join("log");
        create(&place, &content(), &mut write).unwrap();
        let mut wal = FileWal::new(&place, FileOptions::default());
        let options = OpenOptions { now_ms: 5, ..OpenOptions::default() };
        let mut pieces = Vec::new();
        let mut replay = |found: Replayed<'_>| {
            let Replayed::Baseline(piece) = found else { return Err("a record".into()) };
            pieces.push(format!("{piece:?}"));
            Ok(())
        };
        let opened = wal.open(&options, &mut replay).await.unwrap();
        assert_eq!((opened.cluster, opened.last), (content().cluster, Some(Position { epoch: 700, seq: 12 })));
        assert_eq!(opened.takeover, 800);
        assert!(opened.epoch > 900 && opened.next_seq() == 13 && opened.recovered.is_none());
        let expected =
            [BaselinePiece::Lines(b"{}\n"), BaselinePiece::Progress(b"{}")].map(|piece| format!("{piece:?}"));
        assert_eq!(pieces, expected);
    }

    #[test]
    fn nothing_is_made_where_something_is_and_what_was_cut_short_is_no_log() {
        let directory = TestDirectory::new();
        let place = directory.path().join("log");
        let cut_short = create(&place, &content(), &mut |sink| {
            sink(BaselinePiece::Lines(b"{}\n"))?;
            Err(OpenError::damaged(Path::new("x"), 0, "the state gave out"))
        });
        assert!(cut_short.is_err() && !place.join(MANIFEST_FILE).exists());
        let again = create(&place, &content(), &mut write);
        assert!(matches!(again, Err(OpenError::Mismatch { .. })), "{again:?}");
        assert!(!place.join(MANIFEST_FILE).exists());
    }
}
