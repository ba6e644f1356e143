//! Which signatures were found to hold. To tell that takes several times as long as everything else that is done for a
//! read, and whoever has a token shows it with each request.

use super::token::{Token, TokenKey};
use alloc::collections::BTreeSet;
use sha2::{Digest as _, Sha256};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most that are remembered. Beyond, all are forgotten and told anew, as they are shown.
const REMEMBERED_MAX: usize = 4_096;

/// Remembers signatures that hold, by the hash of who signed, how, and what. None that does not: those are anybody's to
/// make, and no two alike.
#[derive(Debug, Default)]
pub struct Signatures(Mutex<BTreeSet<[u8; 32]>>);

/// What is done about a signature that is not remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checks {
    /// It is checked.
    All,
    /// It counts as wrong: it was checked a moment ago.
    RememberedAlone,
}

impl Signatures {
    /// Whether `token` has this signer's signature.
    pub(super) fn holds(&self, signer: &TokenKey, token: &Token<'_>, checks: Checks) -> bool {
        let mark: [u8; 32] = token.hash_into(Sha256::new().chain_update(signer.as_bytes())).finalize().into();
        if self.remembered().contains(&mark) {
            return true;
        }
        let holds = checks == Checks::All && token.is_signed_by(signer);
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
    use crate::credentials::{Claims, Rights, Role};
    use crate::id::Id;

    #[test]
    fn what_holds_is_remembered_of_its_signer_and_text_alone_and_within_bounds() {
        let claims = |issued_s| {
            let rights = Rights::of([Role::Read]);
            Claims { cluster: Id::from_bytes([7; 16]), rights, issued_s, until_s: issued_s + 1 }
        };
        let [own, other] = ["s", "other"].map(TokenKey::of);
        let [first, second] = [claims(1).sign("k", "s"), claims(2).sign("k", "s")];
        let (text, _) = second.rsplit_once('.').unwrap();
        let mixed = alloc::format!("{text}.{}", first.rsplit_once('.').unwrap().1);
        let [first, mixed] = [&first, &mixed].map(|token| Token::read(token).unwrap());
        let signatures = Signatures::default();
        assert!(!signatures.holds(&own, &first, Checks::RememberedAlone));
        for _ in 0..2 {
            assert!(signatures.holds(&own, &first, Checks::All));
            assert!(signatures.holds(&own, &first, Checks::RememberedAlone));
            assert!(!signatures.holds(&own, &mixed, Checks::All));
            assert!(!signatures.holds(&other, &first, Checks::All));
        }
        assert_eq!(signatures.remembered().len(), 1, "what does not hold is not kept");
        for issued_s in 0..REMEMBERED_MAX as u64 {
            let token = claims(100 + issued_s).sign("k", "s");
            assert!(signatures.holds(&own, &Token::read(&token).unwrap(), Checks::All));
        }
        assert_eq!(signatures.remembered().len(), 1, "too many were forgotten");
        assert!(signatures.holds(&own, &first, Checks::All));
    }
}
