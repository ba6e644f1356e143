//! A medium that loses power, fails and lies, for tests: what was not synced survives in any subset and torn anywhere, and
//! where a write was under way anything may be found, also if the same bytes were there before.

mod seam;

use super::super::super::storage::Storage;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR_BYTES: usize = 512;

/// What happens at the chosen effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Power is lost while the effect is under way, and stays off until [`Medium::power_on`].
    PowerCut,
    /// The effect fails once. A write may be half done, a change of names done; a sync loses what it was to write, and that
    /// looks clean.
    Io,
    /// There is no room, until [`Medium::heal`]. A write may be half done.
    Full,
    /// There is no room, until [`Medium::heal`], and it is the syncs that notice: they lose what they were to write.
    FullAtSync,
    /// Renames fail, done or not, until [`Medium::heal`].
    Renames,
    /// A sync keeps nothing and says that it did.
    Lie,
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
    /// So many of them look durable though they are not: a sync of them failed or lied. With the next change all are dirty.
    names_look_clean: usize,
    effects: u64,
    /// How many effects went wrong.
    struck: u64,
    faults: Vec<(u64, Fault)>,
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
    /// Counts an effect; `Some` says how it goes wrong, if it is one that such a fault concerns.
    fn effect(&mut self, concerns: impl Fn(Fault) -> bool) -> io::Result<Option<Fault>> {
        if !self.on {
            return Err(io::Error::other("the power is off"));
        }
        self.effects += 1;
        let now = self.effects;
        let strikes = |&&(at, fault): &&(u64, Fault)| match fault {
            Fault::PowerCut | Fault::Io | Fault::Lie => at == now,
            Fault::Full | Fault::FullAtSync | Fault::Renames => at <= now,
        };
        let fault = self.faults.iter().filter(strikes).map(|&(_, fault)| fault).find(|&fault| concerns(fault));
        self.struck += u64::from(fault.is_some());
        self.on = fault != Some(Fault::PowerCut);
        Ok(fault)
    }

    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        let fault = self.effect(|fault| match fault {
            Fault::PowerCut | Fault::Io => true,
            // To remove a file takes no room.
            Fault::Full => !matches!(change, NameChange::Remove(_)),
            Fault::Renames => matches!(change, NameChange::Rename(..)),
            Fault::FullAtSync | Fault::Lie => false,
        })?;
        let is_done = match fault {
            None | Some(Fault::PowerCut) => true,
            Some(Fault::Io | Fault::Renames) => self.random.below(2) == 0,
            Some(_) => false,
        };
        if is_done {
            change.apply(&mut self.names);
            self.pending_names.push(change);
        }
        fail(fault)
    }

    fn change(&mut self, file: usize, change: Change) -> io::Result<()> {
        let fault = self.effect(|fault| match fault {
            Fault::PowerCut | Fault::Io => true,
            // A cut of the file needs no room.
            Fault::Full => !matches!(change, Change::Truncate(_)),
            Fault::FullAtSync => matches!(change, Change::Allocate(_)),
            Fault::Renames | Fault::Lie => false,
        })?;
        let change = match (fault, change) {
            (Some(Fault::Io | Fault::Full), Change::Write(offset, bytes)) => {
                let written = self.random.below(bytes.len());
                Change::Write(offset, bytes[..written].to_vec())
            }
            (Some(Fault::Io), Change::Truncate(_))
            | (Some(Fault::Io | Fault::Full | Fault::FullAtSync), Change::Allocate(_)) => {
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
        let fault = self.effect(concerns_syncs)?;
        let is_lost = self.random.below(2) == 0;
        let content = &mut self.files[file];
        match fault {
            None => {
                for change in content.pending.drain(..) {
                    change.apply(&mut content.durable);
                }
            }
            Some(Fault::PowerCut) => {}
            // A medium that lies may have it in a memory of its own, from where a later sync takes it.
            Some(Fault::Lie) if !is_lost => {}
            Some(_) => content.pending.clear(),
        }
        fail(fault)
    }

    fn sync_names(&mut self) -> io::Result<()> {
        let fault = self.effect(concerns_syncs)?;
        match fault {
            None if self.pending_names.len() == self.names_look_clean => {}
            None => {
                for change in self.pending_names.drain(..) {
                    change.apply(&mut self.durable_names);
                }
                self.names_look_clean = 0;
            }
            Some(Fault::PowerCut) => {}
            Some(_) => self.names_look_clean = self.pending_names.len(),
        }
        fail(fault)
    }
}

fn concerns_syncs(fault: Fault) -> bool {
    !matches!(fault, Fault::Full | Fault::Renames)
}

fn fail(fault: Option<Fault>) -> io::Result<()> {
    match fault {
        None | Some(Fault::Lie) => Ok(()),
        Some(Fault::Full | Fault::FullAtSync) => Err(io::ErrorKind::StorageFull.into()),
        Some(Fault::Io | Fault::PowerCut | Fault::Renames) => Err(io::Error::other("injected")),
    }
}

impl Medium {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            names_look_clean: 0,
            effects: 0,
            struck: 0,
            faults: Vec::new(),
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
        let at = state.effects + ahead;
        state.faults = vec![(at, fault)];
    }

    /// As [`Medium::fault`], beside what was planned already.
    pub(super) fn also(&self, ahead: u64, fault: Fault) {
        let mut state = self.state();
        let at = state.effects + ahead;
        state.faults.push((at, fault));
    }

    /// Nothing goes wrong from now on.
    pub(super) fn heal(&self) {
        self.state().faults.clear();
    }

    /// How many effects there were.
    pub(super) fn effects(&self) -> u64 {
        self.state().effects
    }

    /// How many effects went wrong.
    pub(super) fn struck(&self) -> u64 {
        self.state().struck
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
        (state.on, state.names_look_clean) = (true, 0);
        state.faults.clear();
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
