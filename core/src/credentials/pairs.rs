//! The pair that was shown last, for whoever hears the same one again and again.

use super::{CREDENTIAL_BYTES_MAX, Grant, Proof, SecretHash, key_of, opened};
use crate::record::Record;
use crate::store::{Store, StoreError};
use alloc::sync::Arc;
use std::sync::{Mutex, PoisonError};

/// Remembers what the pair that was right last was granted, and by which entry, so that its key is not read anew with each
/// request of a connection. It is asked for all the same whether the entry is still that one, so a change of the key counts
/// at once.
#[derive(Debug, Default)]
pub struct PairMemory(Mutex<Option<Known>>);

#[derive(Debug)]
struct Known {
    entry: Record,
    grant: Arc<Grant>,
}

impl PairMemory {
    /// What the pair grants by the keys `store` holds; `None` when it is wrong, which takes as long whatever is wrong with
    /// it. `wall_ms` is the time now, Unix ms.
    ///
    /// # Errors
    /// When the store fails.
    pub fn verify<S: Store>(
        &self,
        store: &S,
        apikey: &str,
        secret: &str,
        wall_ms: u64,
    ) -> Result<Option<Arc<Grant>>, StoreError> {
        if apikey.len() > CREDENTIAL_BYTES_MAX || secret.len() > CREDENTIAL_BYTES_MAX {
            return Ok(None);
        }
        let hash = SecretHash::of(secret);
        let entry = key_of(store, apikey)?;
        // Whoever panicked: what is in it is true.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*known
            && known.proves(entry.as_ref(), &hash, wall_ms)
        {
            return Ok(Some(Arc::clone(&known.grant)));
        }
        let grant = opened(entry.as_ref(), apikey, hash, wall_ms).map(Arc::new);
        if let (Some(grant), Some(entry)) = (&grant, entry) {
            *known = Some(Known { entry, grant: Arc::clone(grant) });
        }
        Ok(grant)
    }
}

impl Known {
    /// Whether what was granted follows from this, too. An entry knows its key, so a pair of another one has another entry.
    /// Whoever shows a wrong secret does not get as far as to the entry, so it takes as long whether there is one.
    fn proves(&self, entry: Option<&Record>, shown: &SecretHash, wall_ms: u64) -> bool {
        let Proof::Secret { hash, until_ms } = &self.grant.proof else { return false };
        bool::from(hash.equals(shown))
            && until_ms.is_none_or(|until_ms| wall_ms < until_ms)
            && entry == Some(&self.entry)
    }
}
