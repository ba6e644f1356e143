//! Core's suite for stores, run on a real object's database in the real runtime, and what only this store promises.
//! Compiled with the feature `selftest` alone.

mod busy;
mod load;

use crate::sql::Sql;
use crate::store::SqliteStore;
use busy::Busy;
use headwater_core::id::Id;
use headwater_core::position::Position;
use headwater_core::record::{Parts, Record};
use headwater_core::scope::Scope;
use headwater_core::store::{Collection, Effect, Snapshot, SnapshotError, Store, StoreError, Write, model};
use headwater_core::vectors::{self, Pieces};
use std::cell::Cell;
use std::ops::Bound;
use worker::{Request, Response, Result, State};

/// Answers the routes of the self-test; everything in the object's database is lost.
pub(crate) async fn answer(state: &State, request: &mut Request) -> Result<Option<Response>> {
    let url = request.url()?;
    let Some(name) = url.path().strip_prefix("/__selftest/") else {
        return Ok(None);
    };
    let number = |name: &str, default: u64| {
        let pairs = url.query_pairs().find(|pair| pair.0 == name);
        pairs.and_then(|pair| pair.1.parse().ok()).unwrap_or(default)
    };
    let database = Database(state);
    let outcome = match name {
        "model" => database.model(number("seed", 1), number("seeds", 1), number("steps", 2_000) as usize),
        "long" => database.long_values(),
        "keys" => database.keys(),
        "atomic" => database.atomic(),
        "vector" => {
            let vector = request.bytes().await?;
            return Ok(Some(match database.vector(&vector, number("pieces", 0).into()) {
                Ok(outcome) => Response::ok(outcome)?,
                Err(said) => Response::error(said, 500)?,
            }));
        }
        "load" => database.load(number("keys", 100_000)),
        _ => return Ok(Some(Response::error("no such test", 404)?)),
    };
    Ok(Some(match outcome {
        Ok(said) => Response::ok(format!("ok {said}\n"))?,
        Err(said) => Response::error(format!("{said}\n"), 500)?,
    }))
}

type Outcome = std::result::Result<String, String>;

struct Database<'a>(&'a State);

fn failed(error: StoreError) -> String {
    error.to_string()
}

impl Database<'_> {
    fn sql(&self) -> Sql {
        Sql::new(&self.0.storage())
    }

    fn open(&self) -> std::result::Result<SqliteStore, String> {
        SqliteStore::open(self.sql(), Scope::Everything, Id::from_bytes([7; 16])).map_err(failed)
    }

    fn empty(&self) -> std::result::Result<SqliteStore, String> {
        for table in ["meta", "collections", "entries", "pieces", "garbage"] {
            self.sql().run(&format!("DROP TABLE IF EXISTS {table}"), &[]).map_err(failed)?;
        }
        self.open()
    }

    /// Plays a wire vector and returns its outcome.
    fn vector(&self, vector: &[u8], pieces: Pieces) -> Outcome {
        let store = Busy { store: self.empty()?, chance: Cell::new(1), late: false };
        vectors::run(store, vector, pieces).map_err(|error| error.to_string())
    }

    fn model(&self, first: u64, seeds: u64, steps: usize) -> Outcome {
        for seed in first..first + seeds {
            let store = Busy { store: self.empty()?, chance: Cell::new(seed), late: seed % 2 == 1 };
            let reopen = |old: Busy| {
                // An eviction: what is pending is lost by design, and comes again from the parent. The suite wants it kept.
                old.store.flush().expect("the database takes what was applied");
                Busy { store: self.open().expect("the tables are readable"), ..old }
            };
            model::run(store, reopen, seed, steps)?;
        }
        Ok(format!("{seeds} seeds of {steps} steps"))
    }

    /// Texts around the bounds of a row and of a batch come back as they were, from memory and from the tables.
    fn long_values(&self) -> Outcome {
        let store = self.empty()?;
        let mut writer = Writer::new(&store)?;
        let mut expected = Vec::new();
        let kinds = [("ascii", "a"), ("wide", "é\u{1f600}"), ("escaped", "\\\"")];
        let around_the_bounds = [1, 65_530, 65_540, 1_799_990, 1_800_001].map(|bytes| (bytes, &kinds[..]));
        // The longest that a writer can be set up to take; once is enough for the disk.
        let longest = [(8 << 20, &kinds[1..2])];
        for (n, (bytes, kinds)) in around_the_bounds.into_iter().chain(longest).enumerate() {
            for (kind, filler) in kinds {
                let value = format!("\"{}\"", filler.repeat(bytes / filler.len() + 1));
                let extra = format!(",\"x\":\"{}\"", filler.repeat(n * 7));
                expected.push(writer.set(&format!("{kind}-{n}"), &value, &extra)?);
            }
        }
        let check = |store: &SqliteStore, when: &str| {
            for record in &expected {
                let found = store.record("c", record.key()).map_err(failed)?;
                if found.as_ref() != Some(record) {
                    return Err(format!("{} differs {when}", record.key()));
                }
            }
            let mut sorted = expected.clone();
            sorted.sort_by(|a, b| a.key().cmp(b.key()));
            if scan_all(store)? != sorted {
                return Err(format!("a scan differs {when}"));
            }
            Ok(())
        };
        check(&store, "while pending")?;
        store.flush().map_err(failed)?;
        check(&store, "behind the cache")?;
        let store = self.open()?;
        check(&store, "after a restart")?;
        // Staged over themselves they are no difference; shortened they are, and pieces go; and they come back.
        let facts = store.collections().map_err(failed)?;
        for shortened in [false, true, false] {
            let mut records: Vec<Record> =
                expected.iter().map(|r| if shortened { short(r) } else { r.clone() }).collect();
            records.sort_by(|a, b| a.key().cmp(b.key()));
            store.stage().map_err(failed)?;
            store.stage_records("c", &records).map_err(failed)?;
            store.swap(facts.clone(), &store.progress()).map_err(failed)?;
            if scan_all(&store)? != records {
                return Err(format!("the swapped baseline differs, shortened: {shortened}"));
            }
            while store.fold_step(7).map_err(failed)? {}
            if scan_all(&store)? != records {
                return Err(format!("the folded baseline differs, shortened: {shortened}"));
            }
            let rows = self.count("pieces")?;
            if (rows == 0) != shortened {
                return Err(format!("{rows} pieces, shortened: {shortened}"));
            }
        }
        let parts = self.sql().rows("SELECT DISTINCT part FROM entries", &[], |row| row.number(0)).map_err(failed)?;
        if parts.len() != 1 || self.count("garbage")? != 0 {
            return Err(format!("{parts:?} are left"));
        }
        Ok(format!("{} values", expected.len()))
    }

    fn count(&self, table: &str) -> std::result::Result<u64, String> {
        let count = self.sql().row(&format!("SELECT count(*) FROM {table}"), &[], |row| row.number(0));
        Ok(count.map_err(failed)?.unwrap_or(0))
    }

    /// A flush or swap that fails in its last statement leaves nothing behind, loses nothing, and succeeds when repeated.
    fn atomic(&self) -> Outcome {
        let store = self.empty()?;
        let mut writer = Writer::new(&store)?;
        let first = writer.set("a", "1", "")?;
        store.flush().map_err(failed)?;
        let stored = store.position();
        let second = writer.set("b", "2", "")?;
        // Progress is what is stored last.
        let break_it = || self.sql().run("ALTER TABLE meta RENAME TO away", &[]).map_err(failed);
        let mend_it = || self.sql().run("ALTER TABLE away RENAME TO meta", &[]).map_err(failed);
        let expect = |what: &str, holds: bool| if holds { Ok(()) } else { Err(format!("{what} does not hold")) };
        break_it()?;
        expect("a refused flush says so", store.flush().is_err())?;
        mend_it()?;
        let restarted = self.open()?;
        expect("the stored position stays", restarted.position() == stored)?;
        expect("the stored entries stay", scan_all(&restarted)? == [first.clone()])?;
        expect("what is pending is served", scan_all(&store)? == [first.clone(), second.clone()])?;
        store.flush().map_err(failed)?;
        let restarted = self.open()?;
        expect("a flush succeeds when repeated", restarted.position() == store.position())?;
        expect("with all that was pending", scan_all(&restarted)? == [first, second])?;

        let before = scan_all(&store)?;
        let facts = store.collections().map_err(failed)?;
        let staged: Vec<Record> = before.iter().map(short).collect();
        store.stage().map_err(failed)?;
        store.stage_records("c", &staged[..1]).map_err(failed)?;
        break_it()?;
        expect("a refused swap says so", store.swap(facts.clone(), &store.progress()).is_err())?;
        mend_it()?;
        expect("the state stays", scan_all(&store)? == before && scan_all(&self.open()?)? == before)?;
        while store.fold_step(100).map_err(failed)? {}
        expect("what was staged is swept", self.count("entries")? == 2 && self.count("garbage")? == 0)?;
        Ok("a failed flush and a failed swap".into())
    }

    /// Keys and numbers that databases respell, cut or order otherwise.
    fn keys(&self) -> Outcome {
        let store = self.empty()?;
        let mut writer = Writer::new(&store)?;
        let keys = [
            "\0",
            "\0\0",
            "a",
            "a\0",
            "a\0b",
            "ab",
            "Z",
            "é",
            "\u{e000}",
            "\u{ffff}",
            "\u{1f600}",
            "1",
            "01",
            "\"",
            "\\u0000",
            "%",
            "[1]",
            "null",
        ];
        let values = [
            "665e70",
            "1.0",
            "-0",
            "1e-400",
            "9007199254740993",
            "\"\\u0000\"",
            "\"\0\"",
            "null",
            "\"\\ud83d\\ude00\"",
            "0.1e1",
        ];
        let mut expected = Vec::new();
        for (n, key) in keys.iter().enumerate() {
            expected.push(writer.set(key, values[n % values.len()], "")?);
        }
        expected.sort_by(|a, b| a.key().as_bytes().cmp(b.key().as_bytes()));
        store.flush().map_err(failed)?;
        let store = self.open()?;
        let found = scan_all(&store)?;
        if found != expected {
            return Err(format!("expected {expected:?}, found {found:?}"));
        }
        for record in &expected {
            if store.record("c", record.key()).map_err(failed)?.as_ref() != Some(record) {
                return Err(format!("{:?} is not found", record.key()));
            }
        }
        Ok(format!("{} keys", keys.len()))
    }
}

fn short(record: &Record) -> Record {
    Record::new(Parts {
        key: record.key(),
        value: "1",
        seq: record.seq(),
        version: record.version(),
        timestamp: record.timestamp(),
        extra: "",
    })
}

fn scan_all(store: &SqliteStore) -> std::result::Result<Vec<Record>, String> {
    let snapshot = store.snapshot().map_err(|error| error.to_string())?;
    let mut records: Vec<Record> = Vec::new();
    let mut from: Option<String> = None;
    loop {
        let bound = from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let page = snapshot.scan("c", bound, 1_000).map_err(|error: SnapshotError| error.to_string())?;
        records.extend(page.records);
        match page.next {
            None => return Ok(records),
            next => from = next,
        }
    }
}

/// Writes entries of one collection, new each.
struct Writer<'a> {
    store: &'a SqliteStore,
    facts: Collection,
}

impl<'a> Writer<'a> {
    fn new(store: &'a SqliteStore) -> std::result::Result<Self, String> {
        let facts = Collection::new("c".into(), 1);
        store.apply(&Effect::Create(facts.clone()), Position { epoch: 1, seq: 1 }, 1).map_err(failed)?;
        Ok(Self { store, facts })
    }

    fn set(&mut self, key: &str, value: &str, extra: &str) -> std::result::Result<Record, String> {
        let seq = self.facts.last_seq + 1;
        let record = Record::new(Parts { key, value, seq, version: 1, timestamp: 1_763_650_000_000 + seq, extra });
        let old = self.store.record("c", key).map_err(failed)?;
        let after = Collection { keys: self.facts.keys + 1, last_seq: seq, ..self.facts.clone() };
        let writes = [Write { key, old, new: Some(record.clone()) }];
        let effect = Effect::Write { before: &self.facts, after: after.clone(), writes: &writes };
        self.store.apply(&effect, Position { epoch: 1, seq }, 1).map_err(failed)?;
        self.facts = after;
        Ok(record)
    }
}
