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
    /// Drop collections and see the node's inside: status and metrics.
    Admin,
    /// Follow and read system collections and see the inside of other nodes, as nodes do.
    Node,
}

impl Role {
    /// Every role with its spelling.
    pub const ALL: [(Self, &'static str); 4] =
        [(Self::Read, "read"), (Self::Write, "write"), (Self::Admin, "admin"), (Self::Node, "node")];

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, spelling)| *spelling == word).map(|(role, _)| *role)
    }
}

/// Some of the roles, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Roles(u8);

impl Roles {
    fn has(self, role: Role) -> bool {
        self.0 & (1 << role as u8) != 0
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().fold(0, |bits, role| bits | (1 << role as u8)))
    }
}

/// What a verified credential may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The credential's id, fit for logs.
    pub credential: String,
    roles: Roles,
}

impl Grant {
    /// Everything, under this id.
    pub fn all(credential: impl Into<String>) -> Self {
        Self { credential: credential.into(), roles: Role::ALL.iter().map(|(role, _)| *role).collect() }
    }

    /// Whether it has `role`.
    pub fn has(&self, role: Role) -> bool {
        self.roles.has(role)
    }

    /// What it may read and follow; `None` for nothing.
    pub fn scope(&self) -> Option<Scope> {
        if self.has(Role::Node) { Some(Scope::Everything) } else { self.has(Role::Read).then_some(Scope::Public) }
    }
}

/// SHA-256 of a secret.
type SecretHash = [u8; 32];

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn hash(secret: &str) -> SecretHash {
    Sha256::digest(secret.as_bytes()).into()
}

/// Reads a hash as it is stored, in 64 lower-case hex digits.
fn hash_from_hex(text: &str) -> Option<SecretHash> {
    let mut hash = SecretHash::default();
    if text.len() != 2 * hash.len() {
        return None;
    }
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(digits[0])? << 4 | digit(digits[1])?;
    }
    Some(hash)
}

/// SHA-256 of a secret as hex, as it is stored.
pub fn hash_secret(secret: &str) -> String {
    let digits = |byte: u8| [byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)]));
    hash(secret).into_iter().flat_map(digits).collect()
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
    let hash = hash(secret);
    let record = if apikey.is_empty() { None } else { store.record(name::KEYS, apikey)? };
    let stored = record.as_ref().and_then(|record| stored_key(record.value()));
    // A key that does not exist is compared with some hash all the same, so that it takes as long.
    let (expected, roles) = stored.unwrap_or_default();
    let equal: bool = hash.ct_eq(&expected).into();
    Ok((equal & stored.is_some()).then(|| Grant { credential: apikey.into(), roles }))
}

/// Reads a value of [`name::KEYS`]. Every request does, so the form that [`stored_value`] writes is read by itself.
fn stored_key(value: &str) -> Option<(SecretHash, Roles)> {
    written_key(value).or_else(|| foreign_key(value))
}

/// The form of [`stored_value`] to the letter; `None` for any other, which may be as good.
fn written_key(value: &str) -> Option<(SecretHash, Roles)> {
    let (hash, rest) = value.strip_prefix("{\"sha256\":\"")?.split_at_checked(64)?;
    let words = rest.strip_prefix("\",\"roles\":[")?.strip_suffix("]}")?;
    let role = |word: &str| Role::from_word(word.strip_prefix('"')?.strip_suffix('"')?);
    Some((hash_from_hex(hash)?, words.split(',').map(role).collect::<Option<_>>()?))
}

fn foreign_key(value: &str) -> Option<(SecretHash, Roles)> {
    let fields = json::members(value).ok()?;
    let raw = |name| fields.iter().find(|(field, _)| field == name).map(|(_, raw)| *raw);
    let hash = hash_from_hex(&json::string(raw("sha256")?)?)?;
    let words = json::elements(raw("roles")?).ok()?;
    // A role this release does not know grants nothing here.
    let roles = words.iter().filter_map(|raw| Role::from_word(&json::string(raw)?)).collect();
    Some((hash, roles))
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
    fn both_readers_of_a_stored_key_agree() {
        let hash = hash_secret("s");
        for bits in 0..16 {
            let roles = Role::ALL.map(|(role, _)| role).into_iter().filter(|&role| bits & (1 << role as u8) != 0);
            let value = stored_value(&hash, &roles.clone().collect::<Vec<_>>());
            let expected = Some((hash_from_hex(&hash).unwrap(), roles.collect()));
            assert_eq!(foreign_key(&value), expected, "{value}");
            assert_eq!(written_key(&value), if bits == 0 { None } else { expected }, "{value}");
        }
        let upper = hash.to_uppercase();
        for other in [
            alloc::format!(r#"{{"roles":["read","later"],"sha256":"{hash}"}}"#),
            alloc::format!(r#"{{"sha256":"{hash}","roles":["read","later"]}}"#),
        ] {
            assert_eq!(written_key(&other), None);
            assert_eq!(stored_key(&other), Some((hash_from_hex(&hash).unwrap(), Roles::from_iter([Role::Read]))));
        }
        assert_eq!(stored_key(&stored_value(&upper, &[Role::Read])), None, "hashes are spelled in one way");
        assert_eq!(stored_key(&stored_value(&hash[..63], &[Role::Read])), None);
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
