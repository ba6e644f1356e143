//! A suite that every store passes: random commands, applied to a store and to a simple model, and everything the trait
//! shows compared.
//!
//! Deterministic: a failure names the seed and the step, and the same seed fails at the same step again. It uses nothing
//! but the trait, so that it runs wherever the store runs. What only one store promises is tested beside that store.

mod picture;
mod random;

use super::{Collection, Effect, Progress, Snapshot, SnapshotError, Store, StoreError, Write};
use crate::freshness::ClockOffset;
use crate::id::Id;
use crate::position::{EpochStart, EpochTable, Position, Term};
use crate::record::Record;
use crate::scope::Scope;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;
use picture::{Picture, Walk, brief, random_record};
use random::{NAMES, Random};

/// Snapshots that a run holds open at one time; a store must allow as many.
pub const SNAPSHOTS_MAX: usize = 4;

/// Runs `steps` random steps against `store`, which holds nothing and has the progress that [`Progress::new`] gives for
/// the scope `"**"`.
///
/// `reopen` gives the store up and opens it again from its medium; a store without one is handed back as it is.
/// Snapshots opened before a baseline is swapped in may answer [`SnapshotError::Gone`] from then on, others must not.
///
/// # Errors
/// The first difference from the model, with the seed and the step to repeat it.
pub fn run<S: Store>(store: S, reopen: impl FnMut(S) -> S, seed: u64, steps: usize) -> Result<(), String> {
    let mut run = Run::new(store, reopen, seed);
    for step in 0..steps {
        run.step().map_err(|what| format!("seed {seed}, step {step}: {what}"))?;
    }
    run.check_all().map_err(|what| format!("seed {seed}, after {steps} steps: {what}"))
}

struct Run<S: Store, R> {
    /// `None` only while it is being reopened.
    store: Option<S>,
    reopen: R,
    random: Random,
    model: Picture,
    open: Vec<Opened<S::Snapshot>>,
}

/// A snapshot, what it must show, and how far it has been read.
struct Opened<P> {
    snapshot: P,
    picture: Picture,
    walk: Option<Walk>,
    may_be_gone: bool,
}

fn failed(error: StoreError) -> String {
    format!("{error}")
}

impl<S: Store, R: FnMut(S) -> S> Run<S, R> {
    fn new(store: S, reopen: R, seed: u64) -> Self {
        let model = Picture { progress: Progress::new(Scope::Everything), collections: BTreeMap::new() };
        Self { store: Some(store), reopen, random: Random(seed), model, open: Vec::new() }
    }

    fn store(&self) -> &S {
        self.store.as_ref().expect("only missing while it is reopened")
    }

    fn step(&mut self) -> Result<(), String> {
        match self.random.among(0..100) {
            0..45 => self.write()?,
            45..50 => self.create()?,
            50..53 => self.drop_collection()?,
            53..56 => self.set_progress()?,
            56 if self.random.once_in(2) => self.baseline()?,
            57 => self.reopen(),
            58..66 => self.open_snapshot()?,
            66..69 if !self.open.is_empty() => {
                let index = self.random.among(0..self.open.len() as u64) as usize;
                self.open.swap_remove(index);
            }
            _ => self.read_snapshot()?,
        }
        self.check_something()
    }

    fn next_position(&mut self) -> Position {
        let Position { epoch, seq } = self.model.progress.position;
        Position { epoch, seq: seq + if self.random.once_in(10) { self.random.among(1..100) } else { 1 } }
    }

    fn apply(&mut self, effect: &Effect<'_>, position: Position) -> Result<(), String> {
        let timestamp = self.model.progress.timestamp + self.random.among(0..3);
        self.store().apply(effect, position, timestamp).map_err(failed)?;
        (self.model.progress.position, self.model.progress.timestamp) = (position, timestamp);
        Ok(())
    }

    /// Any command that finds its collection: one entry, a batch, or one of a type unknown here, which writes none.
    fn write(&mut self) -> Result<(), String> {
        let position = self.next_position();
        let name = String::from(*self.random.pick(NAMES));
        if !self.model.collections.contains_key(&name) {
            return self.apply(&Effect::None, position);
        }
        let count = match self.random.among(0..10) {
            0 => 0,
            1 | 2 => self.random.among(2..30),
            _ => 1,
        };
        let keys: BTreeSet<String> = (0..count).map(|_| self.random.key()).collect();
        let writes: Vec<Write<'_>> = keys
            .iter()
            .map(|key| {
                let new = (!self.random.once_in(3)).then(|| random_record(&mut self.random, key, position.seq));
                Write { key, old: self.model.record(&name, key).cloned(), new }
            })
            .collect();
        let before = self.model.write(&name, &writes, position.seq);
        let after = self.model.collections[&name].0.clone();
        self.apply(&Effect::Write { before: &before, after, writes: &writes }, position)?;
        writes.iter().try_for_each(|write| self.check_record(&name, write.key))
    }

    fn create(&mut self) -> Result<(), String> {
        let position = self.next_position();
        let name = *self.random.pick(NAMES);
        if self.model.collections.contains_key(name) {
            return Ok(());
        }
        let facts = Collection::new(name.into(), position.seq);
        self.model.collections.insert(name.into(), (facts.clone(), BTreeMap::new()));
        self.apply(&Effect::Create(facts), position)
    }

    fn drop_collection(&mut self) -> Result<(), String> {
        let position = self.next_position();
        match self.model.collections.remove(*self.random.pick(NAMES)) {
            None => Ok(()),
            Some((facts, _)) => self.apply(&Effect::Drop(&facts), position),
        }
    }

    fn set_progress(&mut self) -> Result<(), String> {
        let random = &mut self.random;
        let progress = &mut self.model.progress;
        match random.among(0..6) {
            0 => {
                let start = EpochStart { epoch: progress.position.epoch + 1, first: progress.position.seq + 1 };
                progress.position = Position { epoch: start.epoch, seq: start.first };
                progress.epoch_highest = start.epoch;
                let known = progress.epochs.starts().iter().copied().rev().take(2).rev();
                let known = known.filter(|held| held.epoch < start.epoch && held.first < start.first);
                let starts: Vec<_> = known.chain([start]).collect();
                progress.epochs = Arc::new(EpochTable::new(starts).expect("each start is above the one before"));
            }
            1 => progress.scope = Scope::from_json(r#"{"a":["","x"],"prices":["eu:","\u0000é"]}"#).expect("a scope"),
            2 => progress.scope = if random.once_in(2) { Scope::Public } else { Scope::Everything },
            3 => progress.cluster = (!random.once_in(3)).then(|| Id::from_bytes([random.among(0..256) as u8; 16])),
            4 => progress.requires = (0..random.among(0..3)).map(|n| format!("feature-{n}-é\"")).collect(),
            _ => {
                progress.complete = random.once_in(2);
                progress.baseline_due = random.once_in(2);
                (progress.takeover, progress.takeover_highest) = (random.among(0..3), random.among(0..1 << 53));
                progress.at = random.among(0..1 << 53);
                progress.clock_offset = random.once_in(2).then(|| ClockOffset {
                    term: Term { takeover: random.among(0..3), epoch: random.among(1..1 << 40) },
                    ms: random.among(0..1 << 40) as i64 - (1 << 39),
                });
            }
        }
        self.store().set_progress(&self.model.progress).map_err(failed)
    }

    /// A baseline that comes whole, or is cut short and perhaps begun again. No command comes in between.
    fn baseline(&mut self) -> Result<(), String> {
        loop {
            let staged = self.model.altered(&mut self.random);
            let cut_short = self.random.once_in(2);
            self.store().stage().map_err(failed)?;
            self.stage_entries(&staged, cut_short)?;
            if !cut_short {
                self.store().swap(staged.facts(), &staged.progress).map_err(failed)?;
                self.model = staged;
                self.open.iter_mut().for_each(|opened| opened.may_be_gone = true);
                return self.check_all();
            }
            match self.random.among(0..3) {
                0 => {}
                1 => {
                    self.reopen();
                    return self.check_all();
                }
                _ => {
                    self.store().unstage().map_err(failed)?;
                    return self.check_all();
                }
            }
        }
    }

    fn stage_entries(&mut self, staged: &Picture, cut_short: bool) -> Result<(), String> {
        for (name, (_, entries)) in &staged.collections {
            let mut left: Vec<Record> = entries.values().cloned().collect();
            loop {
                let rest = left.split_off(left.len().min(self.random.among(0..12) as usize));
                self.store().stage_records(name, &left).map_err(failed)?;
                if cut_short && self.random.once_in(20) {
                    return Ok(());
                }
                if self.random.once_in(4) {
                    self.read_snapshot()?;
                    self.check_something()?;
                }
                if rest.is_empty() {
                    break;
                }
                left = rest;
            }
        }
        Ok(())
    }

    fn reopen(&mut self) {
        self.open.clear();
        self.store = self.store.take().map(|store| (self.reopen)(store));
    }

    fn open_snapshot(&mut self) -> Result<(), String> {
        if self.open.len() >= SNAPSHOTS_MAX {
            return Ok(());
        }
        let snapshot = self.store().snapshot().map_err(|error| format!("no snapshot: {error}"))?;
        self.open.push(Opened { snapshot, picture: self.model.clone(), walk: None, may_be_gone: false });
        Ok(())
    }

    /// Reads one page of some open snapshot.
    fn read_snapshot(&mut self) -> Result<(), String> {
        if self.open.is_empty() {
            return Ok(());
        }
        let random = &mut self.random;
        let index = random.among(0..self.open.len() as u64) as usize;
        let opened = &mut self.open[index];
        let from = match random.among(0..4) {
            0 => Bound::Included(random.key()),
            1 => Bound::Excluded(random.key()),
            _ => Bound::Unbounded,
        };
        let limit = if random.once_in(4) { 300 } else { random.among(1..8) as usize };
        let name = random.pick(NAMES);
        if !opened.read_page(name, from, limit)? {
            self.open.swap_remove(index);
        }
        Ok(())
    }

    fn check_record(&self, collection: &str, key: &str) -> Result<(), String> {
        let found = self.store().record(collection, key).map_err(failed)?;
        let expected = self.model.record(collection, key);
        if found.as_ref() == expected {
            return Ok(());
        }
        Err(format!("{key:?} of {collection:?}: expected {}, found {}", brief(expected), brief(found.as_ref())))
    }

    /// A few cheap comparisons, and now and then all of them.
    fn check_something(&mut self) -> Result<(), String> {
        if self.random.once_in(50) {
            return self.check_all();
        }
        same("position", &self.store().position(), &self.model.progress.position)?;
        let name = *self.random.pick(NAMES);
        let facts = self.store().collection(name).map_err(failed)?;
        same(name, &facts.as_ref(), &self.model.collections.get(name).map(|(facts, _)| facts))?;
        let key = self.random.key();
        self.check_record(name, &key)
    }

    fn check_all(&mut self) -> Result<(), String> {
        same("progress", &self.store().progress(), &self.model.progress)?;
        same("collections", &self.store().collections().map_err(failed)?, &self.model.facts())?;
        if self.open.len() >= SNAPSHOTS_MAX {
            self.open.pop();
        }
        self.open_snapshot()?;
        let mut opened = self.open.pop().expect("just opened");
        for name in NAMES {
            opened.walk = None;
            let mut more = true;
            while more {
                more = opened.read_page(name, Bound::Unbounded, 16)? && opened.walk.is_some();
            }
            let keys: Vec<String> =
                opened.picture.range(name, Bound::Unbounded).iter().map(|r| r.key().into()).collect();
            keys.iter().try_for_each(|key| self.check_record(name, key))?;
        }
        Ok(())
    }
}

impl<P: Snapshot> Opened<P> {
    /// Reads on where the walk stands, or begins one. Returns `false` when the snapshot is rightly gone.
    fn read_page(&mut self, name: &str, from: Bound<String>, limit: usize) -> Result<bool, String> {
        same("progress of a snapshot", self.snapshot.progress(), &self.picture.progress)?;
        same("collections of a snapshot", &self.snapshot.collections(), &self.picture.facts().as_slice())?;
        let walk = self.walk.get_or_insert_with(|| Walk::new(&self.picture, name, from));
        match self.snapshot.scan(&walk.collection, walk.from(), limit) {
            Ok(page) => {
                let more = walk.check(&page, limit);
                let at = self.picture.progress.position;
                if !more.map_err(|what| format!("in the snapshot as of {at}, {what}"))? {
                    self.walk = None;
                }
                Ok(true)
            }
            Err(SnapshotError::Gone) if self.may_be_gone => Ok(false),
            Err(error) => Err(format!("the snapshot as of {} cannot be read: {error}", self.picture.progress.position)),
        }
    }
}

fn same<T: PartialEq + core::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: expected {expected:?}, found {found:?}")) }
}
