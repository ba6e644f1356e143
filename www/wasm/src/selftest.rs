//! Core's wire vectors, played in the browser. Compiled with the feature `selftest` alone.

use headwater_core::scope::Scope;
use headwater_core::store::Progress;
use headwater_core::store::memory::{MemoryOptions, MemoryStore};
use headwater_core::store::snapshot::SnapshotLimits;
use headwater_core::vectors;
use js_sys::Error;
use wasm_bindgen::prelude::wasm_bindgen;

/// Plays a wire vector and returns its outcome. `pieces` says how its bytes are handed over, as core numbers it.
///
/// # Errors
/// Throws an `Error` when the file is no vector.
#[wasm_bindgen]
pub fn vector(bytes: &[u8], pieces: u32) -> Result<String, Error> {
    let options = MemoryOptions { shards: 1, hash_seed: 7, snapshots: SnapshotLimits::default() };
    let store = MemoryStore::new(Progress::new(Scope::Everything), options);
    vectors::run(store, bytes, u64::from(pieces).into()).map_err(|error| Error::new(&error.to_string()))
}
