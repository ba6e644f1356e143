//! Which signatures were found to hold. To tell that takes several times as long as everything else that is done for a
//! read, and whoever has a token shows it with each request.

use super::token::TokenKey;
use alloc::collections::BTreeSet;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most that are remembered. Beyond, all are forgotten and told anew, as they are shown.
const REMEMBERED_MAX: usize = 4_096;

/// Remembers signatures that hold, by the hash of who signed, how, and what. None that does not: those are anybody's to
/// make, and no two alike.
#[derive(Debug, Default)]
pub struct Signatures(Mutex<BTreeSet<[u8; 32]>>);

impl Signatures {
    /// Whether this is `signer`'s signature under `text`.
    pub(super) fn holds(&self, signer: &TokenKey, signature: &Signature, text: &str) -> bool {
        let hash = Sha256::new().chain_update(signer.as_bytes()).chain_update(signature.to_bytes());
        let mark: [u8; 32] = hash.chain_update(text).finalize().into();
        if self.remembered().contains(&mark) {
            return true;
        }
        let holds = VerifyingKey::from_bytes(signer.as_bytes())
            .is_ok_and(|key| key.verify_strict(text.as_bytes(), signature).is_ok());
        if holds {
            let mut remembered = self.remembered();
            if remembered.len() >= REMEMBERED_MAX {
                remembered.clear();
            }
            remembered.insert(mark);
        }
        holds
    }

    fn remembered(&self) -> MutexGuard<'_, BTreeSet<[u8; 32]>> {
        // What is in it is true, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::token::signing_key;
    use alloc::format;
    use ed25519_dalek::Signer as _;

    #[test]
    fn what_holds_is_remembered_of_its_signer_and_text_alone_and_within_bounds() {
        let own = signing_key("s");
        let [signer, other] = ["s", "other"].map(TokenKey::of);
        let signatures = Signatures::default();
        let signature = own.sign(b"a.b");
        for _ in 0..2 {
            assert!(signatures.holds(&signer, &signature, "a.b"));
            assert!(!signatures.holds(&signer, &signature, "a.c"));
            assert!(!signatures.holds(&other, &signature, "a.b"));
            assert!(!signatures.holds(&signer, &own.sign(b"a.c"), "a.b"));
        }
        assert_eq!(signatures.remembered().len(), 1, "what does not hold is not kept");
        for number in 0..REMEMBERED_MAX {
            let text = format!("{number}");
            assert!(signatures.holds(&signer, &own.sign(text.as_bytes()), &text));
        }
        assert_eq!(signatures.remembered().len(), 1, "too many were forgotten");
        assert!(signatures.holds(&signer, &signature, "a.b"));
    }
}
