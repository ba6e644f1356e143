//! Reading a backup back: every hash, count and digest is checked on the way.

use super::error::BackupError;
use super::hashing::Hashing;
use super::manifest::{BASELINE_FILE, MANIFEST_FILE, Manifest};
use headwater_core::apply::scope_digest;
use headwater_core::command::{Deframer, Line, Logged, Steer, Trust, decode, lines};
use headwater_core::record::{Parts, Record};
use headwater_core::replica::Staging;
use headwater_core::scope::Scope;
use headwater_core::store::memory::MemoryStore;
use headwater_core::store::{Collection, Store};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use zstd::stream::read::Decoder;

const READ_BYTES: usize = 1 << 20;

/// Checks the backup in `directory`, without keeping what it holds. `step` hears how many bytes of lines are read.
///
/// # Errors
/// See [`BackupError`]; the first file that is wrong is named.
pub fn verify(directory: &Path, step: &mut dyn FnMut(u64) -> Result<(), BackupError>) -> Result<Manifest, BackupError> {
    let manifest = Manifest::read(directory)?;
    manifest.progress(&directory.join(MANIFEST_FILE))?;
    walk(directory, &manifest, step, &mut |_| Ok(()))?;
    Ok(manifest)
}

/// Puts what the backup in `directory` holds into the empty `store`. After an error that is to be thrown away.
///
/// # Errors
/// As [`verify`]; [`BackupError::Unfit`] when it needs what this release does not know.
pub fn load(
    directory: &Path,
    store: &MemoryStore,
    step: &mut dyn FnMut(u64) -> Result<(), BackupError>,
) -> Result<Manifest, BackupError> {
    let manifest = Manifest::read(directory)?;
    let manifest_path = directory.join(MANIFEST_FILE);
    let progress = manifest.progress(&manifest_path)?;
    progress.check_features().map_err(|error| BackupError::Unfit(error.to_string()))?;
    let facts = manifest.facts(&manifest_path)?;
    if facts.iter().any(|facts| facts.last_seq > progress.position.seq) {
        return Err(BackupError::damaged(&manifest_path, "a collection is newer than the position"));
    }
    let path = directory.join(BASELINE_FILE);
    let refused = |offence: headwater_core::replica::Offence| BackupError::damaged(&path, offence.to_string());
    let mut staging = Staging::begin(store, progress.position.seq, Scope::Everything).map_err(refused)?;
    walk(directory, &manifest, step, &mut |line| match line {
        Line::Steer(Steer::BaselineBegin { collection, created }) => {
            staging.collection_begins(collection, *created).map_err(refused)
        }
        Line::Entry(entry) => staging.entry(store, entry).map_err(refused),
        Line::Steer(Steer::BaselineEnd { collection, keys, digest }) => {
            staging.collection_ends(store, collection, *keys, *digest).map_err(refused)
        }
        _ => Ok(()),
    })?;
    staging.end().map_err(refused)?;
    store.swap(facts, &progress)?;
    Ok(manifest)
}

/// Shows every line to `visit`, and makes sure that they are all there and as the manifest says.
fn walk(
    directory: &Path,
    manifest: &Manifest,
    step: &mut dyn FnMut(u64) -> Result<(), BackupError>,
    visit: &mut dyn FnMut(&Line<'_>) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    let path = &directory.join(BASELINE_FILE);
    let wrong = |detail: String| BackupError::damaged(path, detail);
    let [said] = &*manifest.files else {
        return Err(BackupError::damaged(&directory.join(MANIFEST_FILE), "it names other files than a backup has"));
    };
    if said.name != BASELINE_FILE {
        return Err(BackupError::damaged(&directory.join(MANIFEST_FILE), "it names other files than a backup has"));
    }
    let file = File::open(path).map_err(BackupError::io("opening", path))?;
    let length = file.metadata().map_err(BackupError::io("reading", path))?.len();
    if length != said.bytes {
        return Err(wrong(format!("{length} bytes long, and the manifest says {}", said.bytes)));
    }
    let mut hashing = Hashing::new(file);
    let mut check = Check::new(manifest, directory)?;
    let mut plain_bytes = 0;
    let outcome = (|| {
        let mut decoder =
            Decoder::new(&mut hashing).map_err(|error| wrong(format!("it cannot be unpacked: {error}")))?;
        let (mut buffer, mut deframer) = (vec![0; READ_BYTES], Deframer::new());
        loop {
            let read = decoder.read(&mut buffer).map_err(|error| wrong(format!("it cannot be unpacked: {error}")))?;
            if read == 0 {
                break;
            }
            plain_bytes += read as u64;
            let block = deframer.push(&buffer[..read]).map_err(|error| wrong(error.to_string()))?;
            for (_, line) in block.iter().flat_map(|block| lines(block)) {
                let line = decode(line, Trust::Checked).map_err(|error| wrong(format!("a line of it: {error}")))?;
                check.line(&line).map_err(&wrong)?;
                visit(&line)?;
            }
            step(plain_bytes)?;
        }
        if deframer.unfinished() > 0 || plain_bytes != said.plain_bytes {
            return Err(wrong(format!("{plain_bytes} bytes of lines, and the manifest says {}", said.plain_bytes)));
        }
        check.end().map_err(&wrong)
    })();
    // The sum says most plainly what is wrong, so it is looked at first, whatever else is.
    std::io::copy(&mut hashing, &mut std::io::sink()).map_err(BackupError::io("reading", path))?;
    let (_, _, sum) = hashing.finish();
    if sum != said.sha256 {
        return Err(wrong("it does not match its SHA-256 in the manifest".into()));
    }
    outcome
}

/// What a baseline must be: the collections of the manifest in their order, each with its entries in order, as many and
/// with the digest it says, and READY with the same history.
struct Check {
    said: Vec<Collection>,
    seq: u64,
    epochs: headwater_core::position::EpochTable,
    timestamp: u64,
    /// Collections that have ended.
    done: usize,
    current: Option<(Collection, String)>,
    is_ready: bool,
    scratch: Vec<u8>,
}

impl Check {
    fn new(manifest: &Manifest, directory: &Path) -> Result<Self, BackupError> {
        let path = directory.join(MANIFEST_FILE);
        let (said, progress) = (manifest.facts(&path)?, manifest.progress(&path)?);
        if scope_digest(&said).to_wire() != manifest.digest {
            return Err(BackupError::damaged(&path, "its digest is not that of its collections"));
        }
        let epochs = (*progress.epochs).clone();
        let (seq, timestamp) = (progress.position.seq, progress.timestamp);
        if manifest.keys != said.iter().map(|facts| facts.keys).sum::<u64>() {
            return Err(BackupError::damaged(&path, "its number of entries is not that of its collections"));
        }
        Ok(Self { said, seq, epochs, timestamp, done: 0, current: None, is_ready: false, scratch: Vec::new() })
    }

    fn line(&mut self, line: &Line<'_>) -> Result<(), String> {
        let out_of_place = || Err("a line is out of place".into());
        match (line, &mut self.current) {
            _ if self.is_ready => out_of_place(),
            (Line::Steer(Steer::BaselineBegin { collection, created }), None) => {
                self.current = Some((Collection::new((**collection).into(), *created), String::new()));
                Ok(())
            }
            (Line::Entry(entry), Some(_)) => self.entry(entry),
            (Line::Steer(Steer::BaselineEnd { .. }), Some((found, _))) => {
                let said = self.said.get(self.done);
                let facts = |facts: &Collection| (facts.name.clone(), facts.created, facts.keys, facts.digest);
                if said.map(facts) != Some(facts(found)) {
                    return Err(format!("the collection {:?} is not what the manifest says", found.name));
                }
                self.done += 1;
                self.current = None;
                Ok(())
            }
            (Line::Steer(Steer::Ready(ready)), None) => {
                let is_right = ready.seq == self.seq
                    && ready.epochs == self.epochs
                    && ready.timestamp.unwrap_or(0) == self.timestamp
                    && ready.collections == self.said.len() as u64
                    && ready.digest == scope_digest(&self.said);
                self.is_ready = true;
                if is_right { Ok(()) } else { Err("its last line is not what the manifest says".into()) }
            }
            _ => out_of_place(),
        }
    }

    fn entry(&mut self, entry: &Logged<'_>) -> Result<(), String> {
        let headwater_core::command::Action::Set { key, version, value } = &entry.action else {
            return Err("an entry that is none".into());
        };
        let Some((facts, last_key)) = &mut self.current else { return Err("an entry outside a collection".into()) };
        if **key <= **last_key || entry.collection.as_deref() != Some(&*facts.name) || entry.seq > self.seq {
            return Err(format!("an entry of {:?} is out of place", facts.name));
        }
        let parts =
            Parts { key, value, seq: entry.seq, version: *version, timestamp: entry.timestamp, extra: &entry.extra };
        facts.digest.add(Record::new(parts).digest(&facts.name, &mut self.scratch));
        facts.keys += 1;
        last_key.clear();
        last_key.push_str(key);
        Ok(())
    }

    fn end(&self) -> Result<(), String> {
        if self.is_ready && self.done == self.said.len() { Ok(()) } else { Err("it ends before its last line".into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::write::write;
    use super::*;
    use headwater_core::id::Id;
    use headwater_core::position::{EpochStart, EpochTable, Position};
    use headwater_core::store::Progress;
    use headwater_core::store::memory::MemoryOptions;
    use std::sync::Arc;

    fn store(progress: Progress) -> MemoryStore {
        MemoryStore::new(progress, MemoryOptions::single_threaded(7))
    }

    #[test]
    fn a_backup_that_needs_an_unknown_feature_is_whole_and_not_loaded() {
        let place = tempfile::tempdir().unwrap();
        let progress = |requires: &[&str]| Progress {
            position: Position { epoch: 5, seq: 1 },
            complete: true,
            cluster: Some(Id::from_bytes([7; 16])),
            epochs: Arc::new(EpochTable::new(vec![EpochStart { epoch: 5, first: 1 }]).unwrap()),
            takeover: 3,
            takeover_highest: 4,
            requires: requires.iter().map(|&name| name.to_owned()).collect(),
            ..Progress::new(Scope::Everything)
        };
        for requires in [&["expiry"][..], &[]] {
            let out = place.path().join(requires.len().to_string());
            let snapshot = Arc::new(store(progress(requires)).snapshot().unwrap());
            write(&snapshot, &out, "a test", (0, 0), &mut |_| Ok(())).unwrap();
            assert_eq!(verify(&out, &mut |_| Ok(())).unwrap().requires, requires);
            let into = store(Progress::new(Scope::Everything));
            match load(&out, &into, &mut |_| Ok(())) {
                Ok(_) => assert!(requires.is_empty() && into.progress().takeover_highest == 4),
                Err(error) => assert!(error.to_string().contains("the feature \"expiry\"") && !requires.is_empty()),
            }
        }
    }
}
