//! What the fuzz targets begin with: small inputs that are right, made by the same code that writes the real ones.

use super::super::super::manifest::{ActivePlace, Backend, BaselinePlace, Files, Manifest, SealedPlace, Sum};
use super::super::frame::{FrameContent, FramePlace, Kind, encode};
use super::super::header::{FileHeader, FileKind, Origin};
use super::bytes::Files as Directory;
use super::{MANIFEST_FILE, SALT};
use crate::wal::storage::Storage as _;
use headwater_core::id::Id;
use headwater_core::position::EpochStart;

/// The seeds: target, name of the file, and content. The same each time.
pub fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let writer = file(FileKind::Segment, Origin::Writer, 3, 4, &writer_groups());
    let replica = file(FileKind::Segment, Origin::Replica, 3, 4, &replica_groups());
    let baseline = file(FileKind::Baseline, Origin::Writer, 4, 9, &baseline_groups());
    let frame = |bytes: &[u8]| bytes[56..].to_vec();
    vec![
        ("frame", "record", [vec![1], frame(&writer)].concat()),
        (
            "frame",
            "progress",
            [vec![1], frame(&file(FileKind::Segment, Origin::Replica, 3, 4, &replica_groups()[2..]))].concat(),
        ),
        ("frame", "baseline", [vec![1], frame(&baseline)].concat()),
        ("segment", "writer", [vec![0xfd, 0x03], writer.clone()].concat()),
        ("segment", "writer-with-room", [vec![0xfd, 0x02], writer.clone(), vec![0; 64]].concat()),
        ("segment", "writer-torn", [vec![0x09, 0x03], writer[..writer.len() - 5].to_vec()].concat()),
        ("segment", "writer-as-it-is", [vec![0x01, 0x03], writer].concat()),
        ("segment", "replica", [vec![0xfc, 0x03], replica].concat()),
        ("baseline", "whole", [vec![0xff, 9], baseline.clone()].concat()),
        ("baseline", "torn", [vec![0x03, 9], baseline[..baseline.len() - 1].to_vec()].concat()),
        ("manifest", "new", [vec![0], manifest(&Manifest::new(Backend::Memory))].concat()),
        ("manifest", "writer", [vec![1], manifest(&whole(Backend::File))].concat()),
        ("manifest", "replica", [vec![1], manifest(&Manifest { cluster: None, ..whole(Backend::Replica) })].concat()),
    ]
}

/// Kind, seq, epoch and text of the frames of a group.
type Group = Vec<(Kind, u64, Option<u64>, &'static str)>;

fn writer_groups() -> Vec<Group> {
    vec![
        vec![(Kind::Epoch, 5, Some(1_000), "{\"type\":\"EPOCH\",\"seq\":5,\"epoch\":1000}\n")],
        vec![(Kind::Line, 6, None, "{\"type\":\"CREATE\",\"seq\":6}\n"), (Kind::Line, 7, None, "{\"seq\":7}\n")],
        vec![(Kind::Line, 8, None, "{\"type\":\"SET\",\"seq\":8,\"value\":[1.50,\"\\u00e5\"]}\n")],
    ]
}

fn replica_groups() -> Vec<Group> {
    vec![
        vec![(Kind::Line, 6, None, "{\"seq\":6}\n"), (Kind::Progress, 6, None, "{\"position\":\"1000.6\"}")],
        vec![(Kind::Line, 9, None, "{\"seq\":9}\n"), (Kind::Progress, 12, None, "{\"position\":\"1000.12\"}")],
        vec![(Kind::Progress, 15, None, "{\"position\":\"1000.15\"}")],
    ]
}

fn baseline_groups() -> Vec<Group> {
    vec![
        vec![(Kind::Baseline, 0, None, "{\"type\":\"BASELINE_BEGIN\"}\n{\"type\":\"BASELINE_END\"}\n")],
        vec![(Kind::Beside, 0, None, "{\"keys\":[]}")],
        vec![(Kind::Progress, 9, None, "{\"position\":\"1000.9\"}")],
    ]
}

/// A file of groups of frames.
fn file(kind: FileKind, origin: Origin, number: u32, seq: u64, groups: &[Group]) -> Vec<u8> {
    let previous = if kind == FileKind::Segment { 7 } else { 0 };
    let header = FileHeader { kind, origin, number, salt: SALT, seq, previous };
    let (bytes, mut previous) = header.encode();
    let mut bytes = bytes.to_vec();
    for group in groups {
        let begin = bytes.len();
        for (index, &(kind, seq, epoch, text)) in group.iter().enumerate() {
            let place = FramePlace {
                salt: SALT,
                offset: bytes.len() as u64,
                back: (bytes.len() - begin) as u32,
                unsynced: 0,
                opening: 2,
                previous,
                last: index + 1 == group.len(),
            };
            let meta = if kind.is_record() { &b"{\"by\":\"a\"}"[..] } else { b"" };
            previous = encode(&mut bytes, &FrameContent { kind, seq, epoch, meta, text: text.as_bytes() }, &place);
        }
    }
    bytes
}

fn whole(backend: Backend) -> Manifest {
    let mut whole = Manifest::new(backend);
    (whole.cluster, whole.epoch, whole.takeover, whole.opening) = (Some(Id::from_bytes([7; 16])), 2_000, 1_500, 3);
    whole.epochs.push(EpochStart { epoch: 1_000, first: 1 });
    whole.epochs.push(EpochStart { epoch: 2_000, first: 40 });
    let baseline = BaselinePlace {
        number: 2,
        seq: 30,
        from_segment: 0,
        end: 700,
        sum: Sum(0xfeed),
        keys: 12,
        digest: "xxh3:0123456789abcdef0123456789abcdef".into(),
    };
    whole.files = Some(Files {
        baseline: Some(baseline),
        sealed: vec![SealedPlace { number: 3, through: 50, end: 4_100, sum: Sum(1), sealed_ms: 1_700_000_000_000 }],
        active: ActivePlace { number: 4, start: 56, synced: 56 },
        next_number: 5,
    });
    whole
}

fn manifest(manifest: &Manifest) -> Vec<u8> {
    let directory = Directory::default();
    manifest.write(&directory).expect("memory takes everything");
    let file = directory.open(MANIFEST_FILE).expect("memory does not fail").expect("it was written");
    let mut bytes = vec![0; file.length().expect("memory does not fail") as usize];
    let read = file.read_at(&mut bytes, 0).expect("memory does not fail");
    assert_eq!(read, bytes.len(), "a file has the bytes of its length");
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::{baseline, frame, manifest, segment};
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_seeds_there_are_what_the_code_makes_and_every_target_takes_them() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
        let mut names = Vec::new();
        for (target, name, content) in seeds() {
            let file = corpus.join(target).join(name);
            if std::env::var_os("HEADWATER_WRITE_SEEDS").is_some() {
                fs::create_dir_all(corpus.join(target)).unwrap();
                fs::write(&file, &content).unwrap();
            }
            let there = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            assert!(there == content, "{}: write it with HEADWATER_WRITE_SEEDS=1", file.display());
            let run = match target {
                "frame" => frame,
                "segment" => segment,
                "baseline" => baseline,
                _ => manifest,
            };
            assert!(run(&content), "{target} refuses {name}");
            names.push(file);
        }
        let targets: BTreeSet<_> = names.iter().filter_map(|name| name.parent()).collect();
        let there = targets.into_iter().flat_map(|target| fs::read_dir(target).unwrap());
        assert_eq!(there.count(), names.len(), "a seed that nothing makes");
    }
}
