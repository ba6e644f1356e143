//! What the fuzz target `shown` calls. Only with the feature `fuzzing`.

use super::token::{Token, signing_key};
use super::{
    ANONYMOUS, CREDENTIAL_BYTES_MAX, Checks, Claims, Grant, PairMemory, Rights, Role, Signatures, StoredKey,
    TOKEN_BYTES_MAX, TokenKey, Verifier, bearer,
};
use crate::api::{Shown, authorize};
use crate::apply::apply;
use crate::clock::Now;
use crate::command::{Line, Trust, decode};
use crate::id::Id;
use crate::name;
use crate::node::{self, Node, NodeOptions};
use crate::scope::Scope;
use crate::store::memory::{MemoryOptions, MemoryStore};
use crate::store::{Progress, Store as _};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ed25519_dalek::Signer as _;

/// The one key there is beside that of whom shows nothing.
const KEY: &str = "k";
const SECRET: &str = "s";
const CLUSTER: Id = Id::from_bytes([7; 16]);
/// When the seeds' tokens are good, Unix ms.
const NOW_MS: u64 = 1_763_650_000_000;
const HEADER: &str = r#"{"alg":"EdDSA","typ":"JWT","kid":"k"}"#;

fn stored() -> StoredKey {
    StoredKey::new(Some(Verifier::of(SECRET)), Rights::all(), 0)
}

fn store() -> MemoryStore {
    let options = MemoryOptions { shards: 1, hash_seed: 7, snapshots: Default::default() };
    let progress = Progress { cluster: Some(CLUSTER), complete: true, ..Progress::new(Scope::Everything) };
    let store = MemoryStore::new(progress, options);
    let anonymous = r#"{"roles":["read"]}"#;
    let set = |key: &str, value: &str| format!(r#""SET","key":"{key}","version":1,"value":{value}"#);
    for members in [r#""CREATE""#.into(), set(KEY, &stored().to_json()), set(ANONYMOUS, anonymous)] {
        let (seq, keys) = (store.position().seq + 1, name::KEYS);
        let line =
            format!(r#"{{"type":{members},"collection":"{keys}","seq":{seq},"prev":{},"timestamp":1}}"#, seq - 1);
        let Ok(Line::Log(command)) = decode(line.as_bytes(), Trust::Checked) else { panic!("{line}") };
        apply(&store, &command, &mut Vec::new()).expect("a store in memory takes it");
    }
    store
}

/// A token of any header and claims, signed as it should be.
fn signed(header: &str, claims: &str) -> String {
    let text = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims));
    let signature = signing_key(SECRET).sign(text.as_bytes());
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

fn judged(store: &MemoryStore, token: &str, wall_ms: u64) -> Option<Grant> {
    bearer(store, &Signatures::default(), Checks::All, token, wall_ms).expect("a store in memory can be read")
}

/// The token with one byte changed: to the last of `data`, and to a digit of base64. Where, anything says that follows from
/// all of it.
fn changes(data: &str, token: &str) -> impl Iterator<Item = String> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = data.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % token.len();
    let last = data.bytes().last().unwrap_or_default();
    let changed = [last, DIGITS[usize::from(last) % DIGITS.len()]].map(|byte| {
        let mut bytes = token.as_bytes().to_vec();
        bytes[at] = byte;
        String::from_utf8(bytes).ok().filter(|changed| changed != token)
    });
    changed.into_iter().flatten()
}

/// Reads any text as what somebody shows. Its lines are the key, the secret, the authorization and whom a proxy vouches for,
/// each with a `=` in front where it is there, then the header and the claims of a token that is signed as it should be.
///
/// # Panics
/// When something does not hold: who shows two things is believed in none; only what is right is granted anything, twice
/// the same; a token is refused after any change; what its claims say is written so that it is read again.
pub fn shown(data: &str) {
    let mut lines = data.split('\n');
    let mut given = || lines.next().and_then(|line| line.strip_prefix('='));
    let (apikey, secret, authorization, identity) = (given(), given(), given(), given());
    let store = store();
    let (header, claims) = (lines.next().unwrap_or(HEADER), lines.next().unwrap_or_default());
    headed(&store, header, claims);
    claimed(&store, data, claims);
    let shown = Shown::of(apikey, secret, authorization, identity);
    let node = Node::new(store, NodeOptions::new("fuzzed", Id::from_bytes([1; 16]), node::Role::Primary));
    let (memory, now) = (PairMemory::default(), Now { mono_ms: 0, wall_ms: NOW_MS });
    let judge = |checks| authorize(&node, None, shown, checks, &memory, now);
    let (first, second) = (judge(Checks::All), judge(Checks::RememberedAlone));
    assert_eq!(first, second, "{shown:?}");
    let Ok(grant) = first else { return };
    match shown {
        Shown::Nothing => {
            assert!(grant.credential == ANONYMOUS && grant.rights == Rights::of([Role::Read]));
            assert_eq!([apikey, secret, authorization, identity], [None; 4]);
        }
        Shown::Pair { apikey, secret } => assert_eq!((apikey, secret), (KEY, SECRET)),
        Shown::Vouched(_) => {
            assert!(grant.credential == KEY && grant.rights == Rights::all().entries_alone());
            assert_eq!([apikey, secret, authorization], [None; 3]);
        }
        Shown::Bearer(token) => {
            assert!(grant.credential == KEY && stored().may_give(&grant.rights));
            assert_eq!([apikey, secret, identity], [None; 3]);
            for changed in changes(data, token) {
                assert_eq!(judged(node.store(), &changed, NOW_MS), None, "{token} as {changed}");
            }
        }
    }
}

/// A token of any header.
fn headed(store: &MemoryStore, header: &str, claims: &str) {
    let text = signed(header, claims);
    let Some(token) = Token::read(&text) else {
        assert_eq!(judged(store, &text, NOW_MS), None);
        return;
    };
    let is_ours = token.key() == KEY;
    assert!(text.len() <= TOKEN_BYTES_MAX && token.is_signed_by(&TokenKey::of(SECRET)), "{text}");
    assert!(is_ours || token.key().len() > CREDENTIAL_BYTES_MAX || judged(store, &text, NOW_MS).is_none(), "{text}");
}

/// A token of any claims.
fn claimed(store: &MemoryStore, data: &str, said: &str) {
    let text = signed(HEADER, said);
    let Some(claims) = Token::read(&text).and_then(|token| token.claims()) else {
        assert_eq!(judged(store, &text, NOW_MS), None, "{said}");
        return;
    };
    let wall_ms = claims.issued_s.saturating_mul(1_000);
    let may = claims.cluster == CLUSTER && claims.is_of_its_time(wall_ms) && stored().may_give(&claims.rights);
    assert_eq!(judged(store, &text, wall_ms).map(|grant| grant.rights), may.then(|| claims.rights.clone()), "{said}");
    for changed in changes(data, &text) {
        assert_eq!(judged(store, &changed, wall_ms), None, "{text} as {changed}");
    }
    again(store, &claims, wall_ms, may);
}

/// What is understood is written as what is understood.
fn again(store: &MemoryStore, claims: &Claims, wall_ms: u64, may: bool) {
    let written = claims.sign(KEY, SECRET);
    let read = Token::read(&written).and_then(|token| token.claims());
    if written.len() > TOKEN_BYTES_MAX {
        assert_eq!((read, judged(store, &written, wall_ms)), (None, None));
        return;
    }
    assert_eq!(read.as_ref(), Some(claims), "{written}");
    let grant = judged(store, &written, wall_ms);
    assert_eq!(grant.as_ref().map(|grant| &grant.rights), may.then_some(&claims.rights), "{written}");
    let ends = grant.as_ref().and_then(Grant::until_ms);
    assert!(!may || ends == Some(claims.until_ms()), "{written}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_right_passes_and_so_does_what_is_not() {
        let until = NOW_MS / 1_000 + 900;
        let claims = format!(r#"{{"aud":"{CLUSTER}","iat":{},"exp":{until},"roles":["read"]}}"#, NOW_MS / 1_000);
        let token = signed(HEADER, &claims);
        for data in [
            "",
            "\n\n\n",
            "=k\n=s",
            "=k\n=t",
            "=k\n=s\n=Basic eDp5",
            "=k\n=s\n=Bearer x",
            "\n\n\n={\"apikey\":\"k\"}",
            "\n\n\n={\"apikey\":",
            &format!("\n\n=Bearer {token}"),
            &format!("=k\n\n=Bearer {token}"),
            &format!("\n\n\n\n{HEADER}\n{claims}"),
            &format!("\n\n\n\n{{}}\n{}", claims.replace("read", "admin")),
        ] {
            shown(data);
        }
        assert!(judged(&store(), &token, NOW_MS).is_some());
        for place in 0..300 {
            shown(&format!("{place}\n\n=Bearer {token}\n{place}"));
            assert_ne!(changes(&format!("{place}"), &token).count(), 0, "{place}");
        }
    }
}
