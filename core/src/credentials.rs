//! Credentials: who may do what, decided by every node alone from the replicated collection of keys.
//!
//! A secret is 256 random bits made by a shell, never chosen by a person, so one round of SHA-256 guards it; only the
//! hash is stored. Comparison takes the same time whether the key exists, the secret is wrong, or both are right.

use crate::json;
use crate::name;
use crate::scope::Scope;
use crate::store::{Store, StoreError};
use alloc::string::String;
use alloc::vec::Vec;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Longest key or secret that is looked at, in bytes; longer ones are wrong.
pub const CREDENTIAL_BYTES_MAX: usize = 256;

/// One thing a credential may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Read entries and follow streams.
    Read,
    /// Change entries and create collections.
    Write,
    /// Drop collections and see the node's inside.
    Admin,
    /// Follow and read system collections, as nodes do.
    Node,
}

impl Role {
    /// Every role with its spelling.
    pub const ALL: [(Self, &'static str); 4] =
        [(Self::Read, "read"), (Self::Write, "write"), (Self::Admin, "admin"), (Self::Node, "node")];
}

/// What a verified credential may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The credential's id, fit for logs.
    pub credential: String,
    roles: Vec<Role>,
}

impl Grant {
    /// Everything, under this id.
    pub fn all(credential: impl Into<String>) -> Self {
        Self { credential: credential.into(), roles: Role::ALL.iter().map(|(role, _)| *role).collect() }
    }

    /// Whether it has `role`.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// What it may read and follow; `None` for nothing.
    pub fn scope(&self) -> Option<Scope> {
        if self.has(Role::Node) { Some(Scope::Everything) } else { self.has(Role::Read).then_some(Scope::Public) }
    }
}

/// SHA-256 of a secret as hex, as it is stored.
pub fn hash_secret(secret: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: u8| [byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)]));
    Sha256::digest(secret.as_bytes()).into_iter().flat_map(digits).collect()
}

/// The value stored under a key's id in [`name::KEYS`].
pub fn stored_value(secret_hash: &str, roles: &[Role]) -> String {
    let mut out = Vec::from(&b"{\"sha256\":"[..]);
    json::write_string(&mut out, secret_hash);
    out.extend_from_slice(b",\"roles\":[");
    for (index, (_, word)) in Role::ALL.iter().filter(|(role, _)| roles.contains(role)).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json::write_string(&mut out, word);
    }
    out.extend_from_slice(b"]}");
    String::from_utf8(out).expect("the JSON writer emits UTF-8")
}

/// Whether two texts are equal, in a time that depends on their lengths at most.
pub fn equal_in_constant_time(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

/// What the pair grants by the keys `store` holds; `None` when it is wrong, which takes as long as when it is right.
///
/// # Errors
/// When the store fails.
pub fn verify<S: Store>(store: &S, apikey: &str, secret: &str) -> Result<Option<Grant>, StoreError> {
    if apikey.len() > CREDENTIAL_BYTES_MAX || secret.len() > CREDENTIAL_BYTES_MAX {
        return Ok(None);
    }
    let hash = hash_secret(secret);
    let record = if apikey.is_empty() { None } else { store.record(name::KEYS, apikey)? };
    let stored = record.as_ref().and_then(|record| stored_key(record.value()));
    // A key that does not exist is compared with a hash nothing can have, so that it takes as long.
    let (expected, roles) = stored.unwrap_or_else(|| (alloc::vec![b'-'; 64], Vec::new()));
    let equal: bool = hash.as_bytes().ct_eq(&expected).into();
    Ok(equal.then(|| Grant { credential: apikey.into(), roles }))
}

fn stored_key(value: &str) -> Option<(Vec<u8>, Vec<Role>)> {
    let fields = json::members(value).ok()?;
    let raw = |name| fields.iter().find(|(field, _)| field == name).map(|(_, raw)| *raw);
    let hash = json::string(raw("sha256")?)?.into_owned().into_bytes();
    let words = json::elements(raw("roles")?).ok()?;
    let role = |raw: &&str| {
        let word = json::string(raw)?;
        Role::ALL.iter().find(|(_, spelling)| *spelling == word).map(|(role, _)| *role)
    };
    // A role this release does not know grants nothing here.
    (hash.len() == 64).then(|| (hash, words.iter().filter_map(role).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::apply;
    use crate::command::{Line, Trust, decode};
    use crate::store::Progress;
    use crate::store::memory::{MemoryOptions, MemoryStore};

    fn store_with(apikey: &str, value: &str) -> MemoryStore {
        let options = MemoryOptions { shards: 1, hash_seed: 7, snapshots: Default::default() };
        let store = MemoryStore::new(Progress::new(Scope::Everything), options);
        let lines = [
            String::from(r#"{"type":"CREATE","collection":"_keys","seq":1,"timestamp":1}"#),
            alloc::format!(
                r#"{{"type":"SET","collection":"_keys","seq":2,"prev":1,"key":"{apikey}","version":1,"timestamp":1,"value":{value}}}"#
            ),
        ];
        for line in &lines {
            let Ok(Line::Log(command)) = decode(line.as_bytes(), Trust::Checked) else { panic!("{line}") };
            apply(&store, &command, &mut Vec::new()).unwrap();
        }
        store
    }

    #[test]
    fn grants_what_is_stored_and_only_to_the_right_pair() {
        let store = store_with("k1", &stored_value(&hash_secret("s1"), &[Role::Read, Role::Admin]));
        let grant = verify(&store, "k1", "s1").unwrap().unwrap();
        assert!(grant.has(Role::Read) && grant.has(Role::Admin) && !grant.has(Role::Write) && !grant.has(Role::Node));
        assert_eq!(grant.scope(), Some(Scope::Public));
        let long = "x".repeat(CREDENTIAL_BYTES_MAX + 1);
        for (apikey, secret) in [("k1", "s2"), ("k2", "s1"), ("", ""), ("k1", ""), ("k1", &long), (&long, "s1")] {
            assert_eq!(verify(&store, apikey, secret).unwrap(), None, "{apikey} {secret}");
        }
    }

    #[test]
    fn a_damaged_key_grants_nothing() {
        for value in ["1", "{}", r#"{"sha256":"","roles":["read"]}"#, r#"{"sha256":"ab"}"#] {
            assert_eq!(verify(&store_with("k1", value), "k1", "").unwrap(), None, "{value}");
        }
    }

    #[test]
    fn stores_the_hash_of_the_secret_only() {
        // SHA-256 of "abc", FIPS 180-2 appendix B.1.
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash_secret("abc"), hash);
        assert_eq!(
            stored_value(hash, &[Role::Node, Role::Read]),
            alloc::format!(r#"{{"sha256":"{hash}","roles":["read","node"]}}"#)
        );
    }
}
