//! What a token grants whoever bears it, by the keys that the store holds.

use super::signatures::{Checks, Signatures};
use super::stored::Sealed;
use super::token::{Token, TokenKey};
use super::{CREDENTIAL_BYTES_MAX, Grant, Proof, SecretHash};
use crate::name;
use crate::store::{Store, StoreError};
use alloc::string::String;
use core::hint::black_box;

/// As many secrets as a key can have at a time.
const SECRETS_MAX: usize = 2;

/// What the token grants by the keys `store` holds; `None` when it is wrong, which takes as long whether there is a key of
/// its id and however many secrets that has, or when its time is not now. `wall_ms` is the time now, Unix ms.
///
/// # Errors
/// When the store fails.
pub fn bearer<S: Store>(
    store: &S,
    signatures: &Signatures,
    checks: Checks,
    token: &str,
    wall_ms: u64,
) -> Result<Option<Grant>, StoreError> {
    let Some(token) = Token::read(token).filter(|token| token.key().len() <= CREDENTIAL_BYTES_MAX) else {
        return Ok(None);
    };
    let id = token.key();
    let record = if id.is_empty() { None } else { store.record(name::KEYS, id)? };
    let sealed = record.as_ref().and_then(|record| Sealed::read(record.value()));
    let (mut checked, mut signed) = (0, None);
    for (verifier, until_ms) in sealed.iter().flat_map(|sealed| sealed.verifiers(wall_ms)) {
        let Some(signer) = verifier.token_key else { continue };
        checked += 1;
        if signatures.holds(&signer, &token, checks) {
            signed = Some((verifier.hash, until_ms));
            break;
        }
    }
    let Some((hash, secret_until_ms)) = signed else {
        for _ in checked..SECRETS_MAX {
            black_box(checks == Checks::All && token.is_signed_by(&TokenKey::NOBODYS));
        }
        return Ok(None);
    };
    let Some((claims, key)) = token.claims().zip(sealed.and_then(Sealed::whole)) else { return Ok(None) };
    let is_meant = store.progress().cluster == Some(claims.cluster) && claims.is_of_its_time(wall_ms);
    let is_good = is_meant && key.may_give(&claims.rights);
    let proof = Proof::Token { hash, expires_ms: claims.until_ms(), secret_until_ms };
    Ok(is_good.then(|| Grant { credential: id.into(), rights: claims.rights, proof }))
}

/// The id of the key by which this token says that it is signed.
pub(crate) fn claimed(token: &str) -> Option<String> {
    Token::read(token).map(|token| token.key().into())
}

/// Judges the grant of a token again: the secret that it was signed by, and what its key may do.
pub(super) fn borne<S: Store>(
    store: &S,
    grant: &Grant,
    hash: SecretHash,
    expires_ms: u64,
    wall_ms: u64,
) -> Result<Option<Grant>, StoreError> {
    let record = store.record(name::KEYS, &grant.credential)?;
    let Some(sealed) = record.as_ref().and_then(|record| Sealed::read(record.value())) else { return Ok(None) };
    let known = sealed.verifiers(wall_ms).find(|(verifier, _)| verifier.hash == hash);
    let Some(((_, secret_until_ms), key)) = known.zip(sealed.whole()) else { return Ok(None) };
    let is_good = wall_ms < expires_ms && key.may_give(&grant.rights);
    let proof = Proof::Token { hash, expires_ms, secret_until_ms };
    Ok(is_good.then(|| Grant { proof, ..grant.clone() }))
}
