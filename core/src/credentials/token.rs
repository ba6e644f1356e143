//! Tokens: what the holder of a secret signs, so that somebody else may do part of what its key may, for a short time.
//!
//! A token is a JWT (RFC 7519) signed by Ed25519 (RFC 8037, `EdDSA`). The signing key follows from the secret alone: whoever
//! has that makes tokens, and nobody else can, no node either, for what is stored beside the secret's hash is the public
//! half. So a token ends with the secret it was signed by, and every node that holds the keys judges it alone.
//!
//! ```json
//! {"alg":"EdDSA","typ":"JWT","kid":"<id of the key>"}
//! {"aud":"<cluster>","iat":1763650000,"exp":1763650900,"roles":["read"],"grants":[]}
//! ```
//!
//! Nothing of the claims is read before the signature holds. Of the header nothing decides how that is checked: it must
//! be this one, member by member.

use super::rights::Rights;
use crate::hex::{from_hex, to_hex};
use crate::id::Id;
use crate::json;
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use core::fmt;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

/// Longest token that is looked at, in bytes; a longer one is wrong.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

/// Longest time between a token's making and its end, in seconds: a day.
pub const TOKEN_S_MAX: u64 = 24 * 3_600;

/// How far ahead the clock of who made a token may be, in seconds.
const AHEAD_S_MAX: u64 = 60;

const ALGORITHM: &str = "EdDSA";

/// What tells the signatures of a secret's holder: the public half of what it signs by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    /// What is checked against where there is no key, so that it takes as long; what it finds is not believed. Any point
    /// of the curve will do: this is the generator of the group (RFC 8032, section 5.1), for which everybody can sign.
    pub(super) const NOBODYS: Self = {
        let mut bytes = [0x66; 32];
        bytes[0] = 0x58;
        Self(bytes)
    };

    /// That of this secret.
    pub(super) fn of(secret: &str) -> Self {
        Self(signing_key(secret).verifying_key().to_bytes())
    }

    pub(super) fn from_hex(text: &str) -> Option<Self> {
        from_hex(text).map(Self)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(super) fn to_hex(self) -> String {
        to_hex(&self.0)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey")
    }
}

/// The seed has a name of its own in front, so that it has nothing to do with the hash that is stored of the same secret.
pub(super) fn signing_key(secret: &str) -> SigningKey {
    let seed = Sha256::new().chain_update(b"headwater token\0").chain_update(secret.as_bytes()).finalize();
    SigningKey::from_bytes(&seed.into())
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The cluster it is for.
    pub cluster: Id,
    /// What its bearer may do: at most what the key may do with entries.
    pub rights: Rights,
    /// When it was made, Unix seconds.
    pub issued_s: u64,
    /// From when on it is good no more, Unix seconds.
    pub until_s: u64,
}

impl Claims {
    /// The token, signed for the key of this id by its secret.
    pub fn sign(&self, key: &str, secret: &str) -> String {
        let mut header = Vec::from(&b"{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"kid\":"[..]);
        json::write_string(&mut header, key);
        header.push(b'}');
        let mut claims = Vec::from(&b"{\"aud\":"[..]);
        json::write_string(&mut claims, &alloc::format!("{}", self.cluster));
        claims.extend_from_slice(b",\"iat\":");
        json::write_u64(&mut claims, self.issued_s);
        claims.extend_from_slice(b",\"exp\":");
        json::write_u64(&mut claims, self.until_s);
        claims.push(b',');
        self.rights.write_members(&mut claims);
        claims.push(b'}');
        let mut token = BASE64_URL_SAFE_NO_PAD.encode(header);
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = signing_key(secret).sign(token.as_bytes());
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature.to_bytes(), &mut token);
        token
    }

    /// Whether it says that it is good at this time, Unix ms.
    pub(super) fn is_of_its_time(&self, wall_ms: u64) -> bool {
        let length_s = self.until_s.checked_sub(self.issued_s).filter(|length_s| *length_s <= TOKEN_S_MAX);
        length_s.is_some() && wall_ms < self.until_ms() && self.issued_s <= wall_ms / 1_000 + AHEAD_S_MAX
    }

    /// From when on it is good no more, Unix ms.
    pub(super) fn until_ms(&self) -> u64 {
        self.until_s.saturating_mul(1_000)
    }

    fn read(text: &[u8]) -> Option<Self> {
        let (mut cluster, mut issued, mut until, mut rights) = (None, None, None, Rights::default());
        for (name, raw) in json::members(json::validate(text).ok()?).ok()? {
            match &*name {
                "aud" => cluster = json::string(raw).and_then(|text| text.parse().ok()),
                "iat" => issued = json::unsigned(raw),
                "exp" => until = json::unsigned(raw),
                "roles" => rights.add_stored_roles(raw)?,
                "grants" => rights.add_stored_grants(raw)?,
                // It might take something away.
                _ => return None,
            }
        }
        Some(Self { cluster: cluster?, rights, issued_s: issued?, until_s: until? })
    }
}

/// A token taken apart. Whose it is can be told; what it says, only of one that was signed.
#[derive(Debug)]
pub(super) struct Token<'t> {
    key: String,
    signed: &'t str,
    claims: &'t str,
    signature: Signature,
}

impl<'t> Token<'t> {
    /// `None` for what is no token of ours.
    pub(super) fn read(token: &'t str) -> Option<Self> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        let key = key_in(&BASE64_URL_SAFE_NO_PAD.decode(header).ok()?)?;
        Some(Self { key, signed, claims, signature: Signature::from_slice(&signature).ok()? })
    }

    /// Id of the key that is said to have signed it.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Adds the signature and what is signed to a hash.
    pub(super) fn hash_into(&self, hash: Sha256) -> Sha256 {
        hash.chain_update(self.signature.to_bytes()).chain_update(self.signed)
    }

    /// Whether this is whose signature it has.
    pub(super) fn is_signed_by(&self, signer: &TokenKey) -> bool {
        let key = VerifyingKey::from_bytes(&signer.0);
        key.is_ok_and(|key| key.verify_strict(self.signed.as_bytes(), &self.signature).is_ok())
    }

    /// What it says, which counts for one that was signed alone; `None` for what is not understood.
    pub(super) fn claims(&self) -> Option<Claims> {
        Claims::read(&BASE64_URL_SAFE_NO_PAD.decode(self.claims).ok()?)
    }
}

/// The id in a header of ours: `alg`, `kid`, perhaps `typ`, each once, and nothing else.
fn key_in(header: &[u8]) -> Option<String> {
    let (mut algorithm, mut key, mut kind) = (None, None, None);
    for (name, raw) in json::members(json::validate(header).ok()?).ok()? {
        let place = match &*name {
            "alg" => &mut algorithm,
            "kid" => &mut key,
            "typ" => &mut kind,
            _ => return None,
        };
        if place.replace(json::string(raw)?).is_some() {
            return None;
        }
    }
    let is_ours = algorithm? == ALGORITHM && kind.is_none_or(|kind| kind == "JWT");
    key.filter(|_| is_ours).map(Cow::into_owned)
}

#[cfg(test)]
mod tests;
