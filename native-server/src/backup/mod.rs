//! Backups: the whole state as of one position in a directory of its own, and the way back to a writer's log.
//!
//! A backup is a directory, so that its manifest can be read, and its lines looked at, with what every machine has:
//! `MANIFEST.json` ([`manifest`]), the state as the lines of a stream's baseline in `baseline.ndjson.zst`, and `SHA256SUMS`
//! over both. It is written under another name, read back and synced before it gets its own, so there is a whole one or
//! none ([`mod@write`]). Everything it says is checked when it is read ([`read`]), and before anything is made of it
//! ([`restore`]).
//!
//! Between two backups lie the records of the [`archive`], by which a state is brought forward ([`replay`]).
//!
//! A node makes backups of itself when a [`schedule`] says so ([`scheduled`]).
//!
//! Where a state comes from is the caller's business.

pub mod archive;
pub mod error;
mod hashing;
pub mod manifest;
pub mod read;
pub mod replay;
pub mod restore;
pub mod schedule;
pub mod scheduled;
pub mod source;
mod timer;
pub mod write;

pub use error::BackupError;
pub use manifest::Manifest;
