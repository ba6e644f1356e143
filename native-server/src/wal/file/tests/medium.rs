//! A medium that loses power, fails and lies, for tests: what was not synced survives in any subset and torn anywhere, and
//! where a write was under way anything may be found, also if the same bytes were there before.

use super::super::super::storage::{Lock, Storage, StoredFile};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR_BYTES: usize = 512;

/// What happens at the chosen effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Power is lost while the effect is under way, and stays off until [`Medium::power_on`].
    PowerCut,
    /// The effect fails once. A write may be half done; a sync loses the pages it was to write, and they look clean.
    Io,
    /// There is no room, until [`Medium::heal`]. A write may be half done.
    Full,
}

/// A directory. Cloning it gives another handle to the same one.
#[derive(Clone, Debug)]
pub(super) struct Medium(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pending_names: Vec<NameChange>,
    effects: u64,
    fault: Option<(u64, Fault)>,
    on: bool,
    locked: bool,
    random: Random,
}

#[derive(Debug, Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
    Allocate(usize),
}

#[derive(Clone, Debug)]
enum NameChange {
    Set(String, usize),
    Rename(String, String, usize),
    Remove(String),
}

/// SplitMix64.
#[derive(Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => {
                let end = offset + bytes.len();
                content.resize(content.len().max(end), 0);
                content[*offset..end].copy_from_slice(bytes);
            }
            Self::Truncate(length) => content.resize(*length, 0),
            Self::Allocate(length) => content.resize(content.len().max(*length), 0),
        }
    }

    /// Applies what power loss leaves of this change.
    fn survive(&self, content: &mut Vec<u8>, random: &mut Random) {
        match (self, random.below(5)) {
            (_, 0) => {}
            (_, 1) | (Self::Truncate(_) | Self::Allocate(_), _) => self.apply(content),
            (Self::Write(offset, bytes), 2) => {
                let kept = random.below(bytes.len() + 1);
                Self::Write(*offset, bytes[..kept].to_vec()).apply(content);
            }
            (Self::Write(offset, bytes), how) => {
                for (sector, bytes) in bytes.chunks(SECTOR_BYTES).enumerate() {
                    let bytes = match random.below(3) {
                        0 => bytes.to_vec(),
                        1 if how == 4 => bytes.iter().map(|_| random.below(256) as u8).collect(),
                        _ => continue,
                    };
                    Self::Write(offset + sector * SECTOR_BYTES, bytes).apply(content);
                }
            }
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Set(name, file) => drop(names.insert(name.clone(), *file)),
            Self::Rename(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Self::Remove(name) => drop(names.remove(name)),
        }
    }
}

impl State {
    /// Counts an effect; `Some` says how it goes wrong.
    fn effect(&mut self) -> io::Result<Option<Fault>> {
        if !self.on {
            return Err(io::Error::other("the power is off"));
        }
        self.effects += 1;
        match self.fault {
            Some((at, Fault::Full)) if self.effects >= at => Ok(Some(Fault::Full)),
            Some((at, fault)) if self.effects == at => {
                self.on = fault != Fault::PowerCut;
                Ok(Some(fault))
            }
            _ => Ok(None),
        }
    }

    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        // To remove a file takes no room.
        let room_matters = !matches!(change, NameChange::Remove(_));
        let fault = self.effect()?.filter(|&fault| fault != Fault::Full || room_matters);
        if matches!(fault, None | Some(Fault::PowerCut)) {
            change.apply(&mut self.names);
            self.pending_names.push(change);
        }
        fail(fault)
    }

    fn change(&mut self, file: usize, change: Change) -> io::Result<()> {
        let fault = self.effect()?;
        let change = match (fault, change) {
            // A cut of the file needs no room.
            (Some(Fault::Full), change @ Change::Truncate(_)) => {
                self.apply(file, change);
                return Ok(());
            }
            (Some(Fault::Io | Fault::Full), Change::Write(offset, bytes)) => {
                let written = self.random.below(bytes.len());
                Change::Write(offset, bytes[..written].to_vec())
            }
            (Some(Fault::Io), Change::Truncate(_)) | (Some(Fault::Io | Fault::Full), Change::Allocate(_)) => {
                return fail(fault);
            }
            (_, change) => change,
        };
        self.apply(file, change);
        fail(fault)
    }

    fn apply(&mut self, file: usize, change: Change) {
        let content = &mut self.files[file];
        change.apply(&mut content.seen);
        content.pending.push(change);
    }

    fn sync(&mut self, file: usize) -> io::Result<()> {
        let fault = self.effect()?;
        let content = &mut self.files[file];
        match fault {
            None | Some(Fault::Full) => {
                for change in content.pending.drain(..) {
                    change.apply(&mut content.durable);
                }
                Ok(())
            }
            Some(Fault::Io) => {
                content.pending.clear();
                fail(fault)
            }
            Some(Fault::PowerCut) => fail(fault),
        }
    }
}

fn fail(fault: Option<Fault>) -> io::Result<()> {
    match fault {
        None => Ok(()),
        Some(Fault::Full) => Err(io::ErrorKind::StorageFull.into()),
        Some(Fault::Io | Fault::PowerCut) => Err(io::Error::other("injected")),
    }
}

impl Medium {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            effects: 0,
            fault: None,
            on: true,
            locked: false,
            random: Random(seed),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The same medium for [`Storage`]'s users.
    pub(super) fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }

    /// Lets the effect that is `ahead` effects away go wrong; 1 is the next.
    pub(super) fn fault(&self, ahead: u64, fault: Fault) {
        let mut state = self.state();
        state.fault = Some((state.effects + ahead, fault));
    }

    /// Nothing goes wrong from now on.
    pub(super) fn heal(&self) {
        self.state().fault = None;
    }

    /// Whether the power is on: a planned cut has not happened.
    pub(super) fn is_on(&self) -> bool {
        self.state().on
    }

    /// Loses power if it is on, and comes back with what survived.
    pub(super) fn power_on(&self) {
        let mut state = self.state();
        let state = &mut *state;
        for content in &mut state.files {
            for change in content.pending.drain(..) {
                change.survive(&mut content.durable, &mut state.random);
            }
            content.seen = content.durable.clone();
        }
        // Changes of names are lost in any subset too: no order is promised between two of them that were not synced.
        for change in state.pending_names.drain(..) {
            if state.random.below(2) == 0 {
                change.apply(&mut state.durable_names);
            }
        }
        state.names = state.durable_names.clone();
        (state.on, state.fault) = (true, None);
    }

    /// The content of a file.
    pub(super) fn content(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[name]].seen.clone()
    }

    /// Puts durable content in place of a file's.
    pub(super) fn set_content(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state();
        let file = state.names[name];
        state.files[file] = Content { seen: bytes.to_vec(), durable: bytes.to_vec(), pending: Vec::new() };
    }

    /// Decides anew what power loss leaves.
    pub(super) fn reseed(&self, seed: u64) {
        self.state().random = Random(seed);
    }

    /// Another medium that holds durably what is seen on this one.
    pub(super) fn copy(&self) -> Self {
        let copy = Self::new(1);
        let (from, mut to) = (self.state(), copy.state());
        for (name, &file) in &from.names {
            let seen = from.files[file].seen.clone();
            let number = to.files.len();
            to.files.push(Content { durable: seen.clone(), seen, pending: Vec::new() });
            to.names.insert(name.clone(), number);
        }
        to.durable_names = to.names.clone();
        drop(to);
        copy
    }
}

struct Locked(Medium);

impl Drop for Locked {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}

impl Storage for Medium {
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/medium").join(name)
    }

    fn create_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _holder: &str) -> io::Result<Result<Lock, String>> {
        let was_locked = std::mem::replace(&mut self.state().locked, true);
        Ok(if was_locked { Err("a test".into()) } else { Ok(Box::new(Locked(self.clone()))) })
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn StoredFile>>> {
        let file = self.state().names.get(name).copied();
        Ok(file.map(|file| Arc::new(Handle(self.clone(), file)) as Arc<dyn StoredFile>))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        let mut state = self.state();
        let file = match state.names.get(name).copied() {
            Some(file) => {
                state.change(file, Change::Truncate(0))?;
                file
            }
            None => {
                let file = state.files.len();
                state.files.push(Content::default());
                state.change_name(NameChange::Set(name.into(), file))?;
                file
            }
        };
        Ok(Arc::new(Handle(self.clone(), file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let file = state.names[from];
        state.change_name(NameChange::Rename(from.into(), to.into(), file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.state().change_name(NameChange::Remove(name.into()))
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state();
        fail(state.effect()?.filter(|&fault| fault != Fault::Full))?;
        let state = &mut *state;
        for change in state.pending_names.drain(..) {
            change.apply(&mut state.durable_names);
        }
        Ok(())
    }

    fn holder(&self) -> io::Result<Option<String>> {
        Ok(self.state().locked.then(|| "a test".into()))
    }

    fn within(&self, name: &str) -> io::Result<Arc<dyn Storage>> {
        Ok(Arc::new(Within(self.clone(), format!("{name}/"))))
    }
}

/// A directory within a medium: names that begin with its own.
#[derive(Debug)]
struct Within(Medium, String);

impl Within {
    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.1)
    }
}

impl Storage for Within {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path(&self.name(name))
    }

    fn create_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _holder: &str) -> io::Result<Result<Lock, String>> {
        unreachable!("nobody locks it")
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let names = self.0.names()?.into_iter();
        Ok(names.filter_map(|name| name.strip_prefix(&self.1).map(str::to_owned)).collect())
    }

    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn StoredFile>>> {
        self.0.open(&self.name(name))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        self.0.create(&self.name(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(&self.name(from), &self.name(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(&self.name(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.0.sync_directory()
    }

    fn holder(&self) -> io::Result<Option<String>> {
        Ok(None)
    }

    fn within(&self, name: &str) -> io::Result<Arc<dyn Storage>> {
        self.0.within(&self.name(name))
    }
}

#[derive(Debug)]
struct Handle(Medium, usize);

impl StoredFile for Handle {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.state().files[self.1].seen.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.0.state();
        let seen = &state.files[self.1].seen;
        let from = (offset as usize).min(seen.len());
        let read = buffer.len().min(seen.len() - from);
        buffer[..read].copy_from_slice(&seen[from..from + read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.state().change(self.1, Change::Write(offset as usize, bytes.to_vec()))
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        if length > self.length()? { self.0.state().change(self.1, Change::Allocate(length as usize)) } else { Ok(()) }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.state().change(self.1, Change::Truncate(length as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.state().sync(self.1)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.state().sync(self.1)
    }
}
