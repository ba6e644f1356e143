//! Credentials: who may do what, decided by every node alone from the replicated collection of keys.
//!
//! A wrong pair takes as long whether its key exists or not, and however much of the secret is right.

mod bearer;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod pairs;
mod rights;
mod secret;
mod signatures;
mod stored;
mod token;

pub use bearer::bearer;
pub(crate) use bearer::claimed;
pub use pairs::PairMemory;
pub use rights::{Rights, Role};
pub use secret::{SecretHash, Verifier, equal_in_constant_time};
pub use signatures::{Checks, Signatures};
pub use stored::StoredKey;
pub use token::{Claims, TOKEN_BYTES_MAX, TOKEN_S_MAX, TokenKey};

use bearer::borne;
use stored::Sealed;

use crate::name;
use crate::record::Record;
use crate::scope::Scope;
use crate::store::{Store, StoreError};
use alloc::string::String;

/// Longest key or secret that is looked at, in bytes; longer ones are wrong.
pub const CREDENTIAL_BYTES_MAX: usize = 256;

/// Id of the key that needs no secret: what it may read, everybody may who shows no credentials at all.
pub const ANONYMOUS: &str = "anonymous";

/// What a verified credential may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The credential's id, fit for logs.
    pub credential: String,
    rights: Rights,
    proof: Proof,
}

/// What a grant rests on, so that it can be judged again later.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Proof {
    /// The node itself says so.
    Local,
    /// No credentials were shown.
    Nothing,
    /// Another one vouches, whom the node believes.
    Vouched,
    /// A secret of this hash; of a secret that was rotated out, until when it is good.
    Secret { hash: SecretHash, until_ms: Option<u64> },
    /// A token that was signed by the secret of this hash, when its own time is over, and until when that secret is good.
    Token { hash: SecretHash, expires_ms: u64, secret_until_ms: u64 },
}

impl Grant {
    /// These rights under this id, by the node's own word and for good.
    pub fn local(credential: impl Into<String>, rights: Rights) -> Self {
        Self { credential: credential.into(), rights, proof: Proof::Local }
    }

    /// Everything, as [`Grant::local`].
    pub fn all(credential: impl Into<String>) -> Self {
        Self::local(credential, Rights::all())
    }

    /// What it may do.
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// Whether it has `role` over everything.
    pub fn has(&self, role: Role) -> bool {
        self.rights.has(role)
    }

    /// What it may read and follow; `None` for nothing.
    pub fn scope(&self) -> Option<&Scope> {
        self.rights.read_scope()
    }

    /// Whether many ask by it who have nothing to do with each other: whoever shows no credentials, and those who were
    /// handed tokens.
    pub fn is_of_many(&self) -> bool {
        matches!(self.proof, Proof::Nothing | Proof::Token { .. })
    }

    /// Whether it was decided by the keys that the node holds.
    pub(crate) fn rests_on_keys(&self) -> bool {
        self.proof != Proof::Local
    }

    /// Until when it is good though no key changes, Unix ms.
    pub(crate) fn until_ms(&self) -> Option<u64> {
        match self.proof {
            Proof::Secret { until_ms, .. } => until_ms,
            Proof::Token { expires_ms, secret_until_ms, .. } => Some(expires_ms.min(secret_until_ms)),
            Proof::Local | Proof::Nothing | Proof::Vouched => None,
        }
    }

    /// What the same credential may do by the keys that `store` holds now; `None` when it may do nothing any more.
    ///
    /// # Errors
    /// When the store fails.
    pub fn renewed<S: Store>(&self, store: &S, wall_ms: u64) -> Result<Option<Self>, StoreError> {
        match &self.proof {
            Proof::Local => Ok(Some(self.clone())),
            Proof::Nothing => anonymous(store),
            Proof::Vouched => vouched(store, &self.credential),
            Proof::Secret { hash, .. } => proven(store, &self.credential, *hash, wall_ms),
            Proof::Token { hash, expires_ms, .. } => borne(store, self, *hash, *expires_ms, wall_ms),
        }
    }

    /// Whether it was a pair that was shown, whose holder may have tokens.
    pub(crate) fn rests_on_a_secret(&self) -> bool {
        matches!(self.proof, Proof::Secret { .. })
    }

    /// Whether it rests on a token whose time is over.
    pub(crate) fn has_expired(&self, wall_ms: u64) -> bool {
        matches!(self.proof, Proof::Token { expires_ms, .. } if wall_ms >= expires_ms)
    }
}

fn proven<S: Store>(store: &S, apikey: &str, hash: SecretHash, wall_ms: u64) -> Result<Option<Grant>, StoreError> {
    Ok(opened(key_of(store, apikey)?.as_ref(), apikey, hash, wall_ms))
}

/// The entry of a key.
fn key_of<S: Store>(store: &S, apikey: &str) -> Result<Option<Record>, StoreError> {
    if apikey.is_empty() { Ok(None) } else { store.record(name::KEYS, apikey) }
}

/// What a key's entry grants to whom has a secret of this hash.
fn opened(record: Option<&Record>, apikey: &str, hash: SecretHash, wall_ms: u64) -> Option<Grant> {
    // What a key that does not exist is compared with, so that it takes as long.
    const NOBODY: &str = concat!(
        r#"{"sha256":"0000000000000000000000000000000000000000000000000000000000000000","#,
        r#""ed25519":"0000000000000000000000000000000000000000000000000000000000000000","roles":["read"]}"#
    );
    let value = record.map_or(NOBODY, Record::value);
    let sealed = Sealed::read(value);
    let (secret, previous) = sealed.as_ref().map_or((None, None), |sealed| (sealed.secret(), sealed.previous()));
    let is_present = hash.equals(&secret.map_or_else(SecretHash::default, |secret| secret.hash));
    let (old, until_ms) = previous.map_or_else(Default::default, |(previous, until_ms)| (previous.hash, until_ms));
    let is_previous = hash.equals(&old);
    let by_present = bool::from(is_present) & secret.is_some();
    let by_previous = bool::from(is_previous) & previous.is_some() & (wall_ms < until_ms);
    let is_good = record.is_some() & (apikey != ANONYMOUS) & (by_present | by_previous);
    let until_ms = (!by_present).then_some(until_ms);
    // What it may do is read for whom it may do it alone.
    let key = if is_good { sealed.and_then(Sealed::whole) } else { None };
    key.map(|key| Grant { credential: apikey.into(), rights: key.rights, proof: Proof::Secret { hash, until_ms } })
}

/// What is granted by the keys `store` holds to whom shows no credentials; `None` for nothing.
///
/// # Errors
/// When the store fails.
pub fn anonymous<S: Store>(store: &S) -> Result<Option<Grant>, StoreError> {
    let record = store.record(name::KEYS, ANONYMOUS)?;
    let key = record.as_ref().and_then(|record| StoredKey::read(record.value()));
    // With a secret it is not the key that needs none.
    let rights = key.filter(|key| key.secret.is_none()).map(|key| key.rights.reading_alone());
    let rights = rights.filter(|rights| !rights.is_nothing());
    Ok(rights.map(|rights| Grant { credential: ANONYMOUS.into(), rights, proof: Proof::Nothing }))
}

/// What is granted by the keys `store` holds to one of whom somebody the node believes says that it is the key of this id:
/// what that key may do with entries. Managing and following as a node does take the secret itself.
///
/// # Errors
/// When the store fails.
pub fn vouched<S: Store>(store: &S, id: &str) -> Result<Option<Grant>, StoreError> {
    if id.is_empty() || id.len() > CREDENTIAL_BYTES_MAX {
        return Ok(None);
    }
    let record = store.record(name::KEYS, id)?;
    let key = record.as_ref().and_then(|record| StoredKey::read(record.value())).filter(StoredKey::has_secret);
    let rights = key.map(|key| key.rights.entries_alone()).filter(|rights| !rights.is_nothing());
    Ok(rights.map(|rights| Grant { credential: id.into(), rights, proof: Proof::Vouched }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::apply;
    use crate::command::{Line, Trust, decode};
    use crate::store::Progress;
    use crate::store::memory::{MemoryOptions, MemoryStore};
    use alloc::format;
    use alloc::sync::Arc;
    use alloc::vec::Vec;

    fn set(store: &MemoryStore, apikey: &str, value: &str) {
        let seq = store.position().seq + 1;
        let line = if seq == 1 {
            format!(r#"{{"type":"CREATE","collection":"_keys","seq":{seq},"timestamp":1}}"#)
        } else {
            let head = format!(r#"{{"type":"SET","collection":"_keys","seq":{seq},"prev":{}"#, seq - 1);
            format!(r#"{head},"key":"{apikey}","version":1,"timestamp":1,"value":{value}}}"#)
        };
        let Ok(Line::Log(command)) = decode(line.as_bytes(), Trust::Checked) else { panic!("{line}") };
        apply(store, &command, &mut Vec::new()).unwrap();
    }

    fn store_with(apikey: &str, value: &str) -> MemoryStore {
        let options = MemoryOptions { shards: 1, hash_seed: 7, snapshots: Default::default() };
        let store = MemoryStore::new(Progress::new(Scope::Everything), options);
        set(&store, "", "");
        set(&store, apikey, value);
        store
    }

    fn verify(store: &MemoryStore, apikey: &str, secret: &str, wall_ms: u64) -> Result<Option<Grant>, StoreError> {
        let grant = PairMemory::default().verify(store, apikey, secret, wall_ms)?;
        Ok(grant.map(Arc::unwrap_or_clone))
    }

    fn value(secret: &str, roles: &[Role]) -> String {
        StoredKey::new(Some(Verifier::of(secret)), Rights::of(roles.iter().copied()), 0).to_json()
    }

    #[test]
    fn grants_what_is_stored_and_only_to_the_right_pair() {
        let store = store_with("k1", &value("s1", &[Role::Read, Role::Admin]));
        let grant = verify(&store, "k1", "s1", 0).unwrap().unwrap();
        assert!(grant.has(Role::Read) && grant.has(Role::Admin) && !grant.has(Role::Write) && !grant.has(Role::Node));
        assert_eq!(grant.scope(), Some(&Scope::Public));
        let long = "x".repeat(CREDENTIAL_BYTES_MAX + 1);
        for (apikey, secret) in [("k1", "s2"), ("k2", "s1"), ("", ""), ("k1", ""), ("k1", &long), (&long, "s1")] {
            assert_eq!(verify(&store, apikey, secret, 0).unwrap(), None, "{apikey} {secret}");
        }
    }

    #[test]
    fn a_damaged_key_grants_nothing() {
        for value in ["1", "{}", r#"{"sha256":"","roles":["read"]}"#, r#"{"sha256":"ab"}"#, r#"{"roles":["read"]}"#] {
            assert_eq!(verify(&store_with("k1", value), "k1", "", 0).unwrap(), None, "{value}");
        }
    }

    #[test]
    fn the_secret_before_is_good_until_its_time() {
        let key = StoredKey::new(Some(Verifier::of("old")), Rights::of([Role::Read]), 0);
        let store = store_with("k", &key.rotated(Verifier::of("new"), 1_000).to_json());
        let new = verify(&store, "k", "new", 5_000).unwrap().unwrap();
        assert_eq!(new.until_ms(), None);
        let old = verify(&store, "k", "old", 999).unwrap().unwrap();
        assert_eq!((old.rights(), old.until_ms()), (new.rights(), Some(1_000)));
        assert_eq!(verify(&store, "k", "old", 1_000).unwrap(), None);
        assert_eq!(old.renewed(&store, 999).unwrap().as_ref(), Some(&old));
        assert_eq!(old.renewed(&store, 1_000).unwrap(), None);
    }

    #[test]
    fn a_grant_is_renewed_as_the_keys_are_then() {
        let store = store_with("k", &value("s", &[Role::Read, Role::Write]));
        let grant = verify(&store, "k", "s", 0).unwrap().unwrap();
        assert_eq!(grant.renewed(&store, 0).unwrap().as_ref(), Some(&grant));
        set(&store, "k", &value("s", &[Role::Write]));
        let narrowed = grant.renewed(&store, 0).unwrap().unwrap();
        assert!(narrowed.has(Role::Write) && narrowed.scope().is_none());
        set(&store, "k", &value("another", &[Role::Read]));
        assert_eq!(grant.renewed(&store, 0).unwrap(), None);
        assert_eq!(Grant::all("dev").renewed(&store, 0).unwrap(), Some(Grant::all("dev")));
    }

    #[test]
    fn what_a_pair_was_granted_before_is_what_it_is_granted_now() {
        let present = |secret| StoredKey::new(Some(Verifier::of(secret)), Rights::of([Role::Read]), 0);
        let rotated = present("s1").rotated(Verifier::of("s2"), 1_000).to_json();
        let (memory, store) = (PairMemory::default(), store_with("other", &value("s1", &[Role::Write])));
        let mut opened = 0;
        for value in [value("s1", &[Role::Read]), value("s1", &[Role::Admin]), rotated, value("s2", &[]), "{}".into()] {
            set(&store, "k", &value);
            // Each after each, and after itself.
            let shown = ["k", "other", "nobody"].map(|apikey| ["s1", "s2"].map(|secret| (apikey, secret)));
            for (apikey, secret) in shown.as_flattened() {
                for (before, before_secret) in shown.as_flattened() {
                    memory.verify(&store, before, before_secret, 0).unwrap();
                    for wall_ms in [0, 999, 1_000] {
                        let found = memory.verify(&store, apikey, secret, wall_ms).unwrap();
                        let anew = verify(&store, apikey, secret, wall_ms).unwrap();
                        assert_eq!(
                            found.as_deref(),
                            anew.as_ref(),
                            "{value}: {before}, then {apikey} {secret} {wall_ms}"
                        );
                        opened += u32::from(anew.is_some());
                    }
                }
            }
        }
        assert!(opened > 100, "{opened}");
        let [first, second] = [(); 2].map(|()| memory.verify(&store, "other", "s1", 0).unwrap().unwrap());
        assert!(Arc::ptr_eq(&first, &second), "it is remembered");
    }

    #[test]
    fn who_is_vouched_for_does_with_entries_what_its_key_may() {
        let store = store_with("k", &value("s", &[Role::Read, Role::Admin, Role::Node]));
        let grant = vouched(&store, "k").unwrap().unwrap();
        assert_eq!((grant.rights(), &*grant.credential), (&Rights::of([Role::Read]), "k"));
        assert_eq!(grant.renewed(&store, 0).unwrap().as_ref(), Some(&grant));
        set(&store, ANONYMOUS, r#"{"roles":["read"]}"#);
        for nobody in [ANONYMOUS, "", "never"] {
            assert_eq!(vouched(&store, nobody).unwrap(), None, "{nobody}");
        }
        set(&store, "k", &value("s", &[Role::Admin]));
        assert_eq!(grant.renewed(&store, 0).unwrap(), None);
    }

    #[test]
    fn without_credentials_one_reads_what_the_anonymous_key_says_and_nobody_shows_that_key() {
        let store =
            store_with(ANONYMOUS, r#"{"roles":["write","admin"],"grants":[{"roles":["read"],"scope":{"f":[""]}}]}"#);
        let grant = anonymous(&store).unwrap().unwrap();
        assert_eq!(grant.scope().unwrap().to_json(), r#"{"f":[""]}"#);
        assert!(!grant.has(Role::Write) && !grant.has(Role::Admin));
        assert_eq!(grant.renewed(&store, 0).unwrap().as_ref(), Some(&grant));
        assert_eq!(verify(&store, ANONYMOUS, "", 0).unwrap(), None);
        for nothing in [value("s", &[Role::Read]), r#"{"roles":["node","write"]}"#.into(), "{}".into(), "1".into()] {
            set(&store, ANONYMOUS, &nothing);
            assert_eq!(anonymous(&store).unwrap(), None, "{nothing}");
            assert_eq!(verify(&store, ANONYMOUS, "s", 0).unwrap(), None, "{nothing}");
            assert_eq!(grant.renewed(&store, 0).unwrap(), None, "{nothing}");
        }
        assert_eq!(anonymous(&store_with("k", &value("s", &[Role::Read]))).unwrap(), None);
    }
}
