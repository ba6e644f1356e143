//! Tokens: made by any node for whoever shows a pair, from that pair alone. Nothing is written, and nobody else is asked.

use super::Answer;
use super::error::{ApiError, Code};
use super::keys::{add_rights, some_rights};
use super::read::lag;
use super::request::{not_of_form, object};
use super::time::rfc3339;
use crate::clock::Now;
use crate::credentials::{Checks, Claims, Grant, Rights, TOKEN_BYTES_MAX, TOKEN_S_MAX, bearer};
use crate::json;
use crate::node::Node;
use crate::store::Store;
use alloc::format;
use alloc::vec::Vec;

/// How long a token is good unless something else is asked for, in seconds: a quarter of an hour.
pub const TOKEN_S: u64 = 15 * 60;

/// `POST /v1/tokens`: a token that may do what is asked for, or else all that the pair may do with entries. It ends no later
/// than the pair does.
///
/// # Errors
/// 400 `invalid_json`, naming what is wrong; 403 `forbidden` where that is more than the pair may; 412
/// `precondition_failed` where no node would take a token of this pair; 413 `too_large`; 503 `not_ready` where this node does
/// not know its cluster yet.
pub fn token<S: Store>(
    node: &Node<S>,
    grant: &Grant,
    secret: &str,
    body: &[u8],
    now: Now,
) -> Result<Answer<S::Snapshot>, ApiError> {
    let (ttl_ms, asked) = read(body)?;
    let own = grant.rights().entries_alone();
    if own.is_nothing() {
        let words = "this key may do nothing with entries, so there is nothing for a token to carry: neither \"admin\" nor \"node\" can be";
        return Err(ApiError::new(Code::Forbidden, words));
    }
    let rights = asked.unwrap_or_else(|| own.clone());
    if rights.is_nothing() || !own.contains(&rights) {
        let words = "a token may do with entries what its key may, and no more: \"read\" and \"write\" as far as the key has them";
        return Err(ApiError::new(Code::Forbidden, words));
    }
    let progress = node.store().progress();
    let Some(cluster) = progress.cluster else {
        return Err(ApiError::new(Code::NotReady, "this node holds no complete state yet"));
    };
    let issued_s = now.wall_ms / 1_000;
    let pair_until_s = grant.until_ms().map_or(u64::MAX, |until_ms| until_ms / 1_000);
    // Its times are of whole seconds: it is good for no less than was asked for, where a day is the most.
    let asked_until_s = now.wall_ms.saturating_add(ttl_ms).div_ceil(1_000).min(issued_s.saturating_add(TOKEN_S_MAX));
    let claims = Claims { cluster, rights, issued_s, until_s: asked_until_s.min(pair_until_s) };
    let token = claims.sign(&grant.credential, secret);
    if token.len() > TOKEN_BYTES_MAX {
        let words = format!(
            "the token would have {} bytes, and {TOKEN_BYTES_MAX} are the most: ask for fewer \"grants\" than the key has",
            token.len()
        );
        return Err(ApiError::new(Code::TooLarge, words));
    }
    // A key may have been made before there were tokens, or have changed a moment ago.
    let taken = bearer(node.store(), node.signatures(), Checks::All, &token, now.wall_ms);
    if taken.map_err(ApiError::store_failed)?.is_none() {
        let words = "no node would take a token of this pair: its key was made before there were tokens, its secret is about to end, \
                     or it has just changed. Rotate the key, and ask with the new secret";
        return Err(ApiError::new(Code::PreconditionFailed, words));
    }
    let mut out = Vec::from(&b"{\"ok\":true,\"token\":"[..]);
    json::write_string(&mut out, &token);
    let expires = rfc3339(claims.until_s.saturating_mul(1_000));
    out.extend_from_slice(format!(",\"expiresAt\":\"{expires}\",").as_bytes());
    claims.rights.write_members(&mut out);
    out.push(b'}');
    Ok(Answer::json(out).as_of(progress.position, lag(node, now)))
}

/// Reads `{"ttlMs":...,"roles":[...],"grants":[...]}` or nothing. The time is in ms.
fn read(body: &[u8]) -> Result<(u64, Option<Rights>), ApiError> {
    const FORM: &str = "{\"ttlMs\":900000,\"roles\":[\"read\"],\"grants\":[{\"roles\":[\"read\"],\"scope\":{\"collection\":[\"prefix\"]}}]}";
    let (mut ttl_ms, mut rights) = (TOKEN_S * 1_000, None::<Rights>);
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok((ttl_ms, rights));
    }
    for (name, raw) in object(body, FORM, json::members)? {
        match &*name {
            "ttlMs" => {
                ttl_ms = json::unsigned(raw).ok_or_else(|| not_of_form(FORM))?;
                let ttl_ms_max = TOKEN_S_MAX * 1_000;
                if !(1_000..=ttl_ms_max).contains(&ttl_ms) {
                    let words = format!("\"ttlMs\" is {ttl_ms}, and goes from 1000 to a day, {ttl_ms_max}");
                    return Err(ApiError::new(Code::InvalidJson, words));
                }
            }
            other => add_rights(rights.get_or_insert_default(), other, raw, FORM)?,
        }
    }
    rights.as_ref().map_or(Ok(()), some_rights)?;
    Ok((ttl_ms, rights))
}
