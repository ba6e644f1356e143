//! What a first start makes: the data directory, the node's instance, and the first pair of credentials.

use crate::random;
use crate::wal::storage::private_directory;
use headwater_core::credentials::{Rights, StoredKey, Verifier};
use headwater_core::id::Id;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

const INSTANCE_FILE: &str = "instance";

/// Makes the data directory, for its owner only, if it is missing.
///
/// # Errors
/// The system's.
pub(crate) fn data_directory(data: &Path) -> io::Result<()> {
    private_directory(data)
}

/// The node's instance: the one stored in `data`, or a new one that is stored there now.
///
/// # Errors
/// The system's, or a file that holds no id.
pub(crate) fn instance(data: &Path) -> io::Result<Id> {
    match fs::read_to_string(data.join(INSTANCE_FILE)) {
        Ok(text) => text.trim().parse().map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let instance = random::id();
            store_instance(data, instance)?;
            Ok(instance)
        }
        Err(error) => Err(error),
    }
}

/// Stores another instance, durably and as one step.
///
/// # Errors
/// The system's; the old one stays.
pub(crate) fn store_instance(data: &Path, instance: Id) -> io::Result<()> {
    let beside = data.join("instance.new");
    let mut file = File::create(&beside)?;
    writeln!(file, "{instance}")?;
    file.sync_all()?;
    fs::rename(&beside, data.join(INSTANCE_FILE))?;
    File::open(data)?.sync_all()
}

/// The first pair, with every role. Its secret exists here and on the terminal only.
#[derive(Clone)]
pub(crate) struct AdminPair {
    pub(crate) apikey: String,
    secret: String,
}

impl AdminPair {
    /// Draws a pair.
    pub(crate) fn draw() -> Self {
        Self { apikey: format!("admin-{}", &random::id().to_string()[..12]), secret: random::secret() }
    }

    /// The value of its entry in the system collection of keys, made now (Unix ms).
    pub(crate) fn stored_value(&self, now_ms: u64) -> String {
        StoredKey::new(Some(Verifier::of(&self.secret)), Rights::all(), now_ms).to_json()
    }

    /// Shows it to the person who starts the node, before it is stored: a pair that is good was always seen.
    ///
    /// # Errors
    /// When stdout takes nothing: do not store the pair then.
    pub(crate) fn show(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "The first pair of credentials, with all roles. It is shown only this once:")?;
        writeln!(out, "  HEADWATER_APIKEY={}", self.apikey)?;
        writeln!(out, "  HEADWATER_SECRET={}", self.secret)?;
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instance_stays_until_another_is_stored() {
        let data = tempfile::tempdir().unwrap();
        let first = instance(data.path()).unwrap();
        assert_eq!(instance(data.path()).unwrap(), first);
        let second = random::id();
        store_instance(data.path(), second).unwrap();
        assert_eq!(instance(data.path()).unwrap(), second);
    }

    #[test]
    fn a_damaged_instance_is_no_reason_to_invent_one() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join(INSTANCE_FILE), "x").unwrap();
        assert!(instance(data.path()).is_err());
    }

    #[test]
    fn the_first_pair_may_do_everything() {
        let pair = AdminPair::draw();
        let value = pair.stored_value(1);
        assert!(pair.secret.len() == 64 && !value.contains(&pair.secret));
        assert!(["read", "write", "admin", "node"].iter().all(|role| value.contains(role)), "{value}");
    }
}
