//! The browser replica: core's replica and read API as one JavaScript class.
//!
//! There is no logic here and no I/O: JavaScript opens the stream, hands over its bytes with the time of their arrival,
//! and asks what to show. Times are ms as JavaScript counts them; a "wall" time is `Date.now()`, a "mono" time comes from
//! a clock that only runs forward and counts sleep. Answers are core's own texts, so they equal those of every other
//! node byte for byte; nothing is parsed or built twice.

mod answer;
mod changes;
mod object;
#[cfg(feature = "selftest")]
pub mod selftest;
mod status;

use changes::Changes;
use headwater_core::api::{self, Conditions, ListQuery};
use headwater_core::clock::Now;
use headwater_core::command::EndReason;
use headwater_core::credentials::Grant;
use headwater_core::feed::FeedLimits;
use headwater_core::id::Id;
use headwater_core::node::{Node, NodeOptions, Role};
use headwater_core::replica::{self, Cause, Event, ReplicaOptions};
use headwater_core::scope::Scope;
use headwater_core::store::memory::{MemoryOptions, MemoryStore};
use headwater_core::store::snapshot::SnapshotLimits;
use headwater_core::store::{Progress, Store};
use js_sys::{Array, Error, Object};
use std::sync::Arc;
use wasm_bindgen::prelude::wasm_bindgen;

/// The label this replica gives itself; its instance tells tabs apart.
const LABEL: &str = "browser";

/// A browser has no children: nothing is kept for them.
const NO_FEED: FeedLimits = FeedLimits { bytes_max: 0, scope_bytes_max: 0, scopes_max: 0 };

/// A replica that keeps its state in memory.
#[wasm_bindgen]
pub struct Replica {
    replica: replica::Replica<MemoryStore>,
    changes: Changes,
    events: Vec<Event>,
    /// The page may read all that it was granted to hold.
    grant: Grant,
    /// What core made of the stream, once it judged it: it knows better than the shell why the stream is over.
    verdict: Option<Cause>,
}

#[wasm_bindgen]
impl Replica {
    /// A replica of `scope` (its JSON form) that holds nothing yet. `instance` is 32 hex digits and `hashSeed` 64 bits,
    /// both drawn at random by the caller.
    ///
    /// # Errors
    /// Throws an `Error` that says what is wrong with the scope or the instance.
    #[wasm_bindgen(constructor)]
    pub fn new(scope: &str, instance: &str, #[wasm_bindgen(js_name = hashSeed)] hash_seed: u64) -> Result<Self, Error> {
        let scope = Scope::from_json(scope).map_err(|error| Error::new(&error.to_string()))?;
        let instance: Id = instance.parse().map_err(|error| Error::new(&format!("{error}")))?;
        let options = MemoryOptions { shards: 1, hash_seed, snapshots: SnapshotLimits::default() };
        let store = MemoryStore::new(Progress::new(scope.clone()), options);
        let options = NodeOptions { feed: NO_FEED, ..NodeOptions::new(LABEL, instance, Role::Replica) };
        let node = Arc::new(Node::new(store, options));
        let replica = replica::Replica::new(node, ReplicaOptions { scope, parents: 1 });
        Ok(Self { replica, changes: Changes::default(), events: Vec::new(), grant: Grant::all(LABEL), verdict: None })
    }

    /// Begins a connection and returns the body to POST to `/v1/replicate`.
    pub fn request(&mut self, wall: f64, mono: f64) -> String {
        self.verdict = None;
        self.replica.request(now(wall, mono)).to_body()
    }

    /// Takes the next bytes of the answer's body, in any split. Returns whether the stream goes on: after `false` close
    /// it. What changed is then in [`Self::take_changes`].
    ///
    /// # Errors
    /// Throws an `Error` whose `name` is the offence's code and whose message explains it: close the stream.
    pub fn receive(&mut self, bytes: &[u8], wall: f64, mono: f64) -> Result<bool, Error> {
        let outcome = self.replica.receive(bytes, now(wall, mono), &mut self.events);
        for event in self.events.drain(..) {
            match event {
                Event::Applied(lines) => self.changes.lines(&lines),
                Event::Rebased { .. } => self.changes.everything(),
                // A narrower scope than before hides entries without a line.
                Event::Connected { .. } => self.changes.everything(),
                Event::Advanced(_) => {}
                Event::Ended(end) => self.verdict = Some(Cause::Ended(end)),
            }
        }
        outcome.map_err(|offence| {
            let error = Error::new(&offence.to_string());
            error.set_name(offence.code());
            self.verdict = Some(Cause::Offence(offence));
            error
        })?;
        Ok(self.verdict.is_none())
    }

    /// What changed since the last call: collection, key, collection, key, ...; a key of `null` stands for any key of
    /// the collection, a collection of `null` for anything. `undefined` when nothing did.
    #[wasm_bindgen(js_name = takeChanges)]
    pub fn take_changes(&mut self) -> Option<Array> {
        self.changes.take()
    }

    /// Why the node ended the stream in good order, in words; `undefined` when it did not.
    pub fn ended(&self) -> Option<String> {
        let Some(Cause::Ended(end)) = &self.verdict else { return None };
        let reason = end.reason.as_str();
        Some(match (end.reason, end.detail.as_str()) {
            (_, "") => reason.into(),
            (EndReason::Retry, detail) => detail.into(),
            (_, detail) => format!("{reason}, {detail}"),
        })
    }

    /// The connection is over, and why as far as the caller knows; returns the ms to wait before the next one.
    /// `retryAfter` is the header of a refusal, if it has one. `random` is 64 random bits and `freshInstance` 32 random hex digits, taken
    /// on when another tab turns out to use this replica's instance.
    ///
    /// # Errors
    /// Throws an `Error` when `freshInstance` is none.
    pub fn closed(
        &mut self,
        closing: Closing,
        #[wasm_bindgen(js_name = retryAfter)] retry_after: Option<String>,
        random: u64,
        #[wasm_bindgen(js_name = freshInstance)] fresh_instance: &str,
    ) -> Result<f64, Error> {
        let fresh_instance = fresh_instance.parse().map_err(|error| Error::new(&format!("{error}")))?;
        let cause = self.verdict.take().unwrap_or(match closing {
            Closing::Lost => Cause::Lost,
            Closing::Refused => Cause::Refused { retry_ms: api::retry_after_ms(retry_after.as_deref()) },
            Closing::Silent => Cause::Silent,
            Closing::Own => Cause::Own,
        });
        let retry = self.replica.closed(cause, random);
        if retry.new_instance {
            self.replica.node().set_instance(fresh_instance);
        }
        Ok(retry.after_ms as f64)
    }

    /// When, as a mono time, the connection counts as dead if no byte comes; infinite without a connection.
    #[wasm_bindgen(js_name = deadlineMs)]
    pub fn deadline_ms(&self) -> f64 {
        self.replica.deadline().map_or(f64::INFINITY, |ms| ms as f64)
    }

    /// How the replica is, as JSON; see README.md in `www`.
    pub fn status(&self, wall: f64, mono: f64) -> String {
        status::of_replica(&self.replica, now(wall, mono))
    }

    /// The collections held, in name order, as a JSON array of `{"name","keys","lastSeq","digest"}`.
    ///
    /// # Errors
    /// Throws an `Error` when the store fails.
    pub fn collections(&self) -> Result<String, Error> {
        let collections = self.replica.node().store().collections().map_err(|error| Error::new(&error.to_string()))?;
        Ok(status::of_collections(&collections))
    }

    /// Answers `GET /v1/collections/{collection}/keys` from this replica's state: `{status, headers, body}`.
    ///
    /// # Errors
    /// Throws an `Error` when the list could not be completed.
    pub fn list(
        &self,
        collection: &str,
        prefix: String,
        after: Option<String>,
        limit: Option<u32>,
        wall: f64,
        mono: f64,
    ) -> Result<Object, Error> {
        let query = ListQuery { prefix, after, limit: limit.map(|limit| limit as usize) };
        let now = now(wall, mono);
        let (node, position) = (self.replica.node(), self.replica.node().store().position());
        let answer = api::list(node, &self.grant, collection, &query, &Conditions::default(), now);
        answer::object(answer, position, node.lag_ms(now))
    }

    /// Answers `GET /v1/collections/{collection}/entry?key=` from this replica's state: `{status, headers, body}`.
    ///
    /// # Errors
    /// Throws an `Error` when JavaScript refuses the object, which no browser does.
    pub fn get(&self, collection: &str, key: &str, wall: f64, mono: f64) -> Result<Object, Error> {
        let now = now(wall, mono);
        let (node, position) = (self.replica.node(), self.replica.node().store().position());
        let answer = api::entry(node, &self.grant, collection, key, &Conditions::default(), now);
        answer::object(answer, position, node.lag_ms(now))
    }
}

/// Why a connection is over, as the page saw it.
#[wasm_bindgen]
#[derive(Clone, Copy)]
pub enum Closing {
    /// No connection came about, or it broke, or it ended.
    Lost,
    /// The node answered with a status that is no stream.
    Refused,
    /// The deadline passed.
    Silent,
    /// The page closed it itself.
    Own,
}

fn now(wall: f64, mono: f64) -> Now {
    Now { wall_ms: whole(wall), mono_ms: whole(mono) }
}

/// JavaScript's time or duration in whole ms; what is negative or no number counts as 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, which is meant")]
fn whole(ms: f64) -> u64 {
    ms as u64
}
